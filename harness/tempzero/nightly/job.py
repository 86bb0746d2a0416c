"""What to ask tonight in, the night decided and told out. Every step is skipped where its result is on file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

from tempzero import records
from tempzero.config import Config, Deep, ExitRule, Nightly, Setting
from tempzero.config.shipped import find_prompts
from tempzero.errors import RunFolderError, StoreError, TempzeroError, UsageError
from tempzero.nightly import history, notify
from tempzero.nightly.history import STATE_WORDS, Baseline, Decision, Depth, Night, NightEntry, Notice, Tonight
from tempzero.nightly.locking import hold_lock, put_nights
from tempzero.nightly.precision_nights import WatchedPrecision, add_precision, share_false_alarms, watch_precision
from tempzero.nightly.proving import prove_change
from tempzero.records import Run
from tempzero.records.store import fetch_folder, fetch_runs, put_folder
from tempzero.types.asked import SuiteName
from tempzero.workflow import pipeline
from tempzero.workflow.conclusion import conclude_run
from tempzero.workflow.pipeline import CollectedRun, Limits, Watcher

# Messages that could not be delivered are tried again for this many nights.
_DELIVERY_NIGHTS = 14


@dataclass(frozen=True, kw_only=True, slots=True)
class NightOptions:
    """What the command line narrows down or limits; the rest stands in providers.yaml. `deep` None: when it is due."""

    only: Sequence[str] = ()
    prompts: Sequence[Path] = ()
    suite: SuiteName | None = None
    tags: Sequence[str] = ()
    repeats: int | None = None
    limit: int | None = None
    deep: bool | None = None
    check: bool = True
    limits: Limits = pipeline.NO_LIMITS


@dataclass(frozen=True, kw_only=True, slots=True)
class NightOutcome:
    """How the night went. An interrupted night is finished by calling again; `undelivered` channels are tried again.

    `not_put` says what of a night that belongs to a store is kept here only; calling again puts it.
    """

    night: str
    outcome: Literal["pass", "finding", "inconclusive", "interrupted"]
    sentences: tuple[str, ...]
    stopped: tuple[str, ...] = ()
    told: tuple[Notice, ...] = ()
    undelivered: tuple[str, ...] = ()
    not_put: str = ""


def run_night(
    setting: Setting,
    night: str,
    *,
    asked: NightOptions,
    watcher: Watcher,
    write: Callable[[str], None] = print,
) -> NightOutcome:
    """Check, run, compare, decide, write, tell. Raises UsageError at once where another night is under way.

    `night` is its name; empty: today's date (UTC). `write` takes what a CI reads on stdout. A night that is on file
    already is not asked again; what was not delivered is.
    """
    night = night or datetime.now(UTC).date().isoformat()
    history.check_night_label(night)
    config, results = setting.config, setting.results
    with hold_lock(results / "history"):
        fetch_runs(results, f"*Z-*{night}")
        nights = history.read_nights(results)
        done = next((n for n in nights if n.night == night), None)
        stopped: tuple[str, ...] = ()
        if done is None:
            notify.mark_night_unfinished(config.notify, setting.root, night)
            depth = choose_depth(config.nightly, nights, night, asked.deep)
            watcher.say(f"the night of {night}" + (", a deep one" if depth == "deep" else ""))
            collected = _collect_night(setting, night, depth, asked, watcher)
            stopped = tuple(f"{e.provider or 'the night'}: {e.reason}" for e in collected.endings)
            watched = WatchedPrecision()
            if not collected.interrupted:
                whole = _night_limits(asked.limits, _night_rules(config, depth), config.nightly)
                left = _remaining_limits(whole, collected.path)
                watched = watch_precision(setting, night, only=asked.only, limits=left, watcher=watcher)
            if collected.interrupted or watched.interrupted:
                sentence = f"interrupted; calling it again finishes the night of {night}"
                return NightOutcome(night=night, outcome="interrupted", sentences=(sentence,), stopped=stopped)
            done = _decide_night(setting, night, depth, collected, watched, nights)
            if _read_answers(setting, done, collected, watcher):
                done = _decide_night(setting, night, depth, collected, watched, nights)
            history.write_night(results, done)
        watcher.say(f"decided: the night of {night}")
        ended = _publish_night(setting, done, write)
        return replace(ended, stopped=stopped, not_put=_put_night(results, done))


def _put_night(results: Path, done: Night) -> str:
    """Put the night and its runs where the results belong to a store; what could not be is said, and stays here."""
    watched = {entry.precision.run for entry in done.entries if entry.precision is not None}
    try:
        for run in sorted({done.run, *watched}):
            put_folder(results / run)
        put_nights(results)
    except StoreError as error:
        return f"the night of {done.night} is decided and told, but: {error}"
    return ""


def choose_depth(rules: Nightly, nights: Sequence[Night], night: str, wanted: bool | None) -> Depth:
    """Whether this night is a deep one: where that is wanted, or `every_days` after the last that brought data.

    Raises UsageError where a deep night is wanted and none is configured.
    """
    if rules.deep is None:
        if wanted:
            raise UsageError("--deep: no deep night is configured; say what it asks under nightly.deep")
        return "nightly"
    if wanted is not None:
        return "deep" if wanted else "nightly"
    deep = [n for n in nights if n.depth == "deep" and n.night < night]
    with_data = [n.night for n in deep if any(not e.decision.missing for e in n.entries)]
    if not with_data:
        return "deep"
    passed = date.fromisoformat(night[:10]) - date.fromisoformat(with_data[-1][:10])
    return "deep" if passed.days >= rules.deep.every_days else "nightly"


def _collect_night(setting: Setting, night: str, depth: Depth, asked: NightOptions, watcher: Watcher) -> CollectedRun:
    """The night's run: a new one, or the one that a killed job has left, with what that left of its limits."""
    config = setting.config
    name = f"{config.run.name}-{night}"
    rules = _night_rules(config, depth)
    limits = _night_limits(asked.limits, rules, config.nightly)
    begun = sorted(p for p in setting.results.glob(f"*Z-{name}") if (p / records.MANIFEST).is_file())
    if begun:
        left = _remaining_limits(limits, begun[-1])
        return pipeline.resume_run(begun[-1], environ=setting.environ, watcher=watcher, limits=left, check=asked.check)
    section = config.run.model_copy(update={"name": name})
    given = asked.prompts or asked.suite or asked.tags
    prepared = pipeline.prepare_run(
        replace(setting, config=config.model_copy(update={"run": section})),
        only=asked.only,
        prompts=asked.prompts or (() if given else find_prompts(rules.prompt_names, setting.root)),
        suite=asked.suite or (None if given else rules.suite),
        tags=asked.tags or (() if given else rules.tags),
        repeats=asked.repeats or rules.repeats,
        limit=asked.limit,
    )
    return pipeline.start_run(prepared, watcher=watcher, limits=limits, check=asked.check)


def _night_rules(config: Config, depth: Depth) -> Nightly | Deep:
    return config.nightly.deep if depth == "deep" and config.nightly.deep is not None else config.nightly


def _night_limits(asked: Limits, rules: Nightly | Deep, usual: Nightly) -> Limits:
    """The command line's, else those of this kind of night, else those of any."""

    def first(*values: float | None) -> float | None:
        return next((v for v in values if v is not None), None)

    requests = first(asked.max_requests, rules.max_requests, usual.max_requests)
    return Limits(
        max_cost_usd=first(asked.max_cost_usd, rules.max_cost_usd, usual.max_cost_usd),
        max_requests=None if requests is None else int(requests),
        max_minutes=first(asked.max_minutes, rules.max_minutes, usual.max_minutes),
    )


def _remaining_limits(limits: Limits, path: Path) -> Limits:
    """What calls of this night that were killed have left of requests and money."""
    opened, left = records.open_run(path), limits
    if limits.max_requests is not None:
        requests = opened.preflights() + sum(1 for _ in opened.views())
        left = replace(left, max_requests=max(0, limits.max_requests - requests))
    if limits.max_cost_usd is not None:
        left = replace(left, max_cost_usd=max(0.0, limits.max_cost_usd - pipeline.count_spent_usd(opened)))
    return left


def _decide_night(
    setting: Setting,
    night: str,
    depth: Depth,
    collected: CollectedRun,
    watched: WatchedPrecision,
    nights: Sequence[Night],
) -> Night:
    """Hold every provider of the run against its baseline, and write the run's own report."""
    config = setting.config
    opened = records.open_run(collected.path)
    concluded = conclude_run(opened, gates=config.gates)
    baselines, suite_digest = history.read_baselines(setting.results), opened.manifest.suite.digest
    reasons = {e.provider: e.reason for e in collected.endings}
    past = history.gather_past_nights(nights, night)
    entries = []
    for side in history.condense_run(opened, concluded.analysis):
        name = side.provider
        tonight = Tonight(night=night, depth=depth, side=side, stopped=reasons.get(name) or reasons.get(None) or "")
        baseline = history.choose_baseline(baselines, name, suite_digest, side.texts.keys())
        rules = share_false_alarms(config.nightly, watched=watched.watches(name))
        decision = history.decide_tonight(tonight, baseline, past[name], rules, config.gates)
        entry = NightEntry(side=history.drop_shown_texts(side), decision=decision)
        entries.append(add_precision(entry, watched, past[name], night=night, depth=depth, rules=config.nightly))
    return Night(
        format=history.FORMAT,
        night=night,
        run=opened.manifest.run_id,
        created_at=opened.manifest.created_at,
        entries=tuple(entries),
        depth=depth,
    )


def _read_answers(setting: Setting, done: Night, collected: CollectedRun, watcher: Watcher) -> bool:
    """Before an alarm is given, let the reference read what nobody has read: an honest engine in the place of another
    gives other texts too. Quiet nights cost nothing. Whether anything was read."""
    unread = [e.side.provider for e in done.entries if e.decision.alarms and e.side.level in (None, "unread")]
    if not unread or not records.open_run(collected.path).config.score.enabled:
        return False
    try:
        readers = pipeline.score_run(collected.path, environ=setting.environ, watcher=watcher)
    except TempzeroError as problem:
        watcher.say(f"nobody reads what {', '.join(unread)} answered: {problem}")
        return False
    return bool(readers)


def _publish_night(setting: Setting, done: Night, write: Callable[[str], None]) -> NightOutcome:
    """Deliver what has not been delivered, and write the files that others read. A failure here loses nothing."""
    config, results, environ = setting.config, setting.results, setting.environ
    nights = history.read_nights(results)
    recent = {n.night for n in nights[-_DELIVERY_NIGHTS:]}
    found = history.find_notices(nights, no_data_nights=config.nightly.no_data_nights)
    due = tuple(_attach_evidence(n, nights, setting) for n in found if n.night in recent)
    undelivered = notify.deliver_notices(config.notify, due, results / "history" / "delivered", environ=environ)
    others = _still_changed_entries(nights, done, history.read_baselines(results))
    notify.write_status_files(config.notify, setting.root, done, nights, others)
    tonight = tuple(n for n in due if n.night == done.night)
    loud = others if config.nightly.exit == "while_changed" else ()
    notify.show_in_ci(done, tonight, others, environ=environ, write=write, rule=config.nightly.exit)
    sentences = (
        *map(_describe_entry, done.entries),
        *(f"{_describe_entry(entry)} ({night.depth} nights)" for night, entry in others),
    )
    ended = "finding" if loud else night_outcome(done, config.nightly.exit)
    return NightOutcome(night=done.night, outcome=ended, sentences=sentences, told=tonight, undelivered=undelivered)


def _still_changed_entries(
    nights: Sequence[Night], done: Night, baselines: Sequence[Baseline]
) -> tuple[tuple[Night, NightEntry], ...]:
    """Providers that the other kind of night found changed, and whose baseline has not been replaced since."""
    current = {b.key for b in baselines}
    return tuple(
        (night, entry)
        for night, entry in history.latest_entries(nights, done.night)
        if night.depth != done.depth
        and entry.decision.state in history.CHANGED_STATES
        and entry.decision.baseline in current
    )


def _attach_evidence(notice: Notice, nights: Sequence[Night], setting: Setting) -> Notice:
    """With the path of its evidence bundle, or why there is none."""
    if notice.kind != "changed":
        return notice
    night = next(n for n in nights if n.night == notice.night)
    entry = night.entry(notice.provider)
    key = entry.decision.baseline if entry is not None else None
    baseline = next((b for b in history.read_baselines(setting.results) if b.key == key), None)
    if baseline is None:
        return notice  # the baseline has been replaced since: acknowledged
    try:
        fetch_folder(setting.results / night.run)
        opened: Run = records.open_run(setting.results / night.run)
    except (RunFolderError, StoreError) as reason:
        return replace(notice, details=(*notice.details, f"no evidence bundle: {reason}"))
    path, why = prove_change(setting, night.night, opened, baseline)
    return replace(notice, details=(*notice.details, f"evidence bundle: {path}" if path else why))


def night_outcome(night: Night, rule: ExitRule) -> Literal["pass", "finding", "inconclusive"]:
    """finding: an alarm or something else that is told tonight, or by that rule a change that lasts; inconclusive: a
    provider has no data or no baseline."""
    decisions = [e.decision for e in night.entries]
    if any(is_loud(d, rule) for d in decisions):
        return "finding"
    return "pass" if decisions and all(d.tested for d in decisions) else "inconclusive"


def is_loud(decision: Decision, rule: ExitRule) -> bool:
    """Whether this is a night for exit code 1."""
    lasts = rule == "while_changed" and decision.state in history.CHANGED_STATES
    return decision.alarms or lasts or any(e.telling for e in decision.events)


def _describe_entry(entry: NightEntry) -> str:
    decision = entry.decision
    since = f" since the night of {decision.since}" if decision.since else ""
    telling = [e for e in decision.events if e.telling]
    events = "".join(
        f"; its weights are not what they were: {e.now}" if e.what == "precision" else f"; {e.what} is not what it was"
        for e in telling
    )
    if events and decision.state == "ok":
        return f"{entry.side.provider}: {events[2:]}; otherwise {decision.reason}"
    how = f"; {history.tell_how_to_accept(entry)}" if decision.state in history.CHANGED_STATES else ""
    return f"{entry.side.provider}: {STATE_WORDS[decision.state]}{since}: {decision.reason}{events}{how}"
