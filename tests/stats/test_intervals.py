"""Intervals against published figures, scipy and their own promises at the edges."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binomtest
from tempzero import stats


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (0, 29), (1, 29), (15, 148), (81, 263), (148, 148)])
def test_proportions_agree_with_scipy(successes: int, n: int) -> None:
    """Both intervals for a share are the ones that the textbooks name."""
    test = binomtest(successes, n)
    for estimate, expected in (
        (stats.wilson_proportion(successes, n), test.proportion_ci(method="wilson")),
        (stats.exact_proportion(successes, n), test.proportion_ci(method="exact")),
    ):
        assert estimate.value == successes / n
        assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
        assert estimate.n == n


def test_wilson_reproduces_newcombes_worked_examples() -> None:
    """81 of 263, 15 of 148, 0 of 20 and 1 of 29 have published limits (Newcombe 1998, table I, method 3)."""
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (successes, n), limits in published.items():
        estimate = stats.wilson_proportion(successes, n)
        assert (estimate.low, estimate.high) == pytest.approx(limits, abs=5e-5)


def test_rule_of_three_is_the_exact_bound() -> None:
    """After n prompts without a divergence the stated rate is the one that n clean prompts have a chance of .05 at."""
    assert stats.rule_of_three(1) == pytest.approx(0.95)
    assert stats.rule_of_three(30) == pytest.approx(0.0950, abs=5e-5)
    assert (1 - stats.rule_of_three(50)) ** 50 == pytest.approx(0.05)
    assert stats.rule_of_three(0) == 1.0


@pytest.mark.parametrize(("ones", "n"), [(1, 5), (4, 20), (15, 20), (73, 100)])
def test_shares_of_zeros_and_ones_are_jeffreys(ones: int, n: int) -> None:
    """Where every prompt is all or nothing, the interval over prompts is a known one."""
    estimate = stats.share_over_prompts(np.array([1.0] * ones + [0.0] * (n - ones)))
    expected = beta(ones + 0.5, n - ones + 0.5).ppf([0.025, 0.975])
    assert (estimate.low, estimate.high) == pytest.approx(tuple(expected))
    assert estimate.value == ones / n


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("n", [2, 5, 20, 1000])
def test_equal_values_do_not_collapse_the_interval(value: float, n: int) -> None:
    """Twenty prompts that all agree do not prove that every prompt agrees."""
    estimate = stats.share_over_prompts(np.full(n, value))
    assert estimate.value == value
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.low <= value <= estimate.high
    assert estimate.high - estimate.low > 0.5 / n


def test_the_edge_says_what_the_rule_of_three_says() -> None:
    """The interval of a clean result and the bound printed beside it are one number."""
    clean = stats.share_over_prompts(np.ones(20))
    never = stats.share_over_prompts(np.zeros(20))
    assert (clean.low, clean.high) == pytest.approx((1 - stats.rule_of_three(20), 1.0))
    assert (never.low, never.high) == pytest.approx((0.0, stats.rule_of_three(20)))


def test_repeats_within_prompts_do_not_count_as_prompts() -> None:
    """Ten prompts of a hundred repeats are ten units: the interval is far wider than a thousand answers would give."""
    shares = np.array([0.0, 1.0] * 5)
    by_prompt, pooled = stats.share_over_prompts(shares), stats.wilson_proportion(500, 1000)
    assert by_prompt.low is not None
    assert pooled.low is not None
    assert by_prompt.low < 0.25 < 0.46 < pooled.low


def test_bounded_means_of_equal_values_allow_for_unseen_prompts() -> None:
    """No excess divergence in 20 prompts leaves room for a share of prompts that diverge wholly."""
    estimate = stats.mean_over_prompts(np.zeros(20), bounds=(-1.0, 1.0))
    unseen = stats.exact_proportion(0, 20).high
    assert unseen is not None
    assert (estimate.low, estimate.high) == pytest.approx((-unseen, unseen))


def test_divergence_that_was_not_seen_may_still_be_there() -> None:
    """Fourteen prompts without any leave room for some; however many there are, nothing is ruled out for sure."""
    few, many = (stats.divergence_over_prompts(np.zeros(n)) for n in (14, 1000))
    assert few.value == 0.0
    assert few.low is not None
    assert few.high is not None
    assert many.high is not None
    assert few.low <= 0 < many.high < 0.01
    assert 0.15 < few.high < 0.3


def test_divergence_reaches_its_ends_and_does_not_pass_them() -> None:
    """Two sides that differ wholly everywhere have D = 1, and no more; crosswise ones have -1/2 a prompt."""
    whole, crosswise = (stats.divergence_over_prompts(np.full(5, v)) for v in (1.0, -0.5))
    assert whole.high == 1.0
    assert whole.low is not None
    assert 0.4 < whole.low < 0.7
    assert crosswise.low == -0.5
    empty, one = (stats.divergence_over_prompts(np.zeros(n)) for n in (0, 1))
    assert (empty.value, empty.low, one.value, one.high) == (None, None, 0.0, None)


def test_five_prompts_cover_the_divergence_they_hardly_show() -> None:
    """One prompt in ten differs wholly, noise moves the others: most samples of five show none and must allow."""
    rng, inside, runs = np.random.default_rng(4), 0, 1000
    for _ in range(runs):
        values = np.where(rng.random(5) < 0.1, 1.0, rng.normal(0, 0.05, 5))
        estimate = stats.divergence_over_prompts(values)
        assert estimate.low is not None
        assert estimate.high is not None
        inside += estimate.low <= 0.1 <= estimate.high
    assert inside / runs > 0.93


def test_unbounded_means_of_equal_values_have_no_interval() -> None:
    """Equal lengths everywhere say nothing about how large an unseen difference may be."""
    estimate = stats.mean_over_prompts(np.full(20, 7.0))
    assert (estimate.value, estimate.low, estimate.high) == (7.0, None, None)


def test_a_large_sample_meets_students_t() -> None:
    """What is added for small samples fades with the number of prompts."""
    values = np.random.default_rng(1).normal(3, 2, size=20_000)
    estimate = stats.mean_over_prompts(values)
    half = 1.96 * values.std(ddof=1) / np.sqrt(values.size)
    assert (estimate.low, estimate.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=2e-4)


def test_means_move_and_scale_with_their_values() -> None:
    """Counting in thousands, or from another zero, changes the numbers and nothing else."""
    values = np.array([3.0, -1.0, 4.0, 1.0, -5.0, 9.0])
    plain, moved = stats.mean_over_prompts(values), stats.mean_over_prompts(values * 1000 + 50)
    assert plain.low is not None
    assert plain.high is not None
    assert (moved.low, moved.high) == pytest.approx((plain.low * 1000 + 50, plain.high * 1000 + 50))


def test_known_bounds_are_kept() -> None:
    """An interval never promises what cannot be."""
    estimate = stats.mean_over_prompts(np.array([1.0, 1.0, 0.0]), bounds=(-1.0, 1.0))
    assert estimate.high == 1.0
    assert estimate.low is not None
    assert estimate.low >= -1.0


def test_too_little_gives_no_interval_and_no_warning() -> None:
    """Nothing is None, one prompt is a value without an interval."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for interval in (stats.share_over_prompts, stats.mean_over_prompts):
            empty, one = interval(np.array([])), interval(np.array([0.4]))
            assert (empty.value, empty.low, empty.high, empty.n) == (None, None, None, 0)
            assert (one.value, one.low, one.high, one.n) == (0.4, None, None, 1)
        for counts in (stats.wilson_proportion, stats.exact_proportion):
            assert counts(0, 0).value is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40))
def test_a_share_lies_in_its_interval_and_in_the_scale(values: list[float]) -> None:
    """Whatever the values, 0 ≤ low ≤ value ≤ high ≤ 1, and low < high."""
    estimate = stats.share_over_prompts(np.array(values))
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.value is not None
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.low < estimate.high


def test_small_samples_cover() -> None:
    """In 2,000 simulated runs of 5 and 20 prompts about 95 % of the intervals hold the true share."""
    rng = np.random.default_rng(3)
    for prompts in (5, 20):
        inside = 0
        for _ in range(2000):
            share = rng.uniform(0.85, 1)
            values = rng.binomial(5, rng.beta(2 * share, 2 * (1 - share), size=prompts)) / 5
            estimate = stats.share_over_prompts(values)
            assert estimate.low is not None
            assert estimate.high is not None
            inside += estimate.low <= share <= estimate.high
        assert 0.93 <= inside / 2000 <= 0.985
