"""The tally of one provider in, its own figures out: coverage, repeats, repetition, answers, identity, speed, cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tempzero import stats
from tempzero.analysis.book import Book, Subject, bounded_mean, sum_over_prompts
from tempzero.analysis.observations import CENSORED, EXCLUDED, NOT_SAID, VALID, Identity, Lane
from tempzero.analysis.tallies import Tally, planned_repeats
from tempzero.analysis.texts import Texts
from tempzero.metrics import TEXT_METRICS, agreement, answers, cell_averages, divergence
from tempzero.metrics.agreement import Floats, Ints
from tempzero.metrics.stopped_sampling import StoppedSampling
from tempzero.types.concluded import Estimate

UP_TO_THE_CUT = "cut texts up to the cut"


def enter_coverage(book: Book, tally: Tally, cells: int) -> None:
    """Shares of the planned trials that were valid, cut, excluded or empty; the rest is missing."""
    lane, planned = tally.lane, count_planned_trials(tally.lane, cells)
    subject = _provider_subject(tally, "coverage")
    valid, censored, excluded = (count_outcomes(lane, s, cells) for s in (VALID, CENSORED, EXCLUDED))
    empty = (lane.status == VALID) & (lane.text == NOT_SAID) & (lane.answered == 1)
    book.add(subject, "coverage", agreement.divide_or_nan(valid, planned))
    book.add(subject, "censored_share", agreement.divide_or_nan(censored, planned))
    book.add(subject, "missing_share", agreement.divide_or_nan(planned - valid - censored - excluded, planned))
    book.add(subject, "excluded_share", agreement.divide_or_nan(excluded, planned))
    book.add(subject, "empty_share", agreement.divide_or_nan(np.bincount(lane.prompt[empty], minlength=cells), planned))


def enter_repeat_agreement(book: Book, tally: Tally, texts: Texts) -> None:
    """How far a provider's repeats agree with one another (docs/methods.md, A)."""
    if tally.stopped is not None:
        _enter_survivors(book, tally, tally.stopped)
        return
    subject, k = _provider_subject(tally, "repeat"), tally.k
    book.add(subject, "emr", tally.emr, note=UP_TO_THE_CUT)
    book.add(subject, "emr_complete", agreement.emr(tally.whole), note="whole texts only")
    for size in sorted({2, k, min(5, k)}):
        book.add(subject, "tarr", agreement.total_agreement_rate(tally.own, size), k=size, note=UP_TO_THE_CUT)
        book.add(subject, "tara", agreement.total_agreement_rate(tally.answer, size), k=size)
    if tally.spelled.cell.size:
        book.add(subject, "emr_as_written", agreement.emr(tally.spelled), note="tool calls letter by letter")
    number = agreement.count_distinct(tally.own, k)
    book.add(subject, "unique_outputs", number, k=k, unit="count", estimate=bounded_mean(1, k), note=UP_TO_THE_CUT)
    book.add(subject, "modal_share", agreement.modal_share(tally.own, k), k=k, note=UP_TO_THE_CUT)
    book.add(subject, "ned", _repeat_ned(tally, texts), note=describe_ned())
    _enter_accuracy_spread(book, subject, tally)
    bits = identical_bits_share(tally.lane, len(tally.emr))
    if not np.isnan(bits).all():
        book.add(subject, "bit_identical_share", bits, note="logits and token ids equal to the first repeat's")


def _enter_survivors(book: Book, tally: Tally, stopped: StoppedSampling) -> None:
    """What repeats can say that stopped at the first divergence: how many prompts survived how many of them."""
    subject = _provider_subject(tally, "repeat")
    refused = Estimate(value=None, low=None, high=None, n=0, method="refused: sampling stopped at the first divergence")
    book.put(subject, "emr", refused, unit="share")
    for size in sorted({2, tally.k}):
        book.put(subject, "tarr", refused, unit="share", k=size)
    for k, number in enumerate(stopped.survivors, start=1):
        counted = Estimate(value=number, low=None, high=None, n=stopped.prompts, method="prompts without divergence")
        book.put(subject, "survivors", counted, unit="count", k=k)


def enter_repetition(book: Book, tally: Tally) -> None:
    """How much a provider's texts repeat themselves; to be read beside the excess over others."""
    subject = _provider_subject(tally, "repetition")
    for name, metric in TEXT_METRICS.items():
        estimate = stats.share_over_prompts if metric.unit == "share" else stats.mean_over_prompts
        book.add(subject, name, tally.metrics[name], unit=metric.unit, estimate=estimate, note="token = word")


def enter_answer_figures(book: Book, tally: Tally) -> None:
    """Accuracy, unparsed answers, verbosity."""
    subject = _provider_subject(tally, "answers")
    book.add(subject, "accuracy", tally.correct)
    book.add(subject, "unparsed_share", tally.unparsed)
    book.add(subject, "verbosity_chars", tally.chars, unit="chars", estimate=stats.mean_over_prompts)


def enter_identity_counts(book: Book, tally: Tally, identities: Sequence[Identity]) -> None:
    """How many served models, fingerprints and backends the responses named."""
    seen = [identities[i] for i in np.unique(tally.lane.identity).tolist() if i != NOT_SAID]
    prompts = int(np.unique(tally.lane.prompt[tally.lane.identity != NOT_SAID]).size)
    for metric, values in (
        ("served_models", {i.served_model for i in seen}),
        ("fingerprints", {i.fingerprint for i in seen}),
        ("backends", {i.backend for i in seen}),
    ):
        number = float(len(values - {None}))
        counted = Estimate(value=number, low=None, high=None, n=prompts, method="distinct values, counted")
        book.put(_provider_subject(tally, "identity"), metric, counted, unit="count")


def enter_speed(book: Book, tally: Tally) -> None:
    """Mean over prompts of the median over repeats; of the attempt that answered."""
    lane, cells = tally.lane, len(tally.emr)
    rows = lane.status <= CENSORED
    tokens = np.where(lane.completion_tokens > 0, lane.completion_tokens, np.nan)
    per_second = tokens / np.where(lane.latency_s > 0, lane.latency_s, np.nan)
    for metric, values, unit in (
        ("latency_s", lane.latency_s, "s"),
        ("first_byte_s", lane.first_byte_s, "s"),
        ("completion_tokens_per_s", per_second, "tokens/s"),
    ):
        median = cell_averages.median_by_cell(lane.prompt[rows], values[rows], cells=cells)
        note = "medians of the repeats"
        book.add(
            _provider_subject(tally, "speed"), metric, median, unit=unit, estimate=stats.mean_over_prompts, note=note
        )


def enter_cost(book: Book, tally: Tally) -> None:
    """Calls, attempts, tokens and, where a price is given, money, retries included."""
    lane, subject = tally.lane, _provider_subject(tally, "cost")
    calls = np.bincount(lane.prompt, minlength=len(tally.emr)).astype(np.float64)
    book.add(subject, "calls", calls, unit="count", estimate=sum_over_prompts)
    book.add(subject, "attempts", lane.attempts.astype(np.float64), unit="count", estimate=sum_over_prompts)
    unknown = int(lane.attempts_without_usage.sum())
    note = f"{unknown} answered attempts reported no usage" if unknown else ""
    reported = lane.attempts > lane.attempts_without_usage
    spent = [np.where(reported, t, np.nan) for t in (lane.spent_prompt_tokens, lane.spent_completion_tokens)]
    book.add(subject, "prompt_tokens", spent[0], unit="tokens", estimate=sum_over_prompts, note=note)
    book.add(subject, "completion_tokens", spent[1], unit="tokens", estimate=sum_over_prompts, note=note)
    price = lane.provider.price
    if price is not None:
        usd = np.array([price.cost(*tokens) for tokens in zip(*spent, strict=True)], dtype=np.float64)
        book.add(subject, "cost_usd", usd, unit="USD", estimate=sum_over_prompts, note=note)


def count_planned_trials(lane: Lane, cells: int) -> Ints:
    """Trials planned of each prompt; of imported records those that were asked, since no plan is known."""
    asked = np.bincount(lane.prompt, minlength=cells)
    if lane.provider.imported is not None:
        return asked
    return np.maximum(np.where(lane.planned, planned_repeats(lane), 0), asked)


def count_outcomes(lane: Lane, status: int, cells: int) -> Ints:
    """How many trials of each prompt ended so."""
    return np.bincount(lane.prompt[lane.status == status], minlength=cells)


def identical_bits_share(lane: Lane, cells: int) -> Floats:
    """Share of each prompt's repeats whose logits and token ids equal the first one's; NaN without repeats."""
    rows = np.flatnonzero((lane.status <= CENSORED) & (lane.bits != NOT_SAID))
    prompt, bits = lane.prompt[rows], lane.bits[rows]
    first = agreement.mark_group_starts(prompt)
    reference = bits[first][np.cumsum(first) - 1]
    same = (bits == reference).astype(np.float64)
    return cell_averages.mean_by_cell(prompt[~first], same[~first], cells=cells)


def describe_ned() -> str:
    """What the NED figures looked at."""
    return f"all pairs of distinct texts, at most {divergence.NED_PAIRS} drawn; first {divergence.NED_CHARS} characters"


def _repeat_ned(tally: Tally, texts: Texts) -> Floats:
    pairs = divergence.repeat_pairs(tally.own)
    left, right = ([texts.text[i] for i in side.tolist()] for side in (pairs.left, pairs.right))
    return divergence.mean_distance(pairs, divergence.normalised_distances(left, right))


def _enter_accuracy_spread(book: Book, subject: Subject, tally: Tally) -> None:
    cells, k = len(tally.emr), tally.k
    best = answers.best_accuracy(*tally.correct_rows, k, cells=cells)
    worst = answers.worst_accuracy(*tally.correct_rows, k, cells=cells)
    book.add(subject, "best_accuracy", best, k=k)
    book.add(subject, "worst_accuracy", worst, k=k)
    book.add(subject, "accuracy_spread", best - worst, k=k)


def _provider_subject(tally: Tally, kind: str) -> Subject:
    return Subject(kind=kind, left=tally.name, condition=tally.lane.condition)
