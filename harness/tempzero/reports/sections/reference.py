"""Figures of kind reference in, the answer to "Does each provider agree with the reference?" out."""

from __future__ import annotations

from tempzero.reports.document import Cell, Column, Paragraph, Section, Table, Tone
from tempzero.reports.figure_wording import LEVEL_WORDS, look_up_cell
from tempzero.reports.lookup import Subject, View
from tempzero.reports.numbers import UNDEFINED
from tempzero.reports.sections.figure_tables import family_table, further_figures_table, metric_column, provider_table
from tempzero.types.concluded import LevelName
from tempzero.types.vocabulary import MetricName

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
)
_METRICS_SHOWN_ELSEWHERE: tuple[MetricName, ...] = ("prompt_tokens_agreement",)
_BITS_METRIC: MetricName = "bit_identical_share"
_NOT_READ = "not read"
_LEVEL_TONES: dict[LevelName, Tone] = {
    "identical": "good",
    "rounding": "good",
    "declared": "good",
    "undecided": "watch",
    "beyond": "bad",
    "unread": "watch",
}


def build_reference_section(view: View) -> Section:
    """Agreement with the reference."""
    references = [s for s in view.subjects("repeat", "coverage") if view.is_reference(s.provider)]
    if not references:
        return _wrap_reference_section(())

    def right(subject: Subject) -> str | None:
        return view.reference_of(subject.provider)

    compared = [s for s in view.subjects("reference") if right(s) is not None]
    tables = [
        provider_table(
            view,
            caption=f"{caption} compared with the reference {', '.join(view.analysis.references)}",
            kind="reference",
            metrics=metrics,
            on_screen=on_screen,
            right=right,
            subjects=compared,
        )
        for caption, metrics, on_screen in (
            ("Texts", _TEXT_METRICS, _TEXT_METRICS[:3]),
            ("Answers, endings, lengths", _ANSWER_METRICS, ()),
        )
    ]
    by_family = family_table(
        view,
        caption="Same text as the reference, by prompt family",
        kind="reference",
        metric="cross_emr",
        right=right,
        subjects=compared,
    )
    further = further_figures_table(view, "reference", (*_TEXT_METRICS, *_ANSWER_METRICS, *_METRICS_SHOWN_ELSEWHERE))
    blocks = (_level_table(view), *tables, _reference_repeats_table(view, references), by_family, further)
    return _wrap_reference_section(tuple(b for b in blocks if b is not None))


def _level_table(view: View) -> Table | None:
    """How each provider stands to its reference, in one line each."""
    if not view.analysis.levels:
        return None
    return Table(
        caption="How each provider stands to the reference",
        columns=(
            Column(heading="Provider"),
            Column(heading="Level"),
            Column(heading="Prompts with other texts", numeric=True),
            Column(heading="Tokens it would not choose", numeric=True),
            Column(heading="Largest margin", hint="in logits", numeric=True, screen=False),
            Column(heading="Declared precision", hint="what claims.precision says of it", screen=False),
            Column(heading="What was seen", screen=False),
        ),
        rows=tuple(
            (
                Cell(text=view.name(Subject(provider=one.provider, condition=one.condition))),
                Cell(text=LEVEL_WORDS[one.name], tone=_LEVEL_TONES[one.name]),
                Cell(text=f"{one.differ:,} of {one.prompts:,}"),
                Cell(
                    text=f"{one.missed:,} of {one.tokens:,}" if one.tokens else UNDEFINED,
                    why="" if one.tokens else _NOT_READ,
                ),
                Cell(
                    text=UNDEFINED if one.largest_margin is None else f"{one.largest_margin:.2g}",
                    why=_NOT_READ if one.largest_margin is None else "",
                ),
                Cell(
                    text=f"{one.standing}: {one.because}" if one.standing else UNDEFINED,
                    why="" if one.standing else _NOT_READ,
                ),
                Cell(text=one.message),
            )
            for one in view.analysis.levels
        ),
    )


def _reference_repeats_table(view: View, references: list[Subject]) -> Table:
    return Table(
        caption="The reference against itself: identical repeats",
        columns=(
            Column(heading="Reference"),
            metric_column(view, "emr"),
            metric_column(view, _BITS_METRIC),
            Column(heading="Notes", screen=False),
        ),
        rows=tuple(
            (
                Cell(text=view.name(s)),
                look_up_cell(view, "repeat", "emr", s),
                look_up_cell(view, "repeat", _BITS_METRIC, s),
                Cell(text="; ".join(view.notes_of(s.provider))),
            )
            for s in references
        ),
    )


def _wrap_reference_section(blocks: tuple[Table | Paragraph, ...]) -> Section:
    return Section(
        anchor="reference",
        title="Does each provider agree with the reference?",
        lead="The reference runs the same model under known settings. Honest hosts compute in 16 bits and give other "
        "texts here and there; beyond that rounding it is not the same computation. That does not by itself mean: "
        "worse.",
        blocks=blocks,
    )
