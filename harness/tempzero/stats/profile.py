"""Log-likelihoods over a grid, one row for each prompt, in; the maximum-likelihood Estimate out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tempzero.stats.intervals import CONFIDENCE
from tempzero.types.concluded import Estimate

_Floats = NDArray[np.float64]
_STEPS = 24  # points between two of the grid's
_METHOD = "maximum likelihood, profile interval clustered by prompt"


def profile_maximum(grid: Sequence[float], log_likelihood: _Floats) -> Estimate:
    """Where the likelihood over all prompts is largest, with a profile interval as wide as prompts differ.

    `log_likelihood[j, i]` is prompt j's at `grid[i]`; the grid is positive and is read on a logarithmic scale.
    The likelihood ratio is divided by how much more the prompts' slopes vary than independent tokens' would
    (Pauli's and Royall's adjustment; never below 1). A limit that the likelihood does not reach within the grid
    is the grid's end. No interval below two prompts.
    """
    x = np.log(np.asarray(grid, dtype=np.float64))
    fine = np.unique(np.concatenate([np.linspace(a, b, _STEPS) for a, b in pairwise(x)]))
    values = _interpolate(x, log_likelihood.sum(axis=0), fine)
    best = int(values.argmax())
    prompts = log_likelihood.shape[0]
    value = float(np.exp(fine[best]))
    if prompts < 2:
        return Estimate(value=value, low=None, high=None, n=prompts, method=_METHOD)
    half = float(special.stdtrit(prompts - 1, 1 - (1 - CONFIDENCE) / 2)) ** 2 / 2
    kept = values[best] - values <= half * _slope_spread(x, fine[best], log_likelihood)
    below, above = np.flatnonzero(~kept[:best]), np.flatnonzero(~kept[best:])
    low = fine[below[-1]] if below.size else fine[0]
    high = fine[best + above[0]] if above.size else fine[-1]
    return Estimate(value=value, low=float(np.exp(low)), high=float(np.exp(high)), n=prompts, method=_METHOD)


def _interpolate(x: _Floats, values: _Floats, at: _Floats) -> _Floats:
    """A smooth curve through the values at x, along their first axis, read at other places."""
    from scipy.interpolate import Akima1DInterpolator  # loaded where it is used: every command would wait for it

    found: _Floats = Akima1DInterpolator(x, values, method="makima")(at)
    return found


def _slope_spread(x: _Floats, at: float, log_likelihood: _Floats) -> float:
    """How much more the prompts' slopes at the maximum vary than the curvature there says."""
    step = float(np.diff(x).min()) / 4
    at = min(max(at, x[0] + step), x[-1] - step)
    below, here, above = _interpolate(x, log_likelihood.T, np.array([at - step, at, at + step]))
    slopes = (above - below) / (2 * step)
    curvature = -float((above - 2 * here + below).sum()) / step**2
    if curvature <= 0:
        return 1.0
    prompts = len(slopes)
    varied = float(np.square(slopes - slopes.mean()).sum()) * prompts / (prompts - 1)
    return max(1.0, varied / curvature)
