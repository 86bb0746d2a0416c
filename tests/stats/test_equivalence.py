"""The claim "as before again": made of the match that was lost, never of a large p-value."""

from __future__ import annotations

import numpy as np
from tempzero import stats


def nights_of(new: float, nights: int, rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.asarray(rng.multinomial(3, [1 - new, new], size=(nights, 20)))


def test_a_tenth_of_all_answers_new_is_not_as_before() -> None:
    """Excess divergence is quadratic in the share that changed and would be .01 here; the loss of match is .1."""
    rng = np.random.default_rng(1)
    pool = np.tile([60, 0], (20, 1))
    cleared = [float(stats.upper_loss(stats.loss_of_match(nights_of(0.1, 7, rng), pool))) < 0.05 for _ in range(200)]
    assert sum(cleared) == 0


def test_answers_as_before_are_as_before_after_a_few_nights_and_never_after_one() -> None:
    """What was earned by three nights is said; a single night says nothing of the nights."""
    rng = np.random.default_rng(1)
    pool = np.tile([60, 0], (20, 1))
    assert float(stats.upper_loss(stats.loss_of_match(nights_of(0.0, 3, rng), pool))) == 0
    assert np.isinf(stats.upper_loss(stats.loss_of_match(nights_of(0.0, 1, rng), pool)))
    empty = np.zeros((3, 20, 2), dtype=np.int64)
    assert np.isinf(stats.upper_loss(stats.loss_of_match(empty, pool)))


def test_one_prompt_of_twenty_is_a_loss_of_one_twentieth() -> None:
    """Linear: the figure is the share of matches that are gone."""
    nights = np.tile([3, 0], (4, 20, 1))
    nights[:, 0] = [0, 3]
    losses = stats.loss_of_match(nights, np.tile([60, 0], (20, 1)))
    assert losses.mean() == 0.05
    assert float(stats.upper_loss(losses)) > 0.05
