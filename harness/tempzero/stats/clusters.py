"""Values of prompts of which some were made from one template in, an Estimate that counts templates out.

Prompts of one generator's kind, template or `variants:` group behave alike, so forty of eight templates say less than
forty. The design effect (Kish 1965) is how many times larger the variance of their mean is than that of as many
independent prompts; the interval is that of so many fewer prompts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tempzero.types.concluded import Estimate

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


def design_effect(values: _Floats, clusters: _Ints) -> float:
    """The variance of the mean by clusters over that by prompts, 1 at least; J / G where all values are equal.

    With few clusters their spread is itself uncertain: it is taken to be larger by G / (G - 3), by simulation.
    """
    _, group, size = np.unique(clusters, return_inverse=True, return_counts=True)
    prompts, groups = values.size, size.size
    if groups == prompts or prompts < 2:
        return 1.0
    most = float(np.square(size).sum()) / prompts
    rest = values - values.mean()
    spread = float(np.square(rest).sum())
    if spread <= 1e-12 * prompts or groups < 5:
        return most
    by_cluster = float(np.square(np.bincount(group, rest)).sum()) * groups / (groups - 1)
    effect = by_cluster / (spread * prompts / (prompts - 1)) * groups / (groups - 3)
    return min(max(1.0, effect), most * groups / (groups - 3))


def estimate_by_clusters(values: _Floats, clusters: _Ints, estimate: Callable[[_Floats], Estimate]) -> Estimate:
    """The estimate of these values, its interval that of the effective number of prompts.

    That many values are taken at even ranks, so that the interval keeps its form and its bounds.
    """
    whole, effect = estimate(values), design_effect(values, clusters)
    if whole.value is None or whole.low is None or whole.high is None or effect <= 1.0:
        return whole
    effective = max(2, round(values.size / effect))
    if effective >= values.size:
        return whole
    ranks = (np.arange(effective) + 0.5) / effective * values.size
    thinned = estimate(np.sort(values)[ranks.astype(np.int64)])
    if thinned.low is None or thinned.high is None or thinned.value is None:
        return whole
    return replace(
        whole,
        low=min(whole.low, thinned.low),
        high=max(whole.high, thinned.high),
        method=f"{whole.method}; design effect {effect:.2g} of {np.unique(clusters).size} groups of prompts",
    )
