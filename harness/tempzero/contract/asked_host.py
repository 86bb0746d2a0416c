"""A provider in, answers to whatever a case asks out: each request once, a few at a time, and at most so many."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tempzero.canonical_json import to_canonical_json
from tempzero.config import Provider
from tempzero.contract.wire_answer import RawAnswer
from tempzero.engines import Engine
from tempzero.types.asked import Message, Question, Sampling, Trial

SMALL_LIMIT = 16
"""Some hosts refuse a limit below this; none refuses this one."""
_TRIES = 3
_LONGEST_WAIT_S = 20.0
_SIDE_BY_SIDE = 4
# So many requests in a row without a word on the request itself, and the endpoint is taken for gone.
_SILENT_STATUS = (0, 401, 402, 403, 429, 503)
_MOST_SILENT = 8


class NotAnswered(Exception):
    """A request that a case needs brought no answer: `refused` for what stands in it, else for another reason."""

    def __init__(self, words: str, *, refused: bool) -> None:
        super().__init__(words)
        self.words, self.refused = words, refused


@dataclass(kw_only=True, slots=True)
class RequestLedger:
    """What one endpoint has been asked, whatever case asked it."""

    most: int
    asked: dict[str, asyncio.Task[RawAnswer]] = field(default_factory=dict)
    answers: list[RawAnswer] = field(default_factory=list)
    sent: int = 0
    silent: int = 0
    next_at_s: float = 0.0


@dataclass(kw_only=True, slots=True)
class AskedHost:
    """An endpoint as cases see it. The same request (and `nth`) is sent once and shared; another `round` asks anew.

    `thinks`: it was seen to reason; `room` are tokens that reasoning may take besides. `smallest` is the least limit
    that it takes.
    """

    provider: Provider
    engine: Engine
    ledger: RequestLedger
    turns: asyncio.Semaphore
    thinks: bool = False
    room: int = 0
    smallest: int = SMALL_LIMIT
    round: int = 0

    def ask_again(self) -> AskedHost:
        """The same endpoint, to which every request is a new one."""
        return replace(self, round=self.round + 1)

    async def get(self, prompt: str | Sequence[Message], **asked: Any) -> RawAnswer:
        """Like `ask`, but nothing else than an answer of the model comes back. Raises NotAnswered."""
        answer = await self.ask(prompt, **asked)
        if answer.is_answer and answer.kind != "content_filter":
            return answer
        said = f"{answer.kind}: {answer.detail}" if answer.detail else answer.kind
        if answer.kind == "generation_failed":
            raise NotAnswered(f"what the model wrote did not pass the host's own check ({said})", refused=False)
        raise NotAnswered(("refused " if answer.is_refusal else "no answer ") + f"({said})", refused=answer.is_refusal)

    def ask(
        self,
        prompt: str | Sequence[Message],
        *,
        tokens: int = SMALL_LIMIT,
        exact: bool = False,
        stream: bool = False,
        temperature: float = 0.0,
        seed: int | None = None,
        fields: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        tool_choice: str | Mapping[str, Any] | None = None,
        nth: int = 0,
        any_status: bool = False,
    ) -> Awaitable[RawAnswer]:
        """What came of it, refusals included. `exact`: that very limit, without room to reason. `any_status`: a
        passing fault is what is asked for, and not asked again. Raises NotAnswered where nothing can be asked any
        more."""
        own = self.provider
        messages = (Message(role="user", content=prompt),) if isinstance(prompt, str) else tuple(prompt)
        sampling = Sampling(
            temperature=None if own.temperature is None else float(temperature),
            top_p=own.top_p,
            seed=seed if temperature or seed is not None else own.seed,
            max_tokens=tokens if exact else max(tokens, self.smallest) + self.room,
        )
        told = [str(m) for m in messages]
        key = to_canonical_json(
            [told, str(sampling), stream, fields, list(tools), tool_choice, nth, any_status, self.round]
        )
        if key not in self.ledger.asked:
            digest = hashlib.sha256(key.encode()).hexdigest()[:16]
            question = Question(
                trial=Trial(provider=own.name, prompt=digest, condition="contract", repeat=nth),
                messages=messages,
                sampling=sampling,
                stream=stream,
                tools=tuple(tools),
                tool_choice=tool_choice,
                request=fields or {},
            )
            self.ledger.asked[key] = asyncio.ensure_future(self._send(question, any_status=any_status))
        return asyncio.shield(self.ledger.asked[key])

    async def _send(self, question: Question, *, any_status: bool) -> RawAnswer:
        async with self.turns:
            for tried in range(_TRIES):
                await self._wait_for_turn()
                exchange = await self.engine.ask(question)
                answer = RawAnswer(exchange=exchange)
                self.ledger.answers.append(answer)
                said = exchange.outcome
                settled = said.status != "missing" or said.retry != "yes" or (any_status and answer.status)
                if settled or tried == _TRIES - 1:
                    break
                wait = 2.0**tried if said.retry_after_s is None else said.retry_after_s
                if wait > _LONGEST_WAIT_S:
                    break
                await asyncio.sleep(wait)
            self.ledger.silent = self.ledger.silent + 1 if answer.status in _SILENT_STATUS else 0
            return answer

    async def _wait_for_turn(self) -> None:
        """Keep to the limits: of this look, and of requests in a minute."""
        if self.ledger.silent >= _MOST_SILENT:
            raise NotAnswered(f"not asked: {_MOST_SILENT} requests in a row had brought nothing", refused=False)
        if self.ledger.sent >= self.ledger.most:
            raise NotAnswered(f"not asked: {self.ledger.most} requests had been sent", refused=False)
        self.ledger.sent += 1
        if self.provider.rpm:
            now = time.monotonic()
            start = max(now, self.ledger.next_at_s)
            self.ledger.next_at_s = start + 60 / self.provider.rpm
            await asyncio.sleep(start - now)


def open_host(provider: Provider, engine: Engine, *, most: int) -> AskedHost:
    """The endpoint before anything is known of it."""
    side_by_side = max(1, min(provider.concurrency, _SIDE_BY_SIDE))
    return AskedHost(
        provider=provider, engine=engine, ledger=RequestLedger(most=most), turns=asyncio.Semaphore(side_by_side)
    )
