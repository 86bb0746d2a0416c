"""A Reading and the answers it is about in, columns of numbers out: each distinct token sequence once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tempzero.types.asked import Trial
from tempzero.types.scored import Reader, Reading, ScoredResponse

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedAnswer:
    """What a provider gave and said of it. `cut`: at its token limit; `max_tokens`: the limit asked for.

    `place` is its prompt's among all: of a round of a conversation another one for every history.
    """

    trial: Trial
    text: str
    cut: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    max_tokens: int | None
    place: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenColumns:
    """All distinct token sequences one after the other; sequence i has the tokens from start[i] to start[i + 1].

    `top` is the log-probability of the reference's choice, `position` counts from 0 within the response,
    `context` is how many tokens stand before this one. `rounded` and `sampled` have a row for each
    sequence; these two have no columns where the reader did not see whole distributions.
    """

    start: Ints
    margin: Floats
    gap: Floats
    top: Floats
    rank: Ints
    seen: Flags
    position: Ints
    context: Ints
    rounded: Floats
    sampled: Floats

    @property
    def length(self) -> Ints:
        return np.diff(self.start)

    @property
    def missed(self) -> Flags:
        return self.rank > 1

    def sum_by_sequence(self, values: NDArray[np.generic]) -> Floats:
        """A value for each token in, its sum for each sequence out."""
        total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
        return np.asarray(total[self.start[1:]] - total[self.start[:-1]])


@dataclass(frozen=True, kw_only=True, slots=True)
class ResponseLane:
    """The responses of one provider under one condition: which sequence each is, and which prompt it answers."""

    provider: str
    condition: str
    sequence: Ints
    prompt: Ints
    trials: tuple[Trial, ...]
    answers: tuple[ReportedAnswer | None, ...]
    scored: tuple[ScoredResponse, ...]

    @property
    def distinct(self) -> Ints:
        """The first response of each sequence on each prompt: repeats that are the same count once."""
        return np.sort(np.unique(self.sequence, return_index=True)[1])


@dataclass(frozen=True, kw_only=True, slots=True)
class ReaderTable:
    """All that one reader read. `roots` are the responses whose scores the sequences are."""

    reader: Reader
    prompts: tuple[str, ...]
    tokens: TokenColumns
    roots: tuple[ScoredResponse, ...]
    lanes: tuple[ResponseLane, ...]
    found: Mapping[Trial, int]


def build_tables(
    reading: Reading, answers: Mapping[Trial, ReportedAnswer], prompts: Sequence[str]
) -> tuple[ReaderTable, ...]:
    """One table for each reader that read anything; of a response that was read twice the last reading counts."""
    readers = {r.reference: r for r in reading.readers}
    found = []
    for reader in readers.values():
        scored = {s.trial: s for s in reading.scored if s.reference == reader.reference}
        table = _build_reader_table(reader, scored, answers, tuple(prompts))
        if table.roots:
            found.append(table)
    return tuple(found)


def _build_reader_table(
    reader: Reader,
    scored: Mapping[Trial, ScoredResponse],
    answers: Mapping[Trial, ReportedAnswer],
    prompts: tuple[str, ...],
) -> ReaderTable:
    roots = tuple(s for s in scored.values() if s.scores is not None and s.scores.margin)
    number = {s.trial: i for i, s in enumerate(roots)}
    cells = {name: i for i, name in enumerate(prompts)}
    sequence = {}
    for one in scored.values():
        of = one.same_as or one.trial
        if of in number and one.trial.prompt in cells:
            sequence[one.trial] = number[of]
    return ReaderTable(
        reader=reader,
        prompts=prompts,
        tokens=_build_token_columns(roots),
        roots=roots,
        lanes=tuple(_build_response_lanes(sequence, scored, answers, cells)),
        found=sequence,
    )


def _build_response_lanes(
    sequence: Mapping[Trial, int],
    scored: Mapping[Trial, ScoredResponse],
    answers: Mapping[Trial, ReportedAnswer],
    cells: Mapping[str, int],
) -> Iterable[ResponseLane]:
    by_lane: dict[tuple[str, str], list[Trial]] = {}
    for trial in sequence:
        by_lane.setdefault((trial.condition, trial.provider), []).append(trial)
    for (condition, provider), unordered in sorted(by_lane.items()):
        places = {t: _find_place(answers.get(t), cells[t.prompt]) for t in unordered}
        trials = sorted(unordered, key=lambda t: (places[t], t.repeat))
        yield ResponseLane(
            provider=provider,
            condition=condition,
            sequence=np.array([sequence[t] for t in trials], dtype=np.int64),
            prompt=np.array([places[t] for t in trials], dtype=np.int64),
            trials=tuple(trials),
            answers=tuple(answers.get(t) for t in trials),
            scored=tuple(scored[t] for t in trials),
        )


def _find_place(answer: ReportedAnswer | None, own: int) -> int:
    """Only answers to the same words are held against each other."""
    return own if answer is None or answer.place is None else answer.place


def _build_token_columns(roots: Sequence[ScoredResponse]) -> TokenColumns:
    length = np.array([len(r.scores.margin) for r in roots if r.scores is not None], dtype=np.int64)
    start = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    margin, logprob = _join_score_column(roots, "margin", np.float64), _join_score_column(roots, "logprob", np.float64)
    position = np.arange(start[-1], dtype=np.int64) - np.repeat(start[:-1], length)
    before = np.array([r.prompt_tokens for r in roots], dtype=np.int64)
    return TokenColumns(
        start=start,
        margin=margin,
        gap=_join_score_column(roots, "gap", np.float64),
        top=np.minimum(logprob + margin, 0.0),
        rank=_join_score_column(roots, "rank", np.int64),
        seen=_join_score_column(roots, "seen", np.bool_),
        position=position,
        context=position + np.repeat(before, length),
        rounded=_stack_decoding_sums(roots, "rounded"),
        sampled=_stack_decoding_sums(roots, "sampled"),
    )


def _join_score_column(roots: Sequence[ScoredResponse], name: str, kind: type) -> Any:
    parts: list[NDArray[Any]] = [np.asarray(getattr(r.scores, name), dtype=kind) for r in roots]
    return np.concatenate(parts) if parts else np.empty(0, dtype=kind)


def _stack_decoding_sums(roots: Sequence[ScoredResponse], name: str) -> Floats:
    """A row for each sequence; no columns where any of them has none."""
    rows = [() if r.sums is None else getattr(r.sums, name) for r in roots]
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        return np.empty((len(rows), 0))
    return np.array(rows, dtype=np.float64).reshape(len(rows), -1)
