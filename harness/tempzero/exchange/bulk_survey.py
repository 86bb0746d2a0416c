"""Batches of Answers in, the Survey that reading them row by row gives out, many rows at a time.

Only what is as it should be is noted here. Whatever would be refused, or is rare, raises UnfitForBatchesError: the
row-by-row survey then says in words what it is, and where.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import eq, ne
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tempzero.exchange.answer_columns import AnswerBatch, ColumnFile, UnfitForBatchesError
from tempzero.exchange.foreign_answers import ForeignAnswer
from tempzero.exchange.keys import MOST_REPEATS, ImportLane, KeyIndex, Question
from tempzero.exchange.outcomes import Ending, classify_ending
from tempzero.exchange.recipe import SAMPLING_FIELDS, Recipe
from tempzero.exchange.survey import ALWAYS_READ, HASH_BITS, Survey, Surveyor
from tempzero.exchange.table_reading import is_sound_text
from tempzero.metrics import stopped_sampling
from tempzero.metrics.agreement import Ints

_MOST_TEXT_CHARS = 32 << 20
_MOST_MARKS = 1000
_GLANCE_ROWS = 1000

# What a question or a lane is made of when it is first met.
_FIRST_FIELDS = ("provider", "condition", "id", "prompt", "expected", "family", "claims", *SAMPLING_FIELDS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """What a survey by batches noted of each row, for writing them without looking at their keys again.

    `rows` holds lane, question, repeat (as numbered by first sight) and a number that stands for the text within the
    process that made it; `lengths` are those of the texts, `endings` numbers `found_endings`.
    """

    lanes: Mapping[int, ImportLane]
    questions: Sequence[Question]
    rows: Ints
    lengths: NDArray[np.int32]
    endings: NDArray[np.int32]
    found_endings: Sequence[Ending]


class BatchKeys:
    """The keys of batches, by number: the same numbers that a KeyIndex gives to the same rows one by one."""

    def __init__(self, keys: KeyIndex) -> None:
        self._keys = keys
        self.lanes: list[ImportLane] = []
        self.questions: list[Question] = []
        self._lane_of: dict[tuple[Any, Any], int] = {}
        self._places: dict[int, int] = {}
        self._question_of: dict[str, int] = {}
        self._repeat_of: dict[tuple[int, str], int] = {}
        self._next: dict[int, int] = {}

    def of(self, batch: AnswerBatch) -> tuple[list[int], list[int], list[int]]:
        """Lane, question and repeat of each row. Raises UnfitForBatchesError for a key that lacks a part."""
        pairs = list(zip(batch.of("provider"), batch.of("condition"), strict=True))
        prompts = batch.of("prompt")
        ids = batch.get("id")
        names = prompts if ids is None else ids
        if ids is not None and None in ids:
            names = [prompt if name is None else name for name, prompt in zip(ids, prompts, strict=True)]
        lanes = _look_up(self._lane_of, pairs, lambda pair, at: self._add_lane(pair, batch, at))
        questions = _look_up(self._question_of, names, lambda name, at: self._add_question(name, batch, at))
        return lanes, questions, self._repeats(lanes, questions, batch)

    def _add_lane(self, pair: tuple[Any, Any], batch: AnswerBatch, at: int) -> None:
        if not pair[0]:
            raise UnfitForBatchesError
        lane = self._keys.find_lane(batch.answer(at, _FIRST_FIELDS))
        if lane.number not in self._places:
            self._places[lane.number] = len(self.lanes)
            self.lanes.append(lane)
        self._lane_of[pair] = self._places[lane.number]

    def _add_question(self, name: str | None, batch: AnswerBatch, at: int) -> None:
        if name is None:
            raise UnfitForBatchesError
        question = self._keys.find_question(batch.answer(at, _FIRST_FIELDS))
        self._question_of[name] = question.number
        if question.number == len(self.questions):
            self.questions.append(question)

    def _repeats(self, lanes: Sequence[int], questions: Sequence[int], batch: AnswerBatch) -> list[int]:
        labels = batch.get("repeat")
        if labels is None:
            return self._count_up(lanes, questions)
        return _look_up(self._repeat_of, list(zip(lanes, labels, strict=True)), self._add_repeat)

    def _add_repeat(self, labelled: tuple[int, str | None], _: int) -> None:
        lane, label = labelled
        if label is None or len(self.lanes[lane].repeats) >= MOST_REPEATS:
            raise UnfitForBatchesError
        self._repeat_of[lane, label] = self._keys.number_repeat(self.lanes[lane], label)

    def _count_up(self, lanes: Sequence[int], questions: Sequence[int]) -> list[int]:
        following, found = self._next, []
        for lane, question in zip(lanes, questions, strict=True):
            at = lane << 32 | question
            number = following.get(at, 0)
            following[at] = number + 1
            found.append(number)
        for lane, number in set(zip(lanes, found, strict=True)):
            self.lanes[lane].most_repeats = max(self.lanes[lane].most_repeats, number + 1)
        return found


class BatchEndings:
    """How the answers of batches ended, by number of the Ending."""

    def __init__(self, recipe: Recipe) -> None:
        self._as_is = recipe.as_is
        self.found: list[Ending] = []
        self._number: dict[Ending, int] = {}
        self._last: tuple[Ending | None, int] = (None, 0)
        self._by_marks: dict[tuple[Any, ...], _EndingsOfTexts] = {}

    def of(self, batch: AnswerBatch) -> list[int]:
        """One number for each row."""
        marks = [batch.of(name) for name in _MARK_FIELDS]
        texts = batch.of("text")
        kinds = dict.fromkeys(zip(*marks, _find_shown_reasoning(batch), strict=True))
        if len(kinds) == 1:
            found = list(map(self._of_texts(next(iter(kinds))).__getitem__, texts))
        else:
            rows = zip(zip(*marks, _find_shown_reasoning(batch), strict=True), texts, strict=True)
            found = [self._of_texts(mark)[text] for mark, text in rows]
        if _SEE_EXPECTED in found:
            for at, number in enumerate(found):
                if number == _SEE_EXPECTED:
                    answer = batch.answer(at, ("provider", "text", "expected", "reasoning", *_MARK_FIELDS))
                    found[at] = self.number(classify_ending(answer, as_is=self._as_is))
        return found

    def number(self, ending: Ending) -> int:
        """The number of an ending, the same for equal ones."""
        if ending is self._last[0]:
            return self._last[1]
        known = self._number.get(ending)
        if known is None:
            known = self._number[ending] = len(self.found)
            self.found.append(ending)
        self._last = (ending, known)
        return known

    def _of_texts(self, mark: tuple[Any, ...]) -> _EndingsOfTexts:
        found = self._by_marks.get(mark)
        if found is None:
            if len(self._by_marks) >= _MOST_MARKS:
                self._by_marks.clear()
            found = self._by_marks[mark] = _EndingsOfTexts(self, mark, as_is=self._as_is)
        return found


_SEE_EXPECTED = -1
# What columns say of how an answer ended, beside its text and its reasoning.
_MARK_FIELDS = ("error", "refusal", "cached", "finish_reason")
# Stands for any reasoning: whether there is one is all that an ending depends on.
_SOME_REASONING = "..."


def _find_shown_reasoning(batch: AnswerBatch) -> Sequence[str | None]:
    """For each row whether it shows a reasoning that can be kept."""
    given = batch.get("reasoning")
    if given is None:
        return [None] * batch.size
    return [_SOME_REASONING if words and is_sound_text(words) else None for words in given]


class _EndingsOfTexts(dict[str | None, int]):
    """Endings of texts beside which columns say the same of errors, refusals, caches, finish reasons and reasoning."""

    def __init__(self, endings: BatchEndings, mark: tuple[Any, ...], *, as_is: bool) -> None:
        super().__init__()
        self._endings, self._as_is, self._chars = endings, as_is, 0
        said = dict(zip((*_MARK_FIELDS, "reasoning"), mark, strict=True))
        self._answer = ForeignAnswer(file="", line=0, cells={}, match=None, provider="", **said)

    def __missing__(self, text: str | None) -> int:
        self._chars += len(text or "")
        if self._chars > _MOST_TEXT_CHARS:
            self.clear()
            self._chars = 0
        self._answer.text = text
        ending = classify_ending(self._answer, as_is=self._as_is)
        # What looks like a failure may be what was expected: an expected "None" is an answer.
        found = _SEE_EXPECTED if text and ending.status == "missing" else self._endings.number(ending)
        self[text] = found
        return found


class BulkSurveyor(Surveyor):
    """A Surveyor of batches; `finish_batches` gives the Survey."""

    def __init__(self, recipe: Recipe, *, mapped: Collection[str], files: int) -> None:
        super().__init__(recipe, mapped=mapped)
        self._one_file = files == 1
        self._batch_keys = BatchKeys(self._keys)
        self._endings = BatchEndings(recipe)
        self._ended = array("i")

    def watched_columns(self, header: Sequence[str]) -> tuple[str, ...]:
        """The columns whose cells are looked at, besides those of the fields."""
        return self._factors.watched_columns(header)

    def needs_of(self, file: ColumnFile) -> tuple[str, ...]:
        """The fields that a file is still looked at for: a glance at its start shows which have a value at all."""
        for batch in file.read_batches(tuple(self._never), (), _GLANCE_ROWS):
            self._never = {n for n in self._never if all(v in (None, "") for v in batch.of(n))}
            break
        return tuple(name for name in self._recipe.fields if name in ALWAYS_READ or name in self._never)

    def see_batch(self, batch: AnswerBatch) -> None:
        """Note some answers. Raises UnfitForBatchesError or ExchangeError where one of them needs words."""
        lanes, questions, repeats = self._batch_keys.of(batch)
        endings = self._endings.of(batch)
        for number, count in Counter(endings).items():
            ending = self._endings.found[number]
            if ending.kind == "length" and self._limit_unmapped:
                raise UnfitForBatchesError
            self._outcomes[ending.status, ending.kind] += count
        self._require_same_questions(batch, questions)
        self._require_same_lanes(batch, lanes)
        self._note_response_ids(batch, endings)
        self._watch(batch, lanes, questions)
        self._never = {n for n in self._never if all(v in (None, "") for v in batch.of(n))}
        self._note_sequence(batch, lanes, questions, repeats, endings)

    def finish_batches(self) -> tuple[Survey, Trace]:
        """Everything has been seen. Raises UnfitForBatchesError where two answers share a key, ExchangeError."""
        if not self._ended:
            raise UnfitForBatchesError
        rows = np.frombuffer(self._sequence, dtype=np.int64).reshape(-1, 4)
        endings = np.frombuffer(self._ended, dtype=np.int32)
        missing = np.array([e.status == "missing" for e in self._endings.found], dtype=np.bool_)[endings]
        if _has_duplicates(rows[~missing, :3]):
            raise UnfitForBatchesError
        for lane, question, repeat in rows[missing, :3].tolist():
            self._retried.add(((lane << 32 | question) << 32) | repeat)
        survey = self.finish(lambda wanted: {})
        return survey, Trace(
            lanes={lane.number: lane for lane in self._batch_keys.lanes},
            questions=self._batch_keys.questions,
            rows=rows,
            lengths=np.frombuffer(self._lengths, dtype=np.int32),
            endings=endings,
            found_endings=self._endings.found,
        )

    def _require_same_questions(self, batch: AnswerBatch, questions: Sequence[int]) -> None:
        known = self._batch_keys.questions
        prompts = batch.get("prompt")
        if prompts is not None and any(map(ne, prompts, [known[q].text for q in questions])):
            raise UnfitForBatchesError
        for question, family in _distinct_pairs(questions, batch, "family"):
            if family != known[question].family:
                raise UnfitForBatchesError
        for question, expected in _distinct_pairs(questions, batch, "expected"):
            first = known[question].expected
            if first is None:
                known[question].expected = expected
            elif first != expected:
                raise UnfitForBatchesError

    def _require_same_lanes(self, batch: AnswerBatch, lanes: Sequence[int]) -> None:
        known = self._batch_keys.lanes
        for name in ("claims", *self._sampling):
            for lane, value in set(zip(lanes, batch.of(name), strict=True)):
                if value != (known[lane].who.claims if name == "claims" else known[lane].sampling[name]):
                    raise UnfitForBatchesError

    def _note_response_ids(self, batch: AnswerBatch, endings: Sequence[int]) -> None:
        given_ids = batch.get("response_id")
        if given_ids is None:
            return
        answered = [self._endings.found[number].status != "missing" for number in endings]
        pairs = zip(batch.of("provider"), given_ids, answered, strict=True)
        new = [hash((provider, given)) for provider, given, here in pairs if here and given is not None]
        before = len(self._response_ids)
        self._response_ids.update(new)
        if len(self._response_ids) - before != len(new):
            raise UnfitForBatchesError

    def _watch(self, batch: AnswerBatch, lanes: Sequence[int], questions: Sequence[int]) -> None:
        """Hand rows of the first keys to the watcher of factors, with the cells that no field uses."""
        if not batch.names and self._one_file:
            return
        numbers = [lane.number for lane in self._batch_keys.lanes]
        watches, width = self._factors.watches, len(batch.names)
        for at, (lane, question) in enumerate(zip(lanes, questions, strict=True)):
            key = (numbers[lane], question)
            if watches(key):
                cells = dict(zip(batch.names, batch.cells[at][:width], strict=True))
                self._factors.see(key, cells, batch.file)

    def _note_sequence(
        self,
        batch: AnswerBatch,
        lanes: Sequence[int],
        questions: Sequence[int],
        repeats: Sequence[int],
        endings: Sequence[int],
    ) -> None:
        status = [ending.status for ending in self._endings.found]
        said = np.array([s in ("valid", "censored") for s in status])[endings]
        parts = zip(batch.of("text"), batch.of("reasoning"), batch.of("refusal"), strict=True)
        outputs = np.fromiter(map(hash, parts), dtype=np.int64, count=batch.size) & HASH_BITS
        lane_numbers = np.array([lane.number for lane in self._batch_keys.lanes], dtype=np.int64)[lanes]
        columns = (lane_numbers, questions, repeats, np.where(said, outputs, stopped_sampling.NO_OUTPUT))
        self._sequence.frombytes(np.stack([np.asarray(c, dtype=np.int64) for c in columns], axis=1).tobytes())
        self._ended.extend(endings)
        self._lengths.frombytes(measure_texts(batch.of("text")).tobytes())
        if self._of_request:
            self._asked.extend(hash((seed, None)) & HASH_BITS for seed in batch.of("seed"))
        known = self._batch_keys.questions
        self._echoes += sum(map(eq, batch.of("text"), (known[q].text for q in questions)))


def measure_texts(texts: Sequence[str | None]) -> NDArray[np.int32]:
    """Characters of each text, 0 where there is none."""
    whole = [text or "" for text in texts] if None in texts else texts
    return np.fromiter(map(len, whole), dtype=np.int32, count=len(texts))  # type: ignore[arg-type]


def _look_up(known: Mapping[Any, int], keys: Sequence[Any], add: Callable[[Any, int], None]) -> list[int]:
    """What each key stands for; `add` makes those known that are not, in their order, each by its first place."""
    try:
        return list(map(known.__getitem__, keys))
    except KeyError:
        first = dict(zip(reversed(keys), range(len(keys) - 1, -1, -1), strict=True))
        for key in [key for key in dict.fromkeys(keys) if key not in known]:
            add(key, first[key])
        return list(map(known.__getitem__, keys))


def _distinct_pairs(questions: Sequence[int], batch: AnswerBatch, field: str) -> set[tuple[int, Any]]:
    """What rows say of their questions in a field; nothing where it is not mapped."""
    values = batch.get(field)
    return set() if values is None else {p for p in zip(questions, values, strict=True) if p[1] is not None}


def _has_duplicates(keys: Ints) -> bool:
    order = np.lexsort(keys.T[::-1])
    ranked = keys[order]
    return bool((ranked[1:] == ranked[:-1]).all(axis=1).any())
