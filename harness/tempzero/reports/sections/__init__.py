"""A View in, the report's sections out, in reading order. A new section is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from tempzero.reports.document import Section
from tempzero.reports.lookup import View
from tempzero.reports.sections import (
    agreement,
    answers,
    compared,
    coverage,
    diagnosis,
    divergences,
    findings,
    how_to_read,
    identity,
    legend,
    limits,
    prompts,
    provenance,
    reference,
    repetition,
    self_agreement,
    speed_cost,
    survival,
    tokens,
    verdict,
)

SECTIONS: tuple[Callable[[View], Section], ...] = (
    verdict.build,
    how_to_read.build,
    compared.build,
    self_agreement.build,
    reference.build,
    diagnosis.build,
    agreement.build,
    survival.build,
    repetition.build,
    answers.build,
    coverage.build,
    identity.build,
    speed_cost.build,
    prompts.build,
    findings.build,
    divergences.build,
    tokens.build,
    provenance.build,
    legend.build,
    limits.build,
)


def sections(view: View) -> tuple[Section, ...]:
    """Every section of one report."""
    return tuple(build(view) for build in SECTIONS)
