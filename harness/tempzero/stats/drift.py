"""Tables of tonight against all nights before it in, an exact p-value out; p-values in, evidence of a change out.

Why it may be looked at every night. A night's labels are permuted within prompt against ALL answers since the
baseline, not against the baseline alone. While nothing changes, the answers to a prompt are exchangeable, so given
the pooled answers of nights 1 to n and whatever comes later, night n's p-value is uniform or larger; hence the
p-values of different nights are independent (Vovk, Nouretdinov, Gammerman 2003: conformal test martingales), which
p-values against one fixed baseline, whose own noise they share, are not. A calibrator turns p into an e-value
(Shafer 2021; Vovk and Wang 2021). Products of independent e-values are test martingales (Ville 1939; Ramdas et al.
2023), and R(n) = (R(n-1) + 1) e(n), Shiryaev-Roberts form, is an e-detector (Shin, Ramdas, Rinaldo 2023): the mean
time to a false alarm at R >= c is at least c nights, whenever one stops looking.

Two statistics, at half of the error rate each (Bonferroni). Excess divergence D sees any other mixture of the same
texts, but on an endpoint that rarely agrees with itself it is noisy: two of its own answers seldom match, so that
nobody misses a match. Novelty, the share of tonight's answers that no answer before equals, is what remains to be seen
there: an endpoint with eight texts a prompt shows a ninth one seldom, a new model nothing else.

Windows. The first changed night joins the pool that the second is held against, and hides in it. So the last two
and the last three nights together are held against all before them as well. Such a window's e-value is a bet that is
opened on the window's first night and closed on its last: it counts on that night alone, has mean 1 or less given the
nights before its first (the argument above, for the window as one night), and so the weighted mean of R(n) and the
windows' values is an e-detector as well.

What is not exchangeable and must not alarm: the noise itself varies from night to night. D is quadratic in such a
shift, and a `tolerance` is subtracted before the p-value is taken; novelty moves with it, and each prompt's commonest
text may lose odds to all others, new ones among them. Both make p larger only, so the guarantee stays; that they
cover real variation is shown by simulation (`tests/benchmarks/nightly.py`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

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

# Bets on small p-values of different sizes; the mean of their e-detectors is one again.
KAPPAS = (0.05, 0.08, 0.14)
# Values of D are rounded up to this grid before prompts are added up: p comes out larger, never smaller.
_STEP = 1 / 1024
# What may be left of the odds of a prompt's commonest text without counting. It falls by .6 on the logit scale: twice
# the standard deviation, from night to night, that `tests/benchmarks/nightly.py` gives an endpoint by default.
ODDS_TOLERATED = 0.55
# Nights that are held together against those before them, besides the single night.
WINDOWS = (2, 3)
# Of the error rate, what all windows have together.
SHARE_OF_WINDOWS = 0.2
# Novelty is quick to test; where it leaves no more doubt than this, the other test is not waited for.
_DECISIVE = 1e-9
# The Fourier transform's rounding; added to p, so that no p-value is smaller than can be computed.
_ROUNDING = 1e-12


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
    """Does tonight (row 0 of each 2 x K table) differ from the nights before (row 1) by more than is tolerated?

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


def e_values(p_value: float) -> tuple[float, ...]:
    """e-values of one night, one for each bet: kappa p^(kappa - 1), which has mean 1 when p is uniform."""
    p = min(1.0, max(p_value, _ROUNDING))
    return tuple(kappa * p ** (kappa - 1) for kappa in KAPPAS)


@dataclass(frozen=True, kw_only=True, slots=True)
class AccumulatedEvidence:
    """Evidence so far: of each bet on single nights, and of the windows that end tonight (`windows`, of WINDOWS)."""

    bets: tuple[float, ...] = (0.0,) * len(KAPPAS)
    windows: tuple[float, ...] = ()

    @property
    def value(self) -> float:
        """What is held against the alarm's threshold."""
        nights = math.fsum(self.bets) / len(self.bets)
        return (1 - SHARE_OF_WINDOWS) * nights + SHARE_OF_WINDOWS * math.fsum(self.windows) / len(WINDOWS)

    def add_night(self, p_value: float, windows: Sequence[float] = ()) -> AccumulatedEvidence:
        """With one more night; `windows` are the p-values of the windows that end with it, shortest first."""
        found = e_values(p_value)
        return AccumulatedEvidence(
            bets=tuple(min((r + 1) * e, 1e300) for r, e in zip(self.bets, found, strict=True)),
            windows=tuple(math.fsum(e_values(p)) / len(KAPPAS) for p in windows[: len(WINDOWS)]),
        )


def alarm_threshold(false_alarms_per_year: float) -> float:
    """Evidence at which so many false alarms a year are to be expected at most, one night a day."""
    return 365.0 / false_alarms_per_year


def change_point(p_values: Sequence[float], windows: Sequence[float] = ()) -> int:
    """Index of the night since which the evidence is strongest: argmax over k of the evidence of the nights k to n.

    That evidence is the product of the nights' e-values, the rule of CUSUM (Page 1954) with the middle bet's e-values
    in place of likelihood ratios, or the e-value of the window from k to n, whose p-values `windows` gives.
    """
    steps = [_log_e_value(p) for p in p_values]
    found = list(itertools.accumulate(reversed(steps)))
    for nights, p in zip(WINDOWS, windows, strict=False):
        if nights <= len(found):
            found[nights - 1] = max(found[nights - 1], _log_e_value(p))
    return len(steps) - 1 - max(range(len(found)), key=lambda back: found[back])


def _log_e_value(p_value: float) -> float:
    kappa = KAPPAS[len(KAPPAS) // 2]
    return math.log(kappa) + (kappa - 1) * math.log(max(p_value, _ROUNDING))


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
