"""A run folder in, what its own summary.json says of it out: one row of a page over runs.

The file may come from anybody: what does not fit is said, not shown.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tempzero.types.vocabulary import WORST_FIRST, VerdictOutcome

_SUMMARY, _REPORT = "summary.json", "report.html"
_LARGEST_SUMMARY = 200_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedRun:
    """One run of the page. `problem` says why nothing more is known of it; `link` is empty where it has no report."""

    name: str
    link: str
    created_at: str
    prompts: int
    models: tuple[str, ...]
    outcome: VerdictOutcome | None
    providers: tuple[tuple[str, VerdictOutcome], ...]
    problem: str


def read_listed_run(folder: Path) -> ListedRun:
    """What a run's own summary says of it."""
    link = f"{quote(folder.name)}/{_REPORT}" if (folder / _REPORT).is_file() else ""
    try:
        if (folder / _SUMMARY).stat().st_size > _LARGEST_SUMMARY:
            return _list_unknown_run(folder, link, f"{_SUMMARY} is too large to be one")
        summary = json.loads((folder / _SUMMARY).read_bytes())
        return _parse_summary(folder, link, summary)
    except FileNotFoundError:
        return _list_unknown_run(folder, link, f"no report yet: tempzero report {folder}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return _list_unknown_run(folder, link, f"{_SUMMARY} cannot be read: tempzero report {folder}")


def _parse_summary(folder: Path, link: str, summary: Any) -> ListedRun:
    run, verdict = summary["run"], summary["verdict"]
    return ListedRun(
        name=folder.name,
        link=link,
        created_at=_require_text(run["created_at"]),
        prompts=int(run["prompts"]),
        models=tuple(dict.fromkeys(_require_text(p["claimed_model"]) for p in summary["providers"])),
        outcome=_read_outcome(verdict["outcome"]),
        providers=tuple((_require_text(p["provider"]), _read_outcome(p["outcome"])) for p in verdict["providers"]),
        problem="",
    )


def _require_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _read_outcome(value: Any) -> VerdictOutcome:
    for outcome in WORST_FIRST:
        if value == outcome:
            return outcome
    raise ValueError(value)


def _list_unknown_run(folder: Path, link: str, problem: str) -> ListedRun:
    return ListedRun(
        name=folder.name,
        link=link,
        created_at="",
        prompts=0,
        models=(),
        outcome=None,
        providers=(),
        problem=problem,
    )
