"""Counts or per-prompt values in, an Estimate with its 95 % interval out.

The choice of method for values over prompts was made by simulation; `tests/benchmarks/calibration.py` repeats it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tempzero.types.concluded import Estimate

CONFIDENCE = 0.95
_TAIL = (1 - CONFIDENCE) / 2

# What the data have not shown yet counts as half a prompt at each end of the scale.
_UNSEEN_PROMPTS = 0.5
# The same for excess divergence, whose values lie less evenly; its variance counts 1 + 1/n times. No prompt's value is
# below the floor: two repeats a side that differ crosswise.
_UNSEEN_DIVERGENCE = 0.75
_DIVERGENCE_FLOOR = -0.5
# Where the ends are unknown they are taken to lie beyond the observed range, by this many ranges / prompts.
_REACH = 5.0


def wilson_proportion(successes: int, n: int) -> Estimate:
    """Share of `n` independent units with Wilson's score interval (Wilson 1927)."""
    if n <= 0:
        return _empty_estimate("Wilson")
    share, z = successes / n, float(special.ndtri(1 - _TAIL))
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Estimate(value=share, low=min(low, share), high=max(high, share), n=n, method="Wilson")


def exact_proportion(successes: int, n: int) -> Estimate:
    """Share of `n` independent units with the exact interval (Clopper and Pearson 1934)."""
    if n <= 0:
        return _empty_estimate("Clopper-Pearson")
    low = 0.0 if successes == 0 else float(special.betaincinv(successes, n - successes + 1, _TAIL))
    high = 1.0 if successes == n else float(special.betaincinv(successes + 1, n - successes, 1 - _TAIL))
    return Estimate(value=successes / n, low=low, high=high, n=n, method="Clopper-Pearson")


def rule_of_three(n: int) -> float:
    """Largest rate that `n` units without any event leave possible at 95 %: 1 - .05^(1/n), about 3/n; 1 for n = 0."""
    return 1.0 if n <= 0 else -math.expm1(math.log(1 - CONFIDENCE) / n)


def t_half_width(deviation: float, degrees: int, alpha: float) -> float:
    """Half the width of a two-sided interval by Student's t for an estimate with this standard error."""
    return float(special.stdtrit(degrees, 1 - alpha / 2)) * deviation if degrees > 0 else math.inf


def share_over_prompts(values: NDArray[np.float64]) -> Estimate:
    """Mean of one value in [0, 1] per prompt; never collapses, not even where all values are equal.

    Jeffreys' interval (Brown, Cai, DasGupta 2001) carried over from yes/no to values between: the prompts and half
    a prompt at each edge are weighted as in the Bayesian bootstrap (Rubin 1981), and a beta distribution takes the
    two first moments of their mean. For values 0 and 1 it IS Jeffreys' interval. Where all are 0 (or all 1) the far
    limit is `rule_of_three`. No interval below two prompts.
    """
    x = np.asarray(values, dtype=np.float64)
    method = "Jeffreys over prompts"
    if x.size < 2:
        return _mean_without_interval(x, method)
    # Summing equal values may end a rounding error beside them, or beyond an edge.
    value = min(max(float(x.mean()), float(x.min())), float(x.max()))
    if value in (0.0, 1.0):
        reach = rule_of_three(x.size)
        return Estimate(value=value, low=value * (1 - reach), high=value or reach, n=x.size, method=method)
    weight, centre, squares = _moments_with_unseen(x, 0.0, 1.0, _UNSEEN_PROMPTS)
    low, high = _beta_limits(centre, squares / (weight * (weight + 1)))
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=x.size, method=method)


def divergence_over_prompts(values: NDArray[np.float64]) -> Estimate:
    """Mean excess divergence of one value per prompt, each in [-1/2, 1]; the true mean lies in [0, 1].

    As `share_over_prompts`, on the scale from -1/2 to 1: what was not seen counts as three quarters of a prompt without
    divergence and as many that diverge wholly. A few prompts rarely show the one in ten that does, however evenly
    noise moves the others, so an interval from their spread alone covers far too little. No interval below two.
    """
    x = np.asarray(values, dtype=np.float64)
    method = "beta over prompts"
    if x.size < 2:
        return _mean_without_interval(x, method)
    weight, centre, squares = _moments_with_unseen(x, 0.0, 1.0, _UNSEEN_DIVERGENCE)
    width = 1 - _DIVERGENCE_FLOOR
    variance = squares / (weight * (weight + 1)) * (1 + 1 / x.size) / width**2
    limits = _beta_limits((centre - _DIVERGENCE_FLOOR) / width, variance)
    low, high = (_DIVERGENCE_FLOOR + width * limit for limit in limits)
    value = float(x.mean())
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=x.size, method=method)


def mean_over_prompts(values: NDArray[np.float64], *, bounds: tuple[float, float] | None = None) -> Estimate:
    """Mean of one value per prompt, of any size and sign; `bounds` are the limits no prompt's value can pass.

    Student's t over the prompts and half a prompt beyond each end of what was seen: a few prompts rarely show the
    tails, and plain t and the bootstrap then cover too little. Where all values are equal, the interval allows for
    a share of unseen prompts at the bounds (Clopper-Pearson); without bounds there is none. No interval below two.
    """
    x = np.asarray(values, dtype=np.float64)
    method = "t over prompts"
    if x.size < 2 or (bounds is None and x.min() == x.max()):
        return _mean_without_interval(x, method)
    value, floor, ceiling = float(x.mean()), *(bounds or (-math.inf, math.inf))
    if x.min() == x.max():
        unseen = -math.expm1(math.log(_TAIL) / x.size)
        low, high = value - unseen * (value - floor), value + unseen * (ceiling - value)
        return Estimate(value=value, low=low, high=high, n=x.size, method="unseen prompts at the bounds")
    beyond = _REACH / x.size * float(x.max() - x.min())
    ends = max(float(x.min()) - beyond, floor), min(float(x.max()) + beyond, ceiling)
    weight, centre, squares = _moments_with_unseen(x, *ends, _UNSEEN_PROMPTS)
    half = float(special.stdtrit(weight - 1, 1 - _TAIL)) * math.sqrt(squares / ((weight - 1) * weight))
    low, high = max(floor, min(centre - half, value)), min(ceiling, max(centre + half, value))
    return Estimate(value=value, low=low, high=high, n=x.size, method=method)


def ratio_over_prompts(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> Estimate:
    """Sum of one over sum of another value per prompt, a share by construction (F1, for one).

    The linearised ratio, one residual a prompt, with Student's t; prompts without a denominator tell nothing. Where
    all residuals are 0 the far limit is `rule_of_three`. No interval below two prompts.
    """
    method = "ratio over prompts"
    told = denominator > 0
    above, below = numerator[told], denominator[told]
    n = int(below.size)
    if n == 0:
        return _empty_estimate(method)
    value = float(above.sum() / below.sum())
    if n < 2:
        return Estimate(value=value, low=None, high=None, n=n, method=method)
    residuals = (above - value * below) / below.mean()
    if not residuals.any():
        reach = rule_of_three(n)
        return Estimate(value=value, low=max(0.0, value - reach), high=min(1.0, value + reach), n=n, method=method)
    half = float(special.stdtrit(n - 1, 1 - _TAIL)) * math.sqrt(float(residuals.var(ddof=1)) / n)
    return Estimate(value=value, low=max(0.0, value - half), high=min(1.0, value + half), n=n, method=method)


def rate_over_prompts(events: NDArray[np.float64], exposure: NDArray[np.float64], *, per: float = 1.0) -> Estimate:
    """Events over exposure, summed over prompts, for every `per` units of exposure: a rate, of any size.

    The linearised ratio with Student's t, as `ratio_over_prompts`; where nothing happened the upper limit is the rate
    that leaves the whole exposure without an event once in twenty times. No interval below two prompts.
    """
    method = "rate over prompts"
    told = exposure > 0
    above, below = per * events[told], exposure[told]
    n = int(below.size)
    if n == 0:
        return _empty_estimate(method)
    value = float(above.sum() / below.sum())
    if n < 2:
        return Estimate(value=value, low=None, high=None, n=n, method=method)
    if not above.any():
        high = -per * math.log(1 - CONFIDENCE) / float(below.sum())
        return Estimate(value=0.0, low=0.0, high=high, n=n, method=method)
    residuals = (above - value * below) / below.mean()
    half = float(special.stdtrit(n - 1, 1 - _TAIL)) * math.sqrt(float(residuals.var(ddof=1)) / n)
    return Estimate(value=value, low=max(0.0, value - half), high=value + half, n=n, method=method)


def _beta_limits(centre: float, variance: float) -> tuple[float, float]:
    """The middle 95 % of the beta distribution with that mean and variance."""
    size = centre * (1 - centre) / variance - 1
    low, high = special.betaincinv(centre * size, (1 - centre) * size, np.array([_TAIL, 1 - _TAIL]))
    return float(low), float(high)


def _moments_with_unseen(
    x: NDArray[np.float64], floor: float, ceiling: float, unseen: float
) -> tuple[float, float, float]:
    """Total weight, mean and sum of squares about it, of the prompts and so many unseen ones at each of the ends."""
    weight = x.size + 2 * unseen
    centre = (float(x.sum()) + unseen * (floor + ceiling)) / weight
    squares = float(np.square(x - centre).sum())
    return weight, centre, squares + unseen * ((floor - centre) ** 2 + (ceiling - centre) ** 2)


def _empty_estimate(method: str) -> Estimate:
    return Estimate(value=None, low=None, high=None, n=0, method=method)


def _mean_without_interval(x: NDArray[np.float64], method: str) -> Estimate:
    return Estimate(value=float(x.mean()) if x.size else None, low=None, high=None, n=int(x.size), method=method)
