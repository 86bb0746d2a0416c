"""A results folder and a limit in, old runs removed or compressed out; baselines, findings and evidence stay."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from tempzero import records
from tempzero.errors import RunFolderError, UsageError
from tempzero.nightly import history
from tempzero.precision.fingerprint_wording import FINGERPRINT
from tempzero.records.store import fetch_folder, put_folder, remove_folder
from tempzero.types.recorded import Manifest


@dataclass(frozen=True, kw_only=True, slots=True)
class PruneDecision:
    """What becomes of one run within the limit, and why. `kept` ones are as they were."""

    run: str
    what: Literal["removed", "compressed", "kept"]
    why: str


def choose_runs(
    results: Path, *, now: datetime, older_than_days: int | None, keep: int | None, compress: bool
) -> tuple[PruneDecision, ...]:
    """Decide on every run that the limits name, oldest first. Raises UsageError without a limit."""
    if older_than_days is None and keep is None:
        raise UsageError("prune: say which runs: --older-than-days N, or --keep N")
    runs = sorted((m.created_at, path.name) for path, m in _list_runs(results))
    if keep is not None:
        runs = runs[: max(0, len(runs) - keep)]
    if older_than_days is not None:
        limit = now - timedelta(days=older_than_days)
        runs = [(begun, name) for begun, name in runs if datetime.fromisoformat(begun) < limit]
    needed = _needed_runs(results)
    return tuple(_decide_pruning(results / name, needed, compress=compress) for _, name in runs)


def prune_runs(results: Path, chosen: Sequence[PruneDecision]) -> int:
    """Do it; give the bytes saved. A night's own file stays, so the history keeps every night."""
    saved = 0
    for taken in chosen:
        path = results / taken.run
        if taken.what == "compressed":
            fetch_folder(path)
            saved += records.compress_run(path)
            put_folder(path)
        elif taken.what == "removed":
            here = sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
            saved += remove_folder(path) or here
            shutil.rmtree(path)
    return saved


def _decide_pruning(path: Path, needed: dict[str, str], *, compress: bool) -> PruneDecision:
    if not _is_finished_run(path):
        return PruneDecision(run=path.name, what="kept", why="not finished, or being written to")
    if compress:
        if not records.can_be_compressed(path):
            return PruneDecision(run=path.name, what="kept", why="is compressed already")
        return PruneDecision(run=path.name, what="compressed", why="beyond the limit")
    why = needed.get(path.name) or _reason_to_keep(path)
    return (
        PruneDecision(run=path.name, what="kept", why=why)
        if why
        else PruneDecision(run=path.name, what="removed", why="beyond the limit")
    )


def _list_runs(results: Path) -> Iterator[tuple[Path, Manifest]]:
    for file in sorted(results.glob(f"*/{records.MANIFEST}")):
        try:
            yield file.parent, records.open_run(file.parent).manifest
        except RunFolderError:
            continue  # not ours to judge, so not ours to remove


def _needed_runs(results: Path) -> dict[str, str]:
    """Runs that are never removed, and what for."""
    needed = {}
    for night in history.read_nights(results):
        for entry in night.entries:
            if entry.decision.state == "changed" or any(e.telling for e in entry.decision.events):
                needed[night.run] = f"shows that {entry.side.provider} changed"
            if entry.precision is not None and any(e.what == "precision" for e in entry.decision.events):
                needed[entry.precision.run] = f"shows that the weights of {entry.side.provider} changed"
    for baseline in history.read_baselines(results):
        needed |= {side.run: f"baseline of {baseline.provider}" for side in baseline.sides}
    return needed


def _reason_to_keep(path: Path) -> str:
    """Why the run's own report keeps it; empty where it found nothing."""
    try:
        if (path / FINGERPRINT).is_file():
            hosts = json.loads((path / FINGERPRINT).read_bytes())["hosts"]
            return "its fingerprint has findings" if any(h["coarser_than_declared"] for h in hosts) else ""
        outcome = json.loads((path / "summary.json").read_bytes())["verdict"]["outcome"]
    except (OSError, ValueError, LookupError, TypeError):
        return "has no report; `tempzero report` says whether it found anything"
    return "its report has findings" if outcome == "finding" else ""


def _is_finished_run(path: Path) -> bool:
    sessions = records.open_run(path).manifest.sessions
    return bool(sessions) and sessions[-1].ended_at is not None
