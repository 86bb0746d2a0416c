"""A hosted provider and a prompt in, how many log-probabilities of a first token it gives, and whose, out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tempzero.answers.first_tokens import read_first_token
from tempzero.check.check_request import SMALLEST_LIMIT, Probe, ask_probe
from tempzero.check.refusals import explain_no_answer
from tempzero.config import Provider

MOST_LOGPROBS = 20
_WANTED = (MOST_LOGPROBS, 10, 5, 3, 1)
_CERTAIN = -1e-3  # nearly all the probability

Whose = Literal["model", "sampled"]
"""Of the model, or of what is left of them once temperature 0 has put everything on one token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TopLogprobs:
    """How a provider is asked for log-probabilities, and what comes. `given` 0: none, for `reason`."""

    asked: int = 0
    given: int = 0
    max_tokens: int = 1
    decimals: int | None = None
    whose: Whose = "model"
    reason: str = ""

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

    `limits` are tokens of the answer: some hosts refuse so few as one.
    `prompt` is one whose answer may begin in several ways. Where temperature 0 leaves one candidate, temperature 1 is
    asked for: which token is drawn then plays no part.
    """
    reason = "none"
    for limit in limits:
        for wanted in _WANTED:
            extra = {"logprobs": True, "top_logprobs": wanted}
            probe = Probe(what="top_logprobs", prompt=prompt, max_tokens=limit, stream=False, extra=extra)
            exchange = await ask_probe(provider, probe, environ)
            if exchange.outcome.completion is None:
                reason = explain_no_answer(provider, exchange)
                continue
            told = read_first_token(exchange)
            if told is None:
                return TopLogprobs(asked=wanted, max_tokens=limit, reason="ignored")
            if told.candidates[0].logprob > _CERTAIN and (len(told.candidates) == 1 or told.candidates[1].logprob < -9):
                return await _ask_warm(provider, probe, environ, wanted)
            return TopLogprobs(
                asked=wanted, given=len(told.candidates), max_tokens=limit, decimals=told.decimals, whose="model"
            )
    return TopLogprobs(reason=reason)


async def _ask_warm(provider: Provider, probe: Probe, environ: Mapping[str, str], wanted: int) -> TopLogprobs:
    warm = Probe(
        what=probe.what,
        prompt=probe.prompt,
        max_tokens=probe.max_tokens,
        stream=False,
        extra=probe.extra,
        sampling={"temperature": 1.0, "top_p": 1.0},
    )
    told = read_first_token(await ask_probe(provider, warm, environ))
    return TopLogprobs(
        asked=wanted,
        given=len(told.candidates) if told is not None else 1,
        max_tokens=probe.max_tokens,
        decimals=told.decimals if told is not None else None,
        whose="sampled",
    )
