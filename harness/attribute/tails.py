"""One provider's tokens in, whether something else chose some of them, or sampling rather than rounding, out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.attribute import kernels
from harness.attribute.fits import t_statistic
from harness.attribute.kernels import Points, Shape
from harness.attribute.noise import Form
from harness.attribute.readings import Floats, Ints, Lane, Table

# Something else chose at least this share, and twice what the coarser forms themselves seem to have.
FOREIGN, OF_FORMS = 0.02, 2.0
T_FOREIGN, GAIN_FOREIGN = 3.0, 10.0
EARLY, LATE, T_EARLY = 16, 32, 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokenwise:
    """What single tokens say of one provider.

    `sampling` is how much better sampling fits than rounding, as a t over prompts, after what the coarser form
    that looks most like sampling shows of it. `foreign` whether something else chose `share` of the tokens;
    `early` how much more of the first ones, as a t over prompts.
    """

    shape: Shape
    sampling: float
    foreign: bool
    share: float
    early: float


def tokenwise(table: Table, lane: Lane, forms: Sequence[Form], largest: float) -> Tokenwise:
    """`largest` is the largest scale of rounding that is thought possible."""
    own = kernels.points(table, lane)
    found = _shape(table, own, largest)
    coarse = [_shape_of_form(table, f, largest) for f in forms if not f.honest and (f.token >= 0).any()]
    over_each = min(
        t_statistic(_by_prompt(found.foreign - other, own.prompt)) for other in (found.rounded, found.sampled)
    )
    least = min(float((found.foreign - other).sum()) for other in (found.rounded, found.sampled))
    strange = max((s.share for s in coarse), default=0.0)
    return Tokenwise(
        shape=found,
        sampling=_sampling(found, own, coarse),
        foreign=found.share >= max(FOREIGN, OF_FORMS * strange) and over_each >= T_FOREIGN and least >= GAIN_FOREIGN,
        share=found.share,
        early=_early(table, own, found),
    )


def _sampling(found: Shape, own: Points, coarse: Sequence[Shape]) -> float:
    """Rounding of real forms may be spread more like sampling than the model of it is: that much is taken off."""
    per_miss = [float((s.sampled - s.rounded).sum()) / s.misses for s in coarse if s.misses >= 10]
    difference = found.sampled - found.rounded - max([0.0, *per_miss]) * (own.rank > 1)
    return t_statistic(_by_prompt(difference, own.prompt))


def _early(table: Table, own: Points, found: Shape) -> float:
    """Per prompt the mean of each token's odds to be something else's choice: the first tokens against later ones."""
    plain = kernels.rounded(own, found.foreign_scale, table.reader.vocabulary)
    other = kernels.by_rank(own, table.reader.vocabulary)
    chance = 1 / (1 + np.exp(np.clip(plain - other, -50, 50)) * (1 - found.share) / found.share)
    first, later = (
        _mean_by_prompt(chance[chosen], own.prompt[chosen], len(table.prompts))
        for chosen in (own.position < EARLY, own.position >= LATE)
    )
    both = ~np.isnan(first) & ~np.isnan(later)
    return t_statistic(first[both] - later[both])


def _shape(table: Table, points: Points, largest: float) -> Shape:
    reader = table.reader
    scales = [s for s in reader.noises if s <= largest] or list(reader.noises[:1])
    return kernels.shape(points, temperatures=reader.temperatures, scales=scales, vocabulary=reader.vocabulary)


def _shape_of_form(table: Table, form: Form, largest: float) -> Shape:
    known = form.token >= 0
    points = kernels.points_of_choices(table, form.token[known], form.margin[known], form.prompt[known])
    return _shape(table, points, largest)


def _by_prompt(values: Floats, prompt: Ints) -> Floats:
    _, row = np.unique(prompt, return_inverse=True)
    return np.bincount(row, values).astype(np.float64)


def _mean_by_prompt(values: Floats, prompt: Ints, prompts: int) -> Floats:
    number = np.bincount(prompt, minlength=prompts).astype(np.float64)
    total = np.bincount(prompt, values, prompts)
    return np.asarray(np.divide(total, number, out=np.full(prompts, np.nan), where=number > 0))
