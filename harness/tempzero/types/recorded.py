"""What came back: exchanges, attempts, records, and what a run folder says of itself, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tempzero.types.asked import Skipped, Suite, ToolCall, Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class WireRequest:
    """The exact request. `url` carries no secret; `headers` are kept by allow-list.

    In-process engines write the canonical JSON of what they were asked as `body`
    and `local:<engine>` as `url`, so that every record has one shape.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WireResponse:
    """The exact response bytes: `body` where they are UTF-8, else `body_base64`.

    `size_bytes` and `sha256` are of the bytes received (flag `key_redacted`: of the bytes kept,
    a provider had echoed the API key); `complete` is False where the body was cut (byte cap,
    reset, deadline). `status` is 0 for in-process engines.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str | None
    body_base64: str | None
    sha256: str
    size_bytes: int
    complete: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """`started_at` is wall-clock UTC (ISO 8601); seconds are monotonic, from sending on.

    `first_content_s` is when the first of the model's own text had come: known of event streams only.
    `in_flight` counts the requests of the same lane under way when this one started,
    itself included: the load this client put on the provider. Imported records leave what the
    other tool did not write down unknown: an empty `started_at`, None seconds, 0 in flight.
    """

    started_at: str
    first_byte_s: float | None
    end_s: float | None
    in_flight: int
    first_content_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """The model output as the provider gave it, by parts: text, reasoning, tool calls, refusal.

    `text` is "" where there is none. `reasoning_text` and `refusal` None: the provider shows none. `completion_tokens`
    and `total_tokens` are as the provider counts them; what was generated is `output_tokens`.
    """

    text: str
    reasoning_text: str | None = None
    finish_reason: str | None = None
    served_model: str | None = None
    backend: str | None = None
    fingerprint: str | None = None
    response_id: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    token_ids: tuple[int, ...] | None = None
    # SHA-256 over the float32 logits of every generated position; in-process engines only.
    logits_sha256: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    total_tokens: int | None = None

    @property
    def output_tokens(self) -> int | None:
        """Every token that was generated and is paid for, reasoning counted outside `completion_tokens` included."""
        said, thought = self.completion_tokens, self.reasoning_tokens or 0
        if self.total_tokens is None or self.prompt_tokens is None:
            return said + thought if said is not None and thought > said else said
        return max(self.total_tokens - self.prompt_tokens, said or 0)


IdentityLabel = Literal["served_model", "backend", "fingerprint"]
"""What a response says of who made it."""
IDENTITY_LABELS: tuple[IdentityLabel, ...] = ("served_model", "backend", "fingerprint")

Status = Literal["valid", "censored", "missing", "excluded"]
"""valid: a complete text. censored: real output, cut. missing: no output. excluded: a replayed answer."""
ANSWERED: tuple[Status, ...] = ("valid", "censored")
"""With output of the model to look at."""

Retry = Literal["never", "once", "yes"]

FaultKind = Literal[
    "rate_limited",
    "quota",
    "server",
    "unsupported_param",
    "param_renamed",
    "limit_too_small",
    "role_refused",
    "generation_failed",
    "prompt_too_long",
    "bad_request",
    "auth",
    "model_unavailable",
    "wrong_url",
    "blocked",
    "redirect",
    "network",
    "tls",
    "timeout",
    "stalled",
    "interrupted",
    "too_large",
    "inband_error",
    "withheld",
    "empty_body",
    "not_json",
    "truncated_stream",
    "malformed",
    "no_choices",
    "schema",
    "encoding",
    "reference",
    "empty_prompt",
    "not_attempted",
    "not_recorded",
    "unpinned",
    "failed",
]
"""Why there is no answer: the catalogue of `engines.hosted.fault_catalogue`. failed: another tool says no more."""

OutcomeKind = (
    FaultKind
    | Literal["complete", "empty"]  # valid; an empty text that another tool recorded is missing
    | Literal["length", "content_filter", "refusal"]  # censored; refusal: by the words of an imported text
    | Literal["cached"]  # excluded
)
"""How an attempt ended. Kinds stand in records: one may be added, none renamed."""

Flag = Literal[
    "json_for_stream",
    "stream_for_json",
    "no_done",
    "broken_after_done",
    "events_after_done",
    "suspicious_stream",
    "output_after_finish",
    "piece_sent_twice",
    "id_changed_within",
    "model_changed_within",
    "finish_reason_changed",
    "message_for_delta",
    "tool_index_missing",
    "key_redacted",
    "bytes_after_end",
    "encoding_untrue",
    "metadata_encoding",
    "several_choices",
    "content_parts",
    "parts_unread",
    "think_block_open",
    "think_block_unopened",
    "template_leak",
    "limit_unsaid",
    "limit_spent_on_reasoning",
    "max_tokens_not_held",
    "limit_counted_otherwise",
    "limit_without_reasoning",
    "reasoning_billed_apart",
    "finish_reason_missing",
    "finish_reason_unknown",
    "unexpected_tool_call",
    "tool_call_missing",
    "tool_arguments_object",
    "usage_missing",
    "usage_implausible",
    "model_missing",
    "model_alias",
    "model_mismatch",
    "suspected_cache",
    "upstream_fallback",
    "prompt_mismatch",
    "response_id_reused",
    "backend_switched",
    "fingerprint_changed",
    "clock_skew",
    "refusal_by_wording",
]
"""What is odd about a usable answer; `flag_table` says what each means. Flags stand in records: one may be
added, none renamed."""


CLOCK_SKEW: Flag = "clock_skew"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How one attempt ended.

    `kind` names it finer than `status`. `detail` is one human line without secrets. `flags` mark what is odd about a
    usable answer. `retry` is the rule for this fault; `retry_after_s` is what the provider asked for.
    """

    status: Status
    kind: OutcomeKind
    detail: str = ""
    flags: tuple[Flag, ...] = ()
    retry: Retry = "never"
    retry_after_s: float | None = None
    completion: Completion | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """One request and what came of it: what an engine returns, failure or not."""

    request: WireRequest
    response: WireResponse | None
    times: Times
    outcome: Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One exchange of a trial; `number` counts from 1 over the life of the run, resumes included."""

    trial: Trial
    number: int
    block: int
    exchange: Exchange


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One line of the records: an attempt with its place in the hash chain.

    `previous` is the SHA-256 of the preceding line's bytes (without newline);
    for the first line, of the plan digest.
    """

    seq: int
    previous: str
    attempt: Attempt


class RecordView(Protocol):
    """A record without its bytes: what analysis needs of a line, a tenth of its size."""

    @property
    def trial(self) -> Trial: ...

    @property
    def number(self) -> int: ...

    @property
    def block(self) -> int: ...

    @property
    def request_sha256(self) -> str: ...

    @property
    def times(self) -> Times: ...

    @property
    def outcome(self) -> Outcome: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """Why something was not asked to the end: one provider, or (`provider` None) the whole session."""

    provider: str | None
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One sitting of collecting: a run that was interrupted and resumed has several.

    `endings` say why trials were left unasked in it.
    """

    started_at: str
    ended_at: str | None
    records: int
    head: str | None
    torn_tail: str | None = None
    endings: tuple[Ending, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Seal:
    """How many lines a finished session left in a file, and the hash of the last one."""

    lines: int
    head: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a run folder says of itself; self-contained and free of secrets.

    `config` is the resolved providers.yaml as JSON values (see `config.Config`), `engines` what
    each engine says of itself by provider name, `versions` and `host` where it ran. `notes` are
    lines a reader of the figures must know, e.g. what an import left out. `scores` seals the scores of format 1.
    """

    format: int
    run_id: str
    created_at: str
    config: Mapping[str, Any]
    suite: Suite
    plan_digest: str
    plan_seed: int
    skipped: tuple[Skipped, ...]
    versions: Mapping[str, str]
    host: Mapping[str, Any]
    engines: Mapping[str, Mapping[str, Any]]
    sessions: tuple[Session, ...] = ()
    scores: Seal | None = None
    notes: tuple[str, ...] = ()
