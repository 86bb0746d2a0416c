"""Outputs as integers in, agreement of repeats and of two sides out: one value for each cell, NaN where undefined.

A cell is what is averaged over later, normally a prompt. Nothing here looks at pairs of responses:
distinct outputs are counted, so the cost is that of sorting the responses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tempzero.types.vocabulary import COMPARED_KINDS, Metric

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# An output that equals nothing, itself included: an answer that could not be parsed.
UNPARSED = -1

# Why an agreement may have no value.
NO_REPEATS = "no prompt has two comparable responses"
NOT_BOTH = "no prompt has a comparable response from both"


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """How often each distinct output occurred: one row for each (cell, segment, output), in that order.

    Repeats are compared within a segment only (one request, one served model, backend and
    fingerprint). Equal outputs have equal numbers; UNPARSED equals nothing.
    """

    cell: Ints
    segment: Ints
    output: Ints
    count: Ints
    cells: int


def count_outputs(
    cell: Ints, output: Ints, *, cells: int, segment: Ints | None = None, weight: Ints | None = None
) -> Counts:
    """Count the outputs of responses given as parallel arrays; `weight` when a row stands for several."""
    segment = np.zeros(cell.size, dtype=np.int8) if segment is None else segment
    order = np.lexsort((output, segment, cell))
    cell, segment, output = cell[order], segment[order], output[order]
    first = np.flatnonzero(mark_group_starts(cell, segment, output))
    if weight is None:
        total = np.diff(first, append=cell.size)
    else:
        total = np.add.reduceat(weight[order], first) if first.size else weight
    return Counts(
        cell=cell[first].astype(np.int64),
        segment=segment[first].astype(np.int64),
        output=output[first].astype(np.int64),
        count=total.astype(np.int64),
        cells=cells,
    )


def pool_segments(counts: Counts) -> Counts:
    """The same with all segments taken together: for comparing one side with another."""
    return count_outputs(counts.cell, counts.output, cells=counts.cells, weight=counts.count)


def relabel_counts(counts: Counts, new: Mapping[tuple[int, int], int]) -> Counts:
    """The same with some outputs counted as others: `new` is keyed by (cell, output)."""
    if not new:
        return counts
    output = rename_outputs(counts.cell, counts.output, new)
    return count_outputs(counts.cell, output, cells=counts.cells, segment=counts.segment, weight=counts.count)


def rename_outputs(cell: Ints, output: Ints, new: Mapping[tuple[int, int], int]) -> Ints:
    """Replace the outputs that `new` names by (cell, output)."""
    if not new or not output.size:
        return output
    width = 1 + max(int(output.max()), *(old for _, old in new))
    keys = sorted(new)
    old = np.array([c * width + o for c, o in keys], dtype=np.int64)
    key = cell.astype(np.int64) * width + output
    at = np.minimum(np.searchsorted(old, key), old.size - 1)
    return np.where(old[at] == key, np.array([new[k] for k in keys], dtype=np.int64)[at], output)


def count_responses(counts: Counts) -> Ints:
    """N_j: responses in each cell, unparsed ones included."""
    return sum_by_index(counts.cell, counts.count, counts.cells).astype(np.int64)


def emr(counts: Counts) -> Floats:
    """Exact-match rate Σ m(m−1) / N(N−1): unbiased for the chance that two repeats are identical, at any N.

    Rover 2026; Simpson's index. NaN below two responses in every segment.
    """
    return total_agreement_rate(counts, 2)


EMR = Metric(
    name="emr",
    unit="share",
    kinds=("repeat",),
    title="Same text again (EMR)",
    definition="Exact-match rate: the chance that two calls with the same prompt give the same text, raw, character by "
    "character. Mean over prompts; unbiased for any number of repeats.",
    source="Rover 2026; Simpson index",
    one_means="any two repeats have the same text",
    undefined=NO_REPEATS,
)
EMR_COMPLETE = Metric(
    name="emr_complete",
    unit="share",
    kinds=("repeat",),
    title="Same text again, whole texts only",
    definition="As EMR, leaving out texts that were cut at the token limit.",
    source="Rover 2026; Simpson index",
    one_means="any two whole texts are the same",
    undefined="no prompt has two whole texts",
)


def total_agreement_rate(counts: Counts, k: int) -> Floats:
    """TARr@k, Σ C(m, k) / C(N, k): the chance that k repeats, drawn without replacement, are all identical.

    Atil et al. 2408.04667 in unbiased form; equals theirs (1 or 0 for a prompt) when k = N. On
    answers it is TARa@k. NaN, not 1, where no segment has k responses.
    """
    if k < 2:
        raise ValueError(f"agreement needs at least two repeats, not k={k}")
    size, segment_cell = _segment_sizes(counts)
    largest = np.zeros(counts.cells)
    np.maximum.at(largest, segment_cell, size)
    # Both sums are divided by C(largest N, k), so that nothing overflows however large k is.
    same = np.where(counts.output == UNPARSED, 0.0, _choose_ratio(counts.count, largest[counts.cell], k))
    drawn = _choose_ratio(size, largest[segment_cell], k)
    return divide_or_nan(sum_by_index(counts.cell, same, counts.cells), sum_by_index(segment_cell, drawn, counts.cells))


TARR = Metric(
    name="tarr",
    unit="share",
    kinds=("repeat",),
    title="All k texts the same (TARr@k)",
    definition="The chance that k calls with the same prompt all give the same raw text. It falls with k, so two "
    "values with different k are never compared.",
    source="Atil et al., arXiv:2408.04667, unbiased form",
    one_means="all k repeats have the same text on every prompt",
    per_k=True,
    undefined="no prompt has k comparable responses",
)
TARA = Metric(
    name="tara",
    unit="share",
    kinds=("repeat",),
    title="All k answers read, and the same (TARa@k)",
    definition="As TARr@k, on the answer read from each text. A text without a readable answer equals nothing, itself "
    "included.",
    source="Atil et al., arXiv:2408.04667",
    one_means="all k repeats have the same readable answer on every prompt",
    per_k=True,
    undefined="no prompt with a readable answer has k responses",
)


def choose_leading_k(counts: Counts, prompts: int, share: float) -> int:
    """The largest k that this share of the prompts has under one identity; at least 2.

    Where only a few prompts were asked more often, TARr at their k would speak of those few.
    """
    size, cell = _segment_sizes(counts)
    largest = np.zeros(counts.cells)
    np.maximum.at(largest, cell, size)
    wanted = max(1, math.ceil(share * prompts))
    return max(2, int(np.sort(largest)[::-1][wanted - 1])) if wanted <= largest.size else 2


def count_distinct(counts: Counts, k: int) -> Floats:
    """Number of distinct outputs among k repeats; NaN where a cell has not exactly k under one identity."""
    whole = _has_exactly_k(counts, k)
    return np.where(whole, np.bincount(counts.cell, minlength=counts.cells), np.nan)


UNIQUE_OUTPUTS = Metric(
    name="unique_outputs",
    unit="count",
    kinds=("repeat",),
    title="Distinct texts",
    definition="Number of different texts among the repeats of a prompt, mean over prompts.",
    source="Thinking Machines 2025",
    per_k=True,
    undefined=NO_REPEATS,
)


def modal_share(counts: Counts, k: int) -> Floats:
    """Share of the k repeats that gave the commonest output; NaN where a cell has not exactly k."""
    largest = np.zeros(counts.cells)
    np.maximum.at(largest, counts.cell, counts.count)
    return np.where(_has_exactly_k(counts, k), largest / k, np.nan)


MODAL_SHARE = Metric(
    name="modal_share",
    unit="share",
    kinds=("repeat",),
    title="Most frequent text",
    definition="Share of a prompt's responses that equal its most frequent text, mean over prompts.",
    source="Thinking Machines 2025",
    one_means="every repeat has the commonest text",
    undefined=NO_REPEATS,
)


def cross_match_rate(left: Counts, right: Counts) -> Floats:
    """Cross-EMR Σ p·q: the chance that a response of the left side equals one of the right side."""
    a, b = pool_segments(left), pool_segments(right)
    width = 1 + max(int(c.output.max(initial=0)) for c in (a, b))
    keys = [c.cell[c.output != UNPARSED] * width + c.output[c.output != UNPARSED] for c in (a, b)]
    both, in_a, in_b = np.intersect1d(keys[0], keys[1], assume_unique=True, return_indices=True)
    same = a.count[a.output != UNPARSED][in_a] * b.count[b.output != UNPARSED][in_b]
    return divide_or_nan(sum_by_index(both // width, same, a.cells), count_responses(a) * count_responses(b))


CROSS_EMR = Metric(
    name="cross_emr",
    unit="share",
    kinds=COMPARED_KINDS,
    title="Same text (cross-EMR)",
    definition="The chance that one call to each of the two gives the same raw text. Mean over prompts.",
    source="EMR between two providers",
    one_means="any response of the one has the text of any of the other",
    undefined=NOT_BOTH,
)
CROSS_EMR_COMPLETE = Metric(
    name="cross_emr_complete",
    unit="share",
    kinds=COMPARED_KINDS,
    title="Same text, whole texts only",
    definition="As cross-EMR, leaving out texts that were cut at the token limit.",
    source="EMR between two providers",
    one_means="any whole text of the one is any of the other",
    undefined="no prompt has a whole text from both",
)


def noise_floor(left: Counts, right: Counts) -> Floats:
    """½(1−EMR_A + 1−EMR_B): the divergence to expect between two sides from their own noise alone."""
    return 1 - (emr(left) + emr(right)) / 2


NOISE_FLOOR = Metric(
    name="noise_floor",
    unit="share",
    kinds=COMPARED_KINDS,
    title="Noise floor",
    definition="The disagreement to be expected from the two providers' own noise: the mean of their 1 − EMR.",
    source="from the two EMRs",
    one_means="neither ever repeats a text",
    undefined="one of the two has no repeats to measure its own noise",
)


def excess_divergence(left: Counts, right: Counts) -> Floats:
    """½(EMR_A + EMR_B) − cross-EMR: half the unbiased one-hot MMD². Zero on average where A and B are alike."""
    return (emr(left) + emr(right)) / 2 - cross_match_rate(left, right)


EXCESS_DIVERGENCE = Metric(
    name="excess_divergence",
    unit="share",
    kinds=COMPARED_KINDS,
    title="Excess divergence",
    definition="How much more two providers differ from each other than each differs from itself: the mean of their "
    "two EMRs minus their cross-EMR. Zero where the difference is only their own noise.",
    source="half the one-hot squared maximum mean discrepancy (MMD²)",
    one_means="each repeats itself and never gives the other's texts",
    undefined="one of the two has no repeats to measure its own noise",
)


def build_count_tables(left: Counts, right: Counts) -> list[Ints]:
    """For each cell with at least two responses a side: the 2 × K counts of its distinct outputs."""
    a, b = pool_segments(left), pool_segments(right)
    enough = np.minimum(count_responses(a), count_responses(b)) >= 2
    cell = np.concatenate([a.cell, b.cell])
    output = np.concatenate([a.output, b.output])
    side = np.repeat([0, 1], [a.cell.size, b.cell.size])
    amount = np.concatenate([a.count, b.count])
    kept = np.flatnonzero(enough[cell])
    kept = kept[np.lexsort((output[kept], cell[kept]))]
    cell, output, side, amount = cell[kept], output[kept], side[kept], amount[kept]
    column = np.cumsum(mark_group_starts(cell, output)) - 1
    starts = np.flatnonzero(mark_group_starts(cell))
    found = np.zeros((2, int(column[-1]) + 1 if column.size else 0), dtype=np.int64)
    np.add.at(found, (side, column), amount)
    bounds = np.append(column[starts], found.shape[1])
    return [found[:, start:end] for start, end in pairwise(bounds.tolist())]


def build_session_tables(left: Counts, right: Counts) -> list[tuple[Ints, Ints]]:
    """The same for counts whose segments are sessions: for each side a row for each of its sessions."""
    enough = np.minimum(count_responses(left), count_responses(right)) >= 2
    rows = [int(side.segment.max(initial=-1)) + 1 for side in (left, right)]
    found = []
    for cell in np.flatnonzero(enough).tolist():
        own = [side.cell == cell for side in (left, right)]
        outputs = np.unique(np.concatenate([left.output[own[0]], right.output[own[1]]]))
        tables = [np.zeros((number, outputs.size), dtype=np.int64) for number in rows]
        for table, side, chosen in zip(tables, (left, right), own, strict=True):
            np.add.at(table, (side.segment[chosen], np.searchsorted(outputs, side.output[chosen])), side.count[chosen])
        found.append((tables[0], tables[1]))
    return found


def commonest_outputs(counts: Counts) -> Ints:
    """Each cell's commonest output, the smallest number among equals; UNPARSED for an empty cell."""
    whole = pool_segments(counts)
    order = np.lexsort((whole.output, -whole.count, whole.cell))
    cell = whole.cell[order]
    found = np.full(counts.cells, UNPARSED, dtype=np.int64)
    first = mark_group_starts(cell)
    found[cell[first]] = whole.output[order][first]
    return found


def _segment_sizes(counts: Counts) -> tuple[Floats, Ints]:
    """For each segment its number of responses and its cell."""
    first = mark_group_starts(counts.cell, counts.segment)
    return sum_by_index(np.cumsum(first) - 1, counts.count, int(first.sum())), counts.cell[first]


def _has_exactly_k(counts: Counts, k: int) -> NDArray[np.bool_]:
    """Cells in which exactly k responses came, all under one identity."""
    segments = np.bincount(_segment_sizes(counts)[1], minlength=counts.cells)
    return np.asarray((segments == 1) & (count_responses(counts) == k))


def _choose_ratio(taken: Floats | Ints, of: Floats, k: int) -> Floats:
    """C(taken, k) / C(of, k), and 0 where `of` < k."""
    ratio = np.ones(np.shape(taken))
    for i in range(k):
        ratio *= np.maximum(taken - i, 0) / np.maximum(of - i, 1)
    return np.where(of >= k, ratio, 0.0)


def mark_group_starts(*columns: Ints) -> NDArray[np.bool_]:
    """True where a row of sorted columns differs from the row before; the first row counts as different."""
    first = np.zeros(columns[0].size, dtype=bool)
    first[:1] = True
    for column in columns:
        first[1:] |= column[1:] != column[:-1]
    return first


def sum_by_index(index: Ints, values: Floats | Ints, size: int) -> Floats:
    """Sum of the values that share an index, for each index below `size`."""
    return np.asarray(np.bincount(index, weights=values, minlength=size), dtype=np.float64)


def divide_or_nan(top: Floats | Ints, bottom: Floats | Ints) -> Floats:
    """top / bottom, NaN where bottom is 0."""
    found = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=found, where=bottom > 0)
    return found
