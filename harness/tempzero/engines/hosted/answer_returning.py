"""A recorded exchange in, the message that gives its answer back to the model out: the next round's history.

What a model said goes back as it came: its calls with ids that are the same in every repeat, its reasoning, where the
API wants it, in the field and the form in which it was given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tempzero.answers.message_parts import REASONING_FIELDS, REASONING_LIST
from tempzero.engines.hosted.assembling import assemble_stream
from tempzero.engines.hosted.event_stream import decode_events, is_event_stream
from tempzero.engines.hosted.fault_catalogue import UnusableReply
from tempzero.engines.hosted.parsing import parse_json_bytes
from tempzero.types.asked import Message, ToolCall
from tempzero.types.recorded import Completion, Exchange

# Ids that a host counts itself (`functions.NAME:3`) are the same every time, and its template reads them.
_COUNTED_ID = re.compile(r"functions\.[\w.-]+:\d+")
_ID_PREFIX = re.compile(r"(?:[A-Za-z]+[_-])*")
_ALPHANUMERIC = re.compile(r"[A-Za-z0-9]")
_LONGEST_ID = 64


def build_returned_message(exchange: Exchange, *, with_reasoning: bool, calls_before: int = 0) -> Message:
    """The assistant's message of an answered exchange. `calls_before`: calls of the conversation before this answer.

    Ids of calls are drawn at random by most hosts: they are renumbered in their own shape, so that repeats whose
    answers are equal ask the same bytes again.
    """
    said = exchange.outcome.completion
    assert said is not None, "only an answer goes back"
    calls = tuple(
        ToolCall(name=call.name, arguments=call.arguments, id=_number_call_id(call.id, calls_before + at))
        for at, call in enumerate(said.tool_calls, start=1)
    )
    spoken = said.text or said.refusal or ""
    if not with_reasoning:
        return Message(role="assistant", content=spoken, tool_calls=calls)
    raw = _find_raw_message(exchange)
    returned = _find_returned_reasoning(raw, said)
    content = raw.get("content")
    if not returned and said.reasoning_text and isinstance(content, list):
        parts = tuple(part for part in content if isinstance(part, Mapping))
        return Message(role="assistant", content=spoken, parts=parts, tool_calls=calls)
    if not returned and said.reasoning_text:  # within the text, in the marks of the model's template
        spoken = content if isinstance(content, str) else spoken
        if said.reasoning_text not in spoken:
            return Message(role="assistant", content=spoken, tool_calls=calls, reasoning_content=said.reasoning_text)
    return Message(role="assistant", content=spoken, tool_calls=calls, returned=returned)


def _find_returned_reasoning(raw: Mapping[str, Any], said: Completion) -> dict[str, Any]:
    """The field of an answer that its reasoning stood in; a list of pieces goes before a text of the same."""
    pieces = raw.get(REASONING_LIST)
    if isinstance(pieces, list) and pieces:
        return {REASONING_LIST: _join_reasoning_pieces(pieces)}
    if said.reasoning_text is None:
        return {}
    return next(({name: raw[name]} for name in REASONING_FIELDS if isinstance(raw.get(name), str) and raw[name]), {})


def _join_reasoning_pieces(pieces: list[Any]) -> list[Any]:
    """The pieces of a stream put together again: those of one kind and index, one after the other, are one."""
    joined: list[Any] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if isinstance(last, Mapping) and _is_continued(last, piece):
            joined[-1] = {**last, **{name: _join_values(last.get(name), value) for name, value in piece.items()}}
        else:
            joined.append(piece)
    return joined


def _is_continued(last: Mapping[str, Any], piece: Any) -> bool:
    alike = ("type", "index")
    return isinstance(piece, Mapping) and "index" in piece and all(last.get(n) == piece.get(n) for n in alike)


def _join_values(first: Any, more: Any) -> Any:
    if isinstance(first, str) and isinstance(more, str) and first != more:
        return first + more
    return first if more is None else more


def _find_raw_message(exchange: Exchange) -> Mapping[str, Any]:
    """The first choice's message as it came, of a stream put together; nothing where no request could carry it."""
    response = exchange.response
    if response is None or response.body is None:
        return {}
    body = response.body.encode()
    try:
        if is_event_stream(body):
            value: Any = assemble_stream(decode_events(body), dict(response.headers)).value
        else:
            value = parse_json_bytes(body)
        message = value["choices"][0]["message"]
        json.dumps(message, ensure_ascii=False, allow_nan=False).encode()  # NaN, half of a pair: not to be sent
    except (UnusableReply, ValueError, LookupError, TypeError, RecursionError):
        return {}
    return message if isinstance(message, Mapping) else {}


def _number_call_id(given: str | None, number: int) -> str:
    """The id of a call, numbered in the shape of the host's own: `call_Xy3k` is `call_0001`."""
    if given is None or not given.isascii() or len(given) > _LONGEST_ID:
        return f"call_{number}"
    if _COUNTED_ID.fullmatch(given):
        return given
    found = _ID_PREFIX.match(given)
    head = found.group() if found else ""
    tail = _ALPHANUMERIC.sub("0", given[len(head) :])
    digits = str(number)
    return f"{head}{tail[: -len(digits)]}{digits}" if len(tail) >= len(digits) else f"call_{number}"
