"""Comparisons in, Findings about pairs of providers out; p-values are corrected over all pairs of a kind (Holm)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from tempzero import stats
from tempzero.analysis.evidence import (
    Case,
    condition_suffix,
    describe_estimate,
    pick_answered_trials,
    take_evidence,
)
from tempzero.analysis.pair_figures import Pair, majority_flips, metric_excess
from tempzero.analysis.part_counts import NOT_SAID
from tempzero.analysis.peer_camps import describe_differences, fold_pairs, pick_largest_excess
from tempzero.metrics import agreement
from tempzero.metrics.agreement import Floats
from tempzero.metrics.answers import majority_vote
from tempzero.types.asked import Trial
from tempzero.types.concluded import Estimate, Finding, FindingWeight
from tempzero.types.vocabulary import Rule

DEVIATES_FROM_REFERENCE = Rule(
    name="deviates_from_reference",
    words="Gives other texts than the reference",
    shown_by="excess divergence: labels permuted within prompt, Holm over all pairs with a reference. It accuses "
    "nobody: honest 16-bit rounding gives other texts too",
)
PROMPT_TOKENS_DIFFER = Rule(
    name="prompt_tokens_differ",
    words="Counts the prompt's tokens differently",
    shown_by="existence: another number of prompt tokens for the same messages",
)
ANSWERS_DIFFER = Rule(
    name="answers_differ",
    words="Gives other answers",
    shown_by="exact McNemar on prompts right by majority with one side only, Holm over every pair",
)
REPEATS_MORE = Rule(
    name="repeats_more",
    words="Repeats more",
    shown_by="sign-flip test of seq-rep-4 over the reference by prompt, Holm over every provider",
)
LOOPS_MORE = Rule(
    name="loops_more",
    words="Falls into loops more often",
    shown_by="exact McNemar on prompts whose responses loop by majority, Holm over every provider",
)


def note_other_texts(case: Case) -> Iterable[Finding]:
    """Texts that differ from the reference's by more than chance explains; by more than rounding only reading says."""
    pairs = [c for c in case.comparisons if c.pair.kind == "reference" and c.test.n]
    corrected = stats.holm([c.test.p_value for c in pairs])
    for comparison, p_value in zip(pairs, corrected, strict=True):
        if p_value > case.alpha:
            continue
        pair = comparison.pair
        matched = comparison.match[~np.isnan(comparison.match)]
        found = build_pair_finding(
            DEVIATES_FROM_REFERENCE,
            pair,
            f"gives other texts than the reference {pair.right.name}{condition_suffix(pair.subject.condition)} by more "
            f"than either differs from itself: excess divergence {describe_estimate(comparison.estimate)} "
            f"(p = {p_value:.2g} after Holm over {len(corrected)} pairs); {describe_differences(comparison)}, "
            f"cross-EMR {describe_estimate(stats.share_over_prompts(matched))}. Honest 16-bit rounding gives other "
            "texts too",
            comparison.estimate,
            p_value,
            pick_largest_excess(comparison, case),
        )
        yield replace(found, weight="note")


def find_prompt_token_differences(case: Case) -> Iterable[Finding]:
    """The same messages and weights give the same number; another one means another template or prompt.

    Where the reference reports its numbers, providers are held against it and not against each other.
    """
    told = {_pair_group(c.pair) for c in case.comparisons if c.pair.kind == "reference" and _counts_prompts(c.pair)}
    commonest = {id(t): agreement.commonest_outputs(t.prompt_tokens) for t in case.tallies}
    differing = {}
    for index, comparison in enumerate(case.comparisons):
        left, right = (commonest[id(t)] for t in (comparison.pair.left, comparison.pair.right))
        found = np.flatnonzero((left != NOT_SAID) & (right != NOT_SAID) & (left != right))
        if found.size:
            differing[index] = found
    silent = {i for i in differing if _pair_group(case.comparisons[i].pair) not in told}
    for one in fold_pairs(case, differing, silent):
        pair = flip_pair(case.comparisons[one.index].pair) if one.swapped else case.comparisons[one.index].pair
        differ = differing[one.index]
        left, right = (commonest[id(t)] for t in (pair.left, pair.right))
        both = (left != NOT_SAID) & (right != NOT_SAID)
        low, high = int((left - right)[differ].min()), int((left - right)[differ].max())
        by = f"always by {low:+d}" if low == high else f"by {low:+d} to {high:+d}"
        match = agreement.cross_match_rate(pair.left.prompt_tokens, pair.right.prompt_tokens)
        yield build_pair_finding(
            PROMPT_TOKENS_DIFFER,
            pair,
            f"counts other prompt_tokens than {pair.right.name}{condition_suffix(pair.subject.condition)} on "
            f"{differ.size} of "
            f"{int(both.sum())} prompts, {by}: another chat template, tokenizer or hidden system prompt",
            stats.share_over_prompts(match[~np.isnan(match)]),
            None,
            pick_pair_trials(pair, differ.tolist(), case),
            one.weight,
        )


def _counts_prompts(pair: Pair) -> bool:
    """Whether the reference says how many tokens prompts have."""
    return bool(pair.right.prompt_tokens.cell.size)


def _pair_group(pair: Pair) -> tuple[str, str]:
    return pair.left.lane.provider.claimed_model, pair.subject.condition


def flip_pair(pair: Pair) -> Pair:
    """The same pair, seen from the other side."""
    return replace(pair, left=pair.right, right=pair.left)


def find_answer_differences(case: Case) -> Iterable[Finding]:
    """Exact McNemar on the prompts that one side gets right by majority and the other does not."""
    counted = {
        i: _count_right_alone(c.pair)
        for i, c in enumerate(case.comparisons)
        if has_graded_answers(c.pair) and not c.pair.decided
    }
    corrected = dict(zip(counted, stats.holm([stats.mcnemar_exact(*n) for n in counted.values()]), strict=True))
    differing = [i for i, p_value in corrected.items() if p_value <= case.budget["answers"]]
    for one in fold_pairs(case, differing):
        pair, p_value = case.comparisons[one.index].pair, corrected[one.index]
        pair = flip_pair(pair) if one.swapped else pair
        only_left, only_right = _count_right_alone(pair)
        flipped = majority_flips(pair)
        number = int((~np.isnan(flipped)).sum())
        yield build_pair_finding(
            ANSWERS_DIFFER,
            pair,
            f"and {pair.right.name}{condition_suffix(pair.subject.condition)} are not equally often right: of "
            f"{number} prompts "
            f"{only_left} are right only with {pair.left.name} and {only_right} only with {pair.right.name} "
            f"(exact McNemar p = {p_value:.2g} after Holm over {len(counted)} pairs)",
            stats.wilson_proportion(only_left + only_right, number),
            p_value,
            pick_pair_trials(pair, np.flatnonzero(flipped == 1).tolist(), case),
            one.weight,
        )


def has_graded_answers(pair: Pair) -> bool:
    """Whether any prompt was right or wrong by majority on both sides."""
    left, right = (majority_vote(t.correct) for t in (pair.left, pair.right))
    return not np.isnan(left + right).all()


def _count_right_alone(pair: Pair) -> tuple[int, int]:
    return _count_one_sided(*(majority_vote(t.correct) for t in (pair.left, pair.right)))


def find_more_repetition(case: Case) -> Iterable[Finding]:
    """Paired sign-flip test of seq-rep-4 over the reference, by prompt."""
    pairs = [c.pair for c in case.comparisons if c.pair.kind == "reference"]
    sides = [(p.left.by_part(p.basis), p.right.by_part(p.basis)) for p in pairs]
    differences = [metric_excess("seq_rep_4", left, [right]) for left, right in sides]
    tests = [stats.sign_flip_test(d[~np.isnan(d)]) for d in differences]
    corrected = stats.holm([t.p_value for t in tests])
    for pair, values, test, p_value in zip(pairs, differences, tests, corrected, strict=True):
        if p_value > case.budget["repetition"] or test.statistic <= 0:
            continue
        estimate = stats.mean_over_prompts(values[~np.isnan(values)], bounds=(-1, 1))
        most = np.argsort(-np.nan_to_num(values), kind="stable")[: int((values > 0).sum())]
        yield build_pair_finding(
            REPEATS_MORE,
            pair,
            f"repeats itself more than the reference {pair.right.name}{condition_suffix(pair.subject.condition)} "
            "on the same "
            f"prompts: seq-rep-4 excess {describe_estimate(estimate)} (sign-flip p = {p_value:.2g} after Holm over "
            f"{len(tests)} providers)",
            estimate,
            p_value,
            pick_pair_trials(pair, most.tolist(), case),
        )


def find_more_loops(case: Case) -> Iterable[Finding]:
    """Exact McNemar on the prompts whose responses end in a loop by majority."""
    pairs = [c.pair for c in case.comparisons if c.pair.kind == "reference"]
    sides = [tuple(majority_vote(t.by_part(p.basis).metrics["loop_share"]) for t in (p.left, p.right)) for p in pairs]
    corrected = stats.holm([stats.mcnemar_exact(*_count_one_sided(*s)) for s in sides])
    for pair, (left, right), p_value in zip(pairs, sides, corrected, strict=True):
        only_left, only_right = _count_one_sided(left, right)
        if p_value > case.budget["loops"] or only_left <= only_right:
            continue
        yield build_pair_finding(
            LOOPS_MORE,
            pair,
            "falls into loops more often than the reference "
            f"{pair.right.name}{condition_suffix(pair.subject.condition)}: "
            f"{only_left} prompts loop only there, {only_right} only in the reference (exact McNemar "
            f"p = {p_value:.2g} after Holm over {len(pairs)} providers)",
            stats.wilson_proportion(only_left, int((~np.isnan(left + right)).sum())),
            p_value,
            pick_pair_trials(pair, np.flatnonzero((left == 1) & (right == 0)).tolist(), case),
        )


def build_pair_finding(
    rule: Rule,
    pair: Pair,
    says: str,
    estimate: Estimate,
    p_value: float | None,
    evidence: tuple[Trial, ...],
    weight: FindingWeight = "accuses",
) -> Finding:
    """A finding about a pair; `says` goes behind the left one's name."""
    return Finding(
        rule=rule.name,
        subject=pair.left.name,
        other=pair.right.name,
        message=f"{pair.left.name} {says}",
        estimate=estimate,
        p_value=p_value,
        evidence=evidence,
        weight=weight,
    )


def pick_pair_trials(pair: Pair, prompts: list[int], case: Case) -> tuple[Trial, ...]:
    """On each side the first answer to each of these prompts."""
    return take_evidence(t for j in prompts for t in pick_answered_trials(pair.left, pair.right, j, case.prompts))


def _count_one_sided(left: Floats, right: Floats) -> tuple[int, int]:
    """On how many prompts only the left side, and only the right side, is 1."""
    return int(((left == 1) & (right == 0)).sum()), int(((left == 0) & (right == 1)).sum())
