"""Comparisons with a reference and what it read in, how each provider stands to it out: its Level, and the findings.

The token reading rules. Texts alone say that something differs, never that something else is computed: honest 16-bit
hosts give other texts than a float32 reference on a prompt here and there.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from tempzero.analysis.declared_forms import NO_EIGHT_BITS, Declarations, Place, judge_declarations
from tempzero.analysis.evidence import Case, condition_suffix
from tempzero.analysis.pair_figures import Comparison
from tempzero.attribute import RoundingJudgement
from tempzero.attribute.alike_forms import describe_alike_forms, round_up_tokens
from tempzero.precision.declared import ClaimStanding
from tempzero.types.concluded import Diagnosis, Finding, FloorBasis, Level, LevelName
from tempzero.types.vocabulary import Rule

DEVIATES_TOKEN_BY_TOKEN = Rule(
    name="deviates_token_by_token",
    words="Computes something else than the reference: beyond 16-bit rounding",
    shown_by="the tokens that are not the reference's choice are more, or farther off, than an honest 16-bit host's "
    "rounding makes them: an e-value over all prompts, corrected for the number of providers",
)
_BASIS_WORDS: Mapping[FloorBasis, str] = {
    "measured": "as measured in this run",
    "profile": "by the profile of its family",
    "default": "an assumption, for nothing was measured of this model",
}
READ_IT = "whether by more than 16-bit rounding is not known: let the reference read them (`tempzero score RUN`, or "
READ_IT += "score.enabled in providers.yaml)"


def judge_declared(
    case: Case, declarations: Declarations, judged: Sequence[RoundingJudgement], diagnoses: Iterable[Diagnosis]
) -> dict[Place, ClaimStanding]:
    """How what each provider declares of its precision stands by what was read."""
    return judge_declarations(declarations, judged, diagnoses, _evidence_limit(case, judged))


def build_levels(
    case: Case,
    judged: Sequence[RoundingJudgement],
    standings: Mapping[Place, ClaimStanding],
    without_eight_bits: Collection[Place],
) -> tuple[Level, ...]:
    """A level for every provider and condition that was compared with a reference on any prompt."""
    read = {(j.reference, j.provider, j.condition): j for j in judged}
    limit = _evidence_limit(case, judged)
    found = []
    for comparison in case.comparisons:
        pair = comparison.pair
        if pair.kind == "reference" and not np.isnan(comparison.match).all():
            place = (pair.right.name, pair.left.name, pair.left.lane.condition)
            if place in read:
                open_words = NO_EIGHT_BITS if place in without_eight_bits else ""
                found.append(_describe_read(comparison, read[place], standings[place], limit, open_words))
            else:
                found.append(_describe_unread(comparison))
    return tuple(found)


def find_deviations(
    case: Case, judged: Sequence[RoundingJudgement], standings: Mapping[Place, ClaimStanding]
) -> Iterable[Finding]:
    """Who computes something else than the reference, and than it declares, as far as its tokens say."""
    limit = _evidence_limit(case, judged)
    for one in judged:
        standing = standings[one.reference, one.provider, one.condition]
        beyond = _name_level(one, standing, limit) == "beyond" and one.declared_evidence >= limit
        if not beyond or one.provider in case.references:
            continue
        tests = _count_judged(case, judged)
        p_value = min(1.0, tests * math.exp(-one.declared_evidence))
        yield Finding(
            rule=DEVIATES_TOKEN_BY_TOKEN.name,
            subject=one.provider,
            other=one.reference,
            message=f"{one.provider}{condition_suffix(one.condition)}: computes something else than the reference "
            f"{one.reference}, {_describe_beyond(one, p_value, tests)}",
            estimate=one.scale,
            p_value=p_value,
            evidence=one.worst,
        )


def _name_level(one: RoundingJudgement, standing: ClaimStanding, limit: float) -> LevelName:
    """What is honest rounding depends on what is declared: 16 bits where nothing coarser is."""
    coarse = one.declared_allowed > one.allowed
    if coarse and standing.standing == "confirmed" and (one.missed or one.evidence >= limit):
        return "declared"
    if one.evidence >= limit:
        return "undecided" if one.declared_evidence < limit and not standing.coarser else "beyond"
    if one.shown or not one.missed:
        return "rounding"
    return "undecided"


def _count_judged(case: Case, judged: Sequence[RoundingJudgement]) -> int:
    return max(1, sum(j.provider not in case.references for j in judged))


def _evidence_limit(case: Case, judged: Sequence[RoundingJudgement]) -> float:
    """The log of the evidence that honest hosts together exceed with the chance that this kind may spend."""
    alpha = case.budget["rounding"]
    return math.log(_count_judged(case, judged) / alpha) if alpha else math.inf


def _describe_unread(comparison: Comparison) -> Level:
    prompts, differ = _count_differing(comparison)
    words = f"gives the texts of {comparison.pair.right.name} on all of {prompts} prompts"
    if differ:
        words = (
            f"its texts differ from those of {comparison.pair.right.name} on {differ} of {prompts} prompts; {READ_IT}"
        )
    return _build_level(comparison, "unread" if differ else "identical", words)


def _describe_read(
    comparison: Comparison, one: RoundingJudgement, standing: ClaimStanding, limit: float, open_words: str
) -> Level:
    prompts, differ = _count_differing(comparison)
    size = (
        f"texts differ on {differ} of {prompts} prompts, {one.missed} of {one.tokens} tokens are not the choice of "
        f"{one.reference}"
    )
    if one.missed:
        size += f", the largest margin is {one.largest_margin:.2g} logits"
    allowed = f"an honest host's may be {one.allowed:.2g}, {_BASIS_WORDS[one.floor.basis]}"
    name = _name_level(one, standing, limit)
    if not differ and not one.missed and name == "rounding":
        words = f"computes what {one.reference} computes: all of {one.tokens} tokens read are its choice"
        return _build_level(comparison, "identical", words + _describe_declared(standing), one, standing)
    if name == "declared":
        beyond = ", beyond 16-bit rounding" if one.evidence >= limit else ""
        words = f"{standing.words}{beyond}: {size}; its rounding is {_describe_scale(one)}"
    elif name == "beyond":
        words = f"beyond 16-bit rounding: {size}{_describe_declared(standing)}"
    elif name == "rounding":
        alike = describe_alike_forms(one.alike) + open_words
        words = f"same up to 16-bit rounding: {size}; its rounding is {_describe_scale(one)}, {allowed}{alike}"
        words += _describe_declared(standing)
    elif one.evidence >= limit:
        words = f"beyond 16-bit rounding, as coarser weights that it declares may be (up to {one.declared_allowed:.2g} "
        words += f"logits): {size}; {standing.words}"
        if standing.standing == "untested":
            words += "; a form of the same name in score.forms would say, or `tempzero fingerprint`"
    else:
        more = "" if one.more_tokens is None else f"; about {round_up_tokens(one.more_tokens)} tokens would tell"
        words = f"too little was read to say that it differs by rounding only: {size}; its rounding is "
        words += f"{_describe_scale(one)}, {allowed}{more}"
    return _build_level(comparison, name, words, one, standing)


def _describe_declared(standing: ClaimStanding) -> str:
    """What is said of the declared precision beside a level: nothing of what is not declared or not tested."""
    return "" if standing.standing == "untested" else f"; {standing.words}"


def _describe_beyond(one: RoundingJudgement, p_value: float, tests: int) -> str:
    clear = f", {one.clear} of them by more than {one.floor.clear_margin:.2g} logits" if one.clear else ""
    whose = (
        "an honest host's may be" if one.declared_allowed <= one.allowed else "the weights that it declares may make it"
    )
    return (
        f"beyond 16-bit rounding: {one.missed} of {one.tokens} tokens are not its choice{clear}, where rounding as "
        f"large as {whose} ({one.declared_allowed:.2g} logits, {_BASIS_WORDS[one.floor.basis]}: "
        f"{one.floor.source}) would miss about {one.expected:.0f}; rounding of {_describe_scale(one)} would be needed. "
        f"Chance of so much evidence under honest rounding: at most {p_value:.2g} (e-value, corrected for {tests} "
        "providers)"
    )


def _describe_scale(one: RoundingJudgement) -> str:
    scale = one.scale
    if scale.value is None:
        return "not measured"
    interval = "" if scale.low is None else f" [{scale.low:.2g}, {scale.high:.2g}]"
    return f"{scale.value:.2g}{interval} logits"


def _count_differing(comparison: Comparison) -> tuple[int, int]:
    """How many prompts were compared, and on how many any two texts differ."""
    matched = comparison.match[~np.isnan(comparison.match)]
    return matched.size, int((matched < 1).sum())


def _build_level(
    comparison: Comparison,
    name: LevelName,
    words: str,
    one: RoundingJudgement | None = None,
    standing: ClaimStanding | None = None,
) -> Level:
    pair = comparison.pair
    prompts, differ = _count_differing(comparison)
    return Level(
        provider=pair.left.name,
        condition=pair.left.lane.condition,
        reference=pair.right.name,
        name=name,
        message=words,
        prompts=prompts,
        differ=differ,
        tokens=0 if one is None else one.tokens,
        missed=0 if one is None else one.missed,
        largest_margin=None if one is None else one.largest_margin,
        scale=None if one is None else one.scale,
        allowed=None if one is None else one.allowed,
        basis=None if one is None else one.floor.basis,
        more_tokens=None if one is None else one.more_tokens,
        standing=None if standing is None else standing.standing,
        because="" if standing is None else standing.words,
    )
