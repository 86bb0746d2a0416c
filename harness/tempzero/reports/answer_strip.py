"""Marks of providers by prompt in, the strip prompts x providers out: one picture of who answers like whom, where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tempzero.reports.charts import shorten_middle

MAX_ROWS, MAX_PROMPTS = 40, 300
_NAME_WIDTH, _HEAD_HEIGHT, _ROW_HEIGHT, _GAP = 170, 6, 22, 2
_WIDTHS = ((20, 40), (10, 100), (6, 10**9))

StripState = Literal["same", "other", "mixed", "none"]
"""Of one provider's answers to one prompt: all the commonest, all another, several, or none to compare."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StripRow:
    """One provider: a path for the cells of each state, and one over the lower half of those with several answers."""

    name: str
    full_name: str
    y: int
    same: str
    other: str
    mixed: str
    mixed_half: str
    none: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StripColumn:
    """One prompt: where it stands in the strip, and on the page."""

    x: int
    name: str
    anchor: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Strip:
    """A row for each provider, a column for each prompt. `file` and `data` as of a HeatMap."""

    file: str
    data: str
    title: str
    summary: str
    width: int
    height: int
    cell: int
    rows: tuple[StripRow, ...]
    columns: tuple[StripColumn, ...]


def lay_out_strip(
    title: str,
    prompts: Sequence[tuple[str, str]],
    states: Mapping[str, Sequence[StripState]],
    *,
    file: str,
    data: str,
) -> Strip:
    """`prompts` are names with anchors, `states` each provider's in their order; what is too many is left out."""
    shown = prompts[:MAX_PROMPTS]
    cell = next(width for width, up_to in _WIDTHS if len(shown) <= up_to)
    kept = list(states.items())[:MAX_ROWS]
    words: Mapping[StripState, str] = {
        "same": "only the commonest answer",
        "other": "only another one",
        "mixed": "several answers",
        "none": "none to compare",
    }
    return Strip(
        file=file,
        data=data,
        title=title,
        summary="; ".join(
            f"{name}: " + ", ".join(f"{words[s]} on {of.count(s)}" for s in words if s in of)
            for name, of in ((name, list(of[: len(shown)])) for name, of in kept)
        ),
        width=_NAME_WIDTH + len(shown) * cell + 4,
        height=_HEAD_HEIGHT + len(kept) * _ROW_HEIGHT + 4,
        cell=cell,
        rows=tuple(
            _lay_out_strip_row(name, of[: len(shown)], cell, _HEAD_HEIGHT + i * _ROW_HEIGHT)
            for i, (name, of) in enumerate(kept)
        ),
        columns=tuple(
            StripColumn(x=_NAME_WIDTH + i * cell, name=name, anchor=anchor) for i, (name, anchor) in enumerate(shown)
        ),
    )


def _lay_out_strip_row(name: str, states: Sequence[StripState], cell: int, y: int) -> StripRow:
    wide, high = cell - _GAP if cell > 6 else cell - 1, _ROW_HEIGHT - 4

    def draw(state: StripState, top: int, height: int) -> str:
        return "".join(
            f"M{_NAME_WIDTH + i * cell} {top}h{wide}v{height}h-{wide}z" for i, s in enumerate(states) if s == state
        )

    return StripRow(
        name=shorten_middle(name, 22),
        full_name=name,
        y=y,
        same=draw("same", y, high),
        other=draw("other", y, high),
        mixed=draw("mixed", y, high),
        mixed_half=draw("mixed", y + high // 2, high - high // 2),
        none=draw("none", y + high // 2 - 1, 2),
    )
