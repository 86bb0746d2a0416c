"""Margin profiles in, the geometry of a chart with logarithmic axes out: share of tokens by how far they are off."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tempzero.reports.charts import (
    COLOURS,
    DASHES,
    LABEL_STEP,
    LEFT,
    MOST_LINES,
    PLOT_WIDTH,
    TOP,
    CurveChart,
    CurveLine,
    Tick,
    shorten_middle,
    spread_labels,
)
from tempzero.types.concluded import MarginProfile

_NAMES_WIDTH = 230
_LEAST_SHARE = 1e-5
_DECADES = round(-math.log10(_LEAST_SHARE))


def lay_out_margin_charts(
    title: str, named: Sequence[tuple[str, MarginProfile]], *, summary: str, file: str
) -> tuple[CurveChart, ...]:
    """Lay out the profiles, the one with most misses first; forms of the reference are dashed, providers drawn out."""
    ordered = sorted(named, key=lambda pair: (-_miss_share(pair[1]), pair[0]))
    parts = [ordered[i : i + MOST_LINES] for i in range(0, len(ordered), MOST_LINES)]
    return tuple(
        _lay_out_margin_plot(
            f"{title} ({number} of {len(parts)})" if len(parts) > 1 else title,
            part,
            summary,
            f"{file}-{number}" if len(parts) > 1 else file,
        )
        for number, part in enumerate(parts, start=1)
    )


def _lay_out_margin_plot(
    title: str, ordered: Sequence[tuple[str, MarginProfile]], summary: str, file: str
) -> CurveChart:
    height = max(300, len(ordered) * LABEL_STEP)
    paths = [_profile_points(profile, height) for _, profile in ordered]
    # Labels stand where the curves begin, at the smallest margin: there every profile has a share.
    starts = [points[0][1] if points else TOP + height for points in paths]
    labels = spread_labels(starts, TOP, TOP + height)
    lines = tuple(
        CurveLine(
            name=f"{name}: {profile.tokens:,} tokens",
            label=f"{shorten_middle(name, 24)} {_miss_share(profile):.3f}",
            path=_profile_path(points, height),
            end_y=round(starts[i], 1),
            label_y=round(labels[i], 1),
            colour=i % COLOURS,
            dash=0 if profile.kind == "provider" else 1 + i % (DASHES - 1),
        )
        for i, ((name, profile), points) in enumerate(zip(ordered, paths, strict=True))
    )
    return CurveChart(
        file=file,
        data="tables/margins.csv",
        title=title,
        summary=summary,
        left=LEFT,
        top=TOP,
        right=LEFT + PLOT_WIDTH,
        bottom=TOP + height,
        width=LEFT + PLOT_WIDTH + _NAMES_WIDTH,
        height=TOP + height + 46,
        x_label="margin in logits: how far below the reference's choice (names from the largest share of misses down)",
        x_ticks=tuple(Tick(at=round(_margin_x(at), 1), label=f"{at:g}") for at in (0.001, 0.01, 0.1, 1, 10)),
        y_ticks=tuple(
            Tick(at=round(_share_y(10.0**-power, height), 1), label=f"{10.0**-power:g}")
            for power in range(_DECADES + 1)
        ),
        lines=lines,
    )


def _miss_share(profile: MarginProfile) -> float:
    return profile.shares[0] if profile.shares else 0.0


def _profile_points(profile: MarginProfile, height: int) -> list[tuple[float, float]]:
    return [
        (round(_margin_x(at), 1), round(_share_y(share, height), 1))
        for at, share in zip(profile.at, profile.shares, strict=True)
        if share >= _LEAST_SHARE
    ]


def _profile_path(points: Sequence[tuple[float, float]], height: int) -> str:
    """The curve, and from its last point down to the axis; a profile without margins lies on the axis."""
    if not points:
        return f"M{LEFT} {TOP + height}H{LEFT + PLOT_WIDTH}"
    return f"M{points[0][0]:g} {points[0][1]:g}" + "".join(f"L{x:g} {y:g}" for x, y in points[1:]) + f"V{TOP + height}"


def _margin_x(at: float) -> float:
    """From .001 to 20 logits, from right to left: the curves begin beside their labels."""
    return LEFT + PLOT_WIDTH * (1 - math.log(at / 0.001) / math.log(20 / 0.001))


def _share_y(share: float, height: int) -> float:
    return TOP + height * min(1.0, -math.log10(share) / _DECADES) if share < 1 else float(TOP)
