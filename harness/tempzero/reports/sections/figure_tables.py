"""Metrics in, a table with one row for each provider (or pair) out: what most sections show."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tempzero.reports.document import EVERYWHERE, ON_PAPER, Cell, Column, Table
from tempzero.reports.figure_wording import PART_WORDS, figure_cell, figure_text, look_up_cell
from tempzero.reports.lookup import Subject, View
from tempzero.types.concluded import Figure
from tempzero.types.vocabulary import KindName, MetricName

MAX_ROWS = 300

Counterpart = Callable[[Subject], str | None]


def compare_with_nobody(_: Subject) -> str | None:
    """The right-hand side of figures that compare with nobody."""
    return None


def metric_column(view: View, metric: MetricName, *, screen: bool = True) -> Column:
    """A metric's column, with its definition as the hint."""
    words = view.metric(metric)
    return Column(heading=words.title, hint=words.definition, numeric=True, screen=screen)


def provider_table(
    view: View,
    *,
    caption: str,
    kind: KindName,
    metrics: Sequence[MetricName],
    on_screen: Sequence[MetricName],
    right: Counterpart = compare_with_nobody,
    subjects: Sequence[Subject] | None = None,
) -> Table:
    """A row for each provider, a column for each metric of one kind that anybody has."""
    rows = list(subjects) if subjects is not None else view.subjects(kind)
    known = {f.metric for f in view.figures(kind)}
    shown = [m for m in metrics if m in known] or list(metrics[:1])
    return Table(
        caption=caption,
        columns=(Column(heading="Provider"), *(metric_column(view, m, screen=m in on_screen) for m in shown)),
        rows=tuple(
            (
                Cell(text=view.label(s)),
                *(look_up_cell(view, kind, m, s, right(s)) for m in shown),
            )
            for s in rows
        ),
        media=EVERYWHERE if set(on_screen) & set(shown) else ON_PAPER,
    )


def family_table(
    view: View,
    *,
    caption: str,
    kind: KindName,
    metric: MetricName,
    right: Counterpart = compare_with_nobody,
    subjects: Sequence[Subject] | None = None,
) -> Table | None:
    """One metric by family of prompts, folded; None where the analysis has it only over all prompts."""
    families = view.families(kind, metric)
    if not families:
        return None
    rows = list(subjects) if subjects is not None else view.subjects(kind)
    return Table(
        caption=caption,
        columns=(Column(heading="Provider"), *(Column(heading=f, numeric=True, screen=False) for f in families)),
        rows=tuple(
            (
                Cell(text=view.label(s)),
                *(look_up_cell(view, kind, metric, s, right(s), family) for family in families),
            )
            for s in rows
        ),
        folded=True,
        media=ON_PAPER,
    )


def part_table(
    view: View, *, caption: str, kind: KindName, metrics: Sequence[MetricName], folded: bool
) -> Table | None:
    """A row for each provider or pair and each part of the answers, a column for each metric; None without parts."""
    found = view.part_figures(kind)
    rows = dict.fromkeys((f.left, f.condition, f.right, f.part) for f in found if f.metric in metrics)
    if not rows:
        return None
    shown = [m for m in metrics if any(f.metric == m for f in found)]
    kept = list(rows)[:MAX_ROWS]
    pairs = any(right for _, _, right, _ in kept)
    return Table(
        caption=caption,
        columns=(
            Column(heading="Provider"),
            *((Column(heading="and"),) if pairs else ()),
            Column(heading="Part"),
            *(metric_column(view, m, screen=m in shown[:2]) for m in shown),
        ),
        rows=tuple(
            (
                Cell(text=view.name(subject := Subject(provider=left, condition=condition))),
                *((Cell(text=right or ""),) if pairs else ()),
                Cell(text=PART_WORDS[part]),
                *(figure_cell(view.figure(kind, m, subject, right, part=part), view.metric(m)) for m in shown),
            )
            for left, condition, right, part in kept
        ),
        more=f"{len(rows) - len(kept)} more are in tables/{kind}.csv." if len(rows) > len(kept) else "",
        folded=folded,
        grouped=not pairs,
        media=ON_PAPER if folded else EVERYWHERE,
    )


def further_figures_table(view: View, kind: KindName, shown: Sequence[MetricName]) -> Table | None:
    """The figures of a kind that the section has no column for, one a row: a new metric shows without new code."""
    rest = [f for f in view.figures(kind) if f.metric not in shown]
    if not rest:
        return None
    kept = rest[:MAX_ROWS]
    more = f"{len(rest) - len(kept)} more are in tables/{kind}.csv." if len(rest) > len(kept) else ""
    return Table(
        caption="Further figures",
        columns=(
            Column(heading="Provider"),
            Column(heading="Compared with"),
            Column(heading="Figure"),
            Column(heading="Value", numeric=True),
        ),
        rows=tuple(_further_figure_cells(view, f) for f in kept),
        folded=True,
        more=more,
        media=ON_PAPER,
    )


def _further_figure_cells(view: View, figure: Figure) -> tuple[Cell, ...]:
    subject = Subject(provider=figure.left, condition=figure.condition)
    words = view.metric(figure.metric)
    return (
        Cell(text=view.label(subject)),
        Cell(text=figure.right or ""),
        Cell(text=words.title),
        figure_cell(figure, words),
    )


def pair_figure_text(view: View, figure: Figure | None) -> str:
    """A figure of a pair in few words, or that it was not measured."""
    return figure_text(figure, view.metric(figure.metric)) if figure is not None else "not measured"
