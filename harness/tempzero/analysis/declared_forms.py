"""What providers declare of their precision and what references read in, how each declaration stands by it out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tempzero.analysis.evidence import Case, condition_suffix
from tempzero.attribute import DeclaredForms, RoundingJudgement
from tempzero.precision.declared import ClaimStanding, ReadForms, judge_read_forms, read_declaration
from tempzero.types.concluded import Diagnosis, Finding, Level, PrecisionReading
from tempzero.types.vocabulary import RuleName

_EFFECTS: tuple[RuleName, ...] = ("answers_differ", "repeats_more", "loops_more")

Place = tuple[str, str, str]
"""A reference, a provider, a condition."""


def list_declared(case: Case) -> dict[str, str]:
    """What each provider declares, of those that do."""
    told = ((t.name, t.lane.provider.claims.precision) for t in case.tallies)
    return {name: declared for name, declared in told if declared is not None}


def note_without_peers(case: Case) -> Iterator[str]:
    """Who declares weights of a precision that nobody else of its model does, where no reference stands beside it."""
    open_to = {id(t): False for c in case.comparisons for t in (c.pair.left, c.pair.right)}
    for pair in (c.pair for c in case.comparisons):
        if pair.kind == "reference" or not pair.decided:
            open_to[id(pair.left)] = open_to[id(pair.right)] = True
    for one in case.tallies:
        if open_to.get(id(one), True):
            continue
        declared = one.lane.provider.claims.precision or "no precision"
        yield (
            f"{one.name}{condition_suffix(one.lane.condition)}: declares {declared}, and no other endpoint of its "
            "model declares as many bits: its texts are held against nobody's"
        )


def soften_effects(found: Iterable[Finding], levels: Iterable[Level]) -> Iterator[Finding]:
    """What coarser weights do to answers is told of whom declares them and serves them, and accuses nobody."""
    confirmed = {one.provider for one in levels if one.name == "declared"}
    for one in found:
        if one.rule in _EFFECTS and one.subject in confirmed and one.weight == "accuses":
            yield replace(one, weight="note")
        else:
            yield one


def list_coarse_forms(declared: Mapping[str, str]) -> dict[str, DeclaredForms]:
    """Those that say they serve less than 16 bits, with how much rounding that may add."""
    read = {name: read_declaration(words) for name, words in declared.items()}
    return {n: DeclaredForms(names=one.names, room=one.room) for n, one in read.items() if one.room}


def judge_declarations(
    declared: Mapping[str, str],
    judged: Sequence[RoundingJudgement],
    diagnoses: Iterable[Diagnosis],
    fingerprints: Iterable[PrecisionReading],
    limit: float,
) -> dict[Place, ClaimStanding]:
    """How each declaration stands by what was read; where that leaves it open, by first tokens that confirm it.

    From `limit` on the evidence speaks of more than 16-bit rounding.
    """
    served = {(d.reference, d.provider, d.condition): d.forms for d in diagnoses if _names_weights(d)}
    confirmed = {f.provider: f.because for f in fingerprints if f.standing == "confirmed"}
    found = {}
    for one in judged:
        place = (one.reference, one.provider, one.condition)
        standing = _judge_reading(declared.get(one.provider), one, served.get(place, ()), within=one.evidence < limit)
        if standing.standing == "untested" and one.provider in confirmed and one.declared_evidence < limit:
            words = f"{confirmed[one.provider]}, by the log-probabilities of its first tokens"
            standing = ClaimStanding(standing="confirmed", words=words)
        found[place] = standing
    return found


def judge_diagnosis(declared: str | None, one: Diagnosis) -> ClaimStanding:
    """How a declaration stands to the forms that a diagnosis names."""
    return judge_read_forms(declared, ReadForms(served=one.forms, explaining=(), alike=(), refuted=(), within=False))


def _names_weights(one: Diagnosis) -> bool:
    return one.cause == "coarser" and one.strength == "shown"


def _judge_reading(
    declared: str | None, one: RoundingJudgement, served: Sequence[str], *, within: bool
) -> ClaimStanding:
    return judge_read_forms(
        declared,
        ReadForms(
            served=served,
            explaining=one.forms.explaining,
            alike=tuple(a.name for a in one.alike),
            refuted=one.forms.refuted,
            within=within and (one.shown or not one.missed),
        ),
    )
