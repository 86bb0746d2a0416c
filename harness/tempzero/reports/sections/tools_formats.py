"""Figures of kind calls in, the answer to "Do tools and formats hold?" out."""

from __future__ import annotations

from tempzero.reports.document import Cell, Column, Section, Table
from tempzero.reports.lookup import Subject, View
from tempzero.reports.sections.figure_tables import further_figures_table, provider_table
from tempzero.types.vocabulary import MetricName

_CALLS: tuple[MetricName, ...] = (
    "called_share",
    "calls_left_in_text",
    "calls_unindexed",
    "arguments_parsed",
    "calls_valid",
    "right_tool",
    "right_call",
)
_FORMATS: tuple[MetricName, ...] = ("json_parsed", "json_valid")


def build_tools_section(view: View) -> Section:
    """Calls of tools and structured outputs, as a program behind the API would get them."""
    measured = {figure.metric for figure in view.figures("calls")}
    calls = provider_table(
        view, caption="Calls of tools", kind="calls", metrics=_CALLS, on_screen=("calls_valid", "right_call")
    )
    formats = provider_table(
        view, caption="Structured outputs", kind="calls", metrics=_FORMATS, on_screen=("json_parsed", "json_valid")
    )
    further = further_figures_table(view, "calls", (*_CALLS, *_FORMATS))
    shown = ((calls, _CALLS), (formats, _FORMATS), (further, ()))
    counted = (_lay_out_counts(view),) if view.analysis.call_counts else ()
    return Section(
        anchor="tools",
        title="Do tools and formats hold?",
        lead="Of prompts that offer tools, and of requests with a JSON response_format. Nothing is repaired: a call "
        "that was left in the text is none.",
        blocks=(
            *(table for table, metrics in shown if table is not None and (not metrics or measured & set(metrics))),
            *counted,
        ),
    )


def _lay_out_counts(view: View) -> Table:
    """By file of requests, as the scripts of vendor verifiers give them."""
    numbers = ("answered", "failed", "stop", "tool_calls", "others", "calls fit", "calls do not")
    return Table(
        caption="Counted as vendor verifiers do: by finish reason, and by whether all calls of a response fit a schema",
        columns=(
            Column(heading="Provider"),
            Column(heading="file"),
            *(Column(heading=n, numeric=True) for n in numbers),
        ),
        rows=tuple(
            (
                Cell(text=view.name(Subject(provider=c.provider, condition=c.condition))),
                Cell(text=c.family),
                Cell(text=f"{c.answered:,}"),
                Cell(text=f"{c.failed:,}"),
                Cell(text=f"{c.finish_stop:,}"),
                Cell(text=f"{c.finish_tool_calls:,}"),
                Cell(text=f"{c.finish_others:,}" + (f" ({c.others})" if c.others else "")),
                Cell(text=f"{c.calls_valid:,}"),
                Cell(text=f"{c.calls_invalid:,}"),
            )
            for c in view.analysis.call_counts
        ),
        folded=True,
    )
