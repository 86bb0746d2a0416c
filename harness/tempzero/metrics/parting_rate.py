"""Counts of texts in, how often pairs of them part and how much they share until then, a value for each cell, out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tempzero.metrics.agreement import (
    Counts,
    Floats,
    Ints,
    count_responses,
    mark_group_starts,
    pool_segments,
    sum_by_index,
)
from tempzero.metrics.divergence import Pairs, count_ordered_pairs, cross_pairs, mean_distance, repeat_pairs
from tempzero.types.vocabulary import COMPARED_KINDS, Metric

PARTINGS_PER_1000_TOKENS = Metric(
    name="partings_per_1000_tokens",
    unit="ratio",
    kinds=("repeat", *COMPARED_KINDS),
    title="Texts part, per 1,000 tokens",
    definition="Pairs of answers that part, divided by the tokens that pairs share before they do (or to their end), "
    "times 1,000: the rate at which texts part, whatever their length. Tokens as the provider counts them, by its own "
    "characters a token.",
    source="events / exposure; Yuan et al. 2506.09501 for the first difference",
    undefined="no two answers with counted tokens could be compared",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Exposure:
    """Of each cell: the share of its pairs that part, and the characters that a pair shares on average."""

    parted: Floats
    shared_chars: Floats


SharedChars = Callable[[Ints, Ints], Ints]
"""For texts at the same places of two lists, how many characters they share from their beginning."""


def measure_repeat_exposure(counts: Counts, length: Ints, shared: SharedChars) -> Exposure:
    """Of the pairs of repeats within each cell; NaN where there are none."""
    first = mark_group_starts(counts.cell, counts.segment)
    total = count_ordered_pairs(counts, first)
    of_pair = np.where(total > 0, total, np.inf)[counts.cell]
    both = counts.count * (counts.count - 1) / of_pair * length[counts.output]
    same = sum_by_index(counts.cell, both, counts.cells)
    return _add_identical(repeat_pairs(counts), same, shared)


def measure_cross_exposure(left: Counts, right: Counts, length: Ints, shared: SharedChars) -> Exposure:
    """Of the pairs of one answer of each side; NaN where either has none."""
    a, b = pool_segments(left), pool_segments(right)
    shares = [c.count / np.maximum(count_responses(c), 1)[c.cell] for c in (a, b)]
    width = 1 + int(max(a.output.max(initial=0), b.output.max(initial=0)))
    _, at_a, at_b = np.intersect1d(a.cell * width + a.output, b.cell * width + b.output, return_indices=True)
    both = shares[0][at_a] * shares[1][at_b] * length[a.output[at_a]]
    same = sum_by_index(a.cell[at_a], both, a.cells)
    return _add_identical(cross_pairs(left, right), same, shared)


def _add_identical(pairs: Pairs, identical: Floats, shared: SharedChars) -> Exposure:
    lengths = shared(pairs.left, pairs.right).astype(np.float64)
    return Exposure(
        parted=mean_distance(pairs, np.ones(pairs.cell.size)), shared_chars=mean_distance(pairs, lengths) + identical
    )
