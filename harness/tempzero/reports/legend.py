"""A metric's name in, its words out: column heading, what it means, its definition, source, and how to print it."""

from __future__ import annotations

from dataclasses import dataclass

from tempzero.reports.numbers import Style
from tempzero.types.concluded import Figure


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """What the report says of one metric. `undefined` is why it may have no value."""

    metric: str
    heading: str
    definition: str
    source: str
    style: Style = "share"
    per_k: bool = False
    """True where the value depends on k, the number of repeats it is defined for: k is then always shown."""
    total: bool = False
    """True for a plain total or count: no interval, and no n, belongs to it."""
    exact: bool = False
    """True where a value with n, but without interval, is what is meant."""
    undefined: str = "no prompt could be compared"
    absent: str = "not measured"
    """What to say where the analysis has no such figure at all."""


_NO_REPEATS = "no prompt has two comparable responses"
_NOT_BOTH = "no prompt has a comparable response from both"
_NOT_REPORTED = "not reported by the provider"

_NOT_READ = "no response was read"
_READING_TERMS = (
    Term(
        metric="token_match_rate",
        heading="Tokens that match",
        definition="Share of a response's tokens that the reference would have chosen at that point, in the response's "
        "own context. Mean over prompts.",
        source="DiFR, arXiv:2511.20621",
        undefined=_NOT_READ,
    ),
    Term(
        metric="token_difr",
        heading="Token-DiFR, logits",
        definition="Mean margin: how far below the reference's choice each token stands, in logits, 0 where it is that "
        "choice; cut off at the 99.9th percentile of a trusted run, which the interval's method names.",
        source="DiFR, arXiv:2511.20621",
        style="number",
        undefined=_NOT_READ,
    ),
    Term(
        metric="unexplained_share",
        heading="Unexplained tokens",
        definition="Share of tokens that are neither the reference's choice nor the other half of a near-tie that "
        "honest rounding may turn.",
        source="elementary bound: a logit changed by at most ε turns a choice only where two are within 2ε",
        undefined=_NOT_READ,
    ),
    Term(
        metric="all_tokens_match",
        heading="Responses that match to the end",
        definition="Share of responses of which every token is the reference's choice.",
        source="DiFR, arXiv:2511.20621",
        undefined=_NOT_READ,
    ),
    Term(
        metric="effective_temperature",
        heading="Effective temperature",
        definition="The temperature at which sampling makes the tokens likeliest; 0 where greedy decoding, rounding "
        "included, explains them. Not given where something else than decoding does.",
        source="maximum likelihood, interval clustered by prompt",
        style="number",
        absent="another cause explains the tokens",
    ),
    Term(
        metric="rounding_scale",
        heading="Rounding scale, logits",
        definition="How much noise on the difference of two logits makes the tokens likeliest, decoding being greedy; "
        "to be compared with the scales of the reference's own coarser forms.",
        source="maximum likelihood, interval clustered by prompt",
        style="number",
    ),
    *(
        Term(
            metric=f"margin_p{percent}",
            heading=f"Margin, {percent}th percentile",
            definition=f"The margin that {percent} % of a prompt's tokens do not exceed, mean over prompts, in logits.",
            source="DiFR, arXiv:2511.20621",
            style="number",
            undefined=_NOT_READ,
        )
        for percent in ("90", "99", "99.9")
    ),
    *(
        Term(
            metric=f"token_match_rate_{name}",
            heading=f"Match, {words}",
            definition=f"Tokens that match, of {words} only.",
            source="DiFR, arXiv:2511.20621",
            undefined="no token is there",
            absent="no token is there",
        )
        for name, words in (
            ("tokens_1_4", "the first 4 tokens"),
            ("tokens_5_16", "tokens 5 to 16"),
            ("tokens_17_64", "tokens 17 to 64"),
            ("tokens_65_up", "tokens from the 65th on"),
            ("context_below_256", "tokens after fewer than 256"),
            ("context_256_1023", "tokens after 256 to 1,023"),
            ("context_1024_4095", "tokens after 1,024 to 4,095"),
            ("context_4096_up", "tokens after 4,096 or more"),
        )
    ),
)

TERMS = (
    Term(
        metric="emr",
        heading="Same text again (EMR)",
        definition="Exact-match rate: the chance that two calls with the same prompt give the same text, raw, "
        "character by character. Mean over prompts; unbiased for any number of repeats.",
        source="Rover 2026; Simpson index",
        undefined=_NO_REPEATS,
    ),
    Term(
        metric="emr_complete",
        heading="Same text again, whole texts only",
        definition="As EMR, leaving out texts that were cut at the token limit.",
        source="Rover 2026; Simpson index",
        undefined="no prompt has two whole texts",
    ),
    Term(
        metric="emr_as_written",
        heading="Same calls again, letter by letter",
        definition="As EMR, of prompts that offer tools, the arguments of calls compared as they were written: order "
        "of keys and spaces count, which they do not elsewhere.",
        source="Rover 2026; Simpson index",
        undefined="no prompt that offers tools has two answers",
    ),
    Term(
        metric="bit_identical_share",
        heading="Bit-identical repeats",
        definition="Share of repeats whose logits and token ids equal those of the prompt's first repeat, bit for bit. "
        "Only an engine in this process can tell.",
        source="hash over the float32 logits of every position",
        undefined="there are no repeats",
        absent="the engine gives no logits",
    ),
    Term(
        metric="tarr",
        heading="All k texts the same (TARr@k)",
        definition="The chance that k calls with the same prompt all give the same raw text. It falls with k, so two "
        "values with different k are never compared.",
        source="Atil et al., arXiv:2408.04667, unbiased form",
        per_k=True,
        undefined="no prompt has k comparable responses",
    ),
    Term(
        metric="tara",
        heading="All k answers the same (TARa@k)",
        definition="As TARr@k, on the answer read from each text. A text without a readable answer equals nothing, "
        "itself included.",
        source="Atil et al., arXiv:2408.04667",
        per_k=True,
        undefined="no prompt with a readable answer has k responses",
    ),
    Term(
        metric="survivors",
        heading="Prompts without divergence",
        definition="Where asking stopped at a prompt's first divergence, agreement rates of what is left are false and "
        "refused. What can be said is how many of the prompts (n) gave k repeats that were all the same.",
        source="counted",
        style="count",
        per_k=True,
        exact=True,
    ),
    Term(
        metric="unique_outputs",
        heading="Distinct texts",
        definition="Number of different texts among the repeats of a prompt, mean over prompts.",
        source="Thinking Machines 2025",
        style="number",
        per_k=True,
        undefined=_NO_REPEATS,
    ),
    Term(
        metric="modal_share",
        heading="Most frequent text",
        definition="Share of a prompt's responses that equal its most frequent text, mean over prompts.",
        source="Thinking Machines 2025",
        undefined=_NO_REPEATS,
    ),
    Term(
        metric="ned",
        heading="Edit distance (NED)",
        definition="Levenshtein distance divided by the longer length, over pairs of repeats: 0 the same text, "
        "1 nothing in common.",
        source="Rover 2026",
        undefined=_NO_REPEATS,
    ),
    Term(
        metric="aa_false_alarms",
        heading="False alarms against itself (A/A)",
        definition="The provider's own repeats are dealt into two halves at random, again and again, and the halves "
        "tested as if they were two providers. This is the share of deals at which the test says that the provider "
        "differs from itself, which is false every time: it has to be about 0.05 or less, or the findings of this run "
        "deserve less trust. Here n is the number of deals.",
        source="A/A test of the permutation test at 5 %; Clopper and Pearson 1934",
        undefined="no prompt has four comparable responses",
    ),
    Term(
        metric="halves_excess",
        heading="Later repeats against earlier ones",
        definition="Excess divergence between the first and the second half of the provider's repeats: around zero "
        "where the provider stayed the same while it was asked. What the deals at random cannot see shows here. "
        "Prompts with four or more comparable repeats.",
        source="permutation test within prompts; its p-value stands with the method",
        undefined="no prompt has four comparable responses",
    ),
    Term(
        metric="best_accuracy",
        heading="Best accuracy",
        definition="Share of prompts answered as expected in at least one repeat.",
        source="Atil et al., arXiv:2408.04667",
        per_k=True,
        undefined="no prompt with an expected answer has k responses",
    ),
    Term(
        metric="worst_accuracy",
        heading="Worst accuracy",
        definition="Share of prompts answered as expected in every repeat.",
        source="Atil et al., arXiv:2408.04667",
        per_k=True,
        undefined="no prompt with an expected answer has k responses",
    ),
    Term(
        metric="accuracy_spread",
        heading="Accuracy spread",
        definition="Best minus worst accuracy: how far the score depends on which repeat was taken.",
        source="Atil et al., arXiv:2408.04667",
        per_k=True,
        undefined="no prompt with an expected answer has k responses",
    ),
    Term(
        metric="cross_emr",
        heading="Same text (cross-EMR)",
        definition="The chance that one call to each of the two gives the same raw text. Mean over prompts.",
        source="EMR between two providers",
        undefined=_NOT_BOTH,
    ),
    Term(
        metric="cross_emr_as_written",
        heading="Same calls, letter by letter",
        definition="As cross-EMR, of prompts that offer tools, the arguments of calls compared as they were written: "
        "order of keys and spaces count, which they do not elsewhere.",
        source="counted",
        undefined="no prompt that offers tools was answered by both",
    ),
    Term(
        metric="cross_emr_complete",
        heading="Same text, whole texts only",
        definition="As cross-EMR, leaving out texts that were cut at the token limit.",
        source="EMR between two providers",
        undefined="no prompt has a whole text from both",
    ),
    Term(
        metric="excess_divergence",
        heading="Excess divergence",
        definition="How much more two providers differ from each other than each differs from itself: the mean of "
        "their two EMRs minus their cross-EMR. Zero where the difference is only their own noise.",
        source="half the one-hot squared maximum mean discrepancy (MMD²)",
        undefined="one of the two has no repeats to measure its own noise",
    ),
    Term(
        metric="noise_floor",
        heading="Noise floor",
        definition="The disagreement to be expected from the two providers' own noise: the mean of their 1 \u2212 EMR.",
        source="from the two EMRs",
        undefined="one of the two has no repeats to measure its own noise",
    ),
    Term(
        metric="minimum_detectable_excess",
        heading="Smallest excess to be seen",
        definition="The excess divergence that the test would find four times in five with this many prompts and "
        "repeats. A smaller one may be there and not be found.",
        source="power of the permutation test at 5 %",
        exact=True,
        undefined="too few prompts and repeats to find any",
    ),
    Term(
        metric="cross_ned",
        heading="Edit distance (NED)",
        definition="Levenshtein distance divided by the longer length, between responses of the two providers.",
        source="Rover 2026",
        undefined=_NOT_BOTH,
    ),
    Term(
        metric="answer_agreement",
        heading="Same answer",
        definition="The chance that one response of each has the same readable answer. An unreadable answer "
        "equals nothing.",
        source="Atil et al., arXiv:2408.04667, between two providers",
        undefined="no prompt with a readable answer was answered by both",
    ),
    Term(
        metric="flips",
        heading="Flips",
        definition="Share of prompts that one answers as expected and the other does not, in either direction.",
        source="Dutta et al. 2024 (%flips)",
        undefined="no prompt with an expected answer was answered by both",
    ),
    Term(
        metric="finish_reason_agreement",
        heading="Same finish reason",
        definition="The chance that responses of the two end for the same stated reason.",
        source="field finish_reason of the response",
        undefined=_NOT_BOTH,
    ),
    Term(
        metric="length_difference_chars",
        heading="Length difference, characters",
        definition="Mean length of the first provider's responses minus that of the second, in characters.",
        source="counted",
        style="number",
        undefined=_NOT_BOTH,
    ),
    Term(
        metric="prompt_tokens_agreement",
        heading="Same prompt_tokens",
        definition="Share of prompts for which both report the same number of prompt tokens. Unequal counts for the "
        "same messages and weights mean another template, tokenizer or a hidden system prompt.",
        source="field usage.prompt_tokens of the response",
        undefined="prompt_tokens is not reported by both",
    ),
    Term(
        metric="seq_rep_4",
        heading="Repeated 4-grams (seq-rep-4)",
        definition="1 \u2212 distinct 4-grams / 4-grams of a response.",
        source="Welleck et al., arXiv:1908.04319",
        undefined="no response is long enough",
    ),
    Term(
        metric="rep_128",
        heading="Repeated tokens (rep/128)",
        definition="Share of tokens that already occur among the 128 before them.",
        source="Welleck et al., arXiv:1908.04319",
        undefined="no response is long enough",
    ),
    Term(
        metric="loop_share",
        heading="Ends in a loop",
        definition="Share of responses whose tail repeats one piece of text again and again.",
        source="declared period, repeats and length",
        undefined="no valid or cut response",
    ),
    Term(
        metric="compression_ratio",
        heading="Compressibility",
        definition="Length of the first 512 bytes divided by their compressed length; repetitive texts compress well.",
        source="DEFLATE",
        style="number",
        undefined="no response is long enough",
    ),
    Term(
        metric="accuracy",
        heading="As expected (accuracy)",
        definition="Share of responses whose answer, read by the prompt's extractor, is the expected one. "
        "Unreadable answers count as not expected.",
        source="prompts with an expected answer",
        undefined="no prompt with an expected answer was answered",
    ),
    Term(
        metric="unparsed_share",
        heading="Unreadable",
        definition="Share of responses in which the extractor found no answer.",
        source="prompts with an extractor",
        undefined="no prompt with an extractor was answered",
    ),
    Term(
        metric="mismatch_rate",
        heading="Other answers, excess",
        definition="How much more often the answers of the two differ than each one's own repeats differ.",
        source="prompts with an extractor",
        undefined="no prompt with an extractor was answered by both",
    ),
    Term(
        metric="verbosity_chars",
        heading="Length, characters",
        definition="Length of the responses in characters, mean over prompts.",
        source="counted",
        style="number",
        undefined="no valid response",
    ),
    Term(
        metric="coverage",
        heading="Valid (coverage)",
        definition="Share of the planned trials that gave a complete text.",
        source="valid / planned",
        undefined="nothing was planned",
    ),
    Term(
        metric="censored_share",
        heading="Cut (censored)",
        definition="Share of the planned trials whose text was cut by the length limit or a content filter. Cut texts "
        "are compared only up to the cut.",
        source="censored / planned",
        undefined="nothing was planned",
    ),
    Term(
        metric="missing_share",
        heading="No answer (missing)",
        definition="Share of the planned trials without any output. Missing never counts as divergence.",
        source="missing / planned",
        undefined="nothing was planned",
    ),
    Term(
        metric="excluded_share",
        heading="Left out (cached)",
        definition="Share of the planned trials answered from a response cache, not computed for this run: left out.",
        source="excluded / planned",
        undefined="nothing was planned",
    ),
    Term(
        metric="empty_share",
        heading="Empty answers",
        definition="Share of the planned trials answered with an empty text. It is an answer, but no text to compare.",
        source="empty / planned",
        undefined="nothing was planned",
    ),
    Term(
        metric="served_models",
        heading="Served models",
        definition="Number of different model names the responses carried.",
        source="field model of the response",
        style="count",
        total=True,
        undefined=_NOT_REPORTED,
    ),
    Term(
        metric="fingerprints",
        heading="Fingerprints",
        definition="Number of different system fingerprints the responses carried.",
        source="field system_fingerprint of the response",
        style="count",
        total=True,
        undefined=_NOT_REPORTED,
    ),
    Term(
        metric="backends",
        heading="Backends",
        definition="Number of different upstream providers or backends the responses named.",
        source="field provider of the response",
        style="count",
        total=True,
        undefined=_NOT_REPORTED,
    ),
    Term(
        metric="latency_s",
        heading="Time to the end, s",
        definition="Seconds from sending a request to its last byte: mean of the prompts' medians.",
        source="monotonic clock",
        style="number",
        undefined="no valid response",
    ),
    Term(
        metric="first_byte_s",
        heading="Time to first byte, s",
        definition="Seconds from sending a request to the first byte of the response: mean of the prompts' medians.",
        source="monotonic clock",
        style="number",
        undefined="not measured by this engine",
    ),
    Term(
        metric="completion_tokens_per_s",
        heading="Tokens per second",
        definition="Completion tokens divided by the time to the end: mean of the prompts' medians.",
        source="usage.completion_tokens, monotonic clock",
        style="number",
        undefined="completion tokens are not reported",
    ),
    Term(
        metric="calls",
        heading="Trials",
        definition="Planned questions that were asked, retries not counted again.",
        source="counted",
        style="count",
        total=True,
    ),
    Term(
        metric="attempts",
        heading="Requests sent",
        definition="HTTP requests or engine calls, retries included.",
        source="counted",
        style="count",
        total=True,
    ),
    *_READING_TERMS,
    Term(
        metric="prompt_tokens",
        heading="Prompt tokens",
        definition="Sum of the prompt tokens the provider reported.",
        source="usage.prompt_tokens",
        style="count",
        total=True,
        undefined=_NOT_REPORTED,
    ),
    Term(
        metric="completion_tokens",
        heading="Completion tokens",
        definition="Sum of the completion tokens the provider reported.",
        source="usage.completion_tokens",
        style="count",
        total=True,
        undefined=_NOT_REPORTED,
    ),
    Term(
        metric="cost_usd",
        heading="Cost, USD",
        definition="Reported tokens times the list price given in providers.yaml.",
        source="price in providers.yaml",
        style="usd",
        total=True,
        undefined="no tokens were reported",
        absent="no price is given in providers.yaml",
    ),
)

_BY_METRIC = {term.metric: term for term in TERMS}
_STYLES: dict[str, Style] = {"share": "share", "count": "count", "tokens": "count", "usd": "usd"}


def metric_term(metric: str, unit: str = "share") -> Term:
    """The words for a metric; a metric unknown here is shown under its own name and printed by its unit."""
    known = _BY_METRIC.get(metric)
    if known is not None:
        return known
    if metric.endswith("_excess") and metric.removesuffix("_excess") in _BY_METRIC:
        return _excess_term(_BY_METRIC[metric.removesuffix("_excess")])
    heading = metric.replace("_", " ")
    style = _STYLES.get(unit.lower(), "number")
    return Term(metric=metric, heading=heading, definition=heading, source="", style=style, total=style == "count")


def figure_term(figure: Figure) -> Term:
    """The words for a figure's metric."""
    return metric_term(figure.metric, figure.unit)


def _excess_term(base: Term) -> Term:
    return Term(
        metric=f"{base.metric}_excess",
        heading=f"{base.heading}, excess",
        definition=f"{base.heading}: the provider's value minus that of the reference (or, without one, of its peers) "
        "on the same prompts. Some prompts ask for repetition; the excess is what is the provider's own.",
        source=base.source,
        style=base.style,
        undefined="nobody to compare with on the same prompts",
    )
