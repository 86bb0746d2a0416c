"""What first tokens say of weights in, the answer to "In which form does each hold its weights?" out."""

from __future__ import annotations

from collections.abc import Mapping

from tempzero.reports.document import Cell, Column, Paragraph, Section, Table, Tone
from tempzero.reports.lookup import View
from tempzero.types.concluded import PrecisionReading
from tempzero.types.vocabulary import ClaimState

_TONES: Mapping[ClaimState, Tone] = {"confirmed": "good", "contradicted": "bad", "untested": "muted"}


def build_precision_section(view: View) -> Section:
    """A row for each provider that gave log-probabilities on a direction pack's prompts."""
    read = view.analysis.precision
    return Section(
        anchor="precision",
        title="In which form does each hold its weights?",
        lead="By the direction in which log-probabilities of first tokens stand away from the float32 reference; see "
        "docs/fingerprint.md.",
        blocks=(_precision_table(read), *_describe_camps(view)) if read else (),
    )


def _describe_camps(view: View) -> tuple[Paragraph, ...]:
    """Who is moved alike, no form needed; of whom nothing is said, nothing is shown."""
    camps = view.analysis.moved_alike
    if not camps:
        return ()
    told = "; ".join(", ".join(camp) for camp in camps)
    words = f"Moved alike, each with each, whatever the form: {told}. Hosts of one engine that round alike are, too."
    return (Paragraph(text=words),)


def _precision_table(read: tuple[PrecisionReading, ...]) -> Table:
    return Table(
        caption="Providers, by what their first tokens say",
        columns=(
            Column(heading="Provider"),
            Column(heading="It ..."),
            Column(heading="Declared", hint="what claims.precision says of it"),
            Column(heading="Prompts", numeric=True),
            Column(heading="Moved by", numeric=True, hint="nats (root mean square) from float32, at most"),
        ),
        rows=tuple(_precision_cells(one) for one in read),
    )


def _precision_cells(one: PrecisionReading) -> tuple[Cell, ...]:
    return (
        Cell(text=one.provider),
        Cell(text=one.sentence),
        Cell(text=f"{one.standing}: {one.because}", tone=_TONES[one.standing]),
        Cell(text=str(one.prompts)),
        Cell(text="" if one.size is None or one.size_bound is None else f"{one.size:.3f}, {one.size_bound:.3f}"),
    )
