"""A run in, what its scores hold of one reference already out: that is not read again."""

from __future__ import annotations

from dataclasses import dataclass, field

from tempzero.records import Run
from tempzero.types.asked import Trial
from tempzero.types.scored import Reader, ScoredResponse, SuspectReading


@dataclass(slots=True)
class EarlierScores:
    """What the scores hold of one reference already."""

    reader: Reader | None = None
    records: set[str] = field(default_factory=set)
    scored: list[ScoredResponse] = field(default_factory=list)
    forms: set[tuple[str, Trial]] = field(default_factory=set)
    suspects: dict[tuple[str, str], dict[str, SuspectReading]] = field(default_factory=dict)


def load_earlier_scores(run: Run, reference: str) -> EarlierScores:
    done = EarlierScores()
    for line in run.score_lines():
        if line.reader is not None and line.reader.reference == reference:
            done.reader = line.reader
        if line.scored is not None and line.scored.reference == reference:
            done.scored.append(line.scored)
            done.records.add(line.scored.record_sha256)
        if line.unread is not None and line.unread.reference == reference:
            done.records.add(line.unread.record_sha256)
        if line.form is not None and line.form.reference == reference:
            done.forms.add((line.form.form, line.form.trial))
        if line.suspect is not None and line.suspect.reference == reference:
            of = done.suspects.setdefault((line.suspect.provider, line.suspect.condition), {})
            of[line.suspect.suspect] = line.suspect
    return done
