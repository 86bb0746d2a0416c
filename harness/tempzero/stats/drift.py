"""Tables of tonight against a frozen pool in, an exact p-value out; p-values and window e-values in, one evidence out.

The exact test. A night's labels are permuted within prompt against the answers of the pool. Two statistics, at half of
the error rate each (Bonferroni). Excess divergence D sees any other mixture of the same texts, but on an endpoint that
rarely agrees with itself it is noisy: two of its own answers seldom match, so that nobody misses a match. Novelty, the
share of tonight's answers that no answer before equals, is what remains to be seen there: an endpoint with eight texts
a prompt shows a ninth one seldom, a new model nothing else. It is strong at once where a whole model was swapped, and
blind to a change on one prompt of twenty; the windows of `night_windows` are the other way round, and both are a bet.

A calibrator turns p into an e-value (Shafer 2021; Vovk and Wang 2021). Tonight's evidence is a fixed mean of it and of
the windows' e-values: a mean of e-values is an e-value whatever their dependence, so it exceeds c with a chance of at
most 1/c on each night, and so many false alarms are expected at most (`night_windows` gives the argument).

What is not exchangeable and must not alarm: the noise itself varies from night to night. D is quadratic in such a
shift, and a `tolerance` is subtracted before the p-value is taken; novelty moves with it, and each prompt's commonest
text may lose odds to all others, new ones among them. Both make p larger only, so the guarantee stays; that they
cover real variation is shown by simulation (`tests/benchmarks/nightly.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from tempzero.stats.night_windows import WINDOWS
from tempzero.stats.null import (
    NullDistribution,
    count_signatures,
    expected_novelty,
    novelty_null_distribution,
    novelty_share,
    null_distribution,
    row_divergence,
    stack_tables,
)

PoolKind = Literal["base", "whole"]
"""What a window is held against: the runs or nights that a state is known by, or those with the nights that joined."""

# Bets on small p-values of different sizes; their mean is an e-value again.
_KAPPAS = (0.05, 0.08, 0.14)
# Fixed shares of the mean that is tonight's evidence: of the windows against the baseline's runs alone, of those
# against the whole pool, and of the exact test, whose e-values grow so fast with a swap that little is enough.
SHARE_OF_POOL: Mapping[PoolKind, float] = {"base": 0.12, "whole": 0.84}
SHARE_OF_EXACT_TEST = 0.04
# Values of D are rounded up to this grid before prompts are added up: p comes out larger, never smaller.
_STEP = 1 / 1024
# What may be left of the odds of a prompt's commonest text without counting. It falls by .6 on the logit scale: twice
# the standard deviation, from night to night, that `tests/benchmarks/nightly.py` gives an endpoint by default.
ODDS_TOLERATED = 0.55
# Novelty is quick to test; where it leaves no more doubt than this, the other test is not waited for.
_DECISIVE = 1e-9
# The Fourier transform's rounding; added to p, so that no p-value is smaller than can be computed.
_ROUNDING = 1e-12
# Evidence beyond any alarm: a float that JSON holds.
_LARGEST = 690.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftTest:
    """One night's test. `excess` is mean D over `n` prompts, `tolerance` in the same unit.

    `by_prompt` is D of each table that was given, NaN where a side has fewer than two outputs.
    """

    excess: float
    tolerance: float
    p_value: float
    n: int
    by_prompt: tuple[float, ...]


def drift_test(tables: Sequence[NDArray[np.int64]], *, tolerance: float) -> DriftTest:
    """Does tonight (row 0 of each 2 x K table) differ from the pool (row 1) by more than is tolerated?

    `tolerance` is the share of its own agreement that a provider may lose without being said to have changed: the
    mean excess divergence must exceed tolerance x EMR of the pooled answers. Exact up to the grid, one-sided, and
    p is 1 where nothing can be compared.
    """
    by_prompt = tuple(_divergence_or_nan(np.asarray(table, dtype=np.int64)) for table in tables)
    stacked = stack_tables([np.asarray(table, dtype=np.int64) for table in tables])
    if not len(stacked):
        return DriftTest(excess=0.0, tolerance=0.0, p_value=1.0, n=0, by_prompt=by_prompt)
    observed = math.fsum(row_divergence(stacked[:, 0], stacked[:, 1]))
    tolerated = tolerance * float(_own_agreement(stacked.sum(axis=1)).sum())
    found = count_signatures(stacked).items()
    usual = expected_novelty(stacked[:, 0], stacked[:, 1])
    new = math.fsum(novelty_share(stacked[:, 0], stacked[:, 1]) - usual)
    new -= math.fsum(tolerated_novelty(usual, _largest_share(stacked.sum(axis=1)), tolerance))
    smaller = upper_tail([(novelty_null_distribution(of), times) for of, times in found], new)
    if smaller > _DECISIVE:
        smaller = min(
            smaller, upper_tail([(null_distribution(of), times) for of, times in found], observed - tolerated)
        )
    return DriftTest(
        excess=observed / len(stacked),
        tolerance=tolerated / len(stacked),
        p_value=min(1.0, 2 * smaller),
        n=len(stacked),
        by_prompt=by_prompt,
    )


def tolerated_novelty(
    usual: NDArray[np.float64], commonest: NDArray[np.float64], tolerance: float
) -> NDArray[np.float64]:
    """How far novelty may exceed its mean `usual` without counting, by prompt.

    What the commonest text loses goes to the others, of which as large a part is new as before; and at least
    `tolerance` of the answers that would find their like may not find it.
    """
    lost = commonest * (1 - ODDS_TOLERATED) * (1 - commonest) / (1 - commonest * (1 - ODDS_TOLERATED))
    of_others = usual / np.maximum(1 - commonest, 1e-9)
    return np.asarray(np.maximum(tolerance * (1 - usual), lost * of_others))


def upper_tail(nulls: Sequence[tuple[NullDistribution, int]], threshold: float) -> float:
    """P(sum of independent draws, `times` from each null, >= threshold): exact but for rounding draws up."""
    moving = [(null, times) for null, times in nulls if null.values.size > 1]
    if not moving:
        return 1.0  # every answer alike on both sides: D is 0, and so is all that it could have been
    places = [np.ceil(null.values / _STEP - 1e-6).astype(np.int64) for null, _ in moving]
    lowest = sum(int(place.min()) * times for place, (_, times) in zip(places, moving, strict=True))
    highest = sum(int(place.max()) * times for place, (_, times) in zip(places, moving, strict=True))
    size = fft.next_fast_len(highest - lowest + 1, real=True)
    spectrum = np.ones(size // 2 + 1, dtype=np.complex128)
    for place, (null, times) in zip(places, moving, strict=True):
        chances = np.bincount(place - place.min(), weights=null.probabilities, minlength=size)
        spectrum *= fft.rfft(chances) ** times
    chance = fft.irfft(spectrum, size)
    first = math.ceil(threshold / _STEP - 1e-6) - lowest
    return min(1.0, max(0.0, float(chance[max(first, 0) :].sum())) + _ROUNDING)


def bet_on(p_value: float) -> float:
    """Natural logarithm of the e-value of one night's exact test: the mean of kappa p^(kappa - 1), which is 1 when p
    is uniform."""
    p = min(1.0, max(p_value, _ROUNDING))
    return math.log(math.fsum(kappa * p ** (kappa - 1) for kappa in _KAPPAS) / len(_KAPPAS))


def weigh_night(windows: Sequence[tuple[float, PoolKind]], p_value: float) -> float:
    """Tonight's evidence: a fixed mean of the e-values of the windows against either pool, which are given as natural
    logarithms, and of the exact test's.

    A window that does not exist counts 0 and is left out: the mean is over WINDOWS.
    """
    found = [one + math.log(SHARE_OF_POOL[kind] / len(WINDOWS)) for one, kind in windows]
    found.append(bet_on(p_value) + math.log(SHARE_OF_EXACT_TEST))
    return math.exp(min(_LARGEST, float(np.logaddexp.reduce(found))))


def alarm_threshold(false_alarms_per_year: float) -> float:
    """Evidence at which so many false alarms a year are to be expected at most, one night a day."""
    return 365.0 / false_alarms_per_year


def _divergence_or_nan(table: NDArray[np.int64]) -> float:
    if table.size == 0 or table.sum(axis=1).min() < 2:
        return math.nan
    return float(row_divergence(table[:1], table[1:])[0])


def _own_agreement(pooled: NDArray[np.int64]) -> NDArray[np.float64]:
    """EMR of each row of counts."""
    total = pooled.sum(axis=1)
    return np.asarray((pooled * (pooled - 1)).sum(axis=1) / (total * (total - 1)))


def _largest_share(pooled: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(pooled.max(axis=1) / pooled.sum(axis=1))
