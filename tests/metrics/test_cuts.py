"""Which cut response counts as which longer one, on small made-up prompts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tempzero.metrics import agreement, cuts
from tempzero.metrics.divergence import common_prefix_lengths

CUT = "…"


def emr(*responses: str) -> float:
    """EMR of one prompt; a response that ends in … was cut there."""
    return float(agreement.emr(settled(*responses))[0])


def settled(*responses: str) -> agreement.Counts:
    texts = sorted({(r.removesuffix(CUT), not r.endswith(CUT)) for r in responses})
    number = {text: i for i, text in enumerate(texts)}
    plain = [t for t, _ in texts]
    shared = np.array([-1, *common_prefix_lengths(plain[1:], plain[:-1])])
    length, cut = np.array([len(t) for t in plain]), np.array([not whole for _, whole in texts])
    output = np.array([number[r.removesuffix(CUT), not r.endswith(CUT)] for r in responses])
    counts = agreement.count_outputs(np.zeros_like(output), output, cells=1)
    longer = cuts.find_continuations(length, cut, shared)
    return agreement.relabel_counts(counts, cuts.settle_cuts([counts], longer))


def test_texts_cut_at_one_place_agree() -> None:
    """Long prompts that always hit the limit still give evidence."""
    assert emr("abc…", "abc…") == 1
    assert emr("abc…", "abd…") == 0


def test_a_cut_text_agrees_with_what_it_begins() -> None:
    """Up to the cut no divergence was seen, whether the other one is whole or was cut later."""
    assert emr("ab…", "abc") == 1
    assert emr("ab…", "abc…") == 1
    assert emr("ab…", "ab") == 1


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
    new = cuts.settle_cuts([left, right], longer)
    sides = [agreement.relabel_counts(side, new) for side in (left, right)]
    assert agreement.cross_match_rate(*sides) == pytest.approx([1])


@given(st.lists(st.text("ab", min_size=1, max_size=4), min_size=2, max_size=8), st.data())
def test_settling_never_merges_what_visibly_differs(texts: list[str], data: st.DataObject) -> None:
    """Whatever is cut where: the settled rate is never above the share of pairs that show no difference."""
    responses = [t + (CUT if data.draw(st.booleans()) else "") for t in texts]
    raw = float(agreement.emr(counts_of(responses))[0])
    pairs = [(a, b) for i, a in enumerate(responses) for b in responses[i + 1 :]]
    alike = sum(not visibly_differ(a, b) for a, b in pairs) / len(pairs)
    assert raw - 1e-9 <= emr(*responses) <= alike + 1e-9


def counts_of(responses: list[str]) -> agreement.Counts:
    number = {r: i for i, r in enumerate(sorted(set(responses)))}
    output = np.array([number[r] for r in responses])
    return agreement.count_outputs(np.zeros_like(output), output, cells=1)


def visibly_differ(a: str, b: str) -> bool:
    if a.removesuffix(CUT) == b.removesuffix(CUT):
        return False
    return not any(o.endswith(CUT) and p.startswith(o.removesuffix(CUT)) for o, p in ((a, b), (b, a)))
