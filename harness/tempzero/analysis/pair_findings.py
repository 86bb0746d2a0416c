"""Comparisons in, Findings about pairs of providers out; p-values are corrected over all pairs of the run (Holm)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tempzero import stats
from tempzero.analysis.evidence import (
    Case,
    condition_suffix,
    describe_estimate,
    describe_parts,
    find_compared_differences,
    pick_answered_trials,
    pick_commonest_trials,
    take_evidence,
)
from tempzero.analysis.observations import NOT_SAID
from tempzero.analysis.pair_figures import Comparison, Pair, majority_flips, metric_excess
from tempzero.metrics import agreement
from tempzero.metrics.agreement import Floats
from tempzero.metrics.answers import majority_vote
from tempzero.types.asked import Trial
from tempzero.types.concluded import Estimate, Finding
from tempzero.types.vocabulary import Rule

_PERMUTATION = "excess divergence: labels permuted within prompt, Holm over every pair of the run"
DEVIATES_FROM_REFERENCE = Rule(
    name="deviates_from_reference", words="Differs from the reference", shown_by=_PERMUTATION
)
DIFFERS = Rule(name="differs", words="Differs from another provider", shown_by=_PERMUTATION)
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


def find_divergent_pairs(case: Case) -> Iterable[Finding]:
    """Excess divergence that chance does not explain: labels permuted within prompt, Holm over every pair."""
    corrected = stats.holm([c.test.p_value for c in case.comparisons])
    for comparison, p_value in zip(case.comparisons, corrected, strict=True):
        if p_value > case.alpha:
            continue
        pair = comparison.pair
        matched = comparison.match[~np.isnan(comparison.match)]
        against_reference = pair.kind == "reference"
        words = "deviates from the reference" if against_reference else "differs from"
        yield build_pair_finding(
            DEVIATES_FROM_REFERENCE if against_reference else DIFFERS,
            pair,
            f"{words} {pair.right.name}{condition_suffix(pair.subject.condition)} by more than either differs "
            "from itself: excess "
            f"divergence {describe_estimate(comparison.estimate)} (p = {p_value:.2g} after Holm over "
            f"{len(corrected)} pairs); "
            f"{describe_differences(comparison)}, cross-EMR {describe_estimate(stats.share_over_prompts(matched))}",
            comparison.estimate,
            p_value,
            pick_largest_excess(comparison, case),
        )


def describe_differences(comparison: Comparison) -> str:
    """On how many prompts what is compared differs, and which parts of it."""
    matched = comparison.match[~np.isnan(comparison.match)]
    parts = describe_parts({n: int((p.match < 1).sum()) for n, p in comparison.parts.items()})
    what = "texts" if not comparison.parts else "answers"
    if comparison.pair.basis == "spoken":
        what += ", compared without the reasoning that only one of them shows,"
    return f"{what} differ on {int((matched < 1).sum())} of {matched.size} prompts{f' ({parts})' if parts else ''}"


def find_prompt_token_differences(case: Case) -> Iterable[Finding]:
    """The same messages and weights give the same number; another one means another template or prompt.

    Where the reference reports its numbers, providers are held against it and not against each other.
    """
    told = {
        _pair_group(c.pair)
        for c in case.comparisons
        if c.pair.kind == "reference" and c.pair.right.prompt_tokens.cell.size
    }
    for pair in (c.pair for c in case.comparisons):
        if pair.kind == "cross" and _pair_group(pair) in told:
            continue
        left, right = (agreement.commonest_outputs(t.prompt_tokens) for t in (pair.left, pair.right))
        both = (left != NOT_SAID) & (right != NOT_SAID)
        differ = np.flatnonzero(both & (left != right))
        if not differ.size:
            continue
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
        )


def find_answer_differences(case: Case) -> Iterable[Finding]:
    """Exact McNemar on the prompts that one side gets right by majority and the other does not."""
    sides = [tuple(majority_vote(t.correct) for t in (c.pair.left, c.pair.right)) for c in case.comparisons]
    tested = [i for i, (left, right) in enumerate(sides) if not np.isnan(left + right).all()]
    raw = [stats.mcnemar_exact(*_count_one_sided(*sides[i])) for i in tested]
    for index, p_value in zip(tested, stats.holm(raw), strict=True):
        if p_value > case.alpha:
            continue
        pair = case.comparisons[index].pair
        only_left, only_right = _count_one_sided(*sides[index])
        flipped = majority_flips(pair)
        number = int((~np.isnan(flipped)).sum())
        yield build_pair_finding(
            ANSWERS_DIFFER,
            pair,
            f"and {pair.right.name}{condition_suffix(pair.subject.condition)} are not equally often right: of "
            f"{number} prompts "
            f"{only_left} are right only with {pair.left.name} and {only_right} only with {pair.right.name} "
            f"(exact McNemar p = {p_value:.2g} after Holm over {len(tested)} pairs)",
            stats.wilson_proportion(only_left + only_right, number),
            p_value,
            pick_pair_trials(pair, np.flatnonzero(flipped == 1).tolist(), case),
        )


def find_more_repetition(case: Case) -> Iterable[Finding]:
    """Paired sign-flip test of seq-rep-4 over the reference, by prompt."""
    pairs = [c.pair for c in case.comparisons if c.pair.kind == "reference"]
    differences = [metric_excess("seq_rep_4", pair.left, [pair.right]) for pair in pairs]
    tests = [stats.sign_flip_test(d[~np.isnan(d)]) for d in differences]
    corrected = stats.holm([t.p_value for t in tests])
    for pair, values, test, p_value in zip(pairs, differences, tests, corrected, strict=True):
        if p_value > case.alpha or test.statistic <= 0:
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
    sides = [tuple(majority_vote(t.metrics["loop_share"]) for t in (p.left, p.right)) for p in pairs]
    corrected = stats.holm([stats.mcnemar_exact(*_count_one_sided(*s)) for s in sides])
    for pair, (left, right), p_value in zip(pairs, sides, corrected, strict=True):
        only_left, only_right = _count_one_sided(left, right)
        if p_value > case.alpha or only_left <= only_right:
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
    rule: Rule, pair: Pair, says: str, estimate: Estimate, p_value: float | None, evidence: tuple[Trial, ...]
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
    )


def pick_largest_excess(comparison: Comparison, case: Case) -> tuple[Trial, ...]:
    """The commonest text of each side, on the prompts with the largest excess."""
    prompts, _ = find_compared_differences(comparison, case.texts)
    largest = prompts[np.lexsort((prompts, -np.nan_to_num(comparison.excess[prompts])))]
    return take_evidence(t for j in largest.tolist() for t in pick_commonest_trials(comparison, j, case.prompts))


def pick_pair_trials(pair: Pair, prompts: list[int], case: Case) -> tuple[Trial, ...]:
    """On each side the first answer to each of these prompts."""
    return take_evidence(t for j in prompts for t in pick_answered_trials(pair.left, pair.right, j, case.prompts))


def _pair_group(pair: Pair) -> tuple[str, str]:
    return pair.left.lane.provider.claimed_model, pair.subject.condition


def _count_one_sided(left: Floats, right: Floats) -> tuple[int, int]:
    """On how many prompts only the left side, and only the right side, is 1."""
    return int(((left == 1) & (right == 0)).sum()), int(((left == 0) & (right == 1)).sum())
