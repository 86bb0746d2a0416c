"""A View in, the report's sections out, in reading order. A new section is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tempzero.reports.document import Section, Table
from tempzero.reports.figure_wording import count_with_noun
from tempzero.reports.lookup import View
from tempzero.reports.sections import (
    answer_accuracy,
    conversations,
    coverage,
    diagnosis,
    divergences,
    finding_evidence,
    how_to_read,
    identity,
    metric_legend,
    odd_answers,
    pair_agreement,
    participants,
    prompt_by_prompt,
    provenance,
    reference,
    report_limits,
    response_repetition,
    self_agreement,
    speed_cost,
    survival,
    tokens,
    tools_formats,
    verdict,
    weight_precision,
)

SECTIONS: tuple[Callable[[View], Section], ...] = (
    verdict.build_verdict_section,
    how_to_read.build_how_to_read_section,
    participants.build_participants_section,
    self_agreement.build_self_agreement_section,
    reference.build_reference_section,
    diagnosis.build_diagnosis_section,
    weight_precision.build_precision_section,
    pair_agreement.build_agreement_section,
    survival.build_survival_section,
    conversations.build_conversations_section,
    response_repetition.build_repetition_section,
    answer_accuracy.build_answers_section,
    tools_formats.build_tools_section,
    coverage.build_coverage_section,
    identity.build_identity_section,
    odd_answers.build_odd_answers_section,
    speed_cost.build_speed_cost_section,
    prompt_by_prompt.build_prompts_section,
    finding_evidence.build_findings_section,
    divergences.build_divergences_section,
    tokens.build_tokens_section,
    provenance.build_provenance_section,
    metric_legend.build_legend_section,
    report_limits.build_limits_section,
)


def build_sections(view: View) -> tuple[Section, ...]:
    """Every section of one report that has something to show."""
    return tuple(_shorten_tables(view, section) for build in SECTIONS if (section := build(view)).blocks)


def _shorten_tables(view: View, section: Section) -> Section:
    """Without rows of providers that the pages leave out; each table says how many, and where they are."""
    return replace(
        section, blocks=tuple(_shorten_table(view, b) if isinstance(b, Table) else b for b in section.blocks)
    )


def _shorten_table(view: View, table: Table) -> Table:
    if table.columns[0].heading != "Provider":
        return table
    kept = tuple(row for row in table.rows if not view.leaves_out(_find_provider(row[0].text)))
    left_out = len(table.rows) - len(kept)
    if not left_out:
        return table
    said = f"{count_with_noun(left_out, 'more row')}, of providers that are judged no worse, are in tables/."
    return replace(table, rows=kept, more=f"{table.more} {said}".strip())


def _find_provider(label: str) -> str:
    """Whom a row's first cell names."""
    return label.removesuffix(" (reference)").split(" · ")[0]
