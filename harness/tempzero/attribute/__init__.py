"""A Reading and the answers it is about in, what it says of providers out: floor, measures, partings, causes.

readings    scores -> columns, each distinct token sequence once
noise       forms and own responses -> how far the reference may be trusted
measures    columns -> figures for each prompt
pairs       two responses -> the first different token, and what each was worth there
rounding_levels   tokens -> does an honest 16-bit host's rounding explain them
suspects    every token under each suspect -> what explains them, and what wins
alike_forms tokens -> the coarser forms that explain them as well
fits, shapes, repeats, text edits, endings, prompt counts
            -> one question each, fitted and compared
diagnosing  their answers -> the diagnoses of one provider; of some responses only: share_diagnosis
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tempzero.attribute import divergence_causes
from tempzero.attribute.causes import CAUSES, EFFECTIVE_TEMPERATURE, effective_temperature
from tempzero.attribute.diagnosing import diagnose_provider
from tempzero.attribute.fits import ROUNDING_SCALE, fit_decoding
from tempzero.attribute.measures import Measure, measure_providers
from tempzero.attribute.noise import JoinedForm, build_margin_profiles, join_forms, measure_noise_floor
from tempzero.attribute.patient import Patient
from tempzero.attribute.reader_tables import ReaderTable, ReportedAnswer, ResponseLane, build_tables
from tempzero.attribute.rounding_levels import DeclaredForms, RoundingJudgement, find_table_floor, judge_rounding
from tempzero.reading.rounding_floor import RoundingFloor
from tempzero.types.asked import Trial
from tempzero.types.concluded import Diagnosis, Divergence, Estimate, ReferenceReading
from tempzero.types.scored import Reading
from tempzero.types.vocabulary import CauseName, Metric, RuleName

__all__ = [
    "ACCUSING_CAUSES",
    "Attribution",
    "DeclaredForms",
    "Measure",
    "PooledEstimate",
    "ReportedAnswer",
    "RoundingJudgement",
    "attribute_reading",
]

# Causes that accuse where they are shown; the others are told in the report only.
ACCUSING_CAUSES: Mapping[CauseName, RuleName] = {c.name: c.rule for c in CAUSES if c.rule is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class PooledEstimate:
    """A figure that is estimated over all prompts at once."""

    provider: str
    condition: str
    reference: str
    metric: Metric
    estimate: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribution:
    """Everything that reading the responses says of them."""

    reading: ReferenceReading
    measures: tuple[Measure, ...]
    lone: tuple[PooledEstimate, ...]
    judgements: tuple[RoundingJudgement, ...]


def attribute_reading(
    reading: Reading,
    answers: Mapping[Trial, ReportedAnswer],
    prompts: Sequence[str],
    shown: Sequence[Divergence],
    honest: Iterable[str] = (),
    more: Sequence[Trial] = (),
    declared: Mapping[str, DeclaredForms] | None = None,
) -> Attribution:
    """Attribute what was read.

    `shown` are the divergences to explain, `honest` the providers whose rounding is the floor of the others, `more`
    the responses that are to be shown token by token besides those that diverge, `declared` the providers that say they
    serve less than 16 bits.
    """
    named, coarse = frozenset(honest), declared or {}
    tables = build_tables(reading, answers, prompts)
    return _join_attributions([_attribute_table(t, reading, answers, shown, named, more, coarse) for t in tables])


def _join_attributions(parts: Sequence[Attribution]) -> Attribution:
    return Attribution(
        reading=ReferenceReading(
            floors=tuple(x for p in parts for x in p.reading.floors),
            profiles=tuple(x for p in parts for x in p.reading.profiles),
            diagnoses=tuple(x for p in parts for x in p.reading.diagnoses),
            pairs=tuple(x for p in parts for x in p.reading.pairs),
            partings=tuple(x for p in parts for x in p.reading.partings),
            texts=tuple(x for p in parts for x in p.reading.texts),
        ),
        measures=tuple(x for p in parts for x in p.measures),
        lone=tuple(x for p in parts for x in p.lone),
        judgements=tuple(x for p in parts for x in p.judgements),
    )


def _attribute_table(
    table: ReaderTable,
    reading: Reading,
    answers: Mapping[Trial, ReportedAnswer],
    shown: Sequence[Divergence],
    honest: frozenset[str],
    more: Sequence[Trial],
    declared: Mapping[str, DeclaredForms],
) -> Attribution:
    trials = [*(t for d in shown for t in (d.left, d.right)), *more]
    known = join_forms(table, reading.forms)
    floor = find_table_floor(table, known, honest)
    ground = measure_noise_floor(table, known, floor)
    judged = [lane for lane in table.lanes if lane.provider != table.reader.reference]
    diagnoses = tuple(d for lane in judged for d in _diagnose_lane(table, lane, floor, known, reading))
    return Attribution(
        reading=ReferenceReading(
            floors=(ground,),
            profiles=build_margin_profiles(table, known),
            diagnoses=diagnoses,
            pairs=divergence_causes.explain_divergences(table, shown, answers, ground.epsilon),
            partings=divergence_causes.count_divergences(table, ground.epsilon),
            texts=divergence_causes.build_read_texts(table, trials, answers),
        ),
        measures=measure_providers(table, known, ground.epsilon),
        lone=tuple(x for lane in judged for x in _pooled_estimates(table, lane, diagnoses)),
        judgements=judge_rounding(table, known, floor, reading.suspects, declared),
    )


def _diagnose_lane(
    table: ReaderTable,
    lane: ResponseLane,
    floor: RoundingFloor,
    known: Sequence[JoinedForm],
    reading: Reading,
) -> tuple[Diagnosis, ...]:
    return diagnose_provider(
        Patient(
            table=table,
            lane=lane,
            rounding=floor,
            forms=known,
            suspects=reading.suspects,
        )
    )


def _pooled_estimates(
    table: ReaderTable, lane: ResponseLane, diagnoses: Sequence[Diagnosis]
) -> Iterable[PooledEstimate]:
    fits = fit_decoding(table, lane)
    if fits is None:
        return
    cause = next(d.cause for d in diagnoses if (d.provider, d.condition) == (lane.provider, lane.condition))
    for metric, estimate in (
        (EFFECTIVE_TEMPERATURE, effective_temperature(fits, cause)),
        (ROUNDING_SCALE, fits.scale),
    ):
        if estimate is not None:
            yield PooledEstimate(
                provider=lane.provider,
                condition=lane.condition,
                reference=table.reader.reference,
                metric=metric,
                estimate=estimate,
            )
