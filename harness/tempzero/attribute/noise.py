"""The forms a reference was read in and its own responses in, how far it may be trusted out: the noise floor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tempzero import stats
from tempzero.attribute.reader_tables import Floats, Ints, ReaderTable, ResponseLane
from tempzero.reading.rounding_floor import RoundingFloor
from tempzero.types.concluded import Estimate, FormScale, MarginProfile, NoiseFloor, ProfileKind
from tempzero.types.scored import FormReading

# Margins at which profiles are given, in logits: even steps on a logarithmic scale.
PROFILE_AT = (*(float(f"{a}e{b}") for b in (-3, -2, -1, 0) for a in (1, 2, 5)), 10.0, 20.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinedForm:
    """One form's readings, joined: a value for each token, with the number of its prompt."""

    name: str
    honest: bool
    # The same computation once more: see `FormReading.repeated`.
    repeated: bool
    change: Floats
    margin: Floats
    prompt: Ints
    # A row for each prompt: the sums over its tokens on the reader's grids, and how many tokens are missed.
    rounded: Floats
    sampled: Floats
    misses: Floats


def join_forms(table: ReaderTable, readings: Iterable[FormReading]) -> tuple[JoinedForm, ...]:
    """The forms of one reader, honest ones first, by name."""
    by_name: dict[tuple[bool, str], list[FormReading]] = {}
    known = set(table.prompts)
    for one in readings:
        if one.reference == table.reader.reference and one.margin and one.trial.prompt in known:
            by_name.setdefault((not one.honest, one.form), []).append(one)
    return tuple(_join_form_readings(table, of) for _, of in sorted(by_name.items(), key=lambda item: item[0]))


def _join_form_readings(table: ReaderTable, readings: Sequence[FormReading]) -> JoinedForm:
    cells = {name: i for i, name in enumerate(table.prompts)}
    prompt = np.array([cells[r.trial.prompt] for r in readings], dtype=np.int64)
    length = np.array([len(r.margin) for r in readings], dtype=np.int64)
    _, row = np.unique(prompt, return_inverse=True)
    return JoinedForm(
        name=readings[0].form,
        honest=readings[0].honest,
        repeated=readings[0].repeated,
        change=np.concatenate([np.asarray(r.gap_change, dtype=np.float64) for r in readings]),
        margin=np.concatenate([np.asarray(r.margin, dtype=np.float64) for r in readings]),
        prompt=np.repeat(prompt, length),
        rounded=_sum_rows_by_prompt([r.rounded for r in readings], row),
        sampled=_sum_rows_by_prompt([r.sampled for r in readings], row),
        misses=np.bincount(row, [sum(m > 0 for m in r.margin) for r in readings]).astype(np.float64),
    )


def _sum_rows_by_prompt(rows: Sequence[Sequence[float]], row: Ints) -> Floats:
    """A row for each reading in, their sums for each prompt out; no columns where any reading has none."""
    width = min(len(r) for r in rows)
    total = np.zeros((int(row.max()) + 1, width if all(len(r) == width for r in rows) else 0))
    if total.shape[1]:
        np.add.at(total, row, np.array(rows, dtype=np.float64))
    return total


def measure_noise_floor(table: ReaderTable, known: Sequence[JoinedForm], floor: RoundingFloor) -> NoiseFloor:
    """The noise floor of one reader: that of honest 16-bit hosts, or of the reference's own forms if that is larger.

    Epsilon is half the largest change of a gap, not a percentile of the changes: it is to bound what honest
    computations do, and a percentile would leave one honest token in a thousand beyond it.
    """
    honest = [f for f in known if f.honest]
    changes = np.concatenate([f.change for f in honest]) if honest else np.empty(0)
    scales = tuple(_fit_form_scale(table, f) for f in known)
    of_hosts = Estimate(value=floor.rms, low=None, high=None, n=0, method=f"{floor.basis}: {floor.source}")
    largest = max((of_hosts, *map(_rounding_from_gaps, honest)), key=lambda e: e.value or 0.0)
    epsilon = max(floor.clear_margin, float(changes.max(initial=0.0))) / 2
    tokens, misses, unexplained = _count_own_tokens(table, epsilon)
    return NoiseFloor(
        reference=table.reader.reference,
        basis="measured" if floor.basis == "default" and any(not f.repeated for f in honest) else floor.basis,
        source=floor.source,
        epsilon=epsilon,
        tokens=int(changes.size),
        scale=largest,
        forms=scales,
        own_tokens=tokens,
        own_misses=misses,
        own_unexplained=unexplained,
    )


def _rounding_from_gaps(form: JoinedForm) -> Estimate:
    """The scale of rounding as the changes of gaps show it: their root mean square, by prompt.

    Far more exact than the choices are, of which a few turn at most; it is held against their likelihood in the tests.
    """
    _, prompt = np.unique(form.prompt, return_inverse=True)
    squares = np.bincount(prompt, np.square(form.change)) / np.bincount(prompt)
    mean = stats.mean_over_prompts(squares)
    low, high = (None if v is None else float(np.sqrt(max(v, 0.0))) for v in (mean.low, mean.high))
    return Estimate(
        value=float(np.sqrt(np.square(form.change).mean())),
        low=low,
        high=high,
        n=mean.n,
        method="root mean square of the changes of gaps; t over prompts",
    )


def find_near_ties(table: ReaderTable, epsilon: float) -> NDArray[np.bool_]:
    """Tokens at which an honest computation may choose otherwise: the two best are at most 2 epsilon apart."""
    near: NDArray[np.bool_] = table.tokens.gap <= 2 * epsilon
    return near


def find_unexplained_tokens(table: ReaderTable, epsilon: float) -> NDArray[np.bool_]:
    """Tokens that are neither the reference's choice nor the other half of a near-tie."""
    odd: NDArray[np.bool_] = table.tokens.missed & ~((table.tokens.rank == 2) & find_near_ties(table, epsilon))
    return odd


def _count_own_tokens(table: ReaderTable, epsilon: float) -> tuple[int, int, int]:
    """Of the reference's own generated tokens: how many there are, are missed, and are missed beyond near-ties."""
    own = {int(i) for lane in table.lanes if lane.provider == table.reader.reference for i in lane.sequence}
    if not own:
        return 0, 0, 0
    chosen = np.array(sorted(own))
    tokens = table.tokens
    return (
        int(tokens.length[chosen].sum()),
        int(tokens.sum_by_sequence(tokens.missed)[chosen].sum()),
        int(tokens.sum_by_sequence(find_unexplained_tokens(table, epsilon))[chosen].sum()),
    )


def _fit_form_scale(table: ReaderTable, form: JoinedForm) -> FormScale:
    grid = table.reader.noises
    if form.rounded.shape[1] == len(grid) and len(grid) > 1 and form.rounded.shape[0]:
        scale = stats.profile_maximum(grid, form.rounded)
    else:
        scale = Estimate(value=None, low=None, high=None, n=0, method="maximum likelihood")
    return FormScale(
        form=form.name,
        honest=form.honest,
        tokens=form.margin.size,
        match=float((form.margin == 0).mean()),
        scale=scale,
    )


def build_margin_profiles(table: ReaderTable, known: Sequence[JoinedForm]) -> tuple[MarginProfile, ...]:
    """The margin profiles of every provider, then of every form."""
    of_lanes = (
        _build_margin_profile(table, lane.provider, lane.condition, "provider", _weigh_margins(table, lane))
        for lane in table.lanes
    )
    of_forms = (
        _build_margin_profile(table, f.name, None, "honest" if f.honest else "coarser", (f.margin, None)) for f in known
    )
    return (*of_lanes, *of_forms)


def _weigh_margins(table: ReaderTable, lane: ResponseLane) -> tuple[Floats, Floats | None]:
    """Each distinct sequence's margins, weighted by how many responses it is."""
    numbers, times = np.unique(lane.sequence, return_counts=True)
    chosen = np.zeros(len(table.roots))
    chosen[numbers] = times
    weights = np.repeat(chosen, table.tokens.length)
    used = weights > 0
    return table.tokens.margin[used], weights[used]


def _build_margin_profile(
    table: ReaderTable, who: str, condition: str | None, kind: ProfileKind, values: tuple[Floats, Floats | None]
) -> MarginProfile:
    margin, weights = values
    bins = np.searchsorted(PROFILE_AT, margin, side="right")
    counts = np.bincount(bins, weights=weights, minlength=len(PROFILE_AT) + 1)
    at_least = counts[::-1].cumsum()[::-1][1:]
    total = counts.sum()
    return MarginProfile(
        reference=table.reader.reference,
        who=who,
        condition=condition,
        kind=kind,
        tokens=round(float(total)),
        at=PROFILE_AT,
        shares=tuple((at_least / total).tolist()) if total else tuple(0.0 for _ in PROFILE_AT),
    )
