"""Which cut response counts as which longer one, on small made-up prompts.

A response that ends in … was cut there; a number behind it says after how many tokens, where that is known.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tempzero.metrics import agreement, cuts
from tempzero.metrics.divergence import common_prefix_lengths

CUT = "…"


def emr(*responses: str) -> float:
    """EMR of one prompt."""
    return float(agreement.emr(settled(*responses))[0])


def parted(response: str) -> tuple[str, bool, int]:
    """The text, whether it is whole, and after how many tokens it was cut."""
    text, cut, limit = response.partition(CUT)
    return text, not cut, int(limit) if limit else cuts.LIMIT_NOT_KNOWN


def settled(*responses: str) -> agreement.Counts:
    """As analysis counts them: one text cut after several numbers of tokens has no limit that is known."""
    read = [parted(r) for r in responses]
    texts = sorted({(text, whole) for text, whole, _ in read})
    number = {text: i for i, text in enumerate(texts)}
    plain = [t for t, _ in texts]
    shared = np.array([-1, *common_prefix_lengths(plain[1:], plain[:-1])])
    length, cut = np.array([len(t) for t in plain]), np.array([not whole for _, whole in texts])
    limits = [{limit for text, whole, limit in read if (text, whole) == one} for one in texts]
    limit = np.array([one.pop() if len(one) == 1 else cuts.LIMIT_NOT_KNOWN for one in limits])
    output = np.array([number[text, whole] for text, whole, _ in read])
    counts = agreement.count_outputs(np.zeros_like(output), output, cells=1)
    longer = cuts.find_continuations(length, cut, shared)
    return agreement.relabel_counts(counts, cuts.settle_cuts([counts], longer, limit))


def test_texts_cut_at_one_place_agree() -> None:
    """Long prompts that always hit the limit still give evidence."""
    assert emr("abc…", "abc…") == 1
    assert emr("abc…", "abd…") == 0


def test_a_cut_text_agrees_with_what_it_begins() -> None:
    """Up to the cut no divergence was seen, whether the other one is whole or was cut later."""
    assert emr("ab…", "abc") == 1
    assert emr("ab…", "abc…") == 1
    assert emr("ab…", "ab") == 1


def test_texts_cut_after_the_same_tokens_diverged_where_they_differ() -> None:
    """One token each, " I" and " It": the longer one is no continuation, since the shorter one was as long."""
    assert emr(" I…1", " It…1") == 0
    assert emr(" I…1", " It…1", " It…1", " I…1") == pytest.approx(1 / 3)
    assert emr(" I…1", " I…1") == 1


@pytest.mark.parametrize("responses", [("a…1", "ab…2"), ("a…", "ab…2"), ("a…1", "ab…"), ("a…1", "ab")])
def test_a_beginning_speaks_where_limits_differ_or_are_not_known(responses: tuple[str, str]) -> None:
    """Up to the shorter cut no divergence was seen; what was never cut has no limit."""
    assert emr(*responses) == 1


def test_one_text_with_several_limits_has_none_that_is_known() -> None:
    """Who counted wrongly cannot be told, so nothing is concluded from the count."""
    assert emr("a…1", "a…2", "ab…1") == 1


def test_a_detour_joins_no_texts_cut_alike() -> None:
    """ "a" may be "ab", and "ab" counts as "abc"; but "a" and "abc" were cut after the same tokens, and differ."""
    assert emr("a…3", "ab…", "abc…3", "abc…3") == pytest.approx(3 / 6)


def test_a_whole_text_joins_no_texts_cut_alike() -> None:
    """ "ab" and "abc" were cut after the same tokens, and differ, though both may have become "abcd"."""
    assert emr("ab…3", "abc…3", "abcd") == pytest.approx(1 / 3)
    assert emr("ab…3", "abc…4", "abcd") == 1
    assert emr("ab…3", "ab…3", "abcd") == 1


def test_a_whole_text_that_begins_another_diverged() -> None:
    """It came to its end there and the other did not: an early stop is a difference."""
    assert emr("ab", "abc") == 0
    assert emr("ab", "abc…") == 0


def test_a_cut_text_never_hides_that_others_differ() -> None:
    """A short cut text fits both of two texts that differ; these must still count as different."""
    assert emr("a…", "ab", "ac") == pytest.approx(1 / 3)


def test_a_cut_text_counts_as_the_commonest_it_may_become() -> None:
    """The rule that keeps counting possible where "begins" is no equivalence; ties go to the first in order."""
    assert emr("a…", "ab", "ac", "ac") == pytest.approx(3 / 6)
    assert settled("a…", "ab", "ac").output.tolist() == [1, 2]


def test_what_settled_on_a_text_adds_to_its_count() -> None:
    """Three begin or are "abx", two are "ac": the one that fits both counts with the three."""
    assert emr("a…", "ab…", "ab…", "abx", "ac", "ac") == pytest.approx((4 * 3 + 2 * 1) / 30)


def test_cut_texts_of_several_lengths_settle_on_one() -> None:
    """A chain of beginnings ends at the longest text."""
    assert emr("a…", "ab…", "abc…", "abcd") == 1


def test_two_sides_are_settled_together() -> None:
    """A side that is always cut one token sooner agrees with one that is not."""
    shared = np.array([-1, 2])
    longer = cuts.find_continuations(np.array([2, 3]), np.array([True, True]), shared)
    left = agreement.count_outputs(np.zeros(2, np.int64), np.zeros(2, np.int64), cells=1)
    right = agreement.count_outputs(np.zeros(2, np.int64), np.ones(2, np.int64), cells=1)
    new = cuts.settle_cuts([left, right], longer, np.array([4, 5]))
    sides = [agreement.relabel_counts(side, new) for side in (left, right)]
    assert agreement.cross_match_rate(*sides) == pytest.approx([1])


@settings(deadline=None)  # the first call loads compiled code
@given(st.lists(st.text("ab", min_size=1, max_size=4), min_size=2, max_size=8), st.data())
def test_settling_never_merges_what_visibly_differs(texts: list[str], data: st.DataObject) -> None:
    """Whatever is cut where: the settled rate is never above the share of pairs that show no difference."""
    responses = [t + data.draw(st.sampled_from(("", CUT, f"{CUT}1", f"{CUT}2"))) for t in texts]
    raw = float(agreement.emr(counts_of(responses))[0])
    limits = {
        one: {parted(r)[2] for r in responses if parted(r)[:2] == one} for one in (parted(r)[:2] for r in responses)
    }
    # One text with several limits has none that is known.
    known = [r if len(limits[parted(r)[:2]]) == 1 else parted(r)[0] + CUT for r in responses]
    pairs = [(a, b) for i, a in enumerate(known) for b in known[i + 1 :]]
    alike = sum(not visibly_differ(a, b) for a, b in pairs) / len(pairs)
    assert raw - 1e-9 <= emr(*responses) <= alike + 1e-9


def counts_of(responses: list[str]) -> agreement.Counts:
    number = {t: i for i, t in enumerate(sorted({parted(r)[:2] for r in responses}))}
    output = np.array([number[parted(r)[:2]] for r in responses])
    return agreement.count_outputs(np.zeros_like(output), output, cells=1)


def visibly_differ(a: str, b: str) -> bool:
    """As far as two responses alone can show it."""
    if parted(a)[0] == parted(b)[0]:
        return False
    if parted(a)[2] == parted(b)[2] != cuts.LIMIT_NOT_KNOWN:
        return True
    return not any(
        not whole and p.startswith(o) for (o, whole, _), (p, _, _) in ((parted(a), parted(b)), (parted(b), parted(a)))
    )
