"""Chosen tokens and their rivals in, log-likelihoods of ways of decoding out: many tokens at a time.

Two ways of decoding are told apart by how the chosen tokens' margins (largest logit minus theirs) are spread:

sampled     P(i) proportional to exp(-margin_i / T): sampling at temperature T, which is the same as greedy
            decoding from logits with Gumbel noise of scale T.
rounded     greedy decoding from logits with Gaussian noise, as coarser arithmetic makes it. With independent
            noise of scale s / sqrt(2) on each logit, token i beats the best one with probability
            F(-margin_i / s), F the normal distribution function. Several rivals are combined as in
            Bradley and Terry (1952): P(i) proportional to F(-margin_i / s) / F(margin_i / s).

So that one stray token decides nothing by itself, each of them allows for a share of
`STRAY` of tokens from nowhere, all equally likely.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tempzero.types.scored import DecodingSums

TEMPERATURES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0)
NOISES = (0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5, 2.5)
STRAY_SHARE = 1e-3

# Tokens this far below the best one are rivals by name; those further below are counted in bins.
REACH = 8.0
BINS_A_LOGIT = 8
DEEPEST = 60.0  # what lies deeper counts as if it lay there: e^-30 at the highest temperature
BINS = int(DEEPEST * BINS_A_LOGIT) + 1

# The middles of the bins, and what one token in each adds to the weights of the ways of decoding. For
# sampling, whose weights fall steeply within a bin at low temperature, the mean over the bin.
_MIDDLES = (np.arange(BINS) + 0.5) / BINS_A_LOGIT
_TEMPERATURE_ARRAY = np.array(TEMPERATURES)
_HALF_BIN = 0.5 / BINS_A_LOGIT / _TEMPERATURE_ARRAY[:, None]
_FAR_WEIGHTS = (np.exp(-_MIDDLES / _TEMPERATURE_ARRAY[:, None]) * np.sinh(_HALF_BIN) / _HALF_BIN).T
_FAR_ODDS = special.ndtr(-_MIDDLES / np.array(NOISES)[:, None]).T
# Rivals that are reckoned with at once: numpy's cost for each call is shared, and little memory is held.
_RIVALS_AT_ONCE = 16_384

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One token that was chosen from a row of logits.

    `logits` are those of the best token and of its rivals by name; `far` counts all others by how far below they are.
    """

    best: float
    margin: float
    logits: NDArray[np.float32]
    far: NDArray[np.intp]


@dataclass(slots=True)
class DecodingWays:
    """Sums of the log-likelihoods of the choices that were put in."""

    vocabulary: int
    sampled: Floats = field(default_factory=lambda: np.zeros(len(TEMPERATURES)))
    rounded: Floats = field(default_factory=lambda: np.zeros(len(NOISES)))
    _waiting: list[Choice] = field(default_factory=list)
    _rivals: int = 0

    def add_choice(self, choice: Choice) -> None:
        self._waiting.append(choice)
        self._rivals += choice.logits.size
        if self._rivals >= _RIVALS_AT_ONCE:
            self._add_waiting()

    def sums(self) -> DecodingSums:
        self._add_waiting()
        return DecodingSums(
            sampled=tuple(self.sampled.tolist()),
            rounded=tuple(self.rounded.tolist()),
        )

    def _add_waiting(self) -> None:
        if not self._waiting:
            return
        size = np.array([c.logits.size for c in self._waiting])
        start = np.cumsum(size) - size
        logits = np.concatenate([c.logits for c in self._waiting])
        owner = np.repeat(np.arange(size.size), size)
        margins = (np.array([c.best for c in self._waiting], np.float32)[owner] - logits).astype(np.float64)
        far = np.array([c.far for c in self._waiting], dtype=np.float64)
        margin = np.array([c.margin for c in self._waiting])
        self.sampled += _sampling_likelihoods(margin, margins, start, far, self.vocabulary)
        self.rounded += _rounding_likelihoods(margin, margins, owner, far, self.vocabulary)
        self._waiting.clear()
        self._rivals = 0


def _sampling_likelihoods(
    margin: Floats, margins: Floats, start: NDArray[np.intp], far: Floats, vocabulary: int
) -> Floats:
    weights = far @ _FAR_WEIGHTS
    for column, temperature in enumerate(TEMPERATURES):
        weights[:, column] += np.add.reduceat(np.exp(margins / -temperature), start)
    return _mix_in_strays(-margin[:, None] / _TEMPERATURE_ARRAY - np.log(weights), vocabulary)


def _rounding_likelihoods(
    margin: Floats, margins: Floats, owner: NDArray[np.intp], far: Floats, vocabulary: int
) -> Floats:
    odds = far @ _FAR_ODDS
    for column, noise in enumerate(NOISES):
        close = margins < 8 * noise  # beyond, F(-8) = 6e-16
        beaten = special.ndtr(margins[close] / -noise)
        odds[:, column] += np.bincount(owner[close], beaten / (1 - beaten), len(margin))
    ratio = margin[:, None] / np.array(NOISES)
    return _mix_in_strays(special.log_ndtr(-ratio) - special.log_ndtr(ratio) - np.log(odds), vocabulary)


def _mix_in_strays(logs: Floats, vocabulary: int) -> Floats:
    """Log-likelihoods summed over tokens, once a share of them may come from nowhere."""
    mixed: Floats = np.logaddexp(math.log1p(-STRAY_SHARE) + logs, math.log(STRAY_SHARE / vocabulary))
    return np.asarray(mixed.sum(axis=0))
