"""Tallies and comparisons in, what a report shows beside the figures out: curves, divergences, prompt rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from tempzero.analysis.book import Subject
from tempzero.analysis.evidence import Case, find_compared_differences, pick_commonest_rows, show_difference
from tempzero.analysis.pair_figures import Comparison
from tempzero.analysis.part_counts import CENSORED, EXCLUDED, NOT_SAID, VALID
from tempzero.analysis.provider_figures import count_outcomes, count_planned_trials
from tempzero.analysis.round_histories import name_place
from tempzero.analysis.tallies import CountedTexts, Tally
from tempzero.analysis.texts import Texts
from tempzero.metrics import divergence
from tempzero.metrics.agreement import Floats, commonest_outputs, count_responses, pool_segments
from tempzero.types.concluded import Divergence, PromptRow, SurvivalCurve
from tempzero.types.vocabulary import PairKind, PartName

# Examples of divergence shown for each provider and each pair: those that part earliest.
DIVERGENCES_SHOWN = 3


def build_survival_curves(case: Case) -> tuple[SurvivalCurve, ...]:
    """Share of pairs still identical after so many characters, for every provider and pair that has any."""
    found = []
    for tally in case.tallies:
        counted: dict[PartName, CountedTexts] = {"whole": tally, **tally.own_parts()}
        for part, one in counted.items():
            survival = divergence.repeat_survival(one.own, case.texts.by_part(part).shared_chars)
            if survival is not None:
                found.append(_to_survival_curve("repeat", _subject_of(tally, part), survival))
    for c in (*(c for c in case.comparisons if c.pair.listed), *case.conditions):
        sides = {c.pair.basis: (c.left, c.right), **{name: (p.left, p.right) for name, p in c.parts.items()}}
        for part, (left, right) in sides.items():
            survival = divergence.cross_survival(left, right, case.texts.by_part(part).shared_chars)
            if survival is not None:
                kind: PairKind = "conditions" if c.pair.kind == "conditions" else "cross"
                found.append(_to_survival_curve(kind, c.pair.subject_of(part), survival))
    return tuple(found)


def _subject_of(tally: Tally, part: PartName) -> Subject:
    return Subject(kind="repeat", left=tally.name, condition=tally.lane.condition, part=part)


def pick_divergences(case: Case) -> tuple[Divergence, ...]:
    """For every provider and pair the few prompts whose texts part earliest."""
    listed = [c for c in case.comparisons if c.pair.listed]
    own = (d for tally in case.tallies for d in _find_own_divergences(tally, case))
    cross = (d for c in (*listed, *case.conditions) for d in _find_pair_divergences(c, case))
    return (*own, *cross)


def build_prompt_rows(case: Case) -> tuple[PromptRow, ...]:
    """A row for every prompt and provider, by prompt."""
    match = {
        (c.pair.left.name, c.pair.subject.condition): c.match for c in case.comparisons if c.pair.kind == "reference"
    }
    nothing = np.full(len(case.prompts), np.nan)
    columns = [_build_provider_rows(t, match.get((t.name, t.lane.condition), nothing), case) for t in case.tallies]
    return tuple(row for prompt in zip(*columns, strict=True) for row in prompt if row.planned)


def _to_survival_curve(kind: PairKind, subject: Subject, survival: divergence.Survival) -> SurvivalCurve:
    return SurvivalCurve(
        kind=kind,
        left=subject.left,
        right=subject.right,
        condition=subject.condition,
        positions=survival.positions,
        shares=survival.shares,
        pairs=survival.pairs,
        part=subject.part,
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
        yield show_difference((tally, first), (tally, second), case)


def _find_pair_divergences(comparison: Comparison, case: Case) -> Iterable[Divergence]:
    pair = comparison.pair
    prompts, at = find_compared_differences(comparison, case.texts)
    for index in np.lexsort((prompts, at))[:DIVERGENCES_SHOWN].tolist():
        left, right = pick_commonest_rows(comparison, int(prompts[index]))
        yield show_difference((pair.left, left), (pair.right, right), case, without_reasoning=pair.basis == "spoken")


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
            prompt=name_place(prompt),
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
            modal_text=case.texts.written[modal[j]] if number[j] else None,
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
