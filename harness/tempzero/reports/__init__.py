"""An Analysis and a Verdict in, the reports out: report.html, report.md, summary.json, overview.svg and .png,
badge.json, charts/*.svg, tables/*.csv, and the screen.

Nothing is measured or decided here. Same Analysis and Verdict, same bytes: no clock, no locale, no random order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tempzero.records.files import write_atomically
from tempzero.reports import badge, brief_screen, csv_tables, html, markdown, screen, summary
from tempzero.reports.lookup import View
from tempzero.reports.overview_png import draw_overview_png
from tempzero.reports.overview_table import render_overview_table
from tempzero.reports.sections import build_sections
from tempzero.reports.sections.run_overview import lay_out_overview
from tempzero.types.concluded import Analysis, Verdict


def write_reports(analysis: Analysis, verdict: Verdict, folder: Path) -> tuple[Path, ...]:
    """Write every report file into a run folder, each in one step, in place of an older one.

    Returns the paths: report.html, report.md, summary.json, overview.svg, badge.json, overview.png, then charts
    and tables. Raises OSError where the folder cannot be written.
    """
    view = View(analysis, verdict)
    parts, overview = build_sections(view), lay_out_overview(view)
    texts: dict[str, str | bytes] = {
        "report.html": html.render_html(parts, run_id=analysis.run_id, created_at=analysis.created_at),
        "report.md": markdown.render_markdown(parts, run_id=analysis.run_id, created_at=analysis.created_at),
        "summary.json": summary.render_summary(analysis, verdict),
        "overview.svg": html.render_overview_svg(overview),
        "badge.json": badge.render_badge(verdict),
        "overview.png": draw_overview_png(overview),
        **html.render_chart_files(parts),
        "tables/overview.csv": render_overview_table(view),
        **{f"tables/{name}": text for name, text in csv_tables.render_tables(analysis).items()},
    }
    return tuple(_write_report_file(folder / name, text) for name, text in texts.items())


def show_report(
    analysis: Analysis,
    verdict: Verdict,
    console: Console,
    *,
    pages: Sequence[Path],
    exit_code: int,
    next_command: str,
    full: bool,
) -> None:
    """Print a screenful: a line for each provider, a sentence for each finding, the report, the next command.

    `full`: one table for each question before it, and every provider's verdict with all its reasons and notes.
    """
    view = View(analysis, verdict)
    if full:
        screen.print_sections(build_sections(view), console)
        console.print()
    brief_screen.print_brief(view, console, pages=pages, exit_code=exit_code, next_command=next_command)


def _write_report_file(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Reports are made of the records at any time.
    write_atomically(path, content.encode() if isinstance(content, str) else content, lasting=False)
    return path
