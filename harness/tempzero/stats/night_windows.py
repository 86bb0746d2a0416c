"""Answers of the last nights and of a frozen pool in, an e-value of a change out: closed forms, vectorised.

A WINDOW is the last L nights taken as one batch, held against a POOL that does not grow. Its e-value has a mean of at
most 1 as long as nothing has changed. Tonight's evidence is a fixed weighted MEAN of the e-values of all windows and
pools, never a product over nights: products against one pool that is used again are not valid, a mean is, whatever the
dependence. So P(evidence >= c) <= 1/c on every single night (Markov), and by linearity of expectation no more than one
false alarm is expected in c nights. Small changes that stay are seen by the long windows.

What honest nights may differ by: the ODDS of a prompt's texts in one batch may differ from the pool's by a factor of up
to t, in any direction and on every prompt, without the mean exceeding 1. t = exp(k sd sqrt(1/L + 1/m)) for L nights
against m; `sd` is estimated from the pool (`estimate_spread`) and never taken below SPREAD_FLOOR.

Three statistics, averaged. With w answers in the window, K_c of N pooled answers being text c and x_c of them in the
window, H hypergeometric:

sparse   e_jc = 1 / (S H(x_c) t^|x_c - w K_c / N|), S possible values of x_c, has mean <= 1: under odds o the chance of
         x is H(x) o^x / E o^X <= H(x) o^(x - E X) (Jensen). e_j is the mean over the texts of prompt j, and the product
         of (1 - eps + eps e_j) is a bet that a share eps of the prompts has changed; eps from 1 of 20 to all.
dense    T, answers that are not the commonest text: its moment-generating function is at most the binomial's (Hoeffding
         1963), tilted by t.
new      Z, answers whose text the pool does not know: cell counts are negatively associated (Joag-Dev and Proschan
         1983), so the mean of the product is at most the product of the means. Bounded at odds 1 and t; between them
         and below 1 this is not proven, and rests on the simulation.

What is proven and what is simulated (`tests/benchmarks/nightly.py`) stands in docs/methods.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

# Lengths of the windows in nights: any length of a change is within a factor of 1.7 of one.
WINDOWS = (1, 2, 3, 5, 8, 13, 21)
# Standard deviation, from night to night, of a text's odds (natural logarithm): no pool is taken to be calmer.
SPREAD_FLOOR = 0.3
# So many standard deviations are nobody's change.
SPREADS_TOLERATED = 2.0
# Shares of the prompts that may have changed, and tilts of the two counts: grids of mixtures; any values are valid.
_SHARES = (0.05, 0.125, 0.35, 1.0)
_TILTS = (0.5, 1.0, 2.0)
_NEW_TILTS = (0.6, 1.0, 2.0)
# A prompt whose own e-value reaches this is named as one that changed.
TELLING_PROMPT = 20.0
# Nights needed before the spread is estimated at all.
_NIGHTS_FOR_SPREAD = 6

Counts = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowEvidence:
    """Natural logarithms of e-values: `total` of each batch, `by_prompt` (batch x prompts) of each prompt alone."""

    total: Numbers
    by_prompt: Numbers


def odds_tolerated(nights: int, pool_nights: int, spread: float) -> float:
    """Natural logarithm of the factor by which a batch of so many nights may honestly differ from its pool in odds."""
    sd = max(spread, SPREAD_FLOOR)
    return SPREADS_TOLERATED * sd * math.sqrt(1 / max(nights, 1) + 1 / max(pool_nights, 1))


def weigh_windows(left: Counts, pooled: Counts, log_odds: Numbers, times: Counts | None = None) -> WindowEvidence:
    """e-values of batches (first axis) of prompts (second) over texts (third).

    `left` counts a text in the window, `pooled` in window and pool together; a cell that stands for several texts of
    the same counts says how many in `times`. `log_odds` is what each batch tolerates. Texts that nobody gave count 0.
    """
    t = np.asarray(log_odds, dtype=np.float64)[:, None]
    weight = np.where(pooled > 0, 1 if times is None else times, 0)
    w, n = (left * weight).sum(axis=2), (pooled * weight).sum(axis=2)
    by_prompt = _weigh_texts(left, pooled, weight, w, n, t)
    top = pooled.argmax(axis=2)[..., None]
    share = 1 - np.take_along_axis(pooled, top, axis=2)[..., 0] / np.maximum(n, 1)
    others = w - np.take_along_axis(left, top, axis=2)[..., 0]
    share, others = np.where(w > 0, share, 0.0), np.where(w > 0, others, 0)
    kinds = np.stack(
        [
            _mix_shares(by_prompt),
            _weigh_losses(others, share, w, t),
            _weigh_new_texts(left, pooled, weight, (w, n), top, share, t),
        ]
    )
    return WindowEvidence(total=_log_mean(kinds), by_prompt=by_prompt)


def _weigh_texts(left: Counts, pooled: Counts, weight: Counts, w: Counts, n: Counts, t: Numbers) -> Numbers:
    """log e_j: the mean over a prompt's texts of 1 / (S H t^|x - mean|)."""
    table = _log_factorials(int(n.max(initial=0)))
    wide, whole = w[..., None], n[..., None]
    rest = whole - pooled
    log_h = table[pooled] - table[left] - table[pooled - left] + table[rest] - table[whole]
    log_h += table[wide] + table[whole - wide] - table[wide - left] - table[rest - wide + left]
    possible = np.minimum(wide, pooled) - np.maximum(0, wide - rest) + 1
    away = np.abs(left - wide * pooled / np.maximum(whole, 1))
    log_e = -np.log(possible) - log_h - t[..., None] * away
    texts = weight.sum(axis=2)
    largest = np.where(weight > 0, log_e, -np.inf).max(axis=2)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    summed = (weight * np.exp(np.minimum(log_e - largest[..., None], 0.0))).sum(axis=2)
    return largest + np.log(np.where(texts > 0, summed / np.maximum(texts, 1), 1.0))


def _mix_shares(by_prompt: Numbers) -> Numbers:
    bets = []
    for share in _SHARES:
        one = by_prompt if share == 1 else np.logaddexp(math.log1p(-share), math.log(share) + by_prompt)
        bets.append(one.sum(axis=1))
    return _log_mean(np.stack(bets))


def _weigh_losses(others: Counts, share: Numbers, w: Counts, t: Numbers) -> Numbers:
    """Answers that are not the commonest text, against a binomial tilted by the odds that are tolerated."""
    bets = []
    for tilt in _TILTS:
        bound = w * np.log1p(share * np.expm1(t + tilt)) - t * w * share
        bets.append((tilt * others - bound).sum(axis=1))
    return _log_mean(np.stack(bets))


def _weigh_new_texts(
    left: Counts,
    pooled: Counts,
    weight: Counts,
    sizes: tuple[Counts, Counts],
    top: Counts,
    share: Numbers,
    t: Numbers,
) -> Numbers:
    """Answers whose text the pool does not know, against the larger of its bounds at odds 1 and odds t."""
    w, n = sizes
    table = _log_factorials(int(n.max(initial=0)))
    wide, whole = w[..., None], n[..., None]
    alone = (pooled <= wide) & (weight > 0)
    fits = np.where(alone, pooled, 0)
    chance = np.where(alone, np.exp(table[wide] - table[wide - fits] + table[whole - fits] - table[whole]), 0.0)
    new = np.where((left == pooled) & (weight > 0), left * weight, 0).sum(axis=(1, 2))
    odds = np.broadcast_to(t[..., None], pooled.shape).copy()
    np.put_along_axis(odds, top, 0.0, axis=2)
    grown = np.minimum(
        pooled * np.log1p(wide / np.maximum(whole, 1) * np.expm1(odds)),
        wide * np.log1p(pooled / np.maximum(whole, 1) * np.expm1(odds)),
    )
    bets = []
    for tilt in _NEW_TILTS:
        rise = chance * np.expm1(tilt * fits)
        plain = (weight * np.log1p(rise)).sum(axis=(1, 2))
        tilted = (weight * np.logaddexp(grown, np.log(np.maximum(rise, 1e-300)) + odds * fits)).sum(axis=2)
        tilted = (tilted - t * w * share).sum(axis=1)
        bets.append(tilt * new - np.maximum(plain, tilted))
    return _log_mean(np.stack(bets))


def _log_mean(values: Numbers) -> Numbers:
    """Natural logarithm of the mean of exp(values) over the first axis."""
    largest = values.max(axis=0)
    return np.asarray(largest + np.log(np.exp(values - largest).mean(axis=0)))


def _log_factorials(most: int) -> Numbers:
    return np.asarray(special.gammaln(np.arange(most + 2) + 1.0))


def estimate_spread(commonest: Counts, number: Counts) -> Numbers:
    """How much the odds of each prompt's commonest text vary from night to night beyond chance: a standard deviation.

    Both arguments are nights x prompts (more axes may stand before): how often the pool's commonest text came, of how
    many answers. Moments of the excess variance, less one standard error, so that chance alone is no spread; halved as
    a variance, since k = 2 is held against one of two parts that vary (the endpoint's and the prompt's own). 0 with
    fewer than six nights.
    """
    nights = (number > 0).sum(axis=(-1, -2)) if number.size else np.zeros(number.shape[:-2])
    if number.shape[-2] < _NIGHTS_FOR_SPREAD:
        return np.zeros(np.shape(nights))
    total = number.sum(axis=-2, keepdims=True)
    share = commonest.sum(axis=-2, keepdims=True) / np.maximum(total, 1)
    variance = share * (1 - share)
    used = number / np.maximum(total, 1)
    above = (commonest - number * share) ** 2 / np.maximum(1 - used, 0.5) - number * variance
    scale = number * (number - 1) * variance**2
    # Nights are the unit: what an endpoint does on one night moves all of its prompts.
    by_night, weights = above.sum(axis=-1), scale.sum(axis=-1)
    whole = np.maximum(weights.sum(axis=-1), 1e-9)
    estimate = by_night.sum(axis=-1) / whole
    residual = by_night - estimate[..., None] * weights
    error = np.sqrt((residual**2).sum(axis=-1)) / whole
    return np.asarray(np.sqrt(np.maximum(estimate - error, 0.0) / 2))
