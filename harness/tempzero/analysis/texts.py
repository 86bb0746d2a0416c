"""The distinct answers of a run in, what is computed once for each of them, and for each of their parts, out.

Texts are numbered anew by prompt and then in sorted order, so that neighbours share the longest
beginnings and nothing depends on the order in which responses arrived.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from tempzero.analysis.answer_judgements import AnswerVerdict
from tempzero.analysis.observations import Observations, read_answer_text
from tempzero.analysis.part_counts import NOT_SAID
from tempzero.answers.answer_parts import AnswerParts, count_own_chars, to_spoken_text
from tempzero.extractors import EXTRACTORS, extract_answer, is_expected_answer
from tempzero.metrics import TEXT_METRICS, TextMetric
from tempzero.metrics.agreement import UNPARSED, Floats, Ints
from tempzero.metrics.cuts import LIMIT_NOT_KNOWN, find_continuations
from tempzero.metrics.divergence import common_prefix_lengths
from tempzero.types.asked import Prompt
from tempzero.types.vocabulary import MetricName, PartName

# A prompt's number, a text, whether it is whole, and after how many tokens it was cut; in this order texts are sorted.
_TextKey = tuple[int, str, bool, int]
ANSWER_PARTS: tuple[PartName, ...] = ("reasoning", "text", "calls", "refusal")
"""The parts of an answer, in the order in which a model writes them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedTexts:
    """Distinct (prompt, text, whole or cut): of whole answers, or of one of their parts.

    `limit` is the number of tokens after which a text was cut, LIMIT_NOT_KNOWN where that is not known or not one.
    `shared` counts the characters a text shares with the one before it (−1 at a prompt's first), `shared_chars` those
    of them that the model wrote, `chars` all that it wrote. `longer` names the texts that a cut text begins. `written`
    are the texts without marks, for readers and for measures of single texts.
    """

    text: tuple[str, ...]
    written: tuple[str, ...]
    prompt: Ints
    cut: NDArray[np.bool_]
    limit: Ints
    length: Ints
    shared: Ints
    shared_chars: Ints
    longer: Mapping[int, list[int]]
    chars: Ints
    metrics: Mapping[MetricName, Floats]


@dataclass(frozen=True, kw_only=True, slots=True)
class PartTexts(ComparedTexts):
    """One part of every answer. `of_answer` numbers it by the answer's number; −1: cut before this part began."""

    of_answer: Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts(ComparedTexts):
    """All distinct answers, each with all its parts as one text, with what was read from each.

    `answer_text` is what answers are read from, `answer` numbers the parsed answer among `answers`, `told` does too,
    and where none could be read the text that it was looked for in. `correct` is 1, 0, or NaN where the prompt
    expects nothing. `parts` holds each part that any answer has, and "spoken" where any has a
    reasoning; it is empty where all answers are nothing but text.
    """

    answer_text: tuple[str, ...]
    answer: Ints
    told: Ints
    answers: tuple[str, ...]
    correct: Floats
    parts: Mapping[PartName, PartTexts]

    def by_part(self, part: PartName) -> ComparedTexts:
        """The whole answers, or one part of them."""
        return self if part == "whole" else self.parts[part]


class _Compared(TypedDict):
    """The fields of ComparedTexts."""

    text: tuple[str, ...]
    written: tuple[str, ...]
    prompt: Ints
    cut: NDArray[np.bool_]
    limit: Ints
    length: Ints
    shared: Ints
    shared_chars: Ints
    longer: Mapping[int, list[int]]
    chars: Ints
    metrics: Mapping[MetricName, Floats]


def study_texts(seen: Observations) -> tuple[Texts, Ints]:
    """Read every distinct answer once. Gives also each answer's new number at the place of its old one."""
    numbered = seen.texts
    order = sorted(numbered)
    old = [numbered[key] for key in order]
    new = np.empty(len(order), dtype=np.int64)
    new[np.array(old, dtype=np.int64)] = np.arange(len(order))
    parts = {i: seen.parts[number] for i, number in enumerate(old) if number in seen.parts}
    read_from = tuple(read_answer_text(key[1], parts.get(i)) for i, key in enumerate(order))
    answer, answers, correct = _parse_answers(order, read_from, seen.prompts, seen.judged.answers)
    return Texts(
        **_compare_texts(order, parts),
        answer_text=read_from,
        answer=answer,
        told=_number_told_answers(answer, len(answers), read_from),
        answers=answers,
        correct=correct,
        parts=_study_parts(order, parts),
    ), new


def _compare_texts(order: Sequence[_TextKey], parts: Mapping[int, AnswerParts]) -> _Compared:
    """What sorted texts share and may go on as. `parts` are those of texts that hold marks beside what was written."""
    text = tuple(key[1] for key in order)
    prompt = np.fromiter((key[0] for key in order), dtype=np.int64, count=len(order))
    cut = np.fromiter((not key[2] for key in order), dtype=bool, count=len(order))
    limit = np.fromiter((key[3] for key in order), dtype=np.int64, count=len(order))
    length = np.fromiter(map(len, text), dtype=np.int64, count=len(order))
    shared = np.full(len(order), -1, dtype=np.int64)
    shared[1:] = np.where(prompt[1:] == prompt[:-1], common_prefix_lengths(text[1:], text[:-1]), -1)
    shared_chars, chars = shared, length
    if parts:
        shared_chars, chars = shared.copy(), length.copy()
        for i in parts:
            chars[i] = count_own_chars(text[i])
            for one in (i, i + 1):
                if one < len(text) and shared[one] > 0:
                    shared_chars[one] = count_own_chars(text[one][: shared[one]])
    written = tuple(_join_parts(parts[i]) if i in parts else one for i, one in enumerate(text)) if parts else text
    return _Compared(
        text=text,
        written=written,
        prompt=prompt,
        cut=cut,
        limit=limit,
        length=length,
        shared=shared,
        shared_chars=shared_chars,
        longer=find_continuations(length, cut, shared),
        chars=chars,
        metrics={m.metric.name: _measure_texts(m, written) for m in TEXT_METRICS},
    )


def _join_parts(parts: AnswerParts) -> str:
    """All of an answer without marks."""
    return "\n".join(filter(None, (parts.reasoning, parts.text, parts.calls, parts.refusal)))


def _study_parts(order: Sequence[_TextKey], parts: Mapping[int, AnswerParts]) -> dict[PartName, PartTexts]:
    """Each part as texts of their own, where there are more parts than text."""
    if not parts:
        return {}
    split = [_part_values(key, parts.get(i)) for i, key in enumerate(order)]
    used: list[PartName] = [name for name in ANSWER_PARTS if any(one.get(name, ("", True))[0] for one in split)]
    if "reasoning" in used:
        used.append("spoken")
    return {name: _study_part(name, order, split) for name in used}


def _part_values(key: _TextKey, parts: AnswerParts | None) -> dict[PartName, tuple[str, bool]]:
    """Each part's text and whether it is whole. Of a cut answer the last part is cut, and those behind it are none."""
    _, text, whole, _ = key
    values: dict[PartName, str] = {
        "reasoning": parts.reasoning or "" if parts else "",
        "text": parts.text if parts else text,
        "calls": parts.calls if parts else "",
        "refusal": parts.refusal or "" if parts else "",
    }
    spoken = to_spoken_text(parts) if parts else text
    if whole:
        return {**{name: (value, True) for name, value in values.items()}, "spoken": (spoken, True)}
    last = max(i for i, name in enumerate(ANSWER_PARTS) if values[name])
    found = {name: (values[name], i < last) for i, name in enumerate(ANSWER_PARTS) if i <= last}
    if spoken:
        found["spoken"] = (spoken, False)
    return found


def _study_part(
    name: PartName, order: Sequence[_TextKey], split: Sequence[Mapping[PartName, tuple[str, bool]]]
) -> PartTexts:
    """The distinct texts of one part. After how many tokens one was cut is known where nothing came before it."""
    keys: list[_TextKey | None] = []
    for key, values in zip(order, split, strict=True):
        if name not in values:
            keys.append(None)
            continue
        text, whole = values[name]
        alone = not any(values[p][0] for p in ANSWER_PARTS if p in values and p != name and name != "spoken")
        alone = alone and not (name == "spoken" and values["reasoning"][0])
        keys.append((key[0], text, whole, key[3] if alone and not whole else LIMIT_NOT_KNOWN))
    distinct = sorted({one for one in keys if one is not None})
    number = {one: i for i, one in enumerate(distinct)}
    return PartTexts(
        **_compare_texts(distinct, {}),
        of_answer=np.array([NOT_SAID if one is None else number[one] for one in keys], dtype=np.int64),
    )


def _parse_answers(
    order: Sequence[_TextKey],
    read_from: Sequence[str],
    prompts: Sequence[Prompt],
    tried: Mapping[tuple[int, str], AnswerVerdict],
) -> tuple[Ints, tuple[str, ...], Floats]:
    """A cut text has not come to its answer, so none is read from it."""
    answer, correct = np.full(len(order), UNPARSED, dtype=np.int64), np.full(len(order), np.nan)
    numbers: dict[str, int] = {}
    for index, ((at, _, whole, _), text) in enumerate(zip(order, read_from, strict=True)):
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


def _number_told_answers(answer: Ints, answers: int, read_from: Sequence[str]) -> Ints:
    """Two texts of which no answer can be read tell the same where they are the same, and otherwise not."""
    numbers: dict[str, int] = {}
    told = answer.copy()
    for index in np.flatnonzero(answer == UNPARSED).tolist():
        told[index] = answers + numbers.setdefault(read_from[index], len(numbers))
    return told


def _measure_texts(metric: TextMetric, texts: Sequence[str]) -> Floats:
    values = (metric.read(text) for text in texts)
    return np.fromiter((np.nan if v is None else v for v in values), dtype=np.float64, count=len(texts))
