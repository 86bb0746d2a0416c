"""A results folder in, the right to work on its history out: two nights never overlap."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tempzero.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows has no flock; there the scheduler itself must not start two.
    fcntl = None  # type: ignore[assignment]


@contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the operating system gives it back however this process ends.

    Raises UsageError at once where another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(f"{folder}: another `tempzero nightly` is at work here; nothing was done") from None
        yield
