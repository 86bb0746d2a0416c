"""Tokens at confident positions in, whether they are missed more often than a way of decoding can explain, out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from harness.attribute.fits import t_statistic
from harness.attribute.noise import Form
from harness.attribute.readings import Flags, Floats, Ints, Lane, Table

# A position is confident where the way of decoding misses it less often than this.
CONFIDENT = 0.005
EARLY, LATE = 16, 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Tail:
    """Misses at confident positions: how many, on how many prompts, how many are expected at most, of how many misses.

    `share` is the part of all misses that the way of decoding leaves unexplained.
    """

    missed: float
    prompts: int
    expected: float
    misses: float

    @property
    def share(self) -> float:
        return max(0.0, self.missed - self.expected) / self.misses if self.misses else 0.0

    @property
    def heavy(self) -> bool:
        """Far more than expected, and not of a few prompts only."""
        return self.prompts >= 3 and self.missed >= 5 and self.missed > 4 * self.expected


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """A way of decoding with its size: a temperature, or a scale of rounding."""

    sampled: bool
    size: float


def chance_of_a_miss(gap: Floats, top: Floats, way: Way) -> Floats:
    """An upper bound, from the two best tokens' gap and the best one's log-probability.

    All the others together have exp(-top) - 1 times its probability; no arrangement of them wins more often than
    when they all stand as near as the second (for temperatures up to 1, and for scales up to the gap).
    """
    others = np.expm1(-top) * np.exp(gap)  # as many tokens at the second one's place
    if way.sampled:
        odds = others * np.exp(-gap / max(way.size, 1e-9))
    else:
        beaten = special.log_ndtr(-gap / way.size) - special.log_ndtr(gap / way.size)
        odds = others * np.exp(beaten)
    return np.asarray(odds / (1 + odds))


def tail_of(table: Table, lane: Lane, way: Way) -> Tail:
    """The tail of a provider's distinct responses."""
    places, prompt = _places(table, lane)
    tokens = table.tokens
    return _tail(tokens.gap[places], tokens.top[places], tokens.missed[places], prompt, way)


def tail_of_form(table: Table, form: Form, way: Way) -> Tail:
    """The tail of a form of the reference's own model, where the plain reading stands beside it."""
    known = form.token >= 0
    places = form.token[known]
    tokens = table.tokens
    return _tail(tokens.gap[places], tokens.top[places], form.margin[known] > 0, form.prompt[known], way)


def early_excess(table: Table, lane: Lane, way: Way) -> float:
    """How much more often confident positions are missed among the first tokens than later: a t over prompts."""
    places, prompt = _places(table, lane)
    tokens = table.tokens
    confident = chance_of_a_miss(tokens.gap[places], tokens.top[places], way) <= CONFIDENT
    position, missed = tokens.position[places], tokens.missed[places]
    first = _share(missed, confident & (position < EARLY), prompt, len(table.prompts))
    later = _share(missed, confident & (position >= LATE), prompt, len(table.prompts))
    both = ~np.isnan(first) & ~np.isnan(later)
    return t_statistic(first[both] - later[both])


def _share(missed: Flags, chosen: Flags, prompt: Ints, prompts: int) -> Floats:
    number = np.bincount(prompt[chosen], minlength=prompts).astype(np.float64)
    total = np.bincount(prompt[chosen], missed[chosen], prompts)
    return np.asarray(np.divide(total, number, out=np.full(prompts, np.nan), where=number > 0))


def _places(table: Table, lane: Lane) -> tuple[Ints, Ints]:
    """Where the tokens of a provider's distinct responses stand, and the prompt of each."""
    rows = lane.distinct
    sequence, length = lane.sequence[rows], table.tokens.length[lane.sequence[rows]]
    offset = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
    return np.repeat(table.tokens.start[sequence], length) + offset, np.repeat(lane.prompt[rows], length)


def _tail(gap: Floats, top: Floats, missed: Flags, prompt: Ints, way: Way) -> Tail:
    chance = chance_of_a_miss(gap, top, way)
    confident = chance <= CONFIDENT
    odd = confident & missed
    return Tail(
        missed=float(odd.sum()),
        prompts=int(np.unique(prompt[odd]).size),
        expected=float(chance[confident].sum()),
        misses=float(missed.sum()),
    )
