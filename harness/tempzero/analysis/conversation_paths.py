"""Tallies and compared pairs in, how far conversations go the same way, round by round, out.

A conversation is one observation here: the answers to all of its rounds, in order. Two go the same way up to the round
whose answers differ, whatever is said in those behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from tempzero import stats
from tempzero.analysis.evidence import Case
from tempzero.analysis.pair_figures import Comparison
from tempzero.analysis.part_counts import NOT_SAID
from tempzero.analysis.tallies import Tally
from tempzero.metrics.agreement import Ints
from tempzero.types.concluded import ConversationRounds
from tempzero.types.vocabulary import PartName

_Path = tuple[str, ...]
_Paths = Mapping[str, Sequence[_Path]]


def follow_conversations(case: Case) -> tuple[ConversationRounds, ...]:
    """Of each provider's repeats and of each listed pair; nothing where the suite holds no conversation."""
    if not any(prompt.round is not None for prompt in case.prompts):
        return ()
    found = [_follow_repeats(tally, case) for tally in case.tallies]
    listed = [c for c in case.comparisons if c.pair.listed]
    found += [_follow_pair(c, case) for c in (*listed, *case.conditions)]
    return tuple(one for one in found if one is not None)


def _list_paths(tally: Tally, case: Case, part: PartName) -> _Paths:
    """By conversation, the answers of each repeat, up to the first round without a comparable one."""
    text, lane, written = tally.by_part(part).text, tally.lane, case.texts.by_part(part).text
    said: dict[tuple[str, int], dict[int, str]] = {}
    for row, at in enumerate(lane.prompt.tolist()):
        place = case.prompts[at].round
        if place is not None and text[row] != NOT_SAID:
            said.setdefault((place.conversation, int(lane.repeat[row])), {})[place.number] = written[int(text[row])]
    found: dict[str, list[_Path]] = {}
    for (conversation, _), rounds in sorted(said.items()):
        path: list[str] = []
        while len(path) + 1 in rounds:
            path.append(rounds[len(path) + 1])
        found.setdefault(conversation, []).append(tuple(path))
    return found


def _follow_repeats(tally: Tally, case: Case) -> ConversationRounds | None:
    paths = {name: own for name, own in _list_paths(tally, case, "whole").items() if len(own) > 1}
    if not paths:
        return None
    shares = [_mean(_share_alike(own, own, number, own=True) for own in paths.values()) for number in _rounds(paths)]
    name, number = _find_first_parting({n: list(combinations(own, 2)) for n, own in paths.items()})
    return ConversationRounds(
        left=tally.name,
        right=None,
        condition=tally.lane.condition,
        kind="repeat",
        conversations=len(paths),
        shares=tuple(shares),
        first_round=number,
        first_conversation=name,
    )


def _follow_pair(comparison: Comparison, case: Case) -> ConversationRounds | None:
    pair = comparison.pair
    left, right = (_list_paths(tally, case, pair.basis) for tally in (pair.left, pair.right))
    both = sorted(left.keys() & right.keys())
    if not both:
        return None
    paths = {name: [*left[name], *right[name]] for name in both}
    shares = [_mean(_share_alike(left[n], right[n], number) for n in both) for number in _rounds(paths)]
    floors = [
        _mean(_share_alike(side[n], side[n], number, own=True) for n in both for side in (left, right))
        for number in _rounds(paths)
    ]
    name, number = _find_first_parting({n: [(a, b) for a in left[n] for b in right[n]] for n in both})
    test = stats.one_hot_permutation([_count_ways(left[n], right[n]) for n in both])
    subject = pair.subject
    return ConversationRounds(
        left=subject.left,
        right=subject.right,
        condition=subject.condition,
        kind=pair.kind,
        conversations=len(both),
        shares=tuple(shares),
        floors=tuple(floors),
        first_round=number,
        first_conversation=name,
        p_value=test.p_value if test.n else None,
    )


def _rounds(paths: _Paths) -> range:
    return range(1, 1 + max((len(path) for own in paths.values() for path in own), default=0))


def _share_alike(left: Sequence[_Path], right: Sequence[_Path], number: int, *, own: bool = False) -> float | None:
    """The share of pairs that are alike up to this round, of those who came so far; None where there is no pair."""
    ours, theirs = ([path[:number] for path in side if len(path) >= number] for side in (left, right))
    pairs = len(ours) * (len(theirs) - 1) if own else len(ours) * len(theirs)
    if pairs <= 0:
        return None
    counted, others = Counter(ours), Counter(theirs)
    alike = sum(n * (others[path] - own) for path, n in counted.items())
    return alike / pairs


def _mean(values: Iterator[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _find_first_parting(pairs: Mapping[str, Sequence[tuple[_Path, _Path]]]) -> tuple[str | None, int | None]:
    """The earliest round whose answers differ in any of these pairs, and its conversation: the first by name."""
    found = [
        (at, name)
        for name, of in pairs.items()
        for left, right in of
        for at in [next((i for i, (a, b) in enumerate(zip(left, right, strict=False), start=1) if a != b), None)]
        if at is not None
    ]
    at, name = min(found, default=(None, None))
    return name, at


def _count_ways(left: Sequence[_Path], right: Sequence[_Path]) -> Ints:
    """How often each side went each way, up to the last round that all of them came to."""
    reached = min(len(path) for path in (*left, *right))
    ways = sorted({path[:reached] for path in (*left, *right)})
    counted = [Counter(path[:reached] for path in side) for side in (left, right)]
    return np.array([[side[way] for way in ways] for side in counted], dtype=np.int64)
