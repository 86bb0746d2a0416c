"""A fingerprint's run folder and its direction pack in, a conclusion for each host and each pair of hosts out.

Pure: the same folder and pack, the same conclusions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tempzero.answers.first_tokens import FirstToken, read_first_tokens
from tempzero.precision.declared import ClaimStanding, judge_claim
from tempzero.precision.displacement import Displacement, measure_displacement
from tempzero.precision.logit_grid import LogitGrid, find_logit_grid
from tempzero.precision.naming import Naming, name_forms
from tempzero.precision.packs import DirectionPack
from tempzero.precision.shared_displacement import SharedDisplacement, compare_displacements
from tempzero.records import Run
from tempzero.types.vocabulary import FingerprintState

_LEAST_KNOWN = 0.5
_FEW_CANDIDATES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class HostFingerprint:
    """What one host's first tokens say. `reason` says why there is no answer, where there is none."""

    provider: str
    declared: str | None
    state: FingerprintState
    reason: str
    standing: ClaimStanding
    displacement: Displacement
    naming: Naming | None
    grid: LogitGrid


@dataclass(frozen=True, kw_only=True, slots=True)
class FingerprintReport:
    """All hosts of a run, and those pairs whose displacements could be compared, no form needed."""

    pack: DirectionPack
    hosts: tuple[HostFingerprint, ...]
    pairs: tuple[SharedDisplacement, ...]


def conclude_fingerprint(run: Run, pack: DirectionPack) -> FingerprintReport:
    """What each provider of the run is. Raises RunFolderError where a line is damaged."""
    answers = _collect_answers(run, pack)
    hosts = tuple(
        conclude_host(pack, name, run.config.provider(name).claims.precision, given, hosts=len(answers))
        for name, given in answers.items()
    )
    return FingerprintReport(pack=pack, hosts=hosts, pairs=compare_displacements(pack, _comparable(hosts)))


def conclude_host(
    pack: DirectionPack,
    provider: str,
    declared: str | None,
    answers: Mapping[str, Sequence[Sequence[FirstToken]]],
    *,
    hosts: int = 1,
) -> HostFingerprint:
    """One host's first tokens, by prompt those of each response, held against the pack; one of so many `hosts`."""
    displacement = measure_displacement(pack, answers)
    naming, state, reason = name_displacement(pack, displacement, hosts=hosts)
    shifts = dict(zip((p.id for p in pack.prompts), pack.normalisers[pack.rows.places == 0], strict=True))
    every = [
        (np.array([c.logprob for c in one[0].candidates]), shifts[p]) for p, given in answers.items() for one in given
    ]
    return HostFingerprint(
        provider=provider,
        declared=declared,
        state=state,
        reason=reason,
        standing=judge_claim(declared, pack, naming, trusted=state != "no answer", moved=state == "unknown form"),
        displacement=displacement,
        naming=naming,
        grid=find_logit_grid([row for row, _ in every], [shift for _, shift in every], displacement.decimals),
    )


def name_displacement(
    pack: DirectionPack, displacement: Displacement, *, hosts: int = 1
) -> tuple[Naming | None, FingerprintState, str]:
    """What a displacement is named as, if anything, and why not."""
    centred = displacement.renormalised or displacement.most_candidates > _FEW_CANDIDATES
    naming = None if displacement.certain else name_forms(pack, displacement.by, centred=centred, hosts=hosts)
    state, reason = _decide_state(pack, displacement, naming)
    return naming, state, reason


def _collect_answers(run: Run, pack: DirectionPack) -> dict[str, dict[str, list[Sequence[FirstToken]]]]:
    """By provider and prompt, of each response; prompts of the run that are not the pack's very own are left out."""
    messages = {p.id: p.messages for p in pack.prompts}
    same = {p.id for p in run.manifest.suite.prompts if messages.get(p.id) == p.messages}
    found: dict[str, dict[str, list[Sequence[FirstToken]]]] = {}
    for record in run.records():
        trial = record.attempt.trial
        given = found.setdefault(trial.provider, {})
        told = read_first_tokens(record.attempt.exchange, pack.answer_tokens) if trial.prompt in same else ()
        if told:
            given.setdefault(trial.prompt, []).append(told)
    return {name: found[name] for name in sorted(found)}


def _decide_state(
    pack: DirectionPack, displacement: Displacement, naming: Naming | None
) -> tuple[FingerprintState, str]:
    if not displacement.given:
        return "no answer", "it gave no log-probabilities"
    if displacement.known < _LEAST_KNOWN * displacement.given:
        share = f"{displacement.known} of {displacement.given}"
        return "no answer", f"the pack knows only {share} of its tokens: another model, or tokens written another way"
    if displacement.certain:
        return "no answer", "one token has all the probability: a distribution at temperature 0, not the model's own"
    if naming is None:
        return "no answer", f"{displacement.prompts} prompts are too few"
    if naming.named:
        return ("undecided" if any(one.rivals for one in naming.named) else "named"), ""
    floor = pack.honest_size
    if floor is None:
        return "no answer", "the pack does not say how far honest 16-bit hosts are moved, and no form was found"
    if naming.unexplained_low > floor:
        return "unknown form", ""
    if naming.remainder_low > floor:
        hidden = " or ".join(d.name for d in naming.possible if d.kind != "16-bit")
        return "no answer", f"it is moved by more than 16-bit rounding, maybe by {hidden}: more prompts would tell"
    if naming.size_bound <= floor:
        return "as 16-bit", ""
    return "no answer", "it is moved about as far as honest 16-bit hosts are at most: more prompts would tell"


def _comparable(hosts: Sequence[HostFingerprint]) -> dict[str, Displacement]:
    return {h.provider: h.displacement for h in hosts if h.naming is not None}
