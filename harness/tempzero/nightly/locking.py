"""A results folder in, the right to work on its history out: two nights never overlap."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tempzero.errors import UsageError
from tempzero.records.files import lock_file


@contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the operating system gives it back however this process ends.

    Raises UsageError at once where another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        try:
            alone = lock_file(file)
        except OSError as error:
            raise UsageError(f"{folder}: cannot be locked against a second night: {error.strerror}") from None
        if not alone:
            raise UsageError(f"{folder}: another `tempzero nightly` is at work here; nothing was done")
        yield
