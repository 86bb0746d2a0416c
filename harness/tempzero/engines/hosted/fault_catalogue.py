"""What a failed exchange looked like on the wire in, its outcome out. The fault catalogue:

kind               retry  what came back
rate_limited       yes    429
quota              never  402, or another 4xx that says that the money or allowance is used up
server             yes    5xx and beyond, 408, 409, 424, 425, 498
unsupported_param  never  400/422 about a request field
prompt_too_long    never  413, or 400 about the context length
bad_request        never  any other 4xx
auth               never  401, 403 (or a 400 that speaks of the key)
model_unavailable  never  404, 410, or a 400/403 that says the model is not there
blocked            never  451, or a 400/403 that speaks of moderation
redirect           never  3xx: following it could send the key elsewhere
network            yes    no connection, or it broke before the response
tls                never  a certificate or TLS fault
timeout            once   no first byte in time, or not finished in time
stalled            yes    the content stopped coming; once where signs of life went on without it
interrupted        yes    the response broke off
too_large          never  more bytes than the cap, compressed or not
inband_error       (*)    a 2xx that carries an error; retried as its inner code would be
withheld           never  the response spelled out the key in a way that cannot be cut out of it

Of a 2xx that is no usable answer (`reading`, `assembling`):
empty_body         yes    nothing, or only blanks
not_json           yes    a web page or other text
truncated_stream   yes    a stream that ended without a finish reason, or within an event
malformed          yes    an event of a stream that is no JSON object
no_choices         once   JSON without an answer in it
schema             never  JSON of another shape
encoding           never  no valid Unicode where the answer stands; once where it came compressed, unasked

Of an engine in this process (`in_process`):
reference          once   the model cannot compute; it is loaded anew, the first time (never, from then on)
empty_prompt       never  the rendered prompt holds no token
not_attempted      never  withdrawn before the answer was complete

Of a replayed run, and of records that another tool made:
not_recorded       never  the run that is replayed holds no such answer
failed             never  an error of which no more is known

By comparison with what this endpoint said before (`history`):
unpinned           never  another upstream than that of a provider said to be pinned
All of them are `missing`: no model output to compare. `cached` is `excluded` (once): an answer, but a replayed one.
"""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from tempzero.types.recorded import FaultKind, Outcome, OutcomeKind, Retry

# Whoever meets one of these meets it with every further request to this provider.
PERMANENT_FAULTS: frozenset[OutcomeKind] = frozenset({"auth", "quota", "model_unavailable", "tls", "redirect"})

BreakKind = Literal["network", "tls", "timeout", "stalled", "kept_alive", "interrupted", "too_large"]

_RETRY_BY_BREAK: Mapping[BreakKind, Retry] = {
    "network": "yes",
    "tls": "never",
    "timeout": "once",
    "stalled": "yes",
    "kept_alive": "once",
    "interrupted": "yes",
    "too_large": "never",
}
_LONGEST_DETAIL = 300
_LONGEST_TEXT_READ = 4000  # so that no pattern below is run over megabytes of somebody else's text

_QUOTA_WORDS = re.compile(
    r"insufficient[ _](quota|balance|funds?|credits?)|payment[ _]required|exceeded_current_quota|"
    r"billing_hard_limit|credit balance|out of credits|(not|n't)[ _](have[ _])?(enough|any)[ _](balance|credits?)|"
    r"budget[ _](has been )?exceeded|spending limit|daily (free )?allocation|free-models-per-day|"
    r"account.{0,40}(suspended|arrears)"
)
_BLOCKED_WORDS = re.compile(
    r"content[ _](policy|filter|management)|moderat|flagged|responsibleai|data_inspection|prohibited_content|"
    r"guardrail"
)
_CONTEXT_WORDS = re.compile(
    r"context[ _](length|window|size)|too many tokens|(prompt|input|request)( is|_| )too[ _](long|large)|"
    r"string_above_max_length|maximum (number of )?(input )?tokens|tokens`? (and|\+) .{0,40}must be <="
)
_KEY_WORDS = re.compile(r"api[ _-]?key|unauthorized|authenticat|invalid token|credentials")
_MODEL_WORDS = re.compile(
    r"model_(not_found|not_available|decommissioned|not_exist|not_supported)|no endpoints found|deploymentnotfound|"
    r"not a valid model|no such model|invalid[ _]model\b|model not exist|not supported by any provider|"
    r"(model|deployment).{0,100}(does ?n[o']t exist|not found|not available|decommissioned|no longer|retired|"
    r"been deprecated|not have access)|access to.{0,40}model"
)
_PARAMETER_WORDS = re.compile(
    r"unsupported|unknown|unrecognized|not (support|permit|allow)|only .{0,20} is allowed|invalid (temperature|value)|"
    r"temperature|top_p|seed|max_tokens|max_completion_tokens|extra (fields|inputs)"
)
# Servers without a parser for this model's calls, and routers without an endpoint that takes them, say so in many ways.
_NO_TOOLS_WORDS = re.compile(
    r"(?:tools?|tool[ _-]?(?:choice|calls?|calling|use)|function[ _-]?call(?:s|ing)?|functions)\b.{0,60}"
    r"(?:not (?:support|allow|enabled|available)|unsupported|requires?|--)"
    r"|(?:not support|unsupported|no endpoints found).{0,60}(?:tool|function[ _-]?call)"
)
_PASSING_FAULT_WORDS = re.compile(
    r"rate.?limit|too many requests|overload|unavailable|time.?out|server_error|internal|upstream|capacity|try again"
)
_KIND_BY_STATUS: Mapping[int, FaultKind] = {
    401: "auth",
    404: "model_unavailable",
    410: "model_unavailable",
    413: "prompt_too_long",
    451: "blocked",
}
_KIND_BY_WORDS: tuple[tuple[FaultKind, re.Pattern[str]], ...] = (
    ("prompt_too_long", _CONTEXT_WORDS),
    ("auth", _KEY_WORDS),
    ("unsupported_param", _PARAMETER_WORDS),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Break:
    """Where an exchange broke off on the wire, in words that hold nobody else's text.

    `kept_alive` is a stall through which comments or blank lines went on: that server will do so again.
    """

    kind: BreakKind
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What the engine got: the wire's answer, cleaned of secrets. Header names are in lower case.

    `withheld`: the body spelled out a secret, and an empty one stands in its place. `surplus`: bytes came behind
    the end of the response.
    """

    asked_model: str
    status: int | None
    headers: Mapping[str, str]
    body: bytes
    broken: Break | None
    asked_stream: bool = False
    offered_tools: bool = False
    key_redacted: bool = False
    withheld: bool = False
    surplus: bool = False


class UnusableReply(Exception):
    """What came back is not an answer, and this is the outcome instead. Never leaves this room."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.kind)
        self.outcome = outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Complaint:
    """An error body in one shape: all its codes and types in one text, and its message."""

    codes: str
    message: str
    status: int | None

    @property
    def words(self) -> str:
        """Everything it says, in lower case."""
        return f"{self.codes[:_LONGEST_TEXT_READ]} {self.message[:_LONGEST_TEXT_READ]}".lower()

    @property
    def line(self) -> str:
        """The same for a human eye."""
        return f"{self.codes}: {self.message}" if self.codes and self.message else self.codes or self.message


def outcome_of_break(broken: Break) -> Outcome:
    """The outcome of an exchange that did not come to its end."""
    kind: FaultKind = "stalled" if broken.kind == "kept_alive" else broken.kind
    return missing_outcome(kind, broken.detail, _RETRY_BY_BREAK[broken.kind])


def outcome_of_refusal(status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    """The outcome of a status that is not 2xx."""
    complaint = _parse_complaint(body, headers)
    kind, retry = _classify_status(status, complaint.words)
    outcome = missing_outcome(kind, f"HTTP {status} {complaint.line}", retry)
    return replace(outcome, retry_after_s=_read_retry_after_s(headers)) if retry != "never" else outcome


def outcome_of_inband_error(error: Any, headers: Mapping[str, str]) -> Outcome:
    """The outcome of an error inside a 2xx: never an answer, whatever stands beside it."""
    complaint = to_complaint(error)
    words = complaint.words
    retry: Retry = "once"
    if complaint.status is not None:
        retry = _classify_status(complaint.status, words)[1]
    elif _QUOTA_WORDS.search(words):
        retry = "never"
    elif _PASSING_FAULT_WORDS.search(words):
        retry = "yes"
    outcome = missing_outcome("inband_error", f"{complaint.status or 'error'} {complaint.line}", retry)
    return replace(outcome, retry_after_s=_read_retry_after_s(headers)) if retry != "never" else outcome


def missing_outcome(kind: FaultKind, detail: str, retry: Retry = "never") -> Outcome:
    """An outcome without model output; `detail` becomes one printable line of bounded length."""
    return Outcome(status="missing", kind=kind, detail=to_printable_line(detail), retry=retry)


def to_printable_line(text: str) -> str:
    """Somebody else's text as one printable line that any file and terminal can take."""
    printable = "".join(c if c.isprintable() else " " for c in text[: 4 * _LONGEST_DETAIL])
    return " ".join(printable.split())[:_LONGEST_DETAIL]


def to_complaint(error: Any) -> Complaint:
    """An `error` value of whatever shape (text, object, list of objects) as one Complaint."""
    codes, messages, status = [], [], None
    for key, value in _error_leaves(error, 0):
        if key in ("message", "detail", "msg", "error", "raw", ""):
            messages.append(str(value))
        elif key in ("code", "status") and re.fullmatch("[45][0-9]{2}", str(value)):
            status = int(value) if status is None else status
        elif key in ("code", "type", "status", "param", "error_type", "reason"):
            codes.append(str(value))
    return Complaint(codes=" ".join(codes), message="; ".join(messages), status=status)


def _error_leaves(value: Any, depth: int, key: str = "") -> Iterator[tuple[str, str | int]]:
    """(key, text or number) pairs of an error value; a hostile one is neither deep nor wide enough to matter."""
    if isinstance(value, dict) and depth < 4:
        for name, inner in list(value.items())[:20]:
            yield from _error_leaves(inner, depth + 1, str(name))
    elif isinstance(value, list) and depth < 4:
        for inner in value[:5]:
            yield from _error_leaves(inner, depth + 1, key)
    elif isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        yield key, value


def _parse_complaint(body: bytes, headers: Mapping[str, str]) -> Complaint:
    try:
        value = json.loads(body.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        shown = headers.get("content-type", "no content type").split(";")[0]
        return Complaint(codes="", message=f"({len(body)} bytes of {shown}, not JSON)", status=None)
    return to_complaint(value)


def _classify_status(status: int, words: str) -> tuple[FaultKind, Retry]:
    if 300 <= status < 400:
        return "redirect", "never"
    if status not in (401, 402, 403, 429) and _NO_TOOLS_WORDS.search(words):
        return "unsupported_param", "never"
    if status >= 500 or status in (408, 409, 424, 425, 498):
        return "server", "yes"
    if status == 402 or (status != 401 and _QUOTA_WORDS.search(words)):
        return "quota", "never"
    if status == 429:
        return "rate_limited", "yes"
    return _classify_refusal(status, words), "never"


def _classify_refusal(status: int, words: str) -> FaultKind:
    """4xx that a repetition does not change. Providers disagree on numbers, so the words count too."""
    if status in _KIND_BY_STATUS:
        return _KIND_BY_STATUS[status]
    if _MODEL_WORDS.search(words):
        return "model_unavailable"
    if _BLOCKED_WORDS.search(words):
        return "blocked"
    if status == 403:
        return "auth"
    return next((kind for kind, pattern in _KIND_BY_WORDS if pattern.search(words)), "bad_request")


def _read_retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds the provider asked for: `retry-after-ms`, else `retry-after` as seconds or as a date by its own clock."""
    in_ms = _parse_seconds(headers.get("retry-after-ms", ""))
    if in_ms is not None:
        return in_ms / 1000
    stated = headers.get("retry-after", "")
    seconds = _parse_seconds(stated)
    if seconds is not None:
        return seconds
    until, now = parse_http_date_s(stated), parse_http_date_s(headers.get("date", ""))
    return None if until is None else max(0.0, until - (now if now is not None else time.time()))


def _parse_seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


def parse_http_date_s(text: str) -> float | None:
    """An HTTP date as seconds since the epoch."""
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
