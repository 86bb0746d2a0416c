"""Flags of responses, counted, in, the answer to "What was odd about the answers?" out."""

from __future__ import annotations

from collections.abc import Mapping

from tempzero.reports.document import Cell, Column, Section, Table
from tempzero.reports.lookup import Subject, View
from tempzero.reports.sections.figure_tables import MAX_ROWS
from tempzero.types.concluded import FlagCount
from tempzero.types.vocabulary import Severity

_WEIGHTS: Mapping[Severity, str] = {"finding": "finding", "remark": "worth knowing", "note": "normal service"}
_HEAVIEST_FIRST: tuple[Severity, ...] = ("finding", "remark", "note")


def build_odd_answers_section(view: View) -> Section:
    """Every flag that responses carry, by provider, those that weigh most first."""
    flags = sorted(view.analysis.flags, key=lambda f: (f.provider, f.condition, _rank(view, f), -f.count, f.flag))
    return Section(
        anchor="odd",
        title="What was odd about the answers?",
        lead="What responses show beside the answer, counted. Only what breaks the request is a finding; what honest "
        "hosts do every day is told and held against nobody.",
        blocks=(_flags_table(view, flags),) if flags else (),
    )


def _rank(view: View, one: FlagCount) -> int:
    meaning = view.flag_meaning(one)
    return _HEAVIEST_FIRST.index(meaning.severity) if meaning is not None else len(_HEAVIEST_FIRST)


def _flags_table(view: View, flags: list[FlagCount]) -> Table:
    kept = flags[:MAX_ROWS]
    return Table(
        caption="Responses, retries included, by what was seen of them",
        columns=(
            Column(heading="Provider"),
            Column(heading="It ...", hint="the flag's words; its rule stands in the table of flags"),
            Column(heading="Responses", numeric=True),
            Column(heading="Weight"),
            Column(heading="Flag", hint="its name in the records", screen=False),
            Column(heading="Seen", hint="what has to be seen for it", screen=False),
        ),
        rows=tuple(_flag_cells(view, one) for one in kept),
        grouped=True,
        more=f"{len(flags) - len(kept)} more are in tables/flags.csv." if len(flags) > len(kept) else "",
    )


def _flag_cells(view: View, one: FlagCount) -> tuple[Cell, ...]:
    meaning = view.flag_meaning(one)
    return (
        Cell(text=view.name(Subject(provider=one.provider, condition=one.condition))),
        Cell(text=meaning.words if meaning is not None else one.flag),
        Cell(text=f"{one.count:,} of {one.attempts:,}"),
        Cell(text=_WEIGHTS[meaning.severity] if meaning is not None else ""),
        Cell(text=one.flag),
        Cell(text=meaning.rule if meaning is not None else ""),
    )
