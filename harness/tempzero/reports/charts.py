"""Figures and curves in, the geometry of the report's charts out; the templates draw it as inline SVG.

No markup is built here, so that every name reaches the page through the templates' escaping.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tempzero.types.concluded import SurvivalCurve

CELL_WIDTH, CELL_HEIGHT = 116, 62
_LABEL_WIDTH, _HEAD_HEIGHT = 190, 34
_STEPS = 10
COLOURS, DASHES = 8, 6


@dataclass(frozen=True, kw_only=True, slots=True)
class HeatCell:
    """One cell: `step` 0 (no agreement) to 9 (full) picks the shade, None where there is no value."""

    x: int
    y: int
    step: int | None
    value: str
    lines: tuple[str, ...]
    own: bool
    marked: bool
    description: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HeatLabel:
    """A row's or column's provider: the text that fits, and the whole name."""

    x: int
    y: int
    text: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HeatMap:
    """Provider x provider: agreement with each other, and on the diagonal with oneself.

    `file` names the picture in the run folder's charts/, `data` the table beside it that holds its numbers.
    """

    file: str
    data: str
    title: str
    summary: str
    width: int
    height: int
    rows: tuple[HeatLabel, ...]
    columns: tuple[HeatLabel, ...]
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class HeatValue:
    """What one cell shows: the share that picks the shade, and its texts."""

    share: float | None
    value: str
    lines: tuple[str, ...]
    marked: bool
    description: str


def lay_out_heat_map(
    title: str, names: Sequence[str], values: Sequence[Sequence[HeatValue]], *, summary: str, file: str, data: str
) -> HeatMap:
    """Lay out a square map; `values[row][column]` in the order of `names`."""
    rows = tuple(
        HeatLabel(x=_LABEL_WIDTH - 10, y=_HEAD_HEIGHT + i * CELL_HEIGHT + CELL_HEIGHT // 2 + 4, text=t, name=name)
        for i, name in enumerate(names)
        for t in [shorten_middle(name, 26)]
    )
    columns = tuple(
        HeatLabel(x=_LABEL_WIDTH + i * CELL_WIDTH + CELL_WIDTH // 2, y=_HEAD_HEIGHT - 10, text=t, name=name)
        for i, name in enumerate(names)
        for t in [shorten_middle(name, 16)]
    )
    cells = tuple(
        _lay_out_heat_cell(row, column, value) for row, line in enumerate(values) for column, value in enumerate(line)
    )
    return HeatMap(
        file=file,
        data=data,
        title=title,
        summary=summary,
        width=_LABEL_WIDTH + len(names) * CELL_WIDTH + 2,
        height=_HEAD_HEIGHT + len(names) * CELL_HEIGHT + 2,
        rows=rows,
        columns=columns,
        cells=cells,
    )


def _lay_out_heat_cell(row: int, column: int, value: HeatValue) -> HeatCell:
    step = None if value.share is None else max(0, min(_STEPS - 1, math.floor(value.share * _STEPS)))
    return HeatCell(
        x=_LABEL_WIDTH + column * CELL_WIDTH,
        y=_HEAD_HEIGHT + row * CELL_HEIGHT,
        step=step,
        value=value.value,
        lines=value.lines,
        own=row == column,
        marked=value.marked,
        description=value.description,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """A mark on an axis, in pixels, with its label."""

    at: float
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveLine:
    """One curve as an SVG path, told from the others by colour, dashes and a label at its end."""

    name: str
    label: str
    path: str
    end_y: float
    label_y: float
    colour: int
    dash: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveChart:
    """Curves with named lines over one axis. `file` and `data` as of a HeatMap."""

    file: str
    data: str
    title: str
    summary: str
    x_label: str
    left: int
    top: int
    right: int
    bottom: int
    width: int
    height: int
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[CurveLine, ...]


LEFT, TOP, PLOT_WIDTH, LABEL_STEP = 46, 14, 560, 17
_NAMES_WIDTH = 230


MOST_LINES = 6
"""In one plot; more of them are drawn in several plots over the same axes."""


def lay_out_curve_charts(
    title: str, named: Sequence[tuple[str, SurvivalCurve]], *, file: str, data: str
) -> tuple[CurveChart, ...]:
    """Lay out the curves, best ending first; each is a step that starts at 1 before the first character."""
    ordered = sorted(named, key=lambda pair: (-_end_share(pair[1]), pair[0]))
    longest = max((c.positions[-1] for _, c in ordered if c.positions), default=1) or 1
    parts = [ordered[i : i + MOST_LINES] for i in range(0, len(ordered), MOST_LINES)]
    return tuple(
        _lay_out_curve_plot(
            f"{title} ({number} of {len(parts)})" if len(parts) > 1 else title,
            part,
            longest,
            file=f"{file}-{number}" if len(parts) > 1 else file,
            data=data,
        )
        for number, part in enumerate(parts, start=1)
    )


def _lay_out_curve_plot(
    title: str, ordered: Sequence[tuple[str, SurvivalCurve]], longest: int, *, file: str, data: str
) -> CurveChart:
    plot_height = max(260, len(ordered) * LABEL_STEP)
    bottom = TOP + plot_height
    ends = [TOP + (1 - _end_share(c)) * plot_height for _, c in ordered]
    labels = spread_labels(ends, TOP, bottom)
    lines = tuple(
        CurveLine(
            name=name,
            label=f"{shorten_middle(name, 24)} {_end_share(curve):.2f}",
            path=_step_path(curve, longest, plot_height),
            end_y=round(ends[i], 1),
            label_y=round(labels[i], 1),
            colour=i % COLOURS,
            dash=i % DASHES,
        )
        for i, (name, curve) in enumerate(ordered)
    )
    return CurveChart(
        file=file,
        data=data,
        title=title,
        summary="; ".join(f"{name}: {_end_share(c):.2f} of {c.pairs:,} pairs never part" for name, c in ordered),
        x_label="characters from the start of the text",
        left=LEFT,
        top=TOP,
        right=LEFT + PLOT_WIDTH,
        bottom=bottom,
        width=LEFT + PLOT_WIDTH + _NAMES_WIDTH,
        height=bottom + 46,
        x_ticks=tuple(Tick(at=round(_position_x(p, longest), 1), label=f"{p:,}") for p in _round_positions(longest)),
        y_ticks=tuple(Tick(at=round(TOP + (1 - s) * plot_height, 1), label=f"{s:g}") for s in (0, 0.25, 0.5, 0.75, 1)),
        lines=lines,
    )


def share_after(curve: SurvivalCurve, position: int) -> float:
    """Share of pairs still identical after `position` characters."""
    share = 1.0
    for at, value in zip(curve.positions, curve.shares, strict=True):
        if at > position:
            break
        share = value
    return share


def _end_share(curve: SurvivalCurve) -> float:
    return curve.shares[-1] if curve.shares else 1.0


def _position_x(position: int, longest: int) -> float:
    return LEFT + PLOT_WIDTH * position / longest


def _step_path(curve: SurvivalCurve, longest: int, plot_height: int) -> str:
    """A step path that drops at the curve's own positions."""
    parts = [f"M{LEFT} {TOP}"]
    height = float(TOP)
    for position, share in zip(curve.positions, curve.shares, strict=True):
        x, y = round(_position_x(position, longest), 1), round(TOP + (1 - share) * plot_height, 1)
        if y != height:
            parts.append(f"H{x:g}V{y:g}")
            height = y
    parts.append(f"H{LEFT + PLOT_WIDTH}")
    return "".join(parts)


def _round_positions(longest: int) -> list[int]:
    """About eight round numbers from 0 to `longest`."""
    rough = longest / 8
    power = 10 ** math.floor(math.log10(rough)) if rough >= 1 else 1
    step = next((int(m * power) for m in (1, 2, 2.5, 5, 10) if m * power >= rough and m * power >= 1), 1)
    return list(range(0, longest + 1, step))


def spread_labels(wanted: Sequence[float], top: float, bottom: float) -> list[float]:
    """Label heights near the wanted ones (ascending), none nearer than a line to the next, inside the plot."""
    placed: list[float] = []
    for at in wanted:
        placed.append(max(at, placed[-1] + LABEL_STEP if placed else top))
    floor = bottom
    for i in range(len(placed) - 1, -1, -1):
        placed[i] = min(placed[i], floor)
        floor = placed[i] - LABEL_STEP
    return placed


def shorten_middle(name: str, limit: int) -> str:
    """The name, its middle left out where it is longer than `limit` characters."""
    if len(name) <= limit:
        return name
    head = (limit - 1) // 2
    return f"{name[:head]}…{name[len(name) - (limit - 1 - head) :]}"
