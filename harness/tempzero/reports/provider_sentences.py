"""A View and a provider in, three plain sentences out: repeats, standing to the others, service."""

from __future__ import annotations

from collections.abc import Mapping

from tempzero.reports.figure_wording import answered_words, count_with_noun
from tempzero.reports.lookup import Subject, View
from tempzero.reports.sections.speed_cost import find_speed, find_token_price
from tempzero.types.concluded import Camps, Level, LevelName, OutcomeCounts, PrecisionReading
from tempzero.types.vocabulary import ClaimState

_NAMES = 4
_LEVELS: Mapping[LevelName, str] = {
    "identical": "",
    "rounding": ", which is no more than 16-bit rounding does",
    "declared": ", which is what the coarser weights do that it declares",
    "undecided": "; too little was read to say whether that is rounding",
    "beyond": ", and its choices are further off than 16-bit rounding explains",
    "unread": "; nobody has read yet by how much",
}

_STANDINGS: Mapping[ClaimState, str] = {
    "confirmed": "as it declares",
    "contradicted": "otherwise than it declares",
    "untested": "",
}


def describe_provider(view: View, provider: str) -> tuple[str, str, str]:
    """Under several conditions the sentences count over all of them."""
    standing = _describe_standing(view, provider) + _describe_weights(view, provider)
    return _describe_repeats(view, provider), standing, _describe_service(view, provider)


def _describe_repeats(view: View, provider: str) -> str:
    measured = [r for r in view.analysis.prompt_rows if r.provider == provider and r.emr is not None]
    differ = sum(r.emr is not None and r.emr < 1 for r in measured)
    if not measured:
        return "Whether it gives the same answer again was not measured: no prompt has two answers to compare."
    if not differ:
        return f"It gave the same answer each time, on {_count_of(len(measured), len(measured))}."
    return f"It gave different answers to the same request on {_count_of(differ, len(measured))}."


def _count_of(some: int, total: int) -> str:
    if some == total:
        return "the one prompt" if total == 1 else f"all {total:,} prompts"
    return f"{some:,} of {count_with_noun(total, 'prompt')}"


def _describe_standing(view: View, provider: str) -> str:
    if view.is_reference(provider):
        return "It is the reference: the same model, run under settings that are known and recorded."
    levels = [level for level in view.analysis.levels if level.provider == provider]
    if levels:
        return _describe_level(levels[0])
    for of in view.analysis.camps:
        if any(provider in camp for camp in of.camps):
            return _describe_camp(of, provider)
    reference = view.reference_of(provider)
    if reference is None:
        return "Nothing else that was measured claims its model, so it stands alone."
    return f"Too little came back to compare it with the reference {reference}."


def _describe_weights(view: View, provider: str) -> str:
    """What its first tokens say of its weights, where they say anything."""
    for one in view.analysis.precision:
        if one.provider == provider and one.state != "no answer":
            declared = _STANDINGS[one.standing]
            return f" By its first tokens it {_to_predicate(one)}{', ' if declared else ''}{declared}."
    return ""


def _to_predicate(one: PrecisionReading) -> str:
    """The state as what goes on from "it"."""
    if one.state == "unknown form":
        return "is moved by more than 16-bit rounding, in none of the forms that were tried"
    return one.sentence if one.state == "named" else f"is {one.sentence}"


def _describe_level(level: Level) -> str:
    if not level.differ:
        return f"It gave the text of the reference {level.reference} on {_count_of(level.prompts, level.prompts)}."
    on = _count_of(level.differ, level.prompts)
    return f"It gave another text than the reference {level.reference} on {on}{_LEVELS[level.name]}."


def _describe_camp(of: Camps, provider: str) -> str:
    if provider in of.odd:
        return f"It differs from every one of the endpoints that form the majority of {of.endpoints}: the odd one."
    camp = next(c for c in of.camps if provider in c)
    others = [name for name in camp if name != provider]
    if not others:
        return f"It differs from all {of.endpoints - 1} others of its model, and nothing says who strays."
    more = f" and {len(others) - _NAMES} more" if len(others) > _NAMES else ""
    alike = f"It cannot be told from {', '.join(others[:_NAMES])}{more} by its texts"
    if len(of.camps) == 1:
        return f"{alike}."
    return f"{alike}; it can from the other {of.endpoints - len(camp)} of its model."


def _describe_service(view: View, provider: str) -> str:
    subjects = [s for s in view.subjects("repeat", "coverage") if s.provider == provider]
    ended = [one for s in subjects if (one := view.outcomes(s)) is not None]
    said = f"It answered {answered_words(_add_outcomes(ended))}" if ended else "How much it answered was not counted"
    subject = subjects[0] if subjects else Subject(provider=provider, condition="")
    speed, price = find_speed(view, subject), find_token_price(view, subject)
    if speed is not None:
        said += f", at {speed:.3g} answer tokens a second"
    if price is not None:
        said += f", for ${price:.2f} a million answer tokens with their prompts"
    return f"{said}."


def _add_outcomes(ended: list[OutcomeCounts]) -> OutcomeCounts:
    first = ended[0]
    return OutcomeCounts(
        provider=first.provider,
        condition=first.condition,
        planned=sum(one.planned for one in ended),
        answered=sum(one.answered for one in ended),
        cut_at_limit=sum(one.cut_at_limit for one in ended),
        cut_otherwise=sum(one.cut_otherwise for one in ended),
        spent_on_reasoning=sum(one.spent_on_reasoning for one in ended),
        empty=sum(one.empty for one in ended),
        excluded=sum(one.excluded for one in ended),
    )
