"""Forty ways to break one promise of the API, each planted in a host that keeps all others, with what must be said.

A fault is deterministic or drawn by the host's own seed; none touches what a case looks for in the answers of others.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from contract_host import (
    DIALECTS,
    Asked,
    Body,
    ContractHost,
    Dialect,
    Fault,
    change_choices,
    change_deltas,
    change_messages,
    with_thinking,
)
from loopback import Reply, value

_PLAIN = DIALECTS[0]
_COUNTER = itertools.count()
_THINKING = with_thinking("reasoning_content")


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A fault, the case that must name it, and words that its sentence must hold. `also`: cases that see it too."""

    name: str
    case: str
    words: str
    fault: Fault
    also: tuple[str, ...] = ()
    dialect: Dialect = _PLAIN
    entry: Mapping[str, Any] = field(default_factory=dict)

    @property
    def families(self) -> list[str]:
        return sorted({case.split(".")[0] for case in (self.case, *self.also)})


def _dropping(*names: str) -> Fault:
    """Fields that are taken and thrown away."""
    return Fault(ask=lambda asked: {name: given for name, given in asked.items() if name not in names})


def _with(asked: Asked, **fields: Any) -> Asked:
    return {**asked, **fields}


def _without_roles(*roles: str) -> Fault:
    return Fault(ask=lambda asked: _with(asked, messages=[m for m in asked["messages"] if m["role"] not in roles]))


def _last_messages(asked: Asked, most: int) -> Asked:
    return _with(asked, messages=asked["messages"][-most:])


def _shorten(asked: Asked, role: str) -> Asked:
    messages = [{**m, "content": m["content"][:20]} if m["role"] == role else m for m in asked["messages"]]
    return _with(asked, messages=messages)


def _only_if(condition: Callable[[Asked], bool], change: Callable[[Body], Body]) -> Callable[[Asked, Body], Body]:
    return lambda asked, body: change(body) if condition(asked) else body


def _each_choice(**fields: Any) -> Callable[[Asked, Body], Body]:
    return lambda asked, body: change_choices(body, lambda choice: {**choice, **fields})


def _finish(old: str, new: str) -> Callable[[Asked, Body], Body]:
    def change(asked: Asked, body: Body) -> Body:
        return change_choices(
            body, lambda choice: {**choice, "finish_reason": new} if choice["finish_reason"] == old else choice
        )

    return change


def _each_text(change: Callable[[str], str]) -> Callable[[Asked, Body], Body]:
    def change_message(message: Body) -> Body:
        content = message.get("content")
        return {**message, "content": change(content)} if isinstance(content, str) else message

    return lambda asked, body: change_messages(body, change_message)


def _each_call(change: Callable[[Body, int], Body]) -> Callable[[Asked, Body], Body]:
    def change_message(message: Body) -> Body:
        calls = message.get("tool_calls")
        return {**message, "tool_calls": [change(call, n) for n, call in enumerate(calls)]} if calls else message

    return lambda asked, body: change_messages(body, change_message)


def _arguments(change: Callable[[str], Any]) -> Callable[[Asked, Body], Body]:
    return _each_call(
        lambda call, _: {**call, "function": {**call["function"], "arguments": change(call["function"]["arguments"])}}
    )


def _usage(change: Callable[[Body], Body]) -> Callable[[Asked, Body], Body]:
    return lambda asked, body: {**body, "usage": change(body["usage"])}


def _keep_stop(asked: Asked, body: Body) -> Body:
    if not asked.get("stop"):
        return body
    return _each_text(lambda text: f"{text} {asked['stop'][0]}" if text.endswith("6") else text)(asked, body)


def _one_more_token(asked: Asked) -> Asked:
    names = [name for name in ("max_tokens", "max_completion_tokens") if name in asked]
    return {**asked, **{name: asked[name] + 1 for name in names}}


def _calls_in_text(asked: Asked, body: Body) -> Body:
    """The parser of calls is missing: they stay in the text as the template writes them."""

    def change(choice: Body) -> Body:
        calls = choice["message"].get("tool_calls")
        if not calls or isinstance(asked.get("tool_choice"), dict):
            return choice
        written = [
            json.dumps({"name": c["function"]["name"], "arguments": json.loads(c["function"]["arguments"])})
            for c in calls
        ]
        text = "\n".join(f"<tool_call>\n{one}\n</tool_call>" for one in written)
        return {**choice, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}

    return change_choices(body, change)


def _replaying(key: Callable[[Asked], str], *, new_ids: bool) -> Fault:
    """A response cache that is never told to forget."""

    def reply(host: ContractHost, asked: Asked) -> Reply | None:
        if host.refuse(asked) is not None or asked.get("stream"):
            return None
        found = host.store.get(key(asked))
        if found is None:
            found = host.store[key(asked)] = host.make_body(asked) | ({} if new_ids else {"id": "chatcmpl-kept"})
        return value(found)

    return Fault(reply=reply)


def _error_in_200(host: ContractHost, asked: Asked) -> Reply | None:
    if host.refuse(asked) is None:
        return None
    return value({"error": {"message": "this cannot be done", "code": 400}})


def _error_in_500(host: ContractHost, asked: Asked) -> Reply | None:
    return None if isinstance(asked.get("messages"), list) else value({"error": {"message": "oops"}}, status=500)


def _in_json_for_stream(host: ContractHost, asked: Asked) -> Reply | None:
    if not asked.get("stream") or host.refuse(asked) is not None:
        return None
    return value(host.make_body(asked))


def _repeat_chunks(asked: Asked, chunks: list[Body]) -> list[Body]:
    """Every fourth piece of a text once more."""
    repeated: list[Body] = []
    for number, chunk in enumerate(chunks):
        repeated.append(chunk)
        choices = chunk.get("choices")
        if choices and choices[0].get("delta", {}).get("content") and number % 4 == 2:
            repeated.append(json.loads(json.dumps(chunk)))
    return repeated


def _lose_first_piece(asked: Asked, chunks: list[Body]) -> list[Body]:
    lost: list[bool] = []

    def change(delta: Body) -> Body | None:
        if delta.get("content") and not lost:
            lost.append(True)
            return {**delta, "content": delta["content"][2:]}
        return delta

    return change_deltas(chunks, change)


def _strip_delta(*names: str) -> Callable[[Asked, list[Body]], list[Body]]:
    return lambda asked, chunks: change_deltas(
        chunks, lambda delta: {name: given for name, given in delta.items() if name not in names}
    )


def _reindex(index: int | None) -> Callable[[Asked, list[Body]], list[Body]]:
    def change(delta: Body) -> Body:
        calls = [{name: v for name, v in call.items() if name != "index"} for call in delta.get("tool_calls", ())]
        given = calls if index is None else [{"index": index, **call} for call in calls]
        return {**delta, "tool_calls": given} if given else delta

    return lambda asked, chunks: change_deltas(chunks, change)


def _without_finish(asked: Asked, chunks: list[Body]) -> list[Body]:
    return [
        {**c, "choices": [{**one, "finish_reason": None} for one in c["choices"]]} if c.get("choices") else c
        for c in chunks
    ]


def _break_characters(asked: Asked, chunks: list[Body]) -> list[Body]:
    def change(delta: Body) -> Body:
        content = delta.get("content")
        if not isinstance(content, str):
            return delta
        return {**delta, "content": "".join(c if c.isascii() else "\ufffd" for c in content)}

    return change_deltas(chunks, change)


def _sampling_anyway(asked: Asked) -> Asked:
    return _with(asked, temperature=0.8) | {"top_p": 1}


def _logged(change: Callable[[Body], Body]) -> Callable[[Asked, Body], Body]:
    def change_choice(choice: Body) -> Body:
        logged = choice.get("logprobs")
        if not logged:
            return choice
        return {**choice, "logprobs": {"content": [change(dict(token)) for token in logged["content"]]}}

    return lambda asked, body: change_choices(body, change_choice)


def _drop_streamed_logprobs(asked: Asked, chunks: list[Body]) -> list[Body]:
    return [
        {**c, "choices": [{k: v for k, v in one.items() if k != "logprobs"} for one in c["choices"]]}
        if c.get("choices")
        else c
        for c in chunks
    ]


def _copy_choices(asked: Asked, body: Body) -> Body:
    first = body["choices"][0]
    return {**body, "choices": [{**first, "index": n} for n in range(len(body["choices"]))]}


def _without_thoughts(message: Body) -> Body:
    return {name: given for name, given in message.items() if name not in ("reasoning_content", "reasoning")}


def _text_key(asked: Asked) -> str:
    """A cache that takes questions for the same whose digits alone differ."""
    return re.sub(r"KESTREL-\d+", "#", json.dumps(asked))


FAULTS: tuple[Planted, ...] = (
    Planted(
        name="swap",
        case="identity.model",
        words='"m-mini"',
        fault=Fault(body=lambda asked, body: {**body, "model": "m-mini"}),
    ),
    Planted(
        name="swap for tools alone",
        case="identity.model",
        words='"m-tools"',
        fault=Fault(body=_only_if(lambda asked: "tools" in asked, lambda body: {**body, "model": "m-tools"})),
        also=("tools.named",),
    ),
    Planted(
        name="message without a role",
        case="shape.message",
        words="no message with the role assistant",
        fault=Fault(
            body=lambda asked, body: change_messages(body, lambda m: {k: v for k, v in m.items() if k != "role"})
        ),
        also=("stream.role",),
    ),
    Planted(
        name="two choices unasked",
        case="shape.one_choice",
        words="sent 2 choices",
        fault=Fault(ask=lambda asked: {"n": 2, **asked}),
        also=("logprobs.spell_text", "usage.completion", "stream.same_text"),
    ),
    Planted(
        name="prompts changed from time to time",
        case="usage.prompt_again",
        words="the prompt was changed",
        fault=Fault(body=_usage(lambda u: {**u, "prompt_tokens": 20 + 5 * next(_COUNTER), "total_tokens": 99_999})),
        also=("usage.streamed", "usage.prompt"),
    ),
    Planted(
        name="stuck cache",
        case="identity.computed_anew",
        words="cache",
        fault=_replaying(lambda asked: json.dumps(asked), new_ids=True),
    ),
    Planted(
        name="cache takes one question for another",
        case="identity.own_question",
        words="answer to an earlier question",
        fault=_replaying(_text_key, new_ids=True),
        also=("identity.computed_anew",),
    ),
    Planted(
        name="hidden temperature",
        case="sampling.temperature_0",
        words="it samples",
        fault=Fault(ask=_sampling_anyway),
        also=("sampling.top_p",),
    ),
    Planted(
        name="temperature ignored",
        case="sampling.temperature_1",
        words="no effect",
        fault=Fault(ask=lambda asked: _with(asked, temperature=0)),
    ),
    Planted(name="seed ignored", case="sampling.seed", words="no effect", fault=_dropping("seed")),
    Planted(name="top_p ignored", case="sampling.top_p", words="no effect", fault=_dropping("top_p")),
    Planted(
        name="penalty by default",
        case="sampling.penalty_default",
        words="a penalty is on that nobody asked for",
        fault=Fault(ask=lambda asked: {"repetition_penalty": 1.1, **asked}),
    ),
    Planted(
        name="penalty ignored",
        case="sampling.frequency_penalty",
        words="frequency_penalty 2 has no effect",
        fault=_dropping("frequency_penalty"),
    ),
    Planted(
        name="stop ignored",
        case="stop.ends",
        words="no effect",
        fault=_dropping("stop"),
        also=("stop.each_of_several", "stop.streamed"),
    ),
    Planted(
        name="first stop string alone",
        case="stop.each_of_several",
        words="second of two",
        fault=Fault(ask=lambda asked: _with(asked, stop=asked["stop"][:1]) if "stop" in asked else asked),
    ),
    Planted(
        name="stop ignored in streams",
        case="stop.streamed",
        words="streamed",
        fault=Fault(
            ask=lambda asked: {k: v for k, v in asked.items() if k != "stop"} if asked.get("stream") else asked
        ),
    ),
    Planted(name="stop string kept", case="stop.left_out", words="left at the end", fault=Fault(body=_keep_stop)),
    Planted(
        name="stop says length",
        case="stop.finish_reason",
        words='"length"',
        fault=Fault(
            body=_only_if(lambda asked: "stop" in asked, lambda body: _each_choice(finish_reason="length")({}, body))
        ),
    ),
    Planted(name="n ignored", case="n.count", words="one choice", fault=_dropping("n")),
    Planted(
        name="n gives copies",
        case="n.drawn_apart",
        words="copies",
        fault=Fault(body=_copy_choices),
    ),
    Planted(
        name="n without indices",
        case="n.indices",
        words="indices",
        fault=Fault(body=_only_if(lambda asked: "n" in asked, lambda body: _each_choice(index=0)({}, body))),
        also=("n.streamed",),
    ),
    Planted(
        name="max_tokens ignored",
        case="limits.max_tokens",
        words="not held",
        fault=_dropping("max_tokens"),
        also=("limits.one_token",),
    ),
    Planted(
        name="max_completion_tokens ignored",
        case="limits.other_name",
        words="max_completion_tokens 16 was taken and not held",
        fault=_dropping("max_completion_tokens"),
    ),
    Planted(
        name="one token too many",
        case="limits.max_tokens",
        words="one too many",
        fault=Fault(ask=_one_more_token),
        also=("limits.other_name", "limits.one_token"),
    ),
    Planted(
        name="cut without saying so",
        case="limits.finish_reason",
        words='"stop"',
        fault=Fault(body=_finish("length", "stop")),
    ),
    Planted(
        name="[DONE] missing",
        case="stream.done",
        words="without data: [DONE]",
        fault=Fault(done=False),
    ),
    Planted(name="role missing", case="stream.role", words="role assistant", fault=Fault(chunks=_strip_delta("role"))),
    Planted(
        name="duplicated chunks",
        case="stream.same_text",
        words="repeat pieces",
        fault=Fault(chunks=_repeat_chunks),
        also=("formats.streamed",),
    ),
    Planted(
        name="streams lose the beginning",
        case="stream.same_text",
        words="lack pieces",
        fault=Fault(chunks=_lose_first_piece),
        also=("shape.characters", "formats.streamed"),
    ),
    Planted(
        name="stream without a finish_reason",
        case="stream.finish_reason",
        words="without a finish_reason",
        fault=Fault(chunks=_without_finish),
    ),
    Planted(
        name="stream without usage",
        case="stream.usage",
        words="no chunk holds usage",
        fault=Fault(chunks=lambda asked, chunks: [c for c in chunks if "usage" not in c]),
    ),
    Planted(
        name="whole for a stream",
        case="stream.honoured",
        words="a whole answer came",
        fault=Fault(reply=_in_json_for_stream),
    ),
    Planted(
        name="characters broken in streams",
        case="shape.characters",
        words="streamed, characters come broken",
        fault=Fault(chunks=_break_characters),
    ),
    Planted(
        name="characters encoded twice",
        case="shape.characters",
        words="encoded twice",
        fault=Fault(body=_each_text(lambda text: text.encode().decode("latin-1"))),
    ),
    Planted(
        name="escaped as for a page",
        case="shape.characters",
        words="escaped",
        fault=Fault(body=_each_text(lambda text: text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))),
    ),
    Planted(
        name="leak of the template",
        case="shape.template_marks",
        words="marks of the chat template",
        fault=Fault(body=_each_text(lambda text: f"{text}<|im_end|>")),
        also=("formats.json_object", "formats.json_schema", "formats.streamed", "logprobs.spell_text"),
    ),
    Planted(
        name="usage doubled",
        case="usage.completion",
        words="tokens of an answer that its limit",
        fault=Fault(
            body=_usage(
                lambda u: {
                    **u,
                    "completion_tokens": 2 * u["completion_tokens"],
                    "total_tokens": u["prompt_tokens"] + 2 * u["completion_tokens"],
                }
            )
        ),
    ),
    Planted(
        name="usage of one token",
        case="usage.completion",
        words="counts too few",
        fault=Fault(body=_usage(lambda u: {**u, "completion_tokens": 1, "total_tokens": u["prompt_tokens"] + 1})),
    ),
    Planted(
        name="usage does not add up",
        case="usage.adds_up",
        words="do not add up",
        fault=Fault(body=_usage(lambda u: {**u, "total_tokens": u["completion_tokens"]})),
    ),
    Planted(
        name="usage missing",
        case="usage.given",
        words="without usage",
        fault=Fault(body=lambda asked, body: {name: given for name, given in body.items() if name != "usage"}),
        also=("stream.usage",),
    ),
    Planted(
        name="prompt counted as a constant",
        case="usage.prompt",
        words="do not grow",
        fault=Fault(body=_usage(lambda u: {**u, "prompt_tokens": 9, "total_tokens": 9 + u["completion_tokens"]})),
    ),
    Planted(
        name="streams counted otherwise",
        case="usage.streamed",
        words="streamed and",
        fault=Fault(
            body=_only_if(
                lambda asked: bool(asked.get("stream")),
                lambda body: {**body, "usage": {**body["usage"], "prompt_tokens": 99, "total_tokens": 300}},
            )
        ),
    ),
    Planted(name="system dropped", case="history.system", words="a system message", fault=_without_roles("system")),
    Planted(
        name="developer role ignored",
        case="history.developer",
        words="a developer message",
        fault=_without_roles("developer"),
    ),
    Planted(
        name="truncated history",
        case="history.turns",
        words="a history of 24 messages",
        fault=Fault(ask=lambda asked: _last_messages(asked, 5)),
        also=("history.long",),
    ),
    Planted(
        name="long history truncated",
        case="history.long",
        words="2500 words",
        fault=Fault(ask=lambda asked: _last_messages(asked, 3) if len(json.dumps(asked["messages"])) > 8000 else asked),
    ),
    Planted(
        name="assistant's messages dropped",
        case="history.assistant",
        words="an assistant's message",
        fault=Fault(ask=lambda asked: _shorten(asked, "assistant")),
        also=("history.turns",),
    ),
    Planted(
        name="tool results cut",
        case="history.tool_result",
        words="a tool's result",
        fault=Fault(ask=lambda asked: _shorten(asked, "tool")),
    ),
    Planted(
        name="tool choice ignored",
        case="tools.named",
        words="it called",
        fault=_dropping("tool_choice"),
        also=("tools.required", "tools.none"),
    ),
    Planted(
        name="tool choice none ignored",
        case="tools.none",
        words="tool_choice none",
        fault=Fault(
            ask=lambda asked: (
                {k: v for k, v in asked.items() if k != "tool_choice"} if asked.get("tool_choice") == "none" else asked
            )
        ),
    ),
    Planted(
        name="tool choice required ignored",
        case="tools.required",
        words="no tool was called",
        fault=Fault(
            ask=lambda asked: (
                {k: v for k, v in asked.items() if k != "tool_choice"}
                if asked.get("tool_choice") == "required"
                else asked
            )
        ),
    ),
    Planted(
        name="parallel_tool_calls ignored",
        case="tools.parallel_off",
        words="2 calls at once",
        fault=_dropping("parallel_tool_calls"),
    ),
    Planted(
        name="arguments not JSON",
        case="tools.arguments",
        words="are not JSON",
        fault=Fault(body=_arguments(lambda text: text.replace('"', "'"))),
    ),
    Planted(
        name="arguments encoded twice",
        case="tools.arguments",
        words="JSON within a JSON text",
        fault=Fault(body=_arguments(json.dumps)),
    ),
    Planted(
        name="arguments as an object",
        case="tools.arguments",
        words="a JSON object where the API has a text",
        fault=Fault(
            body=_only_if(lambda asked: not asked.get("stream"), lambda body: _arguments(json.loads)({}, body))
        ),
    ),
    Planted(
        name="schema of a tool broken",
        case="tools.arguments",
        words="do not fit the schema",
        fault=Fault(body=_arguments(lambda text: text.replace("city", "town"))),
    ),
    Planted(
        name="one id for all calls",
        case="tools.ids",
        words="share the id",
        fault=Fault(body=_each_call(lambda call, _: {**call, "id": "call_0"})),
    ),
    Planted(
        name="calls without ids",
        case="tools.ids",
        words="have no id",
        fault=Fault(body=_each_call(lambda call, _: {k: v for k, v in call.items() if k != "id"})),
    ),
    Planted(
        name="no index",
        case="tools.stream_index",
        words="no index",
        fault=Fault(chunks=_reindex(None)),
    ),
    Planted(
        name="one index for all calls",
        case="tools.stream_index",
        words="share one index",
        fault=Fault(chunks=_reindex(0)),
    ),
    Planted(
        name="calls say stop",
        case="tools.finish_reason",
        words='says "stop"',
        fault=Fault(body=_finish("tool_calls", "stop")),
    ),
    Planted(
        name="calls lost in streams",
        case="tools.streamed",
        words="missing in the stream",
        fault=Fault(chunks=_strip_delta("tool_calls")),
        also=("shape.nothing_lost",),
    ),
    Planted(
        name="calls left in the text",
        case="tools.left_in_text",
        words="a well-formed call is left in the text",
        fault=Fault(body=_calls_in_text),
        also=("tools.required",),
    ),
    Planted(
        name="response_format ignored",
        case="formats.json_object",
        words="no JSON object came",
        fault=_dropping("response_format"),
        also=("formats.json_schema", "formats.streamed"),
    ),
    Planted(
        name="fence around the object",
        case="formats.json_object",
        words="a fence",
        fault=Fault(
            body=_only_if(
                lambda asked: "response_format" in asked,
                lambda body: _each_text(lambda text: f"```json\n{text}\n```")({}, body),
            )
        ),
        also=("formats.json_schema", "formats.streamed"),
    ),
    Planted(
        name="schema broken",
        case="formats.json_schema",
        words="does not fit it",
        fault=Fault(
            ask=lambda asked: (
                _with(asked, response_format={"type": "json_object"}) if "response_format" in asked else asked
            )
        ),
    ),
    Planted(
        name="logprobs ignored",
        case="logprobs.given",
        words="none came",
        fault=_dropping("logprobs"),
    ),
    Planted(
        name="logprobs of other tokens",
        case="logprobs.spell_text",
        words="spell",
        fault=Fault(body=_logged(lambda token: {**token, "token": token["token"].replace("1", "9").replace("a", "e")})),
        also=("logprobs.values",),
    ),
    Planted(
        name="probabilities for logprobs",
        case="logprobs.values",
        words="above 0",
        fault=Fault(body=_logged(lambda token: {**token, "logprob": 0.95})),
    ),
    Planted(
        name="top_logprobs ignored",
        case="logprobs.top",
        words="none is listed",
        fault=_dropping("top_logprobs"),
    ),
    Planted(
        name="no logprobs in streams",
        case="logprobs.streamed",
        words="streamed none came",
        fault=Fault(chunks=_drop_streamed_logprobs),
    ),
    Planted(
        name="not the likeliest token",
        case="logprobs.likeliest",
        words="not the likeliest",
        fault=Fault(
            body=_logged(
                lambda token: {
                    **token,
                    "logprob": -3.0,
                    "top_logprobs": [{"token": "other", "logprob": -0.1}, {"token": token["token"], "logprob": -3.0}],
                }
            )
        ),
        also=("logprobs.top",),
    ),
    Planted(
        name="status 200 with an error",
        case="errors.status",
        words="status 200 with an error",
        fault=Fault(reply=_error_in_200),
        also=("errors.streamed", "errors.type", "errors.unknown_model"),
    ),
    Planted(
        name="status 500 for a wrong request",
        case="errors.status",
        words="status 500",
        fault=Fault(reply=_error_in_500),
        also=("errors.streamed",),
    ),
    Planted(
        name="thinking dropped in streams",
        case="thinking.streamed",
        words="streams drop it",
        fault=Fault(chunks=_strip_delta("reasoning_content")),
        dialect=_THINKING,
    ),
    Planted(
        name="thinking dropped",
        case="thinking.on",
        words="switched on in its entry and dropped",
        fault=Fault(ask=lambda asked: _with(asked, reasoning_effort="none")),
        dialect=_THINKING,
        entry={"reasoning": {"effort": "high"}},
    ),
    Planted(
        name="thinking not switched off",
        case="thinking.off",
        words="yet it reasons",
        fault=_dropping("reasoning_effort"),
        dialect=_THINKING,
        entry={"reasoning": {"effort": "none"}},
        also=("thinking.effort",),
    ),
    Planted(
        name="thinking dropped where a stop string is sent",
        case="thinking.with_fields",
        words="not where a stop string is sent",
        fault=Fault(ask=lambda asked: _with(asked, reasoning_effort="none") if "stop" in asked else asked),
        dialect=_THINKING,
    ),
    Planted(
        name="effort ignored",
        case="thinking.effort",
        words="effort low and high give the same",
        fault=_dropping("reasoning_effort"),
        dialect=_THINKING,
    ),
    Planted(
        name="thinking not counted",
        case="thinking.counted",
        words="it counts 1 tokens for reasoning",
        fault=Fault(
            body=_usage(
                lambda u: {
                    "prompt_tokens": u["prompt_tokens"],
                    "completion_tokens": u["completion_tokens"]
                    - u.get("completion_tokens_details", {}).get("reasoning_tokens", 0),
                    "total_tokens": u["total_tokens"]
                    - u.get("completion_tokens_details", {}).get("reasoning_tokens", 0),
                }
            )
        ),
        dialect=_THINKING,
    ),
    Planted(
        name="reasoning in the text as well",
        case="shape.reasoning_apart",
        words="stands in the text as well",
        fault=Fault(
            body=lambda asked, body: change_messages(
                body,
                lambda m: (
                    {**m, "content": f"{m['reasoning_content']}\n{m.get('content') or ''}"}
                    if m.get("reasoning_content")
                    else m
                ),
            )
        ),
        dialect=_THINKING,
        also=("logprobs.spell_text", "formats.json_object", "formats.json_schema", "formats.streamed"),
    ),
)
