"""How figures are printed: never rounded to a certainty, never without interval and n."""

from __future__ import annotations

import pytest
from reports.synthetic import estimate
from tempzero.reports.numbers import estimate_text, p_value_text, value_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.84, "0.84"),
        (1.0, "1.00"),
        (0.0, "0.00"),
        (0.9996, "0.9996"),
        (0.99999, "0.99999"),
        (0.004, "0.004"),
        (1e-6, "0.000001"),
        (1 - 1e-12, "1.00"),
        (1e-17, "0.00"),
        (-1e-17, "0.00"),
        (-0.004, "−0.004"),
        (-0.25, "−0.25"),
    ],
)
def test_a_share_near_an_edge_keeps_its_distance(value: float, text: str) -> None:
    """0.9996 must not read as 1.00: the difference is what the report is about. Dust of arithmetic is no difference."""
    assert value_text(value, "share") == text


@pytest.mark.parametrize(
    ("value", "style", "text"),
    [
        (12345, "count", "12,345"),
        (1.0, "number", "1.00"),
        (1.2345, "number", "1.23"),
        (99.96, "number", "100"),
        (231.75, "number", "232"),
        (48.7, "number", "48.7"),
        (0.0, "number", "0"),
        (-12.4, "number", "−12.4"),
        (0.004321, "usd", "0.00432"),
        (0.00001234, "usd", "0.00001234"),
    ],
)
def test_other_numbers_have_three_digits(value: float, style: str, text: str) -> None:
    """Sizes are told apart without false precision or exponents."""
    assert value_text(value, style) == text  # type: ignore[arg-type]


def test_an_estimate_carries_interval_and_n() -> None:
    """The form every reader learns once; n stands without an interval too, and rounding never narrows one at 0 or 1."""
    assert estimate_text(estimate(0.84, 0.71, 0.92), "share") == "0.84 [0.71, 0.92], n=24"
    assert estimate_text(estimate(0.84, None, None, 1), "share") == "0.84, n=1"
    assert estimate_text(estimate(0.9996, 0.9992, 0.9999), "share") == "0.9996 [0.999, 1.00], n=24"
    assert estimate_text(estimate(0.0004, 0.0001, 0.0008), "share") == "0.0004 [0.00, 0.001], n=24"
    assert estimate_text(estimate(None, None, None, 0), "share") == "–"


def test_p_values() -> None:
    """A small p-value is bounded, never shown as zero."""
    assert p_value_text(0.004) == "p = 0.0040"
    assert p_value_text(0.00001) == "p < 0.0001"
