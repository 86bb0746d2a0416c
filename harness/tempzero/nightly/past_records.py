"""Run folders of earlier days in, a night on file for each of their days out: would it have been told?

Records are parted by the UTC date on which they were asked, and each part is decided by the rule of every other night,
in the order of the dates. Nothing is asked, and no message is sent: what was then is no news today.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tempzero import records
from tempzero.analysis import analyse
from tempzero.config import Gates, Setting
from tempzero.errors import UsageError
from tempzero.nightly import history
from tempzero.nightly.baseline import describe_baseline, pool_sides
from tempzero.nightly.history import Night, NightEntry, Notice, Side, Tonight
from tempzero.nightly.locking import hold_lock
from tempzero.records import Run
from tempzero.types.recorded import Record, RecordView
from tempzero.types.scored import Reading


@dataclass(frozen=True, kw_only=True, slots=True)
class PastNights:
    """What became of the days: the nights made, those on file already, what would have been told, and the baselines."""

    made: tuple[Night, ...]
    known: tuple[str, ...]
    told: tuple[Notice, ...]
    baselines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _RecordedDay:
    """What the providers of one run answered on one day."""

    date: str
    run: Run
    sides: tuple[Side, ...]


class _DayOfRun(Run):
    """A run as if it had ended with the records of one day, and begun with them."""

    def __init__(self, run: Run, date: str, views: Sequence[RecordView], *, alone: bool) -> None:
        super().__init__(run.path, run.manifest)
        self._whole, self._date, self._views, self._alone = run, date, views, alone

    def parts(self) -> tuple[Path, ...]:
        """No file holds that day alone: its records are counted one by one."""
        return ()

    def token_limits(self, requests: Collection[str]) -> dict[str, int]:
        """As they were sent, on whatever day."""
        return self._whole.token_limits(requests)

    def views(self) -> Iterator[RecordView]:
        """The records of that day."""
        return iter(self._views)

    def records(self) -> Iterator[Record]:
        """The same with their bytes."""
        for record in super().records():
            started_at = record.attempt.exchange.times.started_at
            if started_at and _utc_date(started_at) == self._date:
                yield record

    def reading(self) -> Reading:
        """What references read, where that is of this day: of a run of several days it may be of any."""
        return super().reading() if self._alone else Reading()


def make_past_nights(
    setting: Setting,
    runs: Sequence[Run],
    *,
    only: Collection[str] = (),
    baseline_nights: int,
) -> PastNights:
    """Decide a night for every day of these runs, and put it on file.

    A provider without a baseline gets one of its first `baseline_nights` days that have data. A day that is on file
    from the same run stays as it is. Raises UsageError where no record says when it was asked, where a day cannot be
    put behind nights that are decided already, or where another night is under way.
    """
    gates, results = setting.config.gates, setting.results
    with hold_lock(results / "history"):
        nights = list(history.read_nights(results))
        days = sorted((day for run in runs for day in _part_by_day(run, only)), key=lambda day: day.date)
        sides = [side for b in history.read_baselines(results) for side in b.sides]
        taken = {(n.run, n.night[:10]) for n in nights} | {(s.run, _utc_date(s.started_at)) for s in sides}
        due = [d for d in days if (d.run.manifest.run_id, d.date) not in taken]
        known = tuple(d.date for d in days if d not in due)
        _refuse_days_before(due, nights)
        baselines = _set_missing_baselines(setting, due, baseline_nights)
        pooled = {(side.provider, side.run, side.started_at) for b in baselines for side in b.sides}
        made = []
        for day in due:
            left = [s for s in day.sides if (s.provider, s.run, s.started_at) not in pooled]
            if left:
                night = _decide_day(setting, day, left, nights, gates)
                history.write_night(results, night)
                nights.append(night)
                made.append(night)
    names = {n.night for n in made}
    found = history.find_notices(
        sorted(nights, key=lambda n: n.night), no_data_nights=setting.config.nightly.no_data_nights
    )
    return PastNights(
        made=tuple(made),
        known=known,
        told=tuple(n for n in found if n.night in names),
        baselines=tuple(map(describe_baseline, baselines)),
    )


def _part_by_day(run: Run, only: Collection[str]) -> Iterator[_RecordedDay]:
    by_day: dict[str, list[RecordView]] = defaultdict(list)
    for view in run.views():
        if view.times.started_at and (not only or view.trial.provider in only):
            by_day[_utc_date(view.times.started_at)].append(view)
    if not by_day:
        raise UsageError(
            f"{run.path}: no record says when it was asked, so there are no nights in it; "
            "import it with the column of the date, e.g. --map date=created_at or date=@stem"
        )
    for date, views in by_day.items():
        day = _DayOfRun(run, date, views, alone=len(by_day) == 1)
        asked: dict[str, set[tuple[str, str, int]]] = defaultdict(set)
        for view in views:
            asked[view.trial.provider].add((view.trial.condition, view.trial.prompt, view.trial.repeat))
        sides = (
            replace(side, planned=len(asked[side.provider]))
            for side in history.condense_run(day, analyse(day))
            if asked[side.provider]
        )
        yield _RecordedDay(date=date, run=run, sides=tuple(sides))


def _utc_date(started_at: str) -> str:
    moment = datetime.fromisoformat(started_at)
    return (moment.astimezone(UTC) if moment.tzinfo else moment).date().isoformat()


def _refuse_days_before(due: Sequence[_RecordedDay], nights: Sequence[Night]) -> None:
    """A night is decided by those before it, and stays as it was decided: nothing may come before it afterwards."""
    providers = {side.provider for day in due for side in day.sides}
    decided = [n.night for n in nights if any(e.side.provider in providers for e in n.entries)]
    if due and decided and due[0].date < max(decided)[:10]:
        raise UsageError(
            f"{due[0].run.path}: has records of {due[0].date}, before the night of {max(decided)} that is decided "
            "already; read them back into a history of their own (another `results:`)"
        )


def _set_missing_baselines(setting: Setting, due: Sequence[_RecordedDay], nights: int) -> tuple[history.Baseline, ...]:
    """Of the first days with data, for each provider that has none."""
    known = {b.provider for b in history.read_baselines(setting.results)}
    firsts: dict[str, list[tuple[str, Side]]] = defaultdict(list)
    for day in due:
        for side in day.sides:
            whole = side.answered >= setting.config.gates.min_coverage * side.planned
            if side.provider not in known and whole and len(firsts[side.provider]) < nights:
                firsts[side.provider].append((day.run.manifest.suite.digest, side))
    made = []
    for sides in firsts.values():
        now = sides[-1][1].ended_at
        made.append(pool_sides([side for _, side in sides], sides[-1][0], setting.config.gates, now))
    for one in made:
        history.write_baseline(setting.results, one)
    return tuple(made)


def _decide_day(
    setting: Setting, day: _RecordedDay, sides: Sequence[Side], nights: Sequence[Night], gates: Gates
) -> Night:
    same_day = [n.night for n in nights if n.night[:10] == day.date]
    label = day.date if not same_day else f"{day.date}-{len(same_day) + 1}"
    past = history.gather_past_nights(nights, label)
    baselines, suite_digest = history.read_baselines(setting.results), day.run.manifest.suite.digest
    entries = [
        NightEntry(
            side=history.drop_shown_texts(side),
            decision=history.decide_tonight(
                Tonight(night=label, depth="nightly", side=side),
                history.choose_baseline(baselines, side.provider, suite_digest, side.texts.keys()),
                past[side.provider],
                setting.config.nightly,
                gates,
            ),
        )
        for side in sides
    ]
    return Night(
        format=history.FORMAT,
        night=label,
        run=day.run.manifest.run_id,
        created_at=min(side.started_at for side in sides),
        entries=tuple(entries),
    )


def open_runs(paths: Sequence[Path], import_file: Callable[[Path], Path]) -> tuple[Run, ...]:
    """The run folders; what is none is imported first."""
    return tuple(records.open_run(path if (path / records.MANIFEST).is_file() else import_file(path)) for path in paths)
