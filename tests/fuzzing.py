"""A seed in, a mutated response out; and a judge of its own who says which responses may never count as an answer.

The judge shares no code with the reader: it takes a stream or a JSON body apart in another way, and whatever was
accepted must say the same to both: text, reasoning, calls, finish reason and counts.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from independent_reading import read_again
from loopback import chunk_values, completion_value, event
from tempzero.engines.hosted.fault_catalogue import Break, Reply
from tempzero.engines.hosted.redaction import Secrets
from tempzero.engines.hosted.response_reading import classify_reply
from tempzero.types.recorded import Completion, Outcome

_KNOWN_ENDS = (
    "stop",
    "length",
    "tool_calls",
    "function_call",
    "content_filter",
    "refusal",
    "max_tokens",
    "eos",
    "safety",
)
SECRETS = Secrets(["sk-fuzz-0123456789abcdef"])
_HOSTILE: Sequence[Any] = (
    None, True, False, 0, -1, 1e308, 10**400, "", "x", "\0", "\ud83d", "\u2028", [], {}, [[]], [None], {"": None},
    {"error": {}}, "error", "stop", "length", [{"type": "text", "text": "x"}], [{"type": "text", "text": 1}],
    {"index": "0"},
)  # fmt: skip
_TOKENS: Sequence[bytes] = (
    b"\n", b"\r", b"\r\n", b"\n\n", b"data: ", b"data:", b": ", b"event: error\n", b"[DONE]", b"\xef\xbb\xbf", b"\xff",
    b"\x00", b"\xe2\x80\xa8", b"\\ud83d", b"\\u0000", b'"', b"{", b"}", b"[", b"]", b",", b"null", b"1e999", b"<html>",
    b'"error":', b'"finish_reason":"stop"', b'"finish_reason":null', b'"content":"x"', b"\x1f\x8b", b"data: [DONE]\n\n",
)  # fmt: skip


_CALLS = [
    {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": "1"}'}},
    {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
]
_PIECES = [
    {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x"'}},
    {"index": 0, "function": {"arguments": ': "1"}'}},
    {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{"}},
    {"index": 1, "function": {"arguments": "}"}},
]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the reader gets."""

    body: bytes
    status: int
    headers: Mapping[str, str]
    broken: Break | None
    asked_stream: bool
    offered_tools: bool = False


def samples() -> list[bytes]:
    """Whole responses in the shapes of several servers."""
    whole = [
        completion_value("four"),
        completion_value("a\u2028b\u00e9\U0001f642", system_fingerprint="fp", provider="X"),
        completion_value(None, finish_reason="length", message={"reasoning": "hm"}),
        completion_value("<think>2+2</think>4", finish_reason="stop", message={"role": "assistant"}),
        completion_value(None, finish_reason="tool_calls", message={"tool_calls": [{"function": {"name": "f"}}]}),
        completion_value("x", message={"content": [{"type": "text", "text": "x"}]}),
        completion_value("x", choice={"token_ids": [1, 2], "logprobs": None}, x_groq={"id": "r", "usage": {}}),
        completion_value(
            None, message={"content": [{"type": "thinking", "thinking": "2+2"}, {"type": "text", "text": "4"}]}
        ),
        completion_value("4", message={"reasoning_details": [{"type": "reasoning.text", "text": "2+2", "index": 0}]}),
        completion_value("2+2</think>4", finish_reason=None),
        completion_value("4", choice={"usage": {"prompt_tokens": 5, "completion_tokens": 1}}),
        completion_value(None, finish_reason="tool_calls", message={"tool_calls": _CALLS}),
        completion_value(None, message={"refusal": "I cannot"}),
        completion_value(None, finish_reason="function_call", message={"function_call": _CALLS[0]["function"]}),
        completion_value("<think>2+", finish_reason="content_filter"),
        {"error": {"message": "no", "code": 429}},
        {"object": "error", "message": "no", "code": 400},
    ]
    reasoned = chunk_values("fo", "ur")
    reasoned[1]["choices"][0]["delta"] = {"reasoning_content": "2+2", "content": None}
    called = chunk_values("a", "b", "c", "d", finish_reason="tool_calls")
    for chunk, piece in zip(called[1:], _PIECES, strict=False):
        chunk["choices"][0]["delta"] = {"tool_calls": [piece]}
    listed = chunk_values("a", "b", "c")
    listed[1]["choices"][0]["delta"] = {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "2+"}]}]}
    listed[2]["choices"][0]["delta"] = {"reasoning_details": [{"type": "reasoning.text", "text": "2", "index": 0}]}
    older = chunk_values("a", "b", finish_reason="function_call")
    for chunk, called_by in zip(older[1:], ({"name": "f", "arguments": ""}, {"arguments": "{}"}), strict=False):
        chunk["choices"][0]["delta"] = {"function_call": called_by}
    other = chunk_values("no")
    for chunk in other[:-1]:
        chunk["choices"][0]["index"] = 1
    streams = [
        called,
        [*other[:-1], *chunk_values("yes")],
        listed,
        chunk_values("<th", "ink>2", "</think>", "4", finish_reason=None),
        chunk_values("one ", "two"),
        chunk_values("é\u2028", "🙂", x_groq={"id": "r"}),
        reasoned,
        chunk_values("x", finish_reason="length", usage=None),
        [*chunk_values("x", finish_reason=None), {"error": {"code": 502}}],
        older,
    ]
    found = [json.dumps(v, ensure_ascii=False).encode() for v in whole]
    for chunks in streams:
        events = [event(c) for c in chunks]
        found.append(b"".join([b": wait\n\n", *events, event("[DONE]")]))
        found.append(b"".join(events).replace(b"\n", b"\r\n"))
    return found


def cases(seed: int, seeds: Sequence[bytes]) -> Iterator[Case]:
    """Endless, and the same for the same seed."""
    dice = random.Random(seed)
    ways: Sequence[Callable[[random.Random, bytes, Sequence[bytes]], bytes]] = (
        _noise, _flip, _cut, _insert, _splice, _within_json, _within_json, _events, _events,
    )  # fmt: skip
    while True:
        body = dice.choice(seeds)
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            body = dice.choice(ways)(dice, body, seeds)
        broken = Break(kind=dice.choice(("interrupted", "stalled", "timeout")), detail="x")
        yield Case(
            body=body,
            status=dice.choice((200,) * 9 + (201, 429, 500, 400)),
            headers=dice.choice(
                ({}, {}, {"content-encoding": "gzip"}, {"retry-after": "\x00", "age": "x", "date": "1"})
            ),
            broken=broken if dice.random() < 0.1 else None,
            asked_stream=dice.random() < 0.5,
            offered_tools=dice.random() < 0.5,
        )


def judge(case: Case) -> Outcome:
    """Read a case; AssertionError where something was accepted that is no answer."""
    cleaned, _ = SECRETS.remove_from(case.body)
    SECRETS.find_hidden(cleaned, coding=case.headers.get("content-encoding", "identity"))
    outcome = classify_reply(
        Reply(
            asked_model="m",
            asked_stream=case.asked_stream,
            offered_tools=case.offered_tools,
            status=case.status,
            headers=case.headers,
            body=case.body,
            broken=case.broken,
        )
    )
    assert msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome) == outcome
    assert outcome.detail.isprintable()
    assert len(outcome.detail) <= 300
    assert (outcome.completion is None) == (outcome.status == "missing")
    if outcome.completion is None:
        return outcome
    assert 200 <= case.status < 300, "an answer out of a refusal"
    text = outcome.completion.text
    assert "\0" not in text
    if _is_stream(case.body):
        _refuse_unended_stream(case)
    else:
        _refuse_half_body(case)
    if outcome.status == "valid" and outcome.kind == "complete":
        assert text or outcome.completion.tool_calls
    _compare_readings(case, outcome.completion)
    return outcome


def _compare_readings(case: Case, completion: Completion) -> None:
    """Two readers of the same bytes say the same; spelled out where a file could not hold it."""
    again = read_again(case.body)
    assert completion.text == again.text
    assert completion.reasoning_text == again.reasoning
    assert tuple((call.name, call.arguments) for call in completion.tool_calls) == again.calls
    assert completion.finish_reason == (None if again.finish is None else _spelled(again.finish))
    assert completion.prompt_tokens == again.prompt_tokens
    assert completion.completion_tokens == again.completion_tokens


def _spelled(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()[:500]


def _is_stream(body: bytes) -> bool:
    return re.match(rb"(\xef\xbb\xbf)?\s*[{\[\"0-9tfn]", body) is None


def _refuse_half_body(case: Case) -> None:
    """Only a body that is complete and free of errors is an answer."""
    assert case.broken is None, "an answer out of half a body"
    value = json.loads(case.body.decode("utf-8-sig", "surrogateescape"))
    assert not value.get("error"), "an answer beside an error"
    chosen = next((c for c in value["choices"] if c.get("index") == 0), value["choices"][0])
    assert isinstance(chosen.get("message"), dict) or str(chosen.get("finish_reason")).lower() in _KNOWN_ENDS
    assert chosen.get("finish_reason") != "error"


def _refuse_unended_stream(case: Case) -> None:
    """Only a stream that says how it ended, or was counted up to its end mark, is an answer."""
    text = case.body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    blocks = re.split(r"(?:\r\n|\r|\n){2}", re.sub(r"\r\n|\r", "\n", text))
    numbers: list[int] = []
    finish: dict[int, str] = {}
    done = False
    for block in blocks:
        data = "\n".join(re.sub("^data:? ?", "", line) for line in block.split("\n") if re.match("data(:|$)", line))
        if done or not data:
            continue
        if data.strip() == "[DONE]":
            done = True
            continue
        try:
            value = json.loads(data)
        except ValueError:
            assert block is blocks[-1], "an answer out of a stream with a spoilt event"
            continue
        assert not value.get("error"), "an answer beside an error"
        for choice in value.get("choices") or ():
            number = choice.get("index") or 0
            numbers.append(number)
            if choice.get("finish_reason"):
                finish[number] = choice["finish_reason"]
    assert finish or (done and b"usage" in case.body), "an answer out of a stream without any word on its end"
    assert case.broken is None or done, "an answer out of a stream that broke off"
    ended = str(finish.get(min(numbers), "")).lower() in _KNOWN_ENDS
    assert done or ended or "data: [DONE]" in text[-20:], "an answer out of a stream without any end"


# --- mutations -------------------------------------------------------------------------------


def _noise(dice: random.Random, body: bytes, seeds: Sequence[bytes]) -> bytes:
    return dice.randbytes(dice.randrange(80))


def _flip(dice: random.Random, body: bytes, seeds: Sequence[bytes]) -> bytes:
    changed = bytearray(body)
    for _ in range(dice.choice((1, 2, 8)) if body else 0):
        changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


def _cut(dice: random.Random, body: bytes, seeds: Sequence[bytes]) -> bytes:
    start, end = sorted((dice.randrange(len(body) + 1), dice.randrange(len(body) + 1)))
    return dice.choice((body[:end], body[:start] + body[end:], body[start:], body[:end] + body[start:]))


def _insert(dice: random.Random, body: bytes, seeds: Sequence[bytes]) -> bytes:
    at = dice.randrange(len(body) + 1)
    return body[:at] + dice.choice(_TOKENS) * dice.choice((1, 1, 1, 3)) + body[at:]


def _splice(dice: random.Random, body: bytes, seeds: Sequence[bytes]) -> bytes:
    other = dice.choice(seeds)
    return body[: dice.randrange(len(body) + 1)] + other[dice.randrange(len(other) + 1) :]


def _within_json(dice: random.Random, body: bytes, seeds: Sequence[bytes]) -> bytes:
    """One value somewhere in the JSON, or in one event's, replaced, removed or put under another name."""
    lines = body.split(b"\n")
    at = dice.randrange(len(lines))
    prefix, line = (b"data: ", lines[at][6:]) if lines[at].startswith(b"data: ") else (b"", lines[at])
    try:
        value = json.loads(line)
    except ValueError:
        return body
    places = list(_places(value))
    if not places:
        return body
    holder, key = dice.choice(places)
    if isinstance(holder, dict) and dice.random() < 0.3:
        moved = holder.pop(key)
        if dice.random() < 0.5:
            holder[dice.choice(("content", "error", "message", "delta", "text", "choices", "finish_reason"))] = moved
    else:
        holder[key] = dice.choice(_HOSTILE)
    lines[at] = prefix + json.dumps(value).encode()
    return b"\n".join(lines)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


def _events(dice: random.Random, body: bytes, seeds: Sequence[bytes]) -> bytes:
    """Events dropped, doubled, moved, or given another line end."""
    events = body.split(b"\n\n")
    at = dice.randrange(len(events))
    way = dice.randrange(4)
    if way == 0:
        events.pop(at)
    elif way == 1:
        events.insert(dice.randrange(len(events) + 1), events[at])
    elif way == 2:
        dice.shuffle(events)
    else:
        return body.replace(b"\n", dice.choice((b"\r", b"\r\n", b"\n\n", b" ")))
    return b"\n\n".join(events)
