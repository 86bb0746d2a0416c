"""Whether one repeat of each prompt is the odd one too often: its level, its power, and its value by hand."""

from __future__ import annotations

import numpy as np
import pytest
from tempzero import stats


def test_the_statistic_is_what_it_says() -> None:
    """Of four repeats one is odd: the others agree fully, and with it never; without one of them by 1/3."""
    assert stats.odd_one_test([[1, 3]], [0]).statistic == pytest.approx(1 - 0)
    assert stats.odd_one_test([[1, 3]], [1]).statistic == pytest.approx(1 / 3 - 2 / 3)
    assert stats.odd_one_test([[1, 3]], [0], alike=3).statistic == pytest.approx(1 / 4)


def test_prompts_that_never_vary_prove_nothing() -> None:
    """Whichever repeat is chosen, it is like the others."""
    assert stats.odd_one_test([], [], alike=20).p_value == 1
    assert stats.odd_one_test([], []).n == 0


def test_the_smallest_p_value_is_that_of_the_draws() -> None:
    """Twelve prompts whose first of four is odd: chance (1/4)^12."""
    found = stats.odd_one_test([[1, 3]] * 12, [0] * 12, permutations=999)
    assert found.p_value == pytest.approx(1 / 1000)
    assert found.n == 12


def test_it_keeps_its_level() -> None:
    """Where the odd one stands anywhere, it accuses in about one of twenty runs."""
    rng = np.random.default_rng(5)
    hits = 0
    for seed in range(400):
        counts = [[int(c) for c in np.bincount(rng.integers(3, size=5)) if c] for _ in range(10)]
        chosen = [int(rng.choice(len(c), p=np.array(c) / sum(c))) for c in counts]
        hits += stats.odd_one_test(counts, chosen, seed=seed, permutations=199).p_value <= 0.05
    assert hits / 400 <= 0.08
