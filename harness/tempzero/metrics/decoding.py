"""Rows of logits and the tokens that followed in, each token's standing and the likelihood of ways of decoding out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tempzero.metrics import decoding_ways
from tempzero.metrics.decoding_ways import Choice, DecodingWays
from tempzero.types.scored import DecodingSums

# Within this many logits of the best a token may be another engine's choice: ten times what 16-bit rounding moves one.
NEAR_CHOICE = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenStandings:
    """One value for each token; see `types.TokenScores`.

    `choices` are the tokens that rounding could have made the reference's choice there, the likeliest first: all within
    `NEAR_CHOICE` logits of it that are seen.
    """

    token_ids: tuple[int, ...]
    argmax: tuple[int, ...]
    choices: tuple[tuple[int, ...], ...]
    margin: tuple[float, ...]
    logprob: tuple[float, ...]
    rank: tuple[int, ...]
    gap: tuple[float, ...]
    seen: tuple[int, ...]
    sums: DecodingSums | None


def read_logit_rows(
    rows: Iterable[NDArray[np.float32]],
    token_ids: Sequence[int],
    prompt_ids: Sequence[int],
    *,
    end_ids: Sequence[int] = (),
) -> TokenStandings:
    """How a response's tokens stand in the distributions they were chosen from.

    `rows` yields, in order, one row of logits for each token of the response; further rows are not
    read. Where the response ended by itself with a token that is not known, `end_ids` are those it
    may have been: the likeliest of them then counts as its last token, from one row more.
    Raises ValueError where there are fewer rows than tokens.
    """
    reading = _ResponseReader(prompt_ids)
    wanted = len(token_ids) + bool(end_ids)
    for at, row in enumerate(itertools.islice(rows, wanted)):
        reading.take(row, token_ids[at] if at < len(token_ids) else max(end_ids, key=lambda t: float(row[t])))
    if len(reading.margin) < wanted:
        raise ValueError(f"{len(reading.margin)} rows of logits for {wanted} tokens")
    return reading.standings()


class ReportedToken(Protocol):
    """What an endpoint tells of one token: see `engines.hosted.told_tokens.TokenStanding`."""

    @property
    def token_id(self) -> int: ...
    @property
    def logprob(self) -> float: ...
    @property
    def rank(self) -> int: ...
    @property
    def top1_id(self) -> int: ...
    @property
    def margin(self) -> float: ...
    @property
    def gap(self) -> float: ...
    @property
    def rivals(self) -> Sequence[tuple[int, float]]: ...


def read_reported_tokens(tokens: Sequence[ReportedToken], prompt_ids: Sequence[int]) -> TokenStandings:
    """The same of tokens that an endpoint read: all but the sums, which need whole distributions."""
    context, seen = set(prompt_ids), []
    for token in tokens:
        seen.append(int(token.top1_id in context))
        context.add(token.token_id)
    return TokenStandings(
        token_ids=tuple(t.token_id for t in tokens),
        argmax=tuple(t.top1_id for t in tokens),
        choices=tuple(_list_near_rivals(t.rivals) for t in tokens),
        margin=tuple(t.margin for t in tokens),
        logprob=tuple(t.logprob for t in tokens),
        rank=tuple(t.rank for t in tokens),
        gap=tuple(t.gap for t in tokens),
        seen=tuple(seen),
        sums=None,
    )


def _list_near_rivals(rivals: Sequence[tuple[int, float]]) -> tuple[int, ...]:
    """Of visible tokens, the likeliest first, those that rounding could have chosen."""
    return tuple(token for token, logprob in rivals if logprob >= rivals[0][1] - NEAR_CHOICE)


def choice_likelihoods(row: NDArray[np.float32], token: int) -> DecodingSums:
    """Log-likelihoods of one choice, as `DecodingWays` has them."""
    found = DecodingWays(vocabulary=row.size)
    found.add_choice(_RowSweep.over(row.size).of(row, token).choice)
    return found.sums()


@dataclass(frozen=True, kw_only=True, slots=True)
class _RowStanding:
    """What one row of logits says of one token; `best` is the reference's choice."""

    best: int
    choices: tuple[int, ...]
    logprob: float
    rank: int
    gap: float
    choice: Choice


@dataclass(frozen=True, kw_only=True, slots=True)
class _RowSweep:
    """Passes over rows of logits, in memory that each next row uses again: fresh memory would cost more than they."""

    below: NDArray[np.float32]
    work: NDArray[np.float32]
    bins: NDArray[np.intp]
    near: NDArray[np.bool_]

    @classmethod
    def over(cls, vocabulary: int) -> _RowSweep:
        return cls(
            below=np.empty(vocabulary, np.float32),
            work=np.empty(vocabulary, np.float32),
            bins=np.empty(vocabulary, np.intp),
            near=np.empty(vocabulary, np.bool_),
        )

    def of(self, row: NDArray[np.float32], token: int) -> _RowStanding:
        best = int(row.argmax())
        below = np.subtract(row, row[best], out=self.below)
        near = np.flatnonzero(np.greater(below, np.float32(-decoding_ways.REACH), out=self.near))
        margin = -float(below[token])
        total = float(np.exp(below, out=self.work).sum())
        return _RowStanding(
            best=best,
            choices=_list_choices(below, near),
            logprob=-margin - math.log(total),
            rank=1 if token == best else 1 + int(np.count_nonzero(below > below[token])),
            gap=_gap_to_second(below, best, near),
            choice=Choice(
                best=float(row[best]),
                margin=margin,
                logits=row[near],
                far=self._far(),
            ),
        )

    def _far(self) -> NDArray[np.intp]:
        """How many tokens beyond reach lie in each bin."""
        np.multiply(self.below, np.float32(-decoding_ways.BINS_A_LOGIT), out=self.work)
        np.minimum(self.work, np.float32(decoding_ways.DEEPEST * decoding_ways.BINS_A_LOGIT), out=self.work)
        np.copyto(self.bins, self.work, casting="unsafe")
        counts = np.bincount(self.bins, minlength=decoding_ways.BINS)
        counts[: int(decoding_ways.REACH * decoding_ways.BINS_A_LOGIT)] = 0
        return counts


@dataclass(slots=True)
class _ResponseReader:
    """What has been read of one response so far."""

    prompt_ids: Sequence[int]
    context: list[int] = field(init=False)
    stood: set[int] = field(init=False)
    argmax: list[int] = field(default_factory=list)
    choices: list[tuple[int, ...]] = field(default_factory=list)
    margin: list[float] = field(default_factory=list)
    logprob: list[float] = field(default_factory=list)
    rank: list[int] = field(default_factory=list)
    gap: list[float] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    sweep: _RowSweep | None = None
    ways: DecodingWays | None = None

    def __post_init__(self) -> None:
        self.context, self.stood = list(self.prompt_ids), set(self.prompt_ids)

    def take(self, row: NDArray[np.float32], token: int) -> None:
        """One more token and the logits it was chosen from."""
        if self.sweep is None or self.ways is None:
            self.sweep, self.ways = _RowSweep.over(row.size), DecodingWays(vocabulary=row.size)
        standing = self.sweep.of(row, token)
        self.argmax.append(standing.best)
        self.choices.append(standing.choices)
        self.margin.append(standing.choice.margin)
        self.logprob.append(standing.logprob)
        self.rank.append(standing.rank)
        self.gap.append(standing.gap)
        self.seen.append(int(standing.best in self.stood))
        self.ways.add_choice(standing.choice)
        self.context.append(token)
        self.stood.add(token)

    def standings(self) -> TokenStandings:
        return TokenStandings(
            token_ids=tuple(self.context[len(self.prompt_ids) :]),
            argmax=tuple(self.argmax),
            choices=tuple(self.choices),
            margin=tuple(self.margin),
            logprob=tuple(self.logprob),
            rank=tuple(self.rank),
            gap=tuple(self.gap),
            seen=tuple(self.seen),
            sums=(self.ways or DecodingWays(vocabulary=1)).sums(),
        )


def _list_choices(below: NDArray[np.float32], near: NDArray[np.intp]) -> tuple[int, ...]:
    """Those of the near tokens that rounding could have chosen, the likeliest first."""
    close = near[below[near] >= -NEAR_CHOICE]
    return tuple(int(t) for t in close[np.argsort(-below[close], kind="stable")])


def _gap_to_second(below: NDArray[np.float32], best: int, near: NDArray[np.intp]) -> float:
    """Largest logit minus the second largest."""
    if near.size > 1:
        return -float(np.partition(below[near], near.size - 2)[near.size - 2])
    others = below.copy()
    others[best] = -np.inf
    return -float(others.max())
