"""Tonight's Side and a Baseline in, a Line for each measure beside the texts out: answers, length, repetition ..."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tempzero import stats
from tempzero.nightly.history.nights import Baseline, Counts, Line, Side
from tempzero.types.concluded import Estimate

_BOUNDS: Mapping[str, tuple[float, float] | None] = {
    "accuracy": (-1.0, 1.0),
    "chars": None,
    "seq_rep_4": (-1.0, 1.0),
    "loop_share": (-1.0, 1.0),
}


def lines(side: Side, baseline: Baseline, tolerance: float) -> tuple[Line, ...]:
    """Every measure that both have. They explain a change; none of them raises an alarm."""
    sides = [s for s in baseline.sides if s.settings == side.settings]
    if not sides:
        return ()
    return (
        *_first_token(side, sides),
        *_answers(side, sides, tolerance),
        *_values(side, sides),
        *_reference(side, sides),
    )


def answers_in(sides: Sequence[Side]) -> int:
    """Comparable answers in all."""
    return sum(number for side in sides for texts in side.texts.values() for number in texts.values())


def _first_token(side: Side, sides: Sequence[Side]) -> Iterator[Line]:
    """Total variation of the answers to prompts that ask for one token, border prompts above all.

    Few answers are never spread quite as many others are: `before` is what relabelling them gives.
    """
    pool = _pooled(one.texts for one in sides)
    asked = sorted(set(side.one_token) & side.texts.keys() & pool.keys())
    test = stats.total_variation_test([table(side.texts[q], pool[q]) for q in asked])
    if asked:
        yield Line(
            measure="first token: total variation",
            before=float(test.usual.mean()),
            now=stats.mean_over_prompts(test.by_prompt, bounds=(0.0, 1.0)),
            change=stats.mean_over_prompts(test.by_prompt - test.usual, bounds=(-1.0, 1.0)),
            p_value=test.p_value,
            method="total variation of one-token answers, labels permuted within prompt",
        )


def table(ours: Mapping[str, int], theirs: Mapping[str, int]) -> NDArray[np.int64]:
    """Counts of two sides as a 2 x K table."""
    keys = sorted(ours.keys() | theirs.keys())
    return np.array([[row.get(k, 0) for k in keys] for row in (ours, theirs)], dtype=np.int64)


def _pooled(found: Iterable[Counts]) -> dict[str, Counter[str]]:
    pool: dict[str, Counter[str]] = {}
    for one in found:
        for question, texts in one.items():
            pool.setdefault(question, Counter()).update(texts)
    return pool


def _answers(side: Side, sides: Sequence[Side], tolerance: float) -> Iterator[Line]:
    """The same exact test as for texts, on parsed answers."""
    pool = _pooled(one.answers for one in sides)
    tables = [table(side.answers[q], pool[q]) for q in sorted(side.answers.keys() & pool.keys())]
    test = stats.drift_test(tables, tolerance=tolerance)
    if test.n:
        values = np.array([d for d in test.by_prompt if not math.isnan(d)])
        excess = stats.divergence_over_prompts(values)
        method = "excess divergence of parsed answers, labels permuted within prompt"
        yield Line(measure="answers", before=0.0, now=excess, change=excess, p_value=test.p_value, method=method)


def _values(side: Side, sides: Sequence[Side]) -> Iterator[Line]:
    for measure, bounds in _BOUNDS.items():
        ours = side.values.get(measure, {})
        theirs = [one.values.get(measure, {}) for one in sides]
        both = sorted(q for q in ours if any(q in t for t in theirs))
        if not both:
            continue
        usual = np.array([np.mean([t[q] for t in theirs if q in t]) for q in both])
        now = np.array([ours[q] for q in both])
        test = stats.sign_flip(now - usual)
        yield Line(
            measure=measure,
            before=float(usual.mean()),
            now=stats.mean_over_prompts(now, bounds=None if bounds is None else (0.0, 1.0)),
            change=stats.mean_over_prompts(now - usual, bounds=bounds),
            p_value=test.p_value,
            method=test.method,
        )


def _reference(side: Side, sides: Sequence[Side]) -> Iterator[Line]:
    """The analysis' own figures against the reference: tonight's interval beside the baseline's value."""
    for figure in side.figures:
        if figure.kind != "reference":
            continue
        key = (figure.metric, figure.right, figure.condition, figure.k)
        before = [
            f.estimate.value
            for one in sides
            for f in one.figures
            if f.kind == "reference" and (f.metric, f.right, f.condition, f.k) == key and f.estimate.value is not None
        ]
        yield Line(
            measure=f"reference: {figure.metric}" + (f" ({figure.right})" if figure.right else ""),
            before=math.fsum(before) / len(before) if before else None,
            now=figure.estimate,
            change=None,
            p_value=None,
            method=figure.estimate.method,
        )


def outside(before: float | None, now: Estimate) -> bool:
    """Whether the baseline's value lies outside tonight's interval."""
    return before is not None and now.low is not None and now.high is not None and not now.low <= before <= now.high
