"""Everything that was fitted of one provider in, its Diagnoses out: which causes hold, and how surely.

The order of the questions is the rule. Too few tokens decide nothing. Then what would make every other fit
meaningless: a penalty, another rendering of the prompt. Then whether honest rounding explains all; if not,
whether only a share of the responses is odd; whether the misses are those of a coarser form; whether tokens were
chosen that no rounding and no temperature would have chosen (another prompt or model); and last whether rounding
or sampling explains the misses better: by repeats first, then by how the misses are spread.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tempzero.attribute import endings
from tempzero.attribute.beyond_coarsest import BeyondCoarsest, compare_with_coarsest
from tempzero.attribute.fingerprints import Fingerprint, find_fingerprint
from tempzero.attribute.fits import Fits, evidence_against_honest, fit_decoding
from tempzero.attribute.foreign_tokens import T_EARLY, ForeignTokens, find_foreign_tokens
from tempzero.attribute.mixtures import SUSPICIOUS, Mixture, fit_mixture
from tempzero.attribute.noise import JoinedForm, find_unexplained_tokens
from tempzero.attribute.penalties import PenaltyFit, fit_penalty
from tempzero.attribute.prompt_variants import TokenOffset, VariantFit, fit_variants, measure_token_offset
from tempzero.attribute.reader_tables import ReaderTable, ResponseLane
from tempzero.attribute.repeats import RepeatJudgement, Repeats, compare_repeats
from tempzero.attribute.shapes import MissShape, compare_miss_shape
from tempzero.types.asked import Trial
from tempzero.types.concluded import Diagnosis, Estimate, FormScale, NoiseFloor
from tempzero.types.scored import FormReading, VariantReading
from tempzero.types.vocabulary import Cause, CauseName, Metric, Rule, Strength

MIN_TOKENS, MIN_PROMPTS = 200, 5
# Log of the evidence (an e-value) above which honest rounding is ruled out: a chance of 1 in 1,100.
MIN_EVIDENCE_AGAINST_HONEST = 7.0
# How far the misses must be spread beyond a form's, in standard errors over prompts, to speak for sampling.
MIN_SHAPE_T = 3.5
# The largest rounding thought possible where no coarser form was read, in logits.
LARGEST_SCALE = 2.0
MAX_EVIDENCE_TRIALS = 20

# Causes by which some responses are not this model's to this prompt, and causes by which decoding is greedy.
_FOREIGN: tuple[CauseName, ...] = ("other_model", "other_prompt", "mixture")
_GREEDY: tuple[CauseName, ...] = ("faithful", "coarser")

# The order of those that accuse is that of their findings.
CAUSES = (
    Cause(name="faithful", words="Computes what the reference computes, up to honest rounding"),
    Cause(name="cut_short", words="Responses are cut short", rule="cause_cut_short"),
    Cause(name="mixture", words="A share of the responses comes from something else", rule="cause_mixture"),
    Cause(name="penalty", words="A repetition penalty is applied", rule="cause_penalty"),
    Cause(name="other_prompt", words="Another chat template or a hidden system prompt", rule="cause_other_prompt"),
    Cause(name="other_model", words="Another model", rule="cause_other_model"),
    Cause(name="sampled", words="Not greedy: it samples at a temperature", rule="cause_sampled"),
    Cause(name="coarser", words="Coarser weights or cache, or coarser arithmetic", rule="cause_coarser"),
    Cause(name="not_faithful", words="Not a faithful computation, cause undecided", rule="cause_not_faithful"),
    Cause(name="unknown", words="Cannot be decided"),
)
CAUSE_RULES = tuple(
    Rule(name=cause.rule, words=cause.words, shown_by="a calibrated rule that rules out the other causes")
    for cause in CAUSES
    if cause.rule is not None
)

EFFECTIVE_TEMPERATURE = Metric(
    name="effective_temperature",
    unit="temperature",
    kinds=("scored",),
    title="Effective temperature",
    definition="The temperature at which sampling makes the tokens likeliest; 0 where greedy decoding, rounding "
    "included, explains them. Not given where something else than decoding does.",
    source="maximum likelihood, interval clustered by prompt",
    absent="another cause explains the tokens",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Patient:
    """A provider under one condition, and what its causes are judged by. `seeded`: a seed was or may have been sent."""

    table: ReaderTable
    lane: ResponseLane
    floor: NoiseFloor
    forms: Sequence[JoinedForm]
    readings: Sequence[FormReading]
    variants: Sequence[VariantReading]
    seeded: bool

    def build_diagnosis(
        self,
        cause: CauseName,
        strength: Strength,
        message: str,
        estimate: Estimate | None = None,
        evidence: Iterable[Trial] = (),
    ) -> Diagnosis:
        return Diagnosis(
            reference=self.table.reader.reference,
            provider=self.lane.provider,
            condition=self.lane.condition,
            cause=cause,
            strength=strength,
            message=message,
            estimate=estimate,
            evidence=tuple(evidence)[:MAX_EVIDENCE_TRIALS],
        )

    def worst_trials(self) -> tuple[Trial, ...]:
        """The responses with the largest margins, the largest first, each sequence once."""
        tokens, rows = self.table.tokens, self.lane.distinct
        largest = np.maximum.reduceat(tokens.margin, tokens.start[:-1])[self.lane.sequence[rows]]
        order = np.argsort(-largest, kind="stable")
        return tuple(self.lane.trials[rows[i]] for i in order if largest[i] > 0)


def diagnose_provider(patient: Patient) -> tuple[Diagnosis, ...]:
    """What holds of one provider, the main cause first."""
    tokens = int(patient.table.tokens.length[patient.lane.sequence].sum())
    prompts = int(np.unique(patient.lane.prompt).size)
    if tokens < MIN_TOKENS or prompts < MIN_PROMPTS:
        message = f"too little was read: {tokens} tokens of {prompts} prompts, {MIN_TOKENS} of {MIN_PROMPTS} are needed"
        return (patient.build_diagnosis("unknown", "undecided", message),)
    main = _find_main_cause(patient)
    return (*main, *_diagnose_cut_short(patient, main))


def _find_main_cause(patient: Patient) -> tuple[Diagnosis, ...]:
    table, lane = patient.table, patient.lane
    fits = fit_decoding(table, lane, patient.floor)
    if fits is None:
        return (_diagnose_by_margins(patient),)
    best_penalty = fit_penalty(table, lane)
    if best_penalty is not None and best_penalty.shown:
        return (_diagnose_penalty(patient, best_penalty),)
    best_variant = next((v for v in fit_variants(table.reader.reference, lane, patient.variants) if v.shown), None)
    if best_variant is not None:
        return (_diagnose_prompt_variant(patient, best_variant, measure_token_offset(lane)),)
    against = evidence_against_honest(fits)
    if against < MIN_EVIDENCE_AGAINST_HONEST:
        return (_diagnose_faithful(patient, fits, against),)
    mixed = fit_mixture(fits)
    if mixed.shown:
        return (_diagnose_mixture(patient, mixed),)
    alike = find_fingerprint(table, lane, patient.readings, patient.floor.epsilon)
    if alike is not None and alike.shown:
        return (_diagnose_coarser_form(patient, fits, alike, None),)
    found = find_foreign_tokens(table, lane, fits, _largest_possible_scale(patient))
    again = compare_repeats(table, lane)
    beyond = compare_with_coarsest(table, lane, patient.forms)
    if alike is not None and alike.likely and not found.foreign and alike.form in _find_matching_forms(patient, fits):
        causes: tuple[Diagnosis, ...] = (_diagnose_coarser_form(patient, fits, alike, again),)
    else:
        causes = (
            _diagnose_foreign_tokens(patient, found, beyond)
            or _diagnose_other_model(patient, again, beyond)
            or _diagnose_decoding(patient, fits, again, compare_miss_shape(table, lane, fits, patient.forms))
        )
    return (*causes, *_diagnose_not_faithful(patient, fits, causes))


def _diagnose_not_faithful(patient: Patient, fits: Fits, causes: Sequence[Diagnosis]) -> Iterable[Diagnosis]:
    """That it is not honest rounding stands, even where no cause is more than likely."""
    if fits.floor_measured and not any(d.strength == "shown" for d in causes):
        words = "whatever the cause: honest rounding is ruled out"
        yield patient.build_diagnosis("not_faithful", "shown", words, None, patient.worst_trials())


# --- nothing wrong ---------------------------------------------------------------------------


def _diagnose_by_margins(patient: Patient) -> Diagnosis:
    odd = find_unexplained_tokens(patient.table, patient.floor.epsilon)
    missed = int(patient.table.tokens.sum_by_sequence(odd)[patient.lane.sequence].sum())
    if not missed:
        return patient.build_diagnosis("faithful", "likely", "no token is missed beyond near-ties")
    message = f"{missed} tokens are missed beyond near-ties; this reader saw too little of each distribution to say why"
    return patient.build_diagnosis("unknown", "undecided", message, evidence=patient.worst_trials())


def _diagnose_faithful(patient: Patient, fits: Fits, against: float) -> Diagnosis:
    """Honest rounding explains everything; what coarser forms that would also do so is said."""
    scale = fits.scale
    high = scale.high if scale.high is not None else fits.noises[-1]
    alike = [f.form for f in patient.floor.forms if not f.honest and _lowest_scale(f) <= high]
    missed = int(patient.table.tokens.sum_by_sequence(patient.table.tokens.missed)[patient.lane.sequence].sum())
    total = int(patient.table.tokens.length[patient.lane.sequence].sum())
    suspects = _find_suspicious_trials(patient, fit_mixture(fits))
    words = f"{missed} of {total} tokens are missed, and rounding of the honest forms' size explains them"
    if not missed:
        words = "every token is the reference's choice"
    if not fits.floor_measured:
        return patient.build_diagnosis(
            "faithful", "undecided", f"{words}; no honest form was read, so the size is assumed", scale
        )
    if suspects:
        words = (
            f"{missed} of {total} tokens are missed; but for {len(suspects)} responses honest rounding explains them"
        )
        return patient.build_diagnosis("faithful", "likely", f"{words}; those are too few to say more", scale, suspects)
    if alike:
        return patient.build_diagnosis("faithful", "likely", f"{words}; cannot be told from {', '.join(alike)}", scale)
    return patient.build_diagnosis("faithful", "likely" if against > 0 else "shown", words, scale)


def _lowest_scale(form: FormScale) -> float:
    return next((v for v in (form.scale.low, form.scale.value) if v is not None), float("inf"))


# --- a penalty, another prompt ---------------------------------------------------------------


def _diagnose_penalty(patient: Patient, found: PenaltyFit) -> Diagnosis:
    rest = found.tokens - found.hits
    seen = found.seen_misses / found.misses if found.misses else 0.0
    message = (
        f"{found.penalty.kind} penalty {found.penalty.strength:g} (window: {found.penalty.window}) makes "
        f"{found.hits} of {found.tokens} tokens the first choice, against {found.plain_hits} without; {seen:.0%} of "
        f"the misses stand where that choice was in the context, as {found.seen_share:.0%} of all tokens do; {rest} "
        "tokens stay missed"
    )
    return patient.build_diagnosis("penalty", "shown", message, found.strength, patient.worst_trials())


def _diagnose_prompt_variant(patient: Patient, found: VariantFit, counted: TokenOffset | None) -> Diagnosis:
    message = (
        f'behind the variant "{found.name}" {found.hits} of {found.tokens} tokens are the first choice, '
        f"against {found.plain_hits} behind the prompt as sent"
    )
    return patient.build_diagnosis(
        "other_prompt", "shown", message + _describe_token_offset(counted), None, patient.worst_trials()
    )


def _describe_token_offset(counted: TokenOffset | None) -> str:
    if counted is None or not counted.differ:
        return ""
    by = f"{counted.low:+d}" if counted.low == counted.high else f"{counted.low:+d} to {counted.high:+d}"
    return f"; its prompt_tokens differ on {counted.differ} of {counted.prompts} prompts by {by}"


# --- a share of the responses ----------------------------------------------------------------


def _diagnose_mixture(patient: Patient, found: Mixture) -> Diagnosis:
    suspicious = _find_suspicious_trials(patient, found)
    size = f"temperature {found.size:g}" if found.kind == "sampled" else f"rounding of scale {found.size:g}"
    message = (
        f"{len(suspicious)} of {len(patient.lane.trials)} responses do not come from what gave the others: they fit "
        f"{size}, the others honest rounding"
    )
    return patient.build_diagnosis("mixture", "shown", message, found.share, suspicious)


def _find_suspicious_trials(patient: Patient, found: Mixture) -> list[Trial]:
    """The responses that hardly come from an honest computation, the surest first."""
    order = np.argsort(-found.posterior, kind="stable")
    return [patient.lane.trials[i] for i in order if found.posterior[i] >= SUSPICIOUS]


# --- a form of the reference's own model -----------------------------------------------------


def _diagnose_coarser_form(patient: Patient, fits: Fits, found: Fingerprint, again: Repeats | None) -> Diagnosis:
    """Shown by the fingerprint alone, or by a weaker one and repeats that are the same without a seed."""
    message = (
        f"on {found.same} of {found.departures} prompts it leaves the reference's text where, and with the choice with "
        f"which, {found.form} leaves it"
    )
    repeated = again is not None and again.judgement == "same" and not patient.seeded
    strength: Strength = "shown" if found.shown or repeated else "likely"
    if repeated:
        message += "; its repeats are the same"
    if not fits.floor_measured:
        strength = "undecided"
    return patient.build_diagnosis("coarser", strength, message, fits.scale, patient.worst_trials())


# --- another model or prompt -----------------------------------------------------------------


def _diagnose_foreign_tokens(
    patient: Patient, found: ForeignTokens, beyond: BeyondCoarsest | None
) -> tuple[Diagnosis, ...]:
    """Tokens that neither any temperature nor rounding as large as the coarsest form's would have chosen.

    Another prompt shows in the first tokens. Elsewhere very coarse weights choose such tokens too, so another model
    must also go beyond the coarsest form.
    """
    if not found.foreign:
        return ()
    counted = measure_token_offset(patient.lane)
    tokens, lane = patient.table.tokens, patient.lane
    match = 1 - tokens.sum_by_sequence(tokens.missed)[lane.sequence].sum() / tokens.length[lane.sequence].sum()
    message = (
        f"about {found.share:.0%} of the tokens were chosen by something else, where neither a temperature nor "
        f"rounding would have; {match:.1%} of all match"
    )
    prompted, early = counted is not None and counted.always, found.early >= T_EARLY
    if prompted or early:
        where = ", most of them among the first tokens" if early else ""
        strength: Strength = "shown" if early else "likely"
        return (
            patient.build_diagnosis(
                "other_prompt",
                strength,
                message + where + _describe_token_offset(counted),
                None,
                patient.worst_trials(),
            ),
        )
    if beyond is not None and not beyond.shown:
        return ()
    message += ", early and late alike" + _describe_token_offset(counted)
    return (patient.build_diagnosis("other_model", "shown", message, None, patient.worst_trials()),)


def _diagnose_other_model(patient: Patient, again: Repeats, beyond: BeyondCoarsest | None) -> tuple[Diagnosis, ...]:
    """Greedy, and far beyond the coarsest form that was read: no proof, for weights could be coarser still."""
    if beyond is None or not beyond.shown or again.judgement != "same" or patient.seeded:
        return ()
    counted = measure_token_offset(patient.lane)
    if counted is not None and counted.always:
        message = "its large margins are those of no coarser form" + _describe_token_offset(counted)
        return (patient.build_diagnosis("other_prompt", "likely", message, None, patient.worst_trials()),)
    message = (
        f"{beyond.misses.value or 0:.0%} of its tokens are missed, against {beyond.form_misses:.0%} by {beyond.form}, "
        f"the coarsest form read; {beyond.share.value or 0:.1%} are off by more than {beyond.margin:.2g} logits, as at "
        f"most {beyond.of_form:.1%} of that form's are. Its repeats are the same: another model, or weights coarser "
        "than any that are in use"
    )
    return (patient.build_diagnosis("other_model", "likely", message, beyond.misses, patient.worst_trials()),)


def _largest_possible_scale(patient: Patient) -> float:
    """The largest rounding that is thought possible: half as much again as the coarsest form's that was read."""
    known = [f.scale.high or f.scale.value or 0.0 for f in patient.floor.forms if not f.honest]
    return 1.5 * max(known) if known else LARGEST_SCALE


# --- rounding or sampling --------------------------------------------------------------------


def _diagnose_decoding(patient: Patient, fits: Fits, again: Repeats, spread: MissShape) -> tuple[Diagnosis, ...]:
    """Repeats decide first: draws vary, a coarser model repeats its misses. Then how the misses are spread."""
    judged = None if again.judgement == "same" and patient.seeded else again.judgement
    cause, strength = _decide_decoding_cause(judged, spread)
    if cause == "coarser" and _is_at_coarsest(patient, fits):
        strength = "likely"
    if cause == "coarser" and not fits.floor_measured:
        strength = "undecided"
    both: dict[CauseName, tuple[str, Estimate]] = {
        "sampled": (_describe_sampling(again), fits.temperature),
        "coarser": (_describe_coarser_weights(patient, fits), fits.scale),
    }
    if cause in both:
        return (patient.build_diagnosis(cause, strength, *both[cause], patient.worst_trials()),)
    beyond = _is_beyond_forms(patient, fits)
    causes = "sampling at a temperature, coarser weights" + (" or another model" if beyond else "")
    words = f"not honest rounding; {causes}: the misses fit each. More prompts, repeated without a seed, would tell"
    if again.judgement == "same":
        words += "; its repeats are the same, but a seed was sent, or may have been"
    return (
        patient.build_diagnosis(
            "not_faithful", "shown" if fits.floor_measured else "undecided", words, None, patient.worst_trials()
        ),
        patient.build_diagnosis(
            "sampled", "undecided", "if it samples: at this temperature", fits.temperature, patient.worst_trials()
        ),
        patient.build_diagnosis(
            "coarser", "undecided", f"if it is {both['coarser'][0]}", fits.scale, patient.worst_trials()
        ),
    )


def _decide_decoding_cause(judged: RepeatJudgement | None, spread: MissShape) -> tuple[CauseName, Strength]:
    """Only a spread wider than the forms' own speaks: a narrower one may be sampling cut off by top-p or min-p."""
    sampling = spread.held and spread.t >= MIN_SHAPE_T
    if judged == "vary":
        return "sampled", "shown"
    if judged == "same":
        return "coarser", "likely" if sampling else "shown"
    return ("sampled", "likely") if sampling else ("not_faithful", "undecided")


def _describe_sampling(again: Repeats) -> str:
    words = "the misses are spread as sampling at a temperature spreads them"
    if again.judgement == "vary":
        return f"{words}, and repeats differ as often as independent draws do"
    return words


def _describe_coarser_weights(patient: Patient, fits: Fits) -> str:
    words = "greedy, with rounding beyond that of the honest forms (or sampled with a fixed seed of its own)"
    if _is_at_coarsest(patient, fits):
        words += ", so much that it may be another model"
    alike = _find_matching_forms(patient, fits)
    if alike:
        return f"{words}, as much of it as in {', '.join(alike)}"
    around = sorted((f.scale.value, f.form) for f in patient.floor.forms if not f.honest and f.scale.value is not None)
    at = fits.scale.value or 0.0
    below = [name for value, name in around if value < at]
    above = [name for value, name in around if value >= at]
    if below and above:
        return f"{words}, between {below[-1]} and {above[0]}"
    if around:
        return f"{words}, {'more than' if below else 'less than'} in {below[-1] if below else above[0]}"
    return f"{words}; no coarser form was read to compare it with"


def _find_matching_forms(patient: Patient, fits: Fits) -> list[str]:
    """The coarser forms whose scale of rounding may be the provider's."""
    return [f.form for f in patient.floor.forms if not f.honest and _intervals_overlap(f.scale, fits.scale)]


def _is_at_coarsest(patient: Patient, fits: Fits) -> bool:
    """Whether the misses may be as many as the coarsest form's: from there on coarse weights and another model meet."""
    known = [f.scale.value for f in patient.floor.forms if not f.honest and f.scale.value is not None]
    return bool(known) and fits.scale.high is not None and fits.scale.high >= max(known)


def _is_beyond_forms(patient: Patient, fits: Fits) -> bool:
    """Whether the misses are more than those of any coarser form that was read."""
    known = [f.scale.high or f.scale.value or 0.0 for f in patient.floor.forms if not f.honest]
    return fits.scale.low is not None and fits.scale.low > max(known, default=LARGEST_SCALE)


def _intervals_overlap(one: Estimate, other: Estimate) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low <= other.high and other.low <= one.high


# --- cut short -------------------------------------------------------------------------------


def _diagnose_cut_short(patient: Patient, main: Sequence[Diagnosis]) -> Iterable[Diagnosis]:
    short = endings.find_early_cuts(patient.table, patient.lane)
    if len({t.prompt for t in short}) >= 2:
        message = f"{len(short)} responses were cut at fewer tokens than were asked for"
        yield patient.build_diagnosis("cut_short", "shown", message, None, short)
    ends = endings.find_improbable_ends(patient.table, patient.lane)
    ended = sum(s.ended for s in patient.lane.scored)
    elsewhere = endings.improbable_token_share(patient.table, patient.lane)
    if len({t.prompt for t in ends}) >= 2 and len(ends) / max(ended, 1) > 10 * elsewhere:
        message = f"{len(ends)} of {ended} responses that ended by themselves end where the reference would hardly have"
        foreign = any(d.cause in _FOREIGN for d in main)
        yield patient.build_diagnosis("cut_short", "likely" if foreign else "shown", message, None, ends)


def effective_temperature(fits: Fits, cause: CauseName) -> Estimate | None:
    """0 where the choice is greedy; None where something else than decoding explains the tokens."""
    fitted = fits.temperature
    if cause in _GREEDY:
        return Estimate(value=0.0, low=0.0, high=fitted.high, n=fits.prompts, method=fitted.method)
    if cause == "sampled":
        return fitted
    if cause == "not_faithful":
        return Estimate(value=fitted.value, low=0.0, high=fitted.high, n=fits.prompts, method=fitted.method)
    return None
