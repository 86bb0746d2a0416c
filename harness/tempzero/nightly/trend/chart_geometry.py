"""A Series or a calendar in, the geometry that a template turns into SVG out; no markup is built here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from tempzero.nightly.trend.series import Band, Day, Mark, Point, Series

WIDTH, HEIGHT, LEFT, TOP, CELL, BAND = 720, 150, 56, 10, 14, 18
_PLOT_WIDTH = WIDTH - LEFT - 10
# A history up to so long has a tick a week, a longer one a tick a month.
_WEEKLY_DAYS = 62
# A line is broken where more days than this lie between two nights.
_GAP_DAYS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """One measure drawn: a path for the values, bars for intervals, a dashed path for the level, ticks, marks."""

    title: str
    level_name: str
    line: str
    intervals: str
    level: str
    y_ticks: tuple[tuple[float, str], ...]
    x_ticks: tuple[tuple[float, str], ...]
    marks: tuple[float, ...]
    last: str


def lay_out_chart(series: Series, days: Sequence[Day], marks: Sequence[Mark]) -> Chart:
    """Lay one measure out over all days of the calendar."""
    values = [v for p in series.points for v in (p.value, p.low, p.high) if v is not None]
    values += [v for _, v in series.levels]
    low, high = (0.0, 1.0) if series.bounded else _value_range(values)
    place = _ChartScale(len(days), low, high)
    last = series.points[-1]
    bars = "".join(
        f"M{place.x(p.day)} {place.y(p.low)}V{place.y(p.high)}"
        for p in series.points
        if p.low is not None and p.high is not None
    )
    return Chart(
        title=series.title,
        level_name=series.level_name if series.levels else "",
        line=_svg_path([(p.day, p.value) for p in series.points], place),
        intervals=bars,
        level=_svg_path(list(series.levels), place),
        y_ticks=tuple((place.y(v), f"{v:.3g}") for v in (low, (low + high) / 2, high)),
        x_ticks=find_date_ticks(days),
        marks=tuple(sorted({place.x(m.day) for m in marks if m.telling})),
        last=_describe_point(last),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class StateRow:
    """One known state: its name, and the bands in which a provider was in it, as x and width."""

    name: str
    y: float
    bands: tuple[tuple[float, float], ...]


def lay_out_bands(bands: Sequence[Band], days: Sequence[Day]) -> tuple[StateRow, ...]:
    """A row for each known state, over the days of the calendar."""
    place = _ChartScale(len(days), 0.0, 1.0)
    width = _PLOT_WIDTH / max(1, len(days) - 1)
    return tuple(
        StateRow(
            name=name,
            y=TOP + i * BAND,
            bands=tuple(
                (place.x(b.first), round((b.last - b.first) * width + max(2.0, width), 1))
                for b in bands
                if b.name == name
            ),
        )
        for i, name in enumerate(sorted({b.name for b in bands}))
    )


def find_date_ticks(days: Sequence[Day]) -> tuple[tuple[float, str], ...]:
    """Where the axis says a date, and which: the first day, and the first of each month or of every so many."""
    place = _ChartScale(len(days), 0.0, 1.0)
    if len(days) <= _WEEKLY_DAYS:
        ticks = [(i, d.date[5:] if i else d.date) for i, d in enumerate(days) if i % 7 == 0]
    else:
        ticks = [(i, d.date[:7]) for i, d in enumerate(days) if _is_tick_day(d.date, len(days))]
    return tuple((place.x(i), label) for i, label in ticks)


def label_weeks(days: Sequence[Day]) -> list[tuple[int, str]]:
    """The calendar's own axis: a month above the column of the week in which it begins, and above the first one."""
    labels: list[tuple[int, str]] = []
    for x, _, day in place_days(days):
        begins = day.date.endswith("-01") or not labels
        if begins and (not labels or x - labels[-1][0] >= 4 * CELL):
            labels.append((x, day.date[:7]))
    return labels


def place_days(days: Sequence[Day]) -> list[tuple[int, int, Day]]:
    """Column and row of each day: a column a week, Monday on top."""
    if not days:
        return []
    shift = date.fromisoformat(days[0].date).weekday()
    return [((i + shift) // 7 * CELL, (i + shift) % 7 * CELL, day) for i, day in enumerate(days)]


class _ChartScale:
    def __init__(self, days: int, low: float, high: float) -> None:
        self._days, self._low, self._high = max(1, days - 1), low, high

    def x(self, day: int) -> float:
        return round(LEFT + _PLOT_WIDTH * day / self._days, 1)

    def y(self, value: float) -> float:
        share = (value - self._low) / ((self._high - self._low) or 1.0)
        return round(TOP + HEIGHT * (1 - min(1.0, max(0.0, share))), 1)


def _svg_path(points: Sequence[tuple[int, float]], place: _ChartScale) -> str:
    parts, before = [], -_GAP_DAYS - 1
    for day, value in points:
        parts.append(f"{'L' if day - before <= _GAP_DAYS else 'M'}{place.x(day)} {place.y(value)}")
        before = day
    # A single point still shows: a line of no length with round ends is a dot.
    return "".join(parts) + ("h0" if len(parts) == 1 else "")


def _value_range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _is_tick_day(day: str, days: int) -> bool:
    months = max(1, days // 300)
    return day.endswith("-01") and (int(day[5:7]) - 1) % months == 0


def _describe_point(point: Point) -> str:
    interval = f" [{point.low:.3g}, {point.high:.3g}]" if point.low is not None and point.high is not None else ""
    number = f", n={point.n}" if point.n else ""
    return f"{point.night}: {point.value:.3g}{interval}{number}"
