"""Per-prompt tables of output counts in, the p-value that two sides differ out. Labels permuted within prompt.

A table has a row for each side and a column for each distinct output of the prompt. Two sides that answer alike
make every assignment of the prompt's outputs to them equally likely, whatever the prompt: no further assumption.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tempzero.stats.hypothesis_tests import TestResult
from tempzero.stats.intervals import exact_proportion
from tempzero.stats.null import bound_null_tail, count_signatures, draw_null_sums, row_divergence, stack_tables
from tempzero.types.concluded import Estimate

_Counts = NDArray[np.int64]
_AA_PERMUTATIONS = 9999
_PROMPTS_AT_ONCE = 500
_FIRST_PERMUTATIONS = 999
_HITS_ENOUGH = 20
_FEWEST_RESPONSES = 2
_ONE_HOT = "excess divergence, labels permuted within prompt"
_SESSIONS = "excess divergence, sessions permuted"


def one_hot_permutation(
    tables: Sequence[_Counts], *, seed: int = 0, permutations: int = 999, settled_above: float = 1.0
) -> TestResult:
    """Does A differ from B by more than each differs from itself? One-sided, on the mean excess divergence D.

    `tables[j]` is 2 x K: how often A and B gave each distinct output of prompt j. Prompts with fewer than two outputs
    on a side are left out. Prompts of one signature share one null distribution, so that the cost hardly grows with
    the number of prompts. p = (c + 1) / (B + 1) (Phipson and Smyth 2010), where B is `permutations`, or 999 where
    these have shown already that the p-value is above `settled_above`: only a small p-value needs many.
    """
    stacked = stack_tables(tables)
    observed = math.fsum(row_divergence(stacked[:, 0], stacked[:, 1]))
    found, rng = count_signatures(stacked), np.random.default_rng(seed)
    null = draw_null_sums(found, rng, min(_FIRST_PERMUTATIONS, permutations))
    result = _one_sided_result(observed, null, len(stacked), _ONE_HOT)
    if permutations <= null.size or result.p_value > settled_above or not result.n:
        return result
    more = draw_null_sums(found, rng, permutations - null.size)
    return _one_sided_result(observed, np.concatenate([null, more]), len(stacked), _ONE_HOT)


def sequential_permutation(tables: Sequence[_Counts], *, seed: int = 0, permutations: int = 999) -> TestResult:
    """The same test where there are very many of them: what can be told early is.

    Relabellings are drawn until 20 of them reach what was observed, and then p = 20 / their number (Besag and Clifford
    1991), a p-value of its own; most pairs of honest peers need a few hundred. A p-value that is far too small to be
    drawn is bounded instead: by Chernoff's inequality over the exact null distribution of each prompt, which is at
    least the true one. What lies between is drawn, `permutations` at most.
    """
    stacked = stack_tables(tables)
    observed = math.fsum(row_divergence(stacked[:, 0], stacked[:, 1]))
    found, rng = count_signatures(stacked), np.random.default_rng(seed)
    if not len(stacked):
        return TestResult(statistic=0.0, p_value=1.0, n=0, permutations=0, method=_ONE_HOT)
    tolerance = _tie_tolerance(len(stacked))
    drawn = hits = 0
    size = min(_FIRST_PERMUTATIONS, permutations)
    while size:
        reached = np.flatnonzero(draw_null_sums(found, rng, size) >= observed - tolerance)
        if hits + reached.size >= _HITS_ENOUGH:
            drawn += int(reached[_HITS_ENOUGH - hits - 1]) + 1
            return TestResult(
                statistic=observed / len(stacked),
                p_value=_HITS_ENOUGH / drawn,
                n=len(stacked),
                permutations=drawn,
                method=_ONE_HOT,
            )
        hits, drawn = hits + reached.size, drawn + size
        bound = 1.0 if hits else bound_null_tail(found, observed - tolerance)
        if bound <= 1 / (permutations + 1):
            return TestResult(
                statistic=observed / len(stacked),
                p_value=bound,
                n=len(stacked),
                permutations=drawn,
                method=_ONE_HOT,
            )
        size = min(9 * drawn, permutations - drawn)
    p_value = (hits + 1) / (drawn + 1)
    return TestResult(
        statistic=observed / len(stacked), p_value=p_value, n=len(stacked), permutations=drawn, method=_ONE_HOT
    )


def session_permutation(
    tables: Sequence[tuple[_Counts, _Counts]], *, seed: int = 0, permutations: int = 999
) -> TestResult:
    """The same with whole sessions as what is exchanged: repeats of one session may all come from one machine.

    `tables[j]` is a table for each side, with a row for each of its sessions: how often it gave each distinct output
    of prompt j. Which sessions are whose is permuted, over all prompts at once; every
    way to do so is tried where there are no more of them than `permutations`. With two sessions a side there are but
    six ways, so that no p-value is small: four a side are needed.
    """
    kept = [(a, b) for a, b in tables if min(a.sum(), b.sum()) >= _FEWEST_RESPONSES]
    if not kept:
        return TestResult(statistic=0.0, p_value=1.0, n=0, permutations=0, method=_SESSIONS)
    sessions, own = len(kept[0][0]) + len(kept[0][1]), len(kept[0][0])
    width = max(a.shape[1] for a, _ in kept)
    counts = np.zeros((len(kept), sessions, width), dtype=np.int64)
    for room, (a, b) in zip(counts, kept, strict=True):
        room[:, : a.shape[1]] = np.vstack([a, b])
    exact = math.comb(sessions, own) <= permutations + 1
    if exact:
        chosen = [list(c) for c in combinations(range(sessions), own)]
    else:
        rng = np.random.default_rng(seed)
        chosen = [list(range(own)), *(rng.permutation(sessions)[:own].tolist() for _ in range(permutations))]
    sums = np.array([_sum_divergence(counts, c) for c in chosen])
    hits = int(np.count_nonzero(sums >= sums[0] - _tie_tolerance(len(kept))))
    return TestResult(
        statistic=float(sums[0]) / len(kept),
        p_value=hits / len(chosen),
        n=len(kept),
        permutations=0 if exact else permutations,
        method=_SESSIONS,
    )


def _sum_divergence(counts: _Counts, left: Sequence[int]) -> float:
    """Excess divergence over all prompts where these sessions are the left side's."""
    first = counts[:, list(left)].sum(axis=1)
    other = counts.sum(axis=1) - first
    usable = np.minimum(first.sum(axis=1), other.sum(axis=1)) >= _FEWEST_RESPONSES
    return math.fsum(row_divergence(first[usable], other[usable]))


def mmd_permutation(
    tables: Sequence[_Counts], kernels: Sequence[NDArray[np.float64]], *, seed: int = 0, permutations: int = 999
) -> TestResult:
    """The same for any kernel: one-sided, on unbiased MMD² within prompt (Gretton et al. 2012), averaged.

    `kernels[j]` is K x K over the distinct outputs of prompt j. A table of shape H x 2 x K counts H time blocks
    apart: labels are then permuted within prompt and block only.
    """
    rng = np.random.default_rng(seed)
    observed, null, n = 0.0, np.zeros(permutations), 0
    for table, kernel in zip(tables, kernels, strict=True):
        blocks = np.asarray(table, dtype=np.int64)
        blocks = blocks if blocks.ndim == 3 else blocks[None]
        counts, pooled = blocks.sum(axis=0), blocks.sum(axis=(0, 1))
        if counts.sum(axis=1).min() < 2:
            continue
        n += 1
        if np.count_nonzero(pooled) > 1:
            observed += float(_mmd_squared(counts[:1], pooled, kernel)[0])
            null += _mmd_squared(_relabel_blocks(blocks, rng, permutations), pooled, kernel)
    return _one_sided_result(observed, null, n, "MMD², labels permuted within prompt")


def aa_rejection_rate(counts: Sequence[_Counts], *, seed: int = 0, splits: int = 200, alpha: float = 0.05) -> Estimate:
    """How often `one_hot_permutation` would say that one side differs from itself; exact interval over the splits.

    `counts[j]` is how often each distinct output of prompt j occurred. The repeats are split in two at random, the
    two halves tested, `splits` times; prompts with fewer than four repeats are left out. This measures that the test
    keeps its level on data of this shape. It cannot see a side that changes in time: for that, test its first half
    against its second.
    """
    rng = np.random.default_rng(seed)
    enough = [c for c in (np.asarray(c, dtype=np.int64) for c in counts) if c.sum() >= 4]
    if not enough:
        return exact_proportion(0, 0)
    # Any split into such halves has the same margins, so one null serves all.
    found = count_signatures(stack_tables([np.stack([half := _count_first_half(c), c - half]) for c in enough]))
    null = np.sort(draw_null_sums(found, rng, _AA_PERMUTATIONS))
    observed = np.zeros(splits)
    for (n, _, pooled), prompts in found.items():
        for at_once in _split_portions(prompts if len(pooled) > 1 else 0):
            halves = rng.multivariate_hypergeometric(pooled, n, size=at_once * splits)
            observed += row_divergence(halves, np.array(pooled) - halves).reshape(at_once, splits).sum(axis=0)
    hits = null.size - np.searchsorted(null, observed - _tie_tolerance(len(enough)))
    return exact_proportion(int(np.count_nonzero((hits + 1) / (null.size + 1) <= alpha)), splits)


def _split_portions(number: int) -> Iterator[int]:
    """The number in parts that fit into memory."""
    yield from (min(_PROMPTS_AT_ONCE, number - start) for start in range(0, number, _PROMPTS_AT_ONCE))


def _count_first_half(counts: _Counts) -> _Counts:
    """How often each output is among the first half, were the repeats sorted by output."""
    filled = np.minimum(counts.cumsum(), counts.sum() // 2)
    return np.asarray(np.diff(filled, prepend=0))


def _relabel_blocks(blocks: _Counts, rng: np.random.Generator, size: int) -> _Counts:
    """Counts of the left side under `size` random relabellings within each block."""
    left = np.zeros((size, blocks.shape[2]), dtype=np.int64)
    for block in blocks:
        left += rng.multivariate_hypergeometric(block.sum(axis=0), int(block[0].sum()), size=size)
    return left


def _mmd_squared(left: _Counts, pooled: _Counts, kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    right = pooled - left
    n, m, own = int(left[0].sum()), int(right[0].sum()), np.diag(kernel)
    left_kernel = left @ kernel
    within_left = ((left_kernel * left).sum(axis=1) - left @ own) / (n * (n - 1))
    within_right = (((right @ kernel) * right).sum(axis=1) - right @ own) / (m * (m - 1))
    return np.asarray(within_left + within_right - 2 * (left_kernel * right).sum(axis=1) / (n * m))


def _one_sided_result(observed: float, null: NDArray[np.float64], n: int, method: str) -> TestResult:
    if n == 0:
        return TestResult(statistic=0.0, p_value=1.0, n=0, permutations=0, method=method)
    hits = int(np.count_nonzero(null >= observed - _tie_tolerance(n)))
    p_value = (hits + 1) / (null.size + 1)
    return TestResult(statistic=observed / n, p_value=p_value, n=n, permutations=null.size, method=method)


def _tie_tolerance(prompts: int) -> float:
    """Sums that are equal on paper differ by rounding; a tie counts against the claim."""
    return 1e-12 * prompts
