"""Estimates in, figures as a reader sees them out: `0.84 [0.71, 0.92], n=24`. No rounding to a certainty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from tempzero.types.concluded import Estimate
from tempzero.types.vocabulary import Metric, Unit

Style = Literal["share", "number", "count", "usd"]
"""share: unit interval or a difference of shares; number: three significant digits; count: whole; usd: money."""

_STYLES: Mapping[Unit, Style] = {"share": "share", "tokens": "count", "USD": "usd"}

UNDEFINED = "–"
_MINUS = "\u2212"  # unlike a hyphen it never breaks the line before its number
_HALF_A_DIGIT = 0.005
_NOISE = 1e-9  # smaller than any share that counted responses can give: floating-point dust


def metric_style(metric: Metric) -> Style:
    """How a metric is printed: by its unit; only what is plainly counted has no digits behind the point."""
    if metric.unit == "count" and (metric.total or metric.exact):
        return "count"
    return _STYLES.get(metric.unit, "number")


def value_text(value: float, style: Style) -> str:
    """One number in the given style, with a true minus sign."""
    if style == "share":
        text = _format_share(value)
    elif style == "count":
        text = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
    else:
        text = _format_three_digits(value)
    return text.replace("-", _MINUS)


def interval_text(estimate: Estimate, style: Style) -> str:
    """`[low, high], n=24`, or `n=3` where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return f"n={estimate.n}"
    return f"[{_low_text(estimate.low, style)}, {_high_text(estimate.high, style)}], n={estimate.n}"


def estimate_text(estimate: Estimate, style: Style) -> str:
    """`0.84 [0.71, 0.92], n=24`; `–` where the figure is undefined."""
    if estimate.value is None:
        return UNDEFINED
    interval = interval_text(estimate, style)
    joint = " " if interval.startswith("[") else ", "
    return value_text(estimate.value, style) + joint + interval


def p_value_text(p_value: float) -> str:
    """`p = 0.012`, or `p < 0.0001`."""
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.4f}"


def _low_text(value: float, style: Style) -> str:
    """A lower bound may be rounded down to 0.00, which only widens the interval, but not up to 1.00."""
    return "0.00" if style == "share" and 0 <= value < _HALF_A_DIGIT else value_text(value, style)


def _high_text(value: float, style: Style) -> str:
    """An upper bound may be rounded up to 1.00, but not down to 0.00."""
    return "1.00" if style == "share" and 1 - _HALF_A_DIGIT < value <= 1 else value_text(value, style)


def _format_share(value: float) -> str:
    nearest = round(value)
    if abs(value - nearest) < _NOISE:
        return f"{nearest}.00"
    # 0.9996 is not 1.00: as many digits as it takes to show that something is left.
    for digits in range(2, 10):
        text = f"{value:.{digits}f}"
        if not float(text).is_integer():
            break
    return text


def _format_three_digits(value: float) -> str:
    if value == 0 or abs(value) >= 99.95:
        return f"{value:,.0f}"
    if abs(value) < 1e-4:
        return f"{value:.9f}".rstrip("0").rstrip(".")
    return f"{value:#.3g}"
