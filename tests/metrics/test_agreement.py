"""Agreement of repeats and of two sides, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tempzero.metrics import agreement
from tempzero.metrics.agreement import UNPARSED, Counts


def counted(*cells: str, segments: tuple[str, ...] = ()) -> Counts:
    """Each cell as a string of outputs, one letter a response ("?" is unparsed); segments alike."""
    cell = [j for j, outputs in enumerate(cells) for _ in outputs]
    output = [UNPARSED if o == "?" else ord(o) for outputs in cells for o in outputs]
    segment = [int(s) for part in segments for s in part] or [0] * len(cell)
    return agreement.count_outputs(np.array(cell), np.array(output), cells=len(cells), segment=np.array(segment))


def test_emr_is_the_share_of_identical_pairs() -> None:
    """EMR is the primary figure: Σ m(m−1) / N(N−1), undefined below two responses."""
    found = agreement.emr(counted("aaaa", "aaab", "aabb", "abcd", "a", ""))
    assert found == pytest.approx([1, 6 / 12, 4 / 12, 0, np.nan, np.nan], nan_ok=True)


def test_tar_counts_the_ways_to_draw_k_alike() -> None:
    """TARr@k is Σ C(m, k) / C(N, k), so values of different N can be compared at one k."""
    found = agreement.total_agreement_rate(counted("aaaab", "aaabb", "aaaaa", "aabb"), 3)
    assert found == pytest.approx([4 / 10, 1 / 10, 1, 0])


def test_tar_at_n_is_all_or_nothing_and_undefined_below_k() -> None:
    """At k = N it equals the published TARr@N; with fewer responses it is unknown, not 1."""
    found = agreement.total_agreement_rate(counted("aaaa", "aaab", "aaa"), 4)
    assert found == pytest.approx([1, 0, np.nan], nan_ok=True)


def test_tar_stays_exact_for_many_repeats() -> None:
    """C(1000, 500) does not fit into a float; the ratio of two such numbers must not overflow."""
    many = agreement.count_outputs(np.zeros(1000, np.int64), np.zeros(1000, np.int64), cells=1)
    assert agreement.total_agreement_rate(many, 500) == pytest.approx([1])
    one_off = np.zeros(1000, np.int64)
    one_off[0] = 1
    assert agreement.total_agreement_rate(
        agreement.count_outputs(np.zeros(1000, np.int64), one_off, cells=1), 500
    ) == pytest.approx([0.5])


def test_agreement_needs_two() -> None:
    """k = 1 would always agree with itself."""
    with pytest.raises(ValueError, match="at least two"):
        agreement.total_agreement_rate(counted("aa"), 1)


def test_an_unparsed_answer_equals_nothing() -> None:
    """Two silences never agree, and they still count among the responses."""
    assert agreement.emr(counted("??", "?aa", "a?")) == pytest.approx([0, 2 / 6, 0])
    assert agreement.cross_match_rate(counted("??", "?a"), counted("??", "aa")) == pytest.approx([0, 1 / 2])


def test_repeats_are_compared_within_a_segment_only() -> None:
    """A changed model or fingerprint splits the statistics: no pair across the change counts."""
    found = agreement.emr(counted("aabb", "abab", "ab", segments=("1122", "1122", "12")))
    assert found == pytest.approx([1, 0, np.nan], nan_ok=True)


def test_distinct_and_modal_share_need_all_k_repeats() -> None:
    """Both depend on the number of repeats, so a prompt that lost one is left out, not mixed in."""
    counts = counted("aab", "abc", "aa", "aaa", segments=("111", "111", "11", "112"))
    assert agreement.count_distinct(counts, 3) == pytest.approx([2, 3, np.nan, np.nan], nan_ok=True)
    assert agreement.modal_share(counts, 3) == pytest.approx([2 / 3, 1 / 3, np.nan, np.nan], nan_ok=True)


def test_cross_match_is_the_chance_that_one_of_each_side_agree() -> None:
    """Cross-EMR is Σ p q, undefined where a side has no response."""
    found = agreement.cross_match_rate(counted("aab", "ab", "a", ""), counted("abb", "cd", "aaa", "a"))
    assert found == pytest.approx([(2 * 1 + 1 * 2) / 9, 0, 1, np.nan], nan_ok=True)


def test_cross_match_pools_segments() -> None:
    """Two sides never share an identity; who answered within a side does not matter across."""
    left = counted("ab", segments=("12",))
    assert agreement.cross_match_rate(left, counted("aa")) == pytest.approx([1 / 2])


def test_excess_divergence_and_its_noise_floor() -> None:
    """D = ½(EMR_A + EMR_B) − cross-EMR; the floor is what both sides' own noise leaves to expect."""
    left, right = counted("aaab", "aaaa"), counted("aabb", "bbbb")
    emr_left, emr_right, cross = 6 / 12, 4 / 12, (3 * 2 + 1 * 2) / 16
    assert agreement.excess_divergence(left, right) == pytest.approx([(emr_left + emr_right) / 2 - cross, 1])
    assert agreement.noise_floor(left, right) == pytest.approx([1 - (emr_left + emr_right) / 2, 0])


def test_tables_hold_what_the_permutation_test_reads() -> None:
    """One 2 × K table for each cell with two responses a side, columns in the order of the outputs."""
    found = agreement.build_count_tables(counted("aab", "aa", "a"), counted("bbc", "aa", "aa"))
    assert [t.tolist() for t in found] == [[[2, 1, 0], [0, 2, 1]], [[2], [2]]]


def test_commonest_breaks_ties_by_the_smallest_number() -> None:
    """The example a report shows must not depend on the order of arrival."""
    assert agreement.commonest_outputs(counted("bba", "ba", "")).tolist() == [ord("b"), ord("a"), UNPARSED]


def test_renamed_outputs_are_counted_together() -> None:
    """Cut texts that count as a longer one add to its count, in their own cell only."""
    counts = agreement.relabel_counts(counted("aab", "aab"), {(0, ord("b")): ord("a")})
    assert agreement.emr(counts) == pytest.approx([1, 2 / 6])


@given(st.lists(st.lists(st.integers(0, 3), max_size=7), min_size=1, max_size=5), st.integers(2, 4))
def test_counting_equals_looking_at_every_draw(cells: list[list[int]], k: int) -> None:
    """Counting distinct outputs gives exactly what comparing all k-subsets would."""
    from itertools import combinations

    cell = np.array([j for j, outputs in enumerate(cells) for _ in outputs], dtype=np.int64)
    output = np.array([o for outputs in cells for o in outputs], dtype=np.int64)
    found = agreement.total_agreement_rate(agreement.count_outputs(cell, output, cells=len(cells)), k)
    for value, outputs in zip(found, cells, strict=True):
        draws = [len(set(d)) == 1 for d in combinations(outputs, k)]
        assert value == pytest.approx(np.mean(draws) if draws else np.nan, nan_ok=True)


@given(st.permutations(list("aabbcc?")))
def test_order_of_responses_does_not_matter(outputs: list[str]) -> None:
    """A run's figures are a function of what was answered, not of when it arrived."""
    assert agreement.emr(counted("".join(outputs))) == pytest.approx(agreement.emr(counted("aabbcc?")))
