"""Figures of kinds speed and cost in, the answer to "How fast, and at what cost?" out."""

from __future__ import annotations

from tempzero.reports.document import Section
from tempzero.reports.lookup import Subject, View
from tempzero.reports.scatter_chart import Scatter, ScatterValue, lay_out_scatter
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


def _draw_sameness(view: View) -> list[Scatter]:
    """Sameness against speed, and against price where any is known: with the reference, or with itself without one."""
    outcomes = {p.provider: p.outcome for p in view.verdict.providers}
    subjects = [s for s in view.subjects("speed") if s.provider in outcomes]
    compared = any(view.reference_of(s.provider) for s in subjects)
    words = "same text as the reference" if compared else "same text again"
    found = []
    for file, unit, label, amount in (
        ("sameness-speed", "tokens/s", "answer tokens a second", find_speed),
        ("sameness-price", "US$/M", "US$ a million answer tokens, their prompts included", find_token_price),
    ):
        values = []
        for subject in subjects:
            figure = (
                view.figure("reference", "cross_emr", subject, view.reference_of(subject.provider))
                if compared
                else view.figure("repeat", "emr", subject)
            )
            at = amount(view, subject)
            if at is None or figure is None or figure.estimate.value is None:
                continue
            estimate = figure.estimate
            values.append(
                ScatterValue(
                    name=view.label(subject),
                    outcome=outcomes[subject.provider],
                    share=figure.estimate.value,
                    low=estimate.low,
                    high=estimate.high,
                    amount=at,
                )
            )
        if len(values) > 1:
            title = f"{words[0].upper()}{words[1:]}, against {'speed' if unit == 'tokens/s' else 'price'}"
            found.append(
                lay_out_scatter(
                    title, values, x_label=label, y_label=words, unit=unit, file=file, data="tables/overview.csv"
                )
            )
    return found


def find_speed(view: View, subject: Subject) -> float | None:
    """Answer tokens a second."""
    figure = view.figure("speed", "completion_tokens_per_s", subject)
    return None if figure is None else figure.estimate.value


def find_token_price(view: View, subject: Subject) -> float | None:
    """What a million answer tokens came to, with their prompts, in US$; None where nothing was paid."""
    cost, tokens = (view.figure("cost", metric, subject) for metric in ("cost_usd", "completion_tokens"))
    if cost is None or tokens is None or not cost.estimate.value or not tokens.estimate.value:
        return None
    return cost.estimate.value / tokens.estimate.value * 1e6


def build_speed_cost_section(view: View) -> Section:
    """Speed and cost."""
    speed = provider_table(view, caption="Speed", kind="speed", metrics=_SPEED, on_screen=(_SPEED[0], _SPEED[2]))
    cost = provider_table(view, caption="Cost", kind="cost", metrics=_COST, on_screen=(_COST[0], _COST[3], _COST[5]))
    further = (further_figures_table(view, "speed", _SPEED), further_figures_table(view, "cost", _COST))
    blocks = (*_draw_sameness(view), speed, cost, *further)
    return Section(
        anchor="speed-cost",
        title="How fast, and at what cost?",
        lead="Times are those of this run, from this machine, at the stated number of requests in flight.",
        blocks=tuple(b for b in blocks if b is not None),
    )
