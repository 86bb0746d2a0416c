"""A text and the one it is compared with in, its pieces out: the same, new, or gone; word by word where few differ."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

MOST_EDITS = 40
"""Where two texts differ in more words than that, or in most of them, all is new from the first different word to the
last."""

_FEW_WORDS = 8
_WORD = re.compile(r"\w+|\s+|[^\w\s]")

PieceKind = Literal["same", "new", "gone"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffPiece:
    """A run of words: in both texts, in this one only, or in the other one only."""

    text: str
    kind: PieceKind


def split_words(text: str) -> tuple[str, ...]:
    """Words, blanks and signs; joined again they are the text."""
    return tuple(_WORD.findall(text))


def diff_words(base: Sequence[str], words: Sequence[str]) -> tuple[DiffPiece, ...]:
    """What of `words` is the same as in `base`, what is new, and, where few words differ, what is gone."""
    limit = min(len(base), len(words))
    start = next((i for i in range(limit) if base[i] != words[i]), limit)
    end = next((i for i in range(limit - start) if base[-1 - i] != words[-1 - i]), limit - start)
    steps: list[tuple[PieceKind, str]] = [("same", w) for w in words[:start]]
    middle = words[start : len(words) - end]
    edits = _find_edits(base[start : len(base) - end], middle)
    steps += [("new", w) for w in middle] if edits is None else edits
    steps += [("same", w) for w in words[len(words) - end :]] if end else []
    return tuple(
        DiffPiece(text="".join(w for _, w in group), kind=kind) for kind, group in groupby(steps, key=lambda s: s[0])
    )


def _find_edits(base: Sequence[str], words: Sequence[str]) -> list[tuple[PieceKind, str]] | None:
    """The fewest insertions and deletions (Myers 1986); None where more than MOST_EDITS are needed."""
    furthest = {1: 0}
    trace: list[dict[int, int]] = []
    for edits in range(min(MOST_EDITS, len(base) + len(words)) + 1):
        trace.append(dict(furthest))
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (diagonal != edits and furthest[diagonal - 1] < furthest[diagonal + 1])
            x = furthest[diagonal + 1] if down else furthest[diagonal - 1] + 1
            while x < len(base) and 0 <= x - diagonal < len(words) and base[x] == words[x - diagonal]:
                x += 1
            furthest[diagonal] = x
            if x >= len(base) and x - diagonal >= len(words):
                if edits > (len(base) + len(words)) / 2 and len(base) + len(words) > _FEW_WORDS:
                    return None  # what is left in common is there by chance
                return list(reversed(list(_walk_back(trace, base, words))))
    return None


def _walk_back(
    trace: Sequence[dict[int, int]], base: Sequence[str], words: Sequence[str]
) -> Iterator[tuple[PieceKind, str]]:
    x, y = len(base), len(words)
    for edits in range(len(trace) - 1, -1, -1):
        furthest, diagonal = trace[edits], x - y
        down = diagonal == -edits or (diagonal != edits and furthest[diagonal - 1] < furthest[diagonal + 1])
        before = diagonal + 1 if down else diagonal - 1
        from_x = furthest[before]
        from_y = from_x - before
        while x > max(from_x, 0) and y > max(from_y, 0):
            x, y = x - 1, y - 1
            yield "same", words[y]
        if edits:
            if down:
                y -= 1
                yield "new", words[y]
            else:
                x -= 1
                yield "gone", base[x]
