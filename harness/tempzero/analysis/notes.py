"""A Case in, what a reader must know beside the figures out, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tempzero import stats
from tempzero.analysis.conditions import note_condition_differences, note_unreached_load
from tempzero.analysis.evidence import Case, condition_suffix, load_suffix
from tempzero.analysis.observations import CENSORED, EXCLUDED, NOT_SAID, VALID
from tempzero.analysis.provider_figures import identical_bits_share
from tempzero.analysis.tallies import Tally, planned_repeats
from tempzero.analysis.texts import Texts


def collect_notes(case: Case) -> tuple[str, ...]:
    """Bounds where nothing was seen, what was left out or cut, and what could not be measured."""
    found: list[str] = []
    for tally in case.tallies:
        who = f"{tally.name}{condition_suffix(tally.lane.condition)}"
        found += (f"{who}: {note}" for note in _note_provider(tally, case))
    return (*found, *note_condition_differences(case))


def _note_change_within_run(tally: Tally, case: Case) -> Iterable[str]:
    """Corrected over all providers: one of twenty would stand out by chance."""
    corrected = stats.holm([h.test.p_value for h in case.halves])
    for halves, p_value in zip(case.halves, corrected, strict=True):
        if halves.tally is tally and p_value <= case.alpha:
            yield (
                "the second half of its repeats differs from the first by more than either half differs from itself "
                f"(p = {p_value:.2g} after Holm over {len(corrected)} providers): it changed while it was asked"
            )


def _note_provider(tally: Tally, case: Case) -> Iterable[str]:
    yield from _note_no_divergence(tally)
    yield from _note_change_within_run(tally, case)
    yield from _note_identical_bits(tally)
    yield from _note_uncompared_responses(tally)
    yield from _note_loops(tally, case.texts)
    yield from note_unreached_load(tally)


def _note_no_divergence(tally: Tally) -> Iterable[str]:
    measured = int((~np.isnan(tally.emr)).sum())
    if tally.stopped is not None:
        yield (
            f"sampling stopped at the first divergence: {tally.stopped.short} of {tally.stopped.prompts} prompts have "
            f"fewer than {tally.stopped.longest} repeats; agreement of what is left would be false, see the survivors"
        )
    elif not measured:
        yield "repeats were not measured: no prompt has two comparable responses under one identity"
    elif not (tally.emr < 1).any():
        yield (
            f"no divergence in {planned_repeats(tally.lane)} repeats of {measured} prompts{load_suffix(tally)}; "
            "the rate of prompts "
            f"that diverge is below {stats.rule_of_three(measured):.1%} (95 %)"
        )


def _note_identical_bits(tally: Tally) -> Iterable[str]:
    same = identical_bits_share(tally.lane, len(tally.emr))
    rows = (tally.lane.status <= CENSORED) & (tally.lane.bits != NOT_SAID)
    repeated = np.maximum(np.bincount(tally.lane.prompt[rows], minlength=same.size) - 1, 0)
    if repeated.any():
        identical = round(float(np.nansum(same * repeated)))
        yield (
            f"{identical} of {int(repeated.sum())} repeats of {int((repeated > 0).sum())} prompts have the same logits "
            "and token ids, bit for bit, as the prompt's first"
        )


def _note_uncompared_responses(tally: Tally) -> Iterable[str]:
    lane = tally.lane
    unheld = int((~lane.planned).sum())
    if unheld:
        held = lane.provider.context_tokens
        yield f"not asked, because longer than its context of {held} tokens: {unheld} of {lane.planned.size} prompts"
    cut = int(((lane.status == CENSORED) & (lane.text != NOT_SAID)).sum())
    if cut:
        yield (
            f"{cut} responses were cut at their token limit; they are compared up to the cut: one counts as the "
            "commonest response that it is the beginning of (emr_complete leaves them out)"
        )
    for number, words in (
        (int(((lane.status == CENSORED) & (lane.text == NOT_SAID)).sum()), "cut by a filter or before any text"),
        (int(((lane.status == VALID) & (lane.text == NOT_SAID)).sum()), "empty or not comparable as text"),
        (int((lane.status == EXCLUDED).sum()), "replayed by a response cache"),
    ):
        if number:
            yield f"{number} responses were {words}; they are in no agreement figure"


def _note_loops(tally: Tally, texts: Texts) -> Iterable[str]:
    rows = tally.lane.text != NOT_SAID
    text = tally.lane.text[rows]
    looping = texts.metrics["loop_share"][text] == 1
    if looping.any():
        cut = int((texts.cut[text] & looping).sum())
        yield f"{int(looping.sum())} of {text.size} responses end in a loop, {cut} of them cut at the token limit"
