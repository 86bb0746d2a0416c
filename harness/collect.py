"""A Plan and engines in, every attempt handed to `write` as it ends: lanes, turns, rates, retries, resume.

Each provider has a lane: at most `concurrency` requests under way, `rpm` starts a minute, trials in plan
order. Lanes that share a resource (this machine's cores) take turns; all others run side by side.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Container, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_result

from harness.config import Config, Provider
from harness.engines import Engine
from harness.engines.faults import PERMANENT
from harness.types import Attempt, Message, Outcome, Plan, PlannedTrial, Question, Suite, Trial

# A turn of a concurrent lane: this many trials for each request in flight, so that it is
# really that many for most of the turn. A serial lane gives up its turn after one block.
_TRIALS_PER_SLOT = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """What all lanes of one call share."""

    messages: Mapping[str, tuple[Message, ...]]
    seed: int
    write: Callable[[Attempt], None]
    progress: Callable[[Attempt], None]


def _ignore(attempt: Attempt) -> None:
    """The progress callback of a caller who does not watch."""


async def collect(
    plan: Plan,
    *,
    config: Config,
    suite: Suite,
    engines: Mapping[str, Engine],
    attempts: Mapping[Trial, int],
    complete: Container[Trial],
    write: Callable[[Attempt], None],
    progress: Callable[[Attempt], None] = _ignore,
    stop: asyncio.Event | None = None,
) -> None:
    """Ask every trial of the plan that is not `complete`; each attempt is written before the slot's next request.

    `attempts` are those of earlier sessions: numbers go on from there, and they count towards the provider's
    limit, but a trial that is not complete is asked at least once more. A permanent fault (a refused key, no
    credit) ends its lane: trials not asked leave no record. Returns when all is asked, or soon after `stop`
    is set; requests then in flight are cancelled and leave no record, as on cancellation. Whatever an
    engine or `write` raises ends everything and comes out as it is.
    """
    job = _Job(messages={p.id: p.messages for p in suite.prompts}, seed=plan.seed, write=write, progress=progress)
    lanes = []
    for provider in config.providers:
        trials = [t for t in plan.trials if t.trial.provider == provider.name and t.trial not in complete]
        if trials:
            lanes.append(_Lane(provider, engines[provider.name], trials, attempts, job))
    await _until_stopped(_all([_take_turns(group) for group in _groups(lanes)]), stop)


def _groups(lanes: Iterable[_Lane]) -> list[list[_Lane]]:
    """Lanes of one resource together, every other lane alone."""
    groups: dict[str, list[_Lane]] = {}
    alone = []
    for lane in lanes:
        if lane.provider.resource_group is None:
            alone.append([lane])
        else:
            groups.setdefault(lane.provider.resource_group, []).append(lane)
    return [*groups.values(), *alone]


async def _take_turns(lanes: Sequence[_Lane]) -> None:
    """One lane at a time; always the one furthest behind in the plan, so that matched blocks stay close in time."""
    if len(lanes) == 1:
        await lanes[0].run(lanes[0].rest())
        return
    while waiting := [lane for lane in lanes if lane.next_block is not None]:
        lane = min(waiting, key=lambda one: one.next_block or 0)
        await lane.run(lane.turn())


class _Lane:
    """One provider's trials, and when the next request may start."""

    def __init__(
        self,
        provider: Provider,
        engine: Engine,
        trials: Sequence[PlannedTrial],
        attempts: Mapping[Trial, int],
        job: _Job,
    ) -> None:
        assert provider.concurrency is not None, "providers are resolved when they are loaded"
        assert provider.attempts is not None
        assert provider.backoff is not None
        self.provider = provider
        self._engine = engine
        self._trials = trials
        self._next = 0
        self._attempts = attempts
        self._job = job
        self._slots = provider.concurrency
        self._most_attempts = provider.attempts
        self._backoff = provider.backoff
        self._interval_s = 60 / provider.rpm if provider.rpm else 0.0
        self._now = asyncio.get_running_loop().time
        self._opens_at = 0.0  # the provider asked for silence until then (Retry-After)
        self._next_start = 0.0  # the rate allows no request before then
        self._in_flight = 0
        self._stopped = asyncio.Event()

    @property
    def next_block(self) -> int | None:
        """Where this lane is in the plan; None when there is nothing left to ask."""
        return None if self._stopped.is_set() or self._next >= len(self._trials) else self._trials[self._next].block

    def rest(self) -> Iterator[PlannedTrial]:
        """All trials left."""
        return self._drawn(len(self._trials))

    def turn(self) -> Iterator[PlannedTrial]:
        """The trials of one turn: whole blocks, enough of them to keep every slot busy."""
        wanted = 1 if self._slots == 1 else _TRIALS_PER_SLOT * self._slots
        end = min(self._next + wanted, len(self._trials))
        while end < len(self._trials) and self._trials[end].block == self._trials[end - 1].block:
            end += 1
        return self._drawn(end)

    def _drawn(self, end: int) -> Iterator[PlannedTrial]:
        """Trials up to there, one by one as slots become free; none once the lane has ended."""
        while not self._stopped.is_set() and self._next < end:
            self._next += 1
            yield self._trials[self._next - 1]

    async def run(self, trials: Iterator[PlannedTrial]) -> None:
        """Ask those trials with as many requests under way as the lane has slots."""

        async def slot() -> None:
            for planned in trials:
                await self._ask(planned)

        await _all([slot() for _ in range(min(self._slots, len(self._trials)))])

    async def _ask(self, planned: PlannedTrial) -> None:
        """Ask one trial until it has an outcome that stands: the one retry loop there is."""
        trial = _UnderWay(planned, self._attempts.get(planned.trial, 0), self._most_attempts)
        retrying = AsyncRetrying(
            sleep=self._pause,
            retry=retry_if_result(lambda outcome: outcome is not None and self._again(outcome, trial)),
            wait=lambda state: self._wait_s(state, trial),
        )
        await retrying(self._attempt, trial)

    async def _attempt(self, trial: _UnderWay) -> Outcome | None:
        """One request, recorded. None: the lane was stopped before this request could start."""
        if not await self._may_start():
            return None
        planned = trial.planned
        question = Question(
            trial=planned.trial,
            messages=self._job.messages[planned.trial.prompt],
            sampling=self.provider.sampling(planned.max_tokens),
        )
        self._in_flight += 1
        in_flight = self._in_flight
        try:
            exchange = await self._engine.ask(question)
        finally:
            self._in_flight -= 1
        exchange = replace(exchange, times=replace(exchange.times, in_flight=in_flight))
        trial.number += 1
        attempt = Attempt(trial=planned.trial, number=trial.number, block=planned.block, exchange=exchange)
        self._job.write(attempt)
        self._heed(exchange.outcome)
        self._job.progress(attempt)
        return exchange.outcome

    async def _may_start(self) -> bool:
        """Wait for the gate and the rate; False when the lane has been stopped meanwhile."""
        await self._gate()
        if self._interval_s:
            start = max(self._now(), self._next_start)
            self._next_start = start + self._interval_s
            await self._pause(start - self._now())
            await self._gate()
        return not self._stopped.is_set()

    async def _gate(self) -> None:
        while not self._stopped.is_set() and (wait_s := self._opens_at - self._now()) > 0:
            await self._pause(wait_s)

    async def _pause(self, seconds: float) -> None:
        """Sleep, but not past the lane's end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    def _heed(self, outcome: Outcome) -> None:
        """What an outcome means for the whole lane: silence for a while, or for the rest of the session."""
        asked_s = outcome.retry_after_s or 0.0
        self._opens_at = max(self._opens_at, self._now() + min(asked_s, self._backoff.max_s))
        if outcome.kind in PERMANENT or asked_s > self._backoff.max_s:
            self._stopped.set()

    def _again(self, outcome: Outcome, trial: _UnderWay) -> bool:
        if self._stopped.is_set() or trial.attempts_left <= 0 or outcome.retry == "never":
            return False
        if outcome.retry == "once":
            first = outcome.kind not in trial.had_once
            trial.had_once.add(outcome.kind)
            return first
        return True

    def _wait_s(self, state: RetryCallState, trial: _UnderWay) -> float:
        """Nothing where the provider named a time (the gate holds the whole lane), else exponential with jitter."""
        assert state.outcome is not None, "asked only after an attempt"
        if state.outcome.result().retry_after_s:
            return 0.0
        longest_s: float = min(self._backoff.max_s, self._backoff.first_s * 2 ** (state.attempt_number - 1))
        return longest_s * random.Random(f"{self._job.seed} {trial.planned.trial} {trial.number}").uniform(0.5, 1.0)


class _UnderWay:
    """One trial while it is being asked: attempts made in all, and those it has left."""

    def __init__(self, planned: PlannedTrial, made: int, most: int) -> None:
        self.planned = planned
        self.number = made
        self.had_once: set[str] = set()
        self._most = most

    @property
    def attempts_left(self) -> int:
        return self._most - self.number


async def _until_stopped(work: Coroutine[Any, Any, None], stop: asyncio.Event | None) -> None:
    if stop is None:
        await work
        return
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Everything side by side. The first exception cancels the rest and comes out itself, not in a group."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
