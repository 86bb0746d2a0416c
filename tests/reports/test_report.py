"""The reports as a whole: same input, same bytes; nothing that was found, skipped or failed stays unsaid."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
from functools import cache, partial
from html import unescape
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from reports import synthetic
from rich.console import Console
from tempzero.reports import show_report, write_reports
from tempzero.reports.visible import make_visible, to_one_line

_show_all = partial(show_report, pages=(), exit_code=1, next_command="", full=True)


@pytest.fixture(scope="module", params=["plain", "hostile"])
def reports(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every report of the synthetic analysis."""
    folder = tmp_path_factory.mktemp("run")
    if request.param == "plain":
        write_reports(synthetic.analysis(), synthetic.verdict(), folder)
    else:
        write_reports(synthetic.hostile_analysis(), synthetic.hostile_verdict(), folder)
    return folder


def _html_text(folder: Path) -> str:
    return unescape((folder / "report.html").read_text(encoding="utf-8"))


def _markdown_text(folder: Path) -> str:
    """What a reader of the rendered Markdown sees."""
    parser = MarkdownIt("commonmark").enable("table")
    return unescape(re.sub(r"<[^>]+>", "", parser.render((folder / "report.md").read_text(encoding="utf-8"))))


@cache
def _screen(width: int = 120) -> str:
    file = io.StringIO()
    _show_all(synthetic.analysis(), synthetic.verdict(), Console(file=file, width=width, force_terminal=False))
    return file.getvalue()


def test_every_report_is_written_and_named(tmp_path: Path) -> None:
    """The caller learns the path of each file, in a fixed order, and each file is there."""
    paths = write_reports(synthetic.analysis(), synthetic.verdict(), tmp_path)
    names = [p.relative_to(tmp_path).as_posix() for p in paths]
    assert names[:3] == ["report.html", "report.md", "summary.json"]
    assert {f"tables/{kind}.csv" for kind in ("repeat", "cross", "prompts", "findings")} <= set(names)
    assert all(p.is_file() for p in paths)
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(paths)


def test_old_reports_are_replaced_in_one_step(tmp_path: Path) -> None:
    """A second report leaves nothing of the first one, and who has the first one open still reads all of it."""
    page = tmp_path / "report.html"
    page.write_text("old" * 10**6, encoding="utf-8")
    with page.open(encoding="utf-8") as opened:
        write_reports(synthetic.analysis(), synthetic.verdict(), tmp_path)
        assert opened.read() == "old" * 10**6
    assert "oldold" not in page.read_text(encoding="utf-8")


def test_a_file_that_cannot_be_replaced_leaves_no_half_file(tmp_path: Path) -> None:
    """Where writing fails, the error is the caller's and no temporary file stays behind."""
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(OSError, match=r"summary\.json"):
        write_reports(synthetic.analysis(), synthetic.verdict(), tmp_path)
    assert not list(tmp_path.rglob("*.unfinished"))


_WRITE = """
import sys, pathlib
sys.path[:0] = sys.argv[2:]
from reports import synthetic
from tempzero.reports import write_reports
write_reports(synthetic.hostile_analysis(), synthetic.hostile_verdict(), pathlib.Path(sys.argv[1]))
"""


def test_the_same_analysis_gives_the_same_bytes_anywhere(tmp_path: Path) -> None:
    """Neither hash seed, time zone, locale, folder nor moment reaches the files."""
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    write_reports(synthetic.hostile_analysis(), synthetic.hostile_verdict(), here)
    other = {"PYTHONHASHSEED": "2", "TZ": "Pacific/Auckland", "LC_ALL": "de_DE.UTF-8", "COLUMNS": "22"}
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-c", _WRITE, str(elsewhere), str(tests), str(tests.parent)]
    subprocess.run(command, env={**os.environ, **other}, check=True, timeout=60)
    written, again = (
        {p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}
        for folder in (here, elsewhere)
    )
    assert written == again
    assert len(written) > 12


def test_every_finding_is_said_everywhere(reports: Path) -> None:
    """No finding's message is lost between the analysis and any of the reports."""
    hostile = "alert" in (reports / "summary.json").read_text(encoding="utf-8")
    findings = (synthetic.hostile_analysis() if hostile else synthetic.analysis()).findings
    summary = json.loads((reports / "summary.json").read_text(encoding="utf-8"))
    html, markdown = _html_text(reports), _markdown_text(reports)
    assert [f["message"] for f in summary["findings"]] == [f.message for f in findings]
    for finding in findings:
        assert make_visible(finding.message) in html
        # Markdown takes runs of spaces for one.
        assert " ".join(to_one_line(finding.message).split()) in " ".join(markdown.split())


def test_every_failure_kind_is_said_everywhere(tmp_path: Path) -> None:
    """Each kind of failure of each provider is on the screen, in HTML, Markdown, JSON and CSV."""
    write_reports(synthetic.analysis(), synthetic.verdict(), tmp_path)
    texts = [_html_text(tmp_path), _markdown_text(tmp_path), _screen()]
    texts += [(tmp_path / name).read_text(encoding="utf-8") for name in ("summary.json", "tables/failures.csv")]
    for one in synthetic.FAILURES:
        assert all(one.kind in text for text in texts), one.kind


def test_the_legend_says_what_one_means_and_what_shows_a_finding(tmp_path: Path) -> None:
    """A reader need not guess whether 1.0 is good, nor on what grounds somebody is accused."""
    analysis = synthetic.analysis()
    write_reports(analysis, synthetic.verdict(), tmp_path)
    html, present = _html_text(tmp_path), {f.metric for f in analysis.figures}
    for metric in analysis.vocabulary.metrics:
        if metric.name in present and metric.one_means:
            assert f"1.0 means: {metric.one_means}." in html
    for rule in analysis.vocabulary.rules:
        if rule.name in {f.rule for f in analysis.findings}:
            assert f"What shows it: {rule.shown_by}." in html


def test_a_skipped_provider_is_said_everywhere(tmp_path: Path) -> None:
    """A provider that was not asked never vanishes silently."""
    write_reports(synthetic.analysis(), synthetic.verdict(), tmp_path)
    for text in (_html_text(tmp_path), _markdown_text(tmp_path), " ".join(_screen().split())):
        assert "hosted-keyless" in text
        assert "EXAMPLE_API_KEY is not set" in text


def test_no_provider_is_called_deterministic(reports: Path) -> None:
    """A sample cannot show that nothing ever differs, so the word is not used; nor is the reference the truth."""
    for text in (_html_text(reports), _markdown_text(reports), _screen()):
        assert not re.search(r"(?<!non)deterministic", text, re.IGNORECASE)
        assert not re.search(r"\btruth\b", text, re.IGNORECASE)


def test_notes_stand_with_their_provider(tmp_path: Path) -> None:
    """Where all repeats agreed the reader gets repeats, prompts, load and the rate that is still possible."""
    write_reports(synthetic.analysis(), synthetic.verdict(), tmp_path)
    sentence = (
        "no divergence in 3 repeats of 24 prompts, with up to 1 in flight; the rate of prompts that diverge is below "
        "11.7% (95 %)"
    )
    for text in (_html_text(tmp_path), _markdown_text(tmp_path), " ".join(_screen().split())):
        assert text.count(sentence) >= 3
        assert f"{synthetic.REFERENCE}: {sentence}" not in text
        assert "Note: this run was cut short" in text
