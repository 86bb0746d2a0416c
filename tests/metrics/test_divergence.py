"""Where texts part, against looking at every pair."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tempzero.metrics import agreement, divergence
from tempzero.metrics.agreement import Counts, Ints

TEXTS = st.lists(st.lists(st.text("ab", max_size=6), max_size=6), min_size=1, max_size=3)


class Pool:
    """Numbers the texts of some cells as the analysis does: by cell, then in sorted order."""

    def __init__(self, *sides: list[list[str]]) -> None:
        self.keys = sorted({(j, t) for cells in sides for j, texts in enumerate(cells) for t in texts})
        self.number = {key: i for i, key in enumerate(self.keys)}
        self.texts = [t for _, t in self.keys]
        inside = [a[0] == b[0] for a, b in zip(self.keys[1:], self.keys, strict=False)]
        common = divergence.common_prefix_lengths(self.texts[1:], self.texts[:-1])
        self.shared: Ints = np.array([-1, *np.where(inside, common, -1)][: len(self.keys)], dtype=np.int64)

    def counts(self, cells: list[list[str]]) -> Counts:
        cell = np.array([j for j, texts in enumerate(cells) for _ in texts], dtype=np.int64)
        output = np.array([self.number[j, t] for j, texts in enumerate(cells) for t in texts], dtype=np.int64)
        return agreement.count_outputs(cell, output, cells=len(cells))

    def mean_distance(self, pairs: divergence.Pairs) -> list[float]:
        sides = ([self.texts[i] for i in side] for side in (pairs.left, pairs.right))
        return list(divergence.mean_distance(pairs, divergence.normalised_distances(*sides)))


def still_alike(a: str, b: str, position: int) -> bool:
    return a == b or (a[:position] == b[:position] and len(a[:position]) == position)


@given(TEXTS)
def test_repeat_survival_is_exact_for_all_pairs(cells: list[list[str]]) -> None:
    """Sorted neighbours give the same curve as comparing each pair of repeats."""
    pool = Pool(cells)
    curve = divergence.repeat_survival(pool.counts(cells), pool.shared)
    pairs = [list(combinations(texts, 2)) for texts in cells if len(texts) > 1]
    if not pairs:
        assert curve is None
        return
    assert curve is not None
    assert curve.pairs == sum(map(len, pairs))
    for position, share in zip(curve.positions, curve.shares, strict=True):
        expected = np.mean([np.mean([still_alike(a, b, position) for a, b in p]) for p in pairs])
        assert share == pytest.approx(expected)
    assert curve.shares[-1] == pytest.approx(np.nanmean(agreement.emr(pool.counts(cells))))


@given(TEXTS, TEXTS)
def test_cross_survival_is_exact_for_all_pairs(left: list[list[str]], right: list[list[str]]) -> None:
    """The same with two colours: every left response against every right one."""
    cells = min(len(left), len(right))
    left, right = left[:cells], right[:cells]
    pool = Pool(left, right)
    curve = divergence.cross_survival(pool.counts(left), pool.counts(right), pool.shared)
    pairs = [list(product(a, b)) for a, b in zip(left, right, strict=True) if a and b]
    if not pairs:
        assert curve is None
        return
    assert curve is not None
    assert curve.pairs == sum(map(len, pairs))
    for position, share in zip(curve.positions, curve.shares, strict=True):
        expected = np.mean([np.mean([still_alike(a, b, position) for a, b in p]) for p in pairs])
        assert share == pytest.approx(expected)


def test_survival_ends_at_the_share_of_identical_pairs() -> None:
    """Identical pairs are censored observations: they never leave the curve."""
    cells = [["the cat sat", "the cat sat", "the dog ran"]]
    pool = Pool(cells)
    curve = divergence.repeat_survival(pool.counts(cells), pool.shared)
    assert curve is not None
    assert curve.positions == (0, 5)
    assert curve.shares == pytest.approx((1, 1 / 3))


def test_repeats_under_two_identities_make_no_pair() -> None:
    """Survival is of repeats of one request under one identity, as the EMR is."""
    pool = Pool([["ab", "ac"]])
    counts = agreement.count_outputs(np.zeros(2, np.int64), np.arange(2), cells=1, segment=np.arange(2))
    assert divergence.repeat_survival(counts, pool.shared) is None


def test_a_curve_drops_where_pairs_part_and_nowhere_else() -> None:
    """A reader who sees a step may say that texts part there; of very many places an even choice keeps curves small."""
    assert divergence.survival_positions(np.array([-1, 3, 0, 3, 17])) == (0, 1, 4, 18)
    assert divergence.survival_positions(np.array([-1])) == (0,)
    many = divergence.survival_positions(np.arange(100_000))
    assert len(many) == 1 + divergence.MOST_STEPS
    assert many[-1] == 100_000


def test_earliest_partings_come_first() -> None:
    """A report shows the pair of each prompt that parts earliest, the earliest prompt first."""
    cells = [["same", "same"], ["abcd", "abce", "abcf"], ["xy", "xz", "q"]]
    pool = Pool(cells)
    found = divergence.find_first_differences(pool.counts(cells), pool.shared)
    assert [(p.cell, pool.texts[p.left], pool.texts[p.right], p.at_char) for p in found] == [
        (2, "q", "xy", 0),
        (1, "abcd", "abce", 3),
    ]


def test_ned_is_the_distance_over_the_longer_length() -> None:
    """kitten and sitting are three edits apart: 3/7 (Levenshtein 1966), over pairs of responses."""
    cells = [["kitten", "kitten", "sitting"], ["a"], ["x", "x"]]
    pool = Pool(cells)
    found = pool.mean_distance(divergence.repeat_pairs(pool.counts(cells)))
    assert found == pytest.approx([2 / 3 * 3 / 7, np.nan, 0], nan_ok=True)


def test_cross_ned_is_over_pairs_of_the_two_sides() -> None:
    """Each left response against each right one, weighted by how often they occur."""
    left, right = [["kitten", "kitten", "x"], ["a"]], [["sitting", "x"], []]
    pool = Pool(left, right)
    found = pool.mean_distance(divergence.cross_pairs(pool.counts(left), pool.counts(right)))
    expected = (2 * 3 / 7 + 2 * 1 + 1 * 1 + 0) / 6
    assert found == pytest.approx([expected, np.nan], nan_ok=True)


def test_many_distinct_texts_are_sampled_without_bias() -> None:
    """Above the cap a seeded sample of pairs stands for all; it repeats exactly and is near the truth."""
    rng = np.random.default_rng(1)
    cells = [["".join(rng.choice(list("abcd"), 12)) for _ in range(40)] for _ in range(60)]
    pool = Pool(cells)
    counts = pool.counts(cells)
    found = pool.mean_distance(divergence.repeat_pairs(counts))
    assert found == pool.mean_distance(divergence.repeat_pairs(counts))
    pairs = [(a, b) for texts in cells for a, b in combinations(texts, 2)]
    exact = divergence.normalised_distances([a for a, _ in pairs], [b for _, b in pairs]).mean()
    assert np.mean(found) == pytest.approx(exact, abs=0.01)
    across = pool.mean_distance(divergence.cross_pairs(counts, counts))
    assert np.mean(across) == pytest.approx(exact * 39 / 40, abs=0.01)


def test_prefixes_are_counted_in_characters() -> None:
    """Positions are characters as Python counts them, also beyond ASCII and for broken surrogates."""
    assert divergence.common_prefix_lengths(["añb", "\ud800x", ""], ["añc", "\ud800y", "a"]).tolist() == [2, 1, 0]
