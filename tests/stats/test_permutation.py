"""The permutation tests against enumerations that were written apart from them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import pytest
from numpy.typing import NDArray
from tempzero import stats
from tempzero.stats.null import bound_null_tail, count_signatures, stack_tables

Table = NDArray[np.int64]


def table(left: str, right: str) -> Table:
    """Counts of two sides whose outputs are single letters."""
    letters = sorted(set(left + right))
    return np.array([[side.count(letter) for letter in letters] for side in (left, right)])


def own_match(side: Sequence[str]) -> float:
    pairs = list(combinations(side, 2))
    return sum(a == b for a, b in pairs) / len(pairs)


def divergence(left: Sequence[str], right: Sequence[str]) -> float:
    """D_j from its definition, pair by pair."""
    cross = sum(a == b for a, b in product(left, right)) / (len(left) * len(right))
    return (own_match(left) + own_match(right)) / 2 - cross


def relabellings(left: str, right: str) -> list[float]:
    """D_j under every assignment of the pooled outputs to the two sides."""
    pooled = left + right
    values = []
    for chosen in combinations(range(len(pooled)), len(left)):
        inside = [pooled[i] for i in chosen]
        outside = [pooled[i] for i in range(len(pooled)) if i not in chosen]
        values.append(divergence(inside, outside))
    return values


def exact_p(prompts: Sequence[tuple[str, str]]) -> float:
    """Share of all joint relabellings whose summed D is at least the observed one."""
    observed = sum(divergence(*p) for p in prompts)
    sums = [sum(values) for values in product(*(relabellings(*p) for p in prompts))]
    return sum(s >= observed - 1e-9 for s in sums) / len(sums)


SMALL: list[list[tuple[str, str]]] = [
    [("aaaa", "bbbb")],
    [("aaab", "abbb")],
    [("aab", "abbc"), ("xx", "xy")],
    [("aab", "bbc"), ("xxy", "xyy"), ("mm", "mn")],
    [("aa", "bb"), ("aa", "bb"), ("aa", "aa")],
    [("abcd", "abef"), ("aaa", "bbb")],
]


@pytest.mark.parametrize("prompts", SMALL, ids=str)
def test_excess_divergence_agrees_with_full_enumeration(prompts: list[tuple[str, str]]) -> None:
    """On cases small enough to list every relabelling, statistic and p-value are those of the list."""
    permutations = 40_000
    result = stats.one_hot_permutation([table(*p) for p in prompts], permutations=permutations)
    truth = exact_p(prompts)
    assert result.statistic == pytest.approx(np.mean([divergence(*p) for p in prompts]))
    assert result.p_value == pytest.approx(truth, abs=4 * (truth * (1 - truth) / permutations) ** 0.5 + 1e-4)
    assert result.n == len(prompts)


@pytest.mark.parametrize("prompts", SMALL, ids=str)
def test_mmd_with_the_one_hot_kernel_is_the_same_test(prompts: list[tuple[str, str]]) -> None:
    """Twice the excess divergence is MMD², by another road and other random numbers."""
    tables = [table(*p) for p in prompts]
    mmd = stats.mmd_permutation(tables, [np.eye(t.shape[1]) for t in tables], permutations=20_000)
    one_hot = stats.one_hot_permutation(tables, permutations=20_000)
    assert mmd.statistic == pytest.approx(2 * one_hot.statistic)
    assert mmd.p_value == pytest.approx(one_hot.p_value, abs=0.02)


def test_many_repeats_are_sampled() -> None:
    """Where the exact distribution would be too large it is sampled, and says the same as drawing for each prompt."""
    rng = np.random.default_rng(5)
    often = rng.multinomial(100, [0.3, 0.25, 0.2, 0.1, 0.1, 0.03, 0.02], size=2)
    once = np.repeat(np.eye(2, dtype=np.int64), 200, axis=1)
    counts = np.hstack([once, often])
    sampled = stats.one_hot_permutation([counts], permutations=1999)
    drawn = stats.mmd_permutation([counts], [np.eye(407)], permutations=1999)
    assert 0.03 < drawn.p_value < 0.9
    assert sampled.p_value == pytest.approx(drawn.p_value, abs=0.025)
    # A thousand prompts share the samples: an error in their mean would add up.
    pooled = counts.sum(axis=0)
    halves = rng.multivariate_hypergeometric(pooled, 300, size=1000)
    assert 0.001 < stats.one_hot_permutation([np.stack([half, pooled - half]) for half in halves]).p_value < 0.999


def test_unbiased_mmd_is_the_double_loop_over_responses() -> None:
    """The matrix form equals sums over all pairs of responses, written out."""
    outputs = ["abc", "abd", "xyz", "x"]
    kernel = stats.prefix_kernel(outputs)
    left, right = [0, 0, 1, 2], [1, 3, 3]
    within = [sum(kernel[a, b] for a, b in combinations(s, 2)) / (len(s) * (len(s) - 1) / 2) for s in (left, right)]
    cross = sum(kernel[a, b] for a, b in product(left, right)) / 12
    counts = np.array([[left.count(i) for i in range(4)], [right.count(i) for i in range(4)]])
    result = stats.mmd_permutation([counts], [kernel])
    assert result.statistic == pytest.approx(sum(within) - 2 * cross)


def test_blocks_confine_the_relabelling() -> None:
    """Both sides changed at noon; one asked mostly before, the other after: that is no difference between them."""
    blocks = np.array([[[9, 0], [2, 0]], [[0, 2], [0, 9]]])
    kernel = np.eye(2)
    apart = stats.mmd_permutation([blocks] * 3, [kernel] * 3)
    together = stats.mmd_permutation([blocks.sum(axis=0)] * 3, [kernel] * 3)
    assert together.p_value < 0.01
    assert apart.p_value == 1.0
    assert apart.statistic == together.statistic


def test_labels_are_not_permuted_between_prompts() -> None:
    """Different answers to different questions are no evidence: only labels within a prompt are exchangeable."""
    tables = [np.array([[4, 0], [4, 0]]), np.array([[0, 4], [0, 4]])]
    assert stats.one_hot_permutation(tables).p_value == 1.0


def test_p_is_never_zero() -> None:
    """The observed labelling is one of the permutations: p ≥ 1 / (B + 1), however clear the case."""
    clear = [np.array([[30, 0], [0, 30]])] * 50
    assert stats.one_hot_permutation(clear, permutations=999).p_value == 1 / 1000
    assert stats.mmd_permutation(clear, [np.eye(2)] * 50, permutations=99).p_value == 1 / 100


def test_the_same_seed_gives_the_same_p_whatever_the_order_of_prompts() -> None:
    """A report made twice holds the same bytes; another seed moves p only by chance."""
    rng = np.random.default_rng(2)
    tables = [rng.integers(0, 4, size=(2, k)) + 1 for k in (2, 3, 4, 2, 3)]
    result = stats.one_hot_permutation(tables, seed=4)
    assert stats.one_hot_permutation(tables[::-1], seed=4).p_value == result.p_value
    assert stats.one_hot_permutation(tables, seed=5).p_value == pytest.approx(result.p_value, abs=0.08)
    kernels = [np.eye(t.shape[1]) for t in tables]
    assert stats.mmd_permutation(tables, kernels, seed=4) == stats.mmd_permutation(tables, kernels, seed=4)


def test_prompts_that_cannot_move_count_but_do_not_matter() -> None:
    """Agreement on 90 more prompts lowers D and leaves the evidence as it was."""
    moving = [table("aaaab", "abbbb")] * 10
    still = [table("aaaaa", "aaaaa")] * 60 + [table("abcde", "fghij")] * 30
    alone, among = stats.one_hot_permutation(moving), stats.one_hot_permutation(moving + still)
    assert among.n == 100
    assert among.statistic == pytest.approx(alone.statistic / 10)
    assert among.p_value == alone.p_value


def test_too_few_outputs_are_left_out_without_a_warning() -> None:
    """One answer a side, an empty table or no prompt at all is no test, not a p-value by accident."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        single = np.array([[1, 0], [0, 5]])
        empty = np.zeros((2, 0), dtype=np.int64)
        for tables in ([], [single], [empty], [single, empty]):
            kernels = [np.eye(t.shape[1]) for t in tables]
            for result in (stats.one_hot_permutation(tables), stats.mmd_permutation(tables, kernels)):
                assert (result.n, result.p_value, result.statistic, result.permutations) == (0, 1.0, 0.0, 0)
        assert stats.one_hot_permutation([single, table("aab", "abb")]).n == 1


def test_cost_hardly_grows_with_prompts() -> None:
    """Ten thousand prompts of a few repeats take a fraction of a second, so that 45 pairs take seconds."""
    rng = np.random.default_rng(8)
    chances = rng.dirichlet([1, 1, 1], size=10_000)
    tables = list(np.stack([rng.multinomial(5, chances), rng.multinomial(5, chances)], axis=1))
    result = stats.one_hot_permutation(tables)
    assert result.n == 10_000
    assert 0.001 < result.p_value < 0.999


def test_a_real_difference_is_found_within_sixty_calls() -> None:
    """Own EMR .4 and cross-EMR .2: 12 prompts of 5 repeats a side find it in at least 95 of 100 runs."""
    shared = 0.2**0.5
    tail = np.full(60, (1 - 2 * shared) / 60)
    left, right = np.r_[shared, shared, 0, tail], np.r_[0, shared, shared, tail]
    rng = np.random.default_rng(9)
    found = 0
    for seed in range(200):
        tables = list(np.stack([rng.multinomial(5, left, size=12), rng.multinomial(5, right, size=12)], axis=1))
        found += stats.one_hot_permutation(tables, seed=seed).p_value <= 0.05
    assert found >= 190


def test_equal_sides_are_seldom_accused() -> None:
    """Two equal sides whose prompts differ widely are told apart in at most 5 % of runs, give or take chance."""
    rng = np.random.default_rng(10)
    rejected = 0
    for seed in range(600):
        chances = np.stack([rng.dirichlet(np.full(4, a)) for a in (0.05, 0.3, 1, 3) * 2])
        tables = list(np.stack([rng.multinomial(5, chances), rng.multinomial(5, chances)], axis=1))
        rejected += stats.one_hot_permutation(tables, seed=seed).p_value <= 0.05
    assert rejected <= 46


def test_splitting_one_side_measures_the_level() -> None:
    """A side tested against itself is accused about as often as alpha allows; the interval is exact."""
    rng = np.random.default_rng(11)
    counts = list(rng.multinomial(20, rng.dirichlet([1, 1, 1], size=30)))
    estimate = stats.aa_rejection_rate(counts, splits=2000)
    assert estimate.value is not None
    assert 0.03 <= estimate.value <= 0.065
    assert estimate.n == 2000
    exact = stats.exact_proportion(round(estimate.value * 2000), 2000)
    assert (estimate.low, estimate.high) == (exact.low, exact.high)
    assert stats.aa_rejection_rate(counts, seed=1) == stats.aa_rejection_rate(counts, seed=1)


def test_splitting_needs_four_repeats() -> None:
    """Three repeats cannot be split into two sides that know their own noise."""
    assert stats.aa_rejection_rate([np.array([2, 1]), np.array([3])]).value is None
    assert stats.aa_rejection_rate([]).n == 0
    constant = stats.aa_rejection_rate([np.array([10]), np.array([4, 0])])
    assert constant.value == 0.0


def sessions_of(*texts: str) -> Table:
    """A row for each session, counting a and b."""
    return np.array([[t.count("a"), t.count("b")] for t in texts], dtype=np.int64)


def test_whole_sessions_are_what_is_exchanged() -> None:
    """A router may bind a session to one machine: then all its repeats of all prompts are one piece of evidence."""
    apart = [(sessions_of("aa", "aa", "aa", "aa"), sessions_of("bb", "bb", "bb", "bb"))] * 20
    found = stats.session_permutation(apart)
    assert found.p_value == pytest.approx(2 / 70)
    assert found.statistic == pytest.approx(1.0)
    bound = [(sessions_of("aa", "bb"), sessions_of("bb", "bb"))] * 20
    assert stats.session_permutation(bound).p_value > 0.3
    assert stats.one_hot_permutation([np.vstack([a.sum(axis=0), b.sum(axis=0)]) for a, b in bound]).p_value < 0.05


def test_two_sessions_a_side_tell_nobody_apart() -> None:
    """Six ways to deal four sessions: no p-value below a third, however many prompts."""
    assert stats.session_permutation(
        [(sessions_of("aa", "aa"), sessions_of("bb", "bb"))] * 50
    ).p_value == pytest.approx(1 / 3)


def test_only_a_small_p_value_takes_many_permutations() -> None:
    """Most pairs of a large set are alike, and their p-values need no digits."""
    alike = [np.array([[1, 1], [1, 1]])] * 10
    apart = [np.array([[3, 0], [0, 3]])] * 10
    assert stats.one_hot_permutation(alike, permutations=20_000, settled_above=0.2).permutations == 999
    assert stats.one_hot_permutation(apart, permutations=20_000, settled_above=0.2).permutations == 20_000


def test_very_many_tests_are_told_early_and_as_they_would_have_been() -> None:
    """In a fleet there are a hundred thousand pairs: each that is plainly alike, or plainly not, must cost next to
    nothing, and none may come out smaller than it is."""
    alike = [table("aab", "aba")] * 6
    few = stats.sequential_permutation(alike, permutations=10_000_000)
    assert few.p_value > 0.5
    assert few.permutations < 100
    middling = [table("aaab", "abbb")] * 6 + [table("aab", "aab")] * 4
    drawn = stats.one_hot_permutation(middling, permutations=20_000, seed=1).p_value
    early = stats.sequential_permutation(middling, permutations=10_000_000)
    assert early.p_value == pytest.approx(drawn, rel=0.6)
    assert early.permutations < 50_000
    # One relabelling in ten of each prompt parts all that is on one side from all on the other: exactly .1 ** 20.
    apart = stats.sequential_permutation([table("aaa", "bbb")] * 20, permutations=10_000_000)
    assert 0.1**20 <= apart.p_value <= 0.1**20 * 1.01
    assert apart.permutations == 999


@pytest.mark.parametrize("tables", [[table("aab", "abb")] * 2, [table("aaa", "bbb"), table("aab", "bbc")]])
def test_a_bounded_tail_is_never_below_the_true_one(tables: list[Table]) -> None:
    """A bound that is too small accuses the honest."""
    sides = [("".join("abc"[i] * n for i, n in enumerate(row)) for row in t.tolist()) for t in tables]
    values = [relabellings(left, right) for left, right in (tuple(side) for side in sides)]
    sums = np.array([sum(drawn) for drawn in product(*values)])
    for observed in sorted(set(sums.round(9).tolist())):
        true = float(np.mean(sums >= observed - 1e-9))
        bound = bound_null_tail(count_signatures(stack_tables(tables)), observed)
        assert true <= bound * (1 + 1e-6)  # sums that are equal on paper differ by rounding


def test_sequential_p_values_keep_their_level() -> None:
    """Sides that answer alike have a p-value below .05 one time in twenty, however early the drawing stops."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(300):
        tables = [np.array([rng.multinomial(3, (0.6, 0.3, 0.1)) for _ in range(2)]) for _ in range(12)]
        found.append(stats.sequential_permutation(tables, permutations=100_000).p_value)
    assert 3 <= sum(p <= 0.05 for p in found) <= 28
