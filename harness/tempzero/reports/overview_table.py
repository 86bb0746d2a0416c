"""A View in, tables/overview.csv out: the numbers of the run's picture, and of sameness against speed and price."""

from __future__ import annotations

from tempzero.reports.csv_tables import render_csv
from tempzero.reports.lookup import View
from tempzero.reports.sections.speed_cost import find_speed, find_token_price
from tempzero.types.concluded import Estimate, Figure

_COLUMNS = (
    "provider",
    "condition",
    "verdict",
    "agrees_with_itself",
    "agrees_with_itself_low",
    "agrees_with_itself_high",
    "same_as_reference",
    "same_as_reference_low",
    "same_as_reference_high",
    "tokens_per_s",
    "usd_per_million_tokens",
)


def render_overview_table(view: View) -> str:
    """A row for each judged provider under each condition."""
    outcomes = {p.provider: p.outcome for p in view.verdict.providers}
    rows = []
    for subject in view.subjects("repeat", "coverage"):
        if subject.provider not in outcomes:
            continue
        own = _list_ends(view.figure("repeat", "emr", subject))
        same = _list_ends(view.figure("reference", "cross_emr", subject, view.reference_of(subject.provider)))
        amounts = (find_speed(view, subject), find_token_price(view, subject))
        rows.append((subject.provider, subject.condition, outcomes[subject.provider], *own, *same, *amounts))
    return render_csv(_COLUMNS, rows)


def _list_ends(figure: Figure | None) -> tuple[float | None, float | None, float | None]:
    e: Estimate | None = None if figure is None else figure.estimate
    return (None, None, None) if e is None else (e.value, e.low, e.high)
