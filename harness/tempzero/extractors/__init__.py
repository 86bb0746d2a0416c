"""A response text in, the answer it states out, or None: typed, versioned, and never a guess.

To add one: a file here with an `Extractor`, its line below, its phrasings under tests/extractors/.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from tempzero.canonical_json import to_spaced_canonical_json
from tempzero.errors import SuiteError
from tempzero.extractors.answer_line import ANSWER_LINE
from tempzero.extractors.choice import CHOICE
from tempzero.extractors.code import CODE
from tempzero.extractors.count import COUNT
from tempzero.extractors.extractor import Extractor
from tempzero.extractors.json_field import JSON_FIELD
from tempzero.extractors.json_schema import JSON_SCHEMA
from tempzero.extractors.math import MATH
from tempzero.extractors.number import NUMBER
from tempzero.extractors.order import ORDER
from tempzero.extractors.regex import REGEX
from tempzero.extractors.term import TERM
from tempzero.extractors.tool_call import TOOL_CALL
from tempzero.extractors.yes_no import YES_NO
from tempzero.types.asked import ExtractorSpec

__all__ = ["EXTRACTORS", "Extractor", "extract_answer", "is_expected_answer", "question_sha256"]

EXTRACTORS: Mapping[str, Extractor] = {
    extractor.name: extractor
    for extractor in (
        NUMBER,  # "The answer is $1,234.50." -> 1234.5
        CHOICE,  # "(B) Paris" -> B
        YES_NO,  # "So, no." -> no
        ANSWER_LINE,  # "**Answer:** Paris." -> Paris
        JSON_FIELD,  # {"city": "Paris"} -> Paris
        REGEX,  # the suite's own pattern
        TERM,  # "答案：東京。" -> 東京, of the terms the suite knows
        JSON_SCHEMA,  # {"city": "Paris"} -> valid
        COUNT,  # of words, lines, items, characters: "tea, milk, bread" -> 3
        ORDER,  # "blue, then green, then red" -> blue, green, red
        TOOL_CALL,  # a call of the asked tools -> get_weather({"city":"Paris"})
        CODE,  # the function asked for -> passes, once it was run
        MATH,  # \\boxed{\\frac{1}{2}} -> 1/2, once it was compared
    )
}


def extract_answer(spec: ExtractorSpec, text: str) -> str | None:
    """The answer that a response states, in canonical form, or None.

    Raises SuiteError for an extractor that this version does not have.
    """
    return _find_extractor(spec).read(text, spec.args)


def is_expected_answer(spec: ExtractorSpec, answer: str | None, expected: str) -> bool:
    """Whether an extracted answer is the expected one: numbers by value, text but for case and space.

    None matches nothing. Raises SuiteError for an extractor that this version does not have.
    """
    extractor = _find_extractor(spec)
    return answer is not None and extractor.same(answer, expected)


def question_sha256(spec: ExtractorSpec, expected: str | None) -> str:
    """By what a stored judgement knows that it is about the same extractor, arguments and expected answer."""
    value = [spec.name, _find_extractor(spec).version, dict(spec.args), expected]
    return hashlib.sha256(to_spaced_canonical_json(value).encode()).hexdigest()


def _find_extractor(spec: ExtractorSpec) -> Extractor:
    try:
        return EXTRACTORS[spec.name]
    except KeyError:
        raise SuiteError(f'extractor "{spec.name}" is not known here; known: {", ".join(EXTRACTORS)}') from None
