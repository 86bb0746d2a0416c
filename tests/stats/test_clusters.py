"""Prompts made from one template count together: intervals of templated suites cover what they should."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from tempzero.stats import design_effect, divergence_over_prompts, estimate_by_clusters, share_over_prompts
from tempzero.types.concluded import Estimate

TEMPLATES = np.repeat(np.arange(8), 5)


@pytest.mark.parametrize("estimate", [share_over_prompts, divergence_over_prompts])
@pytest.mark.parametrize("mean", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("alike", [0.1, 0.5, 0.9])
def test_intervals_of_forty_prompts_of_eight_templates_cover(
    estimate: Callable[[NDArray[np.float64]], Estimate], mean: float, alike: float
) -> None:
    """Prompts of one template answer alike; an interval that takes them for forty covers as little as half the time."""
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(200):
        of_template = rng.beta(mean * (1 / alike - 1), (1 - mean) * (1 / alike - 1), 8)
        values = rng.binomial(3, of_template[TEMPLATES]) / 3
        found = estimate_by_clusters(values, TEMPLATES, estimate)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= mean <= found.high
    assert covered >= 0.89 * 200  # .92 and what 200 draws may fall short of it


def test_prompts_of_their_own_are_left_as_they_are() -> None:
    """Without templates nothing changes, not even a digit."""
    values = np.random.default_rng(1).random(30)
    alone = estimate_by_clusters(values, np.arange(30), share_over_prompts)
    assert alone == share_over_prompts(values)
    assert design_effect(values, np.arange(30)) == 1.0


def test_equal_values_of_one_template_are_one_piece_of_evidence() -> None:
    """Forty prompts without a divergence bound it no better than eight independent ones would."""
    found = estimate_by_clusters(np.ones(40), TEMPLATES, share_over_prompts)
    assert found.low == pytest.approx(share_over_prompts(np.ones(8)).low)
    assert "design effect 5 of 8 groups" in found.method
