"""What references read in, the answer to "What explains each provider's tokens?" out."""

from __future__ import annotations

from collections.abc import Sequence

from tempzero.reports.charts import CurveChart
from tempzero.reports.document import ON_PAPER, Block, Cell, Column, Paragraph, Section, Table, Tone
from tempzero.reports.figure_wording import look_up_cell
from tempzero.reports.lookup import Subject, View
from tempzero.reports.margin_chart import lay_out_margin_charts
from tempzero.reports.numbers import estimate_text
from tempzero.reports.sections.figure_tables import (
    family_table,
    further_figures_table,
    metric_column,
    provider_table,
)
from tempzero.types.concluded import Diagnosis, FloorBasis, NoiseFloor, ReferenceReading
from tempzero.types.vocabulary import MetricName, Strength

_MAIN_METRICS: tuple[MetricName, ...] = (
    "token_match_rate",
    "token_difr",
    "effective_temperature",
    "rounding_scale",
    "unexplained_share",
)
_POSITION_METRICS: tuple[MetricName, ...] = (
    "token_match_rate_tokens_1_4",
    "token_match_rate_tokens_5_16",
    "token_match_rate_tokens_17_64",
    "token_match_rate_tokens_65_up",
    "token_match_rate_context_below_256",
    "token_match_rate_context_256_1023",
    "token_match_rate_context_1024_4095",
    "token_match_rate_context_4096_up",
)
_BASIS_WORDS: dict[FloorBasis, str] = {
    "measured": "measured in this run",
    "profile": "shipped for this family of models",
    "default": "assumed, for neither is known of this model",
}
_TONES: dict[Strength, Tone] = {"shown": "bad", "likely": "watch", "undecided": "muted"}


def build_diagnosis_section(view: View) -> Section:
    """The diagnosis of every provider, and what it rests on."""
    reading = view.analysis.reading
    if reading is None:
        return _wrap_diagnosis_section(())
    subjects = view.subjects("scored")
    blocks: list[Block | None] = [
        _diagnosis_table(view, reading),
        provider_table(
            view,
            caption="Token by token against the reference",
            kind="scored",
            metrics=_MAIN_METRICS,
            on_screen=_MAIN_METRICS[:2],
            right=lambda s: _find_reader(view, reading, s),
            subjects=subjects,
        ),
        *(Paragraph(text=_floor_words(f)) for f in reading.floors),
        *_margin_charts(view, reading),
        _near_tie_table(view, reading),
        provider_table(
            view,
            caption="Tokens that match, by their position and by the length of the context before them",
            kind="scored",
            metrics=_POSITION_METRICS,
            on_screen=(),
            right=lambda s: _find_reader(view, reading, s),
            subjects=subjects,
        ),
        family_table(
            view,
            caption="Tokens that match, by prompt family",
            kind="scored",
            metric="token_match_rate",
            right=lambda s: _find_reader(view, reading, s),
            subjects=subjects,
        ),
        further_figures_table(view, "scored", (*_MAIN_METRICS, *_POSITION_METRICS)),
    ]
    return _wrap_diagnosis_section(tuple(b for b in blocks if b is not None))


def _find_reader(view: View, reading: ReferenceReading, subject: Subject) -> str | None:
    """Who read a provider's responses: its reference; a reference read its own."""
    own = view.reference_of(subject.provider)
    return own or next((f.reference for f in reading.floors if f.reference == subject.provider), None)


def _diagnosis_table(view: View, reading: ReferenceReading) -> Table:
    return Table(
        caption="What explains each provider's tokens",
        columns=(
            Column(heading="Provider"),
            Column(heading="Diagnosis"),
            Column(heading="Size", hint="the cause's own size, with its interval", numeric=True, screen=False),
            Column(heading="What it rests on", screen=False),
            metric_column(view, "token_match_rate"),
        ),
        rows=tuple(_diagnosis_cells(view, d) for d in reading.diagnoses),
        grouped=True,
    )


def _diagnosis_cells(view: View, found: Diagnosis) -> tuple[Cell, ...]:
    subject = Subject(provider=found.provider, condition=found.condition)
    size = "" if found.estimate is None else estimate_text(found.estimate, "number")
    tone: Tone = "good" if found.cause == "faithful" and found.strength != "undecided" else _TONES[found.strength]
    return (
        Cell(text=view.name(subject)),
        Cell(text=f"{view.cause_words(found.cause)} ({found.strength})", tone=tone),
        Cell(text=size),
        Cell(text=found.message),
        look_up_cell(view, "scored", "token_match_rate", subject, found.reference),
    )


def _floor_words(floor: NoiseFloor) -> str:
    """How far the reference may be trusted, in plain words."""
    parts = [
        f"{floor.reference}: an honest 16-bit host changes the gap between its two best tokens by "
        f"{floor.scale.value or 0.0:.2g} logits (root mean square; {_BASIS_WORDS[floor.basis]}: {floor.source}), and "
        f"hardly ever by more than {2 * floor.epsilon:.2g}."
    ]
    if floor.own_tokens:
        agree = floor.own_tokens - floor.own_misses
        odd = (
            f"; {floor.own_unexplained:,} of the {floor.own_misses:,} others are no near-ties"
            if floor.own_misses
            else ""
        )
        parts.append(f"Reading its own responses it would choose {agree:,} of {floor.own_tokens:,} tokens again{odd}.")
    return " ".join(parts)


def _margin_charts(view: View, reading: ReferenceReading) -> Sequence[CurveChart | Table]:
    found: list[CurveChart | Table] = []
    for number, floor in enumerate(reading.floors, start=1):
        named = [
            (p.who if p.condition is None else view.name(Subject(provider=p.who, condition=p.condition)), p)
            for p in reading.profiles
            if p.reference == floor.reference and p.tokens
        ]
        if not named:
            continue
        title = f"How far off tokens are, by {floor.reference}: providers, and forms of its own model"
        summary = "; ".join(f"{name}: {p.shares[0]:.4f} of {p.tokens} tokens" for name, p in named)
        found += lay_out_margin_charts(title, named, summary=summary, file=f"margins-{number}")
        at = [i for i, x in enumerate(named[0][1].at) if x in (0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0)]
        found.append(
            Table(
                caption=f"Share of tokens with at least this margin, by {floor.reference}",
                columns=(
                    Column(heading="Who"),
                    Column(heading="Tokens", numeric=True),
                    *(Column(heading=f"{named[0][1].at[i]:g}", numeric=True) for i in at),
                ),
                rows=tuple(
                    (
                        Cell(text=name if p.kind == "provider" else f"{name} ({p.kind} form)"),
                        Cell(text=f"{p.tokens:,}"),
                        *(Cell(text=f"{p.shares[i]:.4f}") for i in at),
                    )
                    for name, p in named
                ),
                folded=True,
                media=ON_PAPER,
            )
        )
    return found


def _near_tie_table(view: View, reading: ReferenceReading) -> Table | None:
    if not reading.partings:
        return None
    return Table(
        caption="Where texts part: at a near-tie, or not",
        columns=(
            Column(heading="Provider"),
            Column(heading="Compared with"),
            Column(heading="Near-ties", numeric=True),
            Column(heading="Unexplained", numeric=True),
        ),
        rows=tuple(
            (
                Cell(text=view.name(Subject(provider=p.left, condition=p.condition))),
                Cell(text=p.right or "its own repeats"),
                Cell(text=f"{p.near_tie:,}"),
                Cell(text=f"{p.unexplained:,}"),
            )
            for p in reading.partings
        ),
        media=ON_PAPER,
    )


def _wrap_diagnosis_section(blocks: tuple[Block, ...]) -> Section:
    return Section(
        anchor="diagnosis",
        title="What explains each provider's tokens?",
        lead="The reference reads each response and says of every token whether it would have chosen it, and by how "
        "much not. How the misses are spread tells causes apart.",
        blocks=blocks,
    )
