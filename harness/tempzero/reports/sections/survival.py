"""Survival curves in, the charts and tables "still identical after t characters" out."""

from __future__ import annotations

from collections.abc import Sequence

from tempzero.reports.charts import CurveChart, lay_out_curve_chart, share_after
from tempzero.reports.document import ON_PAPER, Cell, Column, Paragraph, Section, Table
from tempzero.reports.figure_wording import PART_WORDS
from tempzero.reports.lookup import Subject, View
from tempzero.reports.numbers import value_text
from tempzero.types.concluded import SurvivalCurve

# Up to some 16,000 tokens of 4 characters, which is as long as anything that the suites ask for.
_MARKS = (0, 10, 30, 100, 300, 1000, 3000, 10000, 16000, 30000, 64000)

NamedCurves = list[tuple[str, SurvivalCurve]]


def build_survival_section(view: View) -> Section:
    """How far into the text responses stay the same."""
    own, (whom, against) = _repeat_curves(view), _cross_curves(view)
    parts = _part_curves(view)
    by_part = (_survival_table("Its repeats, part by part: share of pairs still identical", parts),) if parts else ()
    blocks = (
        *_chart_and_table("A provider's own repeats: share of pairs still identical", own),
        *_chart_and_table(f"{whom}: share of pairs still identical", against),
        *by_part,
    )
    nothing = Paragraph(text="No pair of responses could be compared.", tone="muted")
    return Section(
        anchor="survival",
        title="How far do texts stay the same?",
        lead="Each curve starts at 1 and drops wherever a pair of responses parts. Pairs that never part stay: the "
        "curve ends at the share of identical pairs.",
        blocks=blocks or (nothing,),
        media=ON_PAPER,
    )


def _repeat_curves(view: View) -> NamedCurves:
    return [(_curve_name(view, c), c) for c in view.analysis.curves if c.kind == "repeat" and c.part == "whole"]


def _part_curves(view: View) -> NamedCurves:
    """A provider's own repeats, part by part."""
    return [
        (f"{_curve_name(view, c)}: {PART_WORDS[c.part]}", c)
        for c in view.analysis.curves
        if c.kind == "repeat" and c.part != "whole"
    ]


def _cross_curves(view: View) -> tuple[str, NamedCurves]:
    """Curves against the reference; without any reference, those between all pairs; and which they are."""
    crossing = [c for c in view.analysis.curves if c.kind == "cross" and c.part in ("whole", "spoken")]
    reference = [c for c in crossing if c.right is not None and view.is_reference(c.right)]
    if reference:
        return "Against the reference", [(_curve_name(view, c), c) for c in reference]
    return "Two providers", [(f"{_curve_name(view, c)} and {c.right}", c) for c in crossing]


def _curve_name(view: View, curve: SurvivalCurve) -> str:
    return view.name(Subject(provider=curve.left, condition=curve.condition))


def _chart_and_table(title: str, named: NamedCurves) -> list[CurveChart | Table]:
    if not named:
        return []
    summary = "; ".join(f"{name}: {share_after(c, 10**12):.2f} of {c.pairs} pairs never part" for name, c in named)
    return [lay_out_curve_chart(title, named, summary=summary), _survival_table(title, named)]


def _survival_table(title: str, named: NamedCurves) -> Table:
    longest = max((c.positions[-1] for _, c in named if c.positions), default=0)
    marks = _choose_marks(longest)
    return Table(
        caption=f"{title} after so many characters (about four a token)",
        columns=(
            Column(heading="Provider"),
            *(Column(heading=f"{m:,}", numeric=True) for m in marks),
            Column(heading="to the end", numeric=True),
            Column(heading="pairs", numeric=True),
        ),
        rows=tuple(
            (
                Cell(text=name),
                *(Cell(text=value_text(share_after(c, m), "share")) for m in marks),
                Cell(text=value_text(share_after(c, 10**12), "share")),
                Cell(text=f"{c.pairs:,}"),
            )
            for name, c in named
        ),
        folded=True,
    )


def _choose_marks(longest: int) -> Sequence[int]:
    return [m for m in _MARKS if m < longest] or [0]
