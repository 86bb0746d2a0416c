"""What providers declare of their precision and what references read in, how each declaration stands by it out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tempzero.analysis.evidence import Case, condition_suffix
from tempzero.analysis.precision_reading import PrecisionEvidence
from tempzero.attribute import DeclaredForms, RoundingJudgement
from tempzero.config import Config
from tempzero.precision.declared import ClaimStanding, ReadForms, judge_read_forms, read_declaration
from tempzero.types.concluded import Diagnosis, Finding, Level, PrecisionReading
from tempzero.types.vocabulary import RuleName

_EFFECTS: tuple[RuleName, ...] = ("answers_differ", "repeats_more", "loops_more")

Place = tuple[str, str, str]
"""A reference, a provider, a condition."""

NO_EIGHT_BITS = "; no 8-bit form of the weights read its tokens, and one may explain them as well"
"""What is said of those that `find_without_eight_bits` finds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Declarations:
    """What each provider declares, of those that do; what endpoints declare that read as forms; who was confirmed."""

    by_provider: Mapping[str, str]
    own_forms: Mapping[str, str]
    confirmed: Mapping[str, str]

    def list_coarse(self) -> dict[str, DeclaredForms]:
        """Those that say they serve less than 16 bits, with how much rounding that may add."""
        read = {name: read_declaration(words) for name, words in self.by_provider.items()}
        return {n: DeclaredForms(names=one.names, room=one.room) for n, one in read.items() if one.room}


def collect_declarations(config: Config, fingerprints: Iterable[PrecisionReading]) -> Declarations:
    """From the configuration, and from first tokens those that confirm what is declared."""
    declared = {p.name: p.claims.precision for p in config.providers if p.claims.precision is not None}
    return Declarations(
        by_provider=declared,
        own_forms={f"coarser:{n}": declared[n] for n in config.score.coarser_endpoints if n in declared},
        confirmed={f.provider: f.because for f in fingerprints if f.standing == "confirmed"},
    )


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


def judge_declarations(
    declarations: Declarations, judged: Sequence[RoundingJudgement], diagnoses: Iterable[Diagnosis], limit: float
) -> dict[Place, ClaimStanding]:
    """How each declaration stands by what was read; where that leaves it open, by first tokens that confirm it.

    From `limit` on the evidence speaks of more than 16-bit rounding.
    """
    served = {(d.reference, d.provider, d.condition): d.forms for d in diagnoses if _names_weights(d)}
    confirmed = declarations.confirmed
    found = {}
    for one in judged:
        place = (one.reference, one.provider, one.condition)
        within = one.evidence < limit and (one.shown or not one.missed)
        standing = _judge_reading(declarations, one, served.get(place, ()), within=within)
        if standing.standing == "untested" and one.provider in confirmed and one.declared_evidence < limit:
            words = f"{confirmed[one.provider]}, by the log-probabilities of its first tokens"
            standing = ClaimStanding(standing="confirmed", words=words)
        found[place] = standing
    return found


def find_without_eight_bits(
    declarations: Declarations, judged: Iterable[RoundingJudgement], evidence: PrecisionEvidence
) -> frozenset[Place]:
    """Whose missed tokens may be those of 8-bit weights as well: no such form read them, and first tokens rule out
    none."""
    return frozenset(
        (one.reference, one.provider, one.condition)
        for one in judged
        if one.turned
        and not _was_read_in_eight_bits(declarations, one)
        and not evidence.excludes_eight_bits(one.provider)
    )


def judge_diagnosis(declarations: Declarations, one: Diagnosis) -> ClaimStanding:
    """How a declaration stands to the forms that a diagnosis names."""
    read = ReadForms(served=one.forms, explaining=(), alike=(), refuted=(), within=False, own=declarations.own_forms)
    return judge_read_forms(declarations.by_provider.get(one.provider), read)


def _names_weights(one: Diagnosis) -> bool:
    return one.cause == "coarser" and one.strength == "shown"


def _judge_reading(
    declarations: Declarations, one: RoundingJudgement, served: Sequence[str], *, within: bool
) -> ClaimStanding:
    read = _collect_read_forms(declarations, one, served, within=within)
    return judge_read_forms(declarations.by_provider.get(one.provider), read)


def _was_read_in_eight_bits(declarations: Declarations, one: RoundingJudgement) -> bool:
    read = _collect_read_forms(declarations, one, (), within=False)
    return bool(read.list_eight_bits([*read.explaining, *read.alike, *read.refuted]))


def _collect_read_forms(
    declarations: Declarations, one: RoundingJudgement, served: Sequence[str], *, within: bool
) -> ReadForms:
    return ReadForms(
        served=served,
        explaining=one.forms.explaining,
        alike=tuple(a.name for a in one.alike),
        refuted=one.forms.refuted,
        within=within,
        own=declarations.own_forms,
    )
