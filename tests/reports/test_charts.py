"""The geometry of the charts: shades, steps, labels that do not collide, bounded size."""

from __future__ import annotations

import itertools
import re

import pytest
from tempzero.reports.answer_strip import lay_out_strip
from tempzero.reports.charts import (
    LEFT,
    MOST_LINES,
    PLOT_WIDTH,
    TOP,
    CurveChart,
    HeatMap,
    HeatValue,
    lay_out_curve_charts,
    lay_out_heat_map,
    share_after,
)
from tempzero.reports.parting_histogram import count_partings, lay_out_histogram
from tempzero.reports.scatter_chart import ScatterValue, lay_out_scatter
from tempzero.types.concluded import SurvivalCurve


def _curve(positions: tuple[int, ...], shares: tuple[float, ...], left: str = "a") -> SurvivalCurve:
    return SurvivalCurve(
        kind="repeat", left=left, right=None, condition="default", positions=positions, shares=shares, pairs=10
    )


def _draw(*named: tuple[str, SurvivalCurve]) -> CurveChart:
    (chart,) = lay_out_curve_charts("t", named, file="f", data="d")
    return chart


def _map(names: list[str], values: list[list[HeatValue]]) -> HeatMap:
    return lay_out_heat_map("t", names, values, summary="", file="f", data="d")


def _value(share: float | None) -> HeatValue:
    return HeatValue(share=share, value="", lines=(), marked=False, description="")


@pytest.mark.parametrize(("share", "step"), [(0.0, 0), (0.05, 0), (0.55, 5), (0.999, 9), (1.0, 9), (None, None)])
def test_the_shade_follows_the_share(share: float | None, step: int | None) -> None:
    """Ten shades from no agreement to full; no value has no shade."""
    assert _map(["a"], [[_value(share)]]).cells[0].step == step


def test_long_names_keep_both_ends_and_the_whole_name() -> None:
    """Providers that differ only at the end of a long name stay apart on the map."""
    names = ["very-long-provider-name-ending-in-q4", "very-long-provider-name-ending-in-q8"]
    drawn = _map(names, [[_value(1.0)] * 2] * 2)
    assert len({label.text for label in drawn.columns}) == 2
    assert [label.name for label in drawn.rows] == names


def test_a_curve_is_a_step_that_starts_at_one() -> None:
    """The share falls where pairs part and stays between: no sloping line that nobody measured."""
    chart = _draw(("a", _curve((0, 50, 100), (1.0, 0.5, 0.25))))
    assert re.fullmatch(r"M46 14H\d+V\d+H\d+V\d+H606", chart.lines[0].path)
    assert chart.lines[0].label == "a 0.25"


def test_share_after_a_position() -> None:
    """Between two positions the earlier share holds; before the first one all pairs are identical."""
    curve = _curve((10, 20), (0.5, 0.25))
    assert [share_after(curve, p) for p in (0, 9, 10, 19, 20, 999)] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_every_step_stands_at_a_position_of_the_table() -> None:
    """The caption says that a curve drops where pairs part: so each step of the drawing is a row of the data."""
    curve = _curve((0, 3, 4, 5, 77, 400, 401), (1.0, 0.9, 0.8, 0.7, 0.5, 0.3, 0.25))
    chart = _draw(("a", curve), ("b", _curve((0, 500), (1.0, 0.5), "b")))
    path = next(line.path for line in chart.lines if line.name == "a")
    steps = [(float(x), float(y)) for x, y in re.findall(r"H([\d.]+)V([\d.]+)", path)]
    height = chart.bottom - chart.top
    wanted = [
        (LEFT + PLOT_WIDTH * at / 500, TOP + (1 - share) * height)
        for at, share in zip(curve.positions[1:], curve.shares[1:], strict=True)
    ]
    assert len(steps) == len(wanted)
    assert all(s == pytest.approx(w, abs=0.06) for s, w in zip(steps, wanted, strict=True))


def test_at_most_six_lines_stand_in_one_plot() -> None:
    """More curves are drawn in several plots over the same axes, so that each can be followed."""
    named = [(f"p{i:02d}", _curve((0, 10 * (i + 1)), (1.0, 1 - i / 20), f"p{i:02d}")) for i in range(14)]
    charts = lay_out_curve_charts("t", named, file="f", data="d")
    assert [len(chart.lines) for chart in charts] == [6, 6, 2]
    assert len({tuple(tick.at for tick in chart.x_ticks) for chart in charts}) == 1
    assert len({chart.file for chart in charts}) == len({chart.title for chart in charts}) == 3
    assert [line.name for chart in charts for line in chart.lines] == [name for name, _ in named]


def test_a_histogram_counts_what_the_curve_lost() -> None:
    """Its shares and that of the pairs which never part make one, and each stands at its characters."""
    curve = _curve((0, 5, 25, 26, 700), (1.0, 0.9, 0.6, 0.5, 0.25))
    assert dict(count_partings(curve)) == pytest.approx(
        {"1–10": 0.1, "11–30": 0.4, "31–100": 0, "101–300": 0, "301 on": 0.25, "never": 0.25}
    )
    drawn = lay_out_histogram("t", [("a", curve), ("b", _curve((0, 8), (1.0, 0.5), "b"))], file="f", data="d")
    assert [bar.text for bar in drawn.rows[0].bars] == ["10 %", "40 %", "", "", "25 %", "25 %"]
    assert [bar.text for bar in drawn.rows[1].bars] == ["50 %", "", "", "", "", "50 %"]


def test_a_scatter_has_its_points_inside_the_axes() -> None:
    """Sameness upwards from 0 to 1, the amount from 0 to the right, whatever its size."""
    for most in (0.003, 1.0, 17.0, 99_000.0):
        values = [
            ScatterValue(name=f"p{i}", outcome="pass", share=i / 3, low=0.0, high=1.0, amount=most * i / 3)
            for i in range(4)
        ]
        drawn = lay_out_scatter("t", values, x_label="x", y_label="y", unit="u", file="f", data="d")
        assert all(drawn.left <= point.x <= drawn.right for point in drawn.points)
        assert all(drawn.top <= point.y <= drawn.bottom for point in drawn.points)
        assert drawn.points[0].y == drawn.y_ticks[-1].at
        assert float(drawn.x_ticks[-1].label) >= most * 0.999


def test_the_strip_has_a_cell_for_each_provider_and_prompt() -> None:
    """What each answered is told by shape as well as by shade: whole, half, or a line."""
    strip = lay_out_strip(
        "t",
        [("p0", "prompt-p0"), ("p1", "prompt-p1"), ("p2", "prompt-p2"), ("p3", "prompt-p3")],
        {"a": ["same", "other", "mixed", "none"], "b": ["same"] * 4},
        file="f",
        data="d",
    )
    assert [row.same.count("M") for row in strip.rows] == [1, 4]
    assert [len(path) > 0 for path in (strip.rows[0].other, strip.rows[0].mixed_half, strip.rows[0].none)] == [True] * 3
    assert [column.anchor for column in strip.columns] == ["prompt-p0", "prompt-p1", "prompt-p2", "prompt-p3"]
    assert "a: only the commonest answer on 1" in strip.summary


@pytest.mark.parametrize("end", [0.0, 0.5, 1.0])
def test_labels_do_not_collide(end: float) -> None:
    """Curves that end together still have readable labels inside the picture."""
    named = [(f"p{i}", _curve((0, 10), (1.0, end), f"p{i}")) for i in range(MOST_LINES)]
    chart = _draw(*named)
    heights = sorted(line.label_y for line in chart.lines)
    assert all(b - a >= 16.9 for a, b in itertools.pairwise(heights))
    assert chart.top <= heights[0] <= heights[-1] <= chart.bottom


def test_curves_differ_in_more_than_colour() -> None:
    """Neighbours in the order differ in dashes too, and every one carries its name."""
    named = [(f"p{i}", _curve((0, 10), (1.0, 0.5), f"p{i}")) for i in range(MOST_LINES)]
    lines = _draw(*named).lines
    assert len({(line.colour, line.dash) for line in lines}) == MOST_LINES
    assert all(a.dash != b.dash for a, b in itertools.pairwise(lines))


def test_an_empty_curve_draws_nothing_wrong() -> None:
    """No positions: nothing parted, the line stays at one."""
    chart = _draw(("a", _curve((), ())))
    assert chart.lines[0].label == "a 1.00"
