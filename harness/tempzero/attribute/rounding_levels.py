"""What a reference read of each provider in, whether an honest 16-bit host's rounding explains it out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tempzero import stats
from tempzero.attribute.alike_forms import AlikeForm, FormStandings, find_alike_forms, sort_forms
from tempzero.attribute.noise import JoinedForm
from tempzero.attribute.reader_tables import Floats, Ints, ReaderTable, ResponseLane
from tempzero.attribute.suspect_fits import build_suspect_fits
from tempzero.reading.rounding_floor import RoundingFloor, find_rounding_floor
from tempzero.types.asked import Trial
from tempzero.types.concluded import Estimate
from tempzero.types.scored import SuspectReading

ALLOWANCE = 2.0
"""Honest hosts compute in other orders than the one that was measured: their rounding may be so many times as large."""
EXCLUDED = 2.0
"""Rounding is shown to be honest where its interval lies below so many times what is allowed."""
_FEWEST_TOKENS, _FEWEST_PROMPTS = 200, 5


@dataclass(frozen=True, kw_only=True, slots=True)
class DeclaredForms:
    """What a provider says it serves that is coarser than 16 bits: forms by name, and how many times an honest host's
    rounding such forms may add to it where none of them was measured."""

    names: frozenset[str]
    room: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundingJudgement:
    """How one provider's tokens stand to honest rounding.

    `evidence` is the log of an e-value against rounding of at most `allowed`; `scale` the likeliest size of rounding.
    `clear` counts misses beyond the floor's clear margin, `alike` names the coarser forms that it cannot be told from,
    and `more_tokens` is how many would have to be read to show that it rounds honestly (None: it is shown, or more of
    the same would not show it). Of a provider that declares coarser weights `declared_evidence` is against rounding of
    at most `declared_allowed`, which is what these may add; of the others both are as for honest rounding. `expected`
    is how many misses that would make. `forms` says which coarser forms explain its tokens, and which do not; `turned`
    counts the misses that no other cut of the text into tokens explains.
    """

    reference: str
    provider: str
    condition: str
    floor: RoundingFloor
    allowed: float
    tokens: int
    prompts: int
    missed: int
    clear: int
    expected: float
    largest_margin: float
    scale: Estimate
    evidence: float
    shown: bool
    more_tokens: int | None
    alike: tuple[AlikeForm, ...]
    worst: tuple[Trial, ...]
    declared_allowed: float
    declared_evidence: float
    forms: FormStandings
    turned: int


def find_table_floor(table: ReaderTable, known: Sequence[JoinedForm], honest: Iterable[str]) -> RoundingFloor:
    """The floor of the table's model, measured on the providers that are named as honest where they were read.

    Never below what the reference's own honest forms show.
    """
    named = set(honest)
    measured = [f for lane in table.lanes if lane.provider in named for f in _measure_floor(table, lane)]
    floor = find_rounding_floor(table.reader.claimed_model, measured)
    little = [lane.provider for lane in table.lanes if lane.provider in named and _is_too_little(table, lane)]
    if floor.basis == "default" and little:
        floor = replace(
            floor,
            source=f"{floor.source.partition(';')[0]}; of {', '.join(little)}, named as honest, fewer than "
            f"{_FEWEST_TOKENS} tokens or {_FEWEST_PROMPTS} prompts were read, too few to measure it",
        )
    of_forms = [
        RoundingFloor(
            model=table.reader.claimed_model,
            basis="measured",
            rms=float(np.sqrt(np.square(form.change).mean())),
            largest_margin=float(form.margin.max(initial=0.0)),
            missed_share=float((form.margin > 0).mean()),
            tokens=form.margin.size,
            source=f"the reference's own form {form.name}",
        )
        for form in known
        if form.honest and form.change.size
    ]
    return max([floor, *of_forms], key=lambda f: f.rms)


def _measure_floor(table: ReaderTable, lane: ResponseLane) -> Iterable[RoundingFloor]:
    if _is_too_little(table, lane):
        return
    choices = gather_choices(table, lane)
    scale = stats.rounding_scale(choices).value
    if scale:
        yield RoundingFloor(
            model=table.reader.claimed_model,
            basis="measured",
            rms=scale,
            largest_margin=float(choices.margin.max()),
            missed_share=choices.missed / choices.gap.size,
            tokens=choices.gap.size,
            source=f"{lane.provider}, named as honest in score.forms",
        )


def _is_too_little(table: ReaderTable, lane: ResponseLane) -> bool:
    choices = gather_choices(table, lane)
    return choices.gap.size < _FEWEST_TOKENS or np.unique(choices.prompt).size < _FEWEST_PROMPTS


def judge_rounding(
    table: ReaderTable,
    known: Sequence[JoinedForm],
    floor: RoundingFloor,
    suspects: Sequence[SuspectReading],
    declared: Mapping[str, DeclaredForms],
) -> tuple[RoundingJudgement, ...]:
    """Every provider but the reference itself; `declared` has those that say they serve less than 16 bits."""
    return tuple(
        _judge_lane(table, lane, known, floor, suspects, declared.get(lane.provider))
        for lane in table.lanes
        if lane.provider != table.reader.reference
    )


def _judge_lane(
    table: ReaderTable,
    lane: ResponseLane,
    known: Sequence[JoinedForm],
    floor: RoundingFloor,
    suspects: Sequence[SuspectReading],
    declared: DeclaredForms | None,
) -> RoundingJudgement:
    choices, allowed = gather_choices(table, lane), ALLOWANCE * floor.rms
    scale = stats.rounding_scale(choices)
    shown = scale.high is not None and scale.high <= EXCLUDED * allowed
    fits = build_suspect_fits(table.reader.reference, lane, suspects, floor)
    evidence, coarse = (
        stats.rounding_evidence(choices, allowed),
        ALLOWANCE * (floor.rms + _add_declared(declared, known, floor)),
    )
    return RoundingJudgement(
        reference=table.reader.reference,
        provider=lane.provider,
        condition=lane.condition,
        floor=floor,
        allowed=allowed,
        tokens=choices.gap.size,
        prompts=int(np.unique(choices.prompt).size),
        missed=choices.missed,
        clear=int(np.count_nonzero(choices.margin > floor.clear_margin)),
        expected=stats.expected_misses(choices, coarse),
        largest_margin=float(choices.margin.max(initial=0.0)),
        scale=scale,
        evidence=evidence,
        shown=shown,
        more_tokens=None if shown else stats.tokens_to_exclude(choices, EXCLUDED * allowed),
        alike=find_alike_forms(table, lane, known, fits, scale),
        worst=_pick_worst_trials(table, lane),
        declared_allowed=coarse,
        declared_evidence=evidence if declared is None else stats.rounding_evidence(choices, coarse),
        forms=sort_forms(fits),
        turned=choices.missed if fits is None else fits.plain.misses,
    )


def _add_declared(declared: DeclaredForms | None, known: Sequence[JoinedForm], floor: RoundingFloor) -> float:
    """How much rounding the declared forms add to an honest host's, in logits: as measured, where one of them was."""
    if declared is None:
        return 0.0
    measured = [float(np.sqrt(np.square(f.change).mean())) for f in known if f.name in declared.names and f.change.size]
    return max(measured, default=declared.room * floor.rms)


def gather_choices(table: ReaderTable, lane: ResponseLane) -> stats.ReadChoices:
    """The tokens of a provider's responses, each distinct one once, with how often it came."""
    tokens = table.tokens
    key = np.stack([lane.prompt, lane.sequence])
    (prompt, sequence), times = np.unique(key, axis=1, return_counts=True)
    length: Ints = tokens.length[sequence]
    places = np.repeat(tokens.start[sequence] - np.cumsum(length) + length, length) + np.arange(int(length.sum()))
    margin: Floats = np.where(tokens.missed[places], np.maximum(tokens.margin[places], 1e-9), 0.0)
    return stats.ReadChoices(
        gap=np.minimum(tokens.gap[places], math.inf),
        margin=margin,
        response=np.repeat(np.arange(sequence.size), length),
        prompt=prompt,
        times=times,
    )


def _pick_worst_trials(table: ReaderTable, lane: ResponseLane) -> tuple[Trial, ...]:
    """The responses with the largest margins, the largest first, each sequence once."""
    tokens, rows = table.tokens, lane.distinct
    if not rows.size:
        return ()
    largest = np.maximum.reduceat(tokens.margin, tokens.start[:-1])[lane.sequence[rows]]
    order = np.argsort(-largest, kind="stable")
    return tuple(lane.trials[rows[i]] for i in order[:20] if largest[i] > 0)
