"""Pairs of peers that can be told apart in, who is the odd one and what is said of which pair out.

Where a reference claims the same model it decides, and peers are not held against each other. Where none does, a
difference of two says that one of them strays and not which: only who differs from every member of a camp that holds
more than half of the endpoints is accused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tempzero import stats
from tempzero.analysis.evidence import (
    Case,
    condition_suffix,
    describe_estimate,
    describe_parts,
    find_compared_differences,
    pick_commonest_trials,
    take_evidence,
)
from tempzero.analysis.pair_figures import Comparison
from tempzero.precision.declared import group_declared
from tempzero.types.asked import Trial
from tempzero.types.concluded import Camps, Finding, FindingWeight
from tempzero.types.vocabulary import Rule

ODD_ONE = Rule(
    name="odd_one",
    words="Differs from every endpoint of the largest camp",
    shown_by="excess divergence from each member of a camp that holds more than half of its model's endpoints, by less "
    "than the whole budget of peers lets chance explain: labels permuted within prompt, Holm over all pairs of peers "
    "that no reference decides",
)
CAMPS_DIFFER = Rule(
    name="camps",
    words="Endpoints of one model fall into camps",
    shown_by="the same tests; no camp holds more than half, or somebody is told apart from some of its members only",
)
DIFFERS = Rule(
    name="differs",
    words="Differs from another provider",
    shown_by="excess divergence: labels permuted within prompt, Holm over all pairs of peers that no reference decides",
)
_NAMES_SHOWN = 4
_PAIRS_SHOWN = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldedPair:
    """A pair that is told; where `accuses`, the left one is the odd one and stands for all its like."""

    index: int
    swapped: bool
    weight: FindingWeight


@dataclass(frozen=True, kw_only=True, slots=True)
class _PeerGroup:
    """Peers of one claimed model under one condition that are held against each other, and the places of their pairs
    among all comparisons."""

    claimed_model: str
    condition: str
    declared: str
    names: tuple[str, ...]
    indices: tuple[int, ...]


def fold_pairs(case: Case, told_apart: Iterable[int], also: Collection[int] = ()) -> Iterator[FoldedPair]:
    """Of comparisons that some rule tells apart: those of a reference as they are, those of peers camp by camp.

    An odd one is told once, against the first member of the camp; any other difference once for each two camps.
    `also` are peers that a reference would decide, and does not, for it does not say what the rule asks; they are peers
    whatever precision they declare.
    """
    chosen = set(told_apart)
    for index in sorted(i for i in chosen if case.comparisons[i].pair.kind == "reference"):
        yield FoldedPair(index=index, swapped=False, weight="accuses")
    if all(case.comparisons[i].pair.kind == "reference" for i in chosen):
        return
    for group in _list_peer_groups(case, also):
        camps, odd = _divide_group(case, group, chosen)
        yield from _fold_group(case, group, chosen, camps, odd)


def find_peer_camps(case: Case) -> tuple[Camps, ...]:
    """The camps by texts of every model that no reference decides; none where nothing could be tested."""
    corrected = correct_peer_tests(case)
    pairs = sum(1 for c in case.comparisons if _is_tested_peer(c))
    found = []
    for group in _list_peer_groups(case):
        if any(_is_tested_peer(case.comparisons[i]) for i in group.indices):
            camps, odd = _divide_group(case, group, set(corrected))
            found.append(
                Camps(
                    claimed_model=group.claimed_model,
                    condition=group.condition,
                    camps=tuple(tuple(group.names[i] for i in camp) for camp in camps),
                    odd=tuple(group.names[i] for i in odd),
                    pairs=pairs,
                    alpha=case.budget["camps"],
                    declared=group.declared,
                )
            )
    return tuple(found)


def correct_peer_tests(case: Case) -> dict[int, float]:
    """The comparisons of peers that differ beyond chance, with their corrected p-values."""
    tested = [i for i, c in enumerate(case.comparisons) if _is_tested_peer(c)]
    corrected = stats.holm([case.comparisons[i].test.p_value for i in tested])
    return {i: p for i, p in zip(tested, corrected, strict=True) if p <= case.budget["camps"]}


def find_odd_peers(case: Case) -> Iterable[Finding]:
    """By their texts: the odd ones, else the camps, and an example of every two camps."""
    corrected = correct_peer_tests(case)
    if not corrected:
        return
    told = list(fold_pairs(case, corrected))
    camps = {(n, c.condition): c for c in find_peer_camps(case) for camp in c.camps for n in camp}
    for one in told:
        comparison = case.comparisons[one.index]
        if comparison.pair.kind == "reference":
            continue
        comparison = flip_comparison(comparison) if one.swapped else comparison
        of = camps[comparison.pair.left.name, comparison.pair.subject.condition]
        if one.weight == "accuses":
            yield _build_odd_finding(case, comparison, of, corrected)
        else:
            yield _build_difference(case, comparison, corrected[one.index], len(corrected), one.weight)
    for of in dict.fromkeys(camps.values()):
        if of.endpoints > 2 and any(w.weight == "about_set" for w in told if _is_in_set(case, w, of)):
            yield _build_camps_finding(of)


def flip_comparison(comparison: Comparison) -> Comparison:
    """The same, seen from the other side."""
    pair = comparison.pair
    return replace(
        comparison,
        pair=replace(pair, left=pair.right, right=pair.left),
        left=comparison.right,
        right=comparison.left,
        parts={n: replace(p, left=p.right, right=p.left) for n, p in comparison.parts.items()},
    )


def describe_differences(comparison: Comparison) -> str:
    """On how many prompts what is compared differs, and which parts of it."""
    matched = comparison.match[~np.isnan(comparison.match)]
    parts = describe_parts({n: int((p.match < 1).sum()) for n, p in comparison.parts.items()})
    what = "texts" if not comparison.parts else "answers"
    if comparison.pair.basis == "spoken":
        what += ", compared without the reasoning that only one of them shows,"
    return f"{what} differ on {int((matched < 1).sum())} of {matched.size} prompts{f' ({parts})' if parts else ''}"


def pick_largest_excess(comparison: Comparison, case: Case) -> tuple[Trial, ...]:
    """The commonest text of each side, on the prompts with the largest excess."""
    prompts, _ = find_compared_differences(comparison, case.texts)
    largest = prompts[np.lexsort((prompts, -np.nan_to_num(comparison.excess[prompts])))]
    return take_evidence(t for j in largest.tolist() for t in pick_commonest_trials(comparison, j, case.prompts))


def list_names(names: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def _is_tested_peer(comparison: Comparison) -> bool:
    return comparison.pair.kind == "cross" and comparison.test.n > 0


def _list_peer_groups(case: Case, also: Collection[int] = ()) -> list[_PeerGroup]:
    groups: dict[tuple[str, str, str], list[int]] = {}
    for index, comparison in enumerate(case.comparisons):
        pair = comparison.pair
        if pair.kind == "cross" and (not pair.decided or index in also):
            provider = pair.left.lane.provider
            declared = "" if also else group_declared(provider.claims.precision)
            groups.setdefault((provider.claimed_model, pair.left.lane.condition, declared), []).append(index)
    return [
        _PeerGroup(
            claimed_model=model,
            condition=condition,
            declared=declared,
            names=tuple(
                dict.fromkeys(
                    t.name for i in indices for t in (case.comparisons[i].pair.left, case.comparisons[i].pair.right)
                )
            ),
            indices=tuple(indices),
        )
        for (model, condition, declared), indices in groups.items()
    ]


def _divide_group(case: Case, group: _PeerGroup, told_apart: set[int]) -> tuple[list[list[int]], list[int]]:
    place = {name: i for i, name in enumerate(group.names)}
    apart = np.zeros((len(place), len(place)), dtype=bool)
    alike = np.zeros(apart.shape)
    for index in group.indices:
        pair = case.comparisons[index].pair
        one, other = place[pair.left.name], place[pair.right.name]
        match = case.comparisons[index].match
        match = match[~np.isnan(match)]
        alike[one, other] = alike[other, one] = match.mean() if match.size else 0.0
        apart[one, other] = apart[other, one] = index in told_apart
    camps = stats.find_camps(apart, alike)
    return camps, stats.find_odd_ones(camps, apart)


def _fold_group(
    case: Case, group: _PeerGroup, chosen: set[int], camps: Sequence[Sequence[int]], odd: Sequence[int]
) -> Iterator[FoldedPair]:
    camp_of = {group.names[i]: number for number, camp in enumerate(camps) for i in camp}
    strays = {group.names[i] for i in odd}
    told: set[object] = set()
    shown = 0
    for index in group.indices:
        if index not in chosen:
            continue
        pair = case.comparisons[index].pair
        left, right = pair.left.name, pair.right.name
        accused = next((n for n, o in ((left, right), (right, left)) if n in strays and camp_of[o] == 0), None)
        key: object = accused if accused is not None else frozenset({camp_of[left], camp_of[right]})
        if key in told or (accused is None and shown >= _PAIRS_SHOWN):
            continue
        told.add(key)
        shown += accused is None
        beside_odd = bool({left, right} & strays)
        weight: FindingWeight = "accuses" if accused is not None else "note" if beside_odd else "about_set"
        yield FoldedPair(index=index, swapped=accused == right, weight=weight)


def _is_in_set(case: Case, one: FoldedPair, of: Camps) -> bool:
    pair = case.comparisons[one.index].pair
    return pair.left.lane.condition == of.condition and any(pair.left.name in camp for camp in of.camps)


def _build_odd_finding(case: Case, comparison: Comparison, of: Camps, corrected: dict[int, float]) -> Finding:
    name, most = comparison.pair.left.name, of.camps[0]
    against = [
        (i, case.comparisons[i])
        for i in corrected
        if {case.comparisons[i].pair.left.name, case.comparisons[i].pair.right.name} & set(most)
        and name in (case.comparisons[i].pair.left.name, case.comparisons[i].pair.right.name)
        and case.comparisons[i].pair.left.lane.condition == of.condition
    ]
    p_value = max(corrected[i] for i, _ in against)
    least, weakest = min(against, key=lambda one: one[1].estimate.value or 0.0)
    differ = [int((c.match < 1).sum()) for _, c in against]
    measured = int((~np.isnan(comparison.match)).sum())
    often = f"{min(differ)}" if min(differ) == max(differ) else f"{min(differ)} to {max(differ)}"
    return Finding(
        rule=ODD_ONE.name,
        subject=name,
        other=comparison.pair.right.name,
        message=f"{name}{condition_suffix(of.condition)}: gives other texts than each of the {len(most)} of "
        f"{of.endpoints} endpoints of {of.title} that cannot be told apart ({list_names(most)}): on {often} of "
        f"{measured} prompts, by more than any of them differs from itself (at least: excess divergence "
        f"{describe_estimate(weakest.estimate)}; p = {p_value:.2g} after Holm over {of.pairs} pairs). Whether by more "
        "than 16-bit rounding is not known without a reference",
        estimate=case.comparisons[least].estimate,
        p_value=p_value,
        evidence=pick_largest_excess(comparison, case),
    )


def _build_difference(case: Case, comparison: Comparison, p_value: float, pairs: int, weight: FindingWeight) -> Finding:
    pair = comparison.pair
    matched = comparison.match[~np.isnan(comparison.match)]
    return Finding(
        rule=DIFFERS.name,
        subject=pair.left.name,
        other=pair.right.name,
        message=f"{pair.left.name} differs from {pair.right.name}{condition_suffix(pair.subject.condition)} by more "
        f"than either differs from itself: excess divergence {describe_estimate(comparison.estimate)} "
        f"(p = {p_value:.2g} after Holm over all pairs); {describe_differences(comparison)}, cross-EMR "
        f"{describe_estimate(stats.share_over_prompts(matched))}. Which of the two strays this does not say",
        estimate=comparison.estimate,
        p_value=p_value,
        evidence=pick_largest_excess(comparison, case),
        weight=weight,
    )


def _build_camps_finding(of: Camps) -> Finding:
    listed = " | ".join(list_names(camp) for camp in of.camps[:_NAMES_SHOWN])
    more = f" | and {len(of.camps) - _NAMES_SHOWN} more camps" if len(of.camps) > _NAMES_SHOWN else ""
    return Finding(
        rule=CAMPS_DIFFER.name,
        subject=of.title,
        other=None,
        message=f"{of.title}{condition_suffix(of.condition)}: {len(of.camps)} camps among {of.endpoints} "
        f"endpoints: {listed}{more}. Within a camp none can be told from another; no camp that all others differ from "
        "holds more than half of them, so nobody is accused. A reference would say who strays",
        estimate=None,
        p_value=None,
        evidence=(),
        weight="about_set",
    )
