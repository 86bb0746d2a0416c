"""Survival curves in, the charts and tables "still identical after t characters" out."""

from __future__ import annotations

from collections.abc import Sequence

from tempzero.reports.charts import lay_out_curve_charts, share_after
from tempzero.reports.document import ON_PAPER, Cell, Chart, Column, Paragraph, Section, Table
from tempzero.reports.figure_wording import PART_WORDS
from tempzero.reports.lookup import Subject, View
from tempzero.reports.numbers import value_text
from tempzero.reports.parting_histogram import lay_out_histogram
from tempzero.types.concluded import SurvivalCurve

# Up to some 16,000 tokens of 4 characters, which is as long as anything that the suites ask for.
_MARKS = (0, 10, 30, 100, 300, 1000, 3000, 10000, 16000, 30000, 64000)

MOST_CURVES = 24
_NAMES = 12

NamedCurves = list[tuple[str, SurvivalCurve]]


def build_survival_section(view: View) -> Section:
    """How far into the text responses stay the same."""
    own, (whom, against) = _repeat_curves(view), _cross_curves(view)
    parts = _part_curves(view)
    by_part = (_survival_table("Its repeats, part by part: share of pairs still identical", parts),) if parts else ()
    blocks = (
        *_draw_curves("A provider's own repeats", own, "repeats"),
        *_draw_curves(whom, against, "pairs"),
        *by_part,
    )
    return Section(
        anchor="survival",
        title="Where do texts part?",
        lead="How many pairs of responses part within which characters, and the same as curves: each starts at 1 and "
        "drops where pairs part. Pairs that never part stay: a curve ends at the share of identical pairs.",
        blocks=blocks,
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


def _draw_curves(whose: str, named: NamedCurves, file: str) -> list[Chart | Paragraph | Table]:
    """Those that part, the earliest first; what never parts is named, and what has no room is in the table."""
    if not named:
        return []
    title = f"{whose}: share of pairs still identical"
    whole = [name for name, curve in named if share_after(curve, 10**12) > 1 - 1e-9]
    parted = sorted((pair for pair in named if pair[0] not in whole), key=lambda pair: share_after(pair[1], 100))
    blocks: list[Chart | Paragraph | Table] = []
    if parted:
        histogram = f"{whose}: share of pairs that part within these characters"
        shown = parted[:MOST_CURVES]
        blocks.append(lay_out_histogram(histogram, shown, file=f"partings-{file}", data="tables/survival.csv"))
        blocks += lay_out_curve_charts(title, shown, file=f"survival-{file}", data="tables/survival.csv")
    if whole:
        more = f" and {len(whole) - _NAMES} more" if len(whole) > _NAMES else ""
        blocks.append(Paragraph(text=f"{whose}, where no pair parts: {', '.join(whole[:_NAMES])}{more}."))
    if len(parted) > MOST_CURVES:
        words = f"Drawn are the {MOST_CURVES} that part earliest; {len(parted) - MOST_CURVES} more are in the table."
        blocks.append(Paragraph(text=words, tone="muted"))
    return [*blocks, _survival_table(title, named)]


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
