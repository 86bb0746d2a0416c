"""What a long run tells while it goes on: how far each provider is, on a terminal and in a log."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from making import make_attempt, make_config, make_suite
from rich.console import Console
from tempzero.cli.progress import make_watcher
from tempzero.plan import build_plan
from tempzero.types.asked import Plan, Trial


@pytest.fixture
def plan() -> Plan:
    """Two providers, six trials each."""
    return build_plan(make_config(), make_suite(3))


def of(plan: Plan, provider: str) -> Iterator[Trial]:
    return (one.trial for one in plan.trials if one.trial.provider == provider)


def test_a_log_gets_a_line_for_each_provider_now_and_then_and_less_often_with_time(plan: Plan) -> None:
    """Who looks at a log of hours sees who is slow and who fails, and finds no million of lines."""
    log, now = io.StringIO(), [0.0]
    watcher = make_watcher(Console(file=log, force_terminal=False), lambda: now[0])
    trials = {name: list(of(plan, name)) for name in "ab"}
    watcher.begin(plan, trials["b"][:2])
    for trial in trials["a"][:3]:
        watcher.attempt(make_attempt(trial))
    assert log.getvalue() == "", "twenty seconds are not over"
    now[0] = 20.0
    watcher.attempt(make_attempt(trials["b"][2], None))
    assert log.getvalue().splitlines() == [
        "asked: 5 of 12 answered",
        "  a: 3 of 6, 0.1/s",
        "  b: 2 of 6, 0.1/s, 1 failed",
    ]
    now[0] = 45.0
    watcher.attempt(make_attempt(trials["b"][2]))
    assert len(log.getvalue().splitlines()) == 3, "the next lines come after thirty seconds more"
    now[0] = 50.0
    for trial in trials["a"][3:]:
        watcher.attempt(make_attempt(trial))
    watcher.end()
    assert log.getvalue().splitlines()[3] == "asked: 7 of 12 answered"
    watcher.read("ref", 5, 10)
    watcher.read("ref", 10, 10)
    assert log.getvalue().splitlines()[-1] == "ref has read 10 of 10 responses"


def test_a_terminal_has_a_bar_for_each_provider_and_for_a_reference_that_reads(plan: Plan) -> None:
    """They go when the asking has ended, whatever ended it, so that nothing stands between the lines of the report."""
    screen = io.StringIO()
    watcher = make_watcher(Console(file=screen, force_terminal=True, width=100))
    watcher.begin(plan, ())
    for trial in of(plan, "a"):
        watcher.attempt(make_attempt(trial))
    watcher.attempt(make_attempt(next(of(plan, "b")), None))
    watcher.end()
    shown = screen.getvalue()
    assert "6/6" in shown
    assert "0/6" in shown
    assert "1 failed" in shown
    watcher.read("ref", 3, 10)
    watcher.read("ref", 10, 10)
    assert "ref reads" in screen.getvalue()[len(shown) :]
    after = len(screen.getvalue())
    watcher.say("done")
    assert screen.getvalue()[after:] == "done\n"
