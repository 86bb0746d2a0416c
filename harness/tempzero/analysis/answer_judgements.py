"""Prompts, texts and judgements in, which answers had to be tried out and what they came to out.

A prompt whose answers are not all judged is treated as if nothing were to be read from it: "not judged" is never
"wrong", and half of the answers would be a sample that somebody chose.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tempzero.extractors import EXTRACTORS, extract_answer, question_sha256
from tempzero.types.asked import Prompt
from tempzero.types.scored import Judgement

# An answer, and whether it is the expected one: None where nothing is expected.
AnswerVerdict = tuple[str | None, bool | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedAnswers:
    """`prompts` without the extractors whose answers wait; `answers` by (prompt, text); `waiting` texts by prompt."""

    prompts: tuple[Prompt, ...]
    answers: Mapping[tuple[int, str], AnswerVerdict]
    waiting: Mapping[int, int]


def look_up_judgements(
    prompts: Sequence[Prompt], texts: Iterable[tuple[int, str, bool]], judgements: Iterable[Judgement]
) -> JudgedAnswers:
    """Look up every whole text of a prompt whose extractor reads what must be tried out."""
    tried = {i for i, p in enumerate(prompts) if p.extractor and EXTRACTORS[p.extractor.name].judged}
    if not tried:
        return JudgedAnswers(prompts=tuple(prompts), answers={}, waiting={})
    known = {(j.prompt, j.asked_sha256, j.text_sha256): j for j in judgements}
    answers: dict[tuple[int, str], AnswerVerdict] = {}
    waiting: Counter[int] = Counter()
    for index, text, whole in texts:
        spec = prompts[index].extractor
        if index not in tried or not whole or spec is None:
            continue
        asked = question_sha256(spec, prompts[index].expected)
        found = known.get((prompts[index].id, asked, hashlib.sha256(text.encode()).hexdigest()))
        if found is not None:
            answers[index, text] = (found.answer, found.correct)
        elif extract_answer(spec, text) is not None:
            waiting[index] += 1
    return JudgedAnswers(
        prompts=tuple(replace(p, extractor=None, expected=None) if i in waiting else p for i, p in enumerate(prompts)),
        answers=answers,
        waiting=waiting,
    )
