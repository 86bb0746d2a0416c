"""The names of what is concluded, and the nouns that explain them: metrics, kinds of figures, rules, causes.

A name that can only be one of a few is a Literal here: a misspelt one fails the type check. The nouns themselves
(what a metric means, in which unit, by whose definition) stand beside their formulas, and `analysis.registry` lists
them all; whoever concludes nothing himself, a report for instance, finds them in `Analysis.vocabulary`.

Names stand in summary.json, tables/ and the files of nights: one may be added, none renamed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tempzero.types.recorded import Flag

MetricName = Literal[
    "emr",
    "emr_complete",
    "emr_as_written",
    "bit_identical_share",
    "tarr",
    "tara",
    "survivors",
    "unique_outputs",
    "modal_share",
    "ned",
    "partings_per_1000_tokens",
    "aa_false_alarms",
    "halves_excess",
    "best_accuracy",
    "worst_accuracy",
    "accuracy_spread",
    "cross_emr",
    "cross_emr_as_written",
    "cross_emr_complete",
    "excess_divergence",
    "noise_floor",
    "minimum_detectable_excess",
    "cross_ned",
    "answer_agreement",
    "flips",
    "finish_reason_agreement",
    "length_difference_chars",
    "prompt_tokens_agreement",
    "completion_tokens_difference",
    "reasoning_tokens_difference",
    "reasoning_shown_agreement",
    "seq_rep_4",
    "rep_128",
    "loop_share",
    "compression_ratio",
    "accuracy",
    "unparsed_share",
    "called_share",
    "calls_left_in_text",
    "calls_unindexed",
    "arguments_parsed",
    "calls_valid",
    "right_tool",
    "right_call",
    "json_parsed",
    "json_valid",
    "call_f1",
    "mismatch_rate",
    "verbosity_chars",
    "coverage",
    "whole_share",
    "censored_share",
    "missing_share",
    "excluded_share",
    "empty_share",
    "served_models",
    "fingerprints",
    "backends",
    "latency_s",
    "first_byte_s",
    "completion_tokens_per_s",
    "calls",
    "attempts",
    "token_match_rate",
    "token_difr",
    "unexplained_share",
    "all_tokens_match",
    "effective_temperature",
    "rounding_scale",
    "margin_p90",
    "margin_p99",
    "margin_p99.9",
    "token_match_rate_tokens_1_4",
    "token_match_rate_tokens_5_16",
    "token_match_rate_tokens_17_64",
    "token_match_rate_tokens_65_up",
    "token_match_rate_context_below_256",
    "token_match_rate_context_256_1023",
    "token_match_rate_context_1024_4095",
    "token_match_rate_context_4096_up",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "reasoning_share",
    "cost_usd",
    "compression_ratio_excess",
    "loop_share_excess",
    "rep_128_excess",
    "seq_rep_4_excess",
]
"""Every metric there is."""

KindName = Literal[
    "coverage",
    "repeat",
    "conditions",
    "cross",
    "reference",
    "scored",
    "repetition",
    "answers",
    "calls",
    "identity",
    "speed",
    "cost",
]
"""What a figure is about; each kind has its table."""

PartName = Literal["whole", "reasoning", "text", "calls", "refusal", "spoken"]
"""Which part of the answers a figure compares; `whole`: all of them; `spoken`: all but the reasoning.

Two providers of which only one ever shows its reasoning are compared by what both show, `spoken`.
"""
PARTS: tuple[PartName, ...] = ("whole", "spoken", "reasoning", "text", "calls", "refusal")

ComparedKind = Literal["conditions", "cross", "reference"]
"""Which two sets of answers to the same prompts are compared."""
PairKind = Literal["repeat", "conditions", "cross", "reference"]
"""Which responses are compared: a provider's own, its own under two conditions, those of two peers, or a provider's
with the reference's."""

PAIR_KINDS: tuple[Literal["reference"], Literal["cross"]] = ("reference", "cross")
"""What is measured between two providers, be one of them the reference or not."""
COMPARED_KINDS: tuple[Literal["reference"], Literal["cross"], Literal["conditions"]] = (*PAIR_KINDS, "conditions")
"""What is measured between two sets of answers to the same prompts: two providers', or one's under two conditions."""

Unit = Literal["share", "count", "tokens", "tokens/s", "chars", "s", "USD", "ratio", "logits", "temperature"]

CauseName = Literal[
    "faithful",
    "coarser",
    "sampled",
    "penalty",
    "other_prompt",
    "other_model",
    "positions",
    "post_processed",
    "mixture",
    "cut_short",
    "not_faithful",
    "unknown",
]
"""not_faithful: ruled out, by a cause that stays open. unknown: cannot be decided."""

RuleName = Literal[
    "reference_not_reproducible",
    "nondeterministic",
    "conditions_differ",
    "first_answers_differ",
    "model_mismatch",
    "max_tokens_not_held",
    "template_leak",
    "identity_changed",
    "reasoning_shown",
    "prompt_tokens_differ",
    "deviates_from_reference",
    "deviates_token_by_token",
    "precision_contradicted",
    "cause_post_processed",
    "cause_cut_short",
    "cause_mixture",
    "cause_penalty",
    "cause_other_prompt",
    "cause_other_model",
    "cause_sampled",
    "cause_positions",
    "cause_coarser",
    "cause_not_faithful",
    "odd_one",
    "camps",
    "differs",
    "answers_differ",
    "repeats_more",
    "loops_more",
]
"""What a finding says; `gates.ignore` takes these names."""

Strength = Literal["shown", "likely", "undecided"]
"""shown: rules out the others by a calibrated rule."""

FingerprintState = Literal["named", "undecided", "unknown form", "as 16-bit", "no answer"]
"""named: it stands in one form. undecided: in one of several that this pack cannot part. unknown form: what moves it is
none of the pack's, and more than an honest 16-bit host is moved. as 16-bit: nothing was named, and it is moved no more
than such a host. no answer: too few log-probabilities, of too few tokens, or neither this nor that."""

ClaimState = Literal["confirmed", "contradicted", "untested"]
"""How a declared precision stands to what was found."""

NameStanding = Literal["same", "alias", "other"]
"""How the name of the model that answered stands to the one asked for: it; another name for it; another model."""

Severity = Literal["note", "remark", "finding"]
"""note: counted, and normal service. remark: also said by `check`. finding: also a finding of the run."""

VerdictOutcome = Literal["pass", "finding", "inconclusive"]
WORST_FIRST: tuple[VerdictOutcome, ...] = ("finding", "inconclusive", "pass")


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A number that is measured: what it is called, what it means, by whose definition, and in which unit.

    `kinds` are those of its figures. `undefined` says why a figure may have no value, `absent` why there may be no
    such figure at all.
    """

    name: MetricName
    unit: Unit
    kinds: tuple[KindName, ...]
    title: str
    definition: str
    source: str
    one_means: str = ""
    """Of a share: what a value of 1.0 says."""
    per_k: bool = False
    """True where the value depends on k, the number of repeats it is defined for: k is then always shown."""
    total: bool = False
    """True for a plain total or count: no interval, and no n, belongs to it."""
    exact: bool = False
    """True where a value with n, but without interval, is what is meant."""
    undefined: str = "no prompt could be compared"
    absent: str = "not measured"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What figures are about. `mutual`: a figure names two providers and says the same of both."""

    name: KindName
    definition: str
    mutual: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A statement that findings make: `words` are its heading, `shown_by` is what has to hold before it is made."""

    name: RuleName
    words: str
    shown_by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """What may explain a provider's tokens. `rule` is the finding it makes where it is shown; None accuses nobody."""

    name: CauseName
    words: str
    rule: RuleName | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FlagMeaning:
    """What a flag of a response says: `words` go on from "the provider ...", `rule` is what has to be seen for it."""

    name: Flag
    words: str
    severity: Severity
    rule: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """Every noun an analysis speaks in, in the order in which they are shown; findings are sorted by that of rules."""

    metrics: tuple[Metric, ...]
    kinds: tuple[Kind, ...]
    rules: tuple[Rule, ...]
    causes: tuple[Cause, ...]
    flags: tuple[FlagMeaning, ...] = ()
