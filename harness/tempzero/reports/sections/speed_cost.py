"""Figures of kinds speed and cost in, the answer to "How fast, and at what cost?" out."""

from __future__ import annotations

from tempzero.reports.document import Section
from tempzero.reports.lookup import View
from tempzero.reports.sections.figure_tables import further_figures_table, provider_table
from tempzero.types.vocabulary import MetricName

_SPEED: tuple[MetricName, ...] = ("latency_s", "first_byte_s", "completion_tokens_per_s")
_COST: tuple[MetricName, ...] = (
    "calls",
    "attempts",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cost_usd",
)


def build_speed_cost_section(view: View) -> Section:
    """Speed and cost."""
    speed = provider_table(view, caption="Speed", kind="speed", metrics=_SPEED, on_screen=(_SPEED[0], _SPEED[2]))
    cost = provider_table(view, caption="Cost", kind="cost", metrics=_COST, on_screen=(_COST[0], _COST[3], _COST[5]))
    blocks = (speed, cost, further_figures_table(view, "speed", _SPEED), further_figures_table(view, "cost", _COST))
    return Section(
        anchor="speed-cost",
        title="How fast, and at what cost?",
        lead="Times are those of this run, from this machine, at the stated number of requests in flight.",
        blocks=tuple(b for b in blocks if b is not None),
    )
