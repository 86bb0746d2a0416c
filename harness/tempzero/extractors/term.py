"""A response in any language in, the one of the suite's terms that it names out, as the suite spells it first."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache

from tempzero.extractors.answer_claims import MAX_PHRASE_CHARS
from tempzero.extractors.answer_line import find_answer_line
from tempzero.extractors.extractor import Args, Extractor
from tempzero.extractors.negation import NEGATIONS
from tempzero.extractors.normal import normalise_text

_MOST_TERMS = 50
# Scripts that put no spaces between words: a term may stand inside a longer run there.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff]")
_SENTENCES = re.compile(r"(?<=[.!?。！？।؟])\s*|\n+")


def _read_term(text: str, args: Args) -> str | None:
    """Of a labelled answer line its rest, else the whole text: the one term that stands there, and not denied."""
    labelled = find_answer_line(text)
    found = _find_terms(labelled if labelled is not None else text, args["terms"])
    return found.pop() if len(found) == 1 else None


def _find_terms(text: str, terms: str) -> set[str]:
    """Every term that the text names; none at all where one of them stands in a sentence that denies."""
    patterns, found = _term_patterns(terms), set()
    for sentence in _SENTENCES.split(text):
        shown = normalise_text(sentence)
        here = {term for term, pattern in patterns if pattern.search(shown)}
        if here and (len(shown) > MAX_PHRASE_CHARS or NEGATIONS.search(_blank_terms(shown, patterns, here))):
            return set()
        found |= here
    return found


def _blank_terms(sentence: str, patterns: Sequence[tuple[str, re.Pattern[str]]], here: set[str]) -> str:
    for term, pattern in patterns:
        if term in here:
            sentence = pattern.sub(" § ", sentence)
    return sentence


@lru_cache(maxsize=256)
def _term_patterns(terms: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((forms[0], re.compile("|".join(map(_spelling_pattern, forms)))) for forms in _term_spellings(terms))


def _spelling_pattern(form: str) -> str:
    spelled = re.escape(normalise_text(form)).replace(r"\ ", r"\s+")
    return spelled if _UNSPACED.search(form) else rf"(?<!\w){spelled}(?!\w)"


def _term_spellings(terms: str) -> list[list[str]]:
    return [[term] if isinstance(term, str) else term for term in json.loads(terms)]


def _check_term_args(args: Args) -> None:
    given = json.loads(args["terms"])
    known = isinstance(given, list) and 2 <= len(given) <= _MOST_TERMS
    if not known or not all(isinstance(t, str) or (isinstance(t, list) and t) for t in given):
        raise ValueError("terms must be a list of 2 to 50 terms, each a text or a list of its spellings")
    spellings = [form for term in _term_spellings(args["terms"]) for form in term]
    if not all(isinstance(form, str) and normalise_text(form) for form in spellings):
        raise ValueError("terms must be texts that hold more than space; put numbers in quotes")
    if len({normalise_text(form) for form in spellings}) < len(spellings):
        raise ValueError("a spelling is given twice (case, width and vowel signs do not count)")


def _can_state_term(expected: str, args: Args) -> bool:
    return expected in [forms[0] for forms in _term_spellings(args["terms"])]


TERM = Extractor(
    name="term",
    version=1,
    reader=_read_term,
    can_state=_can_state_term,
    parameters=("terms",),
    structured={"terms": list},
    check=_check_term_args,
)
