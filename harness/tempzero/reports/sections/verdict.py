"""The verdict in, its section out: one sentence for the run, then every provider, worst first."""

from __future__ import annotations

from tempzero.reports.document import Block, Cell, Paragraph, Section, VerdictItem, Verdicts
from tempzero.reports.figure_wording import answered_words, figure_cell, look_up_cell, verdict_headline
from tempzero.reports.lookup import Subject, View
from tempzero.reports.provider_sentences import describe_provider
from tempzero.reports.sections.finding_evidence import WEIGHT_WORDS
from tempzero.reports.sections.run_overview import lay_out_overview
from tempzero.types.concluded import IMPORTED, ProviderVerdict
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
        *_explain_no_reference(view),
        *_list_skipped(view),
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
        anchor=view.provider_anchors[verdict.provider],
        provider=verdict.provider,
        role="reference" if view.is_reference(verdict.provider) else "",
        outcome=verdict.outcome,
        sentences=describe_provider(view, verdict.provider),
        reasons=verdict.reasons,
        figures=tuple(pair for s in subjects for pair in _main_figures(view, s)),
        findings=tuple(
            (f"finding-{number}", view.rule_words(found.rule) + WEIGHT_WORDS[found.weight])
            for number, found in enumerate(view.analysis.findings, start=1)
            if found.subject == verdict.provider and found.weight != "about_set"
        ),
        notes=view.notes_of(verdict.provider),
    )


def _main_figures(view: View, subject: Subject) -> list[tuple[str, Cell]]:
    """Four numbers: the same again, the same as the reference or the nearest peer, answered, how fast."""
    at = f", {subject.condition}" if len(view.conditions) > 1 else ""
    ended = view.outcomes(subject)
    coverage = look_up_cell(view, "coverage", "coverage", subject)
    compared = _compared_figure(view, subject)
    return [
        (f"Same text again{at}", look_up_cell(view, "repeat", "emr", subject)),
        *([(f"{compared[0]}{at}", compared[1])] if compared is not None else []),
        (f"Answered{at}", coverage if ended is None else Cell(text=answered_words(ended))),
        (f"Answer tokens a second{at}", look_up_cell(view, "speed", "completion_tokens_per_s", subject)),
    ]


def _compared_figure(view: View, subject: Subject) -> tuple[str, Cell] | None:
    reference = view.reference_of(subject.provider)
    if reference is not None:
        cell = look_up_cell(view, "reference", "cross_emr", subject, reference)
        return "Same text as the reference", cell
    if view.is_reference(subject.provider):
        return "Bit-identical repeats", look_up_cell(view, "repeat", "bit_identical_share", subject)
    peers = [s.provider for s in view.subjects("repeat", "coverage") if s.condition == subject.condition]
    shared = {
        peer: figure
        for peer in peers
        if peer != subject.provider and (figure := view.against("cross_emr", subject, peer)) is not None
    }
    if not shared:
        return None
    nearest = max(shared, key=lambda peer: -1.0 if (v := shared[peer].estimate.value) is None else v)
    return f"Same text as the nearest, {nearest}", figure_cell(shared[nearest], view.metric("cross_emr"))


def _list_skipped(view: View) -> list[Paragraph]:
    """Who is configured and was not asked, those with one reason together."""
    by_reason: dict[str, list[str]] = {}
    for one in view.analysis.skipped:
        by_reason.setdefault(one.reason, []).append(one.provider)
    if not by_reason:
        return []
    told = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())
    return [Paragraph(text=f"Skipped, so not asked and not judged: {told}.", tone="muted")]


def _explain_no_reference(view: View) -> list[Paragraph]:
    """Nothing where one took part; else which one is off and why, or that none is named."""
    if view.analysis.references or not view.analysis.providers:
        return []
    why = {s.provider: s.reason for s in view.analysis.skipped}
    if view.analysis.absent_references:
        off = "; ".join(f"{name}: {why.get(name, 'not asked')}" for name in view.analysis.absent_references)
        words = f"No reference took part ({off}), so providers are compared with each other only."
    elif all(p.engine == IMPORTED for p in view.analysis.providers):
        words = "These records hold no reference, so providers are compared with each other only."
    else:
        words = (
            "No reference is named under run.reference in providers.yaml, so providers are compared with each other "
            "only."
        )
    return [Paragraph(text=words, tone="muted")]
