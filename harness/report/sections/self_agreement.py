"""Figures of kind repeat in, the answer to "Does each provider agree with itself?" out."""

from __future__ import annotations

from harness.report.document import Section
from harness.report.lookup import View
from harness.report.sections.figure_tables import family_table, other_figures, provider_table

_METRICS = ("emr", "tarr", "tara", "unique_outputs", "modal_share", "ned")
_BITS = "bit_identical_share"
_ACCURACY = ("best_accuracy", "worst_accuracy", "accuracy_spread")


def build(view: View) -> Section:
    """Self-agreement of every provider."""
    table = provider_table(
        view,
        caption="Agreement of each provider's repeats",
        kind="repeat",
        metrics=_METRICS,
        on_screen=("emr", "tarr", "unique_outputs"),
    )
    by_family = family_table(view, caption="Same text again (EMR), by prompt family", kind="repeat", metric="emr")
    # Best and worst accuracy belong to the section on answers, identical bits to the reference.
    further = other_figures(view, "repeat", (*_METRICS, *_ACCURACY, _BITS))
    return Section(
        anchor="self",
        title="Does each provider agree with itself?",
        lead="The same prompt, asked again in a separate request: 1.00 means that every repeat gave the same text.",
        blocks=tuple(b for b in (table, by_family, further) if b is not None),
    )
