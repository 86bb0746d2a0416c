"""Tallies of one provider under several conditions in, whether it answers otherwise under some of them out.

Also its first answer to each prompt against its later ones, which a cold cache may tell apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tempzero import stats
from tempzero.analysis.evidence import (
    Case,
    condition_suffix,
    describe_estimate,
    find_compared_differences,
    load_suffix,
    name_part,
    pick_commonest_rows,
    pick_commonest_trials,
    show_difference,
    take_evidence,
)
from tempzero.analysis.pair_figures import Comparison, permutations_needed
from tempzero.analysis.part_counts import NOT_SAID
from tempzero.analysis.peer_camps import describe_differences
from tempzero.analysis.tallies import Tally
from tempzero.metrics import agreement
from tempzero.types.concluded import Finding
from tempzero.types.vocabulary import Rule

CONDITIONS_DIFFER = Rule(
    name="conditions_differ",
    words="Answers otherwise under another condition",
    shown_by="excess divergence between two conditions of one provider: labels permuted within prompt, Holm over every "
    "provider and condition",
)
FIRST_ANSWERS_DIFFER = Rule(
    name="first_answers_differ",
    words="Its first answers differ from its later ones",
    shown_by="the first of a prompt's answers is the odd one more often than chance: which repeat is the first is "
    "permuted within prompt, Holm over every provider",
)
_SHOWN_CHARS = 40
_FIELDS_CHARS = 80
_FEWEST_ANSWERS = 3


def find_condition_differences(case: Case) -> Iterable[Finding]:
    """Text by text: a provider's answers under two conditions differ by more than either differs from itself.

    Conditions whose requests differ are passed over: another question may have another answer.
    """
    alike = [c for c in case.conditions if not _asks_otherwise(c)]
    corrected = stats.holm([c.test.p_value for c in alike])
    for comparison, p_value in zip(alike, corrected, strict=True):
        if p_value > case.budget["conditions"]:
            continue
        pair = comparison.pair
        prompts, _ = find_compared_differences(comparison, case.texts)
        largest = prompts[np.lexsort((prompts, -np.nan_to_num(comparison.excess[prompts])))]
        yield Finding(
            rule=CONDITIONS_DIFFER.name,
            subject=pair.left.name,
            other=None,
            message=f"{pair.left.name} answers otherwise under {_quote_condition(pair.left)} than under "
            f"{_quote_condition(pair.right)}: {_describe_comparison(comparison)} (p = {p_value:.2g} after Holm over "
            f"{len(corrected)} comparisons){_describe_first_difference(comparison, case)}",
            estimate=comparison.estimate,
            p_value=p_value,
            evidence=take_evidence(
                t for j in largest.tolist() for t in pick_commonest_trials(comparison, j, case.prompts)
            ),
        )


def _describe_comparison(comparison: Comparison) -> str:
    """Cross-EMR beside what either condition's own repeats let expect, and what is left."""
    matched = comparison.match[~np.isnan(comparison.match)]
    floor = agreement.noise_floor(comparison.left, comparison.right)
    floor = floor[~np.isnan(floor) & ~np.isnan(comparison.match)]
    expected = f"{1 - float(floor.mean()):.3f}" if floor.size else "not measured"
    return (
        f"{describe_differences(comparison)}; cross-EMR {describe_estimate(stats.share_over_prompts(matched))}, where "
        f"the noise of its own repeats lets expect {expected}; excess divergence "
        f"{describe_estimate(comparison.estimate)}"
    )


def _describe_first_difference(comparison: Comparison, case: Case) -> str:
    prompts, at = find_compared_differences(comparison, case.texts)
    if not prompts.size:
        return ""
    pair = comparison.pair
    left, right = pick_commonest_rows(comparison, int(prompts[np.lexsort((prompts, at))[0]]))
    shown = show_difference((pair.left, left), (pair.right, right), case)
    texts = [_shorten_around(text, shown.at_char) for text in (shown.left_text, shown.right_text)]
    return (
        f'; the earliest difference: "{shown.prompt}", {name_part(shown.part)}, character {shown.at_char}: '
        f"{texts[0]} against {texts[1]}"
    )


def _shorten_around(text: str, at: int) -> str:
    """A piece of a text from shortly before a character on, in quotes, without control characters."""
    piece = text[max(0, at - _SHOWN_CHARS // 2) : at + _SHOWN_CHARS // 2]
    return repr(piece) if piece else "nothing"


def _asks_otherwise(comparison: Comparison) -> bool:
    """Whether its two conditions ask in other words: what differs then is the effect of that, and nobody's fault."""
    return comparison.pair.left.lane.asked_fields != comparison.pair.right.lane.asked_fields


def note_condition_differences(case: Case) -> Iterable[str]:
    """For each provider and pair of conditions: its answers compared, then its own EMRs, their difference, and tests.

    Each condition is compared with the one under the least load; p-values are corrected for all comparisons of its
    kind: those whose requests are the same, which a finding may rest on, and those whose requests differ.
    """
    for otherwise in (False, True):
        own = [c for c in case.conditions if _asks_otherwise(c) == otherwise]
        corrected = stats.holm([c.test.p_value for c in own])
        for comparison, p_value in zip(own, corrected, strict=True):
            found = p_value <= case.budget["conditions"]
            if np.isnan(comparison.match).all() or (found and not otherwise):
                continue  # nothing to compare; or told as a finding
            pair = comparison.pair
            asked = _describe_asked_fields(comparison) if otherwise else ""
            verdict = "that is a difference beyond chance" if found else "no difference beyond chance"
            yield (
                f"{pair.left.name}: under {_quote_condition(pair.left)} against {_quote_condition(pair.right)}{asked}: "
                f"{_describe_comparison(comparison)}; {verdict} (p = {p_value:.2g}, Holm over {len(own)})"
            )
    compared = [c for c in map(_compare_own_agreement, case.conditions) if c is not None]
    corrected = stats.holm([one.test.p_value for one in compared])
    for one, p_value in zip(compared, corrected, strict=True):
        verdict = "no difference beyond chance"
        if p_value < case.alpha:
            verdict = (
                "it agrees with itself "
                + ("less" if one.test.statistic < 0 else "more")
                + f" under {_quote_condition(one.other)}"
            )
        yield (
            f"{one.other.name}: {one.words}; {verdict} (p = {p_value:.2g}, {one.test.method}, "
            f"Holm over {len(compared)})"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _OwnAgreement:
    """How far a provider agrees with itself under a condition, against the lightest one."""

    other: Tally
    test: stats.TestResult
    words: str


def _compare_own_agreement(comparison: Comparison) -> _OwnAgreement | None:
    other, light = comparison.pair.left, comparison.pair.right
    difference = other.emr - light.emr
    both = ~np.isnan(difference)
    if not both.any():
        return None
    own = [
        f"{describe_estimate(stats.share_over_prompts(t.emr[both]))} under {_quote_condition(t)}{load_suffix(t)}"
        for t in (light, other)
    ]
    mean = stats.mean_over_prompts(difference[both], bounds=(-1.0, 1.0))
    words = f"EMR {own[0]}, and {own[1]}; difference {describe_estimate(mean)}"
    return _OwnAgreement(other=other, test=stats.sign_flip_test(difference[both]), words=words)


def _quote_condition(tally: Tally) -> str:
    return f'"{tally.lane.condition}"'


def _describe_asked_fields(comparison: Comparison) -> str:
    left, right = (t.lane.asked_fields[:_FIELDS_CHARS] for t in (comparison.pair.left, comparison.pair.right))
    return f", which ask otherwise ({left} against {right}), so a difference is their effect and no finding"


def find_first_answer_differences(case: Case) -> Iterable[Finding]:
    """The first answer to a prompt against the later ones: what a cold cache, or a warm-up, would change."""
    tallies = [t for t in case.tallies if t.stopped is None]
    drawn = permutations_needed(len(tallies), case.budget["first_answers"])
    tested = [(tally, *_test_first_answers(tally, drawn)) for tally in tallies]
    corrected = stats.holm([test.p_value for _, test, _ in tested])
    for (tally, test, odd), p_value in zip(tested, corrected, strict=True):
        if p_value > case.budget["first_answers"] or test.n == 0:
            continue
        yield Finding(
            rule=FIRST_ANSWERS_DIFFER.name,
            subject=tally.name,
            other=None,
            message=f"{tally.name}{condition_suffix(tally.lane.condition)}: its first answer to a prompt differs from "
            f"its later ones more than those differ from each other: it is the odd one on {len(odd)} of {test.n} "
            f"prompts (p = {p_value:.2g} after Holm over {len(tested)} providers), as with a cold cache or a warm-up",
            estimate=None,
            p_value=p_value,
            evidence=take_evidence(tally.trial(row, case.prompts) for pair in odd for row in pair),
        )


def _test_first_answers(tally: Tally, drawn: int) -> tuple[stats.TestResult, list[tuple[int, int]]]:
    """The test, and on each prompt whose first answer is the odd one its row and that of the next one.

    On prompts with three comparable answers or more, the very first one among them.
    """
    lane, cells = tally.lane, len(tally.emr)
    rows = np.flatnonzero(tally.output != NOT_SAID)
    rows = rows[np.lexsort((lane.repeat[rows], lane.prompt[rows]))]
    cell = lane.prompt[rows]
    first = rows[agreement.mark_group_starts(cell)]
    enough = np.bincount(cell, minlength=cells)[lane.prompt[first]] >= _FEWEST_ANSWERS
    first = first[enough & (lane.repeat[first] == 0)]
    pooled = agreement.pool_segments(tally.own)
    bounds = np.searchsorted(pooled.cell, np.arange(cells + 1))
    varied = np.diff(bounds)[lane.prompt[first]] > 1
    counts, chosen, odd = [], [], []
    for row in first[varied].tolist():
        prompt = int(lane.prompt[row])
        inside = slice(bounds[prompt], bounds[prompt + 1])
        number = pooled.count[inside].tolist()
        place = pooled.output[inside].tolist().index(int(tally.output[row]))
        counts.append(number)
        chosen.append(place)
        if number[place] == 1 and max(number) > 1:
            odd.append((row, int(rows[np.searchsorted(cell, prompt) + 1])))
    return stats.odd_one_test(counts, chosen, alike=int((~varied).sum()), permutations=drawn), odd


def note_unreached_load(tally: Tally) -> Iterable[str]:
    """The load that was asked for and never came about: limits or a small number of trials held it back."""
    wanted, reached = tally.lane.provider.concurrency, tally.lane.most_in_flight
    if 0 < reached < wanted:
        yield f"{wanted} requests in flight were asked for and at most {reached} came about"
