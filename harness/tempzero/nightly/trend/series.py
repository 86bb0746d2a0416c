"""Nights in, one provider's course out: values by day, floors, events, and a calendar in which missing nights show."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal

from tempzero.nightly import history
from tempzero.nightly.history import Depth, Night, NightEntry, State, describe_event
from tempzero.types.concluded import Estimate
from tempzero.types.vocabulary import KindName, MetricName

WORST_FIRST: tuple[State, ...] = (
    "changed",
    "not seen",
    "no data",
    "no baseline",
    "other computation",
    "known state",
    "ok",
)
NO_RUN: Literal["no run"] = "no run"
STATE_SIGNS: Mapping[State, str] = {
    "ok": "·",
    "changed": "▲",
    "not seen": "△",
    "other computation": "◇",
    "known state": "A",
    "no data": "○",
    "no baseline": "–",
}
# Days without a night of its own that a band of one state goes on over.
BRIDGED_DAYS = 3
# What a form's share in the weights must exceed before it is named (docs/fingerprint.md).
FORM_THERE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One night's value; `day` counts from the history's first day."""

    day: int
    night: str
    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One measure over the nights. `level` is what it is held against: a floor, the baseline, the alarm."""

    title: str
    unit: str
    level_name: str
    points: tuple[Point, ...]
    levels: tuple[tuple[int, float], ...]
    bounded: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Day:
    """One day of the calendar; `run` is empty where there was none. `sign` is a letter or shape for its state."""

    date: str
    state: State | Literal["no run"]
    night: str
    run: str
    words: str
    sign: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """Days from the first to the last on which a provider was in one known state; shorter gaps are bridged."""

    name: str
    first: int
    last: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """Something that happened: a change, its end, or an event."""

    day: int
    night: str
    run: str
    telling: bool
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """One provider over all nights; `latest` is its last entry, or that of a kind of night that finds it changed."""

    provider: str
    model: str
    days: tuple[Day, ...]
    series: tuple[Series, ...]
    marks: tuple[Mark, ...]
    bands: tuple[Band, ...]
    latest: NightEntry


def sign_state(entry: NightEntry) -> str:
    """A letter or shape for a night's state, so that no colour is needed to read it."""
    decision = entry.decision
    return (decision.known_state or "k")[:1] if decision.state == "known state" else STATE_SIGNS[decision.state]


def build_courses(nights: Sequence[Night]) -> tuple[Course, ...]:
    """Every provider's course, by name."""
    own: dict[str, list[tuple[Night, NightEntry]]] = {}
    for night in nights:
        for entry in night.entries:
            own.setdefault(entry.side.provider, []).append((night, entry))
    kinds = list(dict.fromkeys(n.depth for n in nights))
    return tuple(_build_course(name, own[name], nights, kinds) for name in sorted(own))


def _build_course(
    name: str, own: Sequence[tuple[Night, NightEntry]], nights: Sequence[Night], kinds: Sequence[Depth]
) -> Course:
    first, last = _night_date(nights[0].night), _night_date(nights[-1].night)
    drawn, marks = [], []
    for depth in kinds:
        alike = [(n, e) for n, e in own if n.depth == depth]
        label = f" ({depth} nights)" if len(kinds) > 1 else ""
        drawn += [replace(s, title=s.title + label) for s in _build_series(alike, first) if s.points]
        marks += [replace(m, words=m.words + label) for m in _build_marks(alike, first)]
    latest = list({n.depth: entry for n, entry in own}.values())
    return Course(
        provider=name,
        model=own[-1][1].side.model,
        days=tuple(_build_calendar(own, first, last)),
        series=tuple(drawn),
        marks=tuple(sorted(marks, key=lambda m: m.night)),
        bands=tuple(_build_bands(own, first)),
        latest=next((e for e in latest if e.decision.state in history.CHANGED_STATES), own[-1][1]),
    )


def _build_bands(own: Iterable[tuple[Night, NightEntry]], first: date) -> Iterator[Band]:
    """Where there are several states; one alone is no band."""
    bands: list[Band] = []
    for night, entry in own:
        day, name = (_night_date(night.night) - first).days, entry.decision.known_state
        if not name:
            continue
        if bands and bands[-1].name == name and day - bands[-1].last <= BRIDGED_DAYS:
            bands[-1] = replace(bands[-1], last=day)
        else:
            bands.append(Band(name=name, first=day, last=day))
    if len({band.name for band in bands}) > 1:
        yield from bands


def _build_series(own: Sequence[tuple[Night, NightEntry]], first: date) -> Iterator[Series]:
    tested = [(n, e) for n, e in own if e.decision.missing == 0]
    draw = _SeriesBuilder(tested, first)
    yield draw.estimates(
        "Equals its baseline", lambda e: e.decision.match, "floor: the baseline's own EMR", _floor_value
    )
    yield draw.estimates("Agrees with itself (EMR)", lambda e: _mean_figure(e, "repeat", "emr"))
    yield draw.estimates("Same text as the reference", lambda e: _mean_figure(e, "reference", "cross_emr"))
    yield draw.estimates("Same text as its peers (mean)", lambda e: _mean_figure(e, "cross", "cross_emr"))
    yield draw.values("Evidence of a change (log10)", _log10_evidence, "alarm", _log10_alarm)
    yield draw.values(
        "First tokens: moved from float32 (nats)", _precision_size, "an honest 16-bit host at most", _precision_bound
    )
    for form in sorted({name for _, e in own for name in _met_forms(e)}):
        yield draw.values(f"Weights: share of {form} in them", _form_strength(form), "there from", lambda _: FORM_THERE)
    for measure in sorted({line.measure for _, e in tested for line in e.decision.lines}):
        title = history.measure_title(measure)
        yield draw.estimates(title, _tonights_estimate(measure), "baseline", _baseline_level(measure))


def _tonights_estimate(measure: str) -> Callable[[NightEntry], Estimate | None]:
    return lambda entry: next((line.now for line in entry.decision.lines if line.measure == measure), None)


def _baseline_level(measure: str) -> Callable[[NightEntry], float | None]:
    return lambda entry: next((line.before for line in entry.decision.lines if line.measure == measure), None)


class _SeriesBuilder:
    """Reads one measure after the other from the same nights."""

    def __init__(self, entries: Sequence[tuple[Night, NightEntry]], first: date) -> None:
        self._entries = entries
        self._first = first

    def estimates(
        self,
        title: str,
        read: Callable[[NightEntry], Estimate | None],
        level_name: str = "",
        level: Callable[[NightEntry], float | None] = lambda _: None,
    ) -> Series:
        points, levels = [], []
        for night, entry in self._entries:
            found, day = read(entry), (_night_date(night.night) - self._first).days
            if found is not None and found.value is not None:
                points.append(
                    Point(day=day, night=night.night, value=found.value, low=found.low, high=found.high, n=found.n)
                )
                held = level(entry)
                levels += [(day, held)] if held is not None else []
        within = all(0 <= p.value <= 1 for p in points)
        return Series(
            title=title, unit="", level_name=level_name, points=tuple(points), levels=tuple(levels), bounded=within
        )

    def values(
        self,
        title: str,
        read: Callable[[NightEntry], float | None],
        level_name: str,
        level: Callable[[NightEntry], float | None],
    ) -> Series:
        def known(entry: NightEntry) -> Estimate | None:
            value = read(entry)
            return None if value is None else Estimate(value=value, low=None, high=None, n=0, method="")

        return self.estimates(title, known, level_name, level)


def _precision_size(entry: NightEntry) -> float | None:
    return None if entry.precision is None else entry.precision.size


def _precision_bound(entry: NightEntry) -> float | None:
    return None if entry.precision is None else entry.precision.honest_size


def _met_forms(entry: NightEntry) -> tuple[str, ...]:
    """Forms that were named, or that came or went."""
    found = entry.precision
    if found is None:
        return ()
    return (*found.forms, *([found.form] if found.since is not None and found.form is not None else []))


def _form_strength(form: str) -> Callable[[NightEntry], float | None]:
    return lambda entry: None if entry.precision is None else entry.precision.strengths.get(form)


def _floor_value(entry: NightEntry) -> float | None:
    return None if entry.decision.floor is None else entry.decision.floor.value


def _log10_evidence(entry: NightEntry) -> float | None:
    return math.log10(max(entry.decision.evidence, 1e-3)) if entry.decision.tested else None


def _log10_alarm(entry: NightEntry) -> float | None:
    return math.log10(entry.decision.alarm_at) if entry.decision.tested else None


def _mean_figure(entry: NightEntry, kind: KindName, metric: MetricName) -> Estimate | None:
    """The figure; of several (peers) their mean, which has no interval."""
    found = [f.estimate for f in entry.side.figures if (f.kind, f.metric) == (kind, metric)]
    known = [e for e in found if e.value is not None]
    if len(known) < 2:
        return known[0] if known else None
    mean = math.fsum(e.value or 0.0 for e in known) / len(known)
    return Estimate(value=mean, low=None, high=None, n=min(e.n for e in known), method="mean over the peers")


def _build_calendar(own: Sequence[tuple[Night, NightEntry]], first: date, last: date) -> Iterator[Day]:
    by_day: dict[date, list[tuple[Night, NightEntry]]] = {}
    for night, entry in own:
        by_day.setdefault(_night_date(night.night), []).append((night, entry))
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        found = sorted(by_day.get(day, []), key=lambda pair: WORST_FIRST.index(pair[1].decision.state))
        if found:
            night, entry = found[0]
            state, words = entry.decision.state, entry.decision.reason
            sign = sign_state(entry)
            yield Day(date=day.isoformat(), state=state, night=night.night, run=night.run, words=words, sign=sign)
        else:
            yield Day(date=day.isoformat(), state=NO_RUN, night="", run="", words="no night on file", sign="")


def _build_marks(own: Iterable[tuple[Night, NightEntry]], first: date) -> Iterator[Mark]:
    before: State = "ok"
    for night, entry in own:
        day, decision = (_night_date(night.night) - first).days, entry.decision
        for event in decision.events:
            words = describe_event(event)
            yield Mark(day=day, night=night.night, run=night.run, telling=event.telling, words=words)
        lasts = decision.state in history.CHANGED_STATES and before in history.CHANGED_STATES
        if decision.tested and (decision.alarms or (decision.state != before and not lasts)):
            since = f", since the night of {decision.since}" if decision.since else ""
            words = f"{history.STATE_WORDS[decision.state]}{since}: {decision.reason}"
            yield Mark(day=day, night=night.night, run=night.run, telling=True, words=words)
        before = decision.state if decision.tested else before


def _night_date(night: str) -> date:
    return date.fromisoformat(night[:10])
