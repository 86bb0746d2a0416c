"""Every Answer of a source in, once; a Survey of it out: who, what and how often, or the reasons for refusing it.

Nothing is written before the whole source has been surveyed: an import succeeds whole or not at all.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tempzero.config import DEFAULT_CONDITION
from tempzero.errors import ExchangeError
from tempzero.exchange.factors import Factors, name_differing_cells
from tempzero.exchange.foreign_answers import ForeignAnswer, parse_whole_number
from tempzero.exchange.keys import AnswerKey, ImportLane, KeyIndex
from tempzero.exchange.nested_cells import flatten_cells
from tempzero.exchange.outcomes import Ending, classify_ending
from tempzero.exchange.recipe import SAMPLING_FIELDS, Recipe
from tempzero.metrics import stopped_sampling
from tempzero.metrics.agreement import Ints, mark_group_starts
from tempzero.types.recorded import ANSWERED, OutcomeKind, Status

SAMPLING_CENSORED = "sampling: censored"
"""How a note begins that speaks of repeats which stopped at the first divergence."""

# Rows that share a key are looked at up to this number, to say by how many causes they do; all are counted.
_COLLISIONS_LOOKED_AT = 50
HASH_BITS = 0x7FFF_FFFF_FFFF_FFFF
# So many different texts of the very length of the longest are no chance, unless all texts are short.
_LEAST_CUT_CHARS = 64
_LEAST_CUT_TEXTS = 4
# Fields that may be empty in every row without a mistake in the mapping.
_MAY_BE_EMPTY = frozenset({"error", "refusal", "cached", "reasoning", "reasoning_tokens", "date"})

# What a survey looks at in every row; other mapped fields only until one row had a value.
ALWAYS_READ = frozenset(
    ("provider", "id", "prompt", "condition", "repeat", "text", "expected", "family", "claims", "error", "refusal")
) | {"cached", "reasoning", "finish_reason", "response_id", "request", "seed", *SAMPLING_FIELDS}

# Columns that say after how many tokens an answer was cut, by the field that holds it.
_LIMIT_COLUMNS = {
    **dict.fromkeys(
        ("completion_tokens", "output_tokens", "generated_tokens", "tokens_generated"), "completion_tokens"
    ),
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "max_new_tokens", "max_output_tokens"), "max_tokens"),
}

SETTINGS_COLUMN = "@settings"
"""Where the reader of a format puts how it was asked, besides what has a field."""

FindAnswers = Callable[[Collection[int]], Mapping[int, ForeignAnswer]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What a source holds. `retried` are packed keys that have a row without an output."""

    keys: KeyIndex
    answers: int
    outcomes: Mapping[tuple[Status, OutcomeKind], int]
    retried: frozenset[int]
    notes: tuple[str, ...]


class Surveyor:
    """Takes answers one after the other; `finish` gives the Survey, or raises ExchangeError with the reasons."""

    def __init__(self, recipe: Recipe, *, mapped: Collection[str]) -> None:
        """`mapped` are the fields that the user named: each must have a value somewhere.

        `needs` names the fields that answers are still looked at for; it shrinks.
        """
        self._recipe = recipe
        self._keys = KeyIndex(recipe)
        self._factors = Factors(recipe, numbered=self._keys.numbered)
        self._sampling = [name for name in SAMPLING_FIELDS if name in recipe.fields]
        self._answered: set[int] = set()
        self._retried: set[int] = set()
        self._response_ids: set[int] = set()
        self._outcomes: Counter[tuple[Status, OutcomeKind]] = Counter()
        self._never = {"text", *mapped} - _MAY_BE_EMPTY
        self.needs = ALWAYS_READ | self._never
        self._collided: list[tuple[int, ForeignAnswer]] = []
        self._more_collisions = 0
        self._problems: dict[str, str] = {}
        self._numbers: Counter[str] = Counter()
        self._sequence = array("q")
        self._lengths = array("i")
        self._echoes = 0
        # What of a request may differ between repeats without being another condition; then they are not compared.
        self._of_request = [name for name in ("seed", "request") if name in recipe.fields]
        self._asked = array("q")
        self._limit_unmapped = recipe.format is None and not {"completion_tokens", "max_tokens"} & recipe.fields.keys()
        self._cut_columns: dict[str, str] = {}

    @property
    def keys(self) -> KeyIndex:
        return self._keys

    def see(self, answer: ForeignAnswer) -> None:
        """Note one answer. Raises ExchangeError where its key cannot be told."""
        key = self._keys.of(answer)
        ended = classify_ending(answer, as_is=self._recipe.as_is)
        self._outcomes[ended.status, ended.kind] += 1
        self._same_question(key, answer)
        self._same_provider(key.lane, answer)
        self._once(key.packed, ended, answer)
        if ended.kind == "length" and self._limit_unmapped:
            self._look_for_limit(answer)
        at = (key.lane.number, key.question.number)
        by_hand = self._recipe.format is None
        self._factors.see(
            at, answer.cells if by_hand else {}, answer.file if by_hand else "", self._settings_of(answer)
        )
        if self._never:
            never = {n for n in self._never if getattr(answer, n) in (None, "")}
            if never != self._never:
                self._never, self.needs = never, ALWAYS_READ | never
        said = ended.status in ANSWERED
        output = (
            hash((answer.text, answer.reasoning, answer.refusal)) & HASH_BITS if said else stopped_sampling.NO_OUTPUT
        )
        self._sequence.extend((key.lane.number, key.question.number, key.repeat, output))
        self._lengths.append(len(answer.text or ""))
        self._echoes += answer.text == key.question.text
        if self._of_request:
            self._asked.append(hash((answer.seed, answer.request)) & HASH_BITS)

    def finish(self, find: FindAnswers) -> Survey:
        """Everything has been seen. `find` gives the first answer of each packed key, to name what collided."""
        if not self._outcomes:
            text = self._recipe.fields["text"]
            starred = f"text={text.written}: no row has a value there" if text.starred else ""
            chosen = f" with {' and '.join(w.written for w in self._recipe.where)}" if self._recipe.where else ""
            raise ExchangeError(starred or f"there are no rows to import{chosen}")
        first = find({packed for packed, _ in self._collided}) if self._collided else {}
        for packed, answer in self._collided:
            cause, line = _describe_collision(first[packed], answer, self._recipe)
            self._problem(f"collision: {cause}", line)
        for name in sorted(self._never):
            self._problem(f"nothing {name}", f"{name}={self._recipe.fields[name].written}: no row has a value there")
        for number, line in enumerate(
            (*self._factors.problems(), *self._factors.duplicates(), *self._factors.endings("cached"))
        ):
            self._problem(f"factor {number}", line)
        if self._cut_columns:
            self._problem("cut", self._describe_unknown_limit())
        if not any(status in ANSWERED for status, _ in self._outcomes):
            self._problem("failed", self._all_failed())
        if self._echoes == self._outcomes.total() > 1 and not self._recipe.as_is:
            self._problem("echo", self._describe_echo())
        if self._problems:
            raise ExchangeError("\n".join(self._lines()))
        return Survey(
            keys=self._keys,
            answers=self._outcomes.total(),
            outcomes=self._outcomes,
            retried=frozenset(self._retried),
            notes=tuple(self._notes()),
        )

    # --- what would make a figure false ------------------------------------------------------

    def _same_question(self, key: AnswerKey, answer: ForeignAnswer) -> None:
        question = key.question
        if answer.prompt != question.text:
            self._problem(
                "question",
                f'{answer.place}: the id "{question.id}" stands for another text than at {question.place}; '
                "put what tells them apart into the id, e.g. id=task+number",
            )
        if question.expected is None:
            question.expected = answer.expected
        for field, value in (("expected", question.expected), ("family", question.family)):
            if field in self._recipe.fields and (getattr(answer, field) or value) != value:
                self._problem(
                    field,
                    f'{answer.place}: the prompt "{question.id}" has {field} "{getattr(answer, field)[:40]}", but '
                    f'"{str(value)[:40]}" at {question.place}; is it another question? then put {field} into the id',
                )

    def _same_provider(self, lane: ImportLane, answer: ForeignAnswer) -> None:
        if answer.claims != lane.who.claims:
            self._problem(
                "claims",
                f'{answer.place}: the provider "{lane.who.written}" claims {answer.claims}, but {lane.who.claims} at '
                f"{lane.place}; make them two, e.g. provider=provider+model",
            )
        for name in self._sampling:
            if getattr(answer, name) != lane.sampling[name]:
                self._problem(
                    f"sampling {name} {lane.number}",
                    f"{answer.place}: several conditions under one key: {name} is {getattr(answer, name)}, but "
                    f'{lane.sampling[name]} at {lane.place}, both of provider "{lane.who.written}"'
                    f"{_condition_suffix(lane)}; put it into the key, e.g. "
                    f"condition={self._recipe.fields[name].written}",
                )

    def _settings_of(self, answer: ForeignAnswer) -> dict[str, Any]:
        """What says how it was asked, by its column: the whole request, or what a format's reader found."""
        request, found = self._recipe.fields.get("request"), dict[str, Any]()
        if request is not None and len(request.paths) == 1 and answer.request is not None:
            found[request.paths[0]] = answer.request
        if self._recipe.format is not None and (settings := answer.cells.get(SETTINGS_COLUMN)):
            found[SETTINGS_COLUMN] = settings
        return found

    def _once(self, packed: int, ended: Ending, answer: ForeignAnswer) -> None:
        if ended.status == "missing":
            self._retried.add(packed)
            return
        if packed in self._answered:
            if len(self._collided) < _COLLISIONS_LOOKED_AT:
                self._collided.append((packed, answer))
            else:
                self._more_collisions += 1
        self._answered.add(packed)
        if answer.response_id is not None and answer.match is None:
            unique = hash((answer.provider, answer.response_id))
            if unique in self._response_ids:
                self._problem(
                    "response id",
                    f'{answer.place}: the response id "{answer.response_id[:60]}" has occurred before: the same '
                    "response twice would count as a repeat that agrees perfectly",
                )
            self._response_ids.add(unique)

    def _look_for_limit(self, answer: ForeignAnswer) -> None:
        """Of texts that were cut, where it says after how many tokens: once."""
        self._limit_unmapped = False
        for column, value in flatten_cells(answer.cells, self._recipe.ignored):
            name = column.rpartition(".")[2].lower()
            if name in _LIMIT_COLUMNS and parse_whole_number(value):
                self._cut_columns.setdefault(_LIMIT_COLUMNS[name], column)

    def _describe_unknown_limit(self) -> str:
        ignored = "+".join(self._cut_columns.values())
        maps = ",".join(f"{field}={column}" for field, column in self._cut_columns.items())
        number = self._outcomes["censored", "length"]
        return (
            f"{number} answers were cut at their token limit, and where that is decides whether a longer text goes on "
            f"from a shorter one or differs: say so with --map {maps} (or --map ignore={ignored})"
        )

    def _all_failed(self) -> str:
        error = self._recipe.fields.get("error")
        hint = f"; is error={error.written} the right column?" if error is not None else ""
        counted = ", ".join(f"{number} {kind}" for (_, kind), number in self._outcomes.most_common(3))
        return f"no row holds an answer: {counted}{hint}"

    def _describe_echo(self) -> str:
        text = self._recipe.fields["text"].written
        return f"text={text}: every answer is its own question, word for word; which column holds the answers?"

    def _problem(self, cause: str, line: str) -> None:
        """A cause is said once, by its first row; how many more rows have it is counted."""
        if cause in self._problems:
            self._numbers[cause] += 1
        else:
            self._problems[cause] = line

    def _lines(self) -> Iterator[str]:
        for cause, line in self._problems.items():
            more = self._numbers[cause]
            yield f"{line} (and {more} more rows like it)" if more else line
        if self._more_collisions:
            yield f"... and {self._more_collisions} more rows whose keys have an answer already"

    # --- what a reader of the figures must know -----------------------------------------------

    def _notes(self) -> Iterator[str]:
        for (status, kind), number in sorted(self._outcomes.items()):
            if status != "valid" or kind != "complete":
                yield (
                    f"{number} of {self._outcomes.total()} rows are {_KIND_WORDS.get(kind, kind)}: "
                    f"{_STATUS_WORDS[status]}"
                )
        if self._recipe.ignored:
            yield f"not looked at, as the importer said: {', '.join(self._recipe.ignored)}"
        for column in self._factors.repetitions():
            yield (
                f'rows were numbered in their order; the column "{column}" seems to number the repeats: '
                f"with repeat={column} duplicates would be noticed"
            )
        yield from self._factors.endings("finish_reason")
        yield from self._asked_differently()
        yield from self._cut_when_recorded()
        yield from self._censored()

    def _asked_differently(self) -> Iterator[str]:
        """Repeats are compared where their requests are the same to the letter."""
        if not self._of_request:
            return
        rows = np.frombuffer(self._sequence, dtype=np.int64).reshape(-1, 4)
        key = rows[:, 0] << 32 | rows[:, 1]
        pairs = np.unique(np.stack([key, np.frombuffer(self._asked, dtype=np.int64)], axis=1), axis=0)
        differing = np.count_nonzero(np.unique(pairs[:, 0], return_counts=True)[1] > 1)
        if differing:
            maps = " and ".join(f"{name}={self._recipe.fields[name].written}" for name in self._of_request)
            yield (
                f"repeats of {differing} of {np.unique(key).size} prompts (by provider and condition) were asked with "
                f"requests that differ, as {maps} says: only those of one request are compared with one another. Where "
                "the difference is no other way of asking, leave it out of the mapping"
            )

    def _cut_when_recorded(self) -> Iterator[str]:
        """Where several different answers have the very length of the longest one, a round one, they were cut to it."""
        lengths = np.frombuffer(self._lengths, dtype=np.int32)
        longest = int(lengths.max(initial=0))
        outputs = np.frombuffer(self._sequence, dtype=np.int64).reshape(-1, 4)[:, 3]
        if longest >= _LEAST_CUT_CHARS and any(_is_round(longest - mark) for mark in (0, 1, 3)):  # "…" or "..." behind
            here = outputs[(lengths == longest) & (outputs != stopped_sampling.NO_OUTPUT)]
            if np.unique(here).size >= _LEAST_CUT_TEXTS:
                yield (
                    f"{here.size} answers, {np.unique(here).size} different ones among them, have {longest} characters "
                    "each, and none has more: were they cut when they were recorded? What differs behind is not seen"
                )

    def _censored(self) -> Iterator[str]:
        rows = np.frombuffer(self._sequence, dtype=np.int64).reshape(-1, 4)
        for lane in sorted(self._keys.every_lane(), key=lambda at: (at.who.name, at.condition)):
            of_lane = rows[rows[:, 0] == lane.number]
            ranks = np.asarray(lane.ranks(), dtype=np.int64)
            prompt, repeat, output = _one_row_per_trial(of_lane[:, 1], ranks[of_lane[:, 2]], of_lane[:, 3])
            found = stopped_sampling.detect_stopped_sampling(prompt, repeat, output, cells=len(self._keys.questions))
            if found is not None:
                survivors = ", ".join(f"{n} of {found.prompts} after {k}" for k, n in _thin_counts(found.survivors))
                yield (
                    f"{SAMPLING_CENSORED}: {lane.who.name}{_condition_suffix(lane)}: {found.short} of "
                    f"{found.prompts} prompts "
                    f"have fewer than {found.longest} repeats, and none was asked again after its first divergence; "
                    f"TARr of what is left would be false. Prompts without divergence: {survivors}"
                )
                continue
            rising = stopped_sampling.detect_rising_agreement(prompt, output, cells=len(self._keys.questions))
            if rising is not None:
                yield (
                    f"sampling: perhaps stopped: {lane.who.name}{_condition_suffix(lane)}: TARr@{rising.few} is "
                    f"{rising.few_rate:.2f} of {rising.few_prompts} prompts, but TARr@{rising.many} "
                    f"{rising.many_rate:.2f} of the {rising.many_prompts} that were asked so often, and of the same "
                    "prompts it cannot rise: were prompts asked again only while the answer read from them stayed the "
                    "same? With --extractor that can be seen"
                )


def _is_round(chars: int) -> bool:
    """Whether a text would be cut to such a length; 32767 characters are what a cell of a spreadsheet holds."""
    return chars % 50 == 0 or chars % 64 == 0 or chars in (80, 255, 32767, 65535)


_KIND_WORDS: Mapping[OutcomeKind, str] = {
    "empty": "empty",
    "refusal": "refusals by their wording",
    "content_filter": "refusals or filtered",
    "length": "cut at their token limit",
    "cached": "from a cache",
    "failed": "failures",
    "encoding": "no valid text",
}
_STATUS_WORDS: Mapping[Status, str] = {
    "missing": "imported as missing, not as answers",
    "censored": "imported as cut, not as whole answers",
    "excluded": "imported, and left out of every figure",
    "valid": "imported as answers",
}


def _describe_collision(first: ForeignAnswer, second: ForeignAnswer, recipe: Recipe) -> tuple[str, str]:
    """The cause, in a word that is the same for all rows that have it, and a line that says it of these two rows."""
    where = f"{second.place}:"
    differing = name_differing_cells(first.cells, second.cells, (first.file, second.file), recipe.fields["text"].taken)
    if not differing:
        return "same row", f"{where} the same row as {first.place}: a duplicate would count as an answer of its own"
    return ", ".join(differing[:2]), (
        f"{where} several conditions under one key: provider, prompt, condition and repeat are those of {first.place}, "
        f"but it differs in {', '.join(differing[:6])}; put what tells them apart into the key, e.g. "
        f"--map condition={differing[0]}, or leave repeat out if they are repeats"
    )


def _one_row_per_trial(prompt: Ints, repeat: Ints, output: Ints) -> tuple[Ints, Ints, Ints]:
    """One row for each trial: the one with an output, where an attempt failed before."""
    order = np.lexsort((-output, repeat, prompt))
    prompt, repeat, output = prompt[order], repeat[order], output[order]
    first = mark_group_starts(prompt, repeat)
    return prompt[first], repeat[first], output[first]


def _thin_counts(survivors: tuple[int, ...]) -> list[tuple[int, int]]:
    """A dozen of the counts, the last one included."""
    counts = list(enumerate(survivors, start=1))
    step = -(-len(counts) // 12)
    return counts[:: step if step > 1 else 1] + (counts[-1:] if (len(counts) - 1) % step else [])


def _condition_suffix(lane: ImportLane) -> str:
    return "" if lane.condition == DEFAULT_CONDITION else f' in condition "{lane.condition}"'
