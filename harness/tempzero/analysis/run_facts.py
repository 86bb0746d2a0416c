"""A Run in, its facts out: made where they are missing, read where they fit the records, asked by SQL over many."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tempzero.analysis.counting_processes import count_parts
from tempzero.analysis.fact_files import FACTS, TEXTS, connect_duckdb, load_duckdb, read_part_facts, write_part_facts
from tempzero.analysis.part_counts import CountingSetting, PartCounts, make_counting_setting
from tempzero.canonical_json import to_canonical_json
from tempzero.errors import RunFolderError, UsageError
from tempzero.records import MANIFEST, Run
from tempzero.records.files import write_atomically

FACTS_VERSION = 1
"""Rises whenever the same records could be counted otherwise: older facts are then made anew."""
_INDEX = "index.json"


class _FactsIndex(msgspec.Struct, frozen=True, kw_only=True):
    """What facts were made of: `parts` are the records' parts with the SHA-256 that run.sha256 has for each."""

    version: int
    setting: str
    parts: dict[str, str]


def make_run_setting(run: Run) -> CountingSetting:
    """What a run's records are counted against; its providers by the order of their names."""
    skipped = {s.provider for s in run.manifest.skipped}
    providers = sorted((p for p in run.config.providers if p.name not in skipped), key=lambda p: p.name)
    return make_counting_setting(run.path, providers, run.manifest.suite.prompts)


def make_facts(run: Run, tell: Callable[[str, float], None] = lambda phase, share: None) -> bool:
    """Write a run's facts, unless they are there and fit; give whether they had to be made.

    Raises UsageError where they cannot be, and RunFolderError for damaged records.
    """
    load_duckdb()
    setting, parts = make_run_setting(run), run.listed_parts()
    if not setting.by_part:
        raise UsageError(f"{run.path}: has conversations, whose rounds are counted from the records alone")
    if not parts:
        why = (
            "is of format 1, which has no" if run.manifest.format == 1 else "was not collected to its end, so it has no"
        )
        raise UsageError(
            f"{run.path}: {why} hashes of its records; `tempzero run --resume {run.path}` asks what is missing, if "
            "anything is, and lists them"
        )
    if _fits(run, setting, parts):
        return False
    run.check_listed_parts()
    for folder in (FACTS, TEXTS):
        shutil.rmtree(run.path / folder, ignore_errors=True)
    for done, counts in enumerate(count_parts(run.parts(), setting), start=1):
        write_part_facts(run.path, name_part_of_facts(done), counts, setting)
        tell("counting", done / len(parts))
    write_facts_index(run.path, setting, parts)
    return True


def has_facts(run: Run) -> bool:
    """Whether its facts are there and fit its records, which need not be."""
    parts = run.listed_parts()
    return bool(parts) and _fits(run, make_run_setting(run), parts)


def name_part_of_facts(number: int) -> str:
    """From 1."""
    return f"part-{number:05}"


def write_facts_index(folder: Path, setting: CountingSetting, parts: Mapping[str, str]) -> None:
    """Say what the facts were made of: last, so that facts with an index are whole."""
    index = _FactsIndex(version=FACTS_VERSION, setting=_digest_setting(setting), parts=dict(parts))
    write_atomically(folder / FACTS / _INDEX, msgspec.json.format(msgspec.json.encode(index), indent=1) + b"\n")


def count_by_facts(run: Run, setting: CountingSetting) -> Iterator[PartCounts]:
    """Each part's counts, in order, from its facts. Raises RunFolderError where there are none that fit."""
    parts = run.listed_parts()
    if not parts or not _fits(run, setting, parts):
        raise RunFolderError(f"{run.path}: has no facts of these records; `tempzero facts {run.path}` makes them")
    for number in range(1, len(parts) + 1):
        yield read_part_facts(run.path, name_part_of_facts(number), setting)


def query_facts(runs: Sequence[Path], sql: str) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Ask all facts of some runs in one query: names of columns, rows.

    `facts` and `texts` hold every run's, with the name of its folder as `run` and that of the part, within which texts
    are numbered; `runs` has a row for each, with its beginning. The query can read nothing else and write nothing.
    Raises UsageError.
    """
    duckdb = load_duckdb()
    _require_select(duckdb, sql)
    with_facts = [run for run in map(Path.absolute, runs) if (run / FACTS / _INDEX).is_file()]
    if not with_facts:
        raise UsageError("no run there has facts; `tempzero facts RUN` makes them")
    connection = connect_duckdb()
    for name in (FACTS, TEXTS):
        files = [str(file) for run in with_facts for file in sorted((run / name).glob("part-*.parquet"))]
        listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
        connection.execute(
            f"CREATE VIEW {name} AS SELECT parse_path(filename)[-3] AS run, parse_filename(filename, true) AS part, "
            f"* EXCLUDE filename FROM read_parquet([{listed}], filename=true, union_by_name=true)"
        )
    connection.execute("CREATE TABLE runs (run VARCHAR, created_at TIMESTAMPTZ)")
    connection.executemany("INSERT INTO runs VALUES (?, ?)", [(run.name, _read_beginning(run)) for run in with_facts])
    folders = ", ".join("'" + str(run / name).replace("'", "''") + "'" for run in with_facts for name in (FACTS, TEXTS))
    connection.execute(f"SET allowed_directories=[{folders}]")
    connection.execute("SET enable_external_access=false; SET lock_configuration=true")
    try:
        answer = connection.execute(sql)
        return tuple(column[0] for column in answer.description), answer.fetchall()
    except duckdb.Error as error:
        raise UsageError(f"--sql: {str(error).strip()}") from None


def _require_select(duckdb: Any, sql: str) -> None:
    """Raise UsageError unless it only asks: what is not a SELECT may write to the folders that it may read."""
    try:
        found = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise UsageError(f"--sql: {str(error).strip()}") from None
    if [one.type for one in found] != [duckdb.StatementType.SELECT]:
        raise UsageError("--sql: is not one query; say a single SELECT")


def _fits(run: Run, setting: CountingSetting, parts: Mapping[str, str]) -> bool:
    try:
        index = msgspec.json.decode((run.path / FACTS / _INDEX).read_bytes(), type=_FactsIndex)
    except (OSError, msgspec.MsgspecError):
        return False
    return (index.version, index.setting, index.parts) == (FACTS_VERSION, _digest_setting(setting), parts)


def _digest_setting(setting: CountingSetting) -> str:
    asked = [[prompt.id, bool(prompt.tools)] for prompt in setting.prompts]
    return hashlib.sha256(to_canonical_json([setting.providers, asked]).encode()).hexdigest()


def _read_beginning(run: Path) -> str:
    try:
        return str(msgspec.json.decode((run / MANIFEST).read_bytes())["created_at"])
    except (OSError, KeyError, TypeError, msgspec.MsgspecError):
        raise RunFolderError(f"{run / MANIFEST}: damaged or missing") from None
