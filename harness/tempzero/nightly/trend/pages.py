"""All nights in, the files of the history out, each written in one step. Same nights, same bytes: no clock."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tempzero.nightly.history import (
    CHANGED_STATES,
    STATE_WORDS,
    Night,
    NightEntry,
    State,
    describe_evidence,
    describe_precision,
    tell_how_to_accept,
)
from tempzero.nightly.trend.chart_geometry import (
    BAND,
    CELL,
    HEIGHT,
    LEFT,
    TOP,
    WIDTH,
    Chart,
    find_date_ticks,
    label_weeks,
    lay_out_bands,
    lay_out_chart,
    place_days,
)
from tempzero.nightly.trend.series import STATE_SIGNS, WORST_FIRST, Course, Day, build_courses
from tempzero.records.files import write_atomically
from tempzero.reports.visible import make_visible, to_one_line

FORMAT = 1
_MOST_MARKS = 30
# Providers that the first page shows at length; of more, only the oddest ones.
MOST_AT_LENGTH = 10
_STRIP_DAYS = 28
QUIET_STATES: frozenset[State] = frozenset({"ok", "known state"})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Head:
    """A provider at length on the first page."""

    course: Course
    file: str
    charts: tuple[Chart, ...]
    weeks: list[tuple[int, int, Day]]
    months: list[tuple[int, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _FleetRow:
    """A provider as a line on the first page of many."""

    provider: str
    file: str
    state: State
    letter: str
    since: str
    strip: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Model:
    """The providers of one model."""

    name: str
    rows: tuple[_FleetRow, ...]


def write_history_pages(nights: Sequence[Night], folder: Path, *, present: Collection[str] | None = None) -> Path:
    """Write index.html, a page a provider and a page a night, history.md and history.json; give the index's path.

    `present` names the run folders that are still there: only to those a night's page leads (None: to all).
    """
    if present is not None:
        nights = [n if n.run in present else replace(n, run="") for n in nights]
    folder.mkdir(parents=True, exist_ok=True)
    found = build_courses(nights)
    files = _page_file_names([c.provider for c in found])
    environment = _page_environment()
    page = environment.get_template("provider.html.j2")
    for course in found:
        text = page.render(
            course=course,
            charts=[lay_out_chart(s, course.days, course.marks) for s in course.series],
            weeks=place_days(course.days),
            months=label_weeks(course.days),
            bands=lay_out_bands(course.bands, course.days),
            ticks=find_date_ticks(course.days),
            acknowledge=_tell_acknowledgement(course.latest),
            precision=describe_precision(course.latest),
        )
        _write_page(folder / files[course.provider], text)
    _write_night_pages(nights, folder, files, environment)
    heads = [_make_head(course, files[course.provider]) for course in choose_oddest(found)]
    models = _group_by_model(found, files) if len(found) > MOST_AT_LENGTH else ()
    index = environment.get_template("index.html.j2").render(
        heads=heads, models=models, nights=nights, providers=len(found)
    )
    _write_page(folder / "history.md", history_to_markdown(nights))
    _write_page(folder / "history.json", history_to_json(nights))
    _write_page(folder / "index.html", index)
    return folder / "index.html"


def _write_page(path: Path, text: str) -> None:
    """Pages are made of the nights on file at any time."""
    write_atomically(path, text.encode(), lasting=False)


def choose_oddest(courses: Sequence[Course]) -> tuple[Course, ...]:
    """Whom the first page shows at length: everybody where they are few, else the oddest ones."""
    if len(courses) <= MOST_AT_LENGTH:
        return tuple(courses)
    odd = [c for c in courses if c.latest.decision.state not in QUIET_STATES]
    ranked = sorted(odd, key=lambda c: (_severity(c.latest), -c.latest.decision.evidence, c.provider))
    return tuple(ranked[:MOST_AT_LENGTH])


def _severity(entry: NightEntry) -> int:
    return WORST_FIRST.index(entry.decision.state)


def _make_head(course: Course, file: str) -> _Head:
    return _Head(
        course=course,
        file=file,
        charts=tuple(lay_out_chart(s, course.days, course.marks) for s in course.series[:1]),
        weeks=place_days(course.days),
        months=label_weeks(course.days),
    )


def _group_by_model(courses: Sequence[Course], files: Mapping[str, str]) -> tuple[_Model, ...]:
    by_model: dict[str, list[Course]] = {}
    for course in sorted(courses, key=lambda c: (_severity(c.latest), c.provider)):
        by_model.setdefault(course.model or "model not named", []).append(course)
    return tuple(
        _Model(name=name, rows=tuple(_make_fleet_row(c, files[c.provider]) for c in by_model[name]))
        for name in sorted(by_model)
    )


def _make_fleet_row(course: Course, file: str) -> _FleetRow:
    decision = course.latest.decision
    return _FleetRow(
        provider=course.provider,
        file=file,
        state=decision.state,
        letter=decision.known_state if decision.state == "known state" else "",
        since=decision.since or "",
        strip="".join(day.sign or "\N{NO-BREAK SPACE}" for day in course.days[-_STRIP_DAYS:]),
    )


def _tell_acknowledgement(entry: NightEntry) -> str:
    return tell_how_to_accept(entry) if entry.decision.state in CHANGED_STATES else ""


def _write_night_pages(
    nights: Sequence[Night], folder: Path, files: Mapping[str, str], environment: Environment
) -> None:
    """What each night said by itself: a day in a calendar leads here."""
    page = environment.get_template("night.html.j2")
    names = ["", *(n.night for n in nights), ""]
    for i, night in enumerate(nights):
        entries = sorted(night.entries, key=lambda e: (_severity(e), e.side.provider))
        told = [e for e in entries if e.decision.state not in QUIET_STATES or any(x.telling for x in e.decision.events)]
        kept = {e.side.provider for e in told}
        states = [e.decision.state for e in entries]
        text = page.render(
            night=night,
            before=names[i],
            after=names[i + 2],
            files=files,
            told=told,
            quiet=[e for e in entries if e.side.provider not in kept],
            evidence={e.side.provider: _describe_night(e) for e in told},
            counts=[{"state": s, "number": states.count(s)} for s in WORST_FIRST if s in states],
        )
        _write_page(folder / f"night-{night.night}.html", text)


def _describe_night(entry: NightEntry) -> tuple[str, ...]:
    decision = entry.decision
    found = list(describe_evidence(decision)) if decision.tested else []
    if decision.lost is not None and decision.margin is not None:
        found.append(
            f"match lost over the last nights: {decision.lost:.3f} at most; it must be below {decision.margin:.3f} "
            "before the change is said to be over"
        )
    return (*found, *filter(None, [describe_precision(entry), _tell_acknowledgement(entry)]))


def history_to_markdown(nights: Sequence[Night]) -> str:
    """The state of every provider, then what happened, the latest first."""
    lines = ["# Every night", ""]
    if not nights:
        return "# Every night\n\nNo night is on file yet; `tempzero nightly` makes one.\n"
    found = build_courses(nights)
    lines += [f"{len(nights)} nights, from {nights[0].night} to {nights[-1].night}.", ""]
    lines += ["| provider | state | since | equals its baseline | nights with data | without | not run |"]
    lines += ["|---|---|---|---|---|---|---|", *map(_course_row, found), ""]
    marks = sorted(((m.night, c.provider, m.words) for c in found for m in c.marks), reverse=True)
    lines += ["## What happened", ""] if marks else ["Nothing happened.", ""]
    lines += [
        f"- {night}: {_escape_page_markdown(name)}: {_escape_page_markdown(words)}"
        for night, name, words in marks[:_MOST_MARKS]
    ]
    if len(marks) > _MOST_MARKS:
        lines.append(f"- and {len(marks) - _MOST_MARKS} more; `--json` lists them all")
    return "\n".join(lines).rstrip() + "\n"


def history_to_json(nights: Sequence[Night]) -> str:
    """Every provider's course; sorted keys."""
    value = {
        "format": FORMAT,
        "nights": [n.night for n in nights],
        "providers": [_course_fields(c) for c in build_courses(nights)],
    }
    return json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n"


def _course_fields(course: Course) -> dict[str, Any]:
    decision = course.latest.decision
    return {
        "provider": course.provider,
        "state": decision.state,
        "since": decision.since,
        "reason": decision.reason,
        "days": [{"date": d.date, "state": d.state, "night": d.night, "run": d.run} for d in course.days],
        "series": [asdict(s) for s in course.series],
        "marks": [asdict(m) for m in course.marks],
        "precision": describe_precision(course.latest),
    }


def _course_row(course: Course) -> str:
    decision, states = course.latest.decision, [d.state for d in course.days]
    match = decision.match
    equal = "not measured"
    if match is not None and match.value is not None:
        interval = f" [{match.low:.2f}, {match.high:.2f}]" if match.low is not None and match.high is not None else ""
        equal = f"{match.value:.2f}{interval}, n={match.n}"
    without, missing = states.count("no data"), states.count("no run")
    cells = (course.provider, STATE_WORDS[decision.state], decision.since or "", equal)
    return (
        f"| {' | '.join(map(_escape_page_markdown, cells))} | {len(states) - without - missing} | {without} | "
        f"{missing} |"
    )


def _escape_page_markdown(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\`*_<>|" else c for c in to_one_line(text))


def _page_file_names(providers: Sequence[str]) -> dict[str, str]:
    """A file for each provider; names that a file system would take for one another are told apart by a number."""
    return {
        name: f"provider-{i}-{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-').lower()[:60]}.html"
        for i, name in enumerate(providers, start=1)
    }


def _page_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates"), encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda v: make_visible(v) if isinstance(v, str) and not isinstance(v, Markup) else v,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(STATE_SIGNS=STATE_SIGNS, STATE_WORDS=STATE_WORDS)
    environment.globals.update(BAND=BAND, CELL=CELL, HEIGHT=HEIGHT, LEFT=LEFT, TOP=TOP, WIDTH=WIDTH)
    return environment
