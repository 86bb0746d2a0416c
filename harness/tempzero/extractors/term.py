"""A response in any language in, the one of the suite's terms that it names out, as the suite spells it first."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache

from tempzero.extractors.answer_line import answer_line
from tempzero.extractors.claims import MAX_PHRASE_CHARS
from tempzero.extractors.extractor import Args, Extractor
from tempzero.extractors.negation import NEGATIONS
from tempzero.extractors.normal import normal

_MOST_TERMS = 50
# Scripts that put no spaces between words: a term may stand inside a longer run there.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff]")
_SENTENCES = re.compile(r"(?<=[.!?。！？।؟])\s*|\n+")


def _read(text: str, args: Args) -> str | None:
    """Of a labelled answer line its rest, else the whole text: the one term that stands there, and not denied."""
    labelled = answer_line(text)
    found = _named(labelled if labelled is not None else text, args["terms"])
    return found.pop() if len(found) == 1 else None


def _named(text: str, terms: str) -> set[str]:
    """Every term that the text names; none at all where one of them stands in a sentence that denies."""
    patterns, found = _patterns(terms), set()
    for sentence in _SENTENCES.split(text):
        shown = normal(sentence)
        here = {term for term, pattern in patterns if pattern.search(shown)}
        if here and (len(shown) > MAX_PHRASE_CHARS or NEGATIONS.search(_without(shown, patterns, here))):
            return set()
        found |= here
    return found


def _without(sentence: str, patterns: Sequence[tuple[str, re.Pattern[str]]], here: set[str]) -> str:
    for term, pattern in patterns:
        if term in here:
            sentence = pattern.sub(" § ", sentence)
    return sentence


@lru_cache(maxsize=256)
def _patterns(terms: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((forms[0], re.compile("|".join(map(_pattern, forms)))) for forms in _forms(terms))


def _pattern(form: str) -> str:
    spelled = re.escape(normal(form)).replace(r"\ ", r"\s+")
    return spelled if _UNSPACED.search(form) else rf"(?<!\w){spelled}(?!\w)"


def _forms(terms: str) -> list[list[str]]:
    return [[term] if isinstance(term, str) else term for term in json.loads(terms)]


def _check(args: Args) -> None:
    given = json.loads(args["terms"])
    known = isinstance(given, list) and 2 <= len(given) <= _MOST_TERMS
    if not known or not all(isinstance(t, str) or (isinstance(t, list) and t) for t in given):
        raise ValueError("terms must be a list of 2 to 50 terms, each a text or a list of its spellings")
    spellings = [form for term in _forms(args["terms"]) for form in term]
    if not all(isinstance(form, str) and normal(form) for form in spellings):
        raise ValueError("terms must be texts that hold more than space; put numbers in quotes")
    if len({normal(form) for form in spellings}) < len(spellings):
        raise ValueError("a spelling is given twice (case, width and vowel signs do not count)")


def _can_state(expected: str, args: Args) -> bool:
    return expected in [forms[0] for forms in _forms(args["terms"])]


TERM = Extractor(
    name="term",
    version=1,
    reader=_read,
    can_state=_can_state,
    parameters=("terms",),
    structured={"terms": list},
    check=_check,
)
