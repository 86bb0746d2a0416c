"""The tally of one provider in, what asking it came to out: who answered, how fast, at what cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tempzero import stats
from tempzero.analysis.book import Book, sum_over_prompts
from tempzero.analysis.part_counts import NOT_SAID, Identity
from tempzero.analysis.provider_figures import provider_subject
from tempzero.analysis.tallies import Tally
from tempzero.types.concluded import Estimate
from tempzero.types.vocabulary import Metric

_NOT_REPORTED = "not reported by the provider"

SERVED_MODELS = Metric(
    name="served_models",
    unit="count",
    kinds=("identity",),
    title="Served models",
    definition="Number of different model names the responses carried.",
    source="field model of the response",
    total=True,
    undefined=_NOT_REPORTED,
)
FINGERPRINTS = Metric(
    name="fingerprints",
    unit="count",
    kinds=("identity",),
    title="Fingerprints",
    definition="Number of different system fingerprints the responses carried.",
    source="field system_fingerprint of the response",
    total=True,
    undefined=_NOT_REPORTED,
)
BACKENDS = Metric(
    name="backends",
    unit="count",
    kinds=("identity",),
    title="Backends",
    definition="Number of different upstream providers or backends the responses named.",
    source="field provider of the response",
    total=True,
    undefined=_NOT_REPORTED,
)


def enter_identity_counts(book: Book, tally: Tally, identities: Sequence[Identity]) -> None:
    """How many served models, fingerprints and backends the responses named."""
    seen = [identities[i] for i in np.unique(tally.lane.identity).tolist() if i != NOT_SAID]
    prompts = int(np.unique(tally.lane.prompt[tally.lane.identity != NOT_SAID]).size)
    for metric, values in (
        (SERVED_MODELS, {i.served_model for i in seen}),
        (FINGERPRINTS, {i.fingerprint for i in seen}),
        (BACKENDS, {i.backend for i in seen}),
    ):
        number = float(len(values - {None}))
        counted = Estimate(value=number, low=None, high=None, n=prompts, method="distinct values, counted")
        book.put(provider_subject(tally, "identity"), metric, counted)


LATENCY_S = Metric(
    name="latency_s",
    unit="s",
    kinds=("speed",),
    title="Time to the end, s",
    definition="Seconds from sending a request to its last byte: mean of the prompts' medians.",
    source="monotonic clock",
    undefined="no valid response",
)
FIRST_BYTE_S = Metric(
    name="first_byte_s",
    unit="s",
    kinds=("speed",),
    title="Time to first byte, s",
    definition="Seconds from sending a request to the first byte of the response: mean of the prompts' medians.",
    source="monotonic clock",
    undefined="not measured by this engine",
)
COMPLETION_TOKENS_PER_S = Metric(
    name="completion_tokens_per_s",
    unit="tokens/s",
    kinds=("speed",),
    title="Tokens per second",
    definition="Tokens generated, reasoning that is counted apart included, divided by the time to the end: mean of "
    "the prompts' medians.",
    source="usage, monotonic clock",
    undefined="completion tokens are not reported",
)


def enter_speed(book: Book, tally: Tally) -> None:
    """Mean over prompts of the median over repeats; of the attempt that answered."""
    lane, note = tally.lane, "medians of the repeats"
    for metric, median in (
        (LATENCY_S, lane.latency_s),
        (FIRST_BYTE_S, lane.first_byte_s),
        (COMPLETION_TOKENS_PER_S, lane.completion_tokens_per_s),
    ):
        book.add(provider_subject(tally, "speed"), metric, median, estimate=stats.mean_over_prompts, note=note)


CALLS = Metric(
    name="calls",
    unit="count",
    kinds=("cost",),
    title="Trials",
    definition="Planned questions that were asked, retries not counted again.",
    source="counted",
    total=True,
)
ATTEMPTS = Metric(
    name="attempts",
    unit="count",
    kinds=("cost",),
    title="Requests sent",
    definition="HTTP requests or engine calls, retries included.",
    source="counted",
    total=True,
)
PROMPT_TOKENS = Metric(
    name="prompt_tokens",
    unit="tokens",
    kinds=("cost",),
    title="Prompt tokens",
    definition="Sum of the prompt tokens the provider reported.",
    source="usage.prompt_tokens",
    total=True,
    undefined=_NOT_REPORTED,
)
COMPLETION_TOKENS = Metric(
    name="completion_tokens",
    unit="tokens",
    kinds=("cost",),
    title="Completion tokens",
    definition="Sum of the tokens that the provider reported to have generated, reasoning that it counts outside "
    "completion_tokens included.",
    source="usage.completion_tokens; usage.total_tokens less usage.prompt_tokens where that is more",
    total=True,
    undefined=_NOT_REPORTED,
)
REASONING_TOKENS = Metric(
    name="reasoning_tokens",
    unit="tokens",
    kinds=("cost",),
    title="Reasoning tokens",
    definition="Sum of the reasoning tokens the provider reported, of the answers that count. Most providers count "
    "them among the completion tokens, too.",
    source="usage.completion_tokens_details.reasoning_tokens",
    total=True,
    undefined=_NOT_REPORTED,
)
COST_USD = Metric(
    name="cost_usd",
    unit="USD",
    kinds=("cost",),
    title="Cost, USD",
    definition="Reported tokens times the list price given in providers.yaml.",
    source="price in providers.yaml",
    total=True,
    undefined="no tokens were reported",
    absent="no price is given in providers.yaml",
)


def enter_cost(book: Book, tally: Tally) -> None:
    """Calls, attempts, tokens and, where a price is given, money, retries included."""
    lane, subject = tally.lane, provider_subject(tally, "cost")
    calls = np.bincount(lane.prompt, minlength=len(tally.emr)).astype(np.float64)
    book.add(subject, CALLS, calls, estimate=sum_over_prompts)
    book.add(subject, ATTEMPTS, lane.attempts.astype(np.float64), estimate=sum_over_prompts)
    unknown = int(lane.attempts_without_usage.sum())
    note = f"{unknown} answered attempts reported no usage" if unknown else ""
    reported = lane.attempts > lane.attempts_without_usage
    spent = [np.where(reported, t, np.nan) for t in (lane.spent_prompt_tokens, lane.spent_output_tokens)]
    book.add(subject, PROMPT_TOKENS, spent[0], estimate=sum_over_prompts, note=note)
    book.add(subject, COMPLETION_TOKENS, spent[1], estimate=sum_over_prompts, note=note)
    told = lane.reasoning_tokens != NOT_SAID
    if told.any():
        thought = np.full(len(tally.emr), np.nan)
        thought[np.unique(lane.prompt[told])] = 0.0
        np.add.at(thought, lane.prompt[told], lane.reasoning_tokens[told])
        book.add(subject, REASONING_TOKENS, thought, estimate=sum_over_prompts)
    price = lane.provider.price
    if price is not None:
        usd = np.array([price.cost(*tokens) for tokens in zip(*spent, strict=True)], dtype=np.float64)
        book.add(subject, COST_USD, usd, estimate=sum_over_prompts, note=note)
