"""One provider with what it is judged by in, the values that its diagnoses are made of out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tempzero.attribute.noise import JoinedForm
from tempzero.attribute.reader_tables import ReaderTable, ResponseLane
from tempzero.attribute.suspect_fits import Fit
from tempzero.reading.rounding_floor import RoundingFloor
from tempzero.types.asked import Trial
from tempzero.types.concluded import Diagnosis, Estimate
from tempzero.types.scored import SuspectKind, SuspectReading
from tempzero.types.vocabulary import CauseName, Strength

MAX_EVIDENCE_TRIALS = 20
NAMED_AT_MOST = 5

_CAUSE_OF: dict[SuspectKind, CauseName] = {
    "unchanged": "faithful",
    "request": "other_prompt",
    "sampler": "penalty",
    "weights": "coarser",
    "positions": "positions",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Patient:
    """A provider under one condition, and what its causes are judged by.

    `rounding` is how much an honest 16-bit host of this model rounds.
    """

    table: ReaderTable
    lane: ResponseLane
    forms: Sequence[JoinedForm]
    suspects: Sequence[SuspectReading]
    rounding: RoundingFloor

    def build_diagnosis(
        self,
        cause: CauseName,
        strength: Strength,
        message: str,
        estimate: Estimate | None = None,
        evidence: Iterable[Trial] = (),
        forms: Iterable[str] = (),
    ) -> Diagnosis:
        return Diagnosis(
            reference=self.table.reader.reference,
            provider=self.lane.provider,
            condition=self.lane.condition,
            cause=cause,
            strength=strength,
            message=message,
            estimate=estimate,
            evidence=tuple(evidence)[:MAX_EVIDENCE_TRIALS],
            forms=tuple(forms),
        )

    def worst_trials(self) -> tuple[Trial, ...]:
        """The responses with the largest margins, the largest first, each sequence once."""
        tokens, rows = self.table.tokens, self.lane.distinct
        largest = np.maximum.reduceat(tokens.margin, tokens.start[:-1])[self.lane.sequence[rows]]
        order = np.argsort(-largest, kind="stable")
        return tuple(self.lane.trials[rows[i]] for i in order if largest[i] > 0)


def name_cause(fit: Fit) -> CauseName:
    return "other_model" if fit.line.suspect.startswith("weights=") else _CAUSE_OF[fit.line.kind]


def list_forms(winners: Iterable[Fit]) -> tuple[str, ...]:
    """Those of them that are other forms of the model's weights or cache, by name."""
    return tuple(f.line.suspect for f in winners if name_cause(f) == "coarser")


def join_few_names(names: Sequence[str]) -> str:
    more = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
