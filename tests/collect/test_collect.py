"""Lanes, turns, rates, retries and resume, seen from the server's side and from the records'."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from loopback import Answer, Call, Loopback, Pause, Reply, Reset, after, completion, error, raw
from making import make_config, make_suite
from tempzero import config, plan
from tempzero.collect import Budget, Limits, collect_attempts
from tempzero.config import Config, Timeouts
from tempzero.engines import Engine, open_engine
from tempzero.types.asked import Plan, Question, Trial
from tempzero.types.recorded import Attempt, Ending, Exchange

QUICK = {"first_s": 0.02, "max_s": 1.0}
SLOW_S = 0.05


class Run:
    """One call of `collect` against a loopback server, with everything it recorded."""

    def __init__(self, server: Loopback, *names: str, prompts: int = 3, repeats: int = 1, **fields: Any) -> None:
        entry = {"base_url": server.base_url, "backoff": QUICK, **fields}
        self.config = make_config(names or ("a",), repeats=repeats, **entry)
        self.suite = make_suite(prompts)
        self.attempts: list[Attempt] = []
        self.made: Mapping[Trial, int] = {}
        self.complete: frozenset[Trial] = frozenset()
        self.on_write: Callable[[Attempt], None] = self.attempts.append
        self.engines: dict[str, Engine] = {}
        self.endings: tuple[Ending, ...] = ()
        self.budget: Budget | None = None
        self.on_renew: Callable[[str], object] = lambda name: None

    def change(self, name: str, **fields: Any) -> None:
        """Give one provider other settings."""
        changed = [p.model_copy(update=fields) if p.name == name else p for p in self.config.providers]
        self.config = Config.model_validate(self.config.model_copy(update={"providers": tuple(changed)}))

    @property
    def plan(self) -> Plan:
        return plan.build_plan(self.config, self.suite)

    async def go(self, stop: asyncio.Event | None = None) -> None:
        opened = {p.name: open_engine(p, environ={}) for p in self.config.providers}

        def renew(name: str) -> Engine:
            self.on_renew(name)
            return opened[name]

        try:
            self.endings = await collect_attempts(
                self.plan,
                config=self.config,
                suite=self.suite,
                engines=opened | self.engines,
                attempts=self.made,
                complete=self.complete,
                write=self.on_write,
                stop=stop,
                budget=self.budget,
                renew=renew,
            )
        finally:
            for engine in opened.values():
                await engine.aclose()

    def now(self) -> list[Attempt]:
        asyncio.run(self.go())
        return self.attempts

    def kinds(self, provider: str = "a") -> list[str]:
        return [a.exchange.outcome.kind for a in self.attempts if a.trial.provider == provider]


def slow(call: Call) -> Reply:
    return after(SLOW_S, completion())


def by_model(**answers: Answer) -> Answer:
    return lambda call: answers[call.model](call) if call.model in answers else completion()


# --- order, load and rate --------------------------------------------------------------------


def test_every_trial_is_asked_once_in_plan_order() -> None:
    """The plan decides the order; a good answer needs no second one."""
    with Loopback() as server:
        run = Run(server, prompts=4, repeats=2)
        run.now()
    assert [a.trial for a in run.attempts] == [t.trial for t in run.plan.trials]
    assert [a.block for a in run.attempts] == [t.block for t in run.plan.trials]
    assert {a.number for a in run.attempts} == {1}


def test_a_lane_keeps_its_concurrency_and_never_exceeds_it() -> None:
    """The load is an experimental condition: it must be what the record says."""
    # The first five wait for one another, however slowly they come.
    with Loopback(lambda call: after(SLOW_S if len(server.calls) > 5 else 0.5, completion())) as server:
        run = Run(server, prompts=20, concurrency=5)
        run.now()
        assert server.peak_in_flight["m"] == 5
    assert max(a.exchange.times.in_flight for a in run.attempts) == 5
    assert sorted(a.exchange.times.in_flight for a in run.attempts)[5:] == [5] * 15


def test_a_rate_limit_spaces_the_starts() -> None:
    """`rpm` holds whatever the concurrency: no burst, no catching up."""
    with Loopback() as server:
        Run(server, prompts=6, concurrency=6, rpm=300).now()
        began = sorted(c.began_s for c in server.calls)
    assert began[-1] - began[0] >= 5 * 0.2 - 0.35


def test_lanes_run_side_by_side() -> None:
    """A slow provider must not keep the others waiting."""
    with Loopback(by_model(m1=lambda c: after(0.4, completion()))) as server:
        run = Run(server, "a", "b", prompts=3)
        run.change("a", model="m1")
        run.now()
        last_of_the_slow = max(c.began_s for c in server.calls if c.model == "m1")
        assert all(c.began_s < last_of_the_slow for c in server.calls if c.model == "m")
    assert len(run.attempts) == 6


def test_an_attempt_is_written_before_the_slot_asks_again() -> None:
    """After a kill, everything a provider was paid for is on disk."""
    with Loopback() as server:
        run = Run(server, prompts=5, repeats=2)
        asked_by_then: list[int] = []
        run.on_write = lambda attempt: asked_by_then.append(len(server.calls))
        run.now()
    assert asked_by_then == list(range(1, 11))


# --- turns -----------------------------------------------------------------------------------


def overlapping(server: Loopback) -> list[tuple[Call, Call]]:
    """Pairs of requests of different models that were under way at the same time."""
    calls = sorted(server.calls, key=lambda c: c.began_s)
    return [
        (x, y)
        for i, x in enumerate(calls)
        for y in calls[i + 1 :]
        if x.model != y.model and x.ended_s is not None and y.began_s < x.ended_s
    ]


def test_lanes_of_one_resource_are_never_asked_at_once_and_each_keeps_its_load() -> None:
    """Two models on the same cores slow each other tenfold; a concurrent one must still be loaded as configured."""
    with Loopback(lambda call: after(0.1 if call.model == "m2" else 0.01, completion(model=call.model))) as server:
        run = Run(server, "a", "b", "c", prompts=8, repeats=2, group="machine")
        run.change("a", model="m1")
        run.change("b", model="m2", concurrency=4)
        run.change("c", model="m3")
        run.now()
        assert overlapping(server) == []
        assert [server.peak_in_flight[m] for m in ("m1", "m2", "m3")] == [1, 4, 1]
    assert len(run.attempts) == 3 * 16


def test_turns_keep_matched_blocks_close_in_time() -> None:
    """A block asks every provider the same prompt at about the same time; a lane that ran ahead would break that."""
    with Loopback() as server:
        run = Run(server, "a", "b", "c", prompts=30, repeats=1, group="machine")
        run.change("b", concurrency=2)
        run.now()
    reached = dict.fromkeys("abc", 0)
    for attempt in run.attempts:
        reached[attempt.trial.provider] = attempt.block
        assert max(reached.values()) - min(reached.values()) <= 8
        assert abs(reached["a"] - reached["c"]) <= 1


# --- retries ---------------------------------------------------------------------------------


def test_a_retry_fills_the_same_trial_and_every_attempt_is_recorded() -> None:
    """A retry is a row of its own and never a new repeat."""
    replies = {1: error(500), 2: error(503), 3: completion("late")}
    with Loopback(lambda call: replies[call.nth]) as server:
        run = Run(server, prompts=2)
        run.now()
        assert len(server.calls) == 6
    first = run.plan.trials[0].trial
    mine = [(a.number, a.exchange.outcome.kind) for a in run.attempts if a.trial == first]
    assert mine == [(1, "server"), (2, "server"), (3, "complete")]


def test_attempts_are_limited_and_the_lane_goes_on() -> None:
    """A provider that keeps failing costs a bounded number of requests a trial."""
    with Loopback(lambda call: error(500) if call.prompt == "question 1" else completion()) as server:
        run = Run(server, prompts=3, attempts=3)
        run.now()
        assert server.prompts().count("question 1") == 3
        assert len(server.calls) == 5
    assert max(a.number for a in run.attempts) == 3


@pytest.mark.parametrize(
    ("reply", "requests"),
    [(error(400, "bad"), 1), (error(500), 4), (completion(choice={"message": None}), 1), (completion(choices=[]), 2)],
    ids=["never", "yes", "never", "once"],
)
def test_the_rule_of_the_fault_decides_how_often_it_is_asked_again(reply: Reply, requests: int) -> None:
    """never, once, yes: from the catalogue, not from an exception's class."""
    with Loopback(lambda call: reply) as server:
        Run(server, prompts=1, attempts=4).now()
        assert len(server.calls) == requests


def test_a_fault_to_be_retried_once_does_not_use_up_another_faults_retries() -> None:
    """Two kinds of trouble in a row are two first times."""
    replies = {1: raw(Pause(5)), 2: completion(choices=[]), 3: completion("here")}
    with Loopback(lambda call: replies[call.nth]) as server:
        run = Run(server, prompts=1, timeouts={"first_byte_s": 0.5})
        run.now()
    assert run.kinds() == ["timeout", "no_choices", "complete"]


def test_waits_grow_between_attempts() -> None:
    """A provider in trouble is given time: at least half of 0.1, 0.2, 0.4 s, and no more than the whole."""
    with Loopback(lambda call: error(500)) as server:
        Run(server, prompts=1, attempts=4, backoff={"first_s": 0.1, "max_s": 0.2}).now()
        began = [c.began_s for c in server.calls]
    gaps = [later - earlier for earlier, later in itertools.pairwise(began)]
    for gap, longest in zip(gaps, (0.1, 0.2, 0.2), strict=True):
        assert longest / 2 <= gap < longest + 3


def test_retry_after_holds_the_whole_lane() -> None:
    """The limit is the account's, not one request's: the other slots wait too."""

    def answer(call: Call) -> Reply:
        limited = call.prompt == "question 0" and call.nth == 1
        return error(429, headers={"Retry-After": "1.5"}) if limited else slow(call)

    with Loopback(answer) as server:
        run = Run(server, prompts=60, concurrency=3, backoff={**QUICK, "max_s": 3.0})
        run.now()
        refused = next(c for c in server.calls if c.prompt == "question 0")
        assert refused.ended_s is not None
        assert [c for c in server.calls if refused.ended_s + 0.7 < c.began_s < refused.ended_s + 1.4] == []
    assert run.kinds().count("complete") == 60
    assert run.kinds().count("rate_limited") == 1


def test_a_retry_after_beyond_the_limit_ends_the_lane_and_no_other() -> None:
    """Nobody waits an hour unasked, and asking before the hour is over would only be refused again."""
    with Loopback(by_model(m1=lambda c: error(429, headers={"Retry-After": "3600"}))) as server:
        run = Run(server, "a", "b", prompts=5)
        run.change("a", model="m1")
        began = time.monotonic()
        run.now()
        assert time.monotonic() - began < 300
    assert run.kinds("a") == ["rate_limited"]
    assert run.kinds("b") == ["complete"] * 5


@pytest.mark.parametrize("status", [401, 402, 404, 302])
def test_a_permanent_fault_ends_its_lane_and_leaves_no_made_up_records(status: int) -> None:
    """What was not asked is absent: coverage shows it, nothing pretends to be an attempt."""
    with Loopback(by_model(m1=lambda c: error(status))) as server:
        run = Run(server, "a", "b", prompts=5)
        run.change("a", model="m1")
        run.now()
        assert len([c for c in server.calls if c.model == "m1"]) == 1
    assert len(run.kinds("a")) == 1
    assert run.kinds("b") == ["complete"] * 5


def test_a_lane_that_ends_does_not_sleep_out_its_waits() -> None:
    """A slot waiting for its retry has nothing to wait for once the key is refused."""
    replies: dict[str, Reply] = {"question 0": error(500), "question 1": after(0.2, error(401))}
    with Loopback(lambda call: replies.get(call.prompt, completion())) as server:
        run = Run(server, prompts=2, concurrency=2, backoff={"first_s": 300.0, "max_s": 300.0})
        began = time.monotonic()
        run.now()
        assert time.monotonic() - began < 100
    assert sorted(run.kinds()) == ["auth", "server"]


# --- interruption and resume -----------------------------------------------------------------


def test_stop_ends_cleanly_and_what_was_in_flight_leaves_no_record() -> None:
    """Ctrl-C: no new request, no half record, and every answer had so far is kept."""

    async def stopping(run: Run, server: Loopback) -> None:
        stop = asyncio.Event()

        def write(attempt: Attempt) -> None:
            run.attempts.append(attempt)
            if len(run.attempts) == 3:
                stop.set()

        run.on_write = write
        await run.go(stop)

    with Loopback(slow) as server:
        run = Run(server, prompts=20, concurrency=2)
        asyncio.run(stopping(run, server))
        assert len(run.attempts) in (3, 4)
        assert len(server.calls) <= len(run.attempts) + 2
    assert set(run.kinds()) == {"complete"}


def test_stop_does_not_wait_for_a_slow_answer() -> None:
    """Ctrl-C that takes five minutes is not one."""

    async def stopping(run: Run) -> float:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, stop.set)
        began = time.monotonic()
        await run.go(stop)
        return time.monotonic() - began

    with Loopback(lambda call: raw(Pause(100))) as server:
        run = Run(server, timeouts={"first_byte_s": 100.0})
        assert asyncio.run(stopping(run)) < 50
    assert run.attempts == []


def test_cancellation_comes_through_and_leaves_nothing_running() -> None:
    """The second Ctrl-C cancels the task itself."""

    async def cancelling(run: Run) -> None:
        task = asyncio.create_task(run.go(asyncio.Event()))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with Loopback(lambda call: raw(Pause(20))) as server:
        run = Run(server, "a", "b", concurrency=2)
        asyncio.run(cancelling(run))
    assert run.attempts == []


def test_resume_asks_only_what_is_missing_and_numbers_go_on() -> None:
    """No answered trial is paid for twice, and the record tells the attempts of both sessions apart."""
    with Loopback() as server:
        run = Run(server, prompts=4)
        trials = [t.trial for t in run.plan.trials]
        run.complete = frozenset(trials[:2])
        run.made = {trials[0]: 1, trials[1]: 3, trials[2]: 2}
        run.now()
    assert [(a.trial, a.number) for a in run.attempts] == [(trials[2], 3), (trials[3], 1)]


def test_earlier_attempts_count_but_a_missing_answer_is_asked_for_again() -> None:
    """Resumed after a kill, a trial gets what was left of its attempts; resumed after an outage, one more."""
    with Loopback(lambda call: error(500)) as server:
        run = Run(server, prompts=2, attempts=3)
        trials = [t.trial for t in run.plan.trials]
        run.made = {trials[0]: 1, trials[1]: 3}
        run.now()
    assert [a.number for a in run.attempts if a.trial == trials[0]] == [2, 3]
    assert [a.number for a in run.attempts if a.trial == trials[1]] == [4]


# --- our own bugs ----------------------------------------------------------------------------


class BrokenEngine:
    """An engine with a bug."""

    def describe(self) -> Mapping[str, Any]:
        return {}

    async def ask(self, question: Question) -> Exchange:
        raise ZeroDivisionError("a bug")

    async def aclose(self) -> None:
        """Nothing to close."""


def test_an_engines_bug_ends_the_run_as_itself() -> None:
    """A provider's failure is a row; our bug is a crash, and not one hidden in a group of exceptions."""
    with Loopback(slow) as server:
        run = Run(server, "a", "b", prompts=20)
        run.engines = {"a": BrokenEngine()}
        with pytest.raises(ZeroDivisionError, match="a bug"):
            run.now()
        assert len(server.calls) < 20


def test_a_full_disk_ends_the_run_as_itself() -> None:
    """Asking on without being able to record would throw the answers away."""

    def full(attempt: Attempt) -> None:
        raise OSError("no space left on device")

    with Loopback() as server:
        run = Run(server, prompts=20)
        run.on_write = full
        with pytest.raises(OSError, match="no space"):
            run.now()
        assert len(server.calls) == 1


# --- trouble ---------------------------------------------------------------------------------


TROUBLE = {"failures": 3, "cool_down_s": 0.05, "probes": 2}


def test_an_endpoint_that_only_times_out_costs_a_bounded_number_of_requests() -> None:
    """Neither attempts x trials x deadline nor a silent end: three failures, two more tries, and the reason."""
    with Loopback(lambda call: raw(Pause(20))) as server:
        run = Run(server, prompts=30, timeouts={"first_byte_s": 0.1}, breaker=TROUBLE)
        run.now()
        assert len(server.calls) == len(run.attempts) == 5
    (ending,) = run.endings
    assert ending.provider == "a"
    assert "given up after 3 failures in a row and 2 more tries; the last: timeout" in ending.reason


def test_an_outage_that_passes_costs_no_answer() -> None:
    """What failed during it is asked again at the end, with the attempts it has left."""
    with Loopback(lambda call: error(503) if len(server.calls) <= 5 else completion()) as server:
        run = Run(server, prompts=12, breaker={"failures": 3, "cool_down_s": 0.1, "probes": 5})
        run.now()
        assert len(server.calls) == len(run.attempts)
    assert run.kinds().count("complete") == 12
    assert run.kinds().count("server") == 5
    assert run.endings == ()


def test_a_provider_in_trouble_leaves_the_others_at_full_speed() -> None:
    """One that refuses every second request, one that stalls, one that is down: the fourth does not notice."""
    seen = itertools.count()

    def answer(call: Call) -> Reply:
        if call.model == "stalls":
            return raw(Pause(60))
        if call.model == "down":
            return raw(Reset())
        if call.model == "limited" and next(seen) % 2 == 0:
            return error(429, headers={"Retry-After": "0.1"})
        return slow(call)

    with Loopback(answer) as server:
        run = Run(server, "a", "limited", "stalls", "down", prompts=20, breaker=TROUBLE)
        for name in ("limited", "stalls", "down"):
            run.change(name, model=name)
        run.change("stalls", timeouts=Timeouts(first_byte_s=0.5))
        began = time.monotonic()
        run.now()
        took_s = time.monotonic() - began
        by_model = {name: [c for c in server.calls if c.model == name] for name in ("m", "limited", "stalls", "down")}
        last = by_model["m"][-1].ended_s
        assert last is not None
        assert last < by_model["stalls"][-1].began_s
        assert len(server.calls) == len(run.attempts)
    assert run.kinds("a") == run.kinds("limited")[1::2] == ["complete"] * 20
    assert {e.provider for e in run.endings} == {"stalls", "down"}
    assert len(by_model["stalls"]) == len(by_model["down"]) == 5
    assert took_s < 120


def test_a_key_refused_after_it_worked_is_read_anew_once() -> None:
    """A key that is changed during a long run costs nothing; a revoked one costs one more request."""
    renewed: list[str] = []

    def answer(call: Call) -> Reply:
        return error(401) if len(server.calls) > 3 and len(renewed) < wanted else completion()

    for wanted, kinds in (
        (1, [*["complete"] * 3, "auth", *["complete"] * 3]),
        (9, [*["complete"] * 3, "auth", "auth"]),
    ):
        renewed.clear()
        with Loopback(answer) as server:
            run = Run(server, prompts=6)
            run.on_renew = renewed.append
            run.now()
        assert run.kinds() == kinds
        assert renewed == ["a"]
        assert bool(run.endings) == (wanted == 9)


def test_a_budget_of_requests_ends_the_run_cleanly() -> None:
    """Exactly as many requests as allowed are sent, all of them are recorded, and the reason is given."""
    with Loopback(slow) as server:
        run = Run(server, "a", "b", prompts=20, concurrency=4)
        run.budget = Budget(Limits(max_requests=11))
        run.now()
        assert len(server.calls) == len(run.attempts) == 11
    assert [(e.provider, e.reason) for e in run.endings] == [(None, "--max-requests 11 was reached")]


def test_a_budget_of_money_is_never_exceeded() -> None:
    """11 + 2 tokens at a dollar each: four cost 52; a fifth, which may take 8 + 11 + ..., is not sent."""
    with Loopback() as server:
        price = {"input_per_mtok": 1e6, "output_per_mtok": 1e6}
        run = Run(server, prompts=20, price=price, max_tokens=20)
        most = run.plan.trials[0].prompt_tokens + 20
        run.budget = Budget(Limits(max_cost_usd=4 * 13 + most - 1))
        run.now()
        assert len(server.calls) == 4
    assert "--max-cost" in run.endings[0].reason


# --- conditions ------------------------------------------------------------------------------


def test_each_condition_has_its_own_load_and_they_take_turns() -> None:
    """Serial means that nothing else of this provider is under way, whatever the other condition does."""
    with Loopback(slow) as server:
        run = Run(server, prompts=8, repeats=2)
        run.config = config_with(
            run.config, [{"name": "serial", "concurrency": 1}, {"name": "burst", "concurrency": 4}]
        )
        run.now()
        assert server.peak_in_flight["m"] == 4
    most = {
        name: max(a.exchange.times.in_flight for a in run.attempts if a.trial.condition == name)
        for name in ("serial", "burst")
    }
    assert most == {"serial": 1, "burst": 4}
    assert len(run.attempts) == 32
    serial = [a.exchange.times.started_at for a in run.attempts if a.trial.condition == "serial"]
    assert len(set(serial)) == 16


def config_with(settings: Config, conditions: list[dict[str, Any]]) -> Config:
    value = settings.model_dump(mode="json") | {"conditions": conditions}
    return config.parse_config(value, source="test")
