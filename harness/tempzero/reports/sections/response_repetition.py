"""Figures of kind repetition in, the answer to "Do they repeat themselves, or loop?" out."""

from __future__ import annotations

from tempzero.reports.document import Section, Table
from tempzero.reports.lookup import Subject, View
from tempzero.reports.sections.figure_tables import MAX_ROWS, further_figures_table, part_table, provider_table
from tempzero.types.vocabulary import MetricName

_PLAIN: tuple[MetricName, ...] = ("loop_share", "seq_rep_4", "rep_128")
_EXCESS: tuple[MetricName, ...] = ("loop_share_excess", "seq_rep_4_excess", "rep_128_excess")


def build_repetition_section(view: View) -> Section:
    """Repetition within a response."""
    plain = provider_table(
        view,
        caption="Repetition within a response",
        kind="repetition",
        metrics=_PLAIN,
        on_screen=_PLAIN,
    )
    parts = part_table(view, caption="Part by part", kind="repetition", metrics=_PLAIN, folded=True)
    further = further_figures_table(view, "repetition", (*_PLAIN, *_EXCESS))
    return Section(
        anchor="repetition",
        title="Do they repeat themselves, or loop?",
        lead="Some prompts ask for repetition. So the excess counts: how much more a provider repeats than the "
        "reference (or, without one, its peers) on the same prompts.",
        blocks=tuple(b for b in (plain, _excess_table(view), parts, further) if b is not None),
    )


def _excess_table(view: View) -> Table | None:
    rights = {(f.left, f.condition): f.right for f in view.figures("repetition") if f.metric in _EXCESS}
    if not rights:
        return None
    subjects = [s for s in view.subjects("repetition") if (s.provider, s.condition) in rights][:MAX_ROWS]

    def right(subject: Subject) -> str | None:
        return rights[(subject.provider, subject.condition)]

    return provider_table(
        view,
        caption="Excess over the reference or the peers",
        kind="repetition",
        metrics=_EXCESS,
        on_screen=_EXCESS[:2],
        right=right,
        subjects=subjects,
    )
