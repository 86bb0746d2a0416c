"""The page over run folders: newest first, verdicts as the reports have them, and nothing that a summary plants."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from reports import synthetic
from tempzero.errors import UsageError
from tempzero.reports.run_index import write_run_index
from tempzero.reports.summary import render_summary

_PLAIN = (synthetic.analysis(), synthetic.verdict())


def _make_run(folder: Path, name: str, *, created_at: str = "", hostile: bool = False) -> Path:
    run = folder / name
    run.mkdir(parents=True)
    (run / "manifest.json").write_text("{}")
    if created_at:
        made = (synthetic.hostile_analysis(), synthetic.hostile_verdict()) if hostile else _PLAIN
        summary = json.loads(render_summary(*made))
        (run / "report.html").touch()
        summary["run"]["created_at"] = created_at
        (run / "summary.json").write_text(json.dumps(summary))
    return run


class _Rows(HTMLParser):
    """The cells of each row, and where links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "a":
            self.links.append(str(dict(attrs)["href"]))

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip("\n")


def _read(page: Path) -> _Rows:
    return _Rows(page.read_text(encoding="utf-8"))


def test_runs_are_listed_newest_first_with_their_verdicts(tmp_path: Path) -> None:
    """Who opens it sees what each run came to and can go to its report."""
    _make_run(tmp_path, "a-first", created_at="2026-01-01T00:00:00+00:00")
    _make_run(tmp_path, "b second", created_at="2026-02-01T00:00:00+00:00")
    (tmp_path / "no-run").mkdir()
    found = _read(write_run_index(tmp_path))
    assert [row[0] for row in found.rows[1:]] == ["b second", "a-first"]
    assert found.links == ["b%20second/report.html", "a-first/report.html"]
    assert found.rows[1][1:4] == ["2026-02-01 00:00", "24", "▲ finding"]
    assert found.rows[1][4] == "hosted-example, llama-f16-batched, llama-q4_0"


def test_a_run_without_a_report_says_what_makes_one(tmp_path: Path) -> None:
    """It is neither left out nor guessed at, and so is one whose summary is damaged or somebody's joke."""
    _make_run(tmp_path, "bare")
    for number, text in enumerate(("[]", "{", '{"run": {}, "verdict": 3}', "[" * 100_000, '{"run": null}')):
        (_make_run(tmp_path, f"odd-{number}") / "summary.json").write_text(text)
    told = {row[0]: row[3] for row in _read(write_run_index(tmp_path)).rows[1:]}
    assert told["bare"] == f"no report yet: tempzero report {tmp_path / 'bare'}"
    assert all("cannot be read" in told[f"odd-{number}"] for number in range(5))


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    """Names of providers, models and folders come from outside."""
    _make_run(tmp_path, "<img src=x onerror=alert(1)>", created_at="2026-01-01", hostile=True)
    page = write_run_index(tmp_path)
    found = _read(page)
    assert not found.tags & {"img", "iframe", "form"}
    assert found.links == ["%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E/report.html"]
    assert len(re.findall("<script>", page.read_text(encoding="utf-8"))) == 1


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    """No clock: the page changes when a run does."""
    _make_run(tmp_path, "one", created_at="2026-01-01T00:00:00+00:00")
    assert write_run_index(tmp_path).read_bytes() == write_run_index(tmp_path).read_bytes()


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_runs_is_a_mistake_that_is_named(tmp_path: Path, name: str) -> None:
    """The user named another folder than they meant."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=name):
        write_run_index(tmp_path / name)
