"""Survival curves in, a histogram each out: what share of pairs parts within which characters, and what never does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tempzero.reports.charts import share_after, shorten_middle
from tempzero.types.concluded import SurvivalCurve

_EDGES = (0, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000)
_NAME_WIDTH, _BAR_WIDTH, _ROW_HEIGHT, _BAR_HEIGHT, _HEAD_HEIGHT = 230, 62, 50, 30, 26


@dataclass(frozen=True, kw_only=True, slots=True)
class HistogramBar:
    """One bar in pixels; `text` is its share in per cent, empty where it is nothing."""

    x: int
    y: float
    height: float
    text: str
    never: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class HistogramRow:
    """One provider or pair; `base` is the line its bars stand on."""

    name: str
    full_name: str
    base: int
    bars: tuple[HistogramBar, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Histogram:
    """Bars by row; `headings` are the places of the bars. `file` and `data` as of a HeatMap."""

    file: str
    data: str
    title: str
    summary: str
    width: int
    height: int
    bar_width: int
    headings: tuple[tuple[int, str], ...]
    rows: tuple[HistogramRow, ...]


def count_partings(curve: SurvivalCurve) -> tuple[tuple[str, float], ...]:
    """The share of pairs that part within the first 10 characters, the next 20, and so on, and that never part."""
    longest = max(curve.positions, default=0)
    edges = [edge for edge in _EDGES if edge < longest] or [0]
    found = [
        (f"{low + 1:,}–{high:,}", share_after(curve, low) - share_after(curve, high)) for low, high in pairwise(edges)
    ]
    found.append((f"{edges[-1] + 1:,} on", share_after(curve, edges[-1]) - share_after(curve, longest)))
    return (*found, ("never", share_after(curve, longest)))


def lay_out_histogram(title: str, named: Sequence[tuple[str, SurvivalCurve]], *, file: str, data: str) -> Histogram:
    """A row of bars for each curve, over the same places."""
    counted = [dict(count_partings(curve)) for _, curve in named]
    longest = max(named, key=lambda pair: max(pair[1].positions, default=0))[1]
    # A shorter curve ends in an earlier "from ... on"; that share belongs to the same place of the longest.
    places = [label for label, _ in count_partings(longest)]
    shares = [[_share_at(one, places, i) for i in range(len(places))] for one in counted]
    return Histogram(
        file=file,
        data=data,
        title=title,
        summary="; ".join(
            f"{name}: " + ", ".join(f"{p} {s:.0%}" for p, s in zip(places, row, strict=True) if s > 0)
            for (name, _), row in zip(named, shares, strict=True)
        ),
        width=_NAME_WIDTH + len(places) * _BAR_WIDTH + 4,
        height=_HEAD_HEIGHT + len(named) * _ROW_HEIGHT + 4,
        bar_width=_BAR_WIDTH - 10,
        headings=tuple((_NAME_WIDTH + i * _BAR_WIDTH + _BAR_WIDTH // 2, label) for i, label in enumerate(places)),
        rows=tuple(_lay_out_bars(name, row, i) for i, ((name, _), row) in enumerate(zip(named, shares, strict=True))),
    )


def _share_at(counted: dict[str, float], places: Sequence[str], index: int) -> float:
    place = places[index]
    if place in counted:
        return counted[place]
    start = place.split("–")[0].removesuffix(" on")
    return counted.get(f"{start} on", 0.0)


def _lay_out_bars(name: str, shares: Sequence[float], index: int) -> HistogramRow:
    base = _HEAD_HEIGHT + (index + 1) * _ROW_HEIGHT - 4
    return HistogramRow(
        name=shorten_middle(name, 32),
        full_name=name,
        base=base,
        bars=tuple(
            HistogramBar(
                x=_NAME_WIDTH + i * _BAR_WIDTH + 5,
                y=round(base - share * _BAR_HEIGHT, 1),
                height=round(share * _BAR_HEIGHT, 1),
                text="" if share <= 0 else "<1 %" if share < 0.005 else f"{share * 100:.0f} %",
                never=i == len(shares) - 1,
            )
            for i, share in enumerate(shares)
        ),
    )
