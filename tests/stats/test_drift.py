"""The exact test of one night, and what it adds to the evidence."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from tempzero import stats
from tempzero.stats.drift import drift_test, upper_tail
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
    assert stats.weigh_night([], swap.p_value) > alarm
    flip = drift_test([other] + [quiet] * 19, tolerance=0.05)
    assert stats.weigh_night([], flip.p_value) < alarm


def test_the_bet_on_a_p_value_has_mean_one() -> None:
    """An e-value whose mean exceeds 1 would break the budget of false alarms by as much."""
    p = (np.arange(2_000_000) + 0.5) / 2_000_000
    at = np.unique(np.geomspace(1, len(p), 4000).astype(int)) - 1
    values = np.exp([stats.bet_on(float(p[i])) for i in at])
    mean = float(np.trapezoid(values, p[at]))
    assert mean < 1.0


def test_new_texts_on_half_of_the_prompts_show_where_answers_seldom_agree() -> None:
    """Eight texts a prompt, one match in five: a month on, new texts on ten of twenty prompts are found that night."""
    rng = np.random.default_rng(8)
    shares = [1 / 3] + [2 / 21] * 7
    pool = rng.multinomial(3 * 33, shares, size=20)
    tonight = np.zeros((20, 16), dtype=np.int64)
    tonight[:10, 8:] = rng.multinomial(3, shares, size=10)
    tonight[10:, :8] = rng.multinomial(3, shares, size=10)
    before = np.hstack([pool, np.zeros_like(pool)])
    p = drift_test(list(np.stack([tonight, before], axis=1)), tolerance=0.05).p_value
    assert stats.weigh_night([], p) > stats.alarm_threshold(0.1)
