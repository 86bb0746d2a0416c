"""Rules, outcomes and figures in, plain sentences out. What docs/methods.md allows to be said is decided here."""

from __future__ import annotations

from tempzero.reports.document import Cell, Whisker
from tempzero.reports.legend import Term, figure_term, metric_term
from tempzero.reports.lookup import Subject, View
from tempzero.reports.numbers import UNDEFINED, interval_text, value_text
from tempzero.types.asked import Trial
from tempzero.types.concluded import Figure, Verdict

OUTCOMES = {"finding": "finding", "inconclusive": "inconclusive", "pass": "pass"}
SIGNS = {"finding": "▲", "inconclusive": "○", "pass": "✓"}

CAUSES = {
    "faithful": "Computes what the reference computes, up to honest rounding",
    "coarser": "Coarser weights or cache, or coarser arithmetic",
    "sampled": "Not greedy: it samples at a temperature",
    "penalty": "A repetition penalty is applied",
    "other_prompt": "Another chat template or a hidden system prompt",
    "other_model": "Another model",
    "mixture": "A share of the responses comes from something else",
    "cut_short": "Responses are cut short",
    "not_faithful": "Not a faithful computation, cause undecided",
    "unknown": "Cannot be decided",
}

_RULES = {
    "nondeterministic": "Does not repeat itself",
    "reference_not_reproducible": "The reference does not repeat itself",
    "differs": "Differs from another provider",
    "deviates_from_reference": "Differs from the reference",
    "deviates_token_by_token": "Deviates from the reference token by token",
    **{f"cause_{cause}": words for cause, words in CAUSES.items()},
    "prompt_tokens_differ": "Counts the prompt's tokens differently",
    "identity_changed": "Changed its identity during the run",
    "low_coverage": "Too few answers",
    "answers_differ": "Gives other answers",
    "repeats_more": "Repeats more",
    "loops_more": "Falls into loops more often",
    "threshold": "Beyond a threshold of providers.yaml",
}


def rule_words(rule: str) -> str:
    """A finding's rule as a heading."""
    return _RULES.get(rule, rule.replace("_", " ").capitalize())


def trial_words(trial: Trial) -> str:
    """A trial's key as one line."""
    return f"{trial.provider} / {trial.prompt} / {trial.condition} / repeat {trial.repeat}"


def verdict_headline(verdict: Verdict) -> str:
    """The run's verdict in one or two sentences."""
    counts = {o: sum(p.outcome == o for p in verdict.providers) for o in OUTCOMES}
    total = len(verdict.providers)
    if total == 0:
        return "Inconclusive: no provider was judged."
    if counts["finding"]:
        first = (
            f"Finding: the data support a finding against {counts['finding']} of {count_with_noun(total, 'provider')}."
        )
        others = [f"{counts[o]} {words}" for o, words in _OTHERS if counts[o]]
        return f"{first} The others: {' and '.join(others)}." if others else first
    if counts["inconclusive"]:
        return (
            f"Inconclusive: nothing was found, but {counts['inconclusive']} of {count_with_noun(total, 'provider')} "
            "could not be judged. That is not a pass."
        )
    return (
        f"Pass: nothing was found in {count_with_noun(total, 'provider')}. This bounds how often they can differ; "
        "how tightly is in the intervals."
    )


_OTHERS = (("inconclusive", "could not be judged"), ("pass", "without findings"))


def count_with_noun(count: int, noun: str) -> str:
    """`1 prompt`, `24 prompts`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def figure_text(figure: Figure) -> str:
    """A figure in running text: `0.84 [0.71, 0.92], n=24`."""
    return cell_text(figure_cell(figure, figure_term(figure)))


def figure_cell(figure: Figure | None, words: Term) -> Cell:
    """A figure as a table cell; without a value it says why, and is never a 0 or a 1."""
    value = figure.estimate.value if figure is not None else None
    if figure is None or value is None:
        return Cell(text=UNDEFINED, why=_why_undefined(figure, words), tone="muted")
    estimate = figure.estimate
    text = value_text(value, words.style)
    if words.total:
        return Cell(text=text)
    interval = interval_text(estimate, words.style)
    if figure.k is not None and words.per_k:
        interval += f", k={figure.k}"
    return Cell(
        text=text,
        interval=interval,
        why=_why_no_interval(figure, words),
        whisker=_build_whisker(figure, words),
        method=estimate.method,
    )


def look_up_cell(view: View, kind: str, metric: str, left: Subject, right: str | None = None) -> Cell:
    """The cell of one figure, looked up."""
    figure = view.figure(kind, metric, left, right)
    return figure_cell(figure, figure_term(figure) if figure else metric_term(metric))


def cell_text(value: Cell) -> str:
    """A cell as one line of text."""
    if value.text == UNDEFINED:
        return f"{value.text} ({value.why})" if value.why else value.text
    joint = " " if value.interval.startswith("[") else ", "
    return f"{value.text}{joint}{value.interval}" if value.interval else value.text


def _why_undefined(figure: Figure | None, words: Term) -> str:
    if figure is None:
        return words.absent
    # The analysis had the data and would not make a figure of them: its reason goes before ours.
    if figure.estimate.method.startswith("refused: "):
        return figure.estimate.method
    return words.undefined if figure.k is None else words.undefined.replace(" k ", f" {figure.k} ")


def _why_no_interval(figure: Figure, words: Term) -> str:
    if figure.estimate.low is not None or words.exact:
        return ""
    return "one prompt gives no interval" if figure.estimate.n <= 1 else "no interval: all prompts gave the same value"


def _build_whisker(figure: Figure, words: Term) -> Whisker | None:
    e = figure.estimate
    if words.style != "share" or e.value is None or e.low is None or e.high is None:
        return None
    return Whisker(value=e.value, low=e.low, high=e.high) if 0 <= e.low <= e.high <= 1 else None
