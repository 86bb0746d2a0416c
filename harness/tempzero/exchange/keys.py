"""Answers in, the key each belongs under out: the same in both passes over a source."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tempzero.config import DEFAULT_CONDITION
from tempzero.errors import ExchangeError
from tempzero.exchange.foreign_answers import ForeignAnswer
from tempzero.exchange.recipe import SAMPLING_FIELDS, Recipe
from tempzero.exchange.sources import natural_sort_key
from tempzero.exchange.table_reading import is_sound_text

DEFAULT_FAMILY = "imported"
MOST_CONDITIONS = 5000
_MOST_PROVIDERS = 500
MOST_REPEATS = 1 << 20
# What tables write where a cell is empty: no name of a question.
_NO_NAMES = frozenset(("", "nan", "NaN", "None", "null", "NULL", "<NA>"))
_LONGEST_NAME = 100
_LONGEST_CONDITION = 200
# What names in providers.yaml and prompt files may hold: they become parts of file names and table cells.
_FITTING_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:+-]{0,99}")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._@:+-]+")


@dataclass(slots=True)
class Question:
    """A prompt as it was first met. `text` is its cell, None where only an id was given."""

    number: int
    id: str
    text: str | None
    expected: str | None
    family: str | None
    family_name: str
    place: str
    tools: tuple[Mapping[str, Any], ...] = ()
    """What the recorded request offered."""


@dataclass(slots=True)
class ImportedProvider:
    """A provider as it was first met. `name` fits into a configuration."""

    number: int
    name: str
    written: str
    model: str | None
    claims: str | None


@dataclass(slots=True)
class ImportLane:
    """One provider under one condition; `repeats` numbers the table's own labels in the order of first sight."""

    who: ImportedProvider
    condition: str
    condition_number: int
    sampling: dict[str, Any]
    place: str
    repeats: dict[str, int] = field(default_factory=dict)
    most_repeats: int = 0

    @property
    def number(self) -> int:
        return self.who.number * MOST_CONDITIONS + self.condition_number

    def ranks(self) -> list[int]:
        """By number of first sight, the repeat's place among all of this lane in natural order."""
        if not self.repeats:
            return list(range(self.most_repeats))
        ranked = {label: rank for rank, label in enumerate(sorted(self.repeats, key=natural_sort_key))}
        return [ranked[label] for label in self.repeats]


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """Provider and condition (the lane), prompt, and repeat by number of first sight."""

    lane: ImportLane
    question: Question
    repeat: int

    @property
    def packed(self) -> int:
        """The same as one number."""
        return ((self.lane.number << 32 | self.question.number) << 32) | self.repeat


class _NameTable:
    """Gives each written name one that may stand in a run folder, and no two of them the same."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        self._taken: set[str] = set()

    def of(self, written: str) -> str:
        found = self._given.get(written)
        if found is None:
            found = fitting_name(written)
            if found in self._taken:
                found = f"{found[: _LONGEST_NAME - 9]}-{_short_hash(written, 8)}"
            self._given[written] = found
            self._taken.add(found)
        return found


class KeyIndex:
    """Numbers providers, conditions, prompts and repeats as they come."""

    def __init__(self, recipe: Recipe) -> None:
        self.numbered = "repeat" not in recipe.fields
        self.providers: dict[str, ImportedProvider] = {}
        self.conditions: dict[str, int] = {}
        self.questions: dict[str, Question] = {}
        self.lanes: dict[tuple[str, str], ImportLane] = {}
        self._next: dict[tuple[int, int], int] = {}
        self._provider_names, self._ids, self._families = _NameTable(), _NameTable(), _NameTable()

    def of(self, answer: ForeignAnswer) -> AnswerKey:
        """Raises ExchangeError where the row lacks a part of its key."""
        lane, question = self.find_lane(answer), self.find_question(answer)
        return AnswerKey(lane, question, self._repeat(lane, question, answer))

    def find_lane(self, answer: ForeignAnswer) -> ImportLane:
        """The lane of an answer, a new one where it is the first."""
        return self.lanes.get((answer.provider, answer.condition or DEFAULT_CONDITION)) or self._new_lane(answer)

    def find_question(self, answer: ForeignAnswer) -> Question:
        """The question of an answer, a new one where it is the first. Raises ExchangeError where it names none."""
        name = answer.prompt if answer.id is None else answer.id
        if name is None or name.strip() in _NO_NAMES:
            shown = f' (but "{name.strip()}")' if name and name.strip() else ""
            raise ExchangeError(
                f"{answer.place}: has no prompt or id{shown}; every row must say what was asked, or all that do not "
                "would count as repeats of one question. Map another column, or leave such rows out with --where"
            )
        return self.questions.get(name) or self._new_question(name, answer)

    def number_repeat(self, lane: ImportLane, label: str) -> int:
        """The number of a lane's repeat, a new one where its label is met for the first time."""
        found = lane.repeats.get(label)
        if found is None:
            found = lane.repeats[label] = len(lane.repeats)
            lane.most_repeats = found + 1
        return found

    def every_lane(self) -> list[ImportLane]:
        """Each lane once, however its condition was written."""
        return list({lane.number: lane for lane in self.lanes.values()}.values())

    def restart(self) -> None:
        """Before another pass: rows without a repeat of their own are numbered from 0 again."""
        self._next.clear()

    def _repeat(self, lane: ImportLane, question: Question, answer: ForeignAnswer) -> int:
        if self.numbered:
            at = (lane.number, question.number)
            number = self._next[at] = self._next.get(at, -1) + 1
            lane.most_repeats = max(lane.most_repeats, number + 1)
            return number
        label = answer.repeat
        if label is None:
            raise ExchangeError(f"{answer.place}: has no repeat; leave it out of the mapping to number rows in order")
        if label not in lane.repeats:
            _require_below_limit(len(lane.repeats), MOST_REPEATS, "repeat", answer)
        return self.number_repeat(lane, label)

    def _new_lane(self, answer: ForeignAnswer) -> ImportLane:
        written = answer.condition or DEFAULT_CONDITION
        condition = _fitting_condition(_require_characters(written, answer))
        if condition not in self.conditions:
            self.conditions[condition] = _require_below_limit(
                len(self.conditions), MOST_CONDITIONS, "condition", answer
            )
        lane = self.lanes.get((answer.provider, condition)) or ImportLane(
            who=self.providers.get(answer.provider) or self._new_provider(answer),
            condition=condition,
            condition_number=self.conditions[condition],
            sampling={name: getattr(answer, name) for name in SAMPLING_FIELDS},
            place=answer.place,
        )
        self.lanes[answer.provider, condition] = self.lanes[answer.provider, written] = lane
        return lane

    def _new_provider(self, answer: ForeignAnswer) -> ImportedProvider:
        written = _require_characters(answer.provider, answer)
        name = self._provider_names.of(written)
        number = _require_below_limit(len(self.providers), _MOST_PROVIDERS, "provider", answer)
        for text in (answer.model, answer.claims):
            _require_characters(text or "", answer)
        who = ImportedProvider(number=number, name=name, written=written, model=answer.model, claims=answer.claims)
        self.providers[answer.provider] = who
        return who

    def _new_question(self, name: str, answer: ForeignAnswer) -> Question:
        _require_characters(name, answer)
        question = Question(
            number=len(self.questions),
            id=self._ids.of(f"q-{_short_hash(name, 16)}" if answer.id is None else name),
            text=None if answer.prompt is None else _require_characters(answer.prompt, answer),
            expected=None if answer.expected is None else _require_characters(answer.expected, answer),
            family=answer.family,
            family_name=self._families.of(_require_characters(answer.family or DEFAULT_FAMILY, answer)),
            place=answer.place,
            tools=_read_offered_tools(answer.request),
        )
        self.questions[name] = question
        return question


def _read_offered_tools(request: str | None) -> tuple[Mapping[str, Any], ...]:
    """The tools of a whole request that was recorded; none where it is not JSON or offers none that has a name."""
    try:
        asked = json.loads(request or "null")
    except (ValueError, RecursionError):
        return ()
    tools = asked.get("tools") if isinstance(asked, dict) else None
    found = [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    functions = [tool.get("function") for tool in found]
    named = all(isinstance(function, dict) and isinstance(function.get("name"), str) for function in functions)
    return tuple(found) if named else ()


def fitting_name(written: str) -> str:
    """The name itself where it may stand in a run folder; "openai/gpt-4" becomes "openai-gpt-4"."""
    if _FITTING_NAME.fullmatch(written):
        return written
    name = _NOT_IN_A_NAME.sub("-", written).strip("-._@:+")[:_LONGEST_NAME]
    return name or f"name-{_short_hash(written, 8)}"


def _fitting_condition(written: str) -> str:
    """One line of bearable length."""
    line = " ".join(written.split())
    return line if len(line) <= _LONGEST_CONDITION else f"{line[:_LONGEST_CONDITION]}... {_short_hash(written, 8)}"


def _short_hash(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _require_characters(text: str, answer: ForeignAnswer) -> str:
    if not is_sound_text(text):
        raise ExchangeError(
            f"{answer.place}: holds half of a surrogate pair (\\ud800 to \\udfff), which is no character"
        )
    return text


def _require_below_limit(number: int, most: int, what: str, answer: ForeignAnswer) -> int:
    if number >= most:
        value = str(getattr(answer, what))[:60]
        raise ExchangeError(f'{answer.place}: more than {most} values of {what} ("{value}"); is another column meant?')
    return number
