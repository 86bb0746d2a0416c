"""Figures of kind coverage and failures in, the answer to "What failed?" out."""

from __future__ import annotations

from tempzero.reports.document import Cell, Column, Paragraph, Section, Table
from tempzero.reports.fault_wording import fault_words
from tempzero.reports.figure_wording import answered_words
from tempzero.reports.lookup import View
from tempzero.reports.sections.figure_tables import further_figures_table, provider_table
from tempzero.types.vocabulary import MetricName

_METRICS: tuple[MetricName, ...] = (
    "coverage",
    "whole_share",
    "censored_share",
    "missing_share",
    "excluded_share",
    "empty_share",
)


def build_coverage_section(view: View) -> Section:
    """Coverage, and every kind of failure."""
    table = provider_table(
        view, caption="Shares of the planned trials", kind="coverage", metrics=_METRICS, on_screen=()
    )
    further = further_figures_table(view, "coverage", _METRICS)
    return Section(
        anchor="coverage",
        title="What failed?",
        lead="A failed request is no answer: it never counts as divergence, but it lowers coverage, the share of the "
        "planned trials that were answered, whole or cut.",
        blocks=tuple(b for b in (_answered_table(view), table, _failures_table(view), further) if b is not None),
    )


def _answered_table(view: View) -> Table | None:
    """What coverage counts, in numbers of trials."""
    ended = [(s, o) for s in view.subjects("coverage") if (o := view.outcomes(s)) is not None]
    if not ended:
        return None
    return Table(
        caption="How the planned trials ended",
        columns=(Column(heading="Provider"), Column(heading="Answered", hint=view.metric("coverage").definition)),
        rows=tuple((Cell(text=view.label(s)), Cell(text=answered_words(o))) for s, o in ended),
    )


def _failures_table(view: View) -> Table | Paragraph:
    failures = sorted(view.analysis.failures, key=lambda f: (f.provider, -f.count, f.kind))
    if not failures:
        return Paragraph(text="No attempt failed.")
    return Table(
        caption="Failed, cut or odd attempts, by kind",
        columns=(
            Column(heading="Provider"),
            Column(heading="Kind"),
            Column(heading="What happened"),
            Column(heading="Count", numeric=True),
            Column(heading="Prompts", numeric=True),
            Column(heading="In its words, one of them"),
        ),
        rows=tuple(
            (
                Cell(text=one.provider),
                Cell(text=one.kind),
                Cell(text=fault_words(one.kind)),
                Cell(text=f"{one.count:,}"),
                Cell(text=f"{one.prompts:,}"),
                Cell(text=one.said),
            )
            for one in failures
        ),
        grouped=True,
    )
