"""Tallies and comparisons in, Findings out: statements the data support, with the trials that prove them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tempzero import stats
from tempzero.analysis.conditions import find_condition_differences, find_first_answer_differences
from tempzero.analysis.evidence import (
    Case,
    condition_suffix,
    describe_estimate,
    describe_parts,
    find_different_bits,
    find_different_repeats,
    load_suffix,
    take_evidence,
)
from tempzero.analysis.flag_findings import find_broken_promises
from tempzero.analysis.pair_findings import (
    find_answer_differences,
    find_more_loops,
    find_more_repetition,
    find_prompt_token_differences,
    note_other_texts,
)
from tempzero.analysis.part_counts import NOT_SAID, Identity
from tempzero.analysis.peer_camps import find_odd_peers
from tempzero.analysis.provider_figures import identical_bits_share
from tempzero.analysis.reasoning_findings import find_reasoning_differences
from tempzero.analysis.tallies import Tally, planned_repeats
from tempzero.config import Provider
from tempzero.metrics.agreement import Floats
from tempzero.types.concluded import Finding
from tempzero.types.recorded import IdentityLabel
from tempzero.types.vocabulary import Rule

REFERENCE_NOT_REPRODUCIBLE = Rule(
    name="reference_not_reproducible",
    words="The reference does not repeat itself",
    shown_by="existence: one prompt's repeats have different logits or token ids, or where there are none, texts",
)
NONDETERMINISTIC = Rule(
    name="nondeterministic",
    words="Does not repeat itself",
    shown_by="existence: different answers, in any of their parts, to the same request by the same served model and "
    "backend; not where no temperature, or another than 0, was sent",
)
IDENTITY_CHANGED = Rule(
    name="identity_changed",
    words="Changed its identity during the run",
    shown_by="existence: responses name several served models, or several backends of a provider said to be pinned to "
    "one",
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
        find_broken_promises,
        find_condition_differences,
        find_first_answer_differences,
        note_other_texts,
        find_odd_peers,
        find_reasoning_differences,
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


def _describe_temperature(provider: Provider) -> str:
    """What is known of it: of imported records nobody knows whether what they do not say was sent."""
    if provider.temperature is not None:
        return f"temperature {provider.temperature:g}"
    return "no temperature sent" if provider.imported is None else "no one temperature recorded"


def _find_nondeterminism(tally: Tally, case: Case) -> Iterable[Finding]:
    """An existence proof: the same request bytes and the same identity, yet answers that differ in any part."""
    measured = ~np.isnan(tally.emr)
    diverged = np.flatnonzero(measured & (tally.emr < 1)).tolist()
    if not diverged or tally.lane.is_sampled:
        return
    estimate = stats.share_over_prompts(tally.emr[measured])
    provider, lane = tally.lane.provider, tally.lane
    temperature = _describe_temperature(provider)
    names = ", ".join(f'"{case.prompts[j].id}"' for j in diverged[:3]) + (", ..." if len(diverged) > 3 else "")
    router = "" if provider.pinned else "; it is not pinned, so its router may have chosen several upstreams"
    parts = tally.own_parts()
    what = "answers" if parts else "texts"
    which = describe_parts({name: int((part.emr[diverged] < 1).sum()) for name, part in parts.items()})
    often = f"EMR {describe_estimate(estimate)}"
    if tally.stopped is not None:
        often = f"how often cannot be said, since asking each prompt stopped {tally.stopped.described}"
    yield Finding(
        rule=NONDETERMINISTIC.name,
        subject=tally.name,
        other=None,
        message=f"{tally.name}{condition_suffix(lane.condition)}: the same request gave different "
        f"{what} on {len(diverged)} of {estimate.n} prompts ({names}){f', {which},' if which else ''} in "
        f"{planned_repeats(lane)} repeats, {temperature}{load_suffix(tally)}; {often}{router}",
        estimate=estimate if tally.stopped is None else None,
        p_value=None,
        evidence=take_evidence(trial for j in diverged for trial in find_different_repeats(tally, j, case.prompts)),
    )


def _find_identity_change(tally: Tally, case: Case) -> Iterable[Finding]:
    """Another served model, or another backend of a provider said to be one upstream. Fingerprints change normally."""
    numbers, first = np.unique(tally.lane.identity, return_index=True)
    seen = [(case.identities[i], row) for i, row in zip(numbers.tolist(), first.tolist(), strict=True) if i != NOT_SAID]
    pinned = tally.lane.provider.pinned
    labels: tuple[IdentityLabel, ...] = ("served_model", "backend") if pinned else ("served_model",)
    changed = [label for label in labels if len({getattr(identity, label) for identity, _ in seen}) > 1]
    if not changed:
        return
    firsts = {tuple(getattr(i, label) for label in changed): row for i, row in sorted(seen, key=lambda s: -s[1])}
    router = "" if pinned else "; it is not pinned, so its router may choose"
    yield Finding(
        rule=IDENTITY_CHANGED.name,
        subject=tally.name,
        other=None,
        message=f"{tally.name}{condition_suffix(tally.lane.condition)} answered as {len(firsts)} within this run: "
        f"{_describe_identity_change([identity for identity, _ in seen], changed)}; repeats are compared within one "
        f"served model and backend only{router}",
        estimate=None,
        p_value=None,
        evidence=take_evidence(tally.trial(row, case.prompts) for row in sorted(firsts.values())),
    )


def _describe_identity_change(seen: list[Identity], changed: Sequence[IdentityLabel]) -> str:
    """What changed, and between what; shortened, since a provider may say anything."""
    parts = []
    for name in changed:
        values = sorted({"not said" if (v := getattr(i, name)) is None else str(v)[:60] for i in seen})
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
