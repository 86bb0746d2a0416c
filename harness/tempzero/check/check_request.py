"""A provider and one prompt in, the exchange out, under deadlines short enough for a look."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tempzero.config import Provider, join_fields
from tempzero.engines import open_engine
from tempzero.types.asked import Message, Question, Trial
from tempzero.types.recorded import Exchange

# A check is a look, not a run: whoever takes longer is said to have taken longer.
DEADLINE_S = 20.0
_LONGEST_WAIT_S = 5.0
# Some hosts refuse a limit below this; none refuses this one.
SMALLEST_LIMIT = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What is asked once. `sampling` changes the provider's own fields, `extra` goes into the body as it stands."""

    what: str
    prompt: str
    max_tokens: int = SMALLEST_LIMIT
    stream: bool | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None


async def ask_probe(provider: Provider, probe: Probe, environ: Mapping[str, str]) -> Exchange:
    """One request, and a second one where the first met a passing fault. Raises EngineError."""
    timeouts = provider.timeouts
    short = {name: min(getattr(timeouts, name), DEADLINE_S) for name in type(timeouts).model_fields}
    changed = {"timeouts": timeouts.model_copy(update=short), "request": join_fields(provider.request, probe.extra)}
    asked = provider.model_copy(update=changed | dict(probe.sampling))
    question = Question(
        trial=Trial(provider=provider.name, prompt=probe.what, condition="preflight", repeat=0),
        messages=(Message(role="user", content=probe.prompt),),
        sampling=asked.sampling(probe.max_tokens),
        stream=probe.stream,
        tools=probe.tools,
        tool_choice=probe.tool_choice,
    )
    engine = open_engine(asked, environ=environ)
    try:
        exchange = await engine.ask(question)
        said = exchange.outcome
        if said.status == "missing" and said.retry == "yes" and (said.retry_after_s or 0) <= _LONGEST_WAIT_S:
            await asyncio.sleep(said.retry_after_s or 1.0)
            exchange = await engine.ask(question)
        return exchange
    finally:
        await engine.aclose()
