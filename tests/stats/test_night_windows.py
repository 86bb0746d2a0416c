"""Windows of nights against a frozen pool: e-values whose mean is at most 1, and what they see."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from tempzero import stats

Counts = NDArray[np.int64]


def weigh(left: Counts, pool: Counts, odds: float = 0.0) -> stats.WindowEvidence:
    return stats.weigh_windows(left, left + pool, np.full(len(left), odds))


@pytest.mark.parametrize("pooled", [(4, 3), (7, 1, 1), (3, 2, 2), (1, 1, 1, 1, 1)])
def test_the_mean_over_all_relabellings_is_at_most_one(pooled: tuple[int, ...]) -> None:
    """The bound on false alarms is this inequality and nothing else: shown here by listing every relabelling."""
    labels = [text for text, count in enumerate(pooled) for _ in range(count)]
    for drawn in (1, 2, 4):
        ways = [np.bincount(c, minlength=len(pooled)) for c in itertools.combinations(labels, drawn)]
        left = np.array(ways)[:, None, :]
        evidence = weigh(left, np.array(pooled) - left)
        assert np.exp(evidence.total).mean() <= 1 + 1e-9
        assert np.exp(evidence.by_prompt).mean() == pytest.approx(1.0)


@pytest.mark.parametrize("shift", [-0.6, 0.6])
def test_odds_that_are_tolerated_keep_the_mean_below_one(shift: float) -> None:
    """Honest nights are not exchangeable: the texts of a prompt may gain or lose odds from night to night."""
    rng = np.random.default_rng(4)
    shares = np.array([0.6, 0.25, 0.15])
    tilted = shares * np.exp([shift, 0.0, 0.0])
    left = rng.multinomial(6, tilted / tilted.sum(), size=(20_000, 5))
    pool = rng.multinomial(30, shares, size=(20_000, 5))
    assert np.exp(weigh(left, pool, abs(shift)).total).mean() < 1


def test_cells_of_several_texts_are_those_texts() -> None:
    """Texts that came once are counted together where there are thousands; the figures must not depend on that."""
    left, pool = np.array([[[2, 1, 0, 1, 0]]]), np.array([[[5, 2, 1, 0, 1]]])
    short, held = np.array([[[2, 1, 0, 1]]]), np.array([[[5, 2, 1, 0]]])
    times = np.array([[[1, 1, 2, 1]]])
    whole = weigh(left, pool, 0.3)
    together = stats.weigh_windows(short, short + held, np.array([0.3]), times)
    assert together.total[0] == pytest.approx(whole.total[0])


def test_one_prompt_of_twenty_is_seen_once_it_has_stayed() -> None:
    """A deterministic endpoint that changed one prompt for good used to stay unfound for ever."""
    night = np.zeros((1, 20, 2), dtype=np.int64)
    night[..., 0] = 3
    night[0, 4] = [0, 3]
    pool = np.tile([60, 0], (1, 20, 1))
    found = [weigh(night * nights, pool, stats.odds_tolerated(nights, 20, 0.0)) for nights in (1, 2)]
    alarm = [stats.weigh_night([(float(one.total[0]), "whole")], 1.0) >= stats.alarm_threshold(0.1) for one in found]
    assert alarm == [False, True]
    assert np.flatnonzero(found[1].by_prompt[0] >= math.log(stats.TELLING_PROMPT)).tolist() == [4]


def test_the_spread_of_honest_nights_is_found_and_chance_alone_is_none() -> None:
    """An endpoint whose load moves it more than usual is given more room, and a calm one keeps the sharp rule."""
    rng = np.random.default_rng(2)
    number = np.full((20, 20), 3)
    calm = rng.binomial(3, 0.75, size=(40, 20, 20))
    moved = rng.normal(1.1, 0.8, size=(40, 20, 1)) + rng.normal(0, 0.8, size=(40, 20, 20))
    restless = rng.binomial(3, 1 / (1 + np.exp(-moved)))
    small, large = (
        np.median([float(stats.estimate_spread(one, number)) for one in counts]) for counts in (calm, restless)
    )
    assert small < stats.SPREAD_FLOOR < large < 0.9
    assert stats.estimate_spread(calm[0, :5], number[:5]) == 0
