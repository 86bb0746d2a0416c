"""One provider's tokens in, whether something else than the model chose some of them, out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tempzero.attribute import token_likelihoods
from tempzero.attribute.fits import Fits, t_statistic
from tempzero.attribute.reader_tables import Floats, Ints, ReaderTable, ResponseLane
from tempzero.attribute.token_likelihoods import FOREIGN_SHARES, TokenPoints

# Something else chose at least this share, and explains the tokens so much better than rounding or sampling.
LEAST, T_FOREIGN, GAIN_FOREIGN = 0.02, 3.0, 10.0
# The rounding under a foreign share is at most this; else it would stand for the foreign tokens itself.
_MOST_UNDERNEATH = 1.0
EARLY, LATE, T_EARLY = 16, 32, 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignTokens:
    """What single tokens say of one provider.

    `foreign`: something else chose about `share` of the tokens, `early`: how much more of the first ones, as a t
    over prompts.
    """

    foreign: bool
    share: float
    early: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _PromptSums:
    """Exact sums over a provider's distinct responses, by prompt."""

    rounded: Floats
    sampled: Floats


def find_foreign_tokens(table: ReaderTable, lane: ResponseLane, fits: Fits, largest: float) -> ForeignTokens:
    """`largest` is the largest scale of rounding that is thought possible."""
    rows = lane.distinct
    _, row = np.unique(lane.prompt[rows], return_inverse=True)
    exact = _PromptSums(rounded=_sum_by_cell(fits.rounded[rows], row), sampled=_sum_by_cell(fits.sampled[rows], row))
    points = token_likelihoods.select_points(table, lane)
    cells = np.searchsorted(np.unique(lane.prompt[rows]), points.prompt)
    sampled = exact.sampled[:, int(exact.sampled.sum(axis=0).argmax())]
    possible = [i for i, scale in enumerate(fits.noises) if scale <= largest] or [0]
    rounded = exact.rounded[:, max(possible, key=lambda i: float(exact.rounded[:, i].sum()))]
    foreign, share, scale = _fit_foreign_share(exact, points, cells, fits, table.reader.vocabulary)
    gains = (foreign - rounded, foreign - sampled)
    return ForeignTokens(
        foreign=share >= LEAST
        and min(t_statistic(g) for g in gains) >= T_FOREIGN
        and min(float(g.sum()) for g in gains) >= GAIN_FOREIGN,
        share=share,
        early=_compare_early_tokens(table, points, share, scale),
    )


def _fit_foreign_share(
    exact: _PromptSums, points: TokenPoints, cells: Ints, fits: Fits, vocabulary: int
) -> tuple[Floats, float, float]:
    """Each prompt's log-likelihood where something else chose a share, with that share and the rounding beneath."""
    other = token_likelihoods.rank_log_likelihood(points, vocabulary)
    found = []
    for column, scale in enumerate(fits.noises):
        if scale <= _MOST_UNDERNEATH:
            own = token_likelihoods.greedy_log_likelihood(points, scale, vocabulary)
            for share in FOREIGN_SHARES:
                gain = token_likelihoods.mixed_log_likelihood(own, other, share) - own
                found.append((exact.rounded[:, column] + _sum_by_cell(gain, cells, len(exact.rounded)), share, scale))
    return max(found, key=lambda one: float(one[0].sum()))


def _compare_early_tokens(table: ReaderTable, points: TokenPoints, share: float, scale: float) -> float:
    """Each token's chance to be something else's choice: its mean over the first tokens against later ones."""
    own = token_likelihoods.greedy_log_likelihood(points, scale, table.reader.vocabulary)
    other = token_likelihoods.rank_log_likelihood(points, table.reader.vocabulary)
    chance = 1 / (1 + np.exp(np.clip(own - other, -50, 50)) * (1 - share) / share)
    first, later = (
        _mean_by_prompt(chance[chosen], points.prompt[chosen], len(table.prompts))
        for chosen in (points.position < EARLY, points.position >= LATE)
    )
    both = ~np.isnan(first) & ~np.isnan(later)
    return t_statistic(first[both] - later[both])


def _sum_by_cell(values: Floats, cells: Ints, number: int | None = None) -> Floats:
    total = np.zeros((int(cells.max(initial=-1)) + 1 if number is None else number, *values.shape[1:]))
    np.add.at(total, cells, values)
    return total


def _mean_by_prompt(values: Floats, prompt: Ints, prompts: int) -> Floats:
    number = np.bincount(prompt, minlength=prompts).astype(np.float64)
    total = np.bincount(prompt, values, prompts)
    return np.asarray(np.divide(total, number, out=np.full(prompts, np.nan), where=number > 0))
