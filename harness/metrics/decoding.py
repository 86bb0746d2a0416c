"""Rows of logits and the tokens that followed in, each token's standing and the likelihood of ways of decoding out.

Three ways of decoding are told apart by how the chosen tokens' margins (largest logit minus theirs) are spread:

sampled     P(i) proportional to exp(-margin_i / T): sampling at temperature T, which is the same as greedy
            decoding from logits with Gumbel noise of scale T.
rounded     greedy decoding from logits with Gaussian noise, as coarser arithmetic makes it. With independent
            noise of scale s / sqrt(2) on each logit, token i beats the best one with probability
            F(-margin_i / s), F the normal distribution function. Several rivals are combined as in
            Bradley and Terry (1952): P(i) proportional to F(-margin_i / s) / F(margin_i / s).
penalised   greedy decoding after a repetition penalty: whether the token is the best one then.

So that one stray token decides nothing by itself, each of the first two allows for a share of
`STRAY` of tokens from nowhere, all equally likely.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

from harness.types import DecodingSums, Penalty

TEMPERATURES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0)
NOISES = (0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5, 2.5)
PENALTIES = (
    *(Penalty(kind="repetition", window="last_64", strength=r) for r in (1.02, 1.05, 1.1, 1.15, 1.2, 1.3)),
    *(Penalty(kind="repetition", window="all", strength=r) for r in (1.02, 1.05, 1.1, 1.15, 1.2, 1.3)),
    *(Penalty(kind="frequency", window="response", strength=a) for a in (0.1, 0.2, 0.5, 1.0)),
    *(Penalty(kind="presence", window="response", strength=a) for a in (0.1, 0.2, 0.5, 1.0)),
)
STRAY = 1e-3

_LAST = 64
# Tokens this far below the best one are rivals by name; those further below are counted in bins.
_REACH = 8.0
_BINS_A_LOGIT = 8
_DEEPEST = 60.0  # what lies deeper counts as if it lay there: e^-30 at the highest temperature

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Standings:
    """One value for each token; see `types.TokenScores`."""

    token_ids: tuple[int, ...]
    argmax: tuple[int, ...]
    margin: tuple[float, ...]
    logprob: tuple[float, ...]
    rank: tuple[int, ...]
    gap: tuple[float, ...]
    seen: tuple[int, ...]
    sums: DecodingSums | None


def read(
    rows: Iterable[NDArray[np.float32]],
    token_ids: Sequence[int],
    prompt_ids: Sequence[int],
    *,
    end_ids: Sequence[int] = (),
) -> Standings:
    """How a response's tokens stand in the distributions they were chosen from.

    `rows` yields, in order, one row of logits for each token of the response; further rows are not
    read. Where the response ended by itself with a token that is not known, `end_ids` are those it
    may have been: the likeliest of them then counts as its last token, from one row more.
    Raises ValueError where there are fewer rows than tokens.
    """
    reading = _Reading(prompt_ids)
    wanted = len(token_ids) + bool(end_ids)
    for at, row in enumerate(itertools.islice(rows, wanted)):
        reading.take(row, token_ids[at] if at < len(token_ids) else max(end_ids, key=lambda t: float(row[t])))
    if len(reading.margin) < wanted:
        raise ValueError(f"{len(reading.margin)} rows of logits for {wanted} tokens")
    return reading.standings()


class Told(Protocol):
    """What an endpoint tells of one token: see `engines.prompt_logprobs_forms.TokenStanding`."""

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


def told(tokens: Sequence[Told], prompt_ids: Sequence[int]) -> Standings:
    """The same of tokens that an endpoint read: all but the sums, which need whole distributions."""
    context, seen = set(prompt_ids), []
    for token in tokens:
        seen.append(int(token.top1_id in context))
        context.add(token.token_id)
    return Standings(
        token_ids=tuple(t.token_id for t in tokens),
        argmax=tuple(t.top1_id for t in tokens),
        margin=tuple(t.margin for t in tokens),
        logprob=tuple(t.logprob for t in tokens),
        rank=tuple(t.rank for t in tokens),
        gap=tuple(t.gap for t in tokens),
        seen=tuple(seen),
        sums=None,
    )


def likelihoods(row: NDArray[np.float32], token: int) -> tuple[Floats, Floats]:
    """Log-likelihoods of one choice: sampled, for each of `TEMPERATURES`, and rounded, for each of `NOISES`."""
    below = row - row.max()
    margin, rivals = -float(below[token]), _rivals(below, np.flatnonzero(below > -_REACH))
    return _sampled(margin, rivals, row.size), _rounded(margin, rivals, row.size)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rivals:
    """The other tokens at one position: margins of those near the best one, counts by bin of the rest."""

    margins: Floats
    counts: NDArray[np.intp]


# The middles of the bins, and what one token in each adds to the weights of the ways of decoding. For
# sampling, whose weights fall steeply within a bin at low temperature, the mean over the bin.
_MIDDLES = (np.arange(int(_DEEPEST * _BINS_A_LOGIT) + 1) + 0.5) / _BINS_A_LOGIT
_T = np.array(TEMPERATURES)
_HALF = 0.5 / _BINS_A_LOGIT / _T[:, None]
_FAR_WEIGHTS = np.exp(-_MIDDLES / _T[:, None]) * np.sinh(_HALF) / _HALF
_FAR_ODDS = special.ndtr(-_MIDDLES / np.array(NOISES)[:, None])


@dataclass(slots=True)
class _Reading:
    """What has been read of one response so far."""

    prompt_ids: Sequence[int]
    context: list[int] = field(init=False)
    counts: dict[str, NDArray[np.int32]] | None = None
    argmax: list[int] = field(default_factory=list)
    margin: list[float] = field(default_factory=list)
    logprob: list[float] = field(default_factory=list)
    rank: list[int] = field(default_factory=list)
    gap: list[float] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    sampled: Floats = field(default_factory=lambda: np.zeros(len(TEMPERATURES)))
    rounded: Floats = field(default_factory=lambda: np.zeros(len(NOISES)))
    penalised: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(PENALTIES), np.int64))

    def __post_init__(self) -> None:
        self.context = list(self.prompt_ids)

    def take(self, row: NDArray[np.float32], token: int) -> None:
        """One more token and the logits it was chosen from."""
        counts = self._counts(row.size)
        best = int(row.argmax())
        below = row - row[best]
        near = np.flatnonzero(below > -_REACH)
        rivals = _rivals(below, near)
        margin = -float(below[token])
        self.argmax.append(best)
        self.margin.append(margin)
        self.logprob.append(-margin - math.log(float(np.exp(below).sum())))
        self.rank.append(1 if token == best else 1 + int(np.count_nonzero(below > below[token])))
        self.gap.append(_second(below, best, near))
        self.seen.append(int(counts["all"][best] > 0))
        self.sampled += _sampled(margin, rivals, row.size)
        self.rounded += _rounded(margin, rivals, row.size)
        self._penalise(row, near, token)
        self._extend(token)

    def standings(self) -> Standings:
        return Standings(
            token_ids=tuple(self.context[len(self.prompt_ids) :]),
            argmax=tuple(self.argmax),
            margin=tuple(self.margin),
            logprob=tuple(self.logprob),
            rank=tuple(self.rank),
            gap=tuple(self.gap),
            seen=tuple(self.seen),
            sums=DecodingSums(
                sampled=tuple(self.sampled.tolist()),
                rounded=tuple(self.rounded.tolist()),
                penalised=tuple(self.penalised.tolist()),
            ),
        )

    def _counts(self, vocabulary: int) -> dict[str, NDArray[np.int32]]:
        if self.counts is None:
            windows: dict[str, Sequence[int]] = {
                "all": self.context,
                "last_64": self.context[-_LAST:],
                "response": (),
            }
            self.counts = {
                name: np.bincount(np.asarray(ids, np.int64), minlength=vocabulary).astype(np.int32)
                for name, ids in windows.items()
            }
        return self.counts

    def _extend(self, token: int) -> None:
        assert self.counts is not None, "a row was read before"
        for window in self.counts.values():
            window[token] += 1
        if len(self.context) >= _LAST:
            self.counts["last_64"][self.context[-_LAST]] -= 1
        self.context.append(token)

    def _penalise(self, row: NDArray[np.float32], near: NDArray[np.intp], token: int) -> None:
        assert self.counts is not None, "counted before"
        logits = row[near].astype(np.float64)
        often = {name: window[near] for name, window in self.counts.items()}
        for index, penalty in enumerate(PENALTIES):
            lowered = _lowered(logits, often[penalty.window], penalty)
            self.penalised[index] += near[lowered.argmax()] == token


def _lowered(logits: Floats, often: NDArray[np.int32], penalty: Penalty) -> Floats:
    """Logits after a penalty, `often` each token stands in its window."""
    if penalty.kind == "frequency":
        return logits - penalty.strength * often
    if penalty.kind == "presence":
        return logits - penalty.strength * (often > 0)
    strength = np.where(often > 0, penalty.strength, 1.0)
    return np.where(logits > 0, logits / strength, logits * strength)


def _rivals(below: NDArray[np.float32], near: NDArray[np.intp]) -> _Rivals:
    margins = -below[near].astype(np.float64)
    bins = (np.minimum(-below, np.float32(_DEEPEST)) * np.float32(_BINS_A_LOGIT)).astype(np.intp)
    counts = np.bincount(bins, minlength=_MIDDLES.size)
    counts[: int(_REACH * _BINS_A_LOGIT)] = 0
    return _Rivals(margins=margins, counts=counts)


def _second(below: NDArray[np.float32], best: int, near: NDArray[np.intp]) -> float:
    """Largest logit minus the second largest."""
    if near.size > 1:
        return -float(np.partition(below[near], near.size - 2)[near.size - 2])
    others = below.copy()
    others[best] = -np.inf
    return -float(others.max())


def _sampled(margin: float, rivals: _Rivals, vocabulary: int) -> Floats:
    weights = np.exp(-rivals.margins / _T[:, None]).sum(axis=1) + _FAR_WEIGHTS @ rivals.counts
    return _with_strays(-margin / _T - np.log(weights), vocabulary)


def _rounded(margin: float, rivals: _Rivals, vocabulary: int) -> Floats:
    values = np.empty(len(NOISES))
    for index, noise in enumerate(NOISES):
        close = rivals.margins[rivals.margins < 8 * noise]  # beyond, F(-8) = 6e-16
        odds = _odds(close / noise).sum() + _FAR_ODDS[index] @ rivals.counts
        values[index] = special.log_ndtr(-margin / noise) - special.log_ndtr(margin / noise) - math.log(odds)
    return _with_strays(values, vocabulary)


def _odds(margins: Floats) -> Floats:
    beaten: Floats = special.ndtr(-margins)
    return beaten / (1 - beaten)


def _with_strays(logs: Floats, vocabulary: int) -> Floats:
    """Log-likelihoods once a share of tokens may come from nowhere."""
    return np.logaddexp(math.log1p(-STRAY) + logs, math.log(STRAY / vocabulary))
