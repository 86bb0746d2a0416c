"""Figures of kind reference in, the answer to "Does each provider agree with the reference?" out."""

from __future__ import annotations

from tempzero.reports.document import Cell, Column, Paragraph, Section, Table
from tempzero.reports.legend import term
from tempzero.reports.lookup import Subject, View
from tempzero.reports.sections.figure_tables import family_table, other_figures, provider_table
from tempzero.reports.wording import named_cell

_TEXTS = ("cross_emr", "excess_divergence", "noise_floor", "minimum_detectable_excess", "cross_ned")
_FORMS = ("answer_agreement", "flips", "finish_reason_agreement", "length_difference_chars")
_ELSEWHERE = ("prompt_tokens_agreement",)
_BITS = "bit_identical_share"


def build(view: View) -> Section:
    """Agreement with the reference."""
    references = [s for s in view.subjects("repeat", "coverage") if view.is_reference(s.provider)]
    if not references:
        return _section((Paragraph(text="This run has no reference. Name one under run.reference in providers.yaml."),))

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
        for caption, metrics, on_screen in (("Texts", _TEXTS, _TEXTS[:3]), ("Answers, endings, lengths", _FORMS, ()))
    ]
    by_family = family_table(
        view,
        caption="Same text as the reference, by prompt family",
        kind="reference",
        metric="cross_emr",
        right=right,
        subjects=compared,
    )
    further = other_figures(view, "reference", (*_TEXTS, *_FORMS, *_ELSEWHERE))
    blocks = (*tables, _itself(view, references), by_family, further)
    return _section(tuple(b for b in blocks if b is not None))


def _itself(view: View, references: list[Subject]) -> Table:
    return Table(
        caption="The reference against itself: identical repeats",
        columns=(
            Column(heading="Reference"),
            Column(heading=term("emr").heading, hint=term("emr").definition, numeric=True),
            Column(heading=term(_BITS).heading, hint=term(_BITS).definition, numeric=True),
            Column(heading="Notes", screen=False),
        ),
        rows=tuple(
            (
                Cell(text=view.name(s)),
                named_cell(view, "repeat", "emr", s),
                named_cell(view, "repeat", _BITS, s),
                Cell(text="; ".join(view.notes_of(s.provider))),
            )
            for s in references
        ),
    )


def _section(blocks: tuple[Table | Paragraph, ...]) -> Section:
    return Section(
        anchor="reference",
        title="Does each provider agree with the reference?",
        lead="The reference runs the same model under known settings. Differing from it means: not the same "
        "computation. It does not by itself mean: worse.",
        blocks=blocks,
    )
