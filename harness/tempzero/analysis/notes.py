"""A Case in, what a reader must know beside the figures out, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tempzero import stats
from tempzero.analysis.conditions import note_condition_differences, note_unreached_load
from tempzero.analysis.declared_forms import note_without_peers
from tempzero.analysis.evidence import Case, condition_suffix, load_suffix, name_part
from tempzero.analysis.part_counts import CENSORED, EXCLUDED, NOT_SAID, VALID
from tempzero.analysis.provider_figures import find_empty_answers, identical_bits_share
from tempzero.analysis.reasoning_findings import note_hidden_reasoning
from tempzero.analysis.response_counts import find_cut_at_limit
from tempzero.analysis.round_histories import find_own_places
from tempzero.analysis.tallies import Tally, planned_repeats
from tempzero.analysis.texts import Texts
from tempzero.metrics.agreement import Counts, mark_group_starts, pool_segments
from tempzero.types.asked import Prompt


def collect_notes(case: Case) -> tuple[str, ...]:
    """Bounds where nothing was seen, what was left out or cut, and what could not be measured."""
    found: list[str] = []
    for tally in case.tallies:
        who = f"{tally.name}{condition_suffix(tally.lane.condition)}"
        found += (f"{who}: {note}" for note in _note_provider(tally, case))
    return (*found, *note_hidden_reasoning(case), *note_without_peers(case), *note_condition_differences(case))


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
    yield from _note_uncompared_responses(tally, case.texts, case.prompts)
    yield from _note_unsteady_statements(tally, case)
    yield from _note_loops(tally, case.texts)
    yield from note_unreached_load(tally)


def _why_without(tally: Tally) -> str:
    return " (none was sent: it refuses one, or its entry says so)" if tally.lane.provider.temperature is None else ""


def _note_no_divergence(tally: Tally) -> Iterable[str]:
    measured = int((~np.isnan(tally.emr)).sum())
    if tally.stopped is not None:
        yield (
            f"sampling stopped {tally.stopped.described}: {tally.stopped.short} of {tally.stopped.prompts} prompts "
            f"have fewer than {tally.stopped.longest} repeats; agreement of what is left would be false, see the "
            "survivors"
        )
    elif tally.lane.is_sampled and measured:
        differ = int((tally.emr < 1).sum())
        yield (
            f"asked without temperature 0{_why_without(tally)}, so that its answers may be sampled by rights: its "
            f"repeats differ on {differ} of {measured} prompts, and that is no finding"
        )
    elif not measured and tally.lane.provider.pack is not None:
        yield "a reference pack: each answer was recorded once, so nothing is said of its repeats"
    elif not measured:
        yield "repeats were not measured: no prompt has two comparable responses under one identity"
    elif not (tally.emr < 1).any():
        parts = [name_part(name) for name in tally.own_parts()]
        compared = f"; compared were {', '.join(parts)}" if parts else ""
        yield (
            f"no divergence in {planned_repeats(tally.lane)} repeats of {measured} prompts{load_suffix(tally)}; "
            "the rate of prompts "
            f"that diverge is below {stats.rule_of_three(measured):.1%} (95 %){compared}"
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


def _note_uncompared_responses(tally: Tally, texts: Texts, prompts: Sequence[Prompt]) -> Iterable[str]:
    lane = tally.lane
    own = find_own_places(prompts)
    unheld = int((own & ~lane.planned).sum())
    if unheld:
        held = lane.provider.context_tokens
        yield f"not asked, because longer than its context of {held} tokens: {unheld} of {int(own.sum())} prompts"
    at_limit, spent = find_cut_at_limit(lane, texts)
    compared = lane.text != NOT_SAID
    cut = int((at_limit & compared).sum())
    if cut:
        yield (
            f"{cut} responses were cut at their token limit; they are compared up to the cut: where one is the "
            "beginning of others it counts as the commonest of them, except where both were cut after the same number "
            "of tokens (emr_complete leaves cut ones out)"
        )
    filtered = (lane.status == CENSORED) & ~at_limit & compared
    filtered[filtered] = texts.cut[lane.text[filtered]]
    if filtered.any():
        yield (
            f"{int(filtered.sum())} responses were cut by a filter; they are compared up to the cut, which "
            "came after nobody knows how many tokens"
        )
    if spent.any():
        yield (
            f"{int(spent.sum())} responses spent their limit before any text came, on reasoning as far as they say: "
            "raise max_tokens"
        )
    empty = int(find_empty_answers(tally, texts).sum())
    if empty:
        yield f"{empty} answers were empty; that is an answer, and differs from any text"
    for number, words in (
        (int((at_limit & ~compared).sum()), "cut at the limit before any output was shown"),
        (int(((lane.status == CENSORED) & ~at_limit & ~compared).sum()), "withheld by a filter, or declined"),
        (int(((lane.status == VALID) & ~compared).sum()), "not comparable as text"),
        (int((lane.status == EXCLUDED).sum()), "replayed by a response cache"),
    ):
        if number:
            yield f"{number} responses were {words}; they are in no agreement figure"


def _note_unsteady_statements(tally: Tally, case: Case) -> Iterable[str]:
    """What repeats of one request say of themselves, beside the answer, and not always the same."""
    shown = tally.shown_share
    partly = int(((shown > 0) & (shown < 1)).sum())
    if partly:
        yield f"it shows its reasoning in some repeats and not in others on {partly} prompts"
    finish = _count_unsteady(tally.finish)
    if finish:
        rows = tally.lane.finish[(tally.lane.status <= CENSORED) & (tally.lane.finish != NOT_SAID)]
        numbers, times = np.unique(rows, return_counts=True)
        order = np.lexsort((numbers, -times))
        said = ", ".join(f"{case.finish_reasons[numbers[i]][:40]} x{times[i]}" for i in order[:5].tolist())
        yield f"repeats end for different reasons on {finish} prompts (finish_reason in all: {said})"
    prompt_tokens = _count_unsteady(tally.prompt_tokens)
    if prompt_tokens:
        yield f"it counts other prompt_tokens for the same prompt, from repeat to repeat, on {prompt_tokens} prompts"
    completion = _count_unsteady_completion_tokens(tally)
    if completion:
        yield f"it counts other completion_tokens for the same answer, from repeat to repeat, on {completion} prompts"
    identities = [case.identities[i] for i in np.unique(tally.lane.identity).tolist() if i != NOT_SAID]
    upstreams = len({one.backend for one in identities} - {None})
    if upstreams > 1 and not tally.lane.provider.pinned:
        yield (
            f"{upstreams} different upstreams answered; it is not pinned, so its router may choose; repeats are "
            "compared within one of them only"
        )
    fingerprints = len({one.fingerprint for one in identities} - {None})
    if fingerprints > 1:
        answered = int((tally.lane.identity != NOT_SAID).sum())
        yield (
            f"{fingerprints} different system fingerprints in {answered} answers; that is normal service, and repeats "
            "are compared across them"
        )


def _count_unsteady(said: Counts) -> int:
    """Prompts whose repeats said more than one thing."""
    counts = pool_segments(said)
    return int((np.bincount(counts.cell, minlength=counts.cells) > 1).sum())


def _count_unsteady_completion_tokens(tally: Tally) -> int:
    """Prompts on which one and the same answer was counted differently."""
    lane = tally.lane
    rows = (lane.text != NOT_SAID) & (lane.completion_tokens != NOT_SAID)
    prompt, text, tokens = lane.prompt[rows], lane.text[rows], lane.completion_tokens[rows]
    order = np.lexsort((tokens, text, prompt))
    told = order[mark_group_starts(prompt[order], text[order], tokens[order])]
    again = ~mark_group_starts(prompt[told], text[told])
    return int(np.unique(prompt[told][again]).size)


def _note_loops(tally: Tally, texts: Texts) -> Iterable[str]:
    rows = tally.lane.text != NOT_SAID
    text = tally.lane.text[rows]
    looping = texts.metrics["loop_share"][text] == 1
    if looping.any():
        cut = int((texts.cut[text] & looping).sum())
        yield f"{int(looping.sum())} of {text.size} responses end in a loop, {cut} of them cut at the token limit"
