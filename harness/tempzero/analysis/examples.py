"""Tallies and comparisons in, what a report shows beside the figures out: curves, divergences, prompt rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from tempzero.analysis.evidence import Case, find_visible_differences, pick_commonest_trials
from tempzero.analysis.observations import CENSORED, EXCLUDED, NOT_SAID, VALID
from tempzero.analysis.pair_figures import Comparison
from tempzero.analysis.provider_figures import count_outcomes, count_planned_trials
from tempzero.analysis.tallies import Tally
from tempzero.analysis.texts import Texts
from tempzero.metrics import divergence
from tempzero.metrics.agreement import Floats, commonest_outputs, count_responses, pool_segments
from tempzero.types.concluded import Divergence, PromptRow, SurvivalCurve
from tempzero.types.vocabulary import PairKind

# Examples of divergence shown for each provider and each pair: those that part earliest.
DIVERGENCES_SHOWN = 3


def build_survival_curves(case: Case) -> tuple[SurvivalCurve, ...]:
    """Share of pairs still identical after so many characters, for every provider and pair that has any."""
    found = []
    for tally in case.tallies:
        survival = divergence.repeat_survival(tally.own, case.texts.shared)
        if survival is not None:
            found.append(_to_survival_curve("repeat", tally.name, None, tally.lane.condition, survival))
    for c in case.comparisons:
        survival = divergence.cross_survival(c.left, c.right, case.texts.shared)
        if survival is not None:
            subject = c.pair.subject
            found.append(_to_survival_curve("cross", subject.left, subject.right, subject.condition, survival))
    return tuple(found)


def pick_divergences(case: Case) -> tuple[Divergence, ...]:
    """For every provider and pair the few prompts whose texts part earliest."""
    own = (d for tally in case.tallies for d in _find_own_divergences(tally, case))
    cross = (d for c in case.comparisons for d in _find_pair_divergences(c, case))
    return (*own, *cross)


def build_prompt_rows(case: Case) -> tuple[PromptRow, ...]:
    """A row for every prompt and provider, by prompt."""
    match = {
        (c.pair.left.name, c.pair.subject.condition): c.match for c in case.comparisons if c.pair.kind == "reference"
    }
    nothing = np.full(len(case.prompts), np.nan)
    columns = [_build_provider_rows(t, match.get((t.name, t.lane.condition), nothing), case) for t in case.tallies]
    return tuple(row for prompt in zip(*columns, strict=True) for row in prompt if row.planned)


def _to_survival_curve(
    kind: PairKind, left: str, right: str | None, condition: str, survival: divergence.Survival
) -> SurvivalCurve:
    return SurvivalCurve(
        kind=kind,
        left=left,
        right=right,
        condition=condition,
        positions=survival.positions,
        shares=survival.shares,
        pairs=survival.pairs,
    )


def _find_own_divergences(tally: Tally, case: Case) -> Iterable[Divergence]:
    for parting in divergence.find_first_differences(tally.own, case.texts.shared)[:DIVERGENCES_SHOWN]:
        start, end = tally.starts[parting.cell], tally.starts[parting.cell + 1]
        rows = [
            int(
                start
                + np.flatnonzero(
                    (tally.lane.text[start:end] == text) & (tally.lane.segment[start:end] == parting.segment)
                )[0]
            )
            for text in (parting.left, parting.right)
        ]
        first, second = sorted(rows)
        yield Divergence(
            prompt=case.prompts[parting.cell].id,
            left=tally.trial(first, case.prompts),
            right=tally.trial(second, case.prompts),
            left_text=case.texts.text[tally.lane.text[first]],
            right_text=case.texts.text[tally.lane.text[second]],
            at_char=parting.at_char,
        )


def _find_pair_divergences(comparison: Comparison, case: Case) -> Iterable[Divergence]:
    left, right = comparison.pair.left, comparison.pair.right
    prompts, at = find_visible_differences(left, right, case.texts)
    for index in np.lexsort((prompts, at))[:DIVERGENCES_SHOWN].tolist():
        prompt = int(prompts[index])
        trials = pick_commonest_trials(left, right, prompt, case.prompts)
        yield Divergence(
            prompt=case.prompts[prompt].id,
            left=trials[0],
            right=trials[1],
            left_text=case.texts.text[commonest_outputs(left.raw)[prompt]],
            right_text=case.texts.text[commonest_outputs(right.raw)[prompt]],
            at_char=int(at[index]),
        )


def _build_provider_rows(tally: Tally, match: Floats, case: Case) -> Iterator[PromptRow]:
    lane, cells = tally.lane, len(case.prompts)
    planned = count_planned_trials(lane, cells)
    valid, censored, excluded = (count_outcomes(lane, s, cells) for s in (VALID, CENSORED, EXCLUDED))
    texts, modal = pool_segments(tally.own), commonest_outputs(tally.own)
    number = count_responses(texts)
    distinct = np.bincount(texts.cell, minlength=cells)
    largest = np.zeros(cells)
    np.maximum.at(largest, texts.cell, texts.count)
    parsed = _count_parsed_answers(tally, case.texts, cells)
    for j, prompt in enumerate(case.prompts):
        yield PromptRow(
            prompt=prompt.id,
            family=prompt.family,
            provider=tally.name,
            condition=lane.condition,
            planned=int(planned[j]),
            valid=int(valid[j]),
            censored=int(censored[j]),
            missing=int(planned[j] - valid[j] - censored[j] - excluded[j]),
            distinct=int(distinct[j]),
            modal_share=float(largest[j] / number[j]) if number[j] else None,
            emr=_none_if_nan(tally.emr[j]),
            match_reference=_none_if_nan(match[j]),
            expected=prompt.expected,
            answers=parsed[j],
            modal_text=case.texts.text[modal[j]] if number[j] else None,
            mean_chars=_none_if_nan(tally.chars[j]),
        )


def _count_parsed_answers(tally: Tally, texts: Texts, cells: int) -> list[tuple[tuple[str | None, int], ...]]:
    """Each prompt's parsed answers with their counts, the commonest first; None stands for unparsed."""
    found: list[Counter[str | None]] = [Counter() for _ in range(cells)]
    rows = pool_segments(tally.answer)
    for cell, output, number in zip(rows.cell.tolist(), rows.output.tolist(), rows.count.tolist(), strict=True):
        found[cell][None if output == NOT_SAID else texts.answers[output]] += number
    return [tuple(sorted(c.items(), key=lambda item: (-item[1], item[0] is None, item[0] or ""))) for c in found]


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
