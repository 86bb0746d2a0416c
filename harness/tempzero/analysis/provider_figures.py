"""The tally of one provider in, its own figures out: coverage, repeats, repetition, answers."""

from __future__ import annotations

import numpy as np

from tempzero import stats
from tempzero.analysis.book import Book, Subject, bounded_mean
from tempzero.analysis.observations import CENSORED, EXCLUDED, NOT_SAID, VALID, Lane
from tempzero.analysis.tallies import Tally, planned_repeats
from tempzero.analysis.texts import Texts
from tempzero.metrics import TEXT_METRICS, agreement, answers, cell_averages, divergence
from tempzero.metrics.agreement import Floats, Ints
from tempzero.metrics.stopped_sampling import SURVIVORS, StoppedSampling
from tempzero.types.concluded import Estimate
from tempzero.types.vocabulary import KindName, Metric

UP_TO_THE_CUT = "cut texts up to the cut"
_NOTHING_PLANNED = "nothing was planned"

COVERAGE = Metric(
    name="coverage",
    unit="share",
    kinds=("coverage",),
    title="Valid (coverage)",
    definition="Share of the planned trials that gave a complete text.",
    source="valid / planned",
    one_means="every planned trial gave a complete text",
    undefined=_NOTHING_PLANNED,
)
CENSORED_SHARE = Metric(
    name="censored_share",
    unit="share",
    kinds=("coverage",),
    title="Cut (censored)",
    definition="Share of the planned trials whose text was cut by the length limit or a content filter. Cut texts are "
    "compared only up to the cut.",
    source="censored / planned",
    one_means="every planned trial was cut",
    undefined=_NOTHING_PLANNED,
)
MISSING_SHARE = Metric(
    name="missing_share",
    unit="share",
    kinds=("coverage",),
    title="No answer (missing)",
    definition="Share of the planned trials without any output. Missing never counts as divergence.",
    source="missing / planned",
    one_means="no planned trial gave any output",
    undefined=_NOTHING_PLANNED,
)
EXCLUDED_SHARE = Metric(
    name="excluded_share",
    unit="share",
    kinds=("coverage",),
    title="Left out (cached)",
    definition="Share of the planned trials answered from a response cache, not computed for this run: left out.",
    source="excluded / planned",
    one_means="every planned trial was answered from a cache",
    undefined=_NOTHING_PLANNED,
)
EMPTY_SHARE = Metric(
    name="empty_share",
    unit="share",
    kinds=("coverage",),
    title="Empty answers",
    definition="Share of the planned trials answered with an empty text. It is an answer, but no text to compare.",
    source="empty / planned",
    one_means="every planned trial gave an empty text",
    undefined=_NOTHING_PLANNED,
)
EMR_AS_WRITTEN = Metric(
    name="emr_as_written",
    unit="share",
    kinds=("repeat",),
    title="Same calls again, letter by letter",
    definition="As EMR, of prompts that offer tools, the arguments of calls compared as they were written: order of "
    "keys and spaces count, which they do not elsewhere.",
    source="Rover 2026; Simpson index",
    one_means="any two repeats are the same letter by letter, calls included",
    undefined="no prompt that offers tools has two answers",
)
BIT_IDENTICAL_SHARE = Metric(
    name="bit_identical_share",
    unit="share",
    kinds=("repeat",),
    title="Bit-identical repeats",
    definition="Share of repeats whose logits and token ids equal those of the prompt's first repeat, bit for bit. "
    "Only an engine in this process can tell.",
    source="hash over the float32 logits of every position",
    one_means="every repeat is the first one bit for bit",
    undefined="there are no repeats",
    absent="the engine gives no logits",
)
VERBOSITY_CHARS = Metric(
    name="verbosity_chars",
    unit="chars",
    kinds=("answers",),
    title="Length, characters",
    definition="Length of the responses in characters, mean over prompts.",
    source="counted",
    undefined="no valid response",
)


def enter_coverage(book: Book, tally: Tally, cells: int) -> None:
    """Shares of the planned trials that were valid, cut, excluded or empty; the rest is missing."""
    lane, planned = tally.lane, count_planned_trials(tally.lane, cells)
    subject = provider_subject(tally, "coverage")
    valid, censored, excluded = (count_outcomes(lane, s, cells) for s in (VALID, CENSORED, EXCLUDED))
    empty = (lane.status == VALID) & (lane.text == NOT_SAID) & (lane.answered == 1)
    book.add(subject, COVERAGE, agreement.divide_or_nan(valid, planned))
    book.add(subject, CENSORED_SHARE, agreement.divide_or_nan(censored, planned))
    book.add(subject, MISSING_SHARE, agreement.divide_or_nan(planned - valid - censored - excluded, planned))
    book.add(subject, EXCLUDED_SHARE, agreement.divide_or_nan(excluded, planned))
    book.add(subject, EMPTY_SHARE, agreement.divide_or_nan(np.bincount(lane.prompt[empty], minlength=cells), planned))


def enter_repeat_agreement(book: Book, tally: Tally, texts: Texts) -> None:
    """How far a provider's repeats agree with one another (docs/methods.md, A)."""
    if tally.stopped is not None:
        _enter_survivors(book, tally, tally.stopped)
        return
    subject, k = provider_subject(tally, "repeat"), tally.k
    book.add(subject, agreement.EMR, tally.emr, note=UP_TO_THE_CUT)
    book.add(subject, agreement.EMR_COMPLETE, agreement.emr(tally.whole), note="whole texts only")
    for size in sorted({2, k, min(5, k)}):
        book.add(subject, agreement.TARR, agreement.total_agreement_rate(tally.own, size), k=size, note=UP_TO_THE_CUT)
        book.add(subject, agreement.TARA, agreement.total_agreement_rate(tally.answer, size), k=size)
    if tally.spelled.cell.size:
        book.add(subject, EMR_AS_WRITTEN, agreement.emr(tally.spelled), note="tool calls letter by letter")
    number = agreement.count_distinct(tally.own, k)
    book.add(subject, agreement.UNIQUE_OUTPUTS, number, k=k, estimate=bounded_mean(1, k), note=UP_TO_THE_CUT)
    book.add(subject, agreement.MODAL_SHARE, agreement.modal_share(tally.own, k), k=k, note=UP_TO_THE_CUT)
    book.add(subject, divergence.NED, _repeat_ned(tally, texts), note=describe_ned())
    _enter_accuracy_spread(book, subject, tally)
    bits = identical_bits_share(tally.lane, len(tally.emr))
    if not np.isnan(bits).all():
        book.add(subject, BIT_IDENTICAL_SHARE, bits, note="logits and token ids equal to the first repeat's")


def _enter_survivors(book: Book, tally: Tally, stopped: StoppedSampling) -> None:
    """What repeats can say that stopped at the first divergence: how many prompts survived how many of them."""
    subject = provider_subject(tally, "repeat")
    refused = Estimate(value=None, low=None, high=None, n=0, method="refused: sampling stopped at the first divergence")
    book.put(subject, agreement.EMR, refused)
    for size in sorted({2, tally.k}):
        book.put(subject, agreement.TARR, refused, k=size)
    for k, number in enumerate(stopped.survivors, start=1):
        counted = Estimate(value=number, low=None, high=None, n=stopped.prompts, method="prompts without divergence")
        book.put(subject, SURVIVORS, counted, k=k)


def enter_repetition(book: Book, tally: Tally) -> None:
    """How much a provider's texts repeat themselves; to be read beside the excess over others."""
    subject = provider_subject(tally, "repetition")
    for metric in (one.metric for one in TEXT_METRICS):
        estimate = stats.share_over_prompts if metric.unit == "share" else stats.mean_over_prompts
        book.add(subject, metric, tally.metrics[metric.name], estimate=estimate, note="token = word")


def enter_answer_figures(book: Book, tally: Tally) -> None:
    """Accuracy, unparsed answers, verbosity."""
    subject = provider_subject(tally, "answers")
    book.add(subject, answers.ACCURACY, tally.correct)
    book.add(subject, answers.UNPARSED_SHARE, tally.unparsed)
    book.add(subject, VERBOSITY_CHARS, tally.chars, estimate=stats.mean_over_prompts)


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
    book.add(subject, answers.BEST_ACCURACY, best, k=k)
    book.add(subject, answers.WORST_ACCURACY, worst, k=k)
    book.add(subject, answers.ACCURACY_SPREAD, best - worst, k=k)


def provider_subject(tally: Tally, kind: KindName) -> Subject:
    """Whom a provider's own figures of one kind speak of."""
    return Subject(kind=kind, left=tally.name, condition=tally.lane.condition)
