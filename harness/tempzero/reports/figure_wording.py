"""Rules, outcomes and figures in, plain sentences out. What docs/methods.md allows to be said is decided here."""

from __future__ import annotations

from collections.abc import Mapping

from tempzero.reports.document import Cell, Whisker
from tempzero.reports.lookup import Subject, View
from tempzero.reports.numbers import UNDEFINED, interval_text, metric_style, value_text
from tempzero.types.asked import Trial
from tempzero.types.concluded import Figure, LevelName, OutcomeCounts, Verdict
from tempzero.types.vocabulary import WORST_FIRST, KindName, Metric, MetricName, PartName, VerdictOutcome

SIGNS: Mapping[VerdictOutcome, str] = {"finding": "▲", "inconclusive": "○", "pass": "✓"}


def trial_words(trial: Trial) -> str:
    """A trial's key as one line."""
    return f"{trial.provider} / {trial.prompt} / {trial.condition} / repeat {trial.repeat}"


def verdict_headline(verdict: Verdict) -> str:
    """The run's verdict in one or two sentences."""
    counts = {o: sum(p.outcome == o for p in verdict.providers) for o in WORST_FIRST}
    total = len(verdict.providers)
    if total == 0:
        return "Inconclusive: no provider was judged."
    if counts["finding"]:
        first = (
            f"Finding: the data support a finding against {counts['finding']} of {count_with_noun(total, 'provider')}."
        )
        others = [f"{counts[o]} {words}" for o, words in _OTHERS if counts[o]]
        return f"{first} The others: {' and '.join(others)}." if others else first
    if verdict.about_set:
        return (
            f"Finding, about the set: {count_with_noun(len(verdict.about_set), 'difference')} between providers, and "
            f"nothing says who strays, so none of the {total} is accused."
        )
    if counts["inconclusive"]:
        return (
            f"Inconclusive: nothing was found, but {counts['inconclusive']} of {count_with_noun(total, 'provider')} "
            "could not be judged. That is not a pass."
        )
    return (
        f"Pass: nothing was found in {count_with_noun(total, 'provider')}. This bounds how often they can differ; "
        "how tightly is in the intervals."
    )


_OTHERS: tuple[tuple[VerdictOutcome, str], ...] = (
    ("inconclusive", "could not be judged"),
    ("pass", "without findings"),
)


LEVEL_WORDS: Mapping[LevelName, str] = {
    "identical": "identical",
    "rounding": "same up to 16-bit rounding",
    "declared": "rounded as it declares",
    "undecided": "too little was read to say",
    "beyond": "beyond 16-bit rounding",
    "unread": "texts differ, not read",
}


def count_with_noun(count: int, noun: str) -> str:
    """`1 prompt`, `24 prompts`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def figure_text(figure: Figure, words: Metric) -> str:
    """A figure in running text: `0.84 [0.71, 0.92], n=24`."""
    return cell_text(figure_cell(figure, words))


def figure_cell(figure: Figure | None, words: Metric) -> Cell:
    """A figure as a table cell; without a value it says why, and is never a 0 or a 1."""
    value = figure.estimate.value if figure is not None else None
    if figure is None or value is None:
        return Cell(text=UNDEFINED, why=_why_undefined(figure, words), tone="muted")
    estimate = figure.estimate
    text = value_text(value, metric_style(words))
    if words.total:
        return Cell(text=text)
    interval = interval_text(estimate, metric_style(words))
    if figure.k is not None and words.per_k:
        interval += f", k={figure.k}"
    if figure.part == "spoken":
        interval += ", reasoning left out" if interval else "reasoning left out"
    return Cell(
        text=text,
        interval=interval,
        why=_why_no_interval(figure, words),
        whisker=_build_whisker(figure, words),
        method=estimate.method,
    )


def look_up_cell(
    view: View, kind: KindName, metric: MetricName, left: Subject, right: str | None = None, family: str | None = None
) -> Cell:
    """The cell of one figure, looked up."""
    return figure_cell(view.figure(kind, metric, left, right, family), view.metric(metric))


PART_WORDS: Mapping[PartName, str] = {
    "whole": "whole answer",
    "spoken": "all but the reasoning",
    "reasoning": "reasoning",
    "text": "text",
    "calls": "tool calls",
    "refusal": "refusal",
}


def answered_words(ended: OutcomeCounts) -> str:
    """`28 of 28, 22 of them cut at the limit`: what coverage counts."""
    more = [
        f"{number:,} of them {words}"
        for number, words in (
            (ended.cut_at_limit, "cut at the limit"),
            (ended.cut_otherwise, "cut by a filter or refused"),
            (ended.empty, "empty"),
        )
        if number
    ]
    return ", ".join((f"{ended.answered:,} of {ended.planned:,}", *more))


def cell_text(value: Cell) -> str:
    """A cell as one line of text."""
    if value.text == UNDEFINED:
        return f"{value.text} ({value.why})" if value.why else value.text
    joint = " " if value.interval.startswith("[") else ", "
    return f"{value.text}{joint}{value.interval}" if value.interval else value.text


def _why_undefined(figure: Figure | None, words: Metric) -> str:
    if figure is None:
        return words.absent
    # The analysis had the data and would not make a figure of them: its reason goes before ours.
    if figure.estimate.method.startswith(("refused: ", "cannot tell: ")):
        return figure.estimate.method
    return words.undefined if figure.k is None else words.undefined.replace(" k ", f" {figure.k} ")


def _why_no_interval(figure: Figure, words: Metric) -> str:
    if figure.estimate.low is not None or words.exact:
        return ""
    return "one prompt gives no interval" if figure.estimate.n <= 1 else "no interval: all prompts gave the same value"


def _build_whisker(figure: Figure, words: Metric) -> Whisker | None:
    e = figure.estimate
    if metric_style(words) != "share" or e.value is None or e.low is None or e.high is None:
        return None
    return Whisker(value=e.value, low=e.low, high=e.high) if 0 <= e.low <= e.high <= 1 else None
