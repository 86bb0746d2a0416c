"""A request field in, whether it is honoured out: those that a run sends only where prompts or `request:` say so."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tempzero.check.check_request import SMALLEST_LIMIT, Probe
from tempzero.check.refusals import REFUSED_FIELD
from tempzero.types.recorded import Completion, Exchange, Outcome

COUNT_PROMPT = "Count from 1 to 30, separated by single spaces. Write nothing else."
# Without JSON mode nobody answers this with an object; with it nobody can do otherwise.
_JSON_PROMPT = (
    'Say good morning in one plain sentence, without quotes. Only if you must answer in JSON, use {"text": ...}.'
)
_WEATHER_PROMPT = "What is the weather in Oslo now?"
_PUZZLE_PROMPT = "How many of the numbers from 1 to 60 are divisible by 3 or by 5? Answer with the number."
_EFFORT_TOKENS = 512
_WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city now.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
_NAMED_CHOICE = {"type": "function", "function": {"name": "get_weather"}}


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldProbe:
    """One field: `make` gives the request for a limit, `read` the word for what came back.

    `ignored` is the remark where the field was taken and had no effect (None: the word says enough). It counts against
    the provider where a run sends the field (one of `fields` is sent with each), or `always_counts`.
    """

    column: str
    fields: tuple[str, ...]
    tokens: int
    make: Callable[[int], Probe]
    read: Callable[[Exchange], str]
    ignored: str | None = None
    always_counts: bool = False

    def is_sent(self, sent: Mapping[str, Any]) -> bool:
        """Whether every request of a run carries it."""
        return any(name in sent for name in self.fields)


def read_refusal_word(said: Outcome) -> str:
    """The word for an outcome without an answer."""
    return "refused" if said.kind in REFUSED_FIELD else said.kind


def shows_reasoning(answer: Completion) -> bool:
    """Whether it thought, be that shown or only counted."""
    return bool((answer.reasoning_text or "").strip() or answer.reasoning_tokens)


def find_reasoning_switch(sent: Mapping[str, Any]) -> Literal["on", "off"] | None:
    """Which way every request of a run switches reasoning, in whichever of its dialects; None: not at all."""
    places: tuple[Mapping[str, Any], ...] = (
        sent,
        *(
            given
            for name in ("reasoning", "thinking", "chat_template_kwargs")
            if isinstance(given := sent.get(name), Mapping)
        ),
    )
    for place in places:
        for name in ("enabled", "enable_thinking", "thinking", "think", "type", "effort", "reasoning_effort"):
            switch = place.get(name)
            if switch is False or switch in ("disabled", "none"):
                return "off"
            if switch is True or (
                isinstance(switch, str) and switch in ("enabled", "minimal", "low", "medium", "high", "xhigh", "max")
            ):
                return "on"
    return None


Ask = Callable[[Probe], Awaitable[Outcome]]


async def probe_effort(ask: Ask, smallest: int) -> str:
    """Whether more effort makes for more reasoning."""
    tokens: list[int] = []
    texts: list[str | None] = []
    for effort in ("low", "high"):
        limit = max(_EFFORT_TOKENS, smallest)
        probe = Probe(
            what=f"effort {effort}", prompt=_PUZZLE_PROMPT, max_tokens=limit, extra={"reasoning_effort": effort}
        )
        said = await ask(probe)
        if said.completion is None:
            return read_refusal_word(said)
        tokens.append(said.completion.output_tokens or 0)
        texts.append(said.completion.reasoning_text)
    if tokens[0] < tokens[1]:
        return "honoured"
    return "ignored" if tokens[0] == tokens[1] and texts[0] == texts[1] and tokens[0] < limit else "cannot tell"


def _read_stop(exchange: Exchange) -> str:
    said = exchange.outcome
    if said.completion is None:
        return read_refusal_word(said)
    text = said.completion.text
    return "ignored" if "7" in text else "honoured" if "6" in text else "cannot tell"


def _read_logprobs(exchange: Exchange) -> str:
    if exchange.outcome.completion is None:
        return read_refusal_word(exchange.outcome)
    choices = _list_choices(exchange)
    return "given" if choices and choices[0].get("logprobs") else "ignored"


def _read_n(exchange: Exchange) -> str:
    if exchange.outcome.completion is None:
        return read_refusal_word(exchange.outcome)
    return "honoured" if len(_list_choices(exchange)) == 2 else "ignored"


def _read_tools(exchange: Exchange) -> str:
    said = exchange.outcome
    if said.completion is None:
        return "cannot tell" if said.kind == "generation_failed" else read_refusal_word(said)
    calls = said.completion.tool_calls
    if not calls:
        return "cannot tell" if said.kind == "length" else "ignored"
    return "honoured" if calls[0].name == "get_weather" and _is_object(calls[0].arguments) else "cannot tell"


def _read_json_mode(exchange: Exchange) -> str:
    said = exchange.outcome
    if said.completion is None:
        return "cannot tell" if said.kind == "generation_failed" else read_refusal_word(said)
    text = said.completion.text.strip()
    if not text:
        return "cannot tell"
    if said.kind == "length":
        return "cannot tell" if text.startswith("{") else "ignored"
    return "honoured" if _is_object(text) else "ignored"


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _list_choices(exchange: Exchange) -> list[dict[str, Any]]:
    """The choices of a whole body; of a stream, those that its chunks number."""
    body = (exchange.response.body if exchange.response else None) or ""
    lines = [line.removeprefix("data:") for line in body.splitlines() if line.startswith("data:")] or [body]
    found: dict[int, dict[str, Any]] = {}
    for line in lines:
        try:
            choices = json.loads(line).get("choices") or []
            for place, choice in enumerate(choices):
                number = choice.get("index")
                kept = found.setdefault(number if type(number) is int else place, {})
                kept.update({name: given for name, given in choice.items() if given})
        except (ValueError, TypeError, AttributeError, RecursionError):
            continue
    return [found[number] for number in sorted(found)]


PROBED_FIELDS: tuple[FieldProbe, ...] = (
    FieldProbe(
        column="stop",
        fields=("stop",),
        tokens=40,
        make=lambda limit: Probe(what="stop", prompt=COUNT_PROMPT, max_tokens=limit, extra={"stop": ["7"]}),
        read=_read_stop,
        ignored="the text went on past a stop string",
        always_counts=True,
    ),
    FieldProbe(
        column="tools",
        fields=("tools", "tool_choice"),
        tokens=64,
        make=lambda limit: Probe(
            what="tools", prompt=_WEATHER_PROMPT, max_tokens=limit, tools=(_WEATHER_TOOL,), tool_choice=_NAMED_CHOICE
        ),
        read=_read_tools,
        ignored="it took tools with a tool_choice, and called none",
    ),
    FieldProbe(
        column="JSON mode",
        fields=("response_format",),
        tokens=48,
        make=lambda limit: Probe(
            what="JSON mode", prompt=_JSON_PROMPT, max_tokens=limit, extra={"response_format": {"type": "json_object"}}
        ),
        read=_read_json_mode,
        ignored="it took response_format json_object, and answered no JSON object",
    ),
    FieldProbe(
        column="logprobs",
        fields=("logprobs", "top_logprobs"),
        tokens=SMALLEST_LIMIT,
        make=lambda limit: Probe(
            what="logprobs",
            prompt="Reply with the single word yes.",
            max_tokens=limit,
            extra={"logprobs": True, "top_logprobs": 2},
        ),
        read=_read_logprobs,
    ),
    FieldProbe(
        column="n",
        fields=("n",),
        tokens=SMALLEST_LIMIT,
        make=lambda limit: Probe(what="n", prompt="Reply with the single word yes.", max_tokens=limit, extra={"n": 2}),
        read=_read_n,
    ),
)
