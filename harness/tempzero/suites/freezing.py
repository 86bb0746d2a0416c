"""A folder of prompts and its suites.lock in, an error out where a frozen suite is no longer what it was."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tempzero.errors import SuiteError
from tempzero.records.files import write_atomically
from tempzero.types.asked import SuiteName

LOCK_FILE = "suites.lock"


@dataclass(frozen=True, kw_only=True, slots=True)
class FrozenSuite:
    """A suite under its name and version: how many prompts, and the digest over all they ask."""

    version: int
    prompts: int
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteLock:
    """All suites of a folder as they were frozen, and each prompt's own digest, so that a change can be named."""

    suites: Mapping[str, FrozenSuite]
    prompts: Mapping[str, str]


def read_suite_lock(folder: Path) -> SuiteLock | None:
    """What was frozen in this folder, or None. Raises SuiteError for a file that does not say so."""
    path = folder / LOCK_FILE
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        suites = {name: FrozenSuite(**fields) for name, fields in value["suites"].items()}
        return SuiteLock(suites=suites, prompts=dict(value["prompts"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as problem:
        raise SuiteError(
            f"{path}: cannot be read: {problem!r}; delete it and run `tempzero suite freeze {folder}`"
        ) from None


def renew_lock(
    old: SuiteLock | None, digests: Mapping[SuiteName, tuple[str, int]], prompts: Mapping[str, str]
) -> SuiteLock:
    """The lock of what is there now: a suite that has changed gets the next version."""
    suites: dict[str, FrozenSuite] = {}
    for name, (digest, count) in digests.items():
        before = old.suites.get(name) if old else None
        version = 1 if before is None else before.version + (before.digest != digest)
        suites[name] = FrozenSuite(version=version, prompts=count, digest=digest)
    return SuiteLock(suites=suites, prompts=dict(sorted(prompts.items())))


def write_suite_lock(folder: Path, lock: SuiteLock) -> Path:
    """Write the lock beside the prompts. Raises SuiteError."""
    path = folder / LOCK_FILE
    value = {"suites": {name: asdict(frozen) for name, frozen in lock.suites.items()}, "prompts": lock.prompts}
    try:
        write_atomically(path, (json.dumps(value, indent=1) + "\n").encode())
    except OSError as problem:
        raise SuiteError(f"{path}: cannot be written: {problem.strerror}") from None
    return path


def refuse_changed_suites(
    folder: Path, old: SuiteLock, new: SuiteLock, name: SuiteName, asked: Collection[str]
) -> None:
    """Raise SuiteError where the suite that is asked is not what was frozen: which prompts, and what to do.

    `asked` holds the ids of its prompts. What has changed in other suites is no concern of who does not ask them.
    """
    if old.suites.get(name) == new.suites.get(name):
        return
    own = {p: digest for p, digest in new.prompts.items() if p in asked}
    added = [p for p in own if p not in old.prompts]
    changes = [
        *_summarise_change("changed", [p for p in own if p in old.prompts and own[p] != old.prompts[p]]),
        *_summarise_change("added", added),
        *_summarise_change("removed", [p for p in old.prompts if p not in new.prompts]),
    ] or ["prompts moved from one suite to another"]
    frozen = f"{name} (version {old.suites[name].version})" if name in old.suites else name
    apart = f"undo that, keep your own in a file elsewhere (`prompts: [{folder}, mine.yaml]`)" if added else "undo that"
    raise SuiteError(
        f"{folder / LOCK_FILE}: frozen, and no longer what was frozen: {frozen}: {'; '.join(changes)}; "
        f"{apart}, or run `tempzero suite freeze {folder}` to give it the next version"
    )


def _summarise_change(what: str, prompts: Sequence[str]) -> list[str]:
    more = f" and {len(prompts) - 3} more" if len(prompts) > 3 else ""
    return [f"{what} {', '.join(prompts[:3])}{more}"] if prompts else []
