"""One provider in: when its lanes may send the next request, and what each outcome means for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tempzero.collect.request_limits import Breaker, Budget, Pace, StartedRequest
from tempzero.collect.spending import count_spent_tokens
from tempzero.config import Provider
from tempzero.engines import Engine
from tempzero.engines.hosted.fault_catalogue import PERMANENT_FAULTS
from tempzero.errors import EngineError
from tempzero.types.asked import PlannedTrial, Prompt, Trial
from tempzero.types.recorded import Attempt, Exchange, Outcome

# So many times the most that an answer has taken beyond its limit is kept for a request that others are under way with.
_EXTRA_IN_COMPANY = 4


class ChangeSignal:
    """Wakes everybody who waits whenever anything has changed."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def announce(self) -> None:
        """Wake all who wait now."""
        told, self._next = self._next, asyncio.Event()
        told.set()

    async def wait(self, seconds: float) -> None:
        """Until there is news, or that long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                await self._next.wait()


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectJob:
    """What all lanes of one call share."""

    prompts: Mapping[str, Prompt]
    seed: int
    write: Callable[[Attempt], None]
    progress: Callable[[Attempt], None]
    budget: Budget
    renew: Callable[[str], Engine] | None
    rounds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For each round of a conversation the prompts of the rounds before it."""
    answers: dict[Trial, Exchange] = field(default_factory=dict)
    """Of rounds: the answers that go back to the model."""
    news: ChangeSignal = field(default_factory=ChangeSignal)
    accesses: list[Access] = field(default_factory=list)


class Access:
    """A provider's engine, limits and standing. `ended` says why it is not asked any more."""

    def __init__(self, provider: Provider, engines: Mapping[str, Engine], job: CollectJob) -> None:
        self.provider = provider
        self.breaker = Breaker(provider.breaker)
        self.ended: str | None = None
        self.closed = asyncio.Event()
        self._settings = provider.breaker
        self._longest_s = provider.backoff.max_s
        self._pace = Pace(rpm=provider.rpm, tpm=provider.tpm, longest_s=self._longest_s)
        self.engine = engines[provider.name]
        self._job = job
        self._turn = asyncio.Lock()  # who waited longest goes first, so that trials start in the plan's order
        self._now = asyncio.get_running_loop().time
        self._answered = False
        self._under_way = 0
        self._bill_is_known = False  # whether an answer has shown what a request really takes
        self._extra_tokens = 0  # the most that an answer took beyond its limit: reasoning that is billed apart
        self._renewed_at: float | None = None
        job.accesses.append(self)

    def reconnect(self) -> None:
        """Ask over new connections from here on, where the engine has any."""
        if self._job.renew is not None and self.ended is None:
            self.engine = self._job.renew(self.provider.name)

    async def admit(self, planned: PlannedTrial) -> StartedRequest | None:
        """Wait until this request may start, and count it; None when nothing may start any more."""
        async with self._turn:
            while not self.closed.is_set():
                now = self._now()
                tokens, most_usd = self._largest_tokens(planned), self._reserved_cost_usd(planned)
                wait_s = max(self._pace.wait_s(now, tokens), self.breaker.wait_s(now))
                if wait_s <= 0 and self._must_go_alone(most_usd):
                    wait_s = math.inf
                elif wait_s <= 0:
                    admitted = self._job.budget.admit(most_usd)
                    if admitted == "go":
                        self._under_way += 1
                        self.breaker.start()
                        return replace(self._pace.start(now, tokens), most_usd=most_usd)
                    if admitted == "no":
                        for access in self._job.accesses:
                            access.closed.set()
                        self._job.news.announce()
                        return None
                    wait_s = math.inf
                await self._job.news.wait(wait_s)
        return None

    async def pause(self, seconds: float) -> None:
        """Sleep, but not past the end of the asking."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.closed.wait()

    def apply_exchange(self, planned: PlannedTrial, started: StartedRequest, exchange: Exchange) -> None:
        """What an exchange means for every lane of this provider: waits, a new key, or the end."""
        now, outcome = self._now(), exchange.outcome
        self._under_way -= 1
        self._settle_cost(planned, started, exchange)
        if exchange.response is not None:
            self._pace.apply_headers(now, started, exchange.response.headers)
        asked_s = outcome.retry_after_s or 0.0
        self._pace.hold_requests(now, asked_s)
        if outcome.status == "missing" and outcome.retry != "never" and outcome.kind != "blocked":
            self.breaker.record_failure(now, started)
        else:
            self.breaker.record_answer()
            self._answered = self._answered or outcome.status != "missing"
        self._end_if_hopeless(now, started, outcome, asked_s)
        self._job.news.announce()

    def _end_if_hopeless(self, now: float, started: StartedRequest, outcome: Outcome, asked_s: float) -> None:
        what = f"{outcome.kind}: {outcome.detail}"
        if outcome.kind in PERMANENT_FAULTS:
            if not (outcome.kind == "auth" and self._answered and self._has_new_key(now, started)):
                self._end(what)
        elif asked_s > self._longest_s:
            self._end(
                f"it asks for {asked_s:g} s of silence, longer than backoff.max_s ({self._longest_s:g} s); {what}"
            )
        elif self.breaker.has_given_up:
            tries = f"{self._settings.failures} failures in a row and {self._settings.probes} more tries"
            self._end(f"given up after {tries}; the last: {what}")

    def _end(self, reason: str) -> None:
        self.ended = self.ended or reason
        self.closed.set()

    def _has_new_key(self, now: float, started: StartedRequest) -> bool:
        """A key that worked before is refused: read it anew, once. Requests begun before that are asked again too."""
        if self._renewed_at is not None:
            return started.at_s < self._renewed_at
        self._renewed_at = now
        if self._job.renew is not None:
            try:
                self.engine = self._job.renew(self.provider.name)
            except EngineError:
                return False
        return True

    def _largest_tokens(self, planned: PlannedTrial) -> int:
        return planned.prompt_tokens + planned.max_tokens + self._extra_tokens

    def _reserved_cost_usd(self, planned: PlannedTrial) -> float:
        """The most a request is taken to cost. What is billed apart has no limit: in company it counts several times,
        so that near the end of the budget requests go one by one, and the last is the only one that can overdraw it."""
        times_extra = _EXTRA_IN_COMPANY if self._under_way else 1
        return self._cost_usd(planned.prompt_tokens, planned.max_tokens + times_extra * self._extra_tokens)

    def _must_go_alone(self, most_usd: float) -> bool:
        """Where money is limited, the first answer tells what requests take before there are several of them."""
        return self._job.budget.limits_cost and most_usd > 0 and not self._bill_is_known and self._under_way > 0

    def _cost_usd(self, prompt_tokens: int, output_tokens: int) -> float:
        price = self.provider.price
        return 0.0 if price is None else price.cost(prompt_tokens, output_tokens)

    def _settle_cost(self, planned: PlannedTrial, started: StartedRequest, exchange: Exchange) -> None:
        """Enter what the request took."""
        spent = count_spent_tokens(planned, exchange, self._extra_tokens)
        if spent.reported:
            self._extra_tokens = max(self._extra_tokens, spent.output_tokens - planned.max_tokens)
        self._bill_is_known = self._bill_is_known or exchange.outcome.completion is not None
        self._pace.settle_tokens(started, spent.prompt_tokens + spent.output_tokens)
        self._job.budget.settle(started.most_usd, self._cost_usd(spent.prompt_tokens, spent.output_tokens))
