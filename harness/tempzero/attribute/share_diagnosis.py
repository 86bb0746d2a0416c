"""Odd responses beside others that nothing changed in, what explains these out: on some prompts, or a mixture."""

from __future__ import annotations

from tempzero.attribute.patient import NAMED_AT_MOST, Patient, join_few_names, list_forms, name_cause
from tempzero.attribute.reader_tables import ResponseLane
from tempzero.attribute.suspect_fits import Naming, SuspectFits
from tempzero.types.concluded import Diagnosis
from tempzero.types.vocabulary import CauseName, Strength


def diagnose_share(patient: Patient, fits: SuspectFits, part: Naming) -> Diagnosis:
    """On some prompts, or of some repeats: what explains the odd responses, the others being unchanged."""
    odd, lane = fits.odd, patient.lane
    causes = {name_cause(f) for f in part.winners}
    varied = find_varied_prompts(lane)
    mixed = bool(varied & {t.prompt for t in odd})
    if not mixed:
        where = f"on {fits.odd_prompts} of {len({t.prompt for t in fits.plain.answers})} prompts only"
        where += _describe_common_length(fits)
    else:
        where = f"in {len(odd)} of {len(fits.plain.answers)} different responses, repeats of one prompt among both"
    names = "; or ".join(f.line.words for f in part.winners[:NAMED_AT_MOST])
    message = f"{where}: {names}. That explains every token of these, and nothing changed those of the others"
    strength: Strength = "shown" if part.shown else "likely"
    cause: CauseName = "mixture" if mixed else causes.pop() if len(causes) == 1 else "not_faithful"
    return patient.build_diagnosis(cause, strength, message, None, odd, list_forms(part.winners))


def _describe_common_length(fits: SuspectFits) -> str:
    """What the odd prompts have in common that the others have not: their length."""
    odd = {t.prompt for t in fits.odd}
    inside = [a.prompt_tokens for t, a in fits.plain.answers.items() if t.prompt in odd]
    outside = [a.prompt_tokens for t, a in fits.plain.answers.items() if t.prompt not in odd]
    if min(inside) > max(outside):
        return f", the longest ones ({min(inside):,} tokens or more; the others have up to {max(outside):,})"
    if max(inside) < min(outside):
        return f", the shortest ones (up to {max(inside):,} tokens; the others have {min(outside):,} or more)"
    return f" ({join_few_names(sorted(odd))})"


def find_varied_prompts(lane: ResponseLane) -> set[str]:
    """Prompts whose repeats are not the same."""
    found: dict[tuple[str, int], set[int]] = {}
    for trial, place, sequence in zip(lane.trials, lane.prompt.tolist(), lane.sequence.tolist(), strict=True):
        found.setdefault((trial.prompt, place), set()).add(sequence)
    return {prompt for (prompt, _), sequences in found.items() if len(sequences) > 1}
