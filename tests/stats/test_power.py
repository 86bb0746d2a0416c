"""What a design could have found, against simulation and arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t
from tempzero import stats


def test_detectable_effect_is_the_textbook_formula() -> None:
    """(t.975 + t.8) · s / √n."""
    values = np.array([0.2, 0.4, 0.9, 0.5, 0.1, 0.6, 0.8, 0.3])
    expected = (t(7).ppf(0.975) + t(7).ppf(0.8)) * values.std(ddof=1) / np.sqrt(8)
    assert stats.minimum_detectable_effect(values) == pytest.approx(expected)


def test_an_effect_of_that_size_is_found_four_times_out_of_five() -> None:
    """The announced power is the power of the sign-flip test that is used."""
    rng = np.random.default_rng(1)
    shift = np.mean([stats.minimum_detectable_effect(rng.normal(size=20)) or 0 for _ in range(200)])
    found = sum(
        stats.sign_flip_test(rng.normal(shift, 1, size=20), permutations=199).p_value <= 0.05 for _ in range(400)
    )
    assert 0.72 <= found / 400 <= 0.9


def test_an_unknown_spread_has_no_detectable_effect() -> None:
    """One prompt, or values that are all equal, say nothing about what would have been found."""
    for values in ([], [0.5], [1.0, 1.0, 1.0]):
        assert stats.minimum_detectable_effect(np.array(values)) is None


def test_detectable_divergence_is_found_four_times_out_of_five() -> None:
    """A shift of that size in every prompt, between two outputs, is found with about the announced power."""
    rng = np.random.default_rng(2)
    even = np.full((40, 2), 0.5)
    noise = [np.stack([rng.multinomial(5, even), rng.multinomial(5, even)], axis=1) for _ in range(20)]
    planned = np.mean([stats.minimum_detectable_divergence(list(tables)) or 0 for tables in noise])
    # Shares .5 ± s differ by D = s² in a prompt.
    shifted = even + np.array([1, -1]) * planned**0.5
    found = 0
    for seed in range(300):
        tables = np.stack([rng.multinomial(5, even), rng.multinomial(5, shifted)], axis=1)
        found += stats.one_hot_permutation(list(tables), seed=seed).p_value <= 0.05
    assert 0.74 <= found / 300 <= 0.92


def test_deterministic_sides_detect_whole_prompts_only() -> None:
    """30 prompts x 5 equal answers: one prompt that differs is significant, so a rate of 1 - .2^(1/30) shows."""
    tables = [np.array([[5], [5]])] * 30
    assert stats.minimum_detectable_divergence(tables) == pytest.approx(1 - 0.2 ** (1 / 30))


def test_a_design_that_could_never_reject_says_so() -> None:
    """Two prompts of two repeats cannot reach p ≤ .05 whatever they answer; no prompts cannot either."""
    assert stats.minimum_detectable_divergence([np.array([[2, 0], [0, 2]])] * 2) is None
    assert stats.minimum_detectable_divergence([]) is None
    assert stats.minimum_detectable_divergence([np.array([[1, 0], [0, 1]])] * 50) is None
