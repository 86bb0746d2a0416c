"""A function and what it is given in, what came of it on another machine out, with the version that did it there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import tempzero
from tempzero.errors import EngineError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class DoneTask(Generic[Result]):
    """What came of it; another version may count otherwise."""

    value: Result
    version: str


def do_task(work: Callable[[Item], Result], item: Item) -> DoneTask[Result]:
    """Ray takes functions by name only; what is sent may be one with some of its arguments given."""
    return DoneTask(value=work(item), version=tempzero.__version__)


def take_result(done: DoneTask[Result]) -> Result:
    """Raises EngineError where another version did it."""
    require_version(done.version)
    return done.value


def require_version(version: str) -> None:
    """Raises EngineError for another one than is here."""
    if version != tempzero.__version__:
        raise EngineError(f"a node has tempzero {version}, here is {tempzero.__version__}: install the same one")
