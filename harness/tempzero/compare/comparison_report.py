"""A Comparison in, Markdown for a reader or JSON for a machine out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import get_args

from tempzero.compare.changes import Change, Shift, ShiftName
from tempzero.compare.comparability import Mismatch
from tempzero.types.concluded import Estimate
from tempzero.types.recorded import IdentityLabel
from tempzero.types.vocabulary import VerdictOutcome

# Labels that a provider may change every night; the other signals mean that something else was measured.
_RESTLESS_LABELS: tuple[IdentityLabel, ...] = ("fingerprint", "backend")
_MOST_MISMATCHES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What changed from the left run to the right one. `alpha` is the error rate of all tests together."""

    left: str
    right: str
    prompts: int
    alpha: float
    min_prompts: int
    mismatches: tuple[Mismatch, ...]
    changes: tuple[Change, ...]

    @property
    def outcome(self) -> VerdictOutcome:
        """finding: a test or a signal says so. inconclusive: something in both runs could not be compared."""
        if any(has_changed(change, self.alpha) for change in self.changes):
            return "finding"
        providers = {c.provider for c in self.changes}
        refused = any(m.consequence == "refused" and m.key != "part in the run" for m in self.mismatches)
        return "inconclusive" if refused or not providers or any(map(self.too_few, self.changes)) else "pass"

    def too_few(self, change: Change) -> bool:
        """Whether the texts of too few prompts could be compared."""
        return not any(t.metric == "texts" and t.estimate.n >= self.min_prompts for t in change.shifts)


def has_changed(change: Change, alpha: float) -> bool:
    """Whether a test or a signal that counts says that this provider changed."""
    signals = any(s.what not in _RESTLESS_LABELS for s in change.signals)
    return signals or any(t.p_value <= alpha for t in change.shifts)


def comparison_to_json(comparison: Comparison) -> str:
    """All of it, sorted keys, one trailing newline: the same comparison gives the same bytes."""
    return json.dumps({**asdict(comparison), "outcome": comparison.outcome}, indent=2, sort_keys=True) + "\n"


def comparison_to_markdown(comparison: Comparison) -> str:
    """For a terminal as well as for a file."""
    lines = [
        f"# {comparison.left} against {comparison.right}",
        "",
        f"{comparison.prompts} prompts were asked in the same words in both runs. All tests share one error rate of "
        f"{comparison.alpha:g} (Holm). Right minus left; [95 % interval]. Answers were read anew from both runs.",
        "",
        *_render_mismatches(comparison.mismatches),
        *_render_change_table(comparison),
        *_render_parts(comparison.changes),
        *_render_signals(comparison.changes),
        f"Outcome: {comparison.outcome}.",
    ]
    return "\n".join(lines) + "\n"


def _render_mismatches(mismatches: Sequence[Mismatch]) -> Iterator[str]:
    if not mismatches:
        return
    yield "## Not the same in both runs"
    yield ""
    for mismatch in mismatches[:_MOST_MISMATCHES]:
        yield f"- {_escape_markdown(mismatch.sentence())}"
    if len(mismatches) > _MOST_MISMATCHES:
        yield f"- and {len(mismatches) - _MOST_MISMATCHES} more; --json lists them all"
    yield ""


def _render_change_table(comparison: Comparison) -> Iterator[str]:
    yield "| provider | itself, left | itself, right | left = right | texts: excess | answers | length, characters | |"
    yield "|---|---|---|---|---|---|---|---|"
    for change in comparison.changes:
        by_metric = {t.metric: t for t in change.shifts}
        cells = [
            _escape_markdown(_name_change(change)),
            *map(_format_estimate, (change.own_left, change.own_right, change.match)),
            *(_format_shift(by_metric.get(metric)) for metric in get_args(ShiftName)),
            _describe_change(change, comparison),
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""


def _describe_change(change: Change, comparison: Comparison) -> str:
    if has_changed(change, comparison.alpha):
        return "changed"
    return f"fewer than {comparison.min_prompts} prompts" if comparison.too_few(change) else "no change found"


def _render_parts(changes: Sequence[Change]) -> Iterator[str]:
    """How the parts of answers agree, and by what was compared where only one run shows reasoning."""
    lines = []
    for change in changes:
        name = _escape_markdown(_name_change(change))
        if change.parts:
            found = ", ".join(f"{part} {_format_estimate(match)}" for part, match in change.parts.items())
            lines.append(f"- {name}: {found}")
        if change.basis == "spoken":
            lines.append(f"- {name}: only one of the runs shows reasoning; the rest of the answers is compared")
    if lines:
        yield from ("## By part of the answers, left = right", "", *lines, "")


def _name_change(change: Change) -> str:
    return change.provider if change.condition == "default" else f"{change.provider} ({change.condition})"


def _render_signals(changes: Sequence[Change]) -> Iterator[str]:
    lines = [
        f"- {_escape_markdown(c.provider)}: {s.what} was {_escape_markdown(s.left)}, is {_escape_markdown(s.right)}"
        for c in changes
        for s in c.signals
    ]
    if lines:
        yield from ("## What the responses say of themselves", "", *lines, "")


def _format_shift(shift: Shift | None) -> str:
    if shift is None:
        return "not measured"
    p = "p < 0.0001" if shift.p_value < 0.0001 else f"p = {shift.p_value:.4f}"
    found = "" if shift.detectable is None else f", would find {shift.detectable:.2f}"
    return f"{_format_estimate(shift.estimate)}, {p}{found}"


def _format_estimate(estimate: Estimate) -> str:
    if estimate.value is None:
        return "not measured"
    interval = "" if estimate.low is None else f" [{estimate.low:.3g}, {estimate.high:.3g}]"
    return f"{estimate.value:.3g}{interval}, n={estimate.n}"


def _escape_markdown(text: str) -> str:
    """Names and settings as text in Markdown."""
    return "".join(f"\\{c}" if c in "\\`*_<>|[]" else c for c in text)
