"""Nights against a frozen pool in, how much match was lost out: an upper bound, for the claim "as before again".

The loss of match is EMR(pool) - cross-EMR(night, pool): linear in the share of answers that changed. Excess divergence
is quadratic in it (a tenth of all answers new gives .01), and would clear such a change at once.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# Standard errors above the estimate: about 95 % one-sided.
_ERRORS = 1.7


def loss_of_match(nights: NDArray[np.int64], pool: NDArray[np.int64]) -> NDArray[np.float64]:
    """Loss of each night on each prompt: counts of nights x prompts x texts against prompts x texts.

    NaN where a prompt was not answered tonight, or fewer than twice in the pool. More axes may stand before both.
    """
    number, size = nights.sum(axis=-1), pool.sum(axis=-1)[..., None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        own = (pool * (pool - 1)).sum(axis=-1)[..., None, :] / (size * (size - 1))
        cross = (nights * pool[..., None, :, :]).sum(axis=-1) / (number * size)
    return np.where((number > 0) & (size > 1), own - cross, np.nan)


def upper_loss(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Upper bound of the mean of nights x prompts (last two axes): both nights and prompts vary by chance.

    Infinite with fewer than two nights or prompts.
    """
    known = ~np.isnan(losses)
    filled = np.where(known, losses, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_prompt = filled.sum(axis=-2) / known.sum(axis=-2)
        by_night = filled.sum(axis=-1) / known.sum(axis=-1)
    mean, of_prompts = _mean_and_error(by_prompt)
    _, of_nights = _mean_and_error(by_night)
    return np.asarray(mean + _ERRORS * np.sqrt(of_prompts + of_nights))


def _mean_and_error(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean over the last axis, and its squared standard error; infinite with fewer than two values."""
    known = ~np.isnan(values)
    number = known.sum(axis=-1)
    filled = np.where(known, values, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = filled.sum(axis=-1) / number
        spread = (np.where(known, values - mean[..., None], 0.0) ** 2).sum(axis=-1) / (number - 1)
        error = np.where(number > 1, spread / number, math.inf)
    return np.where(number > 0, mean, math.inf), error
