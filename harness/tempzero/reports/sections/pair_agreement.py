"""Figures of pairs in, the answer to "Do the providers agree with the others?" out: heat map and table of pairs."""

from __future__ import annotations

from collections.abc import Sequence

from tempzero.reports.charts import HeatMap, HeatValue, lay_out_heat_map
from tempzero.reports.document import EVERYWHERE, ON_PAPER, Cell, Column, Paragraph, Section, Table
from tempzero.reports.figure_wording import look_up_cell
from tempzero.reports.lookup import Subject, View
from tempzero.reports.numbers import UNDEFINED, metric_style, value_text
from tempzero.reports.sections.figure_tables import (
    MAX_ROWS,
    further_figures_table,
    metric_column,
    pair_figure_text,
    part_table,
)
from tempzero.types.concluded import Camps, Figure
from tempzero.types.vocabulary import MetricName, RuleName

_TEXT_METRICS: tuple[MetricName, ...] = (
    "cross_emr",
    "excess_divergence",
    "noise_floor",
    "minimum_detectable_excess",
    "cross_ned",
)
_ANSWER_METRICS: tuple[MetricName, ...] = (
    "answer_agreement",
    "flips",
    "finish_reason_agreement",
    "length_difference_chars",
    "completion_tokens_difference",
    "reasoning_tokens_difference",
    "reasoning_shown_agreement",
)
_METRICS_SHOWN_ELSEWHERE: tuple[MetricName, ...] = ("prompt_tokens_agreement",)
_DIFFERENCE_RULES: tuple[RuleName, ...] = ("differs", "odd_one", "deviates_from_reference")
_MAP_MOST, _NAMES, _CAMPS = 40, 12, 12


def build_agreement_section(view: View) -> Section:
    """Agreement between providers."""
    mapped = [(title, members) for title, members in view.groups() if 1 < len(members) <= _MAP_MOST]
    maps = [_agreement_map(view, title, members, i) for i, (title, members) in enumerate(mapped, start=1)]
    pairs = _sort_pair_figures(view)
    tables = [
        _pair_table(view, pairs, "Texts", _TEXT_METRICS),
        _pair_table(view, pairs, "Answers, endings, lengths", _ANSWER_METRICS, folded=True),
    ]
    tables.append(
        part_table(
            view,
            caption="Part by part",
            kind="cross",
            metrics=("cross_emr", "excess_divergence", "cross_ned"),
            folded=True,
        )
    )
    further = further_figures_table(view, "cross", (*_TEXT_METRICS, *_ANSWER_METRICS, *_METRICS_SHOWN_ELSEWHERE))
    return Section(
        anchor="others",
        title="Does each provider agree with the others?",
        lead="Disagreement stands beside the noise floor: what the two providers' own repeats explain. "
        "The excess divergence is what is left; around zero, the two differ no more than each differs from itself.",
        blocks=tuple(
            b
            for b in (*(block for of in view.analysis.camps for block in _describe_camps(of)), *maps, *tables, further)
            if b is not None
        ),
    )


def _describe_camps(of: Camps) -> list[Paragraph | Table]:
    """Who cannot be told apart, and who stands outside."""
    where = f"{of.title} ({of.condition})"
    if len(of.camps) == 1:
        words = f"{where}: none of {of.endpoints} endpoints can be told from another by its texts."
        return [Paragraph(text=words)]
    odd = (
        f"The odd ones: {', '.join(of.odd)}: each differs from every member of a camp that holds more than half."
        if of.odd
        else "Nobody is accused: there is no camp of more than half of them that anybody differs from as a whole."
    )
    left_out = len(of.camps) - _CAMPS
    return [
        Paragraph(text=f"{where}: {len(of.camps)} camps among {of.endpoints} endpoints. {odd}"),
        Table(
            caption=f"Camps of {where}: endpoints of one camp cannot be told apart by their texts",
            columns=(Column(heading="Camp"), Column(heading="Endpoints", numeric=True), Column(heading="Members")),
            rows=tuple(
                (
                    Cell(text=str(number)),
                    Cell(text=str(len(camp))),
                    Cell(text=_name_members(camp), tone="watch" if set(camp) & set(of.odd) else "plain"),
                )
                for number, camp in enumerate(of.camps[:_CAMPS], start=1)
            ),
            more=f"{left_out} more are in tables/camps.csv." if left_out > 0 else "",
        ),
    ]


def _name_members(camp: Sequence[str]) -> str:
    more = f" and {len(camp) - _NAMES} more" if len(camp) > _NAMES else ""
    return ", ".join(camp[:_NAMES]) + more


def _sort_pair_figures(view: View) -> list[Figure]:
    """Each pair once, most divergent first."""
    found = [f for f in view.figures("cross") if f.metric == "cross_emr" and f.right is not None]
    return sorted(
        found, key=lambda f: (-_excess_value(view, f), _agreement_value(f), f.left, f.right or "", f.condition)
    )


def _excess_value(view: View, figure: Figure) -> float:
    excess = view.figure("cross", "excess_divergence", _left_subject(figure), figure.right)
    value = excess.estimate.value if excess is not None else None
    return -2.0 if value is None else value


def _agreement_value(figure: Figure) -> float:
    return 2.0 if figure.estimate.value is None else figure.estimate.value


def _left_subject(figure: Figure) -> Subject:
    return Subject(provider=figure.left, condition=figure.condition)


def _pair_table(
    view: View, pairs: Sequence[Figure], caption: str, metrics: Sequence[MetricName], *, folded: bool = False
) -> Table | None:
    known = {f.metric for f in view.figures("cross")}
    shown = [m for m in metrics if m in known]
    if not pairs or not shown:
        return None
    kept = pairs[:MAX_ROWS]
    more = f"{len(pairs) - len(kept)} more pairs are in tables/cross.csv." if len(pairs) > len(kept) else ""
    return Table(
        caption=f"{caption}: pairs of providers, most divergent first",
        columns=(
            Column(heading="Provider"),
            Column(heading="and"),
            *(metric_column(view, m, screen=m in shown[:3]) for m in shown),
        ),
        rows=tuple(
            (
                Cell(text=view.name(_left_subject(f))),
                Cell(text=f.right or ""),
                *(look_up_cell(view, "cross", m, _left_subject(f), f.right) for m in shown),
            )
            for f in kept
        ),
        more=more,
        folded=folded,
        media=ON_PAPER if folded else EVERYWHERE,
    )


def _agreement_map(view: View, title: str, members: Sequence[Subject], number: int) -> HeatMap:
    values = [[_heat_value(view, row, column) for column in members] for row in members]
    summary = "; ".join(values[i][j].description for i in range(len(members)) for j in range(len(members)) if i >= j)
    return lay_out_heat_map(
        f"Agreement between providers that claim {title}",
        [m.provider for m in members],
        values,
        summary=summary,
        file=f"agreement-{number}",
        data="tables/cross.csv",
    )


def _heat_value(view: View, row: Subject, column: Subject) -> HeatValue:
    if row == column:
        own = view.figure("repeat", "emr", row)
        return _make_heat_value(
            view, own, ("with itself",), False, f"{row.provider} with itself: {pair_figure_text(view, own)}"
        )
    same = view.against("cross_emr", row, column.provider)
    excess = view.against("excess_divergence", row, column.provider)
    floor = view.against("noise_floor", row, column.provider)
    marked = _is_pair_finding(view, row.provider, column.provider)
    description = (
        f"{row.provider} and {column.provider}: same text {pair_figure_text(view, same)}, excess divergence "
        f"{pair_figure_text(view, excess)}, "
        f"noise floor {pair_figure_text(view, floor)}{', a finding' if marked else ''}"
    )
    return _make_heat_value(
        view,
        same,
        (
            f"excess {_short_value(view, excess)}",
            f"noise floor {_short_value(view, floor)}",
            *(("reasoning left out",) if same is not None and same.part == "spoken" else ()),
        ),
        marked,
        description,
    )


def _make_heat_value(
    view: View, figure: Figure | None, lines: tuple[str, ...], marked: bool, description: str
) -> HeatValue:
    share = figure.estimate.value if figure is not None else None
    return HeatValue(share=share, value=_short_value(view, figure), lines=lines, marked=marked, description=description)


def _short_value(view: View, figure: Figure | None) -> str:
    if figure is None or figure.estimate.value is None:
        return UNDEFINED
    return value_text(figure.estimate.value, metric_style(view.metric(figure.metric)))


def _is_pair_finding(view: View, left: str, right: str) -> bool:
    return any(
        f.rule in _DIFFERENCE_RULES and f.other is not None and {f.subject, f.other} == {left, right}
        for f in view.analysis.findings
    )
