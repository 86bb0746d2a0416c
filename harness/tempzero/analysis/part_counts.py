"""A part of a run's records in, what is counted of it out: a row of small numbers a record, each distinct text once.

Counts of parts add up (`merge_counts`), so that they can be made by other processes or on other machines.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from tempzero.analysis.round_histories import RoundHistories
from tempzero.answers.answer_parts import (
    AnswerParts,
    end_at_cut,
    split_answer,
    to_begun_text,
    to_whole_text,
    trim_thinking_blanks,
)
from tempzero.answers.chat_messages import to_verbatim_text
from tempzero.config import Provider, Returned
from tempzero.errors import RunFolderError
from tempzero.records import read_part_views
from tempzero.types.asked import Prompt, Trial
from tempzero.types.concluded import FailureKind
from tempzero.types.recorded import Completion, Flag, OutcomeKind, RecordView, Status

VALID, CENSORED, MISSING, EXCLUDED = range(4)
STATUS_NAMES: tuple[Status, ...] = ("valid", "censored", "missing", "excluded")
_STATUS: Mapping[Status, int] = {"valid": VALID, "censored": CENSORED, "missing": MISSING, "excluded": EXCLUDED}

# Stands for "the provider did not say"; every other number is 0 or larger.
NOT_SAID = -1
LARGEST_TOKENS = 2**53

INTEGER_COLUMNS = (
    "provider",
    "condition",
    "prompt",
    "repeat",
    "number",
    "status",
    "text",
    "spelled",
    "answered",
    "limited",
    "finish",
    "identity",
    "request",
    "bits",
    "prompt_tokens",
    "completion_tokens",
    "output_tokens",
    "reasoning_tokens",
    "in_flight",
    "unindexed",
)
_UNINDEXED: Flag = "tool_index_missing"
SECONDS_COLUMNS = ("latency_s", "first_byte_s")
# Trials remembered of those whose answers carry one flag.
MOST_FLAGGED = 20
_ROWS_AT_ONCE = 50_000

Columns = dict[str, NDArray[Any]]
"""By name, a value for each record: whole numbers in the smallest type that holds them, seconds."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Identity:
    """Who answered, as the response says: None where it says nothing.

    Repeats are compared within one served model and backend; fingerprints change in normal service and are counted.
    """

    served_model: str | None
    backend: str | None
    fingerprint: str | None

    @property
    def system(self) -> tuple[str | None, str | None]:
        """What must be the same of two answers that are compared as repeats."""
        return self.served_model, self.backend


class FailedAttempts:
    """How many attempts of a provider failed in one way, on which prompts, and what was said of one of them.

    Of several sayings it is the first in the order of the alphabet: that of the records may be another each time.
    """

    def __init__(self, count: int = 0, prompts: Iterable[int] = (), said: str = "") -> None:
        self.count, self.prompts, self.said = count, set(prompts), said

    def add(self, prompt: int, said: str) -> None:
        self.count += 1
        self.prompts.add(prompt)
        self._hear(said)

    def join(self, other: FailedAttempts) -> None:
        """Add what was counted of another part."""
        self.count += other.count
        self.prompts |= other.prompts
        self._hear(other.said)

    def _hear(self, said: str) -> None:
        self.said = min(said, self.said) if said and self.said else said or self.said


class Flagged:
    """How many responses of a provider under a condition carry one flag, and the first trials of them.

    `answered`: whether all of them hold an answer.
    """

    def __init__(self, count: int = 0, trials: Iterable[Trial] = (), *, answered: bool = True) -> None:
        self.count, self.trials, self.answered = count, list(trials), answered

    def add(self, trial: Trial, *, answered: bool) -> None:
        self.count += 1
        self.answered &= answered
        if len(self.trials) < MOST_FLAGGED:
            self.trials.append(trial)

    def join(self, later: Flagged) -> None:
        """Add what was counted of a later part."""
        self.count += later.count
        self.answered &= later.answered
        self.trials += later.trials[: MOST_FLAGGED - len(self.trials)]


@dataclass(frozen=True, kw_only=True, slots=True)
class CountingSetting:
    """What records are counted against: who may have been asked what. The same for every part of a run."""

    run: Path
    providers: tuple[str, ...]
    returned: Mapping[str, Returned]
    prompts: tuple[Prompt, ...]

    @property
    def by_part(self) -> bool:
        """Whether parts can be counted apart: rounds of conversations need all that was said before them."""
        return all(prompt.round is None for prompt in self.prompts)


def make_counting_setting(run: Path, providers: Sequence[Provider], prompts: Sequence[Prompt]) -> CountingSetting:
    """The setting of a run; providers in the order in which they are numbered."""
    return CountingSetting(
        run=run,
        providers=tuple(p.name for p in providers),
        returned={p.name: p.reasoning.returned for p in providers},
        prompts=tuple(prompts),
    )


class CountedText(NamedTuple):
    """A distinct answer to a prompt, by which texts are the same.

    `cut_by` says whose limit cut it: that of a provider under a condition, which counted its tokens, or that which a
    request sent, by its SHA-256; None where no limit did.
    """

    prompt: int
    text: str
    whole: bool
    cut_by: str | tuple[int, str] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCounts:
    """What is counted of a part of the records, or of all of them.

    `columns` have a row for each record, in their order. Names, texts and identities are numbered in the order in which
    they are met: `condition`, `text`, `spelled`, `finish`, `identity`, `request` and `bits` number what stands in the
    tuples here. `parts` are an answer's parts by the number of its text, where it has other ones than text, `limits`
    the tokens after which it was cut, as responses counted them. `prompts` are those of a setting with conversations,
    and behind them rounds again for every further history that they were asked with; without any they are the
    setting's, and not sent with every part.
    """

    columns: Columns
    conditions: tuple[str, ...]
    texts: tuple[CountedText, ...]
    spelled: tuple[tuple[int, str, bool], ...]
    finish_reasons: tuple[str, ...]
    identities: tuple[tuple[str | None, str | None, str | None], ...]
    requests: tuple[str, ...]
    bits: tuple[tuple[int, str, tuple[int, ...] | None], ...]
    parts: dict[int, AnswerParts]
    limits: dict[int, frozenset[int]]
    failures: dict[tuple[str, FailureKind], FailedAttempts]
    flagged: dict[tuple[str, str, Flag], Flagged]
    prompts: tuple[Prompt, ...]

    @property
    def records(self) -> int:
        """How many it holds."""
        return int(self.columns["provider"].size)


def count_part(part: Path, setting: CountingSetting) -> PartCounts:
    """Count one file of a run's records. Raises RunFolderError for damaged or foreign records."""
    return count_views(read_part_views(part), setting)


def count_views(views: Iterable[RecordView], setting: CountingSetting) -> PartCounts:
    """Count records as they come. Raises RunFolderError for those that the setting does not know."""
    counter = _RecordCounter(setting)
    for view in views:
        counter.read(view)
    return counter.finish()


def narrow_numbers(numbers: NDArray[Any]) -> NDArray[Any]:
    """The same whole numbers in the smallest type that holds them."""
    if not numbers.size:
        return numbers.astype(np.int8)
    kinds = (np.min_scalar_type(-1 - abs(int(end))) for end in (numbers.min(), numbers.max()))
    return numbers.astype(np.result_type(np.int8, *kinds))


def keep_numbers(numbers: NDArray[Any]) -> NDArray[Any]:
    """The same to be kept and not written to: seconds as they are, whole numbers narrow, or once where all are one."""
    if numbers.dtype.kind == "f":
        return numbers
    narrow = narrow_numbers(numbers)
    if not narrow.size or narrow.min() != narrow.max():
        return narrow
    return np.broadcast_to(narrow[:1].copy(), narrow.shape)


class _Numbering(dict[Hashable, int]):
    """Gives each new key the next number."""

    def __missing__(self, key: Hashable) -> int:
        self[key] = number = len(self)
        return number


class _TokenNumbers(dict[int | None, int]):
    """What is written down for a number of tokens that was said, or for none."""

    def __missing__(self, said: int | None) -> int:
        self[said] = number = NOT_SAID if said is None else clamp_tokens(said)
        return number


class _RecordCounter:
    """Turns records into two flat arrays, one number after the other, a fixed number of them a record."""

    def __init__(self, setting: CountingSetting) -> None:
        self._setting = setting
        self._providers = {name: i for i, name in enumerate(setting.providers)}
        self._prompts = {p.id: i for i, p in enumerate(setting.prompts)}
        self._histories = RoundHistories(setting.prompts, setting.returned)
        self._has_rounds, self._has_tools = not setting.by_part, any(p.tools for p in setting.prompts)
        self._finish, self._identity, self._request, self._bits = _Numbering(), _Numbering(), _Numbering(), _Numbering()
        self._text, self._spelled, self._conditions = _Numbering(), _Numbering(), _Numbering()
        self._tokens = _TokenNumbers()
        self._parts: dict[int, AnswerParts] = {}
        # By the number of a cut text: the tokens after which it was cut, as responses counted them.
        self._limits: defaultdict[int, set[int]] = defaultdict(set)
        self._whole_numbers, self._seconds = array("q"), array("d")
        self._failures: defaultdict[tuple[str, FailureKind], FailedAttempts] = defaultdict(FailedAttempts)
        self._flagged: defaultdict[tuple[str, str, Flag], Flagged] = defaultdict(Flagged)
        self._columns: list[Columns] = []

    def read(self, view: RecordView) -> None:
        trial, outcome, times = view.trial, view.outcome, view.times
        try:
            provider, prompt = self._providers[trial.provider], self._prompts[trial.prompt]
        except KeyError as unknown:
            raise RunFolderError(
                f"{self._setting.run}: a record speaks of {unknown}, which the manifest does not know; "
                "were records/ and manifest.json taken from two runs?"
            ) from None
        status, completion = _STATUS[outcome.status], outcome.completion
        if self._has_rounds:
            prompt = self._histories.place_round(prompt, view)
        if status == MISSING:
            self._failures[trial.provider, outcome.kind].add(prompt, outcome.detail)
        for flag in outcome.flags:
            self._flagged[trial.provider, trial.condition, flag].add(trial, answered=status <= CENSORED)
        request = view.request_sha256
        self._whole_numbers.extend(
            (
                provider,
                self._conditions[trial.condition],
                prompt,
                trial.repeat,
                view.number,
                status,
                *self._content(prompt, status, outcome.kind, completion, request, (provider, trial.condition)),
                self._request[request],
                *self._usage(prompt, completion),
                times.in_flight,
                1 if outcome.flags and _UNINDEXED in outcome.flags else 0,
            )
        )
        end, first = times.end_s, times.first_byte_s
        self._seconds.extend((math.nan if end is None else end, math.nan if first is None else first))
        if len(self._seconds) >= _ROWS_AT_ONCE * len(SECONDS_COLUMNS):
            self._settle_rows()

    def _content(
        self,
        prompt: int,
        status: int,
        kind: OutcomeKind,
        answer: Completion | None,
        request: str,
        lane: tuple[int, str],
    ) -> tuple[int, int, int, int, int, int]:
        """text, spelled, answered, limited, finish, identity; what was cut before any output is no answer."""
        if answer is None or status > CENSORED:
            return NOT_SAID, NOT_SAID, 0, 0, NOT_SAID, NOT_SAID
        whole, limited = _is_whole(status, kind, answer), status == CENSORED and kind == "length"
        cut = limited or (status == CENSORED and kind == "content_filter" and not whole)
        finish = answer.finish_reason
        parts = None
        text = end_at_cut(answer.text) if cut else answer.text
        if answer.reasoning_text or answer.tool_calls or answer.refusal:
            parts = trim_thinking_blanks(split_answer(answer, cut=cut), cut=cut)
            text = to_begun_text(parts) if cut else to_whole_text(parts)
        comparable = whole or (cut and bool(text))
        spelled = self._has_tools and comparable and bool(self._histories.prompts[prompt].tools)
        at_limit = comparable and limited
        by = None if not at_limit else lane if answer.completion_tokens else request
        number = self._text[prompt, text, whole, by] if comparable else NOT_SAID
        if comparable and parts is not None:
            self._parts[number] = parts
        if at_limit and answer.completion_tokens:
            self._limits[number].add(clamp_tokens(answer.completion_tokens))
        return (
            number,
            self._spelled[prompt, to_verbatim_text(answer), whole] if spelled else NOT_SAID,
            1 if whole and status == VALID else 0,
            1 if limited else 0,
            NOT_SAID if finish is None else self._finish[finish],
            self._identity[answer.served_model, answer.backend, answer.fingerprint],
        )

    def _usage(self, prompt: int, answer: Completion | None) -> tuple[int, int, int, int, int]:
        """bits, and tokens of prompt, completion, output, reasoning; bits: logits and token ids of engines in here."""
        if answer is None:
            return NOT_SAID, NOT_SAID, NOT_SAID, NOT_SAID, NOT_SAID
        logits, tokens = answer.logits_sha256, self._tokens
        return (
            NOT_SAID if logits is None else self._bits[prompt, logits, answer.token_ids],
            tokens[answer.prompt_tokens],
            tokens[answer.completion_tokens],
            tokens[answer.output_tokens],
            tokens[answer.reasoning_tokens],
        )

    def _settle_rows(self) -> None:
        """Put the rows so far into columns."""
        rows = np.frombuffer(self._whole_numbers, dtype=np.int64).reshape(-1, len(INTEGER_COLUMNS))
        seconds = np.frombuffer(self._seconds, dtype=np.float64).reshape(-1, len(SECONDS_COLUMNS))
        columns: Columns = {name: narrow_numbers(rows[:, at]) for at, name in enumerate(INTEGER_COLUMNS)}
        self._columns.append(columns | {name: seconds[:, at].copy() for at, name in enumerate(SECONDS_COLUMNS)})
        self._whole_numbers, self._seconds = array("q"), array("d")

    def finish(self) -> PartCounts:
        """Every record has been read."""
        self._settle_rows()
        names = (*INTEGER_COLUMNS, *SECONDS_COLUMNS)
        return PartCounts(
            columns={name: np.concatenate([columns[name] for columns in self._columns]) for name in names},
            conditions=cast("tuple[str, ...]", tuple(self._conditions)),
            texts=tuple(CountedText(*key) for key in cast("dict[CountedText, int]", self._text)),
            spelled=cast("tuple[tuple[int, str, bool], ...]", tuple(self._spelled)),
            finish_reasons=cast("tuple[str, ...]", tuple(self._finish)),
            identities=cast("tuple[tuple[str | None, str | None, str | None], ...]", tuple(self._identity)),
            requests=cast("tuple[str, ...]", tuple(self._request)),
            bits=cast("tuple[tuple[int, str, tuple[int, ...] | None], ...]", tuple(self._bits)),
            parts=self._parts,
            limits={number: frozenset(limits) for number, limits in self._limits.items()},
            failures=dict(self._failures),
            flagged=dict(self._flagged),
            prompts=() if self._setting.by_part else tuple(self._histories.prompts),
        )


def _is_whole(status: int, kind: OutcomeKind, answer: Completion) -> bool:
    """A complete answer, an empty one included. A refusal in its own field was said to its end, too."""
    return (status == VALID and kind in ("complete", "empty")) or (status == CENSORED and bool(answer.refusal))


def clamp_tokens(tokens: int) -> int:
    """A provider may report any number; what no 64-bit column can hold is held at its end."""
    return tokens if 0 <= tokens <= LARGEST_TOKENS else min(max(tokens, 0), LARGEST_TOKENS)
