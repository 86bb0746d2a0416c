"""Tallies of one provider under several conditions in, whether it agrees with itself less under some of them out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tempzero import stats
from tempzero.analysis.evidence import Case, describe_estimate, load_suffix
from tempzero.analysis.tallies import Tally

_ConditionComparison = tuple[Tally, Tally, stats.TestResult, str]


def note_condition_differences(case: Case) -> Iterable[str]:
    """One note for each provider and pair of conditions: its own EMRs, their difference by prompt, and a test.

    Each condition is compared with the one under the least load; p-values are corrected for all comparisons.
    """
    compared = [c for tallies in _group_by_provider(case.tallies) for c in _compare_with_lightest(tallies)]
    corrected = stats.holm([test.p_value for *_, test, _ in compared])
    for (light, other, test, words), p_value in zip(compared, corrected, strict=True):
        verdict = "no difference beyond chance"
        if p_value < case.alpha:
            verdict = (
                "it agrees with itself "
                + ("less" if test.statistic < 0 else "more")
                + f" under {_quote_condition(other)}"
            )
        yield f"{light.name}: {words}; {verdict} (p = {p_value:.2g}, {test.method}, Holm over {len(compared)})"


def _group_by_provider(tallies: Sequence[Tally]) -> list[list[Tally]]:
    """Those that were measured under two conditions or more."""
    found: dict[str, list[Tally]] = {}
    for tally in tallies:
        if tally.stopped is None:
            found.setdefault(tally.name, []).append(tally)
    return [found[name] for name in sorted(found) if len(found[name]) > 1]


def _compare_with_lightest(tallies: Sequence[Tally]) -> Iterable[_ConditionComparison]:
    light = min(tallies, key=lambda t: (t.lane.provider.concurrency, t.lane.condition))
    for other in tallies:
        difference = other.emr - light.emr
        both = ~np.isnan(difference)
        if other is light or not both.any():
            continue
        own = [
            f"{describe_estimate(stats.share_over_prompts(t.emr[both]))} under {_quote_condition(t)}{load_suffix(t)}"
            for t in (light, other)
        ]
        mean = stats.mean_over_prompts(difference[both], bounds=(-1.0, 1.0))
        words = f"EMR {own[0]}, and {own[1]}; difference {describe_estimate(mean)}"
        yield light, other, stats.sign_flip_test(difference[both]), words


def _quote_condition(tally: Tally) -> str:
    return f'"{tally.lane.condition}"'


def note_unreached_load(tally: Tally) -> Iterable[str]:
    """The load that was asked for and never came about: limits or a small number of trials held it back."""
    wanted, reached = tally.lane.provider.concurrency, tally.lane.most_in_flight
    if 0 < reached < wanted:
        yield f"{wanted} requests in flight were asked for and at most {reached} came about"
