"""The evidence of drift: exact p-values, independent nights, and an alarm rate that is what it says."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tempzero import stats
from tempzero.stats.drift import AccumulatedEvidence, change_point, drift_test, upper_tail
from tempzero.stats.null import (
    count_signatures,
    expected_novelty,
    novelty_null_distribution,
    novelty_share,
    null_distribution,
    row_divergence,
    stack_tables,
)

Table = NDArray[np.int64]


def table(*rows: list[int]) -> Table:
    return np.array(rows, dtype=np.int64)


def by_hand(tables: list[Table], statistic: object, threshold: float) -> float:
    """P(sum >= threshold) by listing every relabelling of every prompt."""
    sums = {0.0: 1.0}
    for one in tables:
        n, pooled = int(one[0].sum()), one.sum(axis=0)
        labels = [k for k, count in enumerate(pooled) for _ in range(count)]
        found: dict[float, float] = {}
        ways = list(itertools.combinations(range(len(labels)), n))
        for chosen in ways:
            left = np.bincount([labels[i] for i in chosen], minlength=len(pooled))
            value = float(statistic(left[None], (pooled - left)[None])[0])  # type: ignore[operator]
            for total, chance in sums.items():
                found[total + value] = found.get(total + value, 0.0) + chance / len(ways)
        sums = found
    return sum(chance for total, chance in sums.items() if total >= threshold - 1e-9)


def more_novelty(left: Table, right: Table) -> NDArray[np.float64]:
    return novelty_share(left, right) - expected_novelty(left, right)


@pytest.mark.parametrize(
    ("statistic", "null"),
    [(row_divergence, null_distribution), (more_novelty, novelty_null_distribution)],
    ids=["excess", "novelty"],
)
def test_the_tail_is_that_of_all_relabellings(statistic: object, null: object) -> None:
    """The p-value is exact, and where it is rounded it is rounded against an alarm."""
    tables = [table([2, 1, 0], [1, 2, 2]), table([3, 0], [1, 4]), table([1, 1, 1], [2, 0, 1])]
    nulls = [(null(of), times) for of, times in count_signatures(stack_tables(tables)).items()]  # type: ignore[operator]
    for threshold in (-0.4, 0.0, 0.13, 0.31, 0.7):
        exact = by_hand(tables, statistic, threshold)
        assert exact <= upper_tail(nulls, threshold) + 1e-9
        assert upper_tail(nulls, threshold) <= by_hand(tables, statistic, threshold - 0.005) + 1e-9


def test_agreement_is_no_evidence_and_nothing_is_no_evidence() -> None:
    """A night like all nights, and a night without data, leave p at 1."""
    assert drift_test([table([3], [90])] * 20, tolerance=0.05).p_value == 1.0
    assert drift_test([], tolerance=0.05).p_value == 1.0
    assert drift_test([table([1], [90])], tolerance=0.05).n == 0


def test_a_whole_swap_is_beyond_the_alarm_in_one_night_and_one_prompt_is_not() -> None:
    """What a night's calls can prove, they prove at once; a near-tie that flips on one prompt is not a new model."""
    quiet, other = table([3], [30]), table([3, 0], [0, 30])
    alarm = stats.alarm_threshold(0.1)
    swap = drift_test([other] * 20, tolerance=0.05)
    assert AccumulatedEvidence().add_night(swap.p_value).value > alarm
    flip = drift_test([other] + [quiet] * 19, tolerance=0.05)
    assert AccumulatedEvidence().add_night(flip.p_value).value < alarm


def test_nights_are_independent_while_nothing_changes() -> None:
    """Held against all nights before, p-values never come out small too often, one after the other or together."""
    rng = np.random.default_rng(3)
    years, nights, prompts = 40, 10, 5
    found = np.ones((years, nights))
    for year in range(years):
        shares = rng.dirichlet([2.0, 1.0, 0.5], size=prompts)
        pool = rng.multinomial(6, shares)
        for night in range(nights):
            tonight = rng.multinomial(3, shares)
            tables = [np.stack(pair)[:, sum(pair) > 0] for pair in zip(tonight, pool, strict=True)]
            found[year, night] = drift_test(tables, tolerance=0.0).p_value
            pool += tonight
    for level in (0.05, 0.2):
        hits = int((found <= level).sum())
        assert hits <= level * found.size + 4 * math.sqrt(found.size * level)
    small = found <= 0.2
    pairs = int((small[:, 1:] & small[:, :-1]).sum())
    assert pairs <= 0.04 * small[:, 1:].size + 4 * math.sqrt(0.04 * small[:, 1:].size)


def test_the_evidence_alarms_no_more_often_than_the_budget() -> None:
    """With uniform p-values the mean time between false alarms is at least the threshold, whatever the bets."""
    rng = np.random.default_rng(11)
    threshold, nights = 100.0, 20_000
    alarms, found = 0, AccumulatedEvidence()
    for p, *windows in rng.random((nights, 1 + len(stats.WINDOWS))):
        found = found.add_night(float(p), windows)
        if found.value >= threshold:
            alarms, found = alarms + 1, AccumulatedEvidence()
    assert 0 < alarms <= nights / threshold


def test_the_change_point_is_where_the_small_p_values_begin() -> None:
    """Since when is the second question after whether."""
    assert change_point([0.5, 0.01, 0.7, 0.4, 0.02, 0.001, 0.004]) == 4
    assert change_point([1e-9]) == 0
    assert change_point([0.5, 0.4, 0.3, 0.2], [0.3, 1e-7]) == 1


def test_new_texts_on_half_of_the_prompts_show_where_answers_seldom_agree() -> None:
    """Eight texts a prompt, one match in five: a month on, new texts on ten of twenty prompts are found that night, and
    straight after the baseline by the window of three nights at the latest."""
    rng = np.random.default_rng(8)
    shares = [1 / 3] + [2 / 21] * 7
    for runs, nights in ((33, 1), (3, 3)):
        pool, found = rng.multinomial(3 * runs, shares, size=20), AccumulatedEvidence()
        seen: list[Any] = []
        for _ in range(nights):
            tonight = np.zeros((20, 16), dtype=np.int64)
            tonight[:10, 8:] = rng.multinomial(3, shares, size=10)
            tonight[10:, :8] = rng.multinomial(3, shares, size=10)
            before = np.hstack([pool, np.zeros_like(pool)])
            earlier = sum(seen, np.zeros_like(before))
            p = drift_test(list(np.stack([tonight, before + earlier], axis=1)), tolerance=0.05).p_value
            seen.append(tonight)
            windows = [sum(seen[-w:], np.zeros_like(before)) for w in stats.WINDOWS if len(seen) >= w]
            against = [before + sum(seen[:-w], np.zeros_like(before)) for w in stats.WINDOWS if len(seen) >= w]
            found = found.add_night(
                p,
                [
                    drift_test(list(np.stack(pair, axis=1)), tolerance=0.05).p_value
                    for pair in zip(windows, against, strict=True)
                ],
            )
        assert found.value > stats.alarm_threshold(0.1)
