"""Who took part in, the section that introduces them out: claimed model, precision, settings, who was skipped."""

from __future__ import annotations

from tempzero.reports.document import ON_PAPER, Cell, Column, Section, Table
from tempzero.reports.lookup import View
from tempzero.reports.numbers import UNDEFINED
from tempzero.types.concluded import IMPORTED, ProviderFacts


def build_participants_section(view: View) -> Section:
    """Who was compared."""
    blocks = [_participants_table(view)]
    if view.analysis.skipped:
        blocks.append(_skipped_table(view))
    return Section(
        anchor="compared",
        title="Who was compared?",
        lead="Providers are compared only with those that claim the same model. What they claim is recorded, not "
        "believed.",
        blocks=tuple(blocks),
        media=ON_PAPER,
    )


def _participants_table(view: View) -> Table:
    headings = (
        ("Provider", False, ""),
        ("Claimed model", False, "the weights it says it serves"),
        ("Model id sent", False, "the field model of the request"),
        ("Declared precision", False, "what it says of itself"),
        ("Role", False, ""),
        ("Engine", False, "how it was asked"),
        ("In flight", True, "requests under way at a time"),
        ("Repeats", True, "how often each prompt was asked"),
        ("Temperature", True, "as sent; – where the field was left out, or nobody recorded it"),
    )
    return Table(
        caption="Providers",
        columns=tuple(Column(heading=h, numeric=n, hint=hint) for h, n, hint in headings),
        rows=tuple(_participant_cells(p) for p in view.analysis.providers),
    )


def _participant_cells(facts: ProviderFacts) -> tuple[Cell, ...]:
    role = "reference" if facts.is_reference else "compared"
    if not facts.pinned:
        role += ", upstream not pinned"
    imported = facts.engine == IMPORTED
    if facts.temperature is None:
        why = "not recorded, or not one" if imported else "left out of the request"
        temperature = Cell(text=UNDEFINED, why=why, tone="muted")
    else:
        temperature = Cell(text=f"{facts.temperature:g}")
    precision = (
        Cell(text=facts.claimed_precision)
        if facts.claimed_precision
        else Cell(text=UNDEFINED, why="not declared", tone="muted")
    )
    return (
        Cell(text=facts.name),
        Cell(text=facts.claimed_model),
        Cell(text=facts.model),
        precision,
        Cell(text=role),
        Cell(text=facts.engine),
        Cell(text=UNDEFINED, why="not recorded", tone="muted") if imported else Cell(text=str(facts.concurrency)),
        Cell(text=str(facts.repeats)),
        temperature,
    )


def _skipped_table(view: View) -> Table:
    return Table(
        caption="Skipped: configured, but not asked",
        columns=(Column(heading="Provider"), Column(heading="Why")),
        rows=tuple((Cell(text=s.provider), Cell(text=s.reason)) for s in view.analysis.skipped),
    )
