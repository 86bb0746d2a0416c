"""Data of the size at hand in, the smallest effect that would be found four times out of five out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tempzero.stats.null import Signature, count_signatures, draw_null_sums, null_distribution, stack_tables

ALPHA = 0.05
POWER = 0.8
_DRAWS = 1999


def minimum_detectable_effect(values: NDArray[np.float64]) -> float | None:
    """Smallest shift of the mean that a two-sided test at .05 over such prompts finds with power .8.

    Normal approximation with Student's quantiles: (t(.975) + t(.8)) · s / √n. None where fewer than two prompts or
    equal values leave the spread unknown; `rule_of_three` then says what may have stayed unseen.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.size < 2 or x.min() == x.max():
        return None
    quantiles = float(special.stdtrit(x.size - 1, 1 - ALPHA / 2) + special.stdtrit(x.size - 1, POWER))
    return quantiles * float(x.std(ddof=1)) / math.sqrt(x.size)


def minimum_detectable_divergence(tables: Sequence[NDArray[np.int64]]) -> float | None:
    """Smallest mean excess divergence that `one_hot_permutation` at .05 finds with power .8 on tables like these.

    The larger of two. (1) The same small shift in every prompt has to rise above the relabelling noise: normal
    approximation about the shift, beside the critical value of the test itself. (2) Where few prompts differ, but
    wholly, enough of them have to be in the sample. None where no table of this size could reject.
    """
    found = count_signatures(stack_tables(tables))
    # Of k prompts that differ wholly, one relabelling each (two, for equal sides) in C(n + m, n) looks as bad.
    chances = sorted(c for (n, m, _), times in found.items() for c in [_whole_split_chance(n, m)] * times)
    needed = next((k for k in range(1, len(chances) + 1) if math.prod(chances[:k]) <= ALPHA), None)
    if needed is None:
        return None
    whole = float(special.betaincinv(needed, len(chances) - needed + 1, POWER))
    return max(whole, _detectable_shift(found))


def _detectable_shift(found: Mapping[Signature, int]) -> float:
    """The D for which J·D = critical sum + z(.8) · standard deviation of the sum, which itself grows with D.

    A prompt's variance is its null variance plus at most 2 D (1 - EMR) (1/n + 1/m), by the delta method.
    """
    prompts = sum(found.values())
    critical = float(np.quantile(draw_null_sums(found, np.random.default_rng(0), _DRAWS), 1 - ALPHA))
    at_zero = sum(null_distribution(of).variance * times for of, times in found.items())
    growth = sum(2 * _pooled_noise(pooled) * (1 / n + 1 / m) * times for (n, m, pooled), times in found.items())
    z = float(special.ndtri(POWER))
    middle = prompts * critical + z * z * growth / 2
    root = math.sqrt(max(0.0, middle**2 - prompts**2 * (critical**2 - z * z * at_zero)))
    return (middle + root) / prompts**2


def _pooled_noise(pooled: tuple[int, ...]) -> float:
    """1 - EMR of the pooled outputs."""
    total = sum(pooled)
    return 1 - sum(c * (c - 1) for c in pooled) / (total * (total - 1))


def _whole_split_chance(n: int, m: int) -> float:
    return (2 if n == m else 1) / math.comb(n + m, n)
