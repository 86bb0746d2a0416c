"""Paired differences, counts or p-values in, a TestResult or corrected p-values out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special


@dataclass(frozen=True, kw_only=True, slots=True)
class TestResult:
    """One test. `n` prompts had data; `permutations` were drawn (0: exact). `p_value` is never 0.

    With nothing to test `n` is 0, `statistic` 0 and `p_value` 1: no evidence, which is not agreement.
    """

    statistic: float
    p_value: float
    n: int
    permutations: int
    method: str


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Family-wise corrected p-values in the order given (Holm 1979)."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return tuple(corrected)


def mcnemar_exact(only_left: int, only_right: int) -> float:
    """Two-sided exact p-value that the two kinds of discordant prompt are equally likely (McNemar 1947)."""
    n = only_left + only_right
    if n == 0:
        return 1.0
    return min(1.0, 2 * float(special.bdtr(min(only_left, only_right), n, 0.5)))


def composite_null_test(members: Sequence[TestResult]) -> TestResult:
    """Differs from EVERY one of these? The largest p-value decides (intersection-union test, Berger 1982).

    No correction for the number of members is needed.
    """
    if not members:
        return TestResult(statistic=0.0, p_value=1.0, n=0, permutations=0, method="intersection-union")
    weakest = max(members, key=lambda m: m.p_value)
    return replace(weakest, n=min(m.n for m in members), method=f"intersection-union of {weakest.method}")


def sign_flip_test(differences: NDArray[np.float64], *, seed: int = 0, permutations: int = 9999) -> TestResult:
    """Two-sided: is the mean of the per-prompt paired differences zero? Signs flipped by prompt (Fisher 1935).

    Every sign pattern is tried where there are no more of them than `permutations`; else p = (c + 1) / (B + 1).
    """
    d = np.asarray(differences, dtype=np.float64)
    sizes = np.abs(d[d != 0])
    # Sums that are equal on paper differ by rounding; a tie counts against the claim.
    threshold = abs(float(d.sum())) - 1e-12 * float(sizes.sum())
    exact = 2**sizes.size <= permutations + 1
    if exact:
        sums = (1 - 2 * (np.arange(2**sizes.size)[:, None] >> np.arange(sizes.size) & 1)) @ sizes
        p_value = float(np.mean(np.abs(sums) >= threshold))
    else:
        sums = _draw_signed_sums(sizes, np.random.default_rng(seed), permutations)
        p_value = (int(np.count_nonzero(np.abs(sums) >= threshold)) + 1) / (permutations + 1)
    return TestResult(
        statistic=float(d.mean()) if d.size else 0.0,
        p_value=p_value,
        n=int(d.size),
        permutations=0 if exact else permutations,
        method="sign-flip over prompts" + (", exact" if exact else ""),
    )


def _draw_signed_sums(sizes: NDArray[np.float64], rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Sums under random signs; sizes that occur often are drawn together, which is what makes many prompts cheap."""
    values, times = np.unique(sizes, return_counts=True)
    once, often = values[times == 1], times > 1
    sums = np.empty(count)
    for start in range(0, count, 500):
        rows = min(500, count - start)
        bits = np.unpackbits(rng.integers(0, 256, size=(rows, once.size // 8 + 1), dtype=np.uint8), axis=1)
        heads = rng.binomial(times[often], 0.5, size=(rows, int(often.sum())))
        signed = (2 * heads - times[often]) @ values[often]
        sums[start : start + rows] = signed + 2 * (bits[:, : once.size] @ once) - once.sum()
    return sums
