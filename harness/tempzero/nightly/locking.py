"""A results folder in, the right to work on its history out: two nights never overlap, on one machine or two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tempzero.errors import UsageError
from tempzero.nightly.history.nights import BASELINES, HISTORY
from tempzero.records.files import lock_file
from tempzero.records.store import fetch_folder, hold_lease, put_folder


@contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the operating system gives it back however this process ends.

    Raises UsageError at once where another process holds it, and StoreError where it belongs to a store and another
    machine is at work on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        try:
            alone = lock_file(file)
        except OSError as error:
            raise UsageError(f"{folder}: cannot be locked against a second night: {error.strerror}") from None
        if not alone:
            raise UsageError(f"{folder}: another `tempzero nightly` is at work here; nothing was done")
        with hold_lease(folder):
            fetch_nights(folder.parent)
            yield


@contextmanager
def keep_nights(results: Path) -> Iterator[None]:
    """Nights and baselines, in step with the store that they belong to, if any, before and after. Raises StoreError."""
    fetch_nights(results)
    yield
    put_nights(results)


def put_nights(results: Path) -> None:
    """Put what is new of nights and baselines. Raises StoreError."""
    for name in (BASELINES, HISTORY):
        put_folder(results / name)


def fetch_nights(results: Path) -> None:
    """Nights and baselines as the store has them that they belong to, if any. Raises StoreError."""
    for name in (BASELINES, HISTORY):
        fetch_folder(results / name)
