"""A name in, a stream of choices out: the same on every machine and for every version of Python."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from struct import unpack
from typing import TypeVar

_Choice = TypeVar("_Choice")


class Draw:
    """Choices that depend on nothing but the name they are drawn for.

    SHA-256 over the name and a counter, 64 bits a draw. The standard library's `random` promises the same
    sequence only for its `random()`; a suite must be the same for ever.
    """

    def __init__(self, *name: str | int) -> None:
        self._name = "/".join(str(part) for part in name)
        self._hashed = 0
        self._drawn: list[int] = []

    def below(self, limit: int) -> int:
        """A whole number from 0 on that is smaller than `limit`, each as likely as the others."""
        fair = 2**64 - 2**64 % limit
        while True:
            value = self._next()
            if value < fair:
                return value % limit

    def _next(self) -> int:
        if not self._drawn:
            self._hashed += 1
            self._drawn = list(unpack(">4Q", hashlib.sha256(f"{self._name}#{self._hashed}".encode()).digest()))
        return self._drawn.pop()

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
