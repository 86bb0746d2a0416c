"""Tokens' margins, gaps and ranks in, how likely each way of decoding makes them out, token by token.

The sums that a reader gives are exact but for whole responses. Here each token is judged alone, from the two best
tokens and the probability of all the others together, so that providers and forms can be held against each other
and a single way may vary from token to token. Three ways:

sampled   at a temperature
rounded   greedy from logits with noise of a scale that varies about its middle as real rounding does
foreign   rounded, but a share of the tokens is chosen by something else: by rank, with probability ~ 1 / rank^1.2
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from harness.attribute.readings import Floats, Ints, Lane, Table
from harness.metrics.decoding import STRAY

# Fits look at no more tokens than this; more would not change what they say.
MOST_TOKENS = 100_000
SHARES = (0.003, 0.01, 0.02, 0.04, 0.08, 0.15, 0.25, 0.4, 0.6)
_SPREAD = ((0.33, 0.15), (0.6, 0.2), (1.0, 0.3), (1.65, 0.2), (3.0, 0.15))
_RANK_POWER = 1.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Points:
    """Tokens to be judged: what is known of the two best, and which one was chosen. `prompt` is its prompt's number."""

    gap: Floats
    top: Floats
    margin: Floats
    rank: Ints
    position: Ints
    prompt: Ints

    @property
    def others(self) -> Floats:
        """As how many tokens at the second one's place all the others together count, at temperature 1."""
        return np.asarray(np.maximum(np.expm1(-self.top) * np.exp(np.minimum(self.gap, 60.0)), 1.0))


def points(table: Table, lane: Lane) -> Points:
    """The tokens of a provider's distinct responses."""
    places, prompt = places_of(table, lane)
    return _points(table, places[:MOST_TOKENS], prompt[:MOST_TOKENS], table.tokens.margin, table.tokens.rank)


def _points(table: Table, places: Ints, prompt: Ints, margin: Floats, rank: Ints) -> Points:
    tokens = table.tokens
    return Points(
        gap=tokens.gap[places],
        top=tokens.top[places],
        margin=margin[places],
        rank=rank[places],
        position=tokens.position[places],
        prompt=prompt,
    )


def points_of_choices(table: Table, place: Ints, margin: Floats, prompt: Ints) -> Points:
    """Choices of a form at tokens of the plain reading; their ranks are not known and follow from the margins."""
    tokens = table.tokens
    gap = tokens.gap[place]
    rank = np.where(margin == 0, 1, np.where(margin <= gap * (1 + 1e-6), 2, 3 + np.expm1(np.minimum(margin - gap, 6))))
    return Points(
        gap=gap,
        top=tokens.top[place],
        margin=margin,
        rank=rank.astype(np.int64),
        position=tokens.position[place],
        prompt=prompt,
    )


def places_of(table: Table, lane: Lane) -> tuple[Ints, Ints]:
    """Where the tokens of a provider's distinct responses stand in the table, and the prompt of each."""
    rows = lane.distinct
    sequence, length = lane.sequence[rows], table.tokens.length[lane.sequence[rows]]
    offset = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
    return np.repeat(table.tokens.start[sequence], length) + offset, np.repeat(lane.prompt[rows], length)


def sampled(points: Points, temperature: float, vocabulary: int) -> Floats:
    """Log-likelihood of each token under sampling at a temperature."""
    odds = points.others * np.exp(-points.gap / temperature)
    return _with_strays(-points.margin / temperature - np.log1p(odds), vocabulary)


def rounded(points: Points, scale: float, vocabulary: int) -> Floats:
    """Log-likelihood of each token under greedy decoding from noisy logits, the scale varying from token to token."""
    parts = []
    for factor, weight in _SPREAD:
        size = scale * factor
        odds = points.others * _odds(points.gap / size)
        parts.append(math.log(weight) + _log_odds(points.margin / size) - np.log1p(odds))
    return _with_strays(np.asarray(special.logsumexp(np.stack(parts), axis=0)), vocabulary)


def by_rank(points: Points, vocabulary: int) -> Floats:
    """Log-likelihood of each token where something else chose it."""
    total = float(np.sum(np.arange(1, vocabulary + 1, dtype=np.float64) ** -_RANK_POWER))
    return np.asarray(-_RANK_POWER * np.log(points.rank) - math.log(total))


def foreign(plain: Floats, other: Floats, share: float) -> Floats:
    """Log-likelihood of each token where a share of them was chosen by something else."""
    return np.logaddexp(math.log1p(-share) + plain, math.log(share) + other)


def _odds(margins: Floats) -> Floats:
    return np.asarray(np.exp(_log_odds(margins)))


def _log_odds(margins: Floats) -> Floats:
    return np.asarray(special.log_ndtr(-margins) - special.log_ndtr(margins))


def _with_strays(logs: Floats, vocabulary: int) -> Floats:
    return np.logaddexp(math.log1p(-STRAY) + logs, math.log(STRAY / vocabulary))


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The best of each way for some tokens: its size, and each token's log-likelihood under it."""

    temperature: float
    scale: float
    share: float
    foreign_scale: float
    sampled: Floats
    rounded: Floats
    foreign: Floats
    misses: int


def shape(points: Points, *, temperatures: Sequence[float], scales: Sequence[float], vocabulary: int) -> Shape:
    """Fit each way to these tokens."""
    by_temperature = {t: sampled(points, t, vocabulary) for t in temperatures}
    by_scale = {s: rounded(points, s, vocabulary) for s in scales}
    other = by_rank(points, vocabulary)
    temperature = max(temperatures, key=lambda t: float(by_temperature[t].sum()))
    scale = max(scales, key=lambda s: float(by_scale[s].sum()))
    mixed = {(s, p): foreign(by_scale[s], other, p) for s in scales if s <= 1.0 for p in SHARES}
    foreign_scale, share = max(mixed, key=lambda key: float(mixed[key].sum()))
    return Shape(
        temperature=temperature,
        scale=scale,
        share=share,
        foreign_scale=foreign_scale,
        sampled=by_temperature[temperature],
        rounded=by_scale[scale],
        foreign=mixed[foreign_scale, share],
        misses=int((points.rank > 1).sum()),
    )
