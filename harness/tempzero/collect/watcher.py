"""Who is told what while a run goes on; without anybody it goes on in silence."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from tempzero.types.asked import Plan, Trial
from tempzero.types.recorded import Attempt


def _tell_nobody(*_: object) -> None:
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class Watcher:
    """Lines for a log, and every attempt as it is recorded; what is left out is told to nobody."""

    say: Callable[[str], None] = _tell_nobody
    begin: Callable[[Plan, Collection[Trial]], None] = _tell_nobody
    """The plan, and which of its trials are answered already."""
    attempt: Callable[[Attempt], None] = _tell_nobody
    end: Callable[[], None] = _tell_nobody
    """Nobody is asked any more, whatever ended it."""
    read: Callable[[str, int, int], None] = _tell_nobody
    """A reference, how many of the waiting responses it has read, and how many there are."""
