"""A command in, the same for runs in an object store out: what it is given is fetched, what it makes is put."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def keep_stored_runs(command: Callable[..., int]) -> Callable[..., int]:
    """Every folder that stands for a run in a store is brought in step with it, before the command and after.

    Raises StoreError, and nothing is lost then: what was made stays here.
    """

    @functools.wraps(command)
    def keep(**given: Any) -> int:
        folders = [path for value in given.values() for path in _find_paths(value) if path.is_absolute()]
        if not folders:
            return command(**given)
        from tempzero.records.store import fetch_folder, put_folder

        for folder in folders:
            fetch_folder(folder)
        code = command(**given)
        for folder in folders:
            put_folder(folder)
        return code

    return keep


def _find_paths(value: Any) -> Iterator[Path]:
    for one in value if isinstance(value, list | tuple) else (value,):
        if isinstance(one, Path):
            yield one
