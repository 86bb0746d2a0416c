"""Log-probabilities of first tokens: a small shift of all of them is seen, and noise alone is not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tempzero import stats


def answers(rng: np.random.Generator, number: int, moved: float) -> list[list[Mapping[str, float]]]:
    """Ten prompts with five tokens each, whose log-probabilities vary a little from response to response."""
    usual = np.random.default_rng(0).normal(-3, 1, size=(10, 5))
    shift = np.random.default_rng(1).normal(0, moved, size=(10, 5))
    drawn = rng.normal(usual + shift, 0.05, size=(number, 10, 5))
    return [[{f"t{k}": float(v) for k, v in enumerate(one[j])} for one in drawn] for j in range(10)]


def test_a_shift_that_turns_no_token_is_found_and_noise_is_not() -> None:
    """Coarser weights move every log-probability long before they change a text."""
    rng = np.random.default_rng(5)
    pool = answers(rng, 9, 0.0)
    assert stats.likelihood_shift_test(answers(rng, 3, 0.1), pool).p_value == 0.001
    pairs = [(answers(rng, 3, 0.0), answers(rng, 9, 0.0)) for _ in range(60)]
    small = sum(stats.likelihood_shift_test(ours, theirs).p_value <= 0.05 for ours, theirs in pairs)
    assert small <= 9, "three are expected"


def test_the_statistic_is_the_mean_of_the_shifts() -> None:
    """By hand: means -1 and -2 of one token, -3 and -3 of another; a token that is not named counts with the least."""
    test = stats.likelihood_shift_test([[{"a": -1.0, "b": -3.0}]], [[{"a": -2.0}, {"a": -2.0, "b": -4.0}]])
    assert test.by_prompt.tolist() == [(1.0 + abs(-3.0 - (-2.0 - 4.0) / 2)) / 2]
