"""The verdict in, its section out: one sentence for the run, then every provider, worst first."""

from __future__ import annotations

from tempzero.reports.document import Block, Cell, Paragraph, Section, VerdictItem, Verdicts
from tempzero.reports.figure_wording import answered_words, look_up_cell, verdict_headline
from tempzero.reports.lookup import Subject, View
from tempzero.reports.sections.run_overview import lay_out_overview
from tempzero.types.concluded import ProviderVerdict
from tempzero.types.vocabulary import WORST_FIRST


def build_verdict_section(view: View) -> Section:
    """The verdict section."""
    ordered = sorted(
        view.verdict.providers, key=lambda p: (WORST_FIRST.index(p.outcome), _lowest_agreement(view, p.provider))
    )
    judged = [_verdict_item(view, p) for p in ordered]
    blocks: list[Block] = [
        lay_out_overview(view),
        Verdicts(outcome=view.verdict.outcome, headline=verdict_headline(view.verdict), judged=tuple(judged)),
        *(Paragraph(text=f"About the set: {message}") for message in view.verdict.about_set),
        *(
            Paragraph(text=f"Skipped: {s.provider}: {s.reason}. It was not asked and is not judged.", tone="muted")
            for s in view.analysis.skipped
        ),
        *(Paragraph(text=f"Note: {note}", tone="muted") for note in view.other_notes()),
    ]
    return Section(anchor="verdict", title="Verdict", lead="", blocks=tuple(blocks))


def _lowest_agreement(view: View, provider: str) -> float:
    """A provider's lowest agreement, with itself or the reference: it orders those with the same outcome."""
    subjects = [s for s in view.subjects("repeat") if s.provider == provider]
    figures = [view.figure("repeat", "emr", s) for s in subjects]
    figures += [view.figure("reference", "cross_emr", s, view.reference_of(provider)) for s in subjects]
    return min((f.estimate.value for f in figures if f is not None and f.estimate.value is not None), default=2.0)


def _verdict_item(view: View, verdict: ProviderVerdict) -> VerdictItem:
    subjects = [s for s in view.subjects("repeat", "coverage") if s.provider == verdict.provider]
    return VerdictItem(
        provider=verdict.provider,
        role="reference" if view.is_reference(verdict.provider) else "",
        outcome=verdict.outcome,
        reasons=verdict.reasons,
        figures=tuple(pair for s in subjects for pair in _main_figures(view, s)),
        notes=view.notes_of(verdict.provider),
    )


def _main_figures(view: View, subject: Subject) -> list[tuple[str, Cell]]:
    at = f", {subject.condition}" if len(view.conditions) > 1 else ""
    reference = view.reference_of(subject.provider)
    figures = [(f"Same text again{at}", look_up_cell(view, "repeat", "emr", subject))]
    if reference is not None:
        figures += [
            (f"Same text as the reference{at}", look_up_cell(view, "reference", "cross_emr", subject, reference)),
            (
                f"Excess divergence from the reference{at}",
                look_up_cell(view, "reference", "excess_divergence", subject, reference),
            ),
        ]
    ended = view.outcomes(subject)
    coverage = look_up_cell(view, "coverage", "coverage", subject)
    figures.append((f"Answered{at}", coverage if ended is None else Cell(text=answered_words(ended))))
    return figures
