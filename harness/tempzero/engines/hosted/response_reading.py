"""The bytes of a Chat Completions response in, an Outcome out: a completion only where there truly is one.

Whether it came whole or as a stream is seen in the bytes; both are read by the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tempzero.engines.hosted.answer_reader import AnswerReader
from tempzero.engines.hosted.assembling import assemble_stream
from tempzero.engines.hosted.event_stream import decode_events, is_event_stream
from tempzero.engines.hosted.fault_catalogue import (
    Reply,
    UnusableReply,
    missing_outcome,
    outcome_of_break,
    outcome_of_inband_error,
    outcome_of_refusal,
)
from tempzero.engines.hosted.finish_reasons import BROKEN_OFF_REASONS, KNOWN_REASONS
from tempzero.engines.hosted.parsing import parse_json_bytes
from tempzero.engines.hosted.unpacking import is_packed, unpack_bytes
from tempzero.types.recorded import Flag, Outcome

_MOST_UNPACKED = 16 * 1024 * 1024


def classify_reply(reply: Reply) -> Outcome:
    """Classify what came back. Never raises, whatever the bytes are."""
    try:
        outcome = _read_outcome(reply)
    except UnusableReply as unusable:
        outcome = unusable.outcome
    seen: dict[Flag, bool] = {"key_redacted": reply.key_redacted, "bytes_after_end": reply.surplus}
    more = [name for name, is_so in seen.items() if is_so]
    return replace(outcome, flags=(*outcome.flags, *more)) if more else outcome


def _read_outcome(reply: Reply) -> Outcome:
    if reply.status is None:
        assert reply.broken is not None, "without a head there is a reason for it"
        return outcome_of_break(reply.broken)
    if not 200 <= reply.status < 300:
        return outcome_of_refusal(reply.status, reply.headers, reply.body)
    streamed = is_event_stream(reply.body)
    if reply.broken is not None and not (streamed and reply.broken.kind != "too_large"):
        return outcome_of_break(reply.broken)
    if reply.withheld:
        return missing_outcome("withheld", "the response spelled out the API key; it was not kept")
    if streamed:
        return _read_stream(reply)
    value = _parse_body(reply)
    _raise_if_error(value, reply.headers)
    return AnswerReader(value, reply, ["json_for_stream"] if reply.asked_stream else []).outcome()


def _read_stream(reply: Reply) -> Outcome:
    """A stream, whole or broken off. What breaks after the end mark breaks nothing; an error it told counts."""
    try:
        assembled = assemble_stream(decode_events(reply.body), reply.headers)
        _raise_if_error(assembled.value, reply.headers)
        finish = str(assembled.value["choices"][0]["finish_reason"]).lower()
        if not assembled.done and finish not in KNOWN_REASONS:
            raise UnusableReply(
                missing_outcome("truncated_stream", f"no end mark, and {finish} is no known finish reason", "yes")
            )
    except UnusableReply as unusable:
        if reply.broken is not None and unusable.outcome.kind != "inband_error":
            return outcome_of_break(reply.broken)
        raise
    if reply.broken is not None and not assembled.done:
        return outcome_of_break(reply.broken)
    odd: dict[Flag, bool] = {
        "stream_for_json": not reply.asked_stream,
        "no_done": not assembled.done,
        "broken_after_done": reply.broken is not None,
    }
    flags = [name for name, is_so in odd.items() if is_so]
    return AnswerReader(assembled.value, reply, [*flags, *assembled.flags]).outcome()


def _parse_body(reply: Reply) -> Mapping[str, Any]:
    """The body as a JSON object."""
    body = reply.body.removeprefix(b"\xef\xbb\xbf")
    if not body.strip():
        raise UnusableReply(missing_outcome("empty_body", f"HTTP {reply.status} with an empty body", "yes"))
    try:
        value = parse_json_bytes(body)
    except (ValueError, RecursionError):
        raise UnusableReply(_outcome_without_json(reply)) from None
    if not isinstance(value, dict):
        raise UnusableReply(missing_outcome("schema", f"the body is a JSON {type(value).__name__}, not an object"))
    return value


def _outcome_without_json(reply: Reply) -> Outcome:
    coding = reply.headers.get("content-encoding", "identity")
    if coding == "identity" and not is_packed(reply.body):
        stated = reply.headers.get("content-type", "no content type")
        detail = f"HTTP {reply.status} with {len(reply.body)} bytes of {stated} that are not JSON"
        return missing_outcome("not_json", detail, "yes")
    if unpack_bytes(reply.body, _MOST_UNPACKED).burst:
        return missing_outcome(
            "too_large", f"{len(reply.body)} bytes of {coding} that unpack to more than {_MOST_UNPACKED}"
        )
    return missing_outcome(
        "encoding", f"asked for plain bytes, got compressed ones (content-encoding {coding})", "once"
    )


def _raise_if_error(value: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """Errors that come as a success: at the top, as the whole body, or within the choice."""
    error = value.get("error") or value.get("errors")
    if not error and (value.get("object") == "error" or value.get("success") is False):
        error = value
    choices = value.get("choices")
    if not error and isinstance(choices, list) and choices and isinstance(choices[0], dict):
        error = choices[0].get("error")
        finish = choices[0].get("finish_reason")
        if not error and isinstance(finish, str) and finish.lower() in BROKEN_OFF_REASONS:
            error = f"finish_reason is {finish}"
    if error:
        raise UnusableReply(outcome_of_inband_error(error, headers))
