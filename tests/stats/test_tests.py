"""Paired tests and corrections against scipy, enumeration and worked examples."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test
from tempzero import stats


def result(p_value: float, n: int = 10) -> stats.TestResult:
    """A finished test."""
    return stats.TestResult(statistic=p_value, p_value=p_value, n=n, permutations=999, method="test")


def test_holm_on_a_worked_example() -> None:
    """p = .01, .04, .03, .005 become .03, .06, .06, .02: multiplied by what is left, never falling."""
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))


def test_holm_keeps_order_ties_and_the_ceiling() -> None:
    """Corrected values come back in the order given, equal ones stay equal, none exceeds 1."""
    assert stats.holm([]) == ()
    assert stats.holm([0.2]) == (0.2,)
    assert stats.holm([0.5, 0.5, 0.01]) == pytest.approx((1.0, 1.0, 0.03))


@pytest.mark.parametrize(("left", "right"), [(0, 1), (5, 0), (8, 3), (10, 10), (121, 59)])
def test_mcnemar_is_the_two_sided_binomial_test(left: int, right: int) -> None:
    """Discordant prompts fall on either side like a fair coin when nothing differs."""
    assert stats.mcnemar_exact(left, right) == pytest.approx(binomtest(left, left + right).pvalue)
    assert stats.mcnemar_exact(right, left) == stats.mcnemar_exact(left, right)


def test_mcnemar_without_discordant_prompts_finds_nothing() -> None:
    """No flip, no evidence."""
    assert stats.mcnemar_exact(0, 0) == 1.0


@pytest.mark.parametrize("size", [2, 5, 9])
def test_sign_flip_of_few_prompts_is_exact(size: int) -> None:
    """Up to 13 differing prompts every sign pattern is tried, as scipy does."""
    d = np.random.default_rng(size).normal(0.5, 1, size=size).round(1)
    ours = stats.sign_flip_test(d)
    # Exchanging the two sides of a prompt flips the sign of its difference.
    theirs = permutation_test(
        (d, np.zeros(size)),
        lambda left, right, axis: abs((left - right).mean(axis=axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=10_000,
    )
    assert ours.p_value == pytest.approx(theirs.pvalue)
    assert ours.statistic == pytest.approx(d.mean())
    assert ours.permutations == 0


def test_sign_flip_sampled_meets_sign_flip_exact() -> None:
    """With more prompts patterns are drawn; ties of size are drawn together and change nothing."""
    rng = np.random.default_rng(4)
    for d in (rng.normal(0.4, 1, size=12), np.array([1, 1, -1, 2, 2, 1, -2, 3, -1, -1, 0.5, 1])):
        exact = stats.sign_flip_test(d)
        sampled = stats.sign_flip_test(d, permutations=4000)
        assert exact.permutations == 0
        assert sampled.permutations == 4000
        assert sampled.p_value == pytest.approx(exact.p_value, abs=0.03)


def test_sign_flip_is_two_sided_seeded_and_never_zero() -> None:
    """The direction does not matter, the seed does, and a clear case still has p = 1 / (B + 1)."""
    d = np.random.default_rng(6).normal(0.1, 1, size=60)
    assert stats.sign_flip_test(d, seed=3) == stats.sign_flip_test(d, seed=3)
    assert stats.sign_flip_test(-d, seed=3).p_value == stats.sign_flip_test(d, seed=3).p_value
    assert stats.sign_flip_test(np.ones(100)).p_value == 1 / 10_000


def test_equal_prompts_count_but_carry_no_evidence() -> None:
    """Prompts without a difference enter n and the mean; the p-value is that of the others."""
    d = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    padded = stats.sign_flip_test(np.r_[d, np.zeros(94)])
    assert padded.n == 100
    assert padded.p_value == stats.sign_flip_test(d).p_value == 2 / 64
    assert padded.statistic == pytest.approx(0.21)


def test_nothing_to_test_is_no_evidence_and_no_warning() -> None:
    """No prompts, or none that differs, gives p = 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for d in (np.array([]), np.zeros(5), np.array([0.3])):
            assert stats.sign_flip_test(d).p_value == 1.0
        assert stats.composite_null_test([]).p_value == 1.0


def test_a_composite_claim_is_as_strong_as_its_weakest_part() -> None:
    """Differing from three of four declared precisions is not differing from the model."""
    members = [result(0.001), result(0.2, n=7), result(0.004)]
    union = stats.composite_null_test(members)
    assert (union.p_value, union.statistic, union.n) == (0.2, 0.2, 7)
    assert stats.composite_null_test(members[:1]).p_value == 0.001
