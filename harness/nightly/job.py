"""What to ask tonight in, the night decided and told out. Every step is skipped where its result is on file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from harness import gate, history, notify, report, store
from harness import run as running
from harness.analyse import analyse
from harness.config import Config
from harness.errors import RunFolderError
from harness.history import Baseline, Entry, Night, Notice
from harness.nightly.locking import alone
from harness.nightly.proving import prove
from harness.run import Watcher
from harness.store import Run
from harness.types import SuiteName

# Messages that could not be delivered are tried again for this many nights.
_TRIED_NIGHTS = 14


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What the command line narrows down; the rest stands in providers.yaml."""

    only: Sequence[str] = ()
    prompts: Path | None = None
    suite: SuiteName | None = None
    tags: Sequence[str] = ()
    repeats: int | None = None
    limit: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How the night went. An interrupted night is finished by calling again; `undelivered` channels are tried again."""

    night: str
    outcome: Literal["pass", "finding", "inconclusive", "interrupted"]
    sentences: tuple[str, ...]
    told: tuple[Notice, ...] = ()
    undelivered: tuple[str, ...] = ()


def nightly(
    config: Config,
    root: Path,
    night: str,
    *,
    asked: Asked,
    environ: Mapping[str, str],
    watcher: Watcher,
    write: Callable[[str], None] = print,
) -> Outcome:
    """Run, compare, decide, write, tell. Raises UsageError at once where another night is under way.

    `write` takes what a CI reads on stdout. A night that is on file already is not asked again; what was not
    delivered is.
    """
    history.check_label(night)
    results = root / config.run.results
    with alone(results / "history"):
        nights = history.read_nights(results)
        done = next((n for n in nights if n.night == night), None)
        if done is None:
            notify.begun(config.notify, root, night)
            path = _collected(config, root, results, night, asked, environ, watcher)
            if path is None:
                sentence = f"interrupted; calling it again finishes the night of {night}"
                return Outcome(night=night, outcome="interrupted", sentences=(sentence,))
            done = _decided(config, results, night, path, nights)
            history.write_night(results, done)
        watcher.say(f"decided: the night of {night}")
        return _told(config, root, results, done, environ, write)


def _collected(
    config: Config,
    root: Path,
    results: Path,
    night: str,
    asked: Asked,
    environ: Mapping[str, str],
    watcher: Watcher,
) -> Path | None:
    """The night's run folder: a new one, or the one that a killed job has left; None where a signal stopped it."""
    name = f"{config.run.name}-{night}"
    begun = sorted(p for p in results.glob(f"*Z-{name}") if (p / store.MANIFEST).is_file())
    if begun:
        collected = running.resume(begun[-1], environ=environ, watcher=watcher)
    else:
        section = config.run.model_copy(update={"name": name})
        prepared = running.prepare(
            config.model_copy(update={"run": section}),
            root,
            environ=environ,
            only=asked.only,
            prompts=asked.prompts,
            suite=asked.suite,
            tags=asked.tags,
            repeats=asked.repeats,
            limit=asked.limit,
        )
        collected = running.start(prepared, results, environ=environ, watcher=watcher)
    return None if collected.interrupted else collected.path


def _decided(config: Config, results: Path, night: str, path: Path, nights: Sequence[Night]) -> Night:
    """Hold every provider of the run against its baseline, and write the run's own report."""
    opened = store.open_run(path)
    analysis = analyse(opened)
    report.write_reports(analysis, gate.judge(analysis, config.gates), path)
    baselines = history.read_baselines(results)
    entries = tuple(
        Entry(
            side=history.without_texts(side),
            decision=history.decide(
                night,
                side,
                baselines.get(side.provider),
                history.past(nights, side.provider, night),
                config.nightly,
                config.gates,
            ),
        )
        for side in history.condense(opened, analysis)
    )
    return Night(
        format=history.FORMAT,
        night=night,
        run=opened.manifest.run_id,
        created_at=opened.manifest.created_at,
        entries=entries,
    )


def _told(
    config: Config, root: Path, results: Path, done: Night, environ: Mapping[str, str], write: Callable[[str], None]
) -> Outcome:
    """Deliver what has not been delivered, and write the files that others read. A failure here loses nothing."""
    nights = history.read_nights(results)
    recent = {n.night for n in nights[-_TRIED_NIGHTS:]}
    found = history.notices(nights, no_data_nights=config.nightly.no_data_nights)
    due = tuple(_proven(n, nights, results, environ) for n in found if n.night in recent)
    undelivered = notify.deliver(config.notify, due, results / "history" / "delivered", environ=environ)
    notify.write_files(config.notify, root, done, environ=environ)
    tonight = tuple(n for n in due if n.night == done.night)
    notify.show_in_ci(done, tonight, environ=environ, write=write)
    sentences = tuple(_sentence(e) for e in done.entries)
    return Outcome(night=done.night, outcome=outcome(done), sentences=sentences, told=tonight, undelivered=undelivered)


def _proven(notice: Notice, nights: Sequence[Night], results: Path, environ: Mapping[str, str]) -> Notice:
    """With the path of its evidence bundle, or why there is none."""
    if notice.kind != "changed":
        return notice
    night = next(n for n in nights if n.night == notice.night)
    entry = night.entry(notice.provider)
    baseline: Baseline | None = history.read_baselines(results).get(notice.provider)
    if entry is None or baseline is None or baseline.key != entry.decision.baseline:
        return notice  # the baseline has been replaced since: acknowledged
    try:
        opened: Run = store.open_run(results / night.run)
    except RunFolderError as reason:
        return replace(notice, details=(*notice.details, f"no evidence bundle: {reason}"))
    path, why = prove(results, night.night, opened, baseline, environ=environ)
    return replace(notice, details=(*notice.details, f"evidence bundle: {path}" if path else why))


def outcome(night: Night) -> Literal["pass", "finding", "inconclusive"]:
    """finding: a provider is changed, or states something else; inconclusive: one has no data or no baseline."""
    decisions = [e.decision for e in night.entries]
    if any(d.state == "changed" or any(e.telling for e in d.events) for d in decisions):
        return "finding"
    return "pass" if decisions and all(d.state == "ok" for d in decisions) else "inconclusive"


def _sentence(entry: Entry) -> str:
    decision = entry.decision
    since = f" since the night of {decision.since}" if decision.since else ""
    events = "".join(f"; {e.what} is not what it was" for e in decision.events if e.telling)
    return f"{entry.side.provider}: {decision.state}{since}: {decision.reason}{events}"
