"""A baseline and the nights held against it in, the states that they fall into out, each with pools that are frozen.

The baseline is the first state; runs in it that plainly differ from each other (replicas that take turns) are states
of their own. Every alarm opens another one, whose first pool are the nights of the window that alarmed. A pool takes in
the first nights of its state once they are HOLD nights old, so that it does not swallow a young change; it is full at
FULL runs and nights, and from the next alarm on nothing joins it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tempzero import stats
from tempzero.nightly.history.nights import Basis, Depth, Night, NightEntry, Side

HOLD, FULL = 8, 30
# Runs of a baseline are states apart where chance alone differs so much once in a thousand.
_APART_P = 0.001


@dataclass(frozen=True, kw_only=True, slots=True)
class PastNight:
    """An earlier night of one provider."""

    night: str
    depth: Depth
    entry: NightEntry


def gather_past_nights(nights: Iterable[Night], before: str) -> Mapping[str, Sequence[PastNight]]:
    """Every provider's nights before this one, in order; a provider without any has none."""
    found: dict[str, list[PastNight]] = defaultdict(list)
    for night in nights:
        for entry in night.entries if night.night < before else ():
            found[entry.side.provider].append(PastNight(night=night.night, depth=night.depth, entry=entry))
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownState:
    """A way in which a provider answers: the runs or nights it is known by, and those it was met in since.

    `opened` is None for a state of the baseline, else the first night of the window that alarmed. The first `joined` of
    its `nights` are in its pool.
    """

    name: str
    opened: str | None
    base: tuple[Side, ...]
    nights: tuple[PastNight, ...]
    joined: int

    @property
    def pool(self) -> tuple[Side, ...]:
        """All that stands for this state."""
        return (*self.base, *(p.entry.side for p in self.nights[: self.joined]))

    @property
    def met(self) -> int:
        """Nights of this state."""
        return len(self.nights) + (0 if self.opened is None else len(self.base))


def name_known_state(index: int) -> str:
    """A, B, ..., Z, A2, B2, ..."""
    turn, letter = divmod(index, 26)
    return chr(ord("A") + letter) + (str(turn + 1) if turn else "")


def find_known_states(
    baseline: Sequence[Side], held: Sequence[PastNight], fits: Callable[[Side], bool], tolerance: float
) -> tuple[KnownState, ...]:
    """The states, those of the baseline first. `held` are tested nights in order; only sides that fit are taken."""
    groups = split_baseline([side for side in baseline if fits(side)], tolerance)
    openings = [p for p in held if p.entry.decision.window]
    taken = {night for p in openings for night in p.entry.decision.window}
    names = [name_known_state(i) for i in range(len(groups))]
    found = [
        _gather_state(name, None, group, held, taken, openings, fits) for name, group in zip(names, groups, strict=True)
    ]
    by_night = {p.night: p for p in held}
    for index, opening in enumerate(openings):
        decision = opening.entry.decision
        base = [by_night[n].entry.side for n in decision.window if n in by_night]
        base = [side for side in base if fits(side)]
        if base:
            name, later = decision.known_state, openings[index + 1 :]
            found.append(_gather_state(name, decision.window[0], base, held, taken, later, fits))
    return tuple(found)


def _gather_state(
    name: str,
    opened: str | None,
    base: Sequence[Side],
    held: Sequence[PastNight],
    taken: set[str],
    later: Sequence[PastNight],
    fits: Callable[[Side], bool],
) -> KnownState:
    own = [p for p in held if p.night not in taken and _belongs_to(p, name) and fits(p.entry.side)]
    old_enough = len(own) - (HOLD - 1)
    if later:
        # From the next alarm on nothing joins; nor does what the window that alarmed has reached.
        window, night = later[0].entry.decision.window, later[0].night
        before = sum(p.night < window[0] for p in own)
        old_enough = min(before, sum(p.night < night for p in own) + len(window) - 1 - (HOLD - 1))
    joined = max(0, min(old_enough, FULL - len(base)))
    return KnownState(name=name, opened=opened, base=tuple(base), nights=tuple(own), joined=joined)


def _belongs_to(past: PastNight, name: str) -> bool:
    """Nights decided by an older tempzero name no state: the quiet ones are the baseline's, the others nobody's."""
    decision = past.entry.decision
    return (decision.known_state or ("A" if decision.state == "ok" else "")) == name


def split_baseline(sides: Sequence[Side], tolerance: float) -> tuple[tuple[Side, ...], ...]:
    """A baseline's runs, parted where one plainly differs from those before it."""
    groups: list[list[Side]] = []
    for side in sides:
        for group in groups:
            counted = count_texts([side, *group], "whole")
            tables = [np.stack([row[0], row[1:].sum(axis=0)]) for row in counted.counts.transpose(1, 0, 2)]
            if (
                stats.drift_test([t for t in tables if t.sum(axis=1).min() >= 2], tolerance=tolerance).p_value
                > _APART_P
            ):
                group.append(side)
                break
        else:
            groups.append([side])
    return tuple(tuple(group) for group in groups)


@dataclass(frozen=True, kw_only=True, slots=True)
class CountedTexts:
    """How often each text came: sides x questions x texts."""

    questions: tuple[str, ...]
    counts: NDArray[np.int64]


def count_texts(sides: Sequence[Side], basis: Basis, questions: Sequence[str] | None = None) -> CountedTexts:
    """Count the answers to these questions; else to those of the first side."""
    texts = [side.texts_by(basis) for side in sides]
    asked = tuple(sorted(texts[0]) if questions is None else questions)
    columns: list[dict[str, int]] = []
    for question in asked:
        known = sorted({text for one in texts for text in one.get(question, ())})
        columns.append({text: i for i, text in enumerate(known)})
    counts = np.zeros((len(sides), len(asked), max((len(c) for c in columns), default=0)), dtype=np.int64)
    for row, one in zip(counts, texts, strict=True):
        for cell, question, column in zip(row, asked, columns, strict=True):
            for text, number in one.get(question, {}).items():
                cell[column[text]] = number
    return CountedTexts(questions=asked, counts=counts)


@dataclass(frozen=True, kw_only=True, slots=True)
class StateEvidence:
    """Tonight held against one state: `value` is an alarm from the threshold on.

    `window` names the nights of the window that says most, tonight last; `telling` the questions on which it does, with
    the natural logarithm of their e-values; `match` is the mean chance that an answer of tonight is one of the pool's.
    """

    state: KnownState
    value: float
    match: float
    window: tuple[str, ...]
    telling: Mapping[str, float]
    test: stats.DriftTest
    spread: float


def weigh_against_state(
    night: str, tonight: Side, state: KnownState, questions: Sequence[str], basis: Basis, tolerance: float
) -> StateEvidence:
    """All windows that end tonight against both pools of a state, and the exact test of tonight alone."""
    recent = state.nights[-(max(stats.WINDOWS) - 1) :]
    pool = state.pool
    counted = count_texts([tonight, *(p.entry.side for p in recent), *pool], basis, questions)
    nights = np.vstack([counted.counts[1 : len(recent) + 1], counted.counts[:1]])
    of_pool = counted.counts[len(recent) + 1 :]
    both = of_pool.sum(axis=0)
    spread = _spread_of(of_pool, both)
    windows = list(_lay_windows(nights, of_pool, len(state.base), len(state.nights) - state.joined + 1))
    odds = [stats.odds_tolerated(one.nights, one.pool_nights, spread) for one in windows]
    left, pooled = np.stack([one.left for one in windows]), np.stack([one.left + one.pool for one in windows])
    found = stats.weigh_windows(left, pooled, np.array(odds))
    tables = [np.stack(pair) for pair in zip(counted.counts[0], both, strict=True)]
    test = stats.drift_test([t[:, t.sum(axis=0) > 0] for t in tables], tolerance=tolerance)
    shares = np.array([stats.SHARE_OF_POOL[one.kind] / len(stats.WINDOWS) for one in windows])
    weighed = found.total + np.log(shares)
    best = int(weighed.argmax())
    if weighed[best] < stats.bet_on(test.p_value) + np.log(stats.SHARE_OF_EXACT_TEST):
        best = max(i for i, one in enumerate(windows) if one.nights == 1)
    names = [*(p.night for p in recent), night]
    with np.errstate(divide="ignore", invalid="ignore"):
        equal = (counted.counts[0] * both).sum(axis=1) / (counted.counts[0].sum(axis=1) * both.sum(axis=1))
    return StateEvidence(
        state=state,
        value=stats.weigh_night([*zip(found.total.tolist(), (one.kind for one in windows), strict=True)], test.p_value),
        match=float(np.nanmean(equal)) if np.isfinite(equal).any() else 0.0,
        window=tuple(names[len(names) - windows[best].nights :]),
        telling={q: float(e) for q, e in zip(counted.questions, found.by_prompt[best], strict=True) if e > 0},
        test=test,
        spread=max(spread, stats.SPREAD_FLOOR),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Window:
    """Counts of a window and of the pool it is held against, and how many nights are in either."""

    left: NDArray[np.int64]
    pool: NDArray[np.int64]
    nights: int
    pool_nights: int
    kind: stats.PoolKind


def _lay_windows(nights: NDArray[np.int64], pool: NDArray[np.int64], base: int, longest: int) -> Iterator[_Window]:
    """Each window with each pool; one that would reach into its pool does not exist."""
    sums = nights[::-1].cumsum(axis=0)
    pools: tuple[tuple[stats.PoolKind, int, int], ...] = (("base", base, len(nights)), ("whole", len(pool), longest))
    for kind, size, most in pools:
        held = pool[:size].sum(axis=0)
        for length in stats.WINDOWS:
            if length <= min(most, len(nights)):
                yield _Window(left=sums[length - 1], pool=held, nights=length, pool_nights=size, kind=kind)


def _spread_of(pool: NDArray[np.int64], both: NDArray[np.int64]) -> float:
    top = both.argmax(axis=1)[None, :, None]
    commonest = np.take_along_axis(pool, np.broadcast_to(top, (len(pool), both.shape[0], 1)), axis=2)[..., 0]
    return float(stats.estimate_spread(commonest, pool.sum(axis=2)))
