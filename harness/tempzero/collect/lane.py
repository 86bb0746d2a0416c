"""One provider's trials under one condition in, its attempts out: slots, plan order, and the one retry loop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_result

from tempzero.collect.access import Access, CollectJob
from tempzero.collect.conversation import build_round_messages, find_earlier_trials
from tempzero.config import Condition, Provider, join_fields
from tempzero.types.asked import PlannedTrial, Question, Trial
from tempzero.types.recorded import ANSWERED, Attempt, Outcome, OutcomeKind

# A turn of a concurrent lane: this many trials for each request in flight, so that it is
# really that many for most of the turn. A serial lane gives up its turn after one block.
_TRIALS_PER_SLOT = 4


class Lane:
    """A provider under one condition. `provider` carries what the condition changes, `fields` what it sends."""

    def __init__(
        self,
        provider: Provider,
        condition: Condition,
        access: Access,
        trials: Sequence[PlannedTrial],
        attempts: Mapping[Trial, int],
        job: CollectJob,
        fields: Mapping[str, Any],
    ) -> None:
        self.provider = provider
        self._fields = fields
        self._condition = condition
        self._access = access
        self._trials = trials
        self._next = 0
        self._attempts = attempts
        self._job = job
        self._slots = provider.concurrency
        self._most_attempts = provider.attempts
        self._backoff = provider.backoff
        self._in_flight = 0
        # Put off because the provider was in trouble: asked again after all others.
        self._deferred: list[_TrialUnderWay] = []
        # Rounds of conversations that are being asked: the next one waits for what is answered.
        self._rounds_under_way: dict[Trial, asyncio.Event] = {}

    @property
    def next_block(self) -> int | None:
        """Where this lane is in the plan; None when there is nothing left to ask."""
        if self._access.closed.is_set():
            return None
        if self._next < len(self._trials):
            return self._trials[self._next].block
        return self._trials[-1].block if self._deferred else None

    def remaining_trials(self) -> Iterator[_TrialUnderWay]:
        """All trials left."""
        return self._draw_trials(len(self._trials))

    def next_turn(self) -> Iterator[_TrialUnderWay]:
        """The trials of one turn: whole blocks, enough of them to keep every slot busy."""
        wanted = 1 if self._slots == 1 else _TRIALS_PER_SLOT * self._slots
        end = min(self._next + wanted, len(self._trials))
        while end < len(self._trials) and self._trials[end].block == self._trials[end - 1].block:
            end += 1
        return self._draw_trials(end)

    def _draw_trials(self, end: int) -> Iterator[_TrialUnderWay]:
        """Trials up to there, one by one as slots become free, deferred ones last; none once the asking has ended."""
        while not self._access.closed.is_set() and self._next < end:
            self._next += 1
            planned = self._trials[self._next - 1]
            self._access.breaker.count_trial()
            yield _TrialUnderWay(planned, self._attempts.get(planned.trial, 0), self._most_attempts)
        waiting = len(self._deferred) if self._next == len(self._trials) else 0
        while not self._access.closed.is_set() and waiting and self._deferred:
            waiting -= 1
            yield self._deferred.pop(0)

    async def run(self, trials: Iterator[_TrialUnderWay]) -> None:
        """Ask those trials with as many requests under way as the lane has slots."""

        async def slot() -> None:
            for trial in trials:
                await self._ask(trial)

        await run_side_by_side([slot() for _ in range(min(self._slots, len(self._trials)))])

    async def _ask(self, trial: _TrialUnderWay) -> None:
        """Ask one trial until it has an outcome that stands, or is put off; a round behind those before it."""
        if trial.planned.trial.prompt not in self._job.rounds:
            await self._ask_until_settled(trial)
        else:
            settled = self._rounds_under_way[trial.planned.trial] = asyncio.Event()
            try:
                if await self._can_be_asked(trial):
                    await self._ask_until_settled(trial)
            finally:
                del self._rounds_under_way[trial.planned.trial]
                settled.set()

    async def _can_be_asked(self, trial: _TrialUnderWay) -> bool:
        """Whether the rounds before it are answered. Where one is put off, so is this; where one failed, it is not."""
        earlier = find_earlier_trials(trial.planned.trial, self._job.rounds)
        for one in earlier:
            if one in self._rounds_under_way:
                await self._rounds_under_way[one].wait()
        missing = {one for one in earlier if one not in self._job.answers}
        if missing & {one.planned.trial for one in self._deferred}:
            self._deferred.append(trial)
        return not missing

    async def _ask_until_settled(self, trial: _TrialUnderWay) -> None:
        """The one retry loop there is."""
        retrying = AsyncRetrying(
            sleep=self._access.pause,
            retry=retry_if_result(lambda outcome: outcome is not None and self._should_ask_again(outcome, trial)),
            wait=lambda state: self._wait_s(state, trial),
        )
        await retrying(self._attempt, trial)

    async def _attempt(self, trial: _TrialUnderWay) -> Outcome | None:
        """One request, recorded. None: the asking ended before this request could start."""
        planned = trial.planned
        started = await self._access.admit(planned)
        if started is None:
            return None
        prompt = self._job.prompts[planned.trial.prompt]
        earlier = find_earlier_trials(planned.trial, self._job.rounds)
        question = Question(
            trial=planned.trial,
            messages=build_round_messages(prompt, [self._job.answers[one] for one in earlier], self.provider),
            script=prompt.messages if prompt.round is not None else (),
            sampling=self.provider.sampling(planned.max_tokens),
            stream=self._condition.stream,
            tools=prompt.tools,
            tool_choice=prompt.tool_choice,
            request=join_fields(prompt.request, self._fields),
            body=prompt.body,
        )
        self._in_flight += 1
        in_flight = self._in_flight
        try:
            exchange = await self._access.engine.ask(question)
        finally:
            self._in_flight -= 1
        exchange = replace(exchange, times=replace(exchange.times, in_flight=in_flight))
        trial.number += 1
        attempt = Attempt(trial=planned.trial, number=trial.number, block=planned.block, exchange=exchange)
        self._job.write(attempt)
        if prompt.round is not None and exchange.outcome.status in ANSWERED:
            self._job.answers.setdefault(planned.trial, exchange)
        self._access.apply_exchange(planned, started, exchange)
        self._job.progress(attempt)
        return exchange.outcome

    def _should_ask_again(self, outcome: Outcome, trial: _TrialUnderWay) -> bool:
        """By the rule of the fault, within the trial's attempts and the provider's retries."""
        if self._access.closed.is_set() or trial.attempts_left <= 0:
            return False
        # A refused key would have ended the asking, were it not to be tried again with the key read anew.
        if outcome.retry == "never" and outcome.kind != "auth":
            return False
        if outcome.retry == "once":
            first = outcome.kind not in trial.had_once
            trial.had_once.add(outcome.kind)
            if not first:
                return False
        if self._access.breaker.is_open:
            self._deferred.append(trial)
            return False
        return self._access.breaker.take_retry()

    def _wait_s(self, state: RetryCallState, trial: _TrialUnderWay) -> float:
        """Nothing where the provider named a time (it holds the whole lane), else exponential with jitter."""
        assert state.outcome is not None, "asked only after an attempt"
        if state.outcome.result().retry_after_s:
            return 0.0
        longest_s: float = min(self._backoff.max_s, self._backoff.first_s * 2 ** (state.attempt_number - 1))
        return longest_s * random.Random(f"{self._job.seed} {trial.planned.trial} {trial.number}").uniform(0.5, 1.0)


class _TrialUnderWay:
    """One trial while it is being asked: attempts made in all, and those it has left."""

    def __init__(self, planned: PlannedTrial, made: int, most: int) -> None:
        self.planned = planned
        self.number = made
        self.had_once: set[OutcomeKind] = set()
        self._most = most

    @property
    def attempts_left(self) -> int:
        return self._most - self.number


async def run_side_by_side(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Everything side by side. The first exception cancels the rest and comes out itself, not in a group."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
