"""A name in, a stream of choices out: the same on every machine and for every version of Python."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from struct import Struct
from typing import TypeVar

_Choice = TypeVar("_Choice")
_VALUES = 2**64
_FOUR = Struct(">4Q")


class Draw:
    """Choices that depend on nothing but the name they are drawn for.

    SHA-256 over the name and a counter, 64 bits a draw. The standard library's `random` promises the same
    sequence only for its `random()`; a suite must be the same for ever.
    """

    def __init__(self, *name: str | int) -> None:
        self._named = hashlib.sha256("/".join(str(part) for part in name).encode() + b"#")
        self._hashed = 0
        self._drawn: list[int] = []

    def below(self, limit: int) -> int:
        """A whole number from 0 on that is smaller than `limit`, each as likely as the others."""
        fair = _VALUES - _VALUES % limit
        while True:
            if not self._drawn:
                self._draw_more()
            value = self._drawn.pop()
            if value < fair:
                return value % limit

    def _draw_more(self) -> None:
        self._hashed += 1
        numbered = self._named.copy()
        numbered.update(b"%d" % self._hashed)
        self._drawn = list(_FOUR.unpack(numbered.digest()))

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + self.below(high - low + 1)

    def pick(self, choices: Sequence[_Choice]) -> _Choice:
        """One of the choices."""
        return choices[self.below(len(choices))]

    def sample(self, choices: Sequence[_Choice], count: int) -> list[_Choice]:
        """So many different places of the choices, in the order they were drawn."""
        left = list(choices)
        return [left.pop(self.below(len(left))) for _ in range(count)]

    def shuffle(self, choices: Sequence[_Choice]) -> list[_Choice]:
        """All of the choices in another order."""
        return self.sample(choices, len(choices))
