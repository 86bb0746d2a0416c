"""When the next request may start: pace, breaker and budget, with the clock in the test's hand."""

from __future__ import annotations

import math

import pytest
from tempzero.collect.request_limits import Breaker, Budget, Limits, Pace, StartedRequest
from tempzero.config import BreakerSettings

NOON = 1_790_000_000.0  # seconds since the epoch


def pace(**settings: float) -> Pace:
    return Pace(**{"rpm": None, "tpm": None, "longest_s": 100.0, **settings}, wall=lambda: NOON)  # type: ignore[arg-type]


def begun(at_s: float) -> StartedRequest:
    return StartedRequest(at_s=at_s, requests=0, tokens=0, own_tokens=0)


def test_tokens_a_minute_space_requests_by_their_size() -> None:
    """600 tokens a minute are ten a second: one of 50 keeps the next waiting for five seconds, until it took less."""
    one = pace(tpm=600.0)
    started = one.start(0.0, 50)
    assert one.wait_s(0.0, 10) == pytest.approx(5)
    one.used(started, 20)
    assert one.wait_s(0.0, 10) == pytest.approx(2)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 100),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1.5s"}, 1.5),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "250ms"}, 0.25),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2.5s"}, 62.5),
        ({"x-ratelimit-remaining-tokens-minute": "30", "x-ratelimit-reset-tokens-minute": "12.25"}, 12.25),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int((NOON + 7) * 1000))}, 7),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOON + 9))}, 9),
        ({"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "9s"}, 0),
        ({"x-ratelimit-remaining-tokens": "40", "x-ratelimit-reset-tokens": "9s"}, 0),
        ({"x-ratelimit-remaining-requests": "0"}, 0),
        ({"x-ratelimit-remaining-requests": "nan", "x-ratelimit-reset-requests": "9s"}, 0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "soon\x00"}, 0),
    ],
)
def test_what_a_provider_says_is_left_is_honoured_before_its_429(headers: dict[str, str], wait_s: float) -> None:
    """The next request, of 40 tokens, waits until the stated reset, but never longer than the longest wait."""
    one = pace()
    one.heed(0.0, one.start(0.0, 40), headers.items())
    assert max(0.0, one.wait_s(0.0, 40)) == pytest.approx(wait_s)


def test_requests_under_way_are_counted_against_what_is_left() -> None:
    """The response to the first of three says two are left: those under way are these two."""
    one = pace()
    first, _, third = (one.start(0.0, 1) for _ in range(3))
    one.heed(1.0, first, [("x-ratelimit-remaining-requests", "2"), ("x-ratelimit-reset-requests", "10s")])
    assert one.wait_s(1.0, 1) == pytest.approx(10)
    one.heed(2.0, third, [("x-ratelimit-remaining-requests", "5"), ("x-ratelimit-reset-requests", "10s")])
    assert one.wait_s(2.0, 1) <= 0


def test_a_breaker_opens_after_failures_in_a_row_lets_one_try_and_gives_up() -> None:
    """An outage costs five requests one after the other and two more tries, whatever the number of trials."""
    breaker = Breaker(BreakerSettings(failures=3, cool_down_s=10, probes=2))
    for now in (1.0, 2.0):
        breaker.failed(now, begun(now - 0.5))
    assert not breaker.is_open
    breaker.failed(3.0, begun(2.5))
    assert breaker.wait_s(3.0) == 10
    breaker.start()
    assert breaker.wait_s(13.0) == math.inf
    breaker.failed(13.5, begun(13.0))
    assert breaker.wait_s(13.5) == 20
    breaker.start()
    assert not breaker.has_given_up
    breaker.failed(34.0, begun(33.5))
    assert breaker.has_given_up


def test_failures_of_requests_under_way_together_are_one() -> None:
    """A hiccup that takes sixteen requests with it is one hiccup."""
    breaker = Breaker(BreakerSettings(failures=2))
    for n in range(16):
        breaker.failed(1.0 + n / 100, begun(0.5))
    assert not breaker.is_open
    breaker.failed(3.0, begun(2.0))
    assert breaker.is_open


def test_an_answer_closes_the_breaker() -> None:
    """Failures are counted in a row."""
    breaker = Breaker(BreakerSettings(failures=2))
    for now in range(1, 10):
        breaker.failed(float(now), begun(now - 0.5))
        breaker.answered()
    assert not breaker.is_open


def test_retries_are_limited_by_the_number_of_trials() -> None:
    """No storm: a provider that fails half of the time gets its retries, one that fails always does not."""
    breaker = Breaker(BreakerSettings(retries=0.5))
    for _ in range(20):
        breaker.trial()
    assert [breaker.may_retry() for _ in range(21)] == [True] * 20 + [False]


def test_a_budget_reserves_the_most_a_request_can_cost() -> None:
    """The limit holds even if every request under way takes all it may."""
    budget = Budget(Limits(max_cost_usd=1.0))
    assert [budget.admit(0.4) for _ in range(3)] == ["go", "go", "wait"]
    budget.settle(0.4, 0.1)
    assert budget.admit(0.4) == "go"
    budget.settle(0.4, 0.4)
    budget.settle(0.4, 0.4)
    assert budget.admit(0.4) == "no"
    assert budget.exhausted is not None
    assert "--max-cost 1" in budget.exhausted


def test_a_budget_of_requests_counts_those_of_the_check() -> None:
    """What a command sends, it sends in all."""
    budget = Budget(Limits(max_requests=3), requests=2)
    assert [budget.admit(0.0) for _ in range(2)] == ["go", "no"]
