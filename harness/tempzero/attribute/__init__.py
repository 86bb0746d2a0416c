"""A Reading and the answers it is about in, what it says of providers out: floor, measures, partings, causes.

readings    scores -> columns, each distinct token sequence once
noise       forms and own responses -> how far the reference may be trusted
measures    columns -> figures for each prompt
pairs       two responses -> the first different token, and what each was worth there
fits, kernels, mixtures, fingerprints, tails, outrunning, shapes, penalties, prompts, repeats, endings
            -> one question each, fitted and compared
causes      their answers -> the diagnoses of one provider
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tempzero import stats
from tempzero.attribute import pairs
from tempzero.attribute.causes import MIN_PROMPTS, Patient, diagnose, effective_temperature
from tempzero.attribute.fits import fit
from tempzero.attribute.measures import Measure, clip, difr_of_form, measures
from tempzero.attribute.noise import Form, floor, forms, profiles
from tempzero.attribute.readings import Answer, Floats, Lane, Table, tables
from tempzero.types.asked import Trial
from tempzero.types.concluded import Diagnosis, Divergence, Estimate, NoiseFloor, ReferenceReading
from tempzero.types.scored import Reading

__all__ = ["ACCUSING", "Answer", "Attribution", "Lone", "Measure", "Trusted", "attribute", "deviates", "trusted"]

# Causes that accuse where they are shown; the others are told in the report only.
ACCUSING = ("coarser", "sampled", "penalty", "other_prompt", "other_model", "mixture", "cut_short", "not_faithful")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lone:
    """A figure that is estimated over all prompts at once."""

    provider: str
    condition: str
    reference: str
    metric: str
    estimate: Estimate
    unit: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Trusted:
    """The largest Token-DiFR among a reference's honest forms."""

    reference: str
    form: str
    difr: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribution:
    """Everything that reading the responses says of them."""

    reading: ReferenceReading
    measures: tuple[Measure, ...]
    lone: tuple[Lone, ...]
    trusted: tuple[Trusted, ...]


def attribute(
    reading: Reading,
    answers: Mapping[Trial, Answer],
    prompts: Sequence[str],
    shown: Sequence[Divergence],
    seeded: Iterable[str],
) -> Attribution:
    """Attribute what was read. `shown` are the divergences to explain, `seeded` the providers that were sent a seed."""
    known = frozenset(seeded)
    return _joined([_of_table(t, reading, answers, shown, known) for t in tables(reading, answers, prompts)])


def deviates(difr: Estimate, trusted: Trusted) -> bool:
    """Whether a provider's Token-DiFR lies wholly above the widest of the trusted runs, on enough prompts to say so."""
    floor = trusted.difr.high if trusted.difr.high is not None else trusted.difr.value
    return difr.n >= MIN_PROMPTS and difr.low is not None and floor is not None and difr.low > floor


def _joined(parts: Sequence[Attribution]) -> Attribution:
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
        trusted=tuple(x for p in parts for x in p.trusted),
    )


def _of_table(
    table: Table,
    reading: Reading,
    answers: Mapping[Trial, Answer],
    shown: Sequence[Divergence],
    seeded: frozenset[str],
) -> Attribution:
    known = forms(table, reading.forms)
    ground = floor(table, known)
    judged = [lane for lane in table.lanes if lane.provider != table.reader.reference]
    diagnoses = tuple(
        d for lane in judged for d in _diagnoses(table, lane, ground, known, reading, lane.provider in seeded)
    )
    return Attribution(
        reading=ReferenceReading(
            floors=(ground,),
            profiles=profiles(table, known),
            diagnoses=diagnoses,
            pairs=pairs.causes(table, shown, answers, ground.epsilon),
            partings=pairs.partings(table, ground.epsilon),
            texts=pairs.read_texts(table, shown, answers),
        ),
        measures=measures(table, known, ground.epsilon),
        lone=tuple(x for lane in judged for x in _lone(table, lane, ground, diagnoses)),
        trusted=trusted(table, known),
    )


def _diagnoses(
    table: Table, lane: Lane, ground: NoiseFloor, known: Sequence[Form], reading: Reading, seeded: bool
) -> tuple[Diagnosis, ...]:
    return diagnose(
        Patient(
            table=table,
            lane=lane,
            floor=ground,
            forms=known,
            readings=reading.forms,
            variants=reading.variants,
            seeded=seeded,
        )
    )


def _lone(table: Table, lane: Lane, ground: NoiseFloor, diagnoses: Sequence[Diagnosis]) -> Iterable[Lone]:
    fits = fit(table, lane, ground)
    if fits is None:
        return
    cause = next(d.cause for d in diagnoses if (d.provider, d.condition) == (lane.provider, lane.condition))
    for metric, estimate, unit in (
        ("effective_temperature", effective_temperature(fits, cause), "temperature"),
        ("rounding_scale", fits.scale, "logits"),
    ):
        if estimate is not None:
            yield Lone(
                provider=lane.provider,
                condition=lane.condition,
                reference=table.reader.reference,
                metric=metric,
                estimate=estimate,
                unit=unit,
            )


def trusted(table: Table, known: Sequence[Form]) -> tuple[Trusted, ...]:
    """The honest form that strays most; it can turn near-ties only, so unseen prompts may lie up to 2 epsilon off."""
    cut, found = clip(table, known), []
    for form in known:
        if form.honest:
            values: Floats = difr_of_form(form, cut, len(table.prompts))
            most = min(cut.at, max(float(form.change.max()), float(values[values == values].max())))
            estimate = stats.mean_over_prompts(values[values == values], bounds=(0.0, most))
            found.append(Trusted(reference=table.reader.reference, form=form.name, difr=estimate))
    return tuple(sorted(found, key=lambda t: -(t.difr.high or t.difr.value or 0.0))[:1])
