"""Texts, and counts of them, in; where they part (Div_Index) and how far apart they are (NED) out.

Texts are numbered in sorted order within their cell, so that the longest common prefix of any two
is the smallest of those between neighbours: exact for all pairs without looking at any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein, Prefix

from tempzero.metrics.agreement import (
    NO_REPEATS,
    NOT_BOTH,
    Counts,
    Floats,
    Ints,
    count_responses,
    mark_group_starts,
    pool_segments,
    sum_by_index,
)
from tempzero.types.vocabulary import COMPARED_KINDS, Metric

# NED looks at every pair of a cell's distinct outputs up to this many pairs; above, at as many pairs of
# responses drawn with a fixed seed: unbiased, and the spread within a prompt hardly adds to that over prompts.
NED_PAIRS = 30
# Characters of each text NED looks at: its cost is quadratic in the length. About a thousand tokens.
NED_CHARS = 4000
# To start threads takes as long as comparing this many texts.
_TEXTS_FOR_THREADS = 64

# Drops of one survival curve.
MOST_STEPS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Survival:
    """Share of pairs still identical after `positions[i]` characters, a mean over cells, of `pairs` pairs."""

    positions: tuple[int, ...]
    shares: tuple[float, ...]
    pairs: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs:
    """Pairs of outputs to take the distance of, with the share of their cell's pairs each stands for."""

    cell: Ints
    left: Ints
    right: Ints
    weight: Floats
    defined: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstDifference:
    """Two outputs of one cell and segment, and the first character at which they differ."""

    cell: int
    segment: int
    left: int
    right: int
    at_char: int


def common_prefix_lengths(left: Sequence[str], right: Sequence[str]) -> Ints:
    """Characters that each left text shares with the right text at its place before they part."""
    found = process.cpdist(left, right, scorer=Prefix.similarity, dtype=np.int64, workers=_count_workers(left))
    return np.asarray(found, dtype=np.int64)


def _count_workers(texts: Sequence[str]) -> int:
    """All cores (-1) where there is work for them."""
    return -1 if len(texts) > _TEXTS_FOR_THREADS else 1


def normalised_distances(left: Sequence[str], right: Sequence[str]) -> Floats:
    """NED of each left text to the right text at its place: Levenshtein distance / longer length (Rover 2026)."""
    found = process.cpdist(
        [t[:NED_CHARS] for t in left],
        [t[:NED_CHARS] for t in right],
        scorer=Levenshtein.normalized_distance,
        dtype=np.float64,
        workers=_count_workers(left),
    )
    return np.asarray(found, dtype=np.float64)


NED = Metric(
    name="ned",
    unit="share",
    kinds=("repeat",),
    title="Edit distance (NED)",
    definition="Levenshtein distance divided by the longer length, over pairs of repeats: 0 the same text, 1 nothing "
    "in common.",
    source="Rover 2026",
    one_means="repeats have nothing in common",
    undefined=NO_REPEATS,
)
CROSS_NED = Metric(
    name="cross_ned",
    unit="share",
    kinds=COMPARED_KINDS,
    title="Edit distance (NED)",
    definition="Levenshtein distance divided by the longer length, between responses of the two providers.",
    source="Rover 2026",
    one_means="the two have nothing in common",
    undefined=NOT_BOTH,
)


def repeat_survival(counts: Counts, shared: Ints) -> Survival | None:
    """Survival of the pairs of repeats, exact for all of them; None where no cell has a pair.

    `shared[text]` is what a text shares with the one before it, −1 at the first of a cell. Identical
    pairs are censored observations and stay in, so the curve ends at the EMR. Yuan et al. 2506.09501.
    """
    first = mark_group_starts(counts.cell, counts.segment)
    per_cell = count_ordered_pairs(counts, first) / 2
    if not per_cell.any():
        return None
    weight_of_pair = 1 / np.where(per_cell > 0, per_cell, np.inf)[counts.cell]
    shared_here = _shared_with_previous(counts.output, first, shared)
    cells = int(np.count_nonzero(per_cell))

    def share(position: int) -> float:
        group = np.cumsum(first | (shared_here < position)) - 1
        together = np.bincount(group, weights=counts.count)
        starts = np.flatnonzero(mark_group_starts(group))
        return float((together * (together - 1) / 2 * weight_of_pair[starts]).sum()) / cells

    positions = survival_positions(shared_here)
    return Survival(positions=positions, shares=tuple(map(share, positions)), pairs=int(per_cell.sum()))


def find_first_differences(counts: Counts, shared: Ints) -> list[FirstDifference]:
    """For each cell whose repeats differ, the two that part earliest; the cells that part earliest first."""
    first = mark_group_starts(counts.cell, counts.segment)
    shared_here = _shared_with_previous(counts.output, first, shared)
    follows = np.flatnonzero(~first)
    follows = follows[np.lexsort((follows, shared_here[follows]))]
    _, earliest = np.unique(counts.cell[follows], return_index=True)
    return [
        FirstDifference(
            cell=int(counts.cell[row]),
            segment=int(counts.segment[row]),
            left=int(counts.output[row - 1]),
            right=int(counts.output[row]),
            at_char=int(shared_here[row]),
        )
        for row in follows[np.sort(earliest)].tolist()
    ]


def cross_survival(left: Counts, right: Counts, shared: Ints) -> Survival | None:
    """Survival of the pairs of one left and one right response; it ends at the cross-EMR."""
    a, b = pool_segments(left), pool_segments(right)
    pairs = count_responses(a) * count_responses(b)
    if not pairs.any():
        return None
    sides = [c.count / np.maximum(count_responses(c), 1)[c.cell] for c in (a, b)]
    cell, output = np.concatenate([a.cell, b.cell]), np.concatenate([a.output, b.output])
    order = np.lexsort((output, cell))
    cell, output = cell[order], output[order]
    share_a = np.concatenate([sides[0], np.zeros(b.cell.size)])[order]
    share_b = np.concatenate([np.zeros(a.cell.size), sides[1]])[order]
    # What both sides said is one row: its share of each is there once, and added to nothing.
    distinct = mark_group_starts(cell, output)
    share_a, share_b = (np.add.reduceat(share, np.flatnonzero(distinct)) for share in (share_a, share_b))
    shared_here = _shared_with_previous(output[distinct], mark_group_starts(cell[distinct]), shared)
    cells = int(np.count_nonzero(pairs))

    def share(position: int) -> float:
        group = np.cumsum(shared_here < position) - 1
        return float(np.bincount(group, share_a) @ np.bincount(group, share_b)) / cells

    positions = survival_positions(shared_here)
    return Survival(positions=positions, shares=tuple(map(share, positions)), pairs=int(pairs.sum()))


def survival_positions(shared: Ints) -> tuple[int, ...]:
    """0, and the positions after which a pair is no longer identical: where the curve drops, and nowhere else.

    Of more than MOST_STEPS positions an even choice, the last among them; the shares there are exact all the same.
    """
    drops = np.unique(shared[shared >= 0]) + 1
    if drops.size > MOST_STEPS:
        drops = drops[np.linspace(0, drops.size - 1, MOST_STEPS).round().astype(np.int64)]
    return (0, *drops.tolist())


def repeat_pairs(counts: Counts) -> Pairs:
    """The pairs of different outputs within each cell's segments, to be measured by `distances`."""
    first = mark_group_starts(counts.cell, counts.segment)
    unit = np.cumsum(first) - 1
    return _join_pairs(counts, counts, unit, unit, count_ordered_pairs(counts, first), ordered=False)


def cross_pairs(left: Counts, right: Counts) -> Pairs:
    """The pairs of different outputs, one of each side, to be measured by `distances`."""
    a, b = pool_segments(left), pool_segments(right)
    return _join_pairs(a, b, a.cell, b.cell, (count_responses(a) * count_responses(b)).astype(np.float64), ordered=True)


def mean_distance(pairs: Pairs, distance: Floats) -> Floats:
    """Mean distance of each cell's pairs, identical pairs counting 0; NaN where it has no pair."""
    total = np.bincount(pairs.cell, weights=pairs.weight * distance, minlength=pairs.defined.size)
    return np.where(pairs.defined, total, np.nan)


def _join_pairs(a: Counts, b: Counts, unit_a: Ints, unit_b: Ints, total: Floats, *, ordered: bool) -> Pairs:
    """Join the rows of `a` with those of `b` that have the same unit; sample where these are too many."""
    units = 1 + int(max(unit_a.max(initial=-1), unit_b.max(initial=-1)))
    rows_b = np.bincount(unit_b, minlength=units)
    start_b = np.cumsum(rows_b) - rows_b
    joined = np.bincount(unit_a, minlength=units) * rows_b
    # A unit joined with itself holds each pair twice, and each output once with itself.
    small = joined <= (NED_PAIRS if ordered else 2 * NED_PAIRS + rows_b)
    times = np.where(small, rows_b, 0)[unit_a]
    at_a = np.repeat(np.arange(unit_a.size), times)
    within = np.arange(at_a.size) - np.repeat(np.cumsum(times) - times, times)
    at_b = start_b[unit_a][at_a] + within
    kept = a.output[at_a] != b.output[at_b] if ordered else at_a < at_b
    at_a, at_b = at_a[kept], at_b[kept]
    weight = a.count[at_a] * b.count[at_b] / total[a.cell[at_a]] * (1 if ordered else 2)
    more_a, more_b, more_weight = _sample_pairs(a, b, unit_a, unit_b, np.flatnonzero(~small), total, ordered=ordered)
    at_a, at_b = np.concatenate([at_a, more_a]), np.concatenate([at_b, more_b])
    return Pairs(
        cell=a.cell[at_a],
        left=a.output[at_a],
        right=b.output[at_b],
        weight=np.concatenate([weight, more_weight]),
        defined=total > 0,
    )


def _sample_pairs(
    a: Counts, b: Counts, unit_a: Ints, unit_b: Ints, units: Ints, total: Floats, *, ordered: bool
) -> tuple[Ints, Ints, Floats]:
    """NED_PAIRS random pairs of responses of each unit, drawn with a seed of the unit's own."""
    rows: list[tuple[Ints, Ints, Floats]] = []
    for unit in units.tolist():
        rng = np.random.default_rng([0, unit])
        in_a = np.arange(*np.searchsorted(unit_a, [unit, unit + 1]))
        in_b = np.arange(*np.searchsorted(unit_b, [unit, unit + 1]))
        many_a, many_b = np.repeat(in_a, a.count[in_a]), np.repeat(in_b, b.count[in_b])
        drawn_a = rng.integers(many_a.size, size=NED_PAIRS)
        # Two repeats of one cell are two different responses: the second is drawn from the others.
        drawn_b = rng.integers(many_b.size - (0 if ordered else 1), size=NED_PAIRS)
        drawn_b += 0 if ordered else drawn_b >= drawn_a
        own = many_a.size * (many_b.size - (0 if ordered else 1))
        share = own / total[a.cell[in_a[0]]] / NED_PAIRS
        rows.append((many_a[drawn_a], many_b[drawn_b], np.full(NED_PAIRS, share)))
    if not rows:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    return tuple(np.concatenate(c) for c in zip(*rows, strict=True))  # type: ignore[return-value]


def count_ordered_pairs(counts: Counts, first: NDArray[np.bool_]) -> Floats:
    """N(N−1) of each cell's segments, summed: each pair of repeats counted both ways round."""
    size = sum_by_index(np.cumsum(first) - 1, counts.count, int(first.sum()))
    return sum_by_index(counts.cell[first], size * (size - 1), counts.cells)


def _shared_with_previous(output: Ints, first: NDArray[np.bool_], shared: Ints) -> Ints:
    """What each row's text shares with the row before; −1 at the first row of a unit.

    Between two texts that are not neighbours among all texts it is the smallest step between them.
    """
    found = np.full(output.size, -1, dtype=np.int64)
    follows = np.flatnonzero(~first)
    if follows.size:
        low = np.minimum(output[follows - 1], output[follows]) + 1
        high = np.maximum(output[follows], output[follows - 1]) + 1
        ends = np.stack([low, high], axis=1).ravel()
        found[follows] = np.minimum.reduceat(np.append(shared, -1), ends)[::2]
    return found
