"""One provider's tokens under every suspect in, its Diagnoses out: which causes hold, and how surely.

The order of the questions is the rule. Too few tokens decide nothing. Then whether its texts are the reference's after
one edit. Then the suspects: whether the unchanged reference explains every token up to honest rounding and nothing
explains them better; else whether one suspect alone explains all of them; or, where only some responses are odd,
those. Where repeats of a prompt differ, several things may be at work: a suspect for some of them, or draws. Equal
repeats rule draws out; they rule nothing in. What none of the suspects explains stays open, with their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tempzero.attribute import endings
from tempzero.attribute.alike_forms import describe_alike_forms, find_alike_forms
from tempzero.attribute.fits import Fits, fit_decoding
from tempzero.attribute.patient import NAMED_AT_MOST, Patient, join_few_names, list_forms, name_cause
from tempzero.attribute.prompt_counts import TokenOffset, measure_token_offset
from tempzero.attribute.repeats import Repeats, compare_repeats
from tempzero.attribute.shapes import MissShape, compare_miss_shape
from tempzero.attribute.share_diagnosis import diagnose_share, find_varied_prompts
from tempzero.attribute.suspect_fits import (
    ODD_PROMPTS,
    Fit,
    Naming,
    SuspectFits,
    build_suspect_fits,
    compare_suspects,
    explains_but_ends,
    name_share,
    name_suspect,
)
from tempzero.attribute.text_edits import MIN_EDITED_PROMPTS, TextEdit, find_swapped_answers, find_text_edit
from tempzero.types.asked import Trial
from tempzero.types.concluded import Diagnosis, Estimate
from tempzero.types.vocabulary import Strength

MIN_TOKENS, MIN_PROMPTS = 200, 5
# From here on "computes what the reference computes" is shown: with fewer every second weak fault goes unseen.
FAITHFUL_TOKENS, FAITHFUL_PROMPTS = 300, 10
# How far the misses must be spread beyond a form's, in standard errors over prompts, to speak for sampling.
MIN_SHAPE_T = 3.5
# Sampling is shown only where rounding does not explain how the misses are spread better than this.
LEAST_SHAPE_T = -2.0


def diagnose_provider(patient: Patient) -> tuple[Diagnosis, ...]:
    """What holds of one provider, the main cause first."""
    tokens = int(patient.table.tokens.length[patient.lane.sequence].sum())
    prompts = int(np.unique(patient.lane.prompt).size)
    edit = find_text_edit(patient.table, patient.lane)
    if edit is not None and edit.prompts >= MIN_EDITED_PROMPTS:
        return (_diagnose_edit(patient, edit),)
    if patient.table.reader.until_difference:
        return (_tell_reading_by_pack(patient, tokens),)
    if tokens < MIN_TOKENS or prompts < MIN_PROMPTS:
        message = f"too little was read: {tokens} tokens of {prompts} prompts, {MIN_TOKENS} of {MIN_PROMPTS} are needed"
        return (patient.build_diagnosis("unknown", "undecided", message),)
    short = tuple(_diagnose_cut_short(patient))
    main = _find_main_cause(patient, cut=bool(short))
    return (*main, *(d for d in short if d.cause not in {m.cause for m in main}))


def _tell_reading_by_pack(patient: Patient, tokens: int) -> Diagnosis:
    """A pack knows what follows its own answers only, so that no suspect can be tried."""
    missed = patient.table.tokens.missed[patient.table.tokens.start[1:] - 1][patient.lane.sequence]
    message = (
        f"{int(missed.sum())} of {len(patient.lane.trials)} responses part from the pack's answer, and {tokens} tokens "
        "up to there were read; which cause that has, only a reference that computes can say"
    )
    return patient.build_diagnosis("unknown", "undecided", message)


def _find_main_cause(patient: Patient, *, cut: bool) -> tuple[Diagnosis, ...]:
    table, lane = patient.table, patient.lane
    fits = build_suspect_fits(table.reader.reference, lane, patient.suspects, patient.rounding)
    if fits is None:
        words = "these responses were not read under suspects; `tempzero score RUN` does so"
        return (patient.build_diagnosis("unknown", "undecided", words),)
    counted = measure_token_offset(lane)
    decoding = fit_decoding(table, lane)
    allowed = _find_allowed(patient, fits, counted)
    found = name_suspect(fits, allowed)
    if found.winners:
        return (_diagnose_suspect(patient, fits, found, decoding, counted),)
    if fits.plain.live and counted is not None and counted.low != counted.high:
        return (_diagnose_other_length(patient, fits, counted),)
    if fits.plain.live:
        return (_diagnose_faithful(patient, fits, decoding, counted, cut=cut),)
    swapped = find_swapped_answers(table, lane)
    if len({t.prompt for t in swapped}) >= ODD_PROMPTS:
        words = f"{len(swapped)} of {len(lane.trials)} responses are the reference's answers to other prompts"
        return (patient.build_diagnosis("mixture", "shown", words, None, swapped),)
    part = name_share(fits, allowed)
    if part.winners:
        return (diagnose_share(patient, fits, part),)
    ends = endings.find_improbable_ends(table, lane)
    if len({t.prompt for t in ends}) >= ODD_PROMPTS and explains_but_ends(fits, ends):
        return (_diagnose_early_ends(patient, ends),)
    drawn = _diagnose_draws(patient, decoding)
    return drawn or (_diagnose_open(patient, fits, found, counted),)


def _find_allowed(patient: Patient, fits: SuspectFits, counted: TokenOffset | None) -> list[Fit]:
    """The suspects that may be a cause: where prompt_tokens differ, other prompts that are as long as it says.

    Equal counts rule nothing out: what a host adds is often not billed.
    """
    if counted is None or not counted.differ:
        return list(fits.others)
    told = {t: a.prompt_tokens for t, a in zip(patient.lane.trials, patient.lane.answers, strict=True) if a is not None}
    agree = {f.line.suspect: _count_agreeing(f, told) for f in fits.others if f.line.kind == "request"}
    most = max(agree.values(), default=0)
    if most <= _count_agreeing(fits.plain, told):
        return [f for f in fits.others if f.line.kind == "request"]
    return [f for f in fits.others if agree.get(f.line.suspect) == most]


def _count_agreeing(fit: Fit, told: dict[Trial, int | None]) -> int:
    """On how many prompts its prompt has as many tokens as the provider says."""
    return len({t.prompt for t, a in fit.answers.items() if told.get(t) == a.prompt_tokens})


# --- one edit, one suspect -------------------------------------------------------------------


def _diagnose_edit(patient: Patient, edit: TextEdit) -> Diagnosis:
    message = f"{edit.words}: then {len(edit.trials)} of {edit.differing} texts that differ are the reference's"
    if not edit.whole:
        message += "; the others were not compared token by token, since the text is not what the model wrote"
    strength: Strength = "likely" if edit.harmless else "shown"
    return patient.build_diagnosis("post_processed", strength, message, None, edit.trials)


def _diagnose_suspect(
    patient: Patient, fits: SuspectFits, found: Naming, decoding: Fits | None, counted: TokenOffset | None
) -> Diagnosis:
    """One family that explains all: shown. Several of one kind: one of them. Of several kinds: open."""
    best, plain = found.winners[0], fits.plain
    causes = {name_cause(f) for f in found.winners}
    score = (
        f"makes {best.tokens - best.misses} of {best.tokens} tokens the first choice up to rounding; "
        f"{plain.misses} are missed with nothing changed"
    )
    if found.next_best is not None:
        score += f", {found.next_best.misses} by the next best suspect ({found.next_best.line.words})"
    told = "" if counted is None else counted.describe()
    size, forms = _estimate_size(best, decoding), list_forms(found.winners)
    if found.shown:
        message = f"{best.line.words}: that {score}{_describe_family(fits, best)}{told}"
        return patient.build_diagnosis(name_cause(best), "shown", message, size, patient.worst_trials(), forms)
    names = "; or ".join(f.line.words for f in found.winners[:NAMED_AT_MOST])
    message = f"one of: {names}. The first {score}{told}"
    if len(causes) == 1:
        return patient.build_diagnosis(causes.pop(), "likely", message, size, patient.worst_trials(), forms)
    strength: Strength = "likely" if plain.live else _strength_of_open(fits)
    return patient.build_diagnosis("not_faithful", strength, message, None, patient.worst_trials())


def _estimate_size(fit: Fit, decoding: Fits | None) -> Estimate | None:
    """Of coarser weights the scale of their rounding; the size of a penalty stands in its words."""
    return decoding.scale if decoding is not None and fit.line.kind == "weights" else None


def _describe_family(fits: SuspectFits, best: Fit) -> str:
    """Which others of its family explain the tokens hardly worse: a size is an estimate."""
    alike = [
        f.line.suspect
        for f in fits.others
        if f.live
        and f.line.family == best.line.family
        and f.line.suspect != best.line.suspect
        and compare_suspects(best, f).chance > 0.05
    ]
    return f"; of its kind as good: {join_few_names(alike)}" if alike else ""


def _diagnose_early_ends(patient: Patient, ends: Sequence[Trial]) -> Diagnosis:
    """Every token but the last one is the reference's."""
    ended = sum(s.ended for s in patient.lane.scored)
    message = (
        f"{len(ends)} of {ended} responses that ended by themselves end where the reference would hardly have; every "
        "other token is its choice up to rounding"
    )
    return patient.build_diagnosis("cut_short", "shown", message, None, ends)


# --- nothing is changed ----------------------------------------------------------------------


def _diagnose_other_length(patient: Patient, fits: SuspectFits, counted: TokenOffset) -> Diagnosis:
    """It counts prompts of another length, not by the same number everywhere, and answers as if nothing was changed."""
    plain = fits.plain
    words = (
        f"it counts prompts of another length: another prompt was read there, or another tokenizer counts; rounding "
        f"explains its answers, {plain.misses} of {plain.tokens} tokens are missed{counted.describe()}"
    )
    return patient.build_diagnosis("other_prompt", "likely", words)


def _diagnose_faithful(
    patient: Patient, fits: SuspectFits, decoding: Fits | None, counted: TokenOffset | None, *, cut: bool
) -> Diagnosis:
    """Rounding of an honest 16-bit host explains every token; what else would do so is said."""
    plain, scale = fits.plain, None if decoding is None else decoding.scale
    largest = max((m for a in plain.answers.values() for m in a.margin), default=0.0)
    words = "every token is the reference's choice"
    if plain.misses:
        words = (
            f"{plain.misses} of {plain.tokens} tokens are missed, by {largest:.2g} logits at most: rounding as an "
            f"honest 16-bit host of this model has explains them ({patient.rounding.basis})"
        )
    told = "" if counted is None else counted.describe()
    alike = find_alike_forms(patient.table, patient.lane, patient.forms, fits, scale)
    few = plain.tokens < FAITHFUL_TOKENS or len({t.prompt for t in plain.answers}) < FAITHFUL_PROMPTS
    if few:
        words += f"; {plain.tokens} tokens are too few to show it"
    words += describe_alike_forms(alike)
    if cut:
        words += "; as far as its responses go"
    strength: Strength = "likely" if few or alike or told or cut else "shown"
    return patient.build_diagnosis("faithful", strength, words + told, scale)


# --- draws, and what stays open --------------------------------------------------------------


def _diagnose_draws(patient: Patient, decoding: Fits | None) -> tuple[Diagnosis, ...]:
    """Repeats that differ as independent draws do, and misses that are spread as a temperature spreads them."""
    if decoding is None:
        return ()
    again = compare_repeats(patient.table, patient.lane)
    spread = compare_miss_shape(patient.table, patient.lane, decoding, patient.forms)
    cause = _judge_draws(again, spread)
    if cause is None:
        return ()
    words = "the misses are spread as sampling spreads them; as if at this temperature, at least where its tail is cut"
    if again.judgement == "vary":
        words += "; repeats differ as often as independent draws do"
    return (patient.build_diagnosis("sampled", cause, words, decoding.temperature, patient.worst_trials()),)


def _judge_draws(again: Repeats, spread: MissShape) -> Strength | None:
    if again.judgement == "vary":
        return "shown" if spread.t > LEAST_SHAPE_T else "likely"
    if again.judgement == "same":
        return None
    return "likely" if spread.held and spread.t >= MIN_SHAPE_T else None


def _diagnose_open(patient: Patient, fits: SuspectFits, found: Naming, counted: TokenOffset | None) -> Diagnosis:
    """None of the suspects: how much it is, how many were tried, and which this suite cannot tell."""
    plain, tried, untold = fits.plain, fits.tried, fits.untold
    largest = max((m for a in plain.answers.values() for m in a.margin), default=0.0)
    varied = find_varied_prompts(patient.lane)
    how = "its repeats are the same" if not varied else f"its repeats differ on {len(varied)} prompts"
    if len(patient.lane.trials) == len({t.prompt for t in patient.lane.trials}):
        how = "each prompt was answered once"
    words = (
        f"{plain.misses} of {plain.tokens} tokens are missed, by up to {largest:.2g} logits on {fits.odd_prompts} "
        f"prompts: more than rounding, {how}; none of the {len(tried)} suspects tried explains them"
    )
    if found.next_best is not None:
        words += f" (nearest: {found.next_best.line.words}, {found.next_best.misses} missed)"
    if untold:
        words += f". This suite cannot tell: {join_few_names(untold)}"
    told = "" if counted is None else counted.describe()
    return patient.build_diagnosis("not_faithful", _strength_of_open(fits), words + told, None, patient.worst_trials())


def _strength_of_open(fits: SuspectFits) -> Strength:
    """That it is more than rounding is shown on two prompts or more."""
    return "shown" if fits.odd_prompts >= ODD_PROMPTS else "likely"


# --- cut short -------------------------------------------------------------------------------


def _diagnose_cut_short(patient: Patient) -> Iterable[Diagnosis]:
    short = endings.find_early_cuts(patient.table, patient.lane)
    if len({t.prompt for t in short}) >= 2:
        message = f"{len(short)} responses were cut at fewer tokens than were asked for"
        yield patient.build_diagnosis("cut_short", "shown", message, None, short)
    ends = endings.find_improbable_ends(patient.table, patient.lane)
    ended = sum(s.ended for s in patient.lane.scored)
    elsewhere = endings.improbable_token_share(patient.table, patient.lane)
    if len({t.prompt for t in ends}) >= 2 and len(ends) / max(ended, 1) > 10 * elsewhere:
        message = f"{len(ends)} of {ended} responses that ended by themselves end where the reference would hardly have"
        yield patient.build_diagnosis("cut_short", "likely", message, None, ends)
