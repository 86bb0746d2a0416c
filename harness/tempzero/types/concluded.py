"""What is concluded: figures, findings, diagnoses, verdicts, as frozen values without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tempzero.types.asked import Skipped, Trial
from tempzero.types.recorded import Ending, Flag, OutcomeKind
from tempzero.types.vocabulary import (
    CauseName,
    ClaimState,
    FingerprintState,
    KindName,
    MetricName,
    NameStanding,
    PairKind,
    PartName,
    RuleName,
    Strength,
    Unit,
    VerdictOutcome,
    Vocabulary,
)


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


LEADING_SHARE = 0.8
"""Of a metric at several k that at the largest k leads which this share of the prompts has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One number of the analysis: a row of the tidy frame, of summary.json and of the tables.

    `left` is the provider the figure speaks of, `right` whom it is compared with (None: nobody; of kind conditions the
    other condition). `family` None means all prompts. `k` is the number of repeats the figure is defined for, `part`
    what of the answers it compares.
    """

    kind: KindName
    metric: MetricName
    left: str
    right: str | None
    condition: str
    family: str | None
    k: int | None
    estimate: Estimate
    unit: Unit
    part: PartName = "whole"


FindingWeight = Literal["accuses", "about_set", "note"]
FloorBasis = Literal["measured", "profile", "default"]
"""measured: on a host of the run that is named as honest. profile: shipped for the model's family. default: neither."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A statement the data support, with the trials that prove it.

    `p_value` is after the correction for the number of tests where a test backs the rule. `weight` says whom it counts
    against: its subject, the set of providers as a whole (`subject` is then the claimed model), or nobody.
    """

    rule: RuleName
    subject: str
    other: str | None
    message: str
    estimate: Estimate | None
    p_value: float | None
    evidence: tuple[Trial, ...]
    weight: FindingWeight = "accuses"


LevelName = Literal["identical", "rounding", "declared", "undecided", "beyond", "unread"]
"""How a provider stands to its reference: nothing differs; the same up to an honest 16-bit host's rounding; rounded as
the coarser weights that it declares; too little was read to say so; more than rounding; texts differ, and nobody read
by how much."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """How one provider stands to its reference, in words and figures.

    `prompts` were compared, and on `differ` of them the texts differ. Of `tokens` that were read `missed` are not the
    reference's choice. `scale` is the likeliest size of its rounding, `allowed` what an honest host's may be, `basis`
    where that is from; `more_tokens` is about how many would have to be read to decide. `standing` is of the precision
    that the provider declares, and `because` says why; None where nothing was read.
    """

    provider: str
    condition: str
    reference: str
    name: LevelName
    message: str
    prompts: int
    differ: int
    tokens: int = 0
    missed: int = 0
    largest_margin: float | None = None
    scale: Estimate | None = None
    allowed: float | None = None
    basis: FloorBasis | None = None
    more_tokens: int | None = None
    standing: ClaimState | None = None
    because: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Camps:
    """The endpoints of one claimed model under one condition that no reference decides: who answers alike.

    Members of one camp cannot be told apart, the largest camp comes first. `odd` differ from every member of a camp
    that holds more than half of the endpoints. `declared` is about how many bits they all declare, where that is less
    than 16.
    """

    claimed_model: str
    condition: str
    camps: tuple[tuple[str, ...], ...]
    odd: tuple[str, ...]
    pairs: int
    alpha: float
    declared: str = ""

    @property
    def title(self) -> str:
        """The model, and what of its precision they declare."""
        return f"{self.claimed_model}, declared {self.declared}" if self.declared else self.claimed_model

    @property
    def endpoints(self) -> int:
        return sum(map(len, self.camps))


@dataclass(frozen=True, kw_only=True, slots=True)
class CallCounts:
    """What vendor verifiers count of one file of requests with tools: responses by finish reason, and calls by schema.

    `others` names the other reasons with their counts. `calls_valid` of the responses that end in calls hold calls that
    all fit a tool that was offered.
    """

    provider: str
    condition: str
    family: str
    answered: int
    failed: int
    finish_stop: int
    finish_tool_calls: int
    finish_others: int
    others: str
    calls_valid: int
    calls_invalid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversationRounds:
    """How far conversations go the same way: of a provider's own repeats (`right` None), or of two sides.

    `shares[i]` is the share of pairs whose answers are the same up to round i + 1, mean over conversations; `floors`
    the same of each side's own repeats. `first_round` is the earliest in which any pair parts, None where none does.
    `p_value`: whole conversations exchanged between the sides, within each conversation of the suite.
    """

    left: str
    right: str | None
    condition: str
    kind: PairKind
    conversations: int
    shares: tuple[float | None, ...]
    first_round: int | None
    first_conversation: str | None
    floors: tuple[float | None, ...] = ()
    p_value: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SurvivalCurve:
    """Share of response pairs still identical after `positions[i]` characters (docs/methods.md, A: first difference).

    `right` is None where `kind` is repeat. Identical pairs are censored at their length: they
    never leave the curve, which therefore ends at the share of identical pairs.
    """

    kind: PairKind
    left: str
    right: str | None
    condition: str
    positions: tuple[int, ...]
    shares: tuple[float, ...]
    pairs: int
    part: PartName = "whole"


@dataclass(frozen=True, kw_only=True, slots=True)
class Divergence:
    """Two responses to one prompt that differ, the first part in which they do, and its first different character."""

    prompt: str
    left: Trial
    right: Trial
    left_text: str
    right_text: str
    at_char: int
    part: PartName = "text"


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
class AskedPart:
    """One message of a prompt as text, or the tools that it offers; `role` says which."""

    role: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedPrompt:
    """A prompt's wording. `answers` is how many distinct ones it has, of which the commonest are kept."""

    prompt: str
    family: str
    expected: str | None
    parts: tuple[AskedPart, ...]
    answers: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerCount:
    """How often one provider gave an answer."""

    provider: str
    condition: str
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DistinctAnswer:
    """One distinct answer to a prompt, part by part, and who gave it how often; `trial` is the earliest that did.

    `correct` is None where the prompt expects nothing, `parsed` where no answer could be read.
    """

    prompt: str
    reasoning: str
    text: str
    calls: str
    refusal: str
    cut: bool
    parsed: str | None
    correct: bool | None
    given: tuple[AnswerCount, ...]
    trial: Trial

    @property
    def count(self) -> int:
        return sum(one.count for one in self.given)


IMPORTED = "imported"
"""The engine of providers whose records another tool made: what these do not say is not known, rather than not sent."""


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

    `epsilon` bounds what another honest computation does to a logit (docs/methods.md, F), `scale` is how much honest
    16-bit hosts of this model round, or the reference's own honest forms, read over `tokens` tokens, if that is more.
    `basis` says whether that was measured, is shipped for the model's family, or (default) assumed, and `source` where.
    Of the reference's own `own_tokens` generated tokens `own_misses` are not what it chooses when it reads them;
    `own_unexplained` of those are no near-ties.
    """

    reference: str
    basis: FloorBasis
    source: str
    epsilon: float
    tokens: int
    scale: Estimate
    forms: tuple[FormScale, ...]
    own_tokens: int
    own_misses: int
    own_unexplained: int


ProfileKind = Literal["provider", "honest", "coarser"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MarginProfile:
    """Share of tokens whose margin is at least `at[i]`: of a provider, or of a form of the reference's own model."""

    reference: str
    who: str
    condition: str | None
    kind: ProfileKind
    tokens: int
    at: tuple[float, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """A cause that was looked for in one provider's tokens, and how strongly they speak for it.

    `estimate` is the cause's own size: a rounding scale in logits, a temperature, a penalty, a share of the responses.
    `forms` are those of the model's weights or cache that explain the tokens, by name.
    """

    reference: str
    provider: str
    condition: str
    cause: CauseName
    strength: Strength
    message: str
    estimate: Estimate | None
    evidence: tuple[Trial, ...]
    forms: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where one token stands among all that could have come at its place."""

    text: str
    margin: float
    rank: int


DivergenceVerdict = Literal["near-tie", "unexplained", "unread"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PairCause:
    """Two responses to one prompt at their first different token, `gap` there the distance of the two best.

    near-tie: they are the two best, and rounding may turn them; unread: `reason` says what is missing.
    """

    reference: str
    left: Trial
    right: Trial
    verdict: DivergenceVerdict
    at_token: int | None = None
    gap: float | None = None
    left_token: Standing | None = None
    right_token: Standing | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Partings:
    """How often the distinct texts of one provider (`right` None) or of two part in a near-tie, and how often not."""

    reference: str
    kind: PairKind
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


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadCount:
    """How many of a provider's usable responses a reference read; `reasons` count why it could not read the others."""

    reference: str
    provider: str
    condition: str
    read: int
    responses: int
    reasons: tuple[tuple[str, int], ...] = ()


FailureKind = OutcomeKind | Literal["not_asked"]


@dataclass(frozen=True, kw_only=True, slots=True)
class OutcomeCounts:
    """How the planned trials of a provider under one condition ended.

    `answered` counts valid and cut ones: that is coverage. Of those, `cut_at_limit` and `cut_otherwise` were cut,
    `spent_on_reasoning` at the limit before any text came, and `empty` are complete and empty.
    """

    provider: str
    condition: str
    planned: int
    answered: int
    cut_at_limit: int
    cut_otherwise: int
    spent_on_reasoning: int
    empty: int
    excluded: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedModel:
    """One name that answers gave of who made them, how it stands to the one asked for, and how many gave it.

    None: they gave none.
    """

    provider: str
    condition: str
    asked: str
    served_model: str | None
    standing: NameStanding | None
    backend: str | None
    answers: int
    fingerprints: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FlagCount:
    """How many responses of a provider carry one flag, of all that it was asked for, and the first of them."""

    provider: str
    condition: str
    flag: Flag
    count: int
    attempts: int
    trials: tuple[Trial, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FailureCount:
    """How often attempts of a provider failed in one way, on how many prompts, and in whose words: one of them."""

    provider: str
    kind: FailureKind
    count: int
    prompts: int
    said: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PrecisionReading:
    """What a provider's log-probabilities of first tokens say of its weights (docs/fingerprint.md).

    `forms` are those that are named, or that cannot be told apart, `coarse` where they are of fewer than 16 bits.
    `size` is how far it is moved from the float32 reference, in nats, with its upper bound. `standing` is of what it
    declares, `because` says why.
    """

    provider: str
    declared: str | None
    state: FingerprintState
    sentence: str
    forms: tuple[str, ...]
    coarse: bool
    standing: ClaimState
    because: str
    prompts: int
    candidates: int
    size: float | None
    size_bound: float | None


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
    failures: tuple[FailureCount, ...]
    findings: tuple[Finding, ...]
    curves: tuple[SurvivalCurve, ...]
    divergences: tuple[Divergence, ...]
    prompt_rows: tuple[PromptRow, ...]
    notes: tuple[str, ...]
    # What the names of its figures, findings and diagnoses mean.
    vocabulary: Vocabulary
    # Why the last session left trials unasked.
    endings: tuple[Ending, ...] = ()
    reading: ReferenceReading | None = None
    unread_answers: tuple[UnreadAnswers, ...] = ()
    read_counts: tuple[ReadCount, ...] = ()
    outcomes: tuple[OutcomeCounts, ...] = ()
    served: tuple[ServedModel, ...] = ()
    flags: tuple[FlagCount, ...] = ()
    levels: tuple[Level, ...] = ()
    camps: tuple[Camps, ...] = ()
    # The prompts whose answers are kept to be read, most divergent first, and those answers, commonest first.
    asked: tuple[AskedPrompt, ...] = ()
    answers: tuple[DistinctAnswer, ...] = ()
    conversations: tuple[ConversationRounds, ...] = ()
    call_counts: tuple[CallCounts, ...] = ()
    # References that were named and did not take part; `skipped` says why.
    absent_references: tuple[str, ...] = ()
    # Of providers that gave log-probabilities on the prompts of a shipped direction pack.
    precision: tuple[PrecisionReading, ...] = ()
    # Camps of these by their displacement, no form needed: each member is moved like each other.
    moved_alike: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderVerdict:
    """pass | finding | inconclusive for one provider, with the reasons in plain words."""

    provider: str
    outcome: VerdictOutcome
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The run's verdict: the worst of its providers' (finding > inconclusive > pass), and of the set's.

    `about_set` are findings that accuse no provider: some differ, and nothing says who strays.
    """

    outcome: VerdictOutcome
    providers: tuple[ProviderVerdict, ...]
    about_set: tuple[str, ...] = ()
