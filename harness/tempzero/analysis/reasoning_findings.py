"""Comparisons in, which provider of two thinks, or shows that it does, and the other does not, out.

What one side shows and the other does not is no inequality of the answers: both are compared by what both show, and the
rest is told here. Whether the silent side thinks is read from the tokens it counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tempzero import stats
from tempzero.analysis.evidence import Case, condition_suffix
from tempzero.analysis.pair_figures import Pair
from tempzero.analysis.pair_findings import build_pair_finding, flip_pair, pick_pair_trials
from tempzero.analysis.peer_camps import fold_pairs
from tempzero.analysis.tallies import Tally
from tempzero.metrics.agreement import Floats
from tempzero.types.concluded import Finding
from tempzero.types.vocabulary import Rule

REASONING_SHOWN = Rule(
    name="reasoning_shown",
    words="Only one of two thinks, as far as they show",
    shown_by="existence: one shows a reasoning or counts tokens of it; the other does neither, and counts less than "
    "half of its completion tokens, or none",
)
# A silent side that counts as many tokens as this share of the thinking side's may think without showing it.
_HIDDEN_SHARE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class _Thinking:
    """A pair of which one side thinks, visibly or by its count, more than the other shows."""

    pair: Pair
    thinks: Tally
    silent: Tally
    prompts: list[int]
    thinks_by_showing: bool
    silent_counts: bool
    thinking_tokens: float | None
    silent_tokens: float | None

    @property
    def may_be_hidden(self) -> bool:
        """Whether the silent side's tokens say, or allow, that it thinks too."""
        if self.silent_counts:
            return True
        if self.thinking_tokens is None or self.silent_tokens is None:
            return False
        return self.silent_tokens >= _HIDDEN_SHARE * self.thinking_tokens


def find_reasoning_differences(case: Case) -> Iterable[Finding]:
    """One of two thinks, and nothing that the other shows or counts says that it does."""
    found = {i: one for i, one in _find_thinking(case) if not one.may_be_hidden}
    for told in fold_pairs(case, found):
        one = found[told.index]
        pair = flip_pair(one.pair) if told.swapped else one.pair
        both = ~np.isnan(pair.left.shown_share + pair.right.shown_share)
        differ = np.zeros(both.size)
        differ[one.prompts] = 1
        yield build_pair_finding(
            REASONING_SHOWN,
            pair,
            f"and {pair.right.name}{condition_suffix(pair.subject.condition)} do not both think: {_describe(one)}; "
            f"{_describe_basis(pair)}",
            stats.wilson_proportion(len(one.prompts), max(len(one.prompts), int(both.sum()))),
            None,
            pick_pair_trials(pair, one.prompts, case),
            told.weight,
        )


def note_hidden_reasoning(case: Case) -> Iterable[str]:
    """One of two shows its reasoning, and the other counts tokens as if it thought too."""
    for _, one in _find_thinking(case):
        if one.may_be_hidden and one.thinks_by_showing:
            pair = one.pair
            yield (
                f"{pair.left.name}{condition_suffix(pair.subject.condition)}: it and {pair.right.name} do not show the "
                f"same: {_describe(one)}, so that it may think without showing it; {_describe_basis(pair)}"
            )


def _describe_basis(pair: Pair) -> str:
    if pair.basis == "spoken":
        return "they are compared by what both show, without the reasoning"
    return "neither shows a reasoning, so only the rest is compared"


def _describe(one: _Thinking) -> str:
    """Who shows or counts what, on how many prompts."""
    shows = "shows its reasoning" if one.thinks_by_showing else "counts reasoning tokens"
    counts = ""
    if one.thinking_tokens is not None and one.silent_tokens is not None:
        counts = (
            f" ({one.silent_tokens:.0f} completion tokens an answer against {one.thinking_tokens:.0f} of "
            f"{one.thinks.name})"
        )
    nothing = "shows none" + (", but counts tokens of it" if one.silent_counts else " and counts no tokens of it")
    return f"{one.thinks.name} {shows} on {len(one.prompts)} prompts, {one.silent.name} {nothing}{counts}"


def _find_thinking(case: Case) -> Iterable[tuple[int, _Thinking]]:
    if not any(t.shows_reasoning or (t.reasoning_tokens > 0).any() for t in case.tallies):
        return
    for index, pair in enumerate(c.pair for c in case.comparisons):
        for thinks, silent in ((pair.left, pair.right), (pair.right, pair.left)):
            found = _compare_thinking(pair, thinks, silent)
            if found is not None:
                yield index, found


def _compare_thinking(pair: Pair, thinks: Tally, silent: Tally) -> _Thinking | None:
    """None unless one side shows or counts thinking, and the other shows none."""
    answered = ~np.isnan(thinks.shown_share) & ~np.isnan(silent.shown_share)
    if silent.shows_reasoning or not answered.any():
        return None
    counted = thinks.reasoning_tokens > 0
    showing = thinks.shown_share > 0
    silent_counts = bool((silent.reasoning_tokens[answered] > 0).any())
    if not thinks.shows_reasoning and (silent_counts or not (counted & answered).any()):
        return None
    prompts = np.flatnonzero(answered & (showing if thinks.shows_reasoning else counted))
    if not prompts.size:
        return None
    both = prompts[~np.isnan((thinks.completion_tokens + silent.completion_tokens)[prompts])]
    return _Thinking(
        pair=pair,
        thinks=thinks,
        silent=silent,
        prompts=prompts.tolist(),
        thinks_by_showing=thinks.shows_reasoning,
        silent_counts=silent_counts,
        thinking_tokens=_mean_or_none(thinks.completion_tokens[both]),
        silent_tokens=_mean_or_none(silent.completion_tokens[both]),
    )


def _mean_or_none(values: Floats) -> float | None:
    return float(values.mean()) if values.size else None
