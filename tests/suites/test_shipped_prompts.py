"""The shipped prompts and answers that a model could give in, what is read out of those answers out."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from tempzero import suites
from tempzero.answers.chat_messages import to_answer_text
from tempzero.extractors import EXTRACTORS, extract_answer, is_expected_answer
from tempzero.extractors.code import parse_cases
from tempzero.types.asked import ExtractorSpec, Prompt, ToolCall
from tempzero.types.recorded import Completion


@cache
def shipped_prompts() -> dict[str, Prompt]:
    """By id; where the tests are only collected nobody waits for it."""
    return {prompt.id: prompt for prompt in suites.load_suite(Path(__file__).parents[2] / "prompts").prompts}


# What a good answer looks like where it is not the expected word itself.
RIGHT = {
    "form-schema-ida": '{"name": "Ida", "age": 9, "pets": ["cat", "dog"]}',
    "form-schema-evens": "```json\n[2, 4, 6, 8]\n```",
    "form-schema-point": '{"point": {"x": 3, "y": -1}, "visible": true}',
    "form-schema-order": '{"size": "small", "cups": 2, "note": null}',
    "form-five-words": "Pale lamp above sleeping fields.",
    "form-three-bullets": "- It helps the heart.\n- It clears the head.\n- It costs nothing.",
    "form-two-lines": "The wind goes over wall and tree,\nand brings the smell of salt to me.",
    "form-six-vegetables": "carrot, leek, onion, pea, bean, beet",
    "form-seven-x": "xxxxxxx",
    "form-json": '{"city": "Paris"}',
    "mark-boxed": r"\boxed{8}",
    "mark-fill-braces": "I live in Oslo.",
    "talk-over": "I can hear you well. OVER",
    "talk-two-signs": ">> A saw.",
    "code-multiply": "def multiply(a, b):\n    return a * b",
    "code-even": "def is_even(n):\n    return n % 2 == 0",
    "talk-sailor": "Salted fish, as long as I can see the sea.",
}
# An answer that misses what was asked for and must not count as right.
WRONG = {
    "form-schema-ida": 'Here it is: {"name": "Ida", "age": 9, "pets": ["cat", "dog"]}',
    "form-schema-evens": "[0, 2, 4, 6]",
    "form-schema-point": '{"point": {"x": 3, "y": 1}, "visible": true}',
    "form-schema-order": '{"size": "small", "cups": 2}',
    "form-five-words": "Pale lamp above quietly sleeping fields.",
    "form-three-bullets": "Walking helps:\n- It helps the heart.\n- It clears the head.\n- It costs nothing.",
    "form-two-lines": "The Wind\nThe wind goes over wall and tree,\nand brings the smell of salt to me.",
    "form-six-vegetables": "carrot, leek, onion, pea, bean",
    "form-seven-x": "x x x x x x x x",
    "form-sort-numbers": "42, 19, 7, 3",
    "form-only-ok": "OK, I will do that.",
    "form-leading-zeros": "07",
    "uni-loose-accent": "caf\u00e9",
    "uni-gothic": "\U00010330\U00010332\U00010331",
    "uni-rare-han": "\u53f1",
    "talk-over": "I can hear you well.",
    "talk-two-signs": "A saw.",
    "talk-letters-again": "COW",
    "ml-ru-grass": "Красного цвета.",
    "ml-hi-milk": "काला",
    "ml-zh-pencils": "还剩17支。",
}


def misread(answers: Mapping[str, str], right: bool) -> list[str]:
    """Of these answers by prompt, those that are not taken for right (or wrong) as they should be: what was read."""
    found = []
    for name, text in answers.items():
        prompt = shipped_prompts()[name]
        assert prompt.extractor is not None
        assert prompt.expected is not None
        answer = extract_answer(prompt.extractor, text)
        if is_expected_answer(prompt.extractor, answer, prompt.expected) != right:
            found.append(f"{name}: {answer}")
    return found


def spoken(prompt: Prompt) -> str:
    """The answer of a model that is right and says no more than it was asked for."""
    expected = prompt.expected or ""
    if prompt.extractor == ExtractorSpec(name="answer_line"):
        return f"So it must be this one.\nAnswer: {expected}"
    return RIGHT.get(prompt.id, expected)


def called(prompt: Prompt) -> str:
    """The right calls of a prompt with tools, or a sentence where none is right, as the text that is compared."""
    if prompt.expected == "no call":
        return "I am glad to talk."
    calls = [re.fullmatch(r"(\w+)\((.*)\)", line) for line in (prompt.expected or "").splitlines()]
    return to_answer_text(
        Completion(text="", tool_calls=tuple(ToolCall(name=c[1], arguments=c[2]) for c in calls if c))
    )


def test_a_right_answer_to_a_shipped_prompt_is_read_as_right() -> None:
    """A prompt whose right answer cannot be read would show every provider as unparsed, or as wrong."""
    asked = [
        p for p in shipped_prompts().values() if p.expected and p.extractor and not EXTRACTORS[p.extractor.name].judged
    ]
    assert len(asked) > 150
    answers = {p.id: called(p) if p.extractor == ExtractorSpec(name="tool_call") else spoken(p) for p in asked}
    assert misread(answers, right=True) == []


def test_an_answer_that_misses_what_was_asked_is_not_read_as_right() -> None:
    """A strict form that a wrong answer passes could not show that a provider lost it."""
    assert misread(WRONG, right=False) == []


def test_a_call_of_the_wrong_tool_or_with_a_wrong_argument_is_not_right() -> None:
    """Near misses of a call are what coarse weights produce."""
    near = {"tool-timer": 'set_timer({"minutes": 21})', "tool-kitchen-on": 'switch_light({"room": "hall", "on": true})'}
    misses = {name: called(replace(shipped_prompts()[name], expected=call)) for name, call in near.items()}
    misses["tool-quarter"] = "I have set the timer for 15 minutes."
    misses["tool-forbidden"] = called(shipped_prompts()["tool-kitchen-on"])
    assert misread(misses, right=False) == []


# --- functions ---------------------------------------------------------------------------------


def clamp(x: float, low: float, high: float) -> float:
    return max(low, min(x, high))


def count_vowels(text: str) -> int:
    return sum(letter in "aeiou" for letter in text.lower())


def digit_sum(n: int) -> int:
    return sum(int(digit) for digit in str(n))


def second_largest(numbers: list[int]) -> int:
    return sorted(set(numbers))[-2]


def reverse_words(text: str) -> str:
    return " ".join(reversed(text.split()))


def gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


def flatten(rows: list[list[Any]]) -> list[Any]:
    return [value for row in rows for value in row]


def drum(n: int) -> str:
    if n % 4 == 0:
        return "boom"
    return "rest" if n % 2 else "tap"


def run_lengths(text: str) -> list[list[Any]]:
    return [[letter, len(list(row))] for letter, row in groupby(text)]


def merge(a: list[int], b: list[int]) -> list[int]:
    return sorted(a + b)


def ones(n: int) -> int:
    return f"{n:b}".count("1")


def balanced(text: str) -> bool:
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return False
    return depth == 0


def test_the_cases_of_every_function_to_write_are_passed_by_a_right_one() -> None:
    """A case that contradicts its prompt would fail every provider's right code."""
    solutions: tuple[Callable[..., Any], ...] = (
        clamp, count_vowels, digit_sum, second_largest, reverse_words, gcd,
        flatten, drum, run_lengths, merge, ones, balanced,
    )  # fmt: skip
    asked = [p.extractor for p in shipped_prompts().values() if p.extractor and p.extractor.name == "code"]
    assert {spec.args["function"] for spec in asked} == {solution.__name__ for solution in solutions}
    for spec, solution in ((spec, one) for spec in asked for one in solutions if spec.args["function"] == one.__name__):
        assert extract_answer(spec, f"```python\n{inspect.getsource(solution)}```") is not None
        for case in parse_cases(spec.args):
            assert solution(*case.args) == case.out, f"{solution.__name__}{case.args}"
