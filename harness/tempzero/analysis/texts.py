"""The distinct texts of a run in, what is computed once for each of them out.

Texts are numbered anew by prompt and then in sorted order, so that neighbours share the longest
beginnings and nothing depends on the order in which responses arrived.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tempzero.analysis.answer_judgements import AnswerVerdict
from tempzero.extractors import EXTRACTORS, extract_answer, is_expected_answer
from tempzero.metrics import TEXT_METRICS, TextMetric
from tempzero.metrics.agreement import UNPARSED, Floats, Ints
from tempzero.metrics.cuts import find_continuations
from tempzero.metrics.divergence import common_prefix_lengths
from tempzero.types.asked import Prompt
from tempzero.types.vocabulary import MetricName


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """All distinct (prompt, text, whole or cut), with what was read from each.

    `shared` counts the characters a text shares with the one before it (−1 at a prompt's first),
    `longer` names the texts that a cut text begins, `answer` numbers its parsed answer among
    `answers`, `correct` is 1, 0, or NaN where the prompt expects nothing.
    """

    text: tuple[str, ...]
    prompt: Ints
    cut: NDArray[np.bool_]
    length: Ints
    shared: Ints
    longer: Mapping[int, Ints]
    answer: Ints
    answers: tuple[str, ...]
    correct: Floats
    metrics: Mapping[MetricName, Floats]


def study_texts(
    numbered: Mapping[tuple[int, str, bool], int],
    prompts: Sequence[Prompt],
    tried: Mapping[tuple[int, str], AnswerVerdict],
) -> tuple[Texts, Ints]:
    """Read every distinct text once; what had to be tried out is looked up in `tried`.

    Gives also each text's new number at the place of its old one.
    """
    order = sorted(numbered)
    new = np.empty(len(order), dtype=np.int64)
    new[np.fromiter((numbered[key] for key in order), dtype=np.int64, count=len(order))] = np.arange(len(order))
    text = tuple(key[1] for key in order)
    prompt = np.fromiter((key[0] for key in order), dtype=np.int64, count=len(order))
    cut = np.fromiter((not key[2] for key in order), dtype=bool, count=len(order))
    length = np.fromiter(map(len, text), dtype=np.int64, count=len(order))
    shared = np.full(len(order), -1, dtype=np.int64)
    shared[1:] = np.where(prompt[1:] == prompt[:-1], common_prefix_lengths(text[1:], text[:-1]), -1)
    answer, answers, correct = _parse_answers(order, prompts, tried)
    return Texts(
        text=text,
        prompt=prompt,
        cut=cut,
        length=length,
        shared=shared,
        longer=find_continuations(length, cut, shared),
        answer=answer,
        answers=answers,
        correct=correct,
        metrics={m.metric.name: _measure_texts(m, text) for m in TEXT_METRICS},
    ), new


def _parse_answers(
    order: Sequence[tuple[int, str, bool]], prompts: Sequence[Prompt], tried: Mapping[tuple[int, str], AnswerVerdict]
) -> tuple[Ints, tuple[str, ...], Floats]:
    """A cut text has not come to its answer, so none is read from it."""
    answer, correct = np.full(len(order), UNPARSED, dtype=np.int64), np.full(len(order), np.nan)
    numbers: dict[str, int] = {}
    for index, (at, text, whole) in enumerate(order):
        prompt = prompts[at]
        if prompt.extractor is None or not whole:
            continue
        if EXTRACTORS[prompt.extractor.name].judged:
            parsed, right = tried.get((at, text), (None, False))
        else:
            parsed = extract_answer(prompt.extractor, text)
            right = None if prompt.expected is None else is_expected_answer(prompt.extractor, parsed, prompt.expected)
        if parsed is not None:
            answer[index] = numbers.setdefault(parsed, len(numbers))
        if prompt.expected is not None:
            correct[index] = bool(right)
    return answer, tuple(numbers), correct


def _measure_texts(metric: TextMetric, texts: Sequence[str]) -> Floats:
    values = (metric.read(text) for text in texts)
    return np.fromiter((np.nan if v is None else v for v in values), dtype=np.float64, count=len(texts))
