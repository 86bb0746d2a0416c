"""Answers in, what a reference's logits say of their tokens out, if it read them (docs/methods.md, F)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tempzero.claims.bundle_answers import ConditionAnswers
from tempzero.types.asked import Trial
from tempzero.types.scored import FormReading, Reading, ScoredResponse, TokenScores

_CLIP_PERCENTILE = 99.9
_SCORE_FIELDS = ("token_ids", "ends", "margin", "rank", "gap")


@dataclass(frozen=True, kw_only=True, slots=True)
class Readings:
    """What one reference read. `epsilon`: how much an honest computation changes a logit.

    `lines` has a line for each answer, `forms` one for each prompt that an honest form of the reference read.
    Margins are clipped at `clip` before they are averaged.
    """

    reference: str
    epsilon: float
    lines: bytes
    forms: bytes
    clip: float


def collect_readings(
    answers: ConditionAnswers, example: Sequence[int], all_of: Iterable[int], reference: str | None
) -> Readings | None:
    """The readings of the two answers of an example and of `all_of`, by any reference or the one that is named.

    None where the two are of different runs or part in no token, where one of them was not read, or where no honest
    form was.
    """
    numbers = sorted({*example, *all_of})
    if len({id(answers.trials[number][0]) for number in numbers}) > 1:
        return None
    reading = answers.trials[numbers[0]][0].reading()
    for name in (r.reference for r in reading.readers if reference in (None, r.reference)):
        scored = {s.trial: s for s in reading.scored if s.reference == name}
        found = {number: _find_token_scores(scored, answers.trials[number][1]) for number in numbers}
        honest = [f for f in reading.forms if f.honest and not f.repeated and f.reference == name]
        known = {number: of for number, of in found.items() if of is not None}
        if honest and len(known) == len(found) and _has_token_difference(*(known[number] for number in example)):
            return Readings(
                reference=name,
                epsilon=max(change for form in honest for change in form.gap_change) / 2,
                lines=_to_json_lines(
                    {"number": n, **{name: getattr(of, name) for name in _SCORE_FIELDS}} for n, of in known.items()
                ),
                forms=_to_json_lines(_merge_form_margins(honest)),
                clip=_find_margin_clip(reading, name, honest),
            )
    return None


def _to_json_lines(values: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def _merge_form_margins(honest: Iterable[FormReading]) -> Iterable[Mapping[str, Any]]:
    """The margins of each form's choices, all of a prompt together."""
    found: dict[tuple[str, str], list[float]] = {}
    for form in honest:
        if form.margin:
            found.setdefault((form.form, form.trial.prompt), []).extend(form.margin)
    return ({"form": form, "prompt": prompt, "margin": margin} for (form, prompt), margin in sorted(found.items()))


def _find_margin_clip(reading: Reading, reference: str, honest: Sequence[FormReading]) -> float:
    """As reports have it: the 99.9th percentile of the honest forms' margins, or where that is 0 of all margins."""
    at = float(np.percentile([m for form in honest for m in form.margin], _CLIP_PERCENTILE))
    scored = {s.trial: s for s in reading.scored if s.reference == reference}
    of = [scores for trial in scored if (scores := _find_token_scores(scored, trial)) is not None]
    read = [m for scores in of for m in scores.margin]
    return (
        at or float(np.quantile(read, _CLIP_PERCENTILE / 100, method="inverted_cdf")) or max(read, default=0.0) or 1.0
    )


def _find_token_scores(scored: Mapping[Trial, ScoredResponse], trial: Trial) -> TokenScores | None:
    """Of a response that equals an earlier one, the scores of that."""
    own = scored.get(trial)
    if own is not None and own.same_as is not None:
        own = scored.get(own.same_as)
    return None if own is None else own.scores


def _has_token_difference(one: TokenScores, other: TokenScores) -> bool:
    return any(a != b for a, b in zip(one.token_ids, other.token_ids, strict=False))
