"""Figures of kind repeat in, the answer to "Does each provider agree with itself?" out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tempzero.reports.document import ON_PAPER, Cell, Column, Section, Table
from tempzero.reports.figure_wording import figure_cell, look_up_cell
from tempzero.reports.lookup import Subject, View
from tempzero.reports.numbers import UNDEFINED
from tempzero.reports.sections.figure_tables import (
    family_table,
    further_figures_table,
    metric_column,
    part_table,
    provider_table,
)
from tempzero.types.concluded import Figure
from tempzero.types.vocabulary import MetricName

_METRICS: tuple[MetricName, ...] = ("emr", "tarr", "tara", "unique_outputs", "modal_share", "ned")
_CONDITIONS: tuple[MetricName, ...] = ("cross_emr", "excess_divergence", "noise_floor", "cross_ned")
_SURVIVORS: MetricName = "survivors"
_MOST_COLUMNS = 12
_AGAINST_ITSELF: tuple[MetricName, ...] = ("aa_false_alarms", "halves_excess")
_BITS: MetricName = "bit_identical_share"
_ACCURACY: tuple[MetricName, ...] = ("best_accuracy", "worst_accuracy", "accuracy_spread")


def build_self_agreement_section(view: View) -> Section:
    """Self-agreement of every provider."""
    table = provider_table(
        view,
        caption="Agreement of each provider's repeats",
        kind="repeat",
        metrics=_METRICS,
        on_screen=("emr", "tarr", "unique_outputs"),
    )
    accused = provider_table(
        view,
        caption="Would the test accuse a provider of differing from itself?",
        kind="repeat",
        metrics=_AGAINST_ITSELF,
        on_screen=(),
    )
    parts = part_table(
        view, caption="Part by part", kind="repeat", metrics=("emr", "tarr", "unique_outputs", "ned"), folded=False
    )
    by_family = family_table(view, caption="Same text again (EMR), by prompt family", kind="repeat", metric="emr")
    # Best and worst accuracy belong to the section on answers, identical bits to the reference.
    further = further_figures_table(view, "repeat", (*_METRICS, *_AGAINST_ITSELF, _SURVIVORS, *_ACCURACY, _BITS))
    return Section(
        anchor="self",
        title="Does each provider agree with itself?",
        lead="The same prompt, asked again in a separate request: 1.00 means that every repeat gave the same "
        "answer, in all of its parts: reasoning, text, tool calls, refusal.",
        blocks=tuple(
            b
            for b in (
                table,
                parts,
                _conditions_table(view),
                _survivors_table(view),
                _tarr_by_k_table(view),
                by_family,
                accused,
                further,
            )
            if b is not None
        ),
    )


def _conditions_table(view: View) -> Table | None:
    """One provider's answers under two conditions, text by text, beside what its own noise lets expect."""
    pairs = [f for f in view.figures("conditions") if f.metric == "cross_emr"]
    if not pairs:
        return None
    return Table(
        caption="One provider under two conditions",
        columns=(
            Column(heading="Provider"),
            Column(heading="Condition"),
            Column(heading="against"),
            *(metric_column(view, m, screen=m in _CONDITIONS[:2]) for m in _CONDITIONS),
        ),
        rows=tuple(
            (
                Cell(text=f.left),
                Cell(text=f.condition),
                Cell(text=f.right or ""),
                *(
                    look_up_cell(view, "conditions", m, Subject(provider=f.left, condition=f.condition), f.right)
                    for m in _CONDITIONS
                ),
            )
            for f in pairs
        ),
    )


def _tarr_by_k_table(view: View) -> Table | None:
    """TARr@k at every k: as published figures have it. Values of one column may be compared, those of a row not."""
    found = view.by_k("repeat", "tarr")
    words = view.metric("tarr")
    return (
        _repeats_table(found, view, caption=f"{words.title}, by the number of repeats k", folded=True)
        if found
        else None
    )


def _survivors_table(view: View) -> Table | None:
    """Of providers that were no longer asked after a divergence: prompts still without one after k repeats."""
    found = view.by_k("repeat", _SURVIVORS)
    caption = "Asking stopped at the first divergence: prompts without one after k repeats"
    return _repeats_table(found, view, caption=caption, folded=False) if found else None


def _repeats_table(found: Mapping[Subject, Mapping[int, Figure]], view: View, *, caption: str, folded: bool) -> Table:
    marks = _thin_out_marks(sorted({k for figures in found.values() for k in figures}))
    return Table(
        caption=caption,
        columns=(Column(heading="Provider"), *(Column(heading=f"k={k}", numeric=True) for k in marks)),
        rows=tuple(
            (Cell(text=view.label(subject)), *(_repeats_cell(view, figures.get(k)) for k in marks))
            for subject, figures in found.items()
        ),
        folded=folded,
        media=ON_PAPER,
    )


def _repeats_cell(view: View, figure: Figure | None) -> Cell:
    if figure is None:
        return Cell(text=UNDEFINED, why="not asked so often", tone="muted")
    return figure_cell(figure, replace(view.metric(figure.metric), per_k=False))


def _thin_out_marks(marks: Sequence[int]) -> Sequence[int]:
    """All of them; of too many the first few, then every second, third, ... and the last."""
    step = -(-len(marks) // _MOST_COLUMNS)
    return sorted({*marks[:4], *marks[::step], marks[-1]})
