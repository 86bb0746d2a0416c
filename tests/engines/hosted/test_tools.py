"""Offered tools in, calls kept apart from text out, whole or streamed; who cannot take tools says so."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from loopback import Loopback, Reply, completion, error, stream
from tempzero import config
from tempzero.engines import open_engine
from tempzero.types.asked import Message, Question, Sampling, ToolCall, Trial
from tempzero.types.recorded import Exchange

WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
CALL = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}


def ask(reply: Reply, *, tools: bool = True, **fields: Any) -> tuple[Exchange, dict[str, Any]]:
    """One question that offers a tool, over a real connection; what came of it, and the body that was sent."""
    with Loopback(lambda call: reply) as server:
        entry = {"name": "p", "base_url": server.base_url, "model": "m", **fields}
        provider = config.parse_config({"version": 1, "providers": [entry]}, source="test").providers[0]
        question = Question(
            trial=Trial(provider="p", prompt="p0", condition="default", repeat=0),
            messages=(
                Message(role="user", content="Weather in Oslo?"),
                Message(
                    role="assistant", content="", tool_calls=(ToolCall(name="get_weather", arguments="{}", id="a"),)
                ),
                Message(role="tool", content="Which city?", tool_call_id="a"),
            ),
            sampling=Sampling(temperature=0.0, top_p=1.0, seed=7, max_tokens=16),
            tools=(WEATHER,) if tools else (),
            tool_choice="auto" if tools else None,
        )

        async def asking() -> Exchange:
            engine = open_engine(provider, environ={})
            try:
                return await engine.ask(question)
            finally:
                await engine.aclose()

        return asyncio.run(asking()), json.loads(server.calls[0].body)


def calls(*given: Any, text: str | None = None, **fields: Any) -> Reply:
    return completion(text, finish_reason="tool_calls", message={"tool_calls": list(given)}, **fields)


def test_tools_and_the_calls_of_earlier_turns_go_out_as_the_api_spells_them() -> None:
    """What the model sees of a tool is what the suite says, key for key."""
    _, sent = ask(calls(CALL))
    assert sent["tools"] == [WEATHER]
    assert sent["tool_choice"] == "auto"
    assert sent["messages"][1] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}],
    }
    assert sent["messages"][2] == {"role": "tool", "content": "Which city?", "tool_call_id": "a"}


def test_a_call_of_an_offered_tool_is_an_answer() -> None:
    """It is kept apart from the text, letter by letter, and nothing about it is odd."""
    exchange, _ = ask(calls(CALL, text="I will look."))
    outcome = exchange.outcome
    assert (outcome.status, outcome.kind, outcome.flags) == ("valid", "complete", ())
    assert outcome.completion is not None
    assert outcome.completion.text == "I will look."
    assert outcome.completion.tool_calls == (ToolCall(name="get_weather", arguments='{"city": "Oslo"}', id="c1"),)


def test_a_streamed_call_is_the_same_call() -> None:
    """Arguments come in pieces, several calls interleaved; joined by index they are what they are unstreamed."""
    pieces = [
        {"index": 0, "id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"ci'}},
        {"index": 1, "id": "c2", "type": "function", "function": {"name": "get_time", "arguments": "{"}},
        {"index": 0, "function": {"arguments": 'ty": "Oslo"}'}},
        {"index": 1, "function": {"arguments": "}"}},
    ]
    deltas = [{"index": 0, "delta": {"tool_calls": [piece]}, "finish_reason": None} for piece in pieces]
    ends = {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    chunks = [{"id": "x", "created": 1, "model": "m", "choices": [choice]} for choice in (*deltas, ends)]
    streamed, _ = ask(stream(*chunks), stream=True)
    second = {"id": "c2", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
    whole, _ = ask(calls(CALL, second))
    assert streamed.outcome.completion is not None
    assert whole.outcome.completion is not None
    assert streamed.outcome.completion.tool_calls == whole.outcome.completion.tool_calls
    assert streamed.outcome.kind == "complete"


def test_a_text_instead_of_a_call_is_an_answer_too() -> None:
    """A model may answer by itself; that is data, not a fault."""
    exchange, _ = ask(completion("It is sunny."))
    assert (exchange.outcome.kind, exchange.outcome.flags) == ("complete", ())


@pytest.mark.parametrize(
    ("reply", "kind", "flags"),
    [
        (calls({**CALL, "function": {"name": "f", "arguments": {"a": 1}}}), "complete", ("tool_arguments_object",)),
        (calls({**CALL, "function": {"name": "f"}}), "complete", ()),
        (calls({**CALL, "function": {"arguments": "{}"}}), "schema", ()),
        (calls({**CALL, "function": {"name": "f", "arguments": 5}}), "schema", ()),
        (calls("get_weather"), "schema", ()),
        (completion("", message={"tool_calls": {"0": CALL}}), "schema", ()),
        (completion("", finish_reason="tool_calls"), "empty", ("tool_call_missing",)),
    ],
)
def test_what_providers_make_of_calls_is_read_or_refused(reply: Reply, kind: str, flags: tuple[str, ...]) -> None:
    """A call that cannot be understood is no answer, and never an empty one."""
    exchange, _ = ask(reply)
    assert (exchange.outcome.kind, exchange.outcome.flags) == (kind, flags)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        (500, "tools param requires --jinja flag"),
        (404, "No endpoints found that support tool use. Try disabling get_weather."),
        (400, "this model does not support tools"),
        (422, "function calling is not supported by this model"),
    ],
)
def test_a_provider_without_tools_refuses_a_parameter_and_is_asked_on(status: int, message: str) -> None:
    """It misses these prompts only: neither a lost model nor a server in trouble, which would end the asking."""
    exchange, _ = ask(error(status, message))
    assert (exchange.outcome.kind, exchange.outcome.retry) == ("unsupported_param", "never")


def test_calls_nobody_asked_for_are_flagged_and_kept() -> None:
    """They are what the model answered, and differ from a text; what names no function is none, whatever it holds."""
    exchange, _ = ask(calls(CALL, {**CALL, "function": {"arguments": 5}}), tools=False)
    assert (exchange.outcome.kind, exchange.outcome.flags) == ("complete", ("unexpected_tool_call",))
    assert exchange.outcome.completion is not None
    assert [call.name for call in exchange.outcome.completion.tool_calls] == ["get_weather"]
    exchange, _ = ask(calls({**CALL, "function": {"arguments": 5}}), tools=False)
    assert (exchange.outcome.kind, exchange.outcome.flags) == ("empty", ("unexpected_tool_call",))


def test_a_call_in_the_older_field_is_a_call() -> None:
    """Whole, or streamed in pieces; beside the newer field it is the same call once more."""
    older = {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    pieces = [{"name": "get_weather", "arguments": ""}, {"arguments": '{"city":'}, {"arguments": ' "Oslo"}'}]
    deltas = [{"index": 0, "delta": {"function_call": piece}, "finish_reason": None} for piece in pieces]
    ends = {"index": 0, "delta": {}, "finish_reason": "function_call"}
    chunks = [{"id": "x", "created": 1, "model": "m", "choices": [choice]} for choice in (*deltas, ends)]
    replies = (
        completion(None, finish_reason="function_call", message={"function_call": older}),
        stream(*chunks),
        completion(None, finish_reason="tool_calls", message={"function_call": older, "tool_calls": [CALL]}),
    )
    for reply in replies:
        exchange, _ = ask(reply)
        assert exchange.outcome.completion is not None
        assert [(c.name, c.arguments) for c in exchange.outcome.completion.tool_calls] == [tuple(older.values())]
        assert (exchange.outcome.kind, "tool_call_missing" in exchange.outcome.flags) == ("complete", False)
