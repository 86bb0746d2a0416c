"""A concluded run or a check in, GitHub's job summary and annotations out; nothing where no job runs there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tempzero.reports.job_summary import append_job_summary, escape_github_markdown, write_annotations

if TYPE_CHECKING:
    from tempzero.check import SettingCheck
    from tempzero.types.concluded import Verdict
    from tempzero.types.vocabulary import VerdictOutcome


def show_run_in_ci(verdict: Verdict, folder: Path) -> None:
    """The run's report as the summary; an error for each provider that is accused, a warning for what is not known."""
    append_job_summary((folder / "report.md").read_text(encoding="utf-8"), os.environ)
    told = [(p.outcome, p.provider, "; ".join(p.reasons)) for p in verdict.providers]
    _annotate([*told, *(("finding", "the providers as a set", reason) for reason in verdict.about_set)])


def show_check_in_ci(checked: SettingCheck) -> None:
    """A table of the providers with their remarks, who was skipped, and an annotation for each that did not pass."""
    lines = [f"## tempzero check: {checked.state}", "", "| provider | result | remarks |", "|---|---|---|"]
    for row in checked.rows:
        lines.append(f"| {escape_github_markdown(row.provider)} | {row.state} | {_join_cells(row.remarks)} |")
    lines += [
        f"| {escape_github_markdown(name)} | skipped | {escape_github_markdown(why)} |" for name, why in checked.skipped
    ]
    append_job_summary("\n".join(lines) + "\n\n", os.environ)
    _annotate([(row.state, row.provider, "; ".join(row.remarks)) for row in checked.rows])


def _annotate(told: list[tuple[VerdictOutcome, str, str]]) -> None:
    errors = [(f"{name}: finding", text) for outcome, name, text in told if outcome == "finding"]
    warnings = [(f"{name}: inconclusive", text) for outcome, name, text in told if outcome == "inconclusive"]
    write_annotations(errors, warnings, environ=os.environ, write=print)


def _join_cells(texts: list[str]) -> str:
    return "<br>".join(map(escape_github_markdown, texts))
