"""A Case and what references read in, figures, levels, findings and the ReferenceReading of the analysis out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tempzero.analysis.book import Book, Subject, bounded_mean
from tempzero.analysis.declared_forms import (
    NO_EIGHT_BITS,
    Declarations,
    Place,
    find_without_eight_bits,
    judge_diagnosis,
)
from tempzero.analysis.evidence import Case, condition_suffix
from tempzero.analysis.part_counts import CENSORED, NOT_SAID
from tempzero.analysis.precision_reading import PrecisionEvidence
from tempzero.analysis.reference_levels import build_levels, find_deviations, judge_declared
from tempzero.analysis.shown_precision import outrank_sizes
from tempzero.attribute import (
    ACCUSING_CAUSES,
    Attribution,
    ReportedAnswer,
    attribute_reading,
)
from tempzero.types.asked import Trial
from tempzero.types.concluded import Diagnosis, Divergence, Finding, Level, ReferenceReading
from tempzero.types.scored import Reading
from tempzero.types.vocabulary import CauseName, RuleName

# Causes that rest on how much rounding is honest: they accuse only who is beyond it.
_CAUSES_OF_SIZE: tuple[CauseName, ...] = ("sampled", "other_model", "not_faithful")


@dataclass(frozen=True, kw_only=True, slots=True)
class WhatWasRead:
    """What reading says: None and no findings of it where nothing was read."""

    reading: ReferenceReading | None
    levels: tuple[Level, ...]
    findings: tuple[Finding, ...]


def build_reference_reading(
    case: Case,
    book: Book,
    reading: Reading,
    divergences: Sequence[Divergence],
    honest: Iterable[str],
    more: Sequence[Trial],
    evidence: PrecisionEvidence,
    declarations: Declarations,
) -> WhatWasRead:
    """What the reading says; `honest` are providers that are named as the floor of the others.

    `more`: responses that are to be shown token by token besides those of the divergences. A form of the weights that
    first tokens show goes before what texts say by size.
    """
    if not reading.scored:
        return WhatWasRead(reading=None, levels=build_levels(case, (), {}, ()), findings=())
    prompts, coarse = [p.id for p in case.prompts], declarations.list_coarse()
    found = attribute_reading(reading, _collect_answers(case), prompts, divergences, honest, more, coarse)
    _enter_scored_figures(book, found)
    outranked = outrank_sizes(found.reading, reading.suspects, evidence, case.budget["precision"])
    found = replace(found, reading=outranked)
    standings = judge_declared(case, declarations, found.judgements, outranked.diagnoses)
    unread = find_without_eight_bits(declarations, found.judgements, evidence)
    levels = build_levels(case, found.judgements, standings, unread)
    return WhatWasRead(
        reading=replace(outranked, diagnoses=tuple(_hold_faithful_to_levels(outranked.diagnoses, levels, unread))),
        levels=levels,
        findings=(
            *find_deviations(case, found.judgements, standings),
            *_find_causes(case, found, levels, declarations),
        ),
    )


def tell_kind_of_divergence(found: Iterable[Finding], reading: ReferenceReading | None) -> Iterator[Finding]:
    """Of repeats that differ, whether they part at near-ties of rounding only, where that was read."""
    partings = () if reading is None else reading.partings
    for one in found:
        of = [
            p
            for p in partings
            if one.rule == "nondeterministic"
            and p.kind == "repeat"
            and p.left == one.subject
            and p.condition in {t.condition for t in one.evidence}
        ]
        near, more = sum(p.near_tie for p in of), sum(p.unexplained for p in of)
        if not near + more:
            yield one
        elif not more:
            yield replace(one, message=f"{one.message}; they part at near-ties that rounding turns, {near} of {near}")
        else:
            words = f"{more} of the {near + more} places where they part are more than rounding"
            yield replace(one, message=f"{one.message}; {words}")


def _collect_answers(case: Case) -> Mapping[Trial, ReportedAnswer]:
    """Every response that is compared, by its trial."""
    found = {}
    for tally in case.tallies:
        lane = tally.lane
        limits = [lane.provider.limit_of(p) for p in case.prompts]
        for row in np.flatnonzero((lane.status <= CENSORED) & (lane.text != NOT_SAID)).tolist():
            trial = tally.trial(row, case.prompts)
            found[trial] = ReportedAnswer(
                trial=trial,
                text=case.texts.answer_text[lane.text[row]],
                cut=bool(case.texts.cut[lane.text[row]]),
                prompt_tokens=_none_if_not_said(int(lane.prompt_tokens[row])),
                completion_tokens=_none_if_not_said(int(lane.completion_tokens[row])),
                max_tokens=limits[int(lane.prompt[row])] if lane.provider.imported is None else None,
                place=int(lane.prompt[row]),
            )
    return found


def _none_if_not_said(number: int) -> int | None:
    return None if number == NOT_SAID else number


def _hold_faithful_to_levels(
    diagnoses: Iterable[Diagnosis], levels: Iterable[Level], without_eight_bits: Collection[Place]
) -> Iterator[Diagnosis]:
    """Nobody rounds honestly whose level is beyond that, and of whom that is undecided it is not shown: a diagnosis
    asks of each token, the level of all together. Nor is it where 8-bit weights, which were not read, might do as well.
    """
    named = {(x.reference, x.provider, x.condition): x.name for x in levels}
    for one in diagnoses:
        place = (one.reference, one.provider, one.condition)
        level = named.get(place) if one.cause == "faithful" else None
        if level == "undecided" and one.strength == "shown":
            words = f"{one.message}; all together they do not show yet that it rounds no more than an honest host"
            yield replace(one, strength="likely", message=words)
        elif level == "beyond":
            words = (
                "each token that is missed may be rounding's, and all together are more than an honest host's rounding "
                "makes; none of the suspects tried explains them better"
            )
            yield replace(one, cause="not_faithful", strength="likely", message=words)
        elif one.cause == "faithful" and place in without_eight_bits:
            yield replace(one, strength="likely", message=one.message + NO_EIGHT_BITS)
        else:
            yield one


def _enter_scored_figures(book: Book, found: Attribution) -> None:
    """Enter the figures of kind scored; a measure that no prompt has is left out."""
    for m in found.measures:
        if not np.isnan(m.values).all():
            subject = Subject(kind="scored", left=m.provider, right=m.reference, condition=m.condition)
            book.add(subject, m.metric, m.values, estimate=bounded_mean(*m.bounds), note=m.note)
    for one in found.lone:
        subject = Subject(kind="scored", left=one.provider, right=one.reference, condition=one.condition)
        book.put(subject, one.metric, one.estimate)


def _find_causes(
    case: Case, found: Attribution, levels: Iterable[Level], declarations: Declarations
) -> Iterable[Finding]:
    beyond = {(x.reference, x.provider, x.condition) for x in levels if x.name == "beyond"}
    for one in found.reading.diagnoses:
        rule = ACCUSING_CAUSES.get(one.cause)
        if one.cause in _CAUSES_OF_SIZE and (one.reference, one.provider, one.condition) not in beyond:
            continue
        if rule is not None and one.strength == "shown" and one.provider not in case.references:
            words = _hold_against_declared(declarations, one)
            if words is not None:
                yield _build_cause_finding(rule, one, words)


def _hold_against_declared(declarations: Declarations, one: Diagnosis) -> str | None:
    """What a finding adds of what is declared; None where a provider is not to be accused of coarser weights."""
    if one.cause != "coarser" or one.provider not in declarations.by_provider:
        return ""
    standing = judge_diagnosis(declarations, one)
    return f"; {standing.words}" if standing.coarser else None


def _build_cause_finding(rule: RuleName, one: Diagnosis, words: str) -> Finding:
    return Finding(
        rule=rule,
        subject=one.provider,
        other=one.reference,
        message=f"{one.provider}{condition_suffix(one.condition)}: {one.message}{words}",
        estimate=one.estimate,
        p_value=None,
        evidence=one.evidence,
    )
