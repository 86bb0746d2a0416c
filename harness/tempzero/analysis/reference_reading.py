"""A Case and what references read in, figures, findings and the ReferenceReading of the analysis out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tempzero.analysis.book import Book, Subject, bounded_mean
from tempzero.analysis.evidence import Case, condition_suffix, describe_estimate
from tempzero.analysis.observations import CENSORED, NOT_SAID
from tempzero.attribute import (
    ACCUSING_CAUSES,
    Attribution,
    ReportedAnswer,
    TrustedForm,
    attribute_reading,
    is_above_trusted,
)
from tempzero.types.asked import Trial
from tempzero.types.concluded import Diagnosis, Divergence, Estimate, Finding, ReferenceReading
from tempzero.types.scored import Reading
from tempzero.types.vocabulary import Rule, RuleName

DEVIATES_TOKEN_BY_TOKEN = Rule(
    name="deviates_token_by_token",
    words="Deviates from the reference token by token",
    shown_by="its Token-DiFR lies wholly above that of every honest form of the reference, on enough prompts",
)


def build_reference_reading(
    case: Case, book: Book, reading: Reading, divergences: Sequence[Divergence]
) -> tuple[ReferenceReading | None, tuple[Finding, ...]]:
    """What the reading says; None and no findings where nothing was read."""
    if not reading.scored:
        return None, ()
    # Of imported records nobody knows that no seed was sent.
    lanes = [t.lane.provider for t in case.tallies]
    seeded = {p.name for p in lanes if p.seed is not None or p.imported is not None}
    found = attribute_reading(reading, _collect_answers(case), [p.id for p in case.prompts], divergences, seeded)
    _enter_scored_figures(book, found)
    return found.reading, tuple(_collect_reading_findings(case, book, found))


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
            )
    return found


def _none_if_not_said(number: int) -> int | None:
    return None if number == NOT_SAID else number


def _enter_scored_figures(book: Book, found: Attribution) -> None:
    """Enter the figures of kind scored; a measure that no prompt has is left out."""
    for m in found.measures:
        if not np.isnan(m.values).all():
            subject = Subject(kind="scored", left=m.provider, right=m.reference, condition=m.condition)
            book.add(subject, m.metric, m.values, estimate=bounded_mean(*m.bounds), note=m.note)
    for one in found.lone:
        subject = Subject(kind="scored", left=one.provider, right=one.reference, condition=one.condition)
        book.put(subject, one.metric, one.estimate)


def _collect_reading_findings(case: Case, book: Book, found: Attribution) -> Iterable[Finding]:
    trusted = {t.reference: t for t in found.trusted}
    epsilon = {f.reference: f.epsilon for f in found.reading.floors}
    faithful = {(d.reference, d.provider, d.condition) for d in found.reading.diagnoses if d.cause == "faithful"}
    for figure in book.figures():
        if figure.kind == "scored" and figure.metric == "token_difr" and figure.family is None and figure.right:
            key = (figure.right, figure.left, figure.condition)
            against = trusted.get(figure.right)
            if figure.left in case.references or against is None or epsilon[figure.right] is None:
                continue
            if is_above_trusted(figure.estimate, against) and key not in faithful:
                yield _build_deviation_finding(key, figure.estimate, against, found.reading.diagnoses)
    for one in found.reading.diagnoses:
        rule = ACCUSING_CAUSES.get(one.cause)
        if rule is not None and one.strength == "shown" and one.provider not in case.references:
            yield _build_cause_finding(rule, one)


def _build_deviation_finding(
    key: tuple[str, str, str], estimate: Estimate, trusted: TrustedForm, diagnoses: Iterable[Diagnosis]
) -> Finding:
    reference, provider, condition = key
    own = [d for d in diagnoses if (d.reference, d.provider, d.condition) == key]
    return Finding(
        rule="deviates_token_by_token",
        subject=provider,
        other=reference,
        message=f"{provider}{condition_suffix(condition)}: read token by token by {reference}, its margins are "
        "larger than those "
        f"of any honest form of that reference: Token-DiFR {describe_estimate(estimate)} against "
        f"{describe_estimate(trusted.difr)} "
        f"({trusted.form})",
        estimate=estimate,
        p_value=None,
        evidence=own[0].evidence if own else (),
    )


def _build_cause_finding(rule: RuleName, one: Diagnosis) -> Finding:
    return Finding(
        rule=rule,
        subject=one.provider,
        other=one.reference,
        message=f"{one.provider}{condition_suffix(one.condition)}: {one.message}",
        estimate=one.estimate,
        p_value=None,
        evidence=one.evidence,
    )
