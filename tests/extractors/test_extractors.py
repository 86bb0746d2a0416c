"""What holds for every extractor, whatever the text; and what each refuses before a run."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tempzero.errors import SuiteError
from tempzero.extractors import EXTRACTORS, extract_answer, is_expected_answer
from tempzero.types.asked import ExtractorSpec

NUMBER = ExtractorSpec(name="number")
ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "json_field": {"field": "city"},
    "regex": {"pattern": r"is (\w+)\."},
    "term": {"terms": '[["Paris", "巴黎"], "yes", "42"]'},
    "json_schema": {"schema": '{"properties": {"city": {"type": "string"}}}'},
    "count": {"of": "items"},
    "order": {"items": '["yes", "no", "Paris"]'},
    "code": {"function": "double", "cases": '[{"in": [2], "out": 4}]'},
}
SPECS = [ExtractorSpec(name=name, args=ARGUMENTS.get(name, {})) for name in EXTRACTORS]

# Pieces that extractors react to, in any order: what a confused model, or a hostile one, writes.
PIECES = st.sampled_from(
    [
        *(
            "Answer:",
            "the answer is",
            "not",
            "but",
            "or",
            "yes",
            "no",
            "[Yes]",
            "(B)",
            "A",
            "B.",
            "42",
            "-5",
            "1,234",
            "3/4",
        ),
        *("\\boxed{", "}", "{", '{"city": ', '"Paris"', "=", "\n", " ", ".", "?", "**", "$", "####", "%"),
        *("<think>", "</think>"),
    ]
)
TEXTS = st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=25).map(" ".join))


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
@given(text=TEXTS)
@settings(max_examples=80, deadline=None)
def test_no_text_breaks_an_extractor(spec: ExtractorSpec, text: str) -> None:
    """Model output is hostile input: whatever it is, the answer is text or None."""
    answer = extract_answer(spec, text)
    assert answer is None or answer.strip()


@given(text=TEXTS)
@settings(max_examples=200, deadline=None)
def test_a_number_read_is_in_canonical_form(text: str) -> None:
    """Answers are counted as texts, so one value has one spelling, and reading it again changes nothing."""
    answer = extract_answer(NUMBER, text)
    if answer is not None:
        assert re.fullmatch(r"-?(0|[1-9]\d*)(\.\d*[1-9]|/[1-9]\d*)?", answer)
        assert extract_answer(NUMBER, answer) == answer


HOSTILE = {
    "digits": "1" * 50_000,
    "commas": "1," * 30_000,
    "spaces": "answer" + " " * 60_000,
    "claims": "the answer is " * 5_000,
    "loop": "The answer is 12. So 12 + 1 = 13. " * 2_500,
    "boxes": "\\boxed{" * 10_000,
    "fractions": "\\frac{" + " " * 60_000,
    "objects": '{"city":' * 10_000,
    "arrays": '{"city":' + "[" * 60_000,
    "brackets": "(" * 60_000,
    "stars": "*" * 60_000,
    "yes": "yes " * 20_000,
    "letters": "A or " * 15_000,
    "dots": "Answer: " + ". " * 30_000,
    "lines": "\n" * 60_000,
    "one word": "B. " + "x" * 60_000 + " a b c d e f",
    "denial": "The answer is not" + " " * 60_000 + "x",
    "bold": "Answer: " + "*" * 60_001,
    "quotes": "Answer: " + "\"'" * 30_000,
    "numbers": "1 " * 30_000 + "= x",
    "sum": "1+" * 30_000 + "1 x = 5",
    "spoken": "plus is " * 8_000,
    "doubts": "So " * 20_000 + "yes",
    "thinking": "<think>" * 10_000,
    "too long": "x" * 3_000_000 + " Answer: 42",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
def test_a_hostile_text_takes_no_longer_than_a_long_one(spec: ExtractorSpec, text: str) -> None:
    """A looping or malicious response must not stop the analysis."""
    started = time.process_time()
    extract_answer(spec, text)
    assert time.process_time() - started < 5.0


def test_no_answer_matches_nothing() -> None:
    """Two silences never agree, and silence is no right answer."""
    assert not is_expected_answer(NUMBER, None, "42")
    assert not is_expected_answer(ExtractorSpec(name="answer_line"), None, "None")


@pytest.mark.parametrize(
    ("answer", "expected", "same"),
    [
        ("1234", "1,234", True),
        ("0.75", "3/4", True),
        ("18", "18.0", True),
        ("1/3", "0.333", False),
        ("18", "81", False),
        ("-5", "5", False),
    ],
)
def test_numbers_are_compared_by_value(answer: str, expected: str, same: bool) -> None:
    """18 and 18.0 are one answer; 1/3 and .333 are two."""
    assert is_expected_answer(NUMBER, answer, expected) is same


def test_texts_are_compared_but_for_case_and_space() -> None:
    """A model that shouts gives the same answer."""
    spec = ExtractorSpec(name="answer_line")
    assert is_expected_answer(spec, "NEW  york", "New York")
    assert not is_expected_answer(spec, "New York City", "New York")


def test_json_numbers_are_compared_by_value_and_texts_are_not() -> None:
    """18 and 18.0 are one JSON number, but a text that only holds a number stays a text."""
    spec = ExtractorSpec(name="json_field", args={"field": "n"})
    assert is_expected_answer(spec, extract_answer(spec, '{"n": 18.0}'), "18")
    assert not is_expected_answer(spec, extract_answer(spec, '{"n": "18 kg"}'), "18")


def test_an_unknown_extractor_is_named() -> None:
    """A run recorded by a newer version says what is missing, instead of a KeyError."""
    with pytest.raises(SuiteError, match='"sentiment" is not known'):
        extract_answer(ExtractorSpec(name="sentiment"), "fine")


def test_every_extractor_has_its_row_in_the_table() -> None:
    """Whoever writes a prompt chooses an extractor there, and learns how the expected answer is written."""
    manual = (Path(__file__).parents[2] / "prompts" / "README.md").read_text(encoding="utf-8")
    table = manual.partition("## Extractors")[2]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(EXTRACTORS)


def test_every_extractor_carries_a_version_and_its_own_name() -> None:
    """The extractor is part of the measurement, so a change of it must show."""
    for name, extractor in EXTRACTORS.items():
        assert extractor.name == name
        assert extractor.version >= 1


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        (r"(\d+", "not a regular expression"),
        (r"\d+", "exactly one group.*it has 0"),
        (r"(\d+) of (\d+)", "exactly one group.*it has 2"),
        (r"((?:a+)+)$", "repeats a group that repeats inside"),
        (r"(x)(?:\w*\s*)*", "repeats a group that repeats inside"),
        (r"(?:\s*(\w+))*", "repeats a group that repeats inside"),
        (r"(x)(?:,.*)+", "repeats a group that repeats inside"),
        (r"(x)(?:,,*)+", "repeats a group that repeats inside"),
        ("(a)" + "b" * 600, "longer than 500"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused(pattern: str, complaint: str) -> None:
    """A broken or explosive pattern is found before a run, not after it."""
    with pytest.raises(ValueError, match=complaint):
        EXTRACTORS["regex"].check({"pattern": pattern})


@pytest.mark.parametrize(
    "pattern", [r"(?:[*+]|x)*(\d+)", r"(?:\+)+(\d)", r"(\d+(?:[.,]\d+)?)", r"(?:ab)+(c)", r"(\d+(?:, ?\d+)+)"]
)
def test_a_harmless_pattern_is_accepted(pattern: str) -> None:
    """Stars inside classes and escapes repeat nothing."""
    EXTRACTORS["regex"].check({"pattern": pattern})


@pytest.mark.parametrize(
    ("spec", "expected", "possible"),
    [
        (ExtractorSpec(name="number"), "1,234", True),
        (ExtractorSpec(name="number"), "forty-two", False),
        (ExtractorSpec(name="number"), "12:30", False),
        (ExtractorSpec(name="number"), "18 apples", False),
        (ExtractorSpec(name="choice"), "B", True),
        (ExtractorSpec(name="choice"), "F", False),
        (ExtractorSpec(name="choice"), "Paris", False),
        (ExtractorSpec(name="yes_no"), "Yes", True),
        (ExtractorSpec(name="yes_no"), "true", False),
        (ExtractorSpec(name="answer_line"), "New York", True),
        (ExtractorSpec(name="answer_line"), "**New York**", False),
        (ExtractorSpec(name="answer_line"), "...", False),
        (ExtractorSpec(name="json_field", args={"field": "a"}), "x", True),
        (ExtractorSpec(name="json_field", args={"field": "a"}), " ", False),
        (ExtractorSpec(name="regex", args={"pattern": r"Total: (\d+)"}), "18", True),
        (ExtractorSpec(name="regex", args={"pattern": r"Total: (\d+)"}), "eighteen", False),
        (ExtractorSpec(name="regex", args={"pattern": r"(?i)(paris|rome)"}), "Paris", True),
        (ExtractorSpec(name="regex", args={"pattern": r"(?P<city>[A-Z]+)\b"}), "paris", False),
        (ExtractorSpec(name="regex", args={"pattern": r"(\d+(?= km))"}), "18", True),
    ],
)
def test_an_expected_answer_must_be_readable(spec: ExtractorSpec, expected: str, possible: bool) -> None:
    """An expected answer that no response could give would make accuracy 0 for everybody."""
    assert EXTRACTORS[spec.name].can_state(expected, spec.args) is possible


def test_a_text_beyond_all_measure_is_not_read() -> None:
    """Work on one response is bounded; what was not read in full gives no answer."""
    assert extract_answer(NUMBER, "word " * 30_000 + "\nAnswer: 42") is None
    assert extract_answer(NUMBER, "<think>" + "word " * 30_000 + "</think>Answer: 42") == "42"


def test_a_pattern_reads_the_end_of_a_long_text() -> None:
    """The cap on the searched text keeps the end, where answers stand."""
    spec = ExtractorSpec(name="regex", args={"pattern": r"Total: (\d+)"})
    assert extract_answer(spec, "Total: 17\n" + "word " * 6_000 + "Total: 18") == "18"
