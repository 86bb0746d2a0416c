"""Figures of pairs in, the answer to "Do the providers agree with the others?" out: heat map and table of pairs."""

from __future__ import annotations

from collections.abc import Sequence

from tempzero.reports.charts import HeatMap, HeatValue, heat_map
from tempzero.reports.document import EVERYWHERE, ON_PAPER, Cell, Column, Paragraph, Section, Table
from tempzero.reports.legend import term, term_of
from tempzero.reports.lookup import Subject, View
from tempzero.reports.numbers import UNDEFINED, value_text
from tempzero.reports.sections.figure_tables import MAX_ROWS, columns, other_figures, pair_text
from tempzero.reports.wording import cell
from tempzero.types.concluded import Figure

_TEXTS = ("cross_emr", "excess_divergence", "noise_floor", "minimum_detectable_excess", "cross_ned")
_FORMS = ("answer_agreement", "flips", "finish_reason_agreement", "length_difference_chars")
_ELSEWHERE = ("prompt_tokens_agreement",)
_DIFFERENT = ("differs", "deviates_from_reference")


def build(view: View) -> Section:
    """Agreement between providers."""
    maps = [_map(view, title, members) for title, members in view.groups() if len(members) > 1]
    pairs = _pairs(view)
    tables = [
        _table(view, pairs, "Texts", _TEXTS),
        _table(view, pairs, "Answers, endings, lengths", _FORMS, folded=True),
    ]
    further = other_figures(view, "cross", (*_TEXTS, *_FORMS, *_ELSEWHERE))
    alone = None
    if not pairs:
        alone = Paragraph(
            text="No two providers besides the reference claim the same model: there is nothing to compare."
        )
    return Section(
        anchor="others",
        title="Does each provider agree with the others?",
        lead="Disagreement stands beside the noise floor: what the two providers' own repeats explain. "
        "The excess divergence is what is left; around zero, the two differ no more than each differs from itself.",
        blocks=tuple(b for b in (*maps, *tables, further, alone) if b is not None),
    )


def _pairs(view: View) -> list[Figure]:
    """Each pair once, most divergent first."""
    found = [f for f in view.figures("cross") if f.metric == "cross_emr" and f.right is not None]
    return sorted(found, key=lambda f: (-_excess(view, f), _value(f), f.left, f.right or "", f.condition))


def _excess(view: View, figure: Figure) -> float:
    excess = view.figure("cross", "excess_divergence", _subject(figure), figure.right)
    value = excess.estimate.value if excess is not None else None
    return -2.0 if value is None else value


def _value(figure: Figure) -> float:
    return 2.0 if figure.estimate.value is None else figure.estimate.value


def _subject(figure: Figure) -> Subject:
    return Subject(provider=figure.left, condition=figure.condition)


def _table(
    view: View, pairs: Sequence[Figure], caption: str, metrics: Sequence[str], *, folded: bool = False
) -> Table | None:
    known = {f.metric: f.unit for f in view.figures("cross")}
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
            *columns(shown, known, on_screen=shown[:3]),
        ),
        rows=tuple(
            (
                Cell(text=view.name(_subject(f))),
                Cell(text=f.right or ""),
                *(cell(view.figure("cross", m, _subject(f), f.right), term(m, known[m])) for m in shown),
            )
            for f in kept
        ),
        more=more,
        folded=folded,
        media=ON_PAPER if folded else EVERYWHERE,
    )


def _map(view: View, title: str, members: Sequence[Subject]) -> HeatMap:
    values = [[_heat_value(view, row, column) for column in members] for row in members]
    summary = "; ".join(values[i][j].description for i in range(len(members)) for j in range(len(members)) if i >= j)
    return heat_map(
        f"Agreement between providers that claim {title}", [m.provider for m in members], values, summary=summary
    )


def _heat_value(view: View, row: Subject, column: Subject) -> HeatValue:
    if row == column:
        own = view.figure("repeat", "emr", row)
        return _drawn(own, ("with itself",), False, f"{row.provider} with itself: {pair_text(own)}")
    same = view.against("cross_emr", row, column.provider)
    excess = view.against("excess_divergence", row, column.provider)
    floor = view.against("noise_floor", row, column.provider)
    marked = _differs(view, row.provider, column.provider)
    description = (
        f"{row.provider} and {column.provider}: same text {pair_text(same)}, excess divergence {pair_text(excess)}, "
        f"noise floor {pair_text(floor)}{', a finding' if marked else ''}"
    )
    return _drawn(same, (f"excess {_short(excess)}", f"noise floor {_short(floor)}"), marked, description)


def _drawn(figure: Figure | None, lines: tuple[str, ...], marked: bool, description: str) -> HeatValue:
    share = figure.estimate.value if figure is not None else None
    return HeatValue(share=share, value=_short(figure), lines=lines, marked=marked, description=description)


def _short(figure: Figure | None) -> str:
    if figure is None or figure.estimate.value is None:
        return UNDEFINED
    return value_text(figure.estimate.value, term_of(figure).style)


def _differs(view: View, left: str, right: str) -> bool:
    return any(
        f.rule in _DIFFERENT and f.other is not None and {f.subject, f.other} == {left, right}
        for f in view.analysis.findings
    )
