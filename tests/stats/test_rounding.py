"""Whether rounding explains the misses: honest hosts are not accused, coarser computations are."""

from __future__ import annotations

import numpy as np
import pytest
from tempzero.stats import (
    ReadChoices,
    expected_misses,
    rounding_evidence,
    rounding_scale,
    tokens_to_exclude,
)

ALLOWED = 0.2


def draw_choices(
    scale: float, *, prompts: int = 20, length: int = 50, repeats: int = 1, seed: int = 0, stray: int = 0
) -> ReadChoices:
    """Gaps as a small model has them: one in eight is narrow. `stray` prompts hold one token from nowhere."""
    rng = np.random.default_rng(seed)
    gap = np.where(
        rng.random((prompts, length)) < 0.13,
        rng.exponential(0.5, (prompts, length)),
        0.5 + rng.gamma(2, 2, (prompts, length)),
    )
    turned = rng.normal(0, scale, (prompts, length)) > gap
    turned[:stray, 0] = True
    return ReadChoices(
        gap=gap.ravel(),
        margin=np.where(turned, gap, 0.0).ravel(),
        response=np.repeat(np.arange(prompts), length),
        prompt=np.arange(prompts),
        times=np.full(prompts, repeats),
    )


def test_honest_rounding_is_hardly_ever_evidence_against_itself() -> None:
    """An e-value beyond 100 may come in one of a hundred honest cases at most, however much of it is used."""
    for scale in (0.05, 0.1, ALLOWED):
        logs = np.array([rounding_evidence(draw_choices(scale, seed=s), ALLOWED) for s in range(300)])
        assert np.mean(logs > np.log(100)) <= 0.01
        assert np.mean(np.exp(logs)) <= 1.2


@pytest.mark.parametrize("scale", [0.7, 1.5])
def test_a_coarser_computation_is_evidence(scale: float) -> None:
    """Twenty prompts of 4-bit weights are ruled out as rounding nearly always."""
    logs = np.array([rounding_evidence(draw_choices(scale, seed=s), ALLOWED) for s in range(50)])
    assert np.mean(logs > 7) >= 0.95


def test_one_odd_prompt_accuses_nobody() -> None:
    """A text cut into other tokens can put any margin into one prompt."""
    assert rounding_evidence(draw_choices(0.05, stray=1), ALLOWED) < 4.6
    assert rounding_evidence(draw_choices(0.05, stray=12), ALLOWED) > 4.6


def test_asking_more_often_adds_no_evidence() -> None:
    """Repeats that are the same are computed alike: what is evidence once is not evidence ten times."""
    once, often = (rounding_evidence(draw_choices(0.3, repeats=n), ALLOWED) for n in (1, 10))
    assert once == pytest.approx(often)


def test_the_scale_lies_in_its_interval() -> None:
    """Its size is what a pass is told with."""
    covered = 0
    for seed in range(40):
        found = rounding_scale(draw_choices(0.3, seed=seed))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.3 <= found.high
    assert covered >= 34


def test_too_few_tokens_bound_nothing_and_say_how_many_would() -> None:
    """Two prompts without a miss do not show that nothing coarse was computed."""
    few, many = draw_choices(0.0, prompts=2, length=10), draw_choices(0.0, prompts=20)
    assert few.missed == many.missed == 0
    assert rounding_scale(few).high > 2 * ALLOWED  # type: ignore[operator]
    assert rounding_scale(many).high < 2 * ALLOWED  # type: ignore[operator]
    needed = tokens_to_exclude(few, 2 * ALLOWED)
    assert needed is not None
    assert 20 < needed < 1000


def test_expected_misses_follow_from_the_gaps() -> None:
    """A gap of one standard deviation is turned with probability .1587."""
    choices = draw_choices(0.0, prompts=1, length=1)
    one = ReadChoices(
        gap=np.array([0.2]),
        margin=np.array([0.0]),
        response=choices.response,
        prompt=choices.prompt,
        times=choices.times,
    )
    assert expected_misses(one, 0.2) == pytest.approx(0.1587, abs=1e-4)
