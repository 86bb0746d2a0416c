"""2 x K tables in, the total variation between their rows out, beside what relabelling gives; seeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RELABELLINGS = 999


@dataclass(frozen=True, kw_only=True, slots=True)
class VariationTest:
    """`by_prompt` is half the sum of |p - q|; `usual` its mean over relabellings within the prompt.

    `p_value` is (c + 1) / (B + 1) for the mean over prompts, B = 999.
    """

    by_prompt: NDArray[np.float64]
    usual: NDArray[np.float64]
    p_value: float


def total_variation_test(tables: Sequence[NDArray[np.int64]], *, seed: int = 0) -> VariationTest:
    """Do two rows of counts differ more than their answers would if they came from one distribution?"""
    rng = np.random.default_rng(seed)
    drawn = np.zeros((len(tables), _RELABELLINGS))
    observed = np.zeros(len(tables))
    for j, one in enumerate(tables):
        pooled, n = one.sum(axis=0), int(one[0].sum())
        left = rng.multivariate_hypergeometric(pooled, n, size=_RELABELLINGS)
        drawn[j] = _total_variation(left, pooled - left)
        observed[j] = _total_variation(one[:1], one[1:])[0]
    total = drawn.sum(axis=0)
    above = int((total >= observed.sum() - 1e-12).sum())
    return VariationTest(by_prompt=observed, usual=drawn.mean(axis=1), p_value=(above + 1) / (_RELABELLINGS + 1))


def _total_variation(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    shares = [side / side.sum(axis=1, keepdims=True) for side in (left, right)]
    return np.asarray(np.abs(shares[0] - shares[1]).sum(axis=1) / 2)
