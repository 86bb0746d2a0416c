"""The counts of a run's parts in, in order, those of the whole run out: every name, text and identity numbered once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tempzero.analysis.part_counts import (
    INTEGER_COLUMNS,
    NOT_SAID,
    SECONDS_COLUMNS,
    Columns,
    CountedText,
    CountingSetting,
    FailedAttempts,
    Flagged,
    Identity,
    PartCounts,
)
from tempzero.analysis.waiting_rows import WaitingRows
from tempzero.answers.answer_parts import AnswerParts
from tempzero.metrics.cuts import LIMIT_NOT_KNOWN
from tempzero.types.asked import Prompt
from tempzero.types.concluded import FailureKind
from tempzero.types.recorded import Flag

Key = TypeVar("Key", bound=Hashable)

# By what a row's lane is known; a lane's rows hold neither.
_LANE_COLUMNS = ("provider", "condition")


@dataclass(frozen=True, kw_only=True, slots=True)
class MergedCounts:
    """A whole run, counted. `texts` numbers (prompt, whole answer as text, is whole, after how many tokens it was cut).

    `parts` are an answer's parts, by its number, where it has other ones than text.
    """

    prompts: tuple[Prompt, ...]
    conditions: tuple[str, ...]
    texts: dict[tuple[int, str, bool, int], int]
    parts: dict[int, AnswerParts]
    identities: tuple[Identity, ...]
    finish_reasons: tuple[str, ...]
    failures: dict[tuple[str, FailureKind], FailedAttempts]
    flagged: dict[tuple[str, str, Flag], Flagged]
    records: int
    _lanes: WaitingRows
    _text_numbers: NDArray[Any]

    def take_lane(self, provider: int, condition: str) -> Columns:
        """The rows of one provider under one condition, in the order of the records. They are given away: once."""
        pieces = list(self._lanes.take((provider, condition)))
        columns: Columns = {}
        for name in (*INTEGER_COLUMNS, *SECONDS_COLUMNS):
            if name not in _LANE_COLUMNS:
                of_part = [piece.pop(name) for piece in pieces]
                columns[name] = np.concatenate(of_part) if of_part else np.empty(0, dtype=np.int64)
        columns["text"] = self._text_numbers[columns["text"]]
        return columns


def merge_counts(
    parts: Iterable[PartCounts], setting: CountingSetting, find_limits: Callable[[Collection[str]], dict[str, int]]
) -> MergedCounts:
    """Add up. `find_limits` gives the token limits that requests sent, by their SHA-256."""
    merging = _Merging(prompts=setting.prompts)
    for part in parts:
        merging.add(part)
    return merging.finish(find_limits)


@dataclass(kw_only=True, slots=True)
class _Merging:
    """What has been merged so far, by the numbers that parts gave."""

    prompts: tuple[Prompt, ...]
    conditions: dict[str, int] = field(default_factory=dict)
    texts: dict[CountedText, int] = field(default_factory=dict)
    spelled: dict[tuple[int, str, bool], int] = field(default_factory=dict)
    finish_reasons: dict[str, int] = field(default_factory=dict)
    identities: dict[tuple[str | None, str | None, str | None], int] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    bits: dict[tuple[int, str, tuple[int, ...] | None], int] = field(default_factory=dict)
    parts: dict[int, AnswerParts] = field(default_factory=dict)
    limits: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    failures: dict[tuple[str, FailureKind], FailedAttempts] = field(default_factory=dict)
    flagged: dict[tuple[str, str, Flag], Flagged] = field(default_factory=dict)
    lanes: WaitingRows = field(default_factory=WaitingRows)
    records: int = 0

    def add(self, part: PartCounts) -> None:
        """The next part, in the order of the records."""
        self.prompts = part.prompts or self.prompts
        self.records += part.records
        numbers = {
            "condition": _renumber(self.conditions, part.conditions),
            "text": _renumber(self.texts, part.texts),
            "spelled": _renumber(self.spelled, part.spelled),
            "finish": _renumber(self.finish_reasons, part.finish_reasons),
            "identity": _renumber(self.identities, part.identities),
            "request": _renumber(self.requests, part.requests),
            "bits": _renumber(self.bits, part.bits),
        }
        columns = {name: numbers[name][c] if name in numbers else c for name, c in part.columns.items()}
        self._split_lanes(columns, len(part.conditions), part)
        of_text = numbers["text"]
        for number, parts in part.parts.items():
            self.parts.setdefault(int(of_text[number]), parts)
        for number, limits in part.limits.items():
            self.limits[int(of_text[number])] |= limits
        for who, failed in part.failures.items():
            self.failures.setdefault(who, FailedAttempts()).join(failed)
        for what, flagged in part.flagged.items():
            self.flagged.setdefault(what, Flagged()).join(flagged)

    def _split_lanes(self, columns: Columns, conditions: int, part: PartCounts) -> None:
        """Give each provider's rows under each condition to their lane."""
        lane = part.columns["provider"].astype(np.int64) * max(1, conditions) + part.columns["condition"]
        for number in np.unique(lane).tolist():
            rows = np.flatnonzero(lane == number)
            provider, condition = divmod(number, max(1, conditions))
            piece = {name: column[rows] for name, column in columns.items() if name not in _LANE_COLUMNS}
            self.lanes.put((provider, part.conditions[condition]), piece)

    def finish(self, find_limits: Callable[[Collection[str]], dict[str, int]]) -> MergedCounts:
        """Every part is there: put limits in place of who says them, and number texts by these.

        A text that was cut under two limits is two, so that under each it is known where it was cut: by what a
        provider counted under a condition, where it counted one number, or else by what the request sent.
        """
        sent = find_limits({by for _, _, _, by in self.texts if isinstance(by, str)})
        texts: dict[tuple[int, str, bool, int], int] = {}
        parts: dict[int, AnswerParts] = {}
        final = np.empty(len(self.texts) + 1, dtype=np.int32 if len(self.texts) < 2**31 else np.int64)
        final[-1] = NOT_SAID
        for (prompt, text, whole, by), old in self.texts.items():
            counted = {sent.get(by, LIMIT_NOT_KNOWN)} if isinstance(by, str) else self.limits.get(old, set())
            limit = next(iter(counted)) if len(counted) == 1 else LIMIT_NOT_KNOWN
            number = final[old] = texts.setdefault((prompt, text, whole, limit), len(texts))
            if old in self.parts:
                parts[number] = self.parts[old]
        return MergedCounts(
            prompts=self.prompts,
            conditions=tuple(self.conditions),
            texts=texts,
            parts=parts,
            identities=tuple(
                Identity(served_model=model, backend=backend, fingerprint=fingerprint)
                for model, backend, fingerprint in self.identities
            ),
            finish_reasons=tuple(self.finish_reasons),
            failures=self.failures,
            flagged=self.flagged,
            records=self.records,
            _lanes=self.lanes,
            _text_numbers=final,
        )


def _renumber(known: dict[Key, int], met: Sequence[Key]) -> NDArray[Any]:
    """By a part's own number of a thing, that of the run; −1 stays −1."""
    new = [known.setdefault(one, len(known)) for one in met]
    return np.array([*new, NOT_SAID], dtype=np.min_scalar_type(-1 - len(known)))
