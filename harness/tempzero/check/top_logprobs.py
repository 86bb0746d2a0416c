"""A hosted provider and a prompt in, how many log-probabilities of a first token it gives, and whose, out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tempzero.answers.first_tokens import read_first_token
from tempzero.check.check_request import SMALLEST_LIMIT, Probe, ask_probe
from tempzero.check.refusals import explain_no_answer
from tempzero.config import Provider
from tempzero.types.recorded import Exchange

MOST_LOGPROBS = 20
_FEWER = (10, 5, 3, 1)
_CERTAIN = -1e-3  # nearly all the probability

Whose = Literal["model", "sampled"]
"""Of the model, or of what is left of them once temperature 0 has put everything on one token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TopLogprobs:
    """How a provider is asked for log-probabilities, and what comes. `given` 0: none, for `reason`.

    `exchanges` are those that showed it.
    """

    asked: int = 0
    given: int = 0
    max_tokens: int = 1
    decimals: int | None = None
    whose: Whose = "model"
    reason: str = ""
    exchanges: tuple[Exchange, ...] = ()

    @property
    def word(self) -> str:
        """As a table of checks has it."""
        if not self.given:
            return self.reason
        rounded = "" if self.decimals is None else f", rounded to {10.0**-self.decimals:g}"
        return f"{self.given}{rounded}{', sampled' if self.whose == 'sampled' else ''}"


async def find_top_logprobs(
    provider: Provider, prompt: str, environ: Mapping[str, str], *, limits: Sequence[int] = (1, SMALLEST_LIMIT)
) -> TopLogprobs:
    """Ask for as many as any host gives, and for fewer where it refuses. Raises EngineError.

    `limits` are tokens of the answer: some hosts refuse so few as one. Who refuses even one log-probability is asked
    for it with each limit, and no more.
    `prompt` is one whose answer may begin in several ways. Where temperature 0 leaves one candidate, temperature 1 is
    asked for: which token is drawn then plays no part.
    """
    asking = _Asking(provider, prompt, environ)
    for limit in limits:
        found = await asking.ask_for(MOST_LOGPROBS, limit)
        if found is None and await asking.ask_for(1, limit) is not None:
            for fewer in _FEWER:
                found = found or await asking.ask_for(fewer, limit)
        if found is not None:
            return found
    return TopLogprobs(reason=asking.reason, exchanges=tuple(asking.exchanges))


class _Asking:
    """One provider, asked for more or fewer; what it said is kept, so that nothing is asked twice."""

    def __init__(self, provider: Provider, prompt: str, environ: Mapping[str, str]) -> None:
        self._provider, self._prompt, self._environ = provider, prompt, environ
        self._known: dict[tuple[int, int], TopLogprobs | None] = {}
        self.exchanges: list[Exchange] = []
        self.reason = "none"

    async def ask_for(self, wanted: int, limit: int) -> TopLogprobs | None:
        """What came; None where it refuses so many, or so short an answer."""
        if (wanted, limit) not in self._known:
            self._known[wanted, limit] = await self._look(wanted, limit)
        found = self._known[wanted, limit]
        return found if found is None else replace(found, exchanges=tuple(self.exchanges))

    async def _look(self, wanted: int, limit: int) -> TopLogprobs | None:
        exchange = await self._ask(wanted, limit, {})
        if exchange.outcome.completion is None:
            self.reason = explain_no_answer(self._provider, exchange)
            return None
        told = read_first_token(exchange)
        if told is None:
            return TopLogprobs(asked=wanted, max_tokens=limit, reason="ignored")
        whose: Whose = "model"
        if told.candidates[0].logprob > _CERTAIN and (len(told.candidates) == 1 or told.candidates[1].logprob < -9):
            whose = "sampled"
            told = read_first_token(await self._ask(wanted, limit, {"temperature": 1.0, "top_p": 1.0})) or told
        return TopLogprobs(
            asked=wanted, given=len(told.candidates), max_tokens=limit, decimals=told.decimals, whose=whose
        )

    async def _ask(self, wanted: int, limit: int, sampling: Mapping[str, float]) -> Exchange:
        probe = Probe(
            what="top_logprobs",
            prompt=self._prompt,
            max_tokens=limit,
            stream=False,
            extra={"logprobs": True, "top_logprobs": wanted},
            sampling=sampling,
        )
        self.exchanges.append(await ask_probe(self._provider, probe, self._environ))
        return self.exchanges[-1]
