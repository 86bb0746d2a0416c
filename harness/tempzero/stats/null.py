"""A prompt's margins in, the exact distribution of its excess divergence, or of its novelty, under relabelling out.

With the pooled counts fixed, the left side's counts are multivariate hypergeometric, and either is a sum over the
distinct outputs of terms in integers. A table that is filled output by output, and merges equal partial sums, holds
the whole distribution without listing assignments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

# Responses on the left, on the right, and the pooled counts of the distinct outputs in ascending order.
Signature = tuple[int, int, tuple[int, ...]]

_Numbers = NDArray[Any]
_Number = int | _Numbers
_Terms = Callable[[_Numbers, _Numbers, _Number, _Number], _Numbers]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Statistic:
    """A sum of integers over the outputs: `terms` of one, and what each one seen once adds where it is on the left."""

    terms: _Terms
    single: int


# Beyond this many partial sums (about a hundred repeats a side) the distribution is sampled instead.
_MOST_STATES = 1_000_000
# Beyond this many responses the sums would not fit into 64 bits.
_MOST_RESPONSES = 2_000
_SAMPLES = 20_000
# What sums are tilted by where their tail is bounded; D_j lies between -1 and 1.
_TILTS = np.geomspace(0.1, 100.0, 31)


@dataclass(frozen=True, kw_only=True, slots=True)
class NullDistribution:
    """The values that D_j can take and their probabilities; one value: the prompt cannot move."""

    values: NDArray[np.float64]
    probabilities: NDArray[np.float64]

    @property
    def variance(self) -> float:
        """The mean is 0 by construction, so the second moment is the variance."""
        return float(self.probabilities @ np.square(self.values))


def stack_tables(tables: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Tables of different widths as one array, J x 2 x K, without those that have under two outputs on a side."""
    stacked: NDArray[np.int64] = np.zeros(
        (len(tables), 2, max((table.shape[1] for table in tables), default=0)), dtype=np.int64
    )
    for room, table in zip(stacked, tables, strict=True):
        room[:, : table.shape[1]] = table
    return np.asarray(stacked[stacked.sum(axis=2).min(axis=1) >= 2])


def row_divergence(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    """Excess divergence D_j, a row of counts each: half of both own exact-match rates, minus the cross one."""
    n, m = left.sum(axis=1), right.sum(axis=1)
    terms = _integer_divergence(left, right, n[:, None], m[:, None])
    return np.asarray(terms.sum(axis=1) / _divergence_denominator(n, m))


def count_signatures(stacked: NDArray[np.int64]) -> dict[Signature, int]:
    """How many of the stacked tables have each signature, in an order that does not depend on the prompts'."""
    margins = np.hstack([stacked.sum(axis=2), np.sort(stacked.sum(axis=1), axis=1)])
    rows, times = np.unique(margins, axis=0, return_counts=True)
    return {
        (int(row[0]), int(row[1]), tuple(int(c) for c in row[2:] if c)): int(count)
        for row, count in zip(rows, times, strict=True)
    }


@lru_cache(maxsize=4096)
def null_distribution(of: Signature) -> NullDistribution:
    """The distribution of D_j when labels mean nothing: exact, or from 20,000 seeded samples if too large."""
    return _build_null(of, _DIVERGENCE, _divergence_denominator(of[0], of[1]))


@lru_cache(maxsize=4096)
def novelty_null_distribution(of: Signature) -> NullDistribution:
    """The same for `novelty` minus its mean, which is `expected_novelty`."""
    null = _build_null(of, _NOVELTY, of[0])
    return NullDistribution(values=null.values - null.probabilities @ null.values, probabilities=null.probabilities)


def novelty_share(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share of the left side's responses that equal none on the right, a row of counts each."""
    return np.asarray(np.where(right == 0, left, 0).sum(axis=1) / left.sum(axis=1))


def expected_novelty(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean `novelty` when labels mean nothing: an output that occurs c times falls wholly to the left with a
    chance of C(n, c) / C(n + m, c)."""
    n, pooled = left.sum(axis=1)[:, None], left + right
    total = n + right.sum(axis=1)[:, None]
    chances = np.where((pooled > 0) & (pooled <= n), special.comb(n, pooled) / special.comb(total, pooled), 0.0)
    return np.asarray((pooled * chances).sum(axis=1) / n[:, 0])


def _build_null(of: Signature, statistic: _Statistic, denominator: int) -> NullDistribution:
    n, m, pooled = of
    if len(pooled) == 1 or pooled[-1] == 1:
        return NullDistribution(values=np.zeros(1), probabilities=np.ones(1))
    exact = _exact_null(n, m, pooled, statistic, denominator) if n + m <= _MOST_RESPONSES else None
    return exact or _sample_null(n, m, pooled, statistic, denominator)


def draw_null_sums(found: Mapping[Signature, int], rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """`size` random sums of D_j over all prompts, given how many have each signature."""
    sums = np.zeros(size)
    for of, prompts in found.items():
        null = null_distribution(of)
        if null.values.size > 1:
            sums += _draw_signature_sums(null, prompts, rng, size)
    return sums


def bound_null_tail(found: Mapping[Signature, int], observed: float) -> float:
    """At least the chance that the sum of D_j over all prompts reaches `observed` when labels mean nothing.

    Chernoff's inequality: for any t > 0 it is at most the mean of exp(t (sum - observed)); the best of a few t.
    """
    nulls = [(null_distribution(of), prompts) for of, prompts in found.items()]
    exponents = -_TILTS * observed
    for null, prompts in nulls:
        tilted = np.multiply.outer(_TILTS, null.values)
        top = tilted.max(axis=1)
        exponents = exponents + prompts * (top + np.log(np.exp(tilted - top[:, None]) @ null.probabilities))
    return float(min(1.0, np.exp(exponents.min())))


def _draw_signature_sums(
    null: NullDistribution, prompts: int, rng: np.random.Generator, size: int
) -> NDArray[np.float64]:
    sums = np.zeros(size)
    if prompts < null.values.size:
        edges = np.cumsum(null.probabilities)
        for _ in range(prompts):
            picks = np.searchsorted(edges, rng.random(size) * edges[-1], side="right")
            sums += null.values[np.minimum(picks, null.values.size - 1)]
        return sums
    rows = max(1, _MOST_STATES // null.values.size)
    for start in range(0, size, rows):
        drawn = sums[start : start + rows]
        drawn += rng.multinomial(prompts, null.probabilities, size=drawn.size) @ null.values
    return sums


def _exact_null(n: int, m: int, pooled: tuple[int, ...], of: _Statistic, denominator: int) -> NullDistribution | None:
    """None where the partial sums become too many."""
    # One integer holds a partial sum and how many left labels it has used.
    states: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
    weights: NDArray[np.float64] = np.ones(1)
    open_labels = n + m
    for is_single, size in _group_outputs(pooled):
        taken = np.arange(min(size, n) + 1)
        if states.size * taken.size > _MOST_STATES:
            return None
        open_labels -= size
        terms = of.single * taken if is_single else of.terms(taken, size - taken, n, m)
        used = (states % (n + 1))[:, None] + taken
        possible = (used <= n) & (used + open_labels >= n)
        summed = (states[:, None] + terms * (n + 1) + taken)[possible]
        likely = (weights[:, None] * _binomial_weights(taken, size, n / (n + m)))[possible]
        states, index = np.unique(summed.astype(np.int64), return_inverse=True)
        weights = np.asarray(np.bincount(index, weights=likely), dtype=np.float64)
    return NullDistribution(values=(states // (n + 1)) / denominator, probabilities=weights / weights.sum())


def _sample_null(n: int, m: int, pooled: tuple[int, ...], of: _Statistic, denominator: int) -> NullDistribution:
    groups = list(_group_outputs(pooled))
    sizes = np.array([size for _, size in groups])
    left = np.random.default_rng(0).multivariate_hypergeometric(sizes, n, size=_SAMPLES)
    terms = of.terms(left.astype(np.float64), (sizes - left).astype(np.float64), n, m)
    if groups[0][0]:
        terms[:, 0] = of.single * left[:, 0]
    values = terms.sum(axis=1) / denominator
    # The true mean is 0; the samples' own mean would add up over thousands of prompts that share them.
    return NullDistribution(values=values - values.mean(), probabilities=np.full(_SAMPLES, 1 / _SAMPLES))


def _group_outputs(pooled: tuple[int, ...]) -> Iterator[tuple[bool, int]]:
    """Counts of the distinct outputs; those seen once are taken together first, since they match nothing."""
    singles = sum(1 for count in pooled if count == 1)
    if singles:
        yield True, singles
    yield from ((False, count) for count in pooled if count > 1)


def _integer_divergence(left: _Numbers, right: _Numbers, n: _Number, m: _Number) -> _Numbers:
    """What outputs that occur `left` and `right` times add to D_j, times `_denominator`."""
    own = m * (m - 1) * left * (left - 1) + n * (n - 1) * right * (right - 1)
    return np.asarray(own - 2 * (n - 1) * (m - 1) * left * right)


def _count_new_outputs(left: _Numbers, right: _Numbers, n: _Number, m: _Number) -> _Numbers:
    """How many on the left equal none on the right."""
    return np.asarray(np.where(right == 0, left, 0))


def _divergence_denominator(n: _Number, m: _Number) -> Any:
    return 2 * n * (n - 1) * m * (m - 1)


def _binomial_weights(taken: NDArray[np.int64], size: int, share: float) -> NDArray[np.float64]:
    """Given the total these are hypergeometric, whatever the share; the left side's own avoids tiny numbers."""
    ways = special.gammaln(size + 1) - special.gammaln(taken + 1) - special.gammaln(size - taken + 1)
    return np.asarray(np.exp(ways + taken * np.log(share) + (size - taken) * np.log1p(-share)))


_DIVERGENCE = _Statistic(terms=_integer_divergence, single=0)
_NOVELTY = _Statistic(terms=_count_new_outputs, single=1)
