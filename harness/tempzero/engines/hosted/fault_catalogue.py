"""What a failed exchange looked like on the wire in, its outcome out. The fault catalogue:

kind               retry  what came back
rate_limited       yes    429
quota              never  402, or another 4xx that says that the money or allowance is used up
server             yes    5xx and beyond, 408, 409, 424, 425, 498
unsupported_param  never  400/422 about a request field
param_renamed      never  the same, and it names the field to use in its place
limit_too_small    never  the same about max_tokens below what the host takes, or below what its reasoning used
role_refused       never  the same about a message's role
generation_failed  never  400 about what the model wrote (Groq's tool_use_failed): no field of the request is at fault
prompt_too_long    never  413, or 400 about the context length
bad_request        never  any other 4xx
auth               never  401, 403 (or a 400 that speaks of the key); a single 403 after answers is `blocked`
model_unavailable  never  404, 410, or a 400/403 that says the model is not there
wrong_url          never  404 or 405 that knows no such path (a web page, "Not Found"): nothing answers at base_url
blocked            never  451, or a 400/403 that speaks of moderation, safety or policy: this prompt only; once where
                          it is a 403 without such words to a key that has worked
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
import functools
import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from tempzero.types.recorded import FaultKind, Outcome, OutcomeKind, Retry

# Whoever meets one of these meets it with every further request to this provider.
PERMANENT_FAULTS: frozenset[OutcomeKind] = frozenset(
    {"auth", "quota", "model_unavailable", "wrong_url", "tls", "redirect"}
)

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
    r"guardrail|usage (guideline|polic)|acceptable use|\bsafety\b|content exists risk|unsafe or sensitive|"
    r"inappropriate content|"
    r"(?<!data )(?<!iam )(?<!based )(?<!access )(?<!privacy )(?<!organization )\bpolic(y|ies)\b"
)
# What the model wrote did not pass the host's own check: its call of a tool, its JSON.
_GENERATION_WORDS = re.compile(r"tool_use_failed|json_validate_failed|see 'failed_generation'")
_ROLE_WORDS = re.compile(
    r"\broles?\b.{0,40}(not (support|allow|enabl|permit|accept)|unsupported|must alternate|invalid value|unknown var)|"
    r"(unsupported|invalid|unknown|unrecognized|unexpected).{0,20}\brole\b|"
    r"\b(system|developer) (message|instruction|prompt)s?\b.{0,40}(not (support|allow|enabl|permit|accept)|unsupported)"
)
_RENAMED_WORDS = re.compile(
    r"(use|with|of|to|mean|by|instead:?) [`'\"]?max_completion_tokens\b|[`'\"]?max_completion_tokens[`'\"]? instead"
)
_SMALLEST_LIMIT_WORDS = re.compile(
    r"max_?(?:completion_|output_|new_)?tokens.{0,80}?"
    r"(?:at least|>=?|≥|minimum(?: value)?(?: (?:is|of))?|greater than(?: or equal to)?|larger than)[ :]*\(?(\d{1,4})\b"
)
# Models that think refuse a limit that their reasoning has used up, and do not say how many tokens it takes.
_LIMIT_SPENT_WORDS = re.compile(r"could not finish the message because max_tokens|higher max_(completion_)?tokens")
# A server that knows no such path says so in a page, or in these words and no others.
_NO_PATH_WORDS = re.compile(
    r"invalid url|no (such )?route|unknown (request )?(url|path|endpoint|route)|unrecognized request url|cannot post|"
    r"(route|path|endpoint|page|url)\b.{0,80}not (be )?found|requested url|no handler found|"
    r"^\W*(4\d\d|error|not[ _]?found(_?error)?|resource not found|method not allowed|invalid_request_error|\W)+$"
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

    `accepted_models` are other names that may answer for `asked_model`. `asked_max_tokens` None: no limit is known.
    `asked_text` is what was asked, for whatever an answer may hold only because the request does.
    `withheld`: the body spelled out a secret, and an empty one stands in its place. `surplus`: bytes came behind
    the end of the response.
    """

    asked_model: str
    status: int | None
    headers: Mapping[str, str]
    body: bytes
    broken: Break | None
    accepted_models: tuple[str, ...] = ()
    asked_max_tokens: int | None = None
    asked_text: str = ""
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
    in_json: bool = True

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
    kind, retry = _classify_status(status, complaint)
    outcome = missing_outcome(kind, f"HTTP {status} {complaint.line}", retry)
    return replace(outcome, retry_after_s=_read_retry_after_s(headers)) if retry != "never" else outcome


def outcome_of_inband_error(error: Any, headers: Mapping[str, str]) -> Outcome:
    """The outcome of an error inside a 2xx: never an answer, whatever stands beside it."""
    complaint = to_complaint(error)
    words = complaint.words
    retry: Retry = "once"
    if complaint.status is not None:
        retry = _classify_status(complaint.status, complaint)[1]
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
        if key in ("message", "detail", "msg", "error", "raw", "failed_generation", ""):
            messages.append(str(value))
        elif key in ("code", "status") and re.fullmatch("[45][0-9]{2}", str(value)):
            status = int(value) if status is None else status
        elif key in ("code", "type", "status", "param", "error_type", "reason") or (key == "loc" and value != "body"):
            codes.append(str(value))
    return Complaint(codes=" ".join(codes), message="; ".join(messages), status=status)


def _error_leaves(value: Any, depth: int, key: str = "", *, spelled: bool = False) -> Iterator[tuple[str, str | int]]:
    """(key, text or number) pairs of an error value; a hostile one is neither deep nor wide enough to matter.

    A text that spells out JSON, as routers pass on the error of their upstream, is read like the rest, once.
    """
    if isinstance(value, dict) and depth < 4:
        for name, inner in list(value.items())[:20]:
            yield from _error_leaves(inner, depth + 1, str(name), spelled=spelled)
    elif isinstance(value, list) and depth < 4:
        for inner in value[:5]:
            yield from _error_leaves(inner, depth + 1, key, spelled=spelled)
    elif isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        inside = None if spelled or key == "failed_generation" else _parse_spelled_json(value)
        if inside is None:
            yield key, value
        else:
            yield from _error_leaves(inside, 0, key, spelled=True)


def _parse_spelled_json(text: str | int) -> dict[str, Any] | list[Any] | None:
    """The object or list that a text spells out; None where it is another text."""
    if not isinstance(text, str) or text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _parse_complaint(body: bytes, headers: Mapping[str, str]) -> Complaint:
    try:
        value = json.loads(body.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        shown = headers.get("content-type", "no content type").split(";")[0]
        return Complaint(codes="", message=f"({len(body)} bytes of {shown}, not JSON)", status=None, in_json=False)
    return to_complaint(value)


def _classify_status(status: int, complaint: Complaint) -> tuple[FaultKind, Retry]:
    words = complaint.words
    if 300 <= status < 400:
        return "redirect", "never"
    if status == 400 and _GENERATION_WORDS.search(words):
        return "generation_failed", "never"
    if status not in (401, 402, 403, 429):
        if _ROLE_WORDS.search(words):
            return "role_refused", "never"
        if _NO_TOOLS_WORDS.search(words):
            return "unsupported_param", "never"
    if status >= 500 or status in (408, 409, 424, 425, 498):
        return "server", "yes"
    if status == 402 or (status != 401 and _QUOTA_WORDS.search(words)):
        return "quota", "never"
    if status == 429:
        return "rate_limited", "yes"
    if status in (404, 405) and _knows_no_path(complaint):
        return "wrong_url", "never"
    return _classify_refusal(status, words), "never"


def _knows_no_path(complaint: Complaint) -> bool:
    words = complaint.words
    return not _MODEL_WORDS.search(words) and bool(not complaint.in_json or _NO_PATH_WORDS.search(words))


def _classify_refusal(status: int, words: str) -> FaultKind:
    """4xx that a repetition does not change. Providers disagree on numbers, so the words count too."""
    if status in _KIND_BY_STATUS:
        return _KIND_BY_STATUS[status]
    if _MODEL_WORDS.search(words):
        return "model_unavailable"
    if status != 403 and _RENAMED_WORDS.search(words):
        return "param_renamed"
    if _BLOCKED_WORDS.search(words):
        return "blocked"
    if status == 403:
        return "auth"
    if (find_smallest_limit(words) or 0) > 1 or _LIMIT_SPENT_WORDS.search(words):
        return "limit_too_small"
    return next((kind for kind, pattern in _KIND_BY_WORDS if pattern.search(words)), "bad_request")


def find_smallest_limit(words: str) -> int | None:
    """The least number of tokens that a refusal says a limit may be; None where it says none."""
    found = _SMALLEST_LIMIT_WORDS.search(words.lower())
    return int(found[1]) if found else None


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


@functools.lru_cache(maxsize=256)  # answers of one second share their date, and each is looked at more than once
def parse_http_date_s(text: str) -> float | None:
    """An HTTP date as seconds since the epoch."""
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
