"""A command in, the same for runs in an object store out: what it is given is fetched, what it makes is put."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tempzero.errors import UsageError


def keep_stored_runs(command: Callable[..., int]) -> Callable[..., int]:
    """Every folder that stands for a run in a store is brought in step with it, before the command and after.

    Raises StoreError, and nothing is lost then: what was made stays here; and UsageError for a URL where a file of this
    machine is meant, before anything is done.
    """

    @functools.wraps(command)
    def keep(**given: Any) -> int:
        paths = {name: list(_find_paths(value)) for name, value in given.items()}
        for name, path in ((name, path) for name, found in paths.items() for path in found):
            _require_file(name, path)
        folders = [path for found in paths.values() for path in found if path.is_absolute()]
        if not folders:
            return command(**given)
        from tempzero.records.store import fetch_run, put_folder

        for folder in folders:
            fetch_run(folder)
        code = command(**given)
        for folder in folders:
            put_folder(folder)
        return code

    return keep


def _find_paths(value: Any) -> Iterator[Path]:
    for one in value if isinstance(value, list | tuple) else (value,):
        if isinstance(one, Path):
            yield one


def _require_file(name: str, path: Path) -> None:
    """What was not read as the URL of a run is a file; as a path it has lost a slash, and would be a folder `s3:`."""
    from tempzero.config.store_address import is_store_url

    if is_store_url(path.as_posix()):
        scheme = path.as_posix().partition(":")[0]
        raise UsageError(f"{name}: {scheme}://... is no file of this machine; URLs stand for run folders alone")
