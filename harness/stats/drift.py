"""Tables of tonight against all nights before it in, an exact p-value out; p-values in, evidence of a change out.

Why it may be looked at every night. A night's labels are permuted within prompt against ALL answers since the
baseline, not against the baseline alone. While nothing changes, the answers to a prompt are exchangeable, so given
the pooled answers of nights 1 to n and whatever comes later, night n's p-value is uniform or larger; hence the
p-values of different nights are independent (Vovk, Nouretdinov, Gammerman 2003: conformal test martingales), which
p-values against one fixed baseline, whose own noise they share, are not. A calibrator turns p into an e-value
(Shafer 2021; Vovk and Wang 2021). Products of independent e-values are test martingales (Ville 1939; Ramdas et al.
2023), and R(n) = (R(n-1) + 1) e(n), Shiryaev-Roberts form, is an e-detector (Shin, Ramdas, Rinaldo 2023): the mean
time to a false alarm at R >= c is at least c nights, whenever one stops looking.

What is not exchangeable and must not alarm: the noise itself varies from night to night. Excess divergence D is
quadratic in such a shift, and a `tolerance` is subtracted before the p-value is taken. It makes p larger only, so the
guarantee stays; that the tolerance covers real variation is shown by simulation (`tests/benchmarks/nightly.py`).
On endpoints that rarely agree with themselves D is noisy; there a second test sees a swap sooner, that of the match
lost between tonight and before, of which a third is tolerated, since it moves with the noise itself. The smaller of
the two p-values counts, each divided by its share of the error rate, .9 and .1 (weighted Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from harness.stats.null import Null, divergence, lost_match, null_distribution, null_of_lost_match, signatures, stack

# Bets on small p-values of different sizes; the mean of their e-detectors is one again.
KAPPAS = (0.05, 0.08, 0.14)
# Values of D are rounded up to this grid before prompts are added up: p comes out larger, never smaller.
_STEP = 1 / 1024
# The lost match moves with the noise itself, so only a loss of more than this share of the agreement counts.
_LOSS_TOLERATED = 1 / 3
# Of the error rate: a swap leaves the second test far more room than it needs, so that the first one loses little.
_SHARE_OF_LOSS = 0.1
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
    by_prompt = tuple(_one(np.asarray(table, dtype=np.int64)) for table in tables)
    stacked = stack([np.asarray(table, dtype=np.int64) for table in tables])
    if not len(stacked):
        return DriftTest(excess=0.0, tolerance=0.0, p_value=1.0, n=0, by_prompt=by_prompt)
    observed = math.fsum(divergence(stacked[:, 0], stacked[:, 1]))
    agreement = float(_own_agreement(stacked.sum(axis=1)).sum())
    tolerated = tolerance * agreement
    found = signatures(stacked).items()
    by_excess = upper_tail([(null_distribution(of), times) for of, times in found], observed - tolerated)
    lost = math.fsum(lost_match(stacked[:, 0], stacked[:, 1])) - max(tolerance, _LOSS_TOLERATED) * agreement
    by_loss = upper_tail([(null_of_lost_match(of), times) for of, times in found], lost)
    return DriftTest(
        excess=observed / len(stacked),
        tolerance=tolerated / len(stacked),
        p_value=min(1.0, by_excess / (1 - _SHARE_OF_LOSS), by_loss / _SHARE_OF_LOSS),
        n=len(stacked),
        by_prompt=by_prompt,
    )


def upper_tail(nulls: Sequence[tuple[Null, int]], threshold: float) -> float:
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


def evidence(p_value: float) -> tuple[float, ...]:
    """e-values of one night, one for each bet: kappa p^(kappa - 1), which has mean 1 when p is uniform."""
    p = min(1.0, max(p_value, _ROUNDING))
    return tuple(kappa * p ** (kappa - 1) for kappa in KAPPAS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Accumulated:
    """Evidence so far: of each bet, and their mean, which is held against the alarm's threshold."""

    bets: tuple[float, ...] = (0.0,) * len(KAPPAS)

    @property
    def value(self) -> float:
        return math.fsum(self.bets) / len(self.bets)

    def after(self, p_value: float) -> Accumulated:
        """With one more night."""
        found = evidence(p_value)
        return Accumulated(bets=tuple(min((r + 1) * e, 1e300) for r, e in zip(self.bets, found, strict=True)))


def threshold(false_alarms_per_year: float) -> float:
    """Evidence at which so many false alarms a year are to be expected at most, one night a day."""
    return 365.0 / false_alarms_per_year


def change_point(p_values: Sequence[float]) -> int:
    """Index of the night since which the evidence is strongest: argmax over k of the product of e(k) to e(n).

    The maximum-likelihood rule of CUSUM (Page 1954), with the middle bet's e-values in place of likelihood ratios.
    """
    kappa = KAPPAS[len(KAPPAS) // 2]
    steps = [math.log(kappa) + (kappa - 1) * math.log(max(p, _ROUNDING)) for p in p_values]
    best, best_at, total = -math.inf, len(steps) - 1, 0.0
    for index in range(len(steps) - 1, -1, -1):
        total += steps[index]
        if total > best:
            best, best_at = total, index
    return best_at


def _one(table: NDArray[np.int64]) -> float:
    if table.size == 0 or table.sum(axis=1).min() < 2:
        return math.nan
    return float(divergence(table[:1], table[1:])[0])


def _own_agreement(pooled: NDArray[np.int64]) -> NDArray[np.float64]:
    """EMR of each row of counts."""
    total = pooled.sum(axis=1)
    return np.asarray((pooled * (pooled - 1)).sum(axis=1) / (total * (total - 1)))
