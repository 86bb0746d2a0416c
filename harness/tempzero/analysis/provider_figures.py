"""The tally of one provider in, its own figures out: coverage, repeats, repetition, answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tempzero import stats
from tempzero.analysis.book import Book, Subject, bounded_mean
from tempzero.analysis.observations import Lane
from tempzero.analysis.part_counts import CENSORED, EXCLUDED, NOT_SAID, VALID
from tempzero.analysis.tallies import CountedTexts, PartTally, Tally, planned_repeats
from tempzero.analysis.texts import ComparedTexts, PartTexts, Texts
from tempzero.metrics import TEXT_METRICS, agreement, answers, cell_averages, divergence
from tempzero.metrics.agreement import Counts, Floats, Ints
from tempzero.metrics.stopped_sampling import SURVIVORS, StoppedSampling
from tempzero.types.concluded import Estimate
from tempzero.types.vocabulary import KindName, Metric, PartName

UP_TO_THE_CUT = "cut texts up to the cut"
_NOTHING_PLANNED = "nothing was planned"

COVERAGE = Metric(
    name="coverage",
    unit="share",
    kinds=("coverage",),
    title="Answered (coverage)",
    definition="Share of the planned trials that were answered, by a whole answer or by one that was cut.",
    source="(valid + censored) / planned",
    one_means="every planned trial was answered",
    undefined=_NOTHING_PLANNED,
)
WHOLE_SHARE = Metric(
    name="whole_share",
    unit="share",
    kinds=("coverage",),
    title="Whole",
    definition="Share of the planned trials that gave a complete answer, an empty one included.",
    source="valid / planned",
    one_means="every planned trial gave a complete answer",
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
    definition="Share of the planned trials answered with nothing: no text, no reasoning, no call. It is an answer "
    "like any other, and differs from a text.",
    source="empty / planned",
    one_means="every planned trial gave an empty answer",
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
    definition="Length of the answers in characters, reasoning and calls included, mean over prompts.",
    source="counted",
    undefined="no valid response",
)


REASONING_SHARE = Metric(
    name="reasoning_share",
    unit="share",
    kinds=("answers",),
    title="Shows its reasoning",
    definition="Share of the answers that come with a reasoning, in whichever field or block it stands.",
    source="counted",
    one_means="every answer shows its reasoning",
    undefined="no answer to look at",
    absent="nobody shows a reasoning",
)


def enter_coverage(book: Book, tally: Tally, texts: Texts, cells: int) -> None:
    """Shares of the planned trials that were answered, whole, cut, excluded or empty; the rest is missing."""
    lane, planned = tally.lane, count_planned_trials(tally.lane, cells)
    subject = provider_subject(tally, "coverage")
    valid, censored, excluded = (count_outcomes(lane, s, cells) for s in (VALID, CENSORED, EXCLUDED))
    empty = find_empty_answers(tally, texts)
    book.add(subject, COVERAGE, agreement.divide_or_nan(valid + censored, planned))
    book.add(subject, WHOLE_SHARE, agreement.divide_or_nan(valid, planned))
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
    for size in sorted({2, k, min(5, k), tally.leading_k}):
        book.add(subject, agreement.TARR, agreement.total_agreement_rate(tally.own, size), k=size, note=UP_TO_THE_CUT)
        book.add(subject, agreement.TARA, agreement.total_agreement_rate(tally.answer, size), k=size)
    if tally.spelled.cell.size:
        book.add(subject, EMR_AS_WRITTEN, agreement.emr(tally.spelled), note="tool calls letter by letter")
    number = agreement.count_distinct(tally.own, k)
    book.add(subject, agreement.UNIQUE_OUTPUTS, number, k=k, estimate=bounded_mean(1, k), note=UP_TO_THE_CUT)
    book.add(subject, agreement.MODAL_SHARE, agreement.modal_share(tally.own, k), k=k, note=UP_TO_THE_CUT)
    book.add(subject, divergence.NED, _repeat_ned(tally.own, texts), note=describe_ned())
    for name, part in tally.own_parts().items():
        _enter_part_agreement(book, provider_subject(tally, "repeat", name), part, texts.parts[name], k)
    _enter_accuracy_spread(book, subject, tally)
    bits = identical_bits_share(tally.lane, len(tally.emr))
    if not np.isnan(bits).all():
        book.add(subject, BIT_IDENTICAL_SHARE, bits, note="logits and token ids equal to the first repeat's")


def _enter_part_agreement(book: Book, subject: Subject, part: PartTally, texts: PartTexts, k: int) -> None:
    """How far one part of a provider's answers agrees, on the prompts to which any answer has that part."""

    def of_used(values: Floats) -> Floats:
        return np.where(part.used, values, np.nan)

    book.add(subject, agreement.EMR, part.emr, note=UP_TO_THE_CUT)
    for size in sorted({2, k, min(5, k)}):
        same = agreement.total_agreement_rate(part.own, size)
        book.add(subject, agreement.TARR, of_used(same), k=size, note=UP_TO_THE_CUT)
    number = of_used(agreement.count_distinct(part.own, k))
    book.add(subject, agreement.UNIQUE_OUTPUTS, number, k=k, estimate=bounded_mean(1, k), note=UP_TO_THE_CUT)
    book.add(subject, divergence.NED, of_used(_repeat_ned(part.own, texts)), note=describe_ned())


def _enter_survivors(book: Book, tally: Tally, stopped: StoppedSampling) -> None:
    """What repeats can say that stopped at the first divergence: how many prompts survived how many of them."""
    subject = provider_subject(tally, "repeat")
    method = f"refused: sampling stopped {stopped.described}"
    refused = Estimate(value=None, low=None, high=None, n=0, method=method)
    book.put(subject, agreement.EMR, refused)
    for size in sorted({2, tally.k}):
        book.put(subject, agreement.TARR, refused, k=size)
    for k, number in enumerate(stopped.survivors, start=1):
        counted = Estimate(value=number, low=None, high=None, n=stopped.prompts, method="prompts without divergence")
        book.put(subject, SURVIVORS, counted, k=k)


def enter_repetition(book: Book, tally: Tally) -> None:
    """How much a provider's texts repeat themselves; to be read beside the excess over others."""
    counted: dict[PartName, CountedTexts] = {"whole": tally, **tally.own_parts()}
    for name, one in counted.items():
        subject = provider_subject(tally, "repetition", name)
        for metric in (m.metric for m in TEXT_METRICS):
            estimate = stats.share_over_prompts if metric.unit == "share" else stats.mean_over_prompts
            book.add(subject, metric, one.metrics[metric.name], estimate=estimate, note="token = word")


def enter_answer_figures(book: Book, tally: Tally) -> None:
    """Accuracy, unparsed answers, verbosity."""
    subject = provider_subject(tally, "answers")
    book.add(subject, answers.ACCURACY, tally.correct)
    book.add(subject, answers.UNPARSED_SHARE, tally.unparsed)
    book.add(subject, VERBOSITY_CHARS, tally.chars, estimate=stats.mean_over_prompts)
    for name, part in tally.own_parts().items():
        chars = np.where(part.used, part.chars, np.nan)
        of_part = provider_subject(tally, "answers", name)
        book.add(of_part, VERBOSITY_CHARS, chars, estimate=stats.mean_over_prompts)
    if "reasoning" in tally.parts:
        book.add(subject, REASONING_SHARE, tally.shown_share)


def find_empty_answers(tally: Tally, texts: Texts) -> NDArray[np.bool_]:
    """The rows of complete answers that hold nothing."""
    text = tally.lane.text
    empty = (tally.lane.status == VALID) & (text != NOT_SAID)
    empty[empty] = texts.length[text[empty]] == 0
    return np.asarray(empty, dtype=np.bool_)


def count_planned_trials(lane: Lane, cells: int) -> Ints:
    """Trials planned of each prompt; of imported records those that were asked, since no plan is known."""
    asked = np.bincount(lane.prompt, minlength=cells)
    if lane.provider.imported is not None:
        return asked
    return np.maximum(np.where(lane.planned, planned_repeats(lane), 0) - lane.elsewhere, asked)


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


def _repeat_ned(own: Counts, texts: ComparedTexts) -> Floats:
    pairs = divergence.repeat_pairs(own)
    left, right = ([texts.text[i] for i in side.tolist()] for side in (pairs.left, pairs.right))
    return divergence.mean_distance(pairs, divergence.normalised_distances(left, right))


def _enter_accuracy_spread(book: Book, subject: Subject, tally: Tally) -> None:
    cells, k = len(tally.emr), tally.k
    best = answers.best_accuracy(*tally.correct_rows, k, cells=cells)
    worst = answers.worst_accuracy(*tally.correct_rows, k, cells=cells)
    book.add(subject, answers.BEST_ACCURACY, best, k=k)
    book.add(subject, answers.WORST_ACCURACY, worst, k=k)
    book.add(subject, answers.ACCURACY_SPREAD, best - worst, k=k)


def provider_subject(tally: Tally, kind: KindName, part: PartName = "whole") -> Subject:
    """Whom a provider's own figures of one kind speak of, and of which part of its answers."""
    return Subject(kind=kind, left=tally.name, condition=tally.lane.condition, part=part)
