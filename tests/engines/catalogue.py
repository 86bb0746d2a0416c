"""The fault catalogue as scripts: what a server does on the wire, and what must stand in the records afterwards."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loopback import (
    NOW,
    Call,
    Close,
    Pause,
    Reply,
    Reset,
    after,
    body,
    chunk,
    chunk_values,
    completion,
    completion_value,
    error,
    event,
    head,
    raw,
    stream,
    value,
)

SHORT = {"connect_s": 9.0, "first_byte_s": 0.8, "idle_s": 0.8, "total_s": 2.4}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One scenario. `kinds` are those of all attempts, in order; `flags` those of the last one."""

    number: int
    name: str
    replies: Sequence[Reply] | Callable[[Call], Reply] = ()
    kinds: tuple[str, ...]
    flags: tuple[str, ...] = ()
    streamed: bool = False
    repeats: int = 1
    prompts: int = 1
    in_account: bool = False  # the URL holds a variable
    entry: Mapping[str, Any] = field(default_factory=dict)
    base_url: str = ""  # elsewhere than at the loopback server, where no request arrives
    text: str | None = None  # of the last completion

    @property
    def key(self) -> str:
        return f"{self.number:02}-" + "".join(c if c.isalnum() else "-" for c in self.name)

    @property
    def run(self) -> str:
        """Rows of one run go side by side: not those that hold the machine beside those that wait for a deadline."""
        if self.number == 48:
            return "heavy"
        return "late" if "timeouts" in self.entry else f"{self.prompts}-prompts"

    @property
    def requests(self) -> int:
        """How many the loopback server must have seen."""
        return 0 if self.base_url else len(self.kinds)

    def reply(self, call: Call) -> Reply:
        if callable(self.replies):
            return self.replies(call)
        return self.replies[min(call.nth, len(self.replies)) - 1]


ROWS: list[Row] = []


def row(
    number: int, name: str, replies: Reply | Sequence[Reply] | Callable[[Call], Reply], *kinds: str, **more: Any
) -> None:
    ROWS.append(
        Row(number=number, name=name, replies=[replies] if isinstance(replies, Reply) else replies, kinds=kinds, **more)
    )


def streamed(number: int, name: str, replies: Any, *kinds: str, **more: Any) -> None:
    row(number, name, replies, *kinds, streamed=True, **more)


def thrice(kind: str) -> tuple[str, ...]:
    """Retried until the attempts are used up."""
    return (kind,) * 3


def chunks_of(*steps: Any) -> tuple[Any, ...]:
    """Values as chunked events, all else as it is: a stream whose end the caller decides."""
    return tuple(chunk(event(s)) if isinstance(s, dict) else s for s in steps)


OPEN = head(None, content_type="text/event-stream")
ROLE, YES, STOP, USAGE = chunk_values("yes")
WHOLE = [ROLE, YES, STOP, USAGE]
SLOW: Mapping[str, Any] = {"timeouts": SHORT}


def changed(chunk_value: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return chunk_value | fields


def with_delta(**delta: Any) -> dict[str, Any]:
    return YES | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def ending(finish_reason: Any) -> dict[str, Any]:
    return STOP | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]}


# --- refusals --------------------------------------------------------------------------------

row(
    1,
    "429 with Retry-After, then an answer",
    [error(429, headers={"Retry-After": "0.1"}), completion()],
    "rate_limited",
    "complete",
)
row(1, "429 with retry-after-ms, always", error(429, headers={"Retry-After-Ms": "50"}), *thrice("rate_limited"))
row(
    1,
    "429 with a date by the server's clock",
    error(429, headers={"Retry-After": NOW, "Date": NOW}),
    *thrice("rate_limited"),
)
row(2, "429 with a Retry-After beyond the budget", error(429, headers={"Retry-After": "3600"}), "rate_limited")
row(3, "429 without Retry-After", error(429, "Rate limit reached"), *thrice("rate_limited"))
row(4, "429 insufficient_quota", error(429, code="insufficient_quota"), "quota")
row(4, "402", error(402, "Insufficient credits"), "quota")
row(4, "403 about the balance", error(403, "Insufficient balance"), "quota")
row(4, "403 NOT_ENOUGH_BALANCE", value({"reason": "NOT_ENOUGH_BALANCE"}, status=403), "quota")
row(4, "400 about the credit", error(400, "Your credit balance is too low"), "quota")
row(4, "412 about the invoices", error(412, "Account is suspended, possibly due to unpaid invoices"), "quota")
for status in (500, 502, 503, 504, 408, 409, 425, 520, 521, 522, 523, 524, 525, 526, 527, 529, 424, 498):
    row(5, f"{status}", body(b"<html>no</html>", status=status, content_type="text/html"), *thrice("server"))
row(5, "502, then an answer", [error(502), completion()], "server", "complete")
row(6, "400 for a parameter", error(400, "Unsupported parameter: 'seed'", param="seed"), "unsupported_param")
row(
    6,
    "400 for a parameter by its old name",
    error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", param="max_tokens"),
    "param_renamed",
)
row(
    6,
    "400 for a limit of too few tokens",
    error(400, "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 1 instead."),
    "limit_too_small",
)
row(6, "400 for the role", error(400, "'messages[0].role' does not support 'system' with this model."), "role_refused")
row(
    6,
    "400 for what the model called",
    error(400, "Failed to call a function. See 'failed_generation'.", code="tool_use_failed", failed_generation="<f"),
    "generation_failed",
)
row(7, "413", error(413), "prompt_too_long")
row(7, "400 for the context length", error(400, "too long", code="context_length_exceeded"), "prompt_too_long")
row(8, "401 at the start", error(401, "Incorrect API key provided"), "auth")
row(9, "401 after an answer", [completion(), error(401, "expired")], "complete", "auth", "auth", repeats=2)
row(10, "404 model retired", error(404, "The model does not exist", code="model_not_found"), "model_unavailable")
row(10, "410", error(410), "model_unavailable")
row(10, "400 Model Not Exist", error(400, "Model Not Exist"), "model_unavailable")
row(
    10,
    "400 No such model",
    value({"errors": [{"code": 5007, "message": "No such model"}]}, status=400),
    "model_unavailable",
)
row(10, "404 with a web page", body(b"<html>", status=404, content_type="text/html"), "wrong_url")
row(10, "404 that knows no such path", value({"detail": "Not Found"}, status=404), "wrong_url")
row(11, "451", error(451), "blocked")
row(11, "403 for its safety", error(403, "Content violates usage guidelines."), "blocked")
row(
    11,
    "403 to one prompt after an answer",
    lambda call: error(403, "no") if call.prompt.endswith("1") else completion(),
    "complete",
    "blocked",
    "blocked",
    prompts=2,
)
row(11, "403 moderation of the input", error(403, "Your input was flagged", metadata={"reasons": ["x"]}), "blocked")

# --- connections -----------------------------------------------------------------------------

row(12, "a host name nobody knows", (), *thrice("network"), base_url="http://no-such-host.invalid/v1")
row(12, "connection refused", (), *thrice("network"), base_url="http://127.0.0.1:{closed}/v1")
row(
    12,
    "no handshake within the connect deadline",
    (),
    *thrice("network"),
    base_url="https://127.0.0.1:{mute}/v1",
    entry={"timeouts": SHORT | {"connect_s": 0.3}},
)
row(13, "a certificate nobody vouches for", (), "tls", base_url="https://127.0.0.1:{self_signed}/v1")
row(13, "a certificate for another host", (), "tls", base_url="https://127.0.0.1:{other_host}/v1")
row(13, "plain text where TLS was expected", (), "tls", base_url="https://127.0.0.1:{plain}/v1")
row(14, "RST before the head", raw(Reset()), *thrice("network"))
row(14, "FIN before the head", raw(Close()), *thrice("network"))
row(14, "half a head", raw(b"HTTP/1.1 200 OK\r\nContent-Ty", Close()), *thrice("network"))
row(14, "not HTTP", raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", Close()), *thrice("network"))
BEHIND = raw(completion().steps[0] + completion("nobody asked").steps[0])  # type: ignore[operator]
row(14, "another answer behind the first", [BEHIND, completion()], "complete", "complete", repeats=2, text="yes")
row(14, "another answer behind the only one", BEHIND, "complete", flags=("bytes_after_end",), text="yes")
row(14, "a body longer than announced", raw(head(20) + bytes(30)), *thrice("not_json"), flags=("bytes_after_end",))
row(15, "silence before the first byte", raw(Pause(9)), "timeout", "timeout", entry=SLOW)
row(15, "silence after the head", raw(OPEN, Pause(9)), "timeout", "timeout", entry=SLOW)
streamed(16, "a stream that stops coming", raw(OPEN, *chunks_of(ROLE, YES), Pause(9)), *thrice("stalled"), entry=SLOW)
row(16, "a body that stops coming", raw(head(99) + b'{"choices"', Pause(9)), *thrice("stalled"), entry=SLOW)
ALIVE = [step for _ in range(40) for step in (chunk(b": keep-alive\n\n"), Pause(0.1))]
EMPTY = [step for _ in range(40) for step in (*chunks_of(with_delta(content="")), Pause(0.1))]
BLANK = [step for _ in range(40) for step in (b"\n", Pause(0.1))]
streamed(17, "comments for ever", raw(OPEN, *ALIVE), "stalled", "stalled", entry=SLOW)
streamed(
    17, "comments for ever after some text", raw(OPEN, *chunks_of(ROLE, YES), *ALIVE), "stalled", "stalled", entry=SLOW
)
streamed(17, "empty deltas for ever", raw(OPEN, *EMPTY), "stalled", "stalled", entry=SLOW)
row(17, "blank lines for ever", raw(head(999), *BLANK), "stalled", "stalled", entry=SLOW)
streamed(
    17,
    "comments, then an answer",
    raw(OPEN, *ALIVE[:4], *chunks_of(*WHOLE), chunk(event("[DONE]")), chunk(b"")),
    "complete",
)
streamed(18, "RST within a stream", raw(OPEN, *chunks_of(ROLE, YES), Pause(0.05), Reset()), *thrice("interrupted"))
streamed(18, "FIN within a stream's chunks", raw(OPEN, *chunks_of(*WHOLE), Close()), *thrice("interrupted"))
row(
    18,
    "a body shorter than announced",
    raw(head(500) + json.dumps(completion_value()).encode(), Close()),
    *thrice("interrupted"),
)
streamed(
    18,
    "RST after the end mark",
    raw(OPEN, *chunks_of(*WHOLE), chunk(event("[DONE]")), Pause(0.05), Reset()),
    "complete",
    flags=("broken_after_done",),
)
streamed(
    18,
    "a connection held open after the end mark",
    raw(OPEN, *chunks_of(*WHOLE), chunk(event("[DONE]")), Pause(9)),
    "complete",
)

# --- streams ---------------------------------------------------------------------------------

streamed(19, "a clean end, no finish reason", stream(ROLE, YES, done=False), *thrice("truncated_stream"))
streamed(
    19,
    "[DONE] and usage, no finish reason",
    stream(ROLE, YES, USAGE),
    "complete",
    flags=("finish_reason_missing",),
    text="yes",
)
streamed(19, "[DONE], neither finish reason nor usage", stream(ROLE, YES), *thrice("truncated_stream"))
row(
    19,
    "a whole body, neither finish reason nor usage",
    completion(finish_reason=None, usage=None),
    *thrice("truncated_stream"),
)
streamed(19, "comments only", stream(b": hello\n\n", done=False), *thrice("truncated_stream"))
streamed(20, "a finish reason, no [DONE]", stream(*WHOLE, done=False), "complete", flags=("no_done",))
streamed(
    21, "half an event at the end", stream(ROLE, YES, STOP, event(USAGE)[:-20], done=False), *thrice("truncated_stream")
)
streamed(
    21, "an event without its blank line", stream(ROLE, YES, event(STOP)[:-1], done=False), *thrice("truncated_stream")
)
streamed(22, "an event that is no JSON", stream(ROLE, YES, event('{"choices":['), STOP), *thrice("malformed"))
streamed(22, "an event that is no object", stream(ROLE, YES, event("[1]"), STOP), *thrice("malformed"))
LOST = b"\xef\xbb\xbf" + event(YES)
streamed(22, "a data line that lost its beginning", stream(ROLE, YES, LOST, STOP, USAGE), *thrice("malformed"))
streamed(22, "a proxy's page within a stream", stream(ROLE, YES, b"<html>\n\n", STOP, USAGE), *thrice("malformed"))
streamed(23, "an error in the stream, to wait for", stream(ROLE, {"error": {"code": 502}}), *thrice("inband_error"))
streamed(23, "an error in the stream, final", stream(ROLE, {"error": {"code": 400}}), "inband_error")
streamed(
    23,
    "an event called error",
    stream(ROLE, b'event: error\ndata: {"message":"no","code":503}\n\n'),
    *thrice("inband_error"),
)
streamed(23, "finish_reason error", stream(ROLE, YES, ending("error")), "inband_error", "inband_error")
streamed(23, "finish_reason abort", stream(ROLE, YES, ending("abort")), "inband_error", "inband_error")
row(
    23,
    "finish_reason insufficient_system_resource",
    completion(finish_reason="insufficient_system_resource"),
    "inband_error",
    "inband_error",
)
streamed(
    23,
    "a field called error",
    stream(ROLE, YES, b'error: {"code":400,"message":"no"}\n\n', done=False),
    "inband_error",
)
streamed(
    23,
    "an error, then RST",
    raw(OPEN, *chunks_of(ROLE, {"error": {"code": 400}}), Pause(0.05), Reset()),
    "inband_error",
)
row(
    24,
    "200 with an error to wait for",
    value({"error": {"code": 429, "message": "slow down"}}),
    *thrice("inband_error"),
)
row(24, "200 with a final error", value({"error": {"code": "insufficient_quota"}}), "inband_error")
row(
    25,
    "200 with a web page",
    body(b"<!DOCTYPE html><title>Sign in</title>", content_type="text/html"),
    *thrice("not_json"),
)
row(25, "200 with a web page said to be JSON", body(b"<html></html>"), *thrice("not_json"))
row(25, "200 with text", body(b"busy", content_type="text/plain"), *thrice("not_json"))
row(26, "200 without a body", body(b""), *thrice("empty_body"))
streamed(26, "a stream without a byte", stream(done=False), *thrice("empty_body"))
streamed(27, "JSON where a stream was asked", completion(), "complete", flags=("json_for_stream",))
row(27, "a stream where JSON was asked", stream(*WHOLE), "complete", flags=("stream_for_json",))
streamed(27, "a JSON error where a stream was asked", value({"error": {"code": 400}}), "inband_error")
streamed(
    27, "a web page where a stream was asked", body(b"<html>", content_type="text/event-stream"), *thrice("not_json")
)

# --- answers ---------------------------------------------------------------------------------

row(28, "choices null", value(completion_value() | {"choices": None}), "no_choices", "no_choices")
row(28, "choices []", value(completion_value() | {"choices": []}), "no_choices", "no_choices")
streamed(28, "a stream without choices", stream(USAGE), "no_choices", "no_choices")
row(29, "content null", completion(None), "empty", text="")
streamed(29, "an empty stream", stream(ROLE, STOP, USAGE), "empty", text="")
row(
    30,
    "the budget spent thinking",
    completion(None, finish_reason="length", message={"reasoning": "hm"}),
    "length",
    flags=("limit_spent_on_reasoning",),
)
row(31, "cut at the limit", completion(finish_reason="length"), "length")
row(31, "cut at the limit, in capitals", completion(finish_reason="MAX_TOKENS"), "length")
AT_LIMIT = {"prompt_tokens": 11, "completion_tokens": 16, "total_tokens": 27}
OF_16: Mapping[str, Any] = {"max_tokens": 16}
row(
    31,
    "cut at the limit, which is not said",
    completion(usage=AT_LIMIT),
    "length",
    entry=OF_16,
    flags=("limit_unsaid",),
)
row(
    31,
    "cut at the limit, and nothing is said of the end",
    completion(finish_reason=None, usage=AT_LIMIT),
    "length",
    entry=OF_16,
    flags=("finish_reason_missing", "limit_unsaid"),
)
row(
    31,
    "more tokens than the limit allows",
    completion(usage=AT_LIMIT | {"completion_tokens": 30, "total_tokens": 41}),
    "complete",
    entry=OF_16,
    flags=("max_tokens_not_held",),
)
streamed(31, "cut at the limit, streamed", stream(ROLE, YES, ending("length"), USAGE), "length", text="yes")
row(32, "a content filter", completion(finish_reason="content_filter"), "content_filter")
row(
    32,
    "a content filter that leaves no message (Azure)",
    value(
        completion_value()
        | {
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "content_filter",
                    "content_filter_results": {"violence": {"filtered": True, "severity": "high"}},
                }
            ]
        }
    ),
    "content_filter",
    text="",
)
streamed(
    32,
    "a content filter that leaves no delta (Azure)",
    stream({**YES, "choices": [{"index": 0, "finish_reason": "content_filter"}]}, USAGE),
    "content_filter",
    text="",
)
row(32, "a refusal", completion(None, message={"refusal": "I cannot"}), "content_filter")
streamed(
    32,
    "a refusal, streamed",
    stream(ROLE, with_delta(refusal="I "), with_delta(refusal="cannot"), STOP),
    "content_filter",
    flags=("usage_missing",),
)
CALL_OF_TOOL = [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]
row(
    33,
    "a tool call nobody asked for",
    completion(None, finish_reason="tool_calls", message={"tool_calls": CALL_OF_TOOL}),
    "complete",
    flags=("unexpected_tool_call",),
)
streamed(
    33,
    "a tool call in a stream",
    stream(ROLE, with_delta(tool_calls=CALL_OF_TOOL), ending("tool_calls"), USAGE),
    "complete",
    flags=("unexpected_tool_call",),
)
row(34, "an unknown finish reason", completion(finish_reason="banana"), "complete", flags=("finish_reason_unknown",))
row(34, "an empty finish reason", completion(finish_reason=""), "complete", flags=("finish_reason_missing",))
streamed(
    34,
    "an unknown finish reason and [DONE]",
    stream(ROLE, YES, ending("banana"), USAGE),
    "complete",
    flags=("finish_reason_unknown",),
)
streamed(
    34,
    "an unknown finish reason, no [DONE]",
    stream(ROLE, YES, ending("banana"), done=False),
    *thrice("truncated_stream"),
)
SECOND = YES | {"choices": [{"index": 1, "delta": {"role": "assistant", "content": "other"}, "finish_reason": "stop"}]}
TWO = completion_value("other", choice={"index": 1})
TWO["choices"] += completion_value()["choices"]
row(35, "two choices, the second first", value(TWO), "complete", flags=("several_choices",), text="yes")
streamed(35, "two choices, interleaved", stream(SECOND, *WHOLE), "complete", flags=("several_choices",), text="yes")
MANY = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
streamed(
    36,
    "a chunk sent twice",
    stream(ROLE, YES, YES, STOP, changed(USAGE, usage=MANY | {"completion_tokens": 1, "total_tokens": 12})),
    "complete",
    flags=("piece_sent_twice",),
)
streamed(
    36,
    "equal chunks, counted by other rules",
    stream(ROLE, *[YES] * 3, *[with_delta(content=c) for c in "abcdef"], STOP, USAGE),
    "complete",
)
streamed(
    36,
    "the id changes on the way",
    stream(ROLE, changed(YES, id="other"), STOP, USAGE),
    "complete",
    flags=("id_changed_within",),
)
streamed(
    36,
    "the model changes on the way",
    stream(ROLE, changed(YES, model="other"), STOP, USAGE),
    "complete",
    flags=("model_changed_within",),
)
streamed(36, "created moves, as some servers' does", stream(ROLE, changed(YES, created=2), STOP, USAGE), "complete")
streamed(
    36,
    "the role named again",
    stream(ROLE, YES, with_delta(role="assistant", content="no"), STOP, USAGE),
    "complete",
    text="yesno",
)
streamed(36, "usage that counts backwards", stream(ROLE, YES, STOP, changed(USAGE, usage=MANY), USAGE), "complete")
streamed(36, "text after the end", stream(ROLE, YES, STOP, YES, USAGE), "complete", flags=("output_after_finish",))
streamed(
    36,
    "an event after the end mark",
    stream(*WHOLE, event("[DONE]"), YES),
    "complete",
    flags=("events_after_done",),
    text="yes",
)
streamed(
    36,
    "a second finish reason",
    stream(ROLE, YES, STOP, ending("length"), USAGE),
    "length",
    flags=("finish_reason_changed",),
)
streamed(
    36,
    "a whole message as an event",
    stream({**YES, "choices": completion_value()["choices"]}, USAGE),
    "complete",
    flags=("message_for_delta",),
    text="yes",
)
streamed(
    36,
    "the fingerprint changes on the way",
    stream(changed(ROLE, system_fingerprint="a"), changed(YES, system_fingerprint="b"), STOP, USAGE),
    "complete",
    flags=("fingerprint_changed",),
)
EMPTY_HEAD = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": []}
streamed(36, "a first chunk that says nothing", stream(EMPTY_HEAD, *WHOLE), "complete", text="yes")
row(37, "another model than asked", completion(model="other"), "complete", flags=("model_mismatch",))
row(37, "its dated snapshot", completion(model="m-2024-08-06"), "complete", flags=("model_alias",))
row(
    37,
    "a name that is accepted",
    completion(model="other-8b"),
    "complete",
    entry={"accepts_models": ["other-*"]},
    flags=("model_alias",),
)
row(
    38,
    "the fingerprint changes",
    [completion(system_fingerprint="a"), completion(system_fingerprint="b")],
    "complete",
    "complete",
    repeats=2,
    flags=("fingerprint_changed",),
)
row(
    39,
    "another upstream, said to be pinned",
    [completion(provider="A"), completion(provider="B")],
    "complete",
    "unpinned",
    repeats=2,
    flags=("backend_switched",),
)
row(
    39,
    "another upstream, not pinned",
    [completion(provider="A"), completion(provider="B")],
    "complete",
    "complete",
    repeats=2,
    entry={"pinned": False},
    flags=("backend_switched",),
)
row(
    39,
    "a fallback of the router",
    completion(openrouter_metadata={"attempt": 2}),
    "complete",
    flags=("upstream_fallback",),
)


def cached_until_told(call: Call) -> Reply:
    hit = call.headers.get("x-openrouter-cache") != "false"
    return completion(headers={"X-OpenRouter-Cache-Status": "HIT"} if hit else None)


FREE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
row(40, "a cache that can be told not to answer", cached_until_told, "cached", "complete")
row(40, "a cache that answers always", completion(headers={"X-Cache": "HIT"}), "cached", "cached")
row(40, "a gateway's cache", completion(headers={"cf-aig-cache-status": "HIT"}), "cached", "cached")
row(40, "an answer with an age", completion(headers={"Age": "30"}), "cached", "cached")
row(40, "a text that cost no token", completion(usage=FREE), "cached", "cached")
streamed(40, "a stream that cost no token", stream(ROLE, YES, STOP, changed(USAGE, usage=FREE)), "cached", "cached")
row(
    40,
    "the id of an earlier repeat, made as fast",
    completion(id="fixed", x_groq={"queue_time": 0.0123456}),
    "complete",
    "cached",
    "cached",
    repeats=2,
)
row(
    41,
    "the same bytes, other prompt tokens",
    [completion(), completion(usage=MANY | {"prompt_tokens": 40})],
    "complete",
    "complete",
    repeats=2,
    flags=("prompt_mismatch",),
)
row(42, "usage missing", completion(usage=None), "complete", flags=("usage_missing",))
row(
    42,
    "usage implausible",
    completion(usage={"prompt_tokens": -1, "completion_tokens": 2}),
    "complete",
    flags=("usage_implausible",),
)
streamed(42, "a stream without usage", stream(*chunk_values("yes", usage=None)), "complete", flags=("usage_missing",))
row(
    42,
    "a text of no token",
    completion(usage={"prompt_tokens": 11, "completion_tokens": 0}),
    "complete",
    flags=("usage_implausible",),
)
row(
    43,
    "content as parts",
    completion(message={"content": [{"type": "text", "text": "yes"}]}),
    "complete",
    flags=("content_parts",),
    text="yes",
)
row(43, "content of another type", completion(message={"content": 42}), "schema")
row(43, "usage as a text", completion(usage="13"), "complete", flags=("usage_missing",))
streamed(43, "a delta of another type", stream(ROLE, with_delta(content=42), STOP), "schema")
row(
    44,
    "text that is not UTF-8",
    body(b'{"choices":[{"message":{"content":"\xff"},"finish_reason":"stop"}]}'),
    "encoding",
)
row(44, "half a surrogate pair", completion("\ud83d"), "encoding")
row(44, "NUL in the text", completion("a\0"), "encoding")
streamed(
    44,
    "a stream that is not UTF-8",
    stream(ROLE, b'data: {"choices":[{"index":0,"delta":{"content":"\xff"}}]}\n\n', STOP),
    "encoding",
)
row(44, "bad Unicode in the metadata only", completion(id="\ud83d"), "complete", flags=("metadata_encoding",))
ODD = "a\u2028b\u0085c\u2029d\x1ee\x0bf"
LINES = json.dumps(with_delta(content=ODD), ensure_ascii=False)
streamed(45, "line separators within the text", stream(ROLE, event(LINES), STOP, USAGE), "complete", text=ODD)
DRESSED = (
    b"\xef\xbb\xbfretry: 5\r\n: hello\r\n\r\nid: 1\revent: message\rdata: "
    + json.dumps(ROLE).encode()
    + b"\r\r"
    + b"\n".join(b"data:" + line for line in json.dumps(YES, indent=1).encode().splitlines())
    + b"\n\n"
    + b"unknown: 1\ndata:"
    + json.dumps(STOP).encode()
    + b"\r\n\r\n"
    + event(USAGE)
)
streamed(46, "BOM, comments, fields, three kinds of line ends", stream(DRESSED), "complete", text="yes")
streamed(
    46,
    "signs of life between the chunks",
    stream(b"event: ping\ndata: ping\n\n", ROLE, b"data:\n\n", YES, b"data: \n\n", STOP, USAGE),
    "complete",
    text="yes",
)
PACKED = gzip.compress(json.dumps(completion_value()).encode())
GZIP = {"Content-Encoding": "gzip"}
row(47, "gzip nobody asked for", body(PACKED, headers=GZIP), "encoding", "encoding")
row(47, "gzip nobody announced", body(PACKED), "encoding", "encoding")
row(47, "gzip that is broken", body(PACKED[:20] + b"????" + PACKED[24:], headers=GZIP), "encoding", "encoding")
row(47, "br that is none", body(b"\x0b\x02\x80", headers={"Content-Encoding": "br"}), "encoding", "encoding")
row(47, "plain bytes said to be gzip", completion(headers=GZIP), "complete", flags=("encoding_untrue",))
row(48, "a gzip bomb", body(gzip.compress(bytes(2**25)), headers=GZIP), "too_large")
row(48, "an endless body", raw(head(None), *[chunk(b" " * 2**20)] * 17), "too_large")
streamed(48, "an endless stream", raw(OPEN, *[chunk(event(YES) * 4000)] * 40), "too_large")
row(
    49,
    "a drop now and then",
    raw(head(999), *[step for _ in range(40) for step in (b"{", Pause(0.1))]),
    "timeout",
    "timeout",
    entry=SLOW,
)
for status in (301, 302, 307, 308):
    row(50, f"{status}", body(b"", status=status, headers={"Location": "/v1/elsewhere"}), "redirect")
row(
    58,
    "a router that shortens the prompt",
    completion(openrouter_metadata={"pipeline": [{"type": "context-compression"}]}),
    "complete",
    flags=("prompt_mismatch",),
)
row(
    57,
    "an id that came with another question",
    completion(id="fixed"),
    "complete",
    "complete",
    prompts=2,
    flags=("response_id_reused",),
)
row(
    57,
    "an answer made long before it was asked",
    completion(created=1_700_000_000, headers={"Date": NOW}),
    "complete",
    "complete",
    flags=("suspected_cache",),
)
row(
    57,
    "impossibly fast",
    completion("word " * 60_000, usage=MANY | {"completion_tokens": 60_000_000}),
    "complete",
    "complete",
    flags=("max_tokens_not_held", "suspected_cache"),
)
row(
    57,
    "the id of an earlier repeat, without a time",
    completion(id="fixed"),
    "complete",
    "complete",
    "complete",
    repeats=2,
    flags=("suspected_cache",),
)
row(57, "a late head", after(0.2, completion()), "complete")

# --- keys that come back ---------------------------------------------------------------------


def echo(form: Callable[[str], Reply]) -> Callable[[Call], Reply]:
    return lambda call: form(call.headers["authorization"].removeprefix("Bearer "))


def spelled(text: str) -> str:
    return "".join(f"\\u{ord(c):04X}" for c in text)


def said(text: str) -> bytes:
    """A whole answer with that text, which is JSON already."""
    return json.dumps(completion_value("@@")).replace("@@", text).encode()


def piecewise(key: str) -> Reply:
    return stream(ROLE, *(with_delta(content=key[i : i + 3]) for i in range(0, len(key), 3)), STOP, USAGE)


REMOVED = ("key_redacted",)
row(55, "the key in an answer", echo(completion), "complete", flags=REMOVED)
row(55, "the key in an error", echo(lambda k: error(401, f"bad key {k}")), "auth", flags=REMOVED)
row(55, "the key in a web page", echo(lambda k: body(f"<p>{k}".encode(), status=502)), *thrice("server"), flags=REMOVED)
row(
    55,
    "the key in a header's name",
    echo(lambda k: completion(headers={"x-ratelimit-" + "".join(c for c in k if c not in '/"&+'): "1"})),
    "complete",
)
row(55, "the key, escaped letter by letter", echo(lambda k: body(said(spelled(k)))), "withheld", flags=REMOVED)
row(
    55,
    "the key in base64",
    echo(lambda k: completion(base64.b64encode(f"Bearer {k}!".encode()).decode())),
    "complete",
    flags=REMOVED,
)
row(55, "the key in hexadecimal", echo(lambda k: completion(k.encode().hex())), "complete", flags=REMOVED)
row(55, "most of the key", echo(lambda k: error(401, f"bad key {k[2:-4]}****")), "auth", flags=REMOVED)
row(55, "the key in UTF-16", echo(lambda k: body(k.encode("utf-16"), status=400)), "bad_request", flags=REMOVED)
row(
    55,
    "the key, percent-encoded",
    echo(lambda k: completion("".join(f"%{ord(c):02x}" for c in k))),
    "withheld",
    flags=REMOVED,
)
row(55, "the key in gzip", echo(lambda k: body(gzip.compress(k.encode()), headers=GZIP)), "withheld", flags=REMOVED)
row(
    55,
    "the key in what cannot be unpacked",
    echo(lambda k: body(b"\x28\xb5\x2f\xfd" + k[::-1].encode(), headers={"Content-Encoding": "zstd"})),
    "encoding",
    "encoding",
    flags=REMOVED,
)
streamed(55, "the key over the deltas of a stream", echo(piecewise), "withheld", flags=REMOVED)
streamed(
    55,
    "the key over comments",
    echo(lambda k: stream(*(f": {k[i : i + 9]}\n".encode() for i in range(0, len(k), 9)), b"\n", *WHOLE)),
    "withheld",
    flags=REMOVED,
)
row(
    55,
    "half the key where the body breaks off",
    echo(lambda k: raw(head(500) + b'{"e":"' + k[:-2].encode(), Close())),
    *thrice("interrupted"),
    flags=REMOVED,
)
row(
    55,
    "the key in a redirect",
    echo(lambda k: body(b"", status=302, headers={"Location": f"http://evil.invalid/?k={k}"})),
    "redirect",
)
row(
    55,
    "the variable of the URL in an error",
    lambda call: error(400, f"no route {call.target}"),
    "bad_request",
    flags=REMOVED,
    in_account=True,
)
