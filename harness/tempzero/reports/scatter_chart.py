"""Providers with a sameness and a speed or price in, the geometry of "what does sameness cost?" out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tempzero.reports.charts import LABEL_STEP, LEFT, TOP, Tick, shorten_middle, spread_labels
from tempzero.types.vocabulary import VerdictOutcome

MAX_POINTS = 24
_PLOT_WIDTH, _NAMES_WIDTH, _MARGIN = 420, 210, 14


@dataclass(frozen=True, kw_only=True, slots=True)
class ScatterValue:
    """One provider: how much of what it says is the same, and at what speed or price; with its interval, if any."""

    name: str
    outcome: VerdictOutcome
    share: float
    low: float | None
    high: float | None
    amount: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ScatterPoint:
    """A value in pixels, with its label at the right edge."""

    name: str
    label: str
    outcome: VerdictOutcome
    x: float
    y: float
    low_y: float | None
    high_y: float | None
    label_y: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scatter:
    """Sameness against an amount. `file` and `data` as of a HeatMap."""

    file: str
    data: str
    title: str
    summary: str
    x_label: str
    y_label: str
    left: int
    top: int
    right: int
    bottom: int
    width: int
    height: int
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    points: tuple[ScatterPoint, ...]


def lay_out_scatter(
    title: str, values: Sequence[ScatterValue], *, x_label: str, y_label: str, unit: str, file: str, data: str
) -> Scatter:
    """Lay out the points: amounts from 0 to the right, sameness from 0 to 1 upwards."""
    ordered = sorted(values[:MAX_POINTS], key=lambda v: (-v.share, -v.amount, v.name))
    height = max(260, len(ordered) * LABEL_STEP)
    ticks = _choose_amounts(max((v.amount for v in ordered), default=0.0))
    most = ticks[-1] or 1.0

    def to_y(share: float) -> float:
        return round(TOP + (1 - min(1.0, max(0.0, share))) * height, 1)

    def to_x(amount: float) -> float:
        return round(LEFT + (_PLOT_WIDTH - _MARGIN) * amount / most, 1)

    labels = spread_labels([to_y(v.share) for v in ordered], TOP, TOP + height)
    return Scatter(
        file=file,
        data=data,
        title=title,
        summary="; ".join(f"{v.name}: {v.share:.2f} at {v.amount:.3g} {unit}" for v in ordered),
        x_label=x_label,
        y_label=y_label,
        left=LEFT,
        top=TOP,
        right=LEFT + _PLOT_WIDTH,
        bottom=TOP + height,
        width=LEFT + _PLOT_WIDTH + _NAMES_WIDTH,
        height=TOP + height + 46,
        x_ticks=tuple(Tick(at=to_x(amount), label=f"{amount:g}") for amount in ticks),
        y_ticks=tuple(Tick(at=to_y(share), label=f"{share:g}") for share in (0, 0.25, 0.5, 0.75, 1)),
        points=tuple(
            ScatterPoint(
                name=v.name,
                label=shorten_middle(v.name, 26),
                outcome=v.outcome,
                x=to_x(v.amount),
                y=to_y(v.share),
                low_y=None if v.low is None else to_y(v.low),
                high_y=None if v.high is None else to_y(v.high),
                label_y=round(labels[i], 1),
            )
            for i, v in enumerate(ordered)
        ),
    )


def _choose_amounts(most: float) -> list[float]:
    """Round numbers from 0 to the first one that is not below `most`."""
    if most <= 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(most / 5))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power * 5 >= most)
    count = math.ceil(most / step - 1e-9)
    return [float(f"{i * step:.6g}") for i in range(count + 1)]
