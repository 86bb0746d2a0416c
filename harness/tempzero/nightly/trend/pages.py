"""All nights in, the files of the history out, each written in one step. Same nights, same bytes: no clock."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tempzero.nightly.history import Night
from tempzero.nightly.trend.chart_geometry import CELL, HEIGHT, LEFT, TOP, WIDTH, lay_out_chart, place_days
from tempzero.nightly.trend.series import Course, build_courses
from tempzero.records.files import write_atomically
from tempzero.reports.visible import make_visible, to_one_line

FORMAT = 1
_MOST_MARKS = 30


def write_history_pages(nights: Sequence[Night], folder: Path, *, present: Collection[str] | None = None) -> Path:
    """Write index.html, a page a provider, history.md and history.json; give the index's path.

    `present` names the run folders that are still there: only to those a day leads (None: to all).
    """
    if present is not None:
        nights = [n if n.run in present else replace(n, run="") for n in nights]
    folder.mkdir(parents=True, exist_ok=True)
    found = build_courses(nights)
    files = _page_file_names([c.provider for c in found])
    environment = _page_environment()
    for course in found:
        charts = [lay_out_chart(s, course.days, course.marks) for s in course.series]
        page = environment.get_template("provider.html.j2").render(
            course=course, charts=charts, weeks=place_days(course.days)
        )
        write_atomically(folder / files[course.provider], page.encode())
    heads = [
        (c, files[c.provider], [lay_out_chart(s, c.days, c.marks) for s in c.series[:1]], place_days(c.days))
        for c in found
    ]
    index = environment.get_template("index.html.j2").render(heads=heads, nights=nights)
    write_atomically(folder / "history.md", history_to_markdown(nights).encode())
    write_atomically(folder / "history.json", history_to_json(nights).encode())
    write_atomically(folder / "index.html", index.encode())
    return folder / "index.html"


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
    }


def _course_row(course: Course) -> str:
    decision, states = course.latest.decision, [d.state for d in course.days]
    match = decision.match
    equal = "not measured"
    if match is not None and match.value is not None:
        interval = f" [{match.low:.2f}, {match.high:.2f}]" if match.low is not None and match.high is not None else ""
        equal = f"{match.value:.2f}{interval}, n={match.n}"
    without, missing = states.count("no data"), states.count("no run")
    cells = (course.provider, decision.state, decision.since or "", equal)
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
    environment.globals.update(CELL=CELL, HEIGHT=HEIGHT, LEFT=LEFT, TOP=TOP, WIDTH=WIDTH)
    return environment
