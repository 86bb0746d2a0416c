"""Sections in, one self-contained HTML page out: no network, one script of our own by its hash, every text escaped."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tempzero.reports.anchors import to_anchor
from tempzero.reports.answer_strip import Strip
from tempzero.reports.charts import CurveChart, HeatMap
from tempzero.reports.document import (
    Block,
    Bullets,
    Cell,
    Chart,
    Definitions,
    Facts,
    FindingList,
    Paragraph,
    PromptList,
    ReadPairs,
    Section,
    Table,
    TextPairs,
    Verdicts,
    blocks_for_medium,
)
from tempzero.reports.figure_wording import SIGNS, trial_words
from tempzero.reports.listed_runs import ListedRun
from tempzero.reports.overview_chart import Overview
from tempzero.reports.parting_histogram import Histogram
from tempzero.reports.scatter_chart import Scatter
from tempzero.reports.visible import make_visible

_LONGEST_WORD = 20

_MACROS: dict[type, str] = {
    Bullets: "bullets",
    Definitions: "definitions",
    Facts: "facts",
    FindingList: "found",
    Overview: "overview",
    Paragraph: "paragraph",
    PromptList: "prompt_list",
    ReadPairs: "read_pairs",
    Table: "table",
    TextPairs: "text_pairs",
    Verdicts: "verdicts",
}


_CHARTS: dict[type, str] = {
    CurveChart: "curves",
    HeatMap: "heat",
    Histogram: "bars",
    Scatter: "scatter",
    Strip: "strip",
}


def render_html(sections: Sequence[Section], *, run_id: str, created_at: str) -> str:
    """The page. Same sections, same text."""
    page = _build_environment().get_template("report.html.j2")
    shown = [(s, blocks_for_medium(s, "html")) for s in sections if "html" in s.media]
    script = read_page_script()
    return page.render(
        sections=shown,
        run_id=run_id,
        created_at=created_at,
        script=Markup(script),
        script_hash=hash_script(script),
    )


def render_run_index(runs: Sequence[ListedRun], *, title: str) -> str:
    """The page over run folders."""
    script = read_page_script()
    return (
        _build_environment()
        .get_template("run_index.html.j2")
        .render(runs=runs, title=title, script=Markup(script), script_hash=hash_script(script))
    )


@cache
def read_page_script() -> str:
    """The page's own script: filter, search, sort, copy. Without it everything can be read."""
    return Path(__file__).with_name("templates").joinpath("report.js").read_text(encoding="utf-8")


def hash_script(script: str) -> str:
    """What a Content-Security-Policy calls a script by."""
    return f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}"


def render_overview_svg(overview: Overview) -> str:
    """The picture as a file of its own, with its colours for light and dark pages."""
    return _build_environment().get_template("overview.svg.j2").render(block=overview)


def render_chart_files(sections: Sequence[Section]) -> dict[str, str]:
    """Each chart as an SVG file of its own, by its path in the run folder."""
    template = _build_environment().get_template("chart.svg.j2")
    return {
        f"charts/{block.file}.svg": template.render(block=block)
        for section in sections
        for block in section.blocks
        if isinstance(block, HeatMap | CurveChart | Histogram | Scatter | Strip)
    }


@cache  # compiling the templates takes longer than filling them
def _build_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates"), encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize_value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["macro"] = _macro_name
    environment.filters["chart_class"] = _chart_class
    environment.filters["rows"] = _group_rows
    environment.filters["widths"] = _column_widths
    environment.filters["anchor"] = to_anchor
    environment.filters["trial"] = trial_words
    environment.globals["SIGNS"] = SIGNS
    return environment


def _finalize_value(value: Any) -> Any:
    """Every text on its way to the page loses what a reader cannot see; finished markup passes."""
    return make_visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _macro_name(block: Block) -> str:
    return "chart" if type(block) in _CHARTS else _MACROS[type(block)]


def _chart_class(chart: Chart) -> str:
    return _CHARTS[type(chart)]


def _group_rows(table: Table) -> list[list[tuple[Cell, ...]]]:
    """The rows in groups that share their first cell; every row alone where the table is not grouped."""
    if not table.grouped:
        return [[row] for row in table.rows]
    return [list(rows) for _, rows in groupby(table.rows, key=lambda row: row[0].text)]


def _column_widths(table: Table) -> list[int]:
    """Characters that each column needs so that an ordinary word stays whole; longer ones may be broken."""
    return [
        min(_LONGEST_WORD, max((len(w) for row in table.rows for w in _cell_words(row[i])), default=0))
        for i in range(len(table.columns))
    ]


def _cell_words(cell: Cell) -> list[str]:
    return cell.text[:200].split()
