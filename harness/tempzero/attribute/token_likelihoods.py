"""Tokens' margins, gaps and ranks in, how likely it is that something else than this model chose each of them, out.

The sums that a reader gives are exact, but for whole responses and for ways that are the same at every token. Here
rounding is mixed with a share of tokens that something else chooses: by rank, with probability ~ 1 / rank^1.2. What
that adds to the exact sums is reckoned token by token, from the two best tokens and the probability of all others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from tempzero.attribute.reader_tables import Floats, Ints, ReaderTable, ResponseLane
from tempzero.metrics.decoding_ways import STRAY_SHARE

# Fits look at no more tokens than this; more would not change what they say.
MOST_TOKENS = 100_000
FOREIGN_SHARES = (0.003, 0.01, 0.02, 0.04, 0.08, 0.15, 0.25, 0.4, 0.6)
_RANK_POWER = 1.2


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenPoints:
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


def select_points(table: ReaderTable, lane: ResponseLane) -> TokenPoints:
    """The tokens of a provider's distinct responses, but for those that end the turn: that is another matter."""
    places, prompt = locate_tokens(table, lane)
    tokens = table.tokens
    ends = np.zeros(tokens.margin.size, dtype=np.bool_)
    ends[tokens.start[1:] - 1] = [root.ended for root in table.roots]
    kept = ~ends[places]
    places, prompt = places[kept][:MOST_TOKENS], prompt[kept][:MOST_TOKENS]
    return TokenPoints(
        gap=tokens.gap[places],
        top=tokens.top[places],
        margin=tokens.margin[places],
        rank=tokens.rank[places],
        position=tokens.position[places],
        prompt=prompt,
    )


def locate_tokens(table: ReaderTable, lane: ResponseLane) -> tuple[Ints, Ints]:
    """Where the tokens of a provider's distinct responses stand in the table, and the prompt of each."""
    rows = lane.distinct
    sequence, length = lane.sequence[rows], table.tokens.length[lane.sequence[rows]]
    offset = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
    return np.repeat(table.tokens.start[sequence], length) + offset, np.repeat(lane.prompt[rows], length)


def greedy_log_likelihood(points: TokenPoints, scale: float, vocabulary: int) -> Floats:
    """Log-likelihood of each token under greedy decoding from noisy logits."""
    odds = points.others * np.exp(_log_odds(points.gap / scale))
    return _add_stray_share(_log_odds(points.margin / scale) - np.log1p(odds), vocabulary)


def rank_log_likelihood(points: TokenPoints, vocabulary: int) -> Floats:
    """Log-likelihood of each token where something else chose it."""
    total = float(np.sum(np.arange(1, vocabulary + 1, dtype=np.float64) ** -_RANK_POWER))
    return np.asarray(-_RANK_POWER * np.log(points.rank) - math.log(total))


def mixed_log_likelihood(own: Floats, other: Floats, share: float) -> Floats:
    """Log-likelihood of each token where a share of them was chosen by something else."""
    return np.logaddexp(math.log1p(-share) + own, math.log(share) + other)


def _log_odds(margins: Floats) -> Floats:
    return np.asarray(special.log_ndtr(-margins) - special.log_ndtr(margins))


def _add_stray_share(logs: Floats, vocabulary: int) -> Floats:
    return np.logaddexp(math.log1p(-STRAY_SHARE) + logs, math.log(STRAY_SHARE / vocabulary))
