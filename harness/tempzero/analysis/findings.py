"""Tallies and comparisons in, Findings out: statements the data support, with the trials that prove them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tempzero import stats
from tempzero.analysis.evidence import (
    Case,
    condition_suffix,
    describe_estimate,
    find_different_bits,
    find_different_repeats,
    load_suffix,
    take_evidence,
)
from tempzero.analysis.observations import NOT_SAID, Identity
from tempzero.analysis.pair_findings import (
    find_answer_differences,
    find_divergent_pairs,
    find_more_loops,
    find_more_repetition,
    find_prompt_token_differences,
)
from tempzero.analysis.provider_figures import identical_bits_share
from tempzero.analysis.tallies import Tally, planned_repeats
from tempzero.metrics.agreement import Floats
from tempzero.types.concluded import Finding
from tempzero.types.recorded import IDENTITY_LABELS
from tempzero.types.vocabulary import Rule

REFERENCE_NOT_REPRODUCIBLE = Rule(
    name="reference_not_reproducible",
    words="The reference does not repeat itself",
    shown_by="existence: one prompt's repeats have different logits or token ids, or where there are none, texts",
)
NONDETERMINISTIC = Rule(
    name="nondeterministic",
    words="Does not repeat itself",
    shown_by="existence: different texts to the same request under the same identity",
)
IDENTITY_CHANGED = Rule(
    name="identity_changed",
    words="Changed its identity during the run",
    shown_by="existence: responses name several served models, backends or fingerprints",
)


def collect_findings(case: Case) -> tuple[Finding, ...]:
    """Everything that the texts and records show."""
    found: list[Finding] = []
    for tally in case.tallies:
        found += _find_nondeterminism(tally, case)
        found += _find_identity_change(tally, case)
        if tally.name in case.references:
            found += _find_irreproducible_reference(tally, case)
    for rule in (
        find_divergent_pairs,
        find_prompt_token_differences,
        find_answer_differences,
        find_more_repetition,
        find_more_loops,
    ):
        found += rule(case)
    return tuple(found)


def sort_findings(found: Iterable[Finding], rules: Iterable[Rule]) -> tuple[Finding, ...]:
    """In a fixed order: by rule, as they are listed, then by whom they speak of."""
    order = [rule.name for rule in rules]
    return tuple(sorted(found, key=lambda f: (order.index(f.rule), f.subject, f.other or "", f.message)))


def _find_nondeterminism(tally: Tally, case: Case) -> Iterable[Finding]:
    """An existence proof: the same request bytes and the same identity, yet different texts."""
    measured = ~np.isnan(tally.emr)
    diverged = np.flatnonzero(measured & (tally.emr < 1)).tolist()
    if not diverged:
        return
    estimate = stats.share_over_prompts(tally.emr[measured])
    provider, lane = tally.lane.provider, tally.lane
    temperature = "no temperature sent" if provider.temperature is None else f"temperature {provider.temperature:g}"
    names = ", ".join(f'"{case.prompts[j].id}"' for j in diverged[:3]) + (", ..." if len(diverged) > 3 else "")
    router = "" if provider.pinned else "; it is not pinned, so its router may have chosen several upstreams"
    often = f"EMR {describe_estimate(estimate)}"
    if tally.stopped is not None:
        often = "how often cannot be said, since prompts were no longer asked after their first divergence"
    yield Finding(
        rule=NONDETERMINISTIC.name,
        subject=tally.name,
        other=None,
        message=f"{tally.name}{condition_suffix(lane.condition)}: the same request gave different texts on "
        f"{len(diverged)} of "
        f"{estimate.n} prompts ({names}) in {planned_repeats(lane)} repeats, {temperature}{load_suffix(tally)}; "
        f"{often}{router}",
        estimate=estimate if tally.stopped is None else None,
        p_value=None,
        evidence=take_evidence(trial for j in diverged for trial in find_different_repeats(tally, j, case.prompts)),
    )


def _find_identity_change(tally: Tally, case: Case) -> Iterable[Finding]:
    numbers, first = np.unique(tally.lane.identity, return_index=True)
    seen = [(case.identities[i], row) for i, row in zip(numbers.tolist(), first.tolist(), strict=True) if i != NOT_SAID]
    if len(seen) < 2:
        return
    router = "" if tally.lane.provider.pinned else "; it is not pinned, so its router may choose"
    yield Finding(
        rule=IDENTITY_CHANGED.name,
        subject=tally.name,
        other=None,
        message=f"{tally.name}{condition_suffix(tally.lane.condition)} answered under {len(seen)} identities "
        "within this run: "
        f"{_describe_identity_change([identity for identity, _ in seen])}; repeats are compared within one "
        f"identity only{router}",
        estimate=None,
        p_value=None,
        evidence=take_evidence(tally.trial(row, case.prompts) for _, row in sorted(seen, key=lambda s: s[1])),
    )


def _describe_identity_change(seen: list[Identity]) -> str:
    """Which of the three changed, and between what; shortened, since a provider may say anything."""
    parts = []
    for name in IDENTITY_LABELS:
        values = sorted({str(getattr(identity, name))[:60] for identity in seen})
        if len(values) > 1:
            parts.append(f"{name} {' | '.join(values[:4])}{' | ...' if len(values) > 4 else ''}")
    return ", ".join(parts)


def _find_irreproducible_reference(tally: Tally, case: Case) -> Iterable[Finding]:
    """By logits and token ids where the engine gives them, else by text."""
    bits = identical_bits_share(tally.lane, len(tally.emr))
    by_bits = not np.isnan(bits).all()
    same: Floats = bits if by_bits else tally.emr
    measured = ~np.isnan(same)
    broken = np.flatnonzero(measured & (same < 1)).tolist()
    if not broken:
        return
    estimate = stats.share_over_prompts(same[measured])
    proof = find_different_bits if by_bits else find_different_repeats
    yield Finding(
        rule=REFERENCE_NOT_REPRODUCIBLE.name,
        subject=tally.name,
        other=None,
        message=f"{tally.name}{condition_suffix(tally.lane.condition)} is the reference, and yet its own repeats "
        "have different "
        f"{'logits or token ids' if by_bits else 'texts'} on {len(broken)} of {estimate.n} prompts; whatever is "
        "compared with it carries that noise",
        estimate=estimate,
        p_value=None,
        evidence=take_evidence(trial for j in broken for trial in proof(tally, j, case.prompts)),
    )
