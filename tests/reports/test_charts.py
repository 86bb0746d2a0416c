"""The geometry of the charts: shades, steps, labels that do not collide, bounded size."""

from __future__ import annotations

import itertools
import re

import pytest
from tempzero.reports.charts import HeatValue, lay_out_curve_chart, lay_out_heat_map, share_after
from tempzero.types.concluded import SurvivalCurve


def _curve(positions: tuple[int, ...], shares: tuple[float, ...], left: str = "a") -> SurvivalCurve:
    return SurvivalCurve(
        kind="repeat", left=left, right=None, condition="default", positions=positions, shares=shares, pairs=10
    )


def _value(share: float | None) -> HeatValue:
    return HeatValue(share=share, value="", lines=(), marked=False, description="")


@pytest.mark.parametrize(("share", "step"), [(0.0, 0), (0.05, 0), (0.55, 5), (0.999, 9), (1.0, 9), (None, None)])
def test_the_shade_follows_the_share(share: float | None, step: int | None) -> None:
    """Ten shades from no agreement to full; no value has no shade."""
    assert lay_out_heat_map("t", ["a"], [[_value(share)]], summary="").cells[0].step == step


def test_long_names_keep_both_ends_and_the_whole_name() -> None:
    """Providers that differ only at the end of a long name stay apart on the map."""
    names = ["very-long-provider-name-ending-in-q4", "very-long-provider-name-ending-in-q8"]
    drawn = lay_out_heat_map("t", names, [[_value(1.0)] * 2] * 2, summary="")
    assert len({label.text for label in drawn.columns}) == 2
    assert [label.name for label in drawn.rows] == names


def test_a_curve_is_a_step_that_starts_at_one() -> None:
    """The share falls where pairs part and stays between: no sloping line that nobody measured."""
    chart = lay_out_curve_chart("t", [("a", _curve((0, 50, 100), (1.0, 0.5, 0.25)))], summary="")
    assert re.fullmatch(r"M46 14H\d+V\d+H\d+V\d+H606", chart.lines[0].path)
    assert chart.lines[0].label == "a 0.25"


def test_share_after_a_position() -> None:
    """Between two positions the earlier share holds; before the first one all pairs are identical."""
    curve = _curve((10, 20), (0.5, 0.25))
    assert [share_after(curve, p) for p in (0, 9, 10, 19, 20, 999)] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_a_curve_of_any_length_stays_small() -> None:
    """A hundred thousand positions draw as many steps as there are pixels, at most."""
    n = 100_000
    chart = lay_out_curve_chart("t", [("a", _curve(tuple(range(n)), tuple(1 - i / n for i in range(n))))], summary="")
    assert len(chart.lines[0].path) < 30_000


@pytest.mark.parametrize("end", [0.0, 0.5, 1.0])
def test_labels_do_not_collide(end: float) -> None:
    """Ten curves that end together still have ten readable labels inside the picture."""
    named = [(f"p{i}", _curve((0, 10), (1.0, end), f"p{i}")) for i in range(10)]
    chart = lay_out_curve_chart("t", named, summary="")
    heights = sorted(line.label_y for line in chart.lines)
    assert all(b - a >= 16.9 for a, b in itertools.pairwise(heights))
    assert chart.top <= heights[0] <= heights[-1] <= chart.bottom


def test_curves_differ_in_more_than_colour() -> None:
    """Neighbours in the order differ in dashes too, and every one carries its name."""
    named = [(f"p{i}", _curve((0, 10), (1.0, 0.5), f"p{i}")) for i in range(8)]
    lines = lay_out_curve_chart("t", named, summary="").lines
    assert len({(line.colour, line.dash) for line in lines}) == 8
    assert all(a.dash != b.dash for a, b in itertools.pairwise(lines))


def test_an_empty_curve_draws_nothing_wrong() -> None:
    """No positions: nothing parted, the line stays at one."""
    chart = lay_out_curve_chart("t", [("a", _curve((), ()))], summary="")
    assert chart.lines[0].label == "a 1.00"
