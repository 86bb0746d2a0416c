"""A Case in, the wordings and distinct answers that a report has room for out, most divergent prompts first."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from tempzero.analysis.evidence import Case
from tempzero.analysis.part_counts import NOT_SAID
from tempzero.analysis.round_histories import name_place
from tempzero.answers.chat_messages import wire_tools
from tempzero.metrics.agreement import UNPARSED
from tempzero.metrics.divergence import common_prefix_lengths
from tempzero.types.asked import Message, Prompt, Trial
from tempzero.types.concluded import AnswerCount, AskedPart, AskedPrompt, DistinctAnswer, PromptRow
from tempzero.types.vocabulary import PartName

MOST_BYTES = 2_200_000
"""Of prompts in one report, with the markup that they come to: the page then stays below 3 MB. Beginnings that answers
share with the commonest stand there once."""
_PROMPT_BYTES, _ROW_BYTES, _ANSWER_BYTES = 700, 260, 420
MOST_ANSWERS = 60
"""Distinct answers to one prompt."""
MOST_READ_CHARS = 400_000
"""Of answers that are shown token by token as a reference reads them."""
MOST_WORDING_CHARS = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptAnswers:
    """The prompts that are kept, and their answers in the order of prompts, commonest first."""

    asked: tuple[AskedPrompt, ...]
    answers: tuple[DistinctAnswer, ...]

    def read_trials(self) -> tuple[Trial, ...]:
        """Of as many of the answers as are shown token by token the earliest trial that gave each."""
        found, chars = [], 0
        for one in self.answers:
            chars += len(one.text)
            if chars > MOST_READ_CHARS:
                break
            found.append(one.trial)
        return tuple(found)


_Given = tuple[list[AnswerCount], Trial]


def keep_answers(case: Case, rows: Sequence[PromptRow]) -> KeptAnswers:
    """Whole prompts until the texts fill a page: a run may hold millions of them."""
    number = {name_place(p): j for j, p in enumerate(case.prompts)}
    asked: list[AskedPrompt] = []
    answers: list[DistinctAnswer] = []
    room = MOST_BYTES
    members = Counter(row.prompt for row in rows)
    for prompt in _order_by_divergence(rows, _find_commonest_shares(case)):
        texts = _count_given(case, number[prompt])
        kept = sorted(texts, key=lambda text: _rank_answer(case, text, texts[text][0]))[:MOST_ANSWERS]
        wording = _write_wording(case.prompts[number[prompt]], prompt, len(texts))
        room -= _PROMPT_BYTES + _ROW_BYTES * members[prompt] + _ANSWER_BYTES * len(kept)
        room -= sum(_count_bytes(part.text) for part in wording.parts)
        room -= _count_new_bytes([case.texts.written[text] for text in kept])
        if room < 0 and asked:
            break
        asked.append(wording)
        answers += [_describe_answer(case, prompt, text, *texts[text]) for text in kept]
    return KeptAnswers(asked=tuple(asked), answers=tuple(answers))


def _order_by_divergence(rows: Iterable[PromptRow], commonest: Mapping[str, float]) -> list[str]:
    """The prompts with the lowest agreement first: of a provider with itself or its reference, or of all with all.

    `commonest` is the share of all answers that are a prompt's commonest.
    """
    shares: dict[str, list[float]] = {}
    for row in rows:
        found = shares.setdefault(row.prompt, [commonest[row.prompt]])
        found.extend(s for s in (row.emr, row.match_reference) if s is not None)
    return sorted(shares, key=lambda prompt: (min(shares[prompt]), fmean(shares[prompt]), prompt))


def _find_commonest_shares(case: Case) -> dict[str, float]:
    """For each prompt the share of all answers that are its commonest; 2, which comes last, where nobody answered."""
    texts, cells = case.texts, len(case.prompts)
    counts = np.zeros(len(texts.text), dtype=np.int64)
    for tally in case.tallies:
        counts += np.bincount(tally.lane.text[tally.lane.text != NOT_SAID], minlength=counts.size)
    largest = np.zeros(cells, dtype=np.int64)
    np.maximum.at(largest, texts.prompt, counts)
    total = np.bincount(texts.prompt, weights=counts, minlength=cells)
    return {name_place(p): largest[j] / total[j] if total[j] else 2.0 for j, p in enumerate(case.prompts)}


def _rank_answer(case: Case, text: int, given: Sequence[AnswerCount]) -> tuple[int, bool, int]:
    """The commonest first; of two that are as common the reference's."""
    by_reference = any(one.provider in case.references for one in given)
    return -sum(one.count for one in given), not by_reference, text


def _count_given(case: Case, prompt: int) -> dict[int, _Given]:
    """A prompt's distinct answers, by number: who gave each how often, and the earliest trial that did."""
    found: dict[int, _Given] = {}
    for tally in case.tallies:
        start = int(tally.starts[prompt])
        given = tally.lane.text[start : tally.starts[prompt + 1]]
        texts, first, counts = np.unique(given, return_index=True, return_counts=True)
        for text, at, count in zip(texts.tolist(), first.tolist(), counts.tolist(), strict=True):
            if text != NOT_SAID:
                who = AnswerCount(provider=tally.name, condition=tally.lane.condition, count=count)
                found.setdefault(text, ([], tally.trial(start + at, case.prompts)))[0].append(who)
    return found


def _describe_answer(case: Case, prompt: str, number: int, given: list[AnswerCount], trial: Trial) -> DistinctAnswer:
    texts = case.texts
    answer, correct = int(texts.answer[number]), float(texts.correct[number])

    def part(name: PartName) -> str:
        if not texts.parts:
            return texts.text[number] if name == "text" else ""
        of = texts.parts.get(name)
        at = NOT_SAID if of is None else int(of.of_answer[number])
        return "" if of is None or at == NOT_SAID else of.text[at]

    return DistinctAnswer(
        prompt=prompt,
        reasoning=part("reasoning"),
        text=part("text"),
        calls=part("calls"),
        refusal=part("refusal"),
        cut=bool(texts.cut[number]),
        parsed=None if answer == UNPARSED else texts.answers[answer],
        correct=None if np.isnan(correct) else bool(correct),
        given=tuple(given),
        trial=trial,
    )


def _write_wording(prompt: Prompt, name: str, answers: int) -> AskedPrompt:
    parts = [part for message in prompt.messages for part in _write_message(message)]
    if prompt.tools:
        tools = json.dumps(wire_tools(prompt.tools, prompt.tool_choice), ensure_ascii=False, indent=1)
        parts.append(AskedPart(role="tools offered", text=_shorten_wording(tools)))
    return AskedPrompt(
        prompt=name,
        family=prompt.family,
        expected=prompt.expected,
        parts=tuple(parts),
        answers=answers,
    )


def _write_message(message: Message) -> Iterable[AskedPart]:
    said = [message.content]
    said += [f"({part.get('type')})" for part in message.parts if part.get("type") != "text"]
    said += [f"{call.name} {call.arguments}" for call in message.tool_calls]
    if message.reasoning_content:
        yield AskedPart(role=f"{message.role}, reasoning", text=_shorten_wording(message.reasoning_content))
    yield AskedPart(role=message.role, text=_shorten_wording("\n".join(filter(None, said))))


def _shorten_wording(text: str) -> str:
    """Beginning and end of a wording that is longer than a reader would read."""
    left_out = len(text) - MOST_WORDING_CHARS
    half = MOST_WORDING_CHARS // 2
    return text if left_out <= 0 else f"{text[:half]}\n… {left_out:,} characters left out …\n{text[-half:]}"


def _count_new_bytes(texts: Sequence[str]) -> int:
    """Bytes of texts of which the beginning that one shares with the first stands there once."""
    if not texts:
        return 0
    shared = common_prefix_lengths(texts[1:], [texts[0]] * (len(texts) - 1)) if len(texts) > 1 else ()
    return _count_bytes(texts[0]) + sum(
        _count_bytes(text[int(at) :]) for text, at in zip(texts[1:], shared, strict=True)
    )


def _count_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
