"""What a reference read in, measures for each prompt of each provider out: match rate, Token-DiFR, margins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tempzero.attribute.noise import JoinedForm, find_unexplained_tokens
from tempzero.attribute.reader_tables import Flags, Floats, ReaderTable, ResponseLane
from tempzero.types.vocabulary import Metric, MetricName

CLIP_PERCENTILE = 99.9
_NOT_READ = "no response was read"

TOKEN_MATCH_RATE = Metric(
    name="token_match_rate",
    unit="share",
    kinds=("scored",),
    title="Tokens that match",
    definition="Share of a response's tokens that the reference would have chosen at that point, in the response's own "
    "context. Mean over prompts.",
    source="DiFR, arXiv:2511.20621",
    one_means="the reference would have chosen every token",
    undefined=_NOT_READ,
)
TOKEN_DIFR = Metric(
    name="token_difr",
    unit="logits",
    kinds=("scored",),
    title="Token-DiFR, logits",
    definition="Mean margin: how far below the reference's choice each token stands, in logits, 0 where it is that "
    "choice; cut off at the 99.9th percentile of a trusted run, which the interval's method names.",
    source="DiFR, arXiv:2511.20621",
    undefined=_NOT_READ,
)
UNEXPLAINED_SHARE = Metric(
    name="unexplained_share",
    unit="share",
    kinds=("scored",),
    title="Unexplained tokens",
    definition="Share of tokens that are neither the reference's choice nor the other half of a near-tie that honest "
    "rounding may turn.",
    source="elementary bound: a logit changed by at most ε turns a choice only where two are within 2ε",
    one_means="no token is the reference's choice or the other half of a near-tie",
    undefined=_NOT_READ,
)
ALL_TOKENS_MATCH = Metric(
    name="all_tokens_match",
    unit="share",
    kinds=("scored",),
    title="Responses that match to the end",
    definition="Share of responses of which every token is the reference's choice.",
    source="DiFR, arXiv:2511.20621",
    one_means="every response is the reference's choice from its first token to its last",
    undefined=_NOT_READ,
)


def _name_margin(name: MetricName, percent: str) -> Metric:
    return Metric(
        name=name,
        unit="logits",
        kinds=("scored",),
        title=f"Margin, {percent}th percentile",
        definition=f"The margin that {percent} % of a prompt's tokens do not exceed, mean over prompts, in logits.",
        source="DiFR, arXiv:2511.20621",
        undefined=_NOT_READ,
    )


def _name_partial_match(name: MetricName, tokens: str) -> Metric:
    return Metric(
        name=name,
        unit="share",
        kinds=("scored",),
        title=f"Match, {tokens}",
        definition=f"Tokens that match, of {tokens} only.",
        source="DiFR, arXiv:2511.20621",
        one_means="the reference would have chosen every one of these tokens",
        undefined="no token is there",
        absent="no token is there",
    )


QUANTILES = (90.0, 99.0, 99.9)
MARGIN_QUANTILES = (
    _name_margin("margin_p90", "90"),
    _name_margin("margin_p99", "99"),
    _name_margin("margin_p99.9", "99.9"),
)
# (metric, first token, the one after the last), counted from 0.
POSITIONS = (
    (_name_partial_match("token_match_rate_tokens_1_4", "the first 4 tokens"), 0, 4),
    (_name_partial_match("token_match_rate_tokens_5_16", "tokens 5 to 16"), 4, 16),
    (_name_partial_match("token_match_rate_tokens_17_64", "tokens 17 to 64"), 16, 64),
    (_name_partial_match("token_match_rate_tokens_65_up", "tokens from the 65th on"), 64, 2**62),
)
CONTEXTS = (
    (_name_partial_match("token_match_rate_context_below_256", "tokens after fewer than 256"), 0, 256),
    (_name_partial_match("token_match_rate_context_256_1023", "tokens after 256 to 1,023"), 256, 1024),
    (_name_partial_match("token_match_rate_context_1024_4095", "tokens after 1,024 to 4,095"), 1024, 4096),
    (_name_partial_match("token_match_rate_context_4096_up", "tokens after 4,096 or more"), 4096, 2**62),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """One value for each prompt, NaN where it has none; `bounds` are what no prompt's value can pass."""

    provider: str
    condition: str
    reference: str
    metric: Metric
    values: Floats
    bounds: tuple[float, float]
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """Where margins are cut off before they are averaged, and whose percentile that is."""

    at: float
    source: str


def choose_clip(table: ReaderTable, forms: Sequence[JoinedForm]) -> Clip:
    """The 99.9th percentile of a trusted run: of the honest forms, or where they show no margin, of all responses.

    Where neither has one the largest margin read is taken: then nothing is cut off.
    """
    honest = [f.margin for f in forms if f.honest and not f.repeated]
    if honest:
        at = float(np.percentile(np.concatenate(honest), CLIP_PERCENTILE))
        if at > 0:
            return Clip(at=at, source="the reference's honest forms")
    numbers = np.concatenate([lane.sequence for lane in table.lanes])
    weights = np.repeat(np.bincount(numbers, minlength=len(table.roots)), table.tokens.length)
    share = CLIP_PERCENTILE / 100
    at = float(np.quantile(table.tokens.margin, share, weights=weights, method="inverted_cdf"))
    if at > 0:
        return Clip(at=at, source="all responses read")
    return Clip(at=float(table.tokens.margin.max(initial=0.0)) or 1.0, source="no margin was above 0")


def measure_providers(table: ReaderTable, forms: Sequence[JoinedForm], epsilon: float) -> tuple[Measure, ...]:
    """Every measure of every provider, the reference's own responses included."""
    cut = choose_clip(table, forms)
    odd = find_unexplained_tokens(table, epsilon)
    return tuple(m for lane in table.lanes for m in _measure_lane(table, lane, cut, odd))


def form_difr(form: JoinedForm, cut: Clip, prompts: int) -> Floats:
    """A form's own Token-DiFR for each prompt, on the same clip: the spread of trusted runs."""
    return _divide_or_nan(
        np.bincount(form.prompt, np.minimum(form.margin, cut.at), prompts),
        np.bincount(form.prompt, minlength=prompts).astype(np.float64),
    )


def _measure_lane(table: ReaderTable, lane: ResponseLane, cut: Clip, odd: Flags) -> Iterable[Measure]:
    tokens = table.tokens
    everywhere = np.ones(tokens.margin.size, dtype=np.bool_)

    def measure(metric: Metric, values: Floats, high: float, note: str = "") -> Measure:
        return Measure(
            provider=lane.provider,
            condition=lane.condition,
            reference=table.reader.reference,
            metric=metric,
            values=values,
            bounds=(0.0, high),
            note=note,
        )

    hit = (~tokens.missed).astype(np.float64)
    yield measure(TOKEN_MATCH_RATE, _average_tokens(table, lane, hit, everywhere), 1.0)
    clipped = np.minimum(tokens.margin, cut.at)
    note = f"margins clipped at {cut.at:.3g}, the 99.9th percentile of {cut.source}"
    yield measure(TOKEN_DIFR, _average_tokens(table, lane, clipped, everywhere), cut.at, note)
    yield measure(UNEXPLAINED_SHARE, _average_tokens(table, lane, odd.astype(np.float64), everywhere), 1.0)
    whole = tokens.sum_by_sequence(tokens.missed)[lane.sequence] == 0
    yield measure(ALL_TOKENS_MATCH, _average_responses(lane, whole.astype(np.float64), table), 1.0)
    for metric, values in zip(MARGIN_QUANTILES, _margin_quantiles(table, lane), strict=True):
        top = float(tokens.margin.max(initial=0.0)) or 1.0
        yield measure(metric, values, top)
    for metric, first, after in POSITIONS:
        chosen = (tokens.position >= first) & (tokens.position < after)
        yield measure(metric, _average_tokens(table, lane, hit, chosen), 1.0)
    for metric, first, after in CONTEXTS:
        chosen = (tokens.context >= first) & (tokens.context < after)
        yield measure(metric, _average_tokens(table, lane, hit, chosen), 1.0)


def _average_tokens(table: ReaderTable, lane: ResponseLane, values: Floats, chosen: Flags) -> Floats:
    """Mean over the chosen tokens of each prompt's responses."""
    prompts = len(table.prompts)
    total = table.tokens.sum_by_sequence(values * chosen)[lane.sequence]
    number = table.tokens.sum_by_sequence(chosen)[lane.sequence]
    return _divide_or_nan(np.bincount(lane.prompt, total, prompts), np.bincount(lane.prompt, number, prompts))


def _average_responses(lane: ResponseLane, values: Floats, table: ReaderTable) -> Floats:
    prompts = len(table.prompts)
    number = np.bincount(lane.prompt, minlength=prompts).astype(np.float64)
    return _divide_or_nan(np.bincount(lane.prompt, values, prompts), number)


def _divide_or_nan(total: NDArray[Any], number: NDArray[Any]) -> Floats:
    return np.asarray(np.divide(total, number, out=np.full(total.size, np.nan), where=number > 0))


def _margin_quantiles(table: ReaderTable, lane: ResponseLane) -> list[Floats]:
    """Quantiles of the margins of each prompt's distinct responses."""
    found = [np.full(len(table.prompts), np.nan) for _ in QUANTILES]
    rows = lane.distinct
    parts: dict[int, list[Floats]] = {}
    for prompt, sequence in zip(lane.prompt[rows].tolist(), lane.sequence[rows].tolist(), strict=True):
        start, end = table.tokens.start[sequence], table.tokens.start[sequence + 1]
        parts.setdefault(prompt, []).append(table.tokens.margin[start:end])
    for prompt, margins in parts.items():
        for values, quantile in zip(
            found, np.percentile(np.concatenate(margins), QUANTILES, method="inverted_cdf"), strict=True
        ):
            values[prompt] = quantile
    return found
