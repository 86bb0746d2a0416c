"""Who belongs together and who stands outside: only a majority that cannot be told apart accuses."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from tempzero.stats import divide_budget, find_camps, find_odd_ones
from tempzero.stats.error_budget import SHARES


def tell_apart(size: int, *pairs: tuple[int, int]) -> NDArray[np.bool_]:
    apart = np.zeros((size, size), dtype=bool)
    for one, other in pairs:
        apart[one, other] = apart[other, one] = True
    return apart


def test_one_odd_endpoint_of_many_is_one_finding() -> None:
    """One that differs from all others is the odd one, whatever their number."""
    apart = tell_apart(22, *((5, i) for i in range(22) if i != 5))
    camps = find_camps(apart, np.ones((22, 22)))
    assert [len(c) for c in camps] == [21, 1]
    assert find_odd_ones(camps, apart) == [5]


def test_two_equal_camps_accuse_nobody() -> None:
    """Of two against two nobody can say who strays."""
    apart = tell_apart(4, (0, 2), (0, 3), (1, 2), (1, 3))
    camps = find_camps(apart, np.ones((4, 4)))
    assert camps == [[0, 1], [2, 3]]
    assert find_odd_ones(camps, apart) == []


def test_who_is_told_from_some_members_only_is_not_accused() -> None:
    """An honest twin that was asked more often is told from this one or that by chance, never from all of them."""
    apart = tell_apart(5, (4, 0), (4, 1))
    camps = find_camps(apart, np.ones((5, 5)))
    assert find_odd_ones(camps, apart) == []


def test_the_most_alike_join_first() -> None:
    """A stray that can be told from one only does not break the camp that answers alike."""
    alike = np.full((4, 4), 0.5)
    alike[:3, :3] = 0.9
    camps = find_camps(tell_apart(4, (3, 0)), alike)
    assert camps == [[0, 1, 2], [3]]


def test_no_two_members_of_a_camp_can_be_told_apart() -> None:
    """Complete linkage: a chain of look-alikes is no camp."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        apart = np.triu(rng.random((12, 12)) < 0.3, 1)
        apart |= apart.T
        camps = find_camps(apart, rng.random((12, 12)))
        assert sorted(i for c in camps for i in c) == list(range(12))
        assert not any(apart[np.ix_(c, c)].any() for c in camps)


def test_five_hundred_endpoints_take_no_time() -> None:
    """A set of that size is one table, not a night."""
    apart = tell_apart(500, *((i, j) for i in (7, 450) for j in range(500) if i != j))
    assert find_odd_ones(find_camps(apart, np.ones((500, 500))), apart) == [7, 450]


def test_the_budget_is_one() -> None:
    """All kinds together may accuse an honest provider with the chance of `gates.alpha`, and no more."""
    every = divide_budget(0.05, dict.fromkeys(SHARES, 1))
    assert sum(every.values()) == pytest.approx(0.05)
    assert min(every.values()) > 0


def test_a_kind_without_tests_leaves_its_share_to_the_others() -> None:
    """Two providers of one condition, and no reference: all may go into their one comparison."""
    found = divide_budget(0.05, {"camps": 1, "conditions": 0})
    assert found["camps"] == pytest.approx(0.05)
    assert found["conditions"] == 0
    assert not any(divide_budget(0.05, {}).values())
