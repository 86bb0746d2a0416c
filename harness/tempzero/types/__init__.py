"""The nouns every room shares: frozen, keyword-only values without behaviour, I/O or policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# --- what is asked ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """A call of a tool as a model wrote it. `arguments` is its text, JSON or not; `id` ties a tool's answer to it."""

    name: str
    arguments: str
    id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One chat message; an empty `content` is a real, different prompt from an absent message.

    `tool_calls` stand in an assistant's message, `tool_call_id` in a tool's: which call it answers.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractorSpec:
    """Which extractor reads the answer, with its arguments (a JSON field's name, a pattern)."""

    name: str
    args: Mapping[str, str] = field(default_factory=dict)


SuiteName = Literal["quick", "standard", "deep"]
"""How much is asked: `quick` is part of `standard`, and `deep` is every prompt there is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """One question of a suite. `max_tokens` None means the provider's own limit applies.

    `tools` and `tool_choice` go on the wire as they stand here, in the form of the Chat Completions API.
    """

    id: str
    messages: tuple[Message, ...]
    family: str
    extractor: ExtractorSpec | None = None
    expected: str | None = None
    max_tokens: int | None = None
    tags: tuple[str, ...] = ()
    suite: SuiteName = "deep"
    """The smallest suite that asks it; every larger one asks it too."""
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    margin: float | None = None
    """Of a prompt found by a search: logits between its reference's two best tokens where they are closest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """The prompts of a run and the SHA-256 over their exact messages and parameters."""

    prompts: tuple[Prompt, ...]
    digest: str
    name: SuiteName | None = None
    """None: prompts picked in some other way (one file, a tag, a limit, another tool's records)."""
    version: int | None = None
    """Of the frozen suite: under one name and version it never changes. None: it was not frozen."""
    remarks: tuple[str, ...] = ()
    """What makes a right answer change with day, place or reader, by file and line."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Trial:
    """The primary key everywhere. `repeat` counts from 0; a retry never makes a new repeat."""

    provider: str
    prompt: str
    condition: str
    repeat: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """The sampling fields that go on the wire. None means: leave the field out of the request."""

    temperature: float | None
    top_p: float | None
    seed: int | None
    max_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """Everything an engine needs to ask one trial once. `stream` None: as the provider's own settings say."""

    trial: Trial
    messages: tuple[Message, ...]
    sampling: Sampling
    stream: bool | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None


# --- what came back --------------------------------------------------------------------------


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
    """The model output as the provider gave it. Null stays None; reasoning and tool calls are kept apart."""

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


Status = Literal["valid", "censored", "missing", "excluded"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How one attempt ended.

    `status`: valid (complete text) | censored (real output, cut) | missing (no output) |
    excluded (a replayed answer). `kind` names it finer: `complete`, `empty`, `length`,
    `content_filter`, `rate_limited`, `server`, `timeout`, `network`, `auth`, ... (the fault
    catalogue in `engines/faults.py`). `detail` is one human line without secrets. `flags` mark what is
    odd about a usable answer. `retry` is the rule for this fault; `retry_after_s` is what the
    provider asked for.
    """

    status: Status
    kind: str
    detail: str = ""
    flags: tuple[str, ...] = ()
    retry: Literal["never", "once", "yes"] = "never"
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
    """One line of records.jsonl: an attempt with its place in the hash chain.

    `previous` is the SHA-256 of the preceding line's bytes (without newline);
    for the first line, of the plan digest.
    """

    seq: int
    previous: str
    attempt: Attempt


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordView:
    """A record without its bytes: what analysis needs of a line, a tenth of its size."""

    trial: Trial
    number: int
    block: int
    request_sha256: str
    times: Times
    outcome: Outcome


# --- the plan and the manifest ---------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedTrial:
    """A trial with its block: all trials of one block ask the same prompt at about the same time.

    `prompt_tokens` is an upper estimate.
    """

    trial: Trial
    block: int
    max_tokens: int
    prompt_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderEstimate:
    """Upper bounds for one provider; tokens are estimated at 3 characters each, cost in USD."""

    provider: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FamilyEstimate:
    """The same upper bounds for the prompts of one family, over all providers, conditions and repeats.

    `cost_usd` is that of the providers with a price; None where there is none.
    """

    family: str
    prompts: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """Prompts that a provider is not asked, because its context cannot hold them."""

    provider: str
    context: int
    prompts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A configured provider that takes no part in this run, and why."""

    provider: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What will be asked, in order. The digest covers order, prompts and sampling."""

    trials: tuple[PlannedTrial, ...]
    seed: int
    digest: str
    estimates: tuple[ProviderEstimate, ...]
    skipped: tuple[Skipped, ...]
    families: tuple[FamilyEstimate, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


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
    lines a reader of the figures must know, e.g. what an import left out. `scores` seals scores.jsonl.
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


# --- what the reference reads ----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Penalty:
    """A repetition rule applied to logits before the choice, as serving engines define them.

    `kind` repetition divides positive logits of tokens already in the window by `strength` and
    multiplies negative ones; frequency subtracts `strength` for each occurrence, presence once.
    `window`: the tokens that count: `all` (prompt and response), `last_64` of them, `response`.
    """

    kind: Literal["repetition", "frequency", "presence"]
    window: Literal["all", "last_64", "response"]
    strength: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """Who read the responses of one claimed model, and the grids its sums are given on.

    `engine` is what the reading engine says of itself. `exact` is False where only the most likely
    tokens were visible (an endpoint's `prompt_logprobs`): there the sums over grids are absent.
    """

    reference: str
    claimed_model: str
    engine: Mapping[str, Any]
    vocabulary: int
    exact: bool
    temperatures: tuple[float, ...]
    noises: tuple[float, ...]
    penalties: tuple[Penalty, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenScores:
    """One value for each token of a response, under the reference, in the response's own context.

    A response that ended by itself has the token that ends the turn as its last one. `ends[i]` is
    how many characters of the response's text stand complete after token i. `margin` is the largest
    logit minus this token's (0 where the reference agrees), `gap` largest minus second largest
    logit, `rank` counts from 1, `seen` is 1 where the reference's choice already stood in the
    prompt or response. `instead` are the texts of the reference's choices where they differ from the tokens, in order
    (empty for one that adds no text: the end of the turn).
    """

    token_ids: tuple[int, ...]
    ends: tuple[int, ...]
    argmax: tuple[int, ...]
    margin: tuple[float, ...]
    logprob: tuple[float, ...]
    rank: tuple[int, ...]
    gap: tuple[float, ...]
    seen: tuple[int, ...]
    instead: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodingSums:
    """How likely a response's tokens are under ways of decoding: sums over its tokens, in nats.

    `sampled[i]`: log-likelihood of sampling at `Reader.temperatures[i]`; `rounded[i]`: of greedy decoding from
    logits with Gaussian noise of scale `Reader.noises[i]` (see `metrics.decoding`). `penalised[i]`: how many tokens
    are the greedy choice under `Reader.penalties[i]`.
    """

    sampled: tuple[float, ...]
    rounded: tuple[float, ...]
    penalised: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredResponse:
    """A response as the reference reads it (teacher forcing): one line of scores.jsonl.

    `record_sha256` is the hash of the line of records.jsonl it was read from. `prompt_tokens` is the
    reference's own count. `tokens_from`: the provider's token ids, or the text tokenized again;
    `round_trip` says whether the ids give exactly the text back; `settled` counts the places where a text could be cut
    into tokens in two ways and the way that the reference finds likelier was taken. A response with the same prompt and
    tokens as an earlier one has the same scores: it names that one in `same_as` and leaves `scores` out.
    """

    trial: Trial
    number: int
    record_sha256: str
    reference: str
    prompt_tokens: int
    tokens_from: Literal["provider", "text"]
    round_trip: bool
    settled: int
    ended: bool
    same_as: Trial | None
    scores: TokenScores | None
    sums: DecodingSums | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Unread:
    """A usable response that the reference could not read, and why."""

    trial: Trial
    number: int
    record_sha256: str
    reference: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FormReading:
    """The same response read by another form of the reference's own model, against the plain reading.

    `honest` forms compute the same weights another way (threads, batch, 16 bits): the noise floor.
    The others are coarser weights or caches: profiles to compare providers with. One value for each
    token: `gap_change` is |gap there - gap here| of the plain reading's two best tokens, `margin` the
    plain reading's margin of the token that the form would choose (0: the same one). `rounded` and
    `sampled` are the sums of `DecodingSums` for the form's choices.
    """

    reference: str
    form: str
    honest: bool
    trial: Trial
    gap_change: tuple[float, ...]
    margin: tuple[float, ...]
    rounded: tuple[float, ...]
    sampled: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantReading:
    """A response read behind another rendering of its prompt (template, system message): does it fit better?

    Sums over the response's tokens: `hits` of the reference's choice, and their log-likelihood `logprob`
    at temperature 1, here and (`plain_*`) behind the prompt as it was sent.
    """

    reference: str
    variant: str
    trial: Trial
    prompt_tokens: int
    tokens: int
    hits: int
    logprob: float
    plain_hits: int
    plain_logprob: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreLine:
    """One line of scores.jsonl with its place in the hash chain; exactly one of the others is not None."""

    seq: int
    previous: str
    reader: Reader | None = None
    scored: ScoredResponse | None = None
    unread: Unread | None = None
    form: FormReading | None = None
    variant: VariantReading | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """All of scores.jsonl that is still about the records: what attribution works on."""

    readers: tuple[Reader, ...] = ()
    scored: tuple[ScoredResponse, ...] = ()
    unread: tuple[Unread, ...] = ()
    forms: tuple[FormReading, ...] = ()
    variants: tuple[VariantReading, ...] = ()


# --- what had to be tried out ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What an answer came to that reading alone could not tell: one line of judged.jsonl, with its place in the chain.

    It is about a text (`text_sha256`) as an answer to a prompt; `asked_sha256` is of the prompt's extractor with
    its version and arguments and of the expected answer. `answer` None: it could not be read after all.
    """

    seq: int
    previous: str
    prompt: str
    asked_sha256: str
    text_sha256: str
    answer: str | None
    correct: bool | None
    detail: str


# --- what is concluded -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A value with its interval and the number of independent units (prompts unless said).

    All three numbers are None where the figure is undefined; `low` and `high` are None
    where `n` is too small for an interval. `method` names the interval.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    method: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One number of the analysis: a row of the tidy frame, of summary.json and of the tables.

    `kind`: coverage | repeat | cross | reference | scored | repetition | answers | identity | speed | cost.
    `left` is the provider the figure speaks of, `right` whom it is compared with (None: nobody).
    `family` None means all prompts. `k` is the number of repeats the figure is defined for.
    """

    kind: str
    metric: str
    left: str
    right: str | None
    condition: str
    family: str | None
    k: int | None
    estimate: Estimate
    unit: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A statement the data support, with the trials that prove it.

    `rule`: nondeterministic | differs | deviates_from_reference | prompt_tokens_differ |
    identity_changed | low_coverage | answers_differ | repeats_more | ...
    `p_value` is after Holm's correction where a test backs the rule.
    """

    rule: str
    subject: str
    other: str | None
    message: str
    estimate: Estimate | None
    p_value: float | None
    evidence: tuple[Trial, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SurvivalCurve:
    """Share of response pairs still identical after `positions[i]` characters (METRICS A, Div_Index).

    `kind` repeat (right is None) or cross. Identical pairs are censored at their length: they
    never leave the curve, which therefore ends at the share of identical pairs.
    """

    kind: str
    left: str
    right: str | None
    condition: str
    positions: tuple[int, ...]
    shares: tuple[float, ...]
    pairs: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Divergence:
    """Two responses to one prompt that differ, and the first character at which they do."""

    prompt: str
    left: Trial
    right: Trial
    left_text: str
    right_text: str
    at_char: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptRow:
    """One provider on one prompt: counts of outcomes, distinct texts, and agreement.

    `emr` is None below two valid responses; `match_reference` is the cross-EMR with the
    reference; `answers` the distinct parsed answers with their counts (None: unparsed).
    """

    prompt: str
    family: str
    provider: str
    condition: str
    planned: int
    valid: int
    censored: int
    missing: int
    distinct: int
    modal_share: float | None
    emr: float | None
    match_reference: float | None
    expected: str | None
    answers: tuple[tuple[str | None, int], ...]
    modal_text: str | None
    mean_chars: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderFacts:
    """Who was compared, as the run recorded it: what a report's head shows of one provider."""

    name: str
    model: str
    claimed_model: str
    claimed_precision: str | None
    is_reference: bool
    engine: str
    concurrency: int
    repeats: int
    temperature: float | None
    pinned: bool


# --- what the reference's reading says -------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class FormScale:
    """Another form of the reference's own model: how much rounding its choices show, by maximum likelihood."""

    form: str
    honest: bool
    tokens: int
    match: float
    scale: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseFloor:
    """How far the reference itself may be trusted.

    `epsilon` bounds what another honest computation does to a logit (METRICS F), seen over `tokens` tokens of
    honest forms; `scale` is the largest rounding scale among those, by the changes of gaps; both are None
    where none was read.
    Of the reference's own `own_tokens` generated tokens `own_misses` are not what it chooses when it reads them;
    `own_unexplained` of those are no near-ties.
    """

    reference: str
    epsilon: float | None
    tokens: int
    scale: Estimate | None
    forms: tuple[FormScale, ...]
    own_tokens: int
    own_misses: int
    own_unexplained: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MarginProfile:
    """Share of tokens whose margin is at least `at[i]`: of a provider, or of a form of the reference's own model."""

    reference: str
    who: str
    condition: str | None
    kind: Literal["provider", "honest", "coarser"]
    tokens: int
    at: tuple[float, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """A cause that was looked for in one provider's tokens, and how strongly they speak for it.

    `cause`: faithful | coarser | sampled | penalty | other_prompt | other_model | mixture | cut_short |
    not_faithful (ruled out, by a cause that stays open) | unknown.
    `strength`: shown (rules out the others by a calibrated rule) | likely | undecided. `estimate` is the
    cause's own size: a rounding scale in logits, a temperature, a penalty, a share of the responses.
    """

    reference: str
    provider: str
    condition: str
    cause: str
    strength: Literal["shown", "likely", "undecided"]
    message: str
    estimate: Estimate | None
    evidence: tuple[Trial, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where one token stands among all that could have come at its place."""

    text: str
    margin: float
    rank: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PairCause:
    """Two responses to one prompt at their first different token, `gap` there the distance of the two best.

    near-tie: they are the two best, and rounding may turn them; unread: `reason` says what is missing.
    """

    reference: str
    left: Trial
    right: Trial
    verdict: Literal["near-tie", "unexplained", "unread"]
    at_token: int | None = None
    gap: float | None = None
    left_token: Standing | None = None
    right_token: Standing | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Partings:
    """How often the distinct texts of one provider (`right` None) or of two part in a near-tie, and how often not."""

    reference: str
    kind: Literal["repeat", "cross", "reference"]
    left: str
    right: str | None
    condition: str
    near_tie: int
    unexplained: int
    unread: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadToken:
    """One token of a shown text; `instead` is what the reference would have said, None where the same."""

    text: str
    margin: float
    rank: int
    instead: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadText:
    """A shown response, token by token."""

    reference: str
    trial: Trial
    tokens: tuple[ReadToken, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceReading:
    """What the references' reading of the responses says: the floor, profiles, diagnoses, and where texts part."""

    floors: tuple[NoiseFloor, ...]
    profiles: tuple[MarginProfile, ...]
    diagnoses: tuple[Diagnosis, ...]
    pairs: tuple[PairCause, ...]
    partings: tuple[Partings, ...]
    texts: tuple[ReadText, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class UnreadAnswers:
    """How many of a provider's whole answers one extractor could not read; `waiting` ones were not tried out yet.

    `share` is a mean over the prompts whose answers are all judged.
    """

    extractor: str
    version: int
    provider: str
    condition: str
    answers: int
    unparsed: int
    waiting: int
    share: Estimate


# --- everything at once ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """Everything a report needs, computed once. Pure: same run folder, same value."""

    run_id: str
    created_at: str
    suite_digest: str
    plan_digest: str
    versions: Mapping[str, str]
    host: Mapping[str, Any]
    providers: tuple[ProviderFacts, ...]
    references: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    prompts: int
    records: int
    figures: tuple[Figure, ...]
    failures: tuple[tuple[str, str, int], ...]
    findings: tuple[Finding, ...]
    curves: tuple[SurvivalCurve, ...]
    divergences: tuple[Divergence, ...]
    prompt_rows: tuple[PromptRow, ...]
    notes: tuple[str, ...]
    # Why the last session left trials unasked.
    endings: tuple[Ending, ...] = ()
    reading: ReferenceReading | None = None
    unread_answers: tuple[UnreadAnswers, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderVerdict:
    """pass | finding | inconclusive for one provider, with the reasons in plain words."""

    provider: str
    outcome: Literal["pass", "finding", "inconclusive"]
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The run's verdict: the worst of its providers' (finding > inconclusive > pass)."""

    outcome: Literal["pass", "finding", "inconclusive"]
    providers: tuple[ProviderVerdict, ...]
