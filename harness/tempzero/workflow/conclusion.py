"""A Run in, what is concluded from it out: analysed, judged, reported, in this order and nowhere else.

Pure: the same run folder gives the same bytes. What costs time or money (collecting, reading, trying answers out)
comes before; see pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tempzero.analysis import analyse
from tempzero.analysis.observations import PartCounter
from tempzero.config import Gates
from tempzero.errors import UsageError
from tempzero.records import Run, hash_parts_beside, list_report_files
from tempzero.reports import write_reports
from tempzero.types.concluded import Analysis, Verdict
from tempzero.verdict.gate import judge


@dataclass(frozen=True, kw_only=True, slots=True)
class Conclusion:
    """What a run comes to, and the files that say so."""

    analysis: Analysis
    verdict: Verdict
    files: tuple[Path, ...]


def conclude_run(
    run: Run,
    *,
    gates: Gates | None = None,
    tell: Callable[[str, float], None] = lambda phase, share: None,
    count: PartCounter | None = None,
) -> Conclusion:
    """Analyse a run, judge it by `gates` (else its own) and write its reports into its folder.

    `count` gives the counts of the records' parts where they are not to be read here. `tell` hears how far each phase
    of the analysis has come. Raises RunFolderError for damaged records, and UsageError where the folder cannot be
    written.
    """
    with hash_parts_beside(run.path) as take_hashes:
        analysis = analyse(run, tell, count=count)
        verdict = judge(analysis, gates or run.config.gates)
        files = save_reports(analysis, verdict, run.path, take_hashes)
    return Conclusion(analysis=analysis, verdict=verdict, files=files)


def save_reports(
    analysis: Analysis, verdict: Verdict, folder: Path, take_hashes: Callable[[], Mapping[Path, str]] = dict
) -> tuple[Path, ...]:
    """Write every report file into a folder; give their paths. `take_hashes` gives hashes of parts that are known.

    Raises UsageError where it cannot be written.
    """
    try:
        written = write_reports(analysis, verdict, folder)
        list_report_files(folder, written, take_hashes())
        return written
    except OSError as error:
        raise UsageError(
            f"{folder}: the report cannot be written there: {error.strerror}; copy the folder first"
        ) from None
