"""How far conversations went the same way in, the answer to "In which round do conversations part?" out."""

from __future__ import annotations

from collections.abc import Sequence

from tempzero.reports.document import Cell, Column, Section, Table
from tempzero.reports.lookup import Subject, View
from tempzero.reports.numbers import UNDEFINED, p_value_text, value_text
from tempzero.types.concluded import ConversationRounds

_NEVER = "in no round"


def build_conversations_section(view: View) -> Section:
    """Conversations in which the model's own answers went back to it; nothing where the run holds none."""
    own = [c for c in view.analysis.conversations if c.right is None]
    pairs = [c for c in view.analysis.conversations if c.right is not None]
    return Section(
        anchor="conversations",
        title="In which round do conversations part?",
        lead="The model's own answers go back to it, so that behind the first difference two conversations ask other "
        "questions. A share is that of the pairs whose answers are all the same up to that round, mean over "
        "conversations; every other figure of this report compares answers to the same history only. A p-value is of "
        "exchanging whole conversations between the two sides.",
        blocks=tuple(
            _lay_out_rounds(view, caption, shown)
            for caption, shown in (("A provider's own repeats", own), ("Two sides", pairs))
            if shown
        ),
    )


def _lay_out_rounds(view: View, caption: str, shown: Sequence[ConversationRounds]) -> Table:
    rounds = max(len(c.shares) for c in shown)
    tested = any(c.right is not None for c in shown)
    return Table(
        caption=f"{caption}: share of pairs still the same after each round",
        columns=(
            Column(heading="Provider"),
            Column(heading="parts first"),
            *(Column(heading=f"round {n}", numeric=True, screen=n in (1, rounds)) for n in range(1, rounds + 1)),
            *((Column(heading="own repeats, to the end", numeric=True), Column(heading="test")) if tested else ()),
            Column(heading="conversations", numeric=True),
        ),
        rows=tuple(_row_of(view, c, rounds, tested=tested) for c in shown),
    )


def _row_of(view: View, c: ConversationRounds, rounds: int, *, tested: bool) -> tuple[Cell, ...]:
    left = view.name(Subject(provider=c.left, condition=c.condition))
    first = _NEVER if c.first_round is None else f"in round {c.first_round}, {c.first_conversation}"
    shares = [*c.shares, *(None for _ in range(rounds - len(c.shares)))]
    floor = next((f for f in reversed(c.floors) if f is not None), None)
    test = UNDEFINED if c.p_value is None else p_value_text(c.p_value)
    return (
        Cell(text=left if c.right is None else f"{left} and {c.right}"),
        Cell(text=first, tone="good" if c.first_round is None else "watch"),
        *(Cell(text=_share_text(share)) for share in shares),
        *((Cell(text=_share_text(floor)), Cell(text=test)) if tested else ()),
        Cell(text=str(c.conversations)),
    )


def _share_text(share: float | None) -> str:
    return UNDEFINED if share is None else value_text(share, "share")
