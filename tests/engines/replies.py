"""The JSON of an answer in, whole or as the deltas of a stream, and what it is read as out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from loopback import chunk_values, event
from tempzero.engines.hosted.fault_catalogue import Reply
from tempzero.engines.hosted.response_reading import classify_reply
from tempzero.types.recorded import Outcome

TOOLS = {"offered_tools": True}
CALL = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}


def _read(body: bytes, asked: Mapping[str, Any]) -> Outcome:
    usual = {"asked_model": "m", "status": 200, "headers": {}, "body": body, "broken": None}
    return classify_reply(Reply(**{**usual, **asked}))


def read_whole(value: Mapping[str, Any], **asked: Any) -> Outcome:
    """A whole body, as it is read; `asked` are fields of the Reply."""
    return _read(json.dumps(value).encode(), asked)


def read_stream(chunks: Sequence[Mapping[str, Any]], **asked: Any) -> Outcome:
    """A stream of these chunks and its end mark."""
    return _read(b"".join(event(c) for c in chunks) + event("[DONE]"), {"asked_stream": True, **asked})


def counted(prompt: int, completion: int, total: int, reasoning: int | None = None) -> dict[str, Any]:
    """The usage of an answer."""
    details = {} if reasoning is None else {"completion_tokens_details": {"reasoning_tokens": reasoning}}
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **details}


def with_deltas(*deltas: Mapping[str, Any], finish: str = "stop", tokens: int = 2) -> list[dict[str, Any]]:
    """The chunks of a stream with these deltas, its end and its usage."""
    first, *_, last = chunk_values(usage=counted(11, tokens, 11 + tokens))
    named = {key: first[key] for key in ("id", "created", "model")}
    ended = {"index": 0, "delta": {}, "finish_reason": finish}
    choices = [*({"index": 0, "delta": dict(delta), "finish_reason": None} for delta in deltas), ended]
    return [*({**named, "choices": [choice]} for choice in choices), last]
