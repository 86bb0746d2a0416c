"""Tonight's Side and a Baseline in, a Line for each measure beside the texts out: answers, length, repetition ..."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tempzero import stats
from tempzero.analysis.evidence import name_part
from tempzero.analysis.provider_figures import VERBOSITY_CHARS
from tempzero.metrics.answers import ACCURACY
from tempzero.metrics.repetition import LOOP_SHARE, SEQ_REP_4
from tempzero.nightly.history.nights import (
    Baseline,
    MeasureComparison,
    MeasureName,
    Side,
    TextCounts,
    find_common_basis,
)
from tempzero.types.concluded import Figure
from tempzero.types.vocabulary import Metric

_CHANGE_BOUNDS: Mapping[MeasureName, tuple[float, float] | None] = {
    "accuracy": (-1.0, 1.0),
    "chars": None,
    "seq_rep_4": (-1.0, 1.0),
    "loop_share": (-1.0, 1.0),
}


_METRICS: Mapping[str, Metric] = {
    "accuracy": ACCURACY,
    "chars": VERBOSITY_CHARS,
    "seq_rep_4": SEQ_REP_4,
    "loop_share": LOOP_SHARE,
}


def measure_title(measure: str) -> str:
    """What a measure of `MeasureComparison` is called: as its metric, where it is one."""
    if measure == "answers":
        return "Parsed answers: excess divergence"
    return _METRICS[measure].title if measure in _METRICS else measure


def compare_measures(side: Side, baseline: Baseline, tolerance: float) -> tuple[MeasureComparison, ...]:
    """Every measure that both have. They explain a change; none of them raises an alarm."""
    sides = [s for s in baseline.sides if s.settings == side.settings]
    if not sides:
        return ()
    return (
        *_compare_first_tokens(side, sides),
        *_compare_likelihoods(side, sides),
        *_compare_answers(side, sides, tolerance),
        *_compare_values(side, sides),
        *_compare_reference(side, sides),
    )


def count_comparable_answers(sides: Sequence[Side]) -> int:
    """Comparable answers in all."""
    return sum(number for side in sides for texts in side.texts.values() for number in texts.values())


def _compare_first_tokens(side: Side, sides: Sequence[Side]) -> Iterator[MeasureComparison]:
    """Total variation of the answers to prompts that ask for one token, border prompts above all.

    Few answers are never spread quite as many others are: `before` is what relabelling them gives.
    """
    basis = find_common_basis([side, *sides])
    texts, pool = side.texts_by(basis), _pool_counts(one.texts_by(basis) for one in sides)
    asked = sorted(set(side.one_token) & texts.keys() & pool.keys())
    test = stats.total_variation_test([contingency_table(texts[q], pool[q]) for q in asked])
    if asked:
        yield MeasureComparison(
            measure="first token: total variation",
            before=float(test.usual.mean()),
            now=stats.mean_over_prompts(test.by_prompt, bounds=(0.0, 1.0)),
            change=stats.mean_over_prompts(test.by_prompt - test.usual, bounds=(-1.0, 1.0)),
            p_value=test.p_value,
            method="total variation of one-token answers, labels permuted within prompt",
        )


def _compare_likelihoods(side: Side, sides: Sequence[Side]) -> Iterator[MeasureComparison]:
    """How far the log-probabilities of first tokens have moved: it sees what is too small to turn a token."""
    pool: dict[str, list[Mapping[str, float]]] = {}
    for one in sides:
        for question, named in one.likelihoods.items():
            pool.setdefault(question, []).extend(named)
    both = sorted(side.likelihoods.keys() & pool.keys())
    if both:
        test = stats.likelihood_shift_test([side.likelihoods[q] for q in both], [pool[q] for q in both])
        yield MeasureComparison(
            measure="first token: log-probabilities",
            before=float(test.usual.mean()),
            now=stats.mean_over_prompts(test.by_prompt, bounds=None),
            change=stats.mean_over_prompts(test.by_prompt - test.usual, bounds=None),
            p_value=test.p_value,
            method="mean absolute shift of mean log-probabilities in nats, labels permuted within prompt",
        )


def contingency_table(ours: Mapping[str, int], theirs: Mapping[str, int]) -> NDArray[np.int64]:
    """Counts of two sides as a 2 x K table."""
    keys = sorted(ours.keys() | theirs.keys())
    return np.array([[row.get(k, 0) for k in keys] for row in (ours, theirs)], dtype=np.int64)


def _pool_counts(found: Iterable[TextCounts]) -> dict[str, Counter[str]]:
    pool: dict[str, Counter[str]] = {}
    for one in found:
        for question, texts in one.items():
            pool.setdefault(question, Counter()).update(texts)
    return pool


def _compare_answers(side: Side, sides: Sequence[Side], tolerance: float) -> Iterator[MeasureComparison]:
    """The same exact test as for texts, on parsed answers."""
    pool = _pool_counts(one.answers for one in sides)
    tables = [contingency_table(side.answers[q], pool[q]) for q in sorted(side.answers.keys() & pool.keys())]
    test = stats.drift_test(tables, tolerance=tolerance)
    if test.n:
        values = np.array([d for d in test.by_prompt if not math.isnan(d)])
        excess = stats.divergence_over_prompts(values)
        method = "excess divergence of parsed answers, labels permuted within prompt"
        yield MeasureComparison(
            measure="answers", before=0.0, now=excess, change=excess, p_value=test.p_value, method=method
        )


def _compare_values(side: Side, sides: Sequence[Side]) -> Iterator[MeasureComparison]:
    for measure, bounds in _CHANGE_BOUNDS.items():
        ours = side.values.get(measure, {})
        theirs = [one.values.get(measure, {}) for one in sides]
        both = sorted(q for q in ours if any(q in t for t in theirs))
        if not both:
            continue
        usual = np.array([np.mean([t[q] for t in theirs if q in t]) for q in both])
        now = np.array([ours[q] for q in both])
        test = stats.sign_flip_test(now - usual)
        yield MeasureComparison(
            measure=measure,
            before=float(usual.mean()),
            now=stats.mean_over_prompts(now, bounds=None if bounds is None else (0.0, 1.0)),
            change=stats.mean_over_prompts(now - usual, bounds=bounds),
            p_value=test.p_value,
            method=test.method,
        )


def _reference_key(figure: Figure) -> tuple[object, ...]:
    """What two figures against a reference must share to be compared."""
    return figure.metric, figure.part, figure.right, figure.condition, figure.k


def _compare_reference(side: Side, sides: Sequence[Side]) -> Iterator[MeasureComparison]:
    """The analysis' own figures against the reference: tonight's interval beside the baseline's value."""
    for figure in side.figures:
        if figure.kind != "reference":
            continue
        before = [
            f.estimate.value
            for one in sides
            for f in one.figures
            if f.kind == "reference" and _reference_key(f) == _reference_key(figure) and f.estimate.value is not None
        ]
        of_part = "" if figure.part == "whole" else f", {name_part(figure.part)}"
        yield MeasureComparison(
            measure=f"reference: {figure.metric}{of_part}" + (f" ({figure.right})" if figure.right else ""),
            before=math.fsum(before) / len(before) if before else None,
            now=figure.estimate,
            change=None,
            p_value=None,
            method=figure.estimate.method,
        )
