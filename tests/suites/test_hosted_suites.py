"""The suites for hosted models: as long and as dear as they say, hard by construction, with answers that hold."""

from __future__ import annotations

import inspect
import json
import re
from functools import cache
from itertools import groupby, permutations
from pathlib import Path
from typing import Any

import pytest
from tempzero import suites
from tempzero.answers.chat_messages import to_answer_text
from tempzero.extractors import extract_answer, is_expected_answer
from tempzero.extractors.code import parse_cases
from tempzero.suites.generated import GENERATORS, generate_prompts
from tempzero.types.asked import Prompt, Suite, SuiteName, ToolCall
from tempzero.types.recorded import Completion

SHIPPED = Path(__file__).parents[2] / "prompts"


@cache
def shipped(name: SuiteName) -> Suite:
    return suites.load_suite(SHIPPED, name)


def test_the_quick_one_costs_less_than_two_cents() -> None:
    """Five providers at $0.2 a million tokens, once each: nobody hesitates to start."""
    prompts = shipped("hosted-quick").prompts
    characters = sum(len(m.content) for p in prompts for m in p.messages) + sum(
        len(json.dumps(p.tools)) for p in prompts
    )
    limits = [p.max_tokens or 0 for p in prompts]
    assert len(prompts) == 20
    assert set(limits) == {512}
    # Three characters a token is few, so this is an upper bound.
    assert 5 * (characters / 3 + sum(limits)) * 0.2e-6 < 0.02


def test_the_others_ask_for_real_length() -> None:
    """Texts of large models part after hundreds of tokens, and loops show after thousands."""
    hosted, marathon = shipped("hosted"), shipped("marathon")
    assert len(hosted.prompts) == 80
    assert {p.id for p in shipped("hosted-quick").prompts} <= {p.id for p in hosted.prompts}
    assert max(p.max_tokens or 0 for p in hosted.prompts) == 2048
    assert sum(p.max_tokens or 0 for p in hosted.prompts) / 80 > 1000
    assert {p.max_tokens for p in marathon.prompts if "length" in p.family} == {8192, 16384}
    longest = [len(p.messages[0].content) for p in marathon.prompts]
    assert max(longest) > 400_000


def test_they_are_frozen_clean_and_apart_from_the_first_run() -> None:
    """What the small model on this machine is asked stays what it was, and as quick to read."""
    for folder in ("hosted", "marathon", "conversations"):
        assert suites.lint_prompts(SHIPPED / folder) == ()
    assert (shipped("hosted").name, shipped("hosted").version) == ("hosted", 1)
    ids = {p.id for p in shipped("deep").prompts}
    assert not ids & {p.id for name in ("hosted", "marathon", "conversations") for p in shipped(name).prompts}


def test_own_prompts_are_asked_by_the_suite_that_asks_as_much(tmp_path: Path) -> None:
    """Somebody's own prompts know nothing of hosted suites, and are meant all the same."""
    own = tmp_path / "own.yaml"
    own.write_text("- {id: a, family: f, prompt: One., suite: quick}\n- {id: b, family: f, prompt: Two.}\n")
    assert [p.id for p in suites.load_suite(own, "hosted-quick").prompts] == ["a"]
    assert [p.id for p in suites.load_suite(own, "marathon").prompts] == ["a", "b"]
    both = suites.load_suite([SHIPPED, own], "hosted-quick")
    assert (len(both.prompts), both.name) == (21, None)


# --- chains ------------------------------------------------------------------------------------


def chains(steps: int, seed: int = 5) -> list[Any]:
    return [one for _, one in generate_prompts(GENERATORS["chains"], seed=seed, count=12, settings={"steps": steps})]


@pytest.mark.parametrize("steps", [4, 5, 12, 24, 60])
def test_a_program_prints_what_is_expected_of_it(steps: int) -> None:
    """Python itself runs what the model is to run by hand."""
    programs = [one for one in chains(steps) if "```python" in one.prompt]
    assert len(programs) == 4
    for one in programs:
        printed: list[int] = []
        code = one.prompt.split("```python\n")[1].split("```")[0]
        exec(code, {"print": printed.append, "range": range})
        assert [str(value) for value in printed] == [one.expected]


@pytest.mark.parametrize("steps", [4, 12, 60])
def test_accounts_come_to_what_is_expected_of_them(steps: int) -> None:
    """Each sentence is done once more, from the text alone."""
    for one in (one for one in chains(steps) if "crowns" in one.prompt):
        held: dict[str, int] = {}
        for sentence in re.split(r"(?<=\.) ", one.prompt.split("\n")[0]):
            amount = re.search(r"(\d+) crowns(?: and (\d+) cents)?", sentence)
            assert amount is not None
            cents = int(amount[1]) * 100 + int(amount[2] or 0)
            who, verb = sentence.split()[:2]
            if verb == "has":
                held[who] = cents
            elif verb == "pays":
                held[who] -= cents
                held[sentence.split()[2]] += cents
            elif verb == "gives":
                held = {name: had + (cents if name != who else -4 * cents) for name, had in held.items()}
            elif verb == "loses":
                held[who] -= cents
            else:
                assert sentence.endswith("and then does not.")
        whose = re.search(r"How many cents does (\w+) have", one.prompt)
        assert whose is not None
        assert one.expected == str(held[whose[1]])


def test_the_hints_about_a_table_leave_one_order() -> None:
    """Every order of the six is tried against what the text says; all that are left give the expected answer."""
    for one in (one for one in chains(12) if "table" in one.prompt):
        seated = re.findall(r"table: ([\w, ]+)\.", one.prompt)[0].split(", ")
        fits = []
        for order in ((seated[0], *rest) for rest in permutations(seated[1:])):
            place = {name: at for at, name in enumerate(order)}

            def apart(a: str, b: str, place: dict[str, int] = place) -> int:
                steps = abs(place[a] - place[b])
                return min(steps, 6 - steps)

            facts = [
                *(apart(a, b) != 1 for a, b in re.findall(r"(\w+) does not sit beside (\w+)\.", one.prompt)),
                *(apart(a, b) == 3 for a, b in re.findall(r"(\w+) sits opposite (\w+)\.", one.prompt)),
                *(
                    place[b] == (place[a] + 1) % 6
                    for b, a in re.findall(r"(\w+) is the left neighbour of (\w+)\.", one.prompt)
                ),
            ]
            if all(facts):
                fits.append(order)
        asked = re.search(r"Start at (\w+) .* who is (\d)\?", one.prompt)
        assert asked is not None
        assert {order[(order.index(asked[1]) + int(asked[2])) % 6] for order in fits} == {one.expected}


def test_more_steps_are_longer_chains() -> None:
    """Hard by construction: what a setting asks for is there to be done."""
    few, many = (sum(len(one.prompt) for one in chains(steps)) for steps in (5, 40))
    assert many > 2.5 * few


# --- what a right answer looks like -----------------------------------------------------------

STRUCTURES = {
    "hs-invoice": {
        "number": "2031-0117",
        "lines": [
            {"article": "lamp", "count": 4, "cents": 1990},
            {"article": "ladder", "count": 1, "cents": 8400},
            {"article": "hook", "count": 12, "cents": 45},
        ],
        "total_cents": 4 * 1990 + 8400 + 12 * 45,
    },
    "hs-calendar": [
        {"day": day, "course": f"course {n}", "start": "18:30", "minutes": 90}
        for n, day in enumerate(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"])
    ],
    "hs-tree": {
        "name": "Ada",
        "children": [
            {"name": "Ben", "children": [{"name": name, "children": []} for name in ("Dora", "Emil", "Fay")]},
            {"name": "Cleo", "children": [{"name": "Gus", "children": [{"name": "Hal", "children": []}]}]},
        ],
    },
    "hs-mode-recipe": {
        "title": "Soup",
        "minutes": 40,
        "ingredients": [{"what": "leek", "amount": 3, "unit": "pieces"}] * 3,
        "steps": ["Stir."] * 8,
    },
    "hs-mode-compare": {
        **{name: {"advantages": ["a", "b", "c"], "drawbacks": ["d", "e", "f"]} for name in ("wood", "brick", "steel")},
        "advice": "Wood.",
    },
    "hs-schema-tickets": {"tickets": [{"customer": "x", "topic": "praise", "urgent": False, "summary": "s"}] * 5},
    "hs-schema-plan": {"goal": "g", "stages": [{"name": "a", "days": 1, "depends_on": []}] * 9},
}
LINES = {
    "hs-table": "month,days,half,letters\n" + "\n".join(f"m{n},30,1,5" for n in range(12)),
    "hs-outline": "\n".join(f"## C{n}\n- a\n- b\n- c\n- d" for n in range(5)),
    "ma-squares": "\n".join(f"{n}² = {n * n}" for n in range(1, 601)),
}


def right_answer(prompt: Prompt) -> str:
    if prompt.id in STRUCTURES:
        return json.dumps(STRUCTURES[prompt.id])
    if prompt.id in LINES:
        return LINES[prompt.id]
    if prompt.extractor is not None and prompt.extractor.name == "tool_call":
        if prompt.expected == "no call":
            return "There is nothing to call."
        calls = [re.fullmatch(r"(\w+)\((.*)\)", line) for line in (prompt.expected or "").splitlines()]
        return to_answer_text(
            Completion(text="", tool_calls=tuple(ToolCall(name=c[1], arguments=c[2]) for c in calls if c))
        )
    return f"First this, then that.\nAnswer: {prompt.expected}"


def test_a_right_answer_is_read_as_right_and_a_wrong_one_is_not() -> None:
    """A prompt whose right answer cannot be read would show every provider as wrong."""
    asked = [*shipped("hosted").prompts, *shipped("marathon").prompts]
    judged = [p for p in asked if p.extractor and p.expected and p.extractor.name != "code"]
    assert len(judged) > 50
    for prompt in judged:
        assert prompt.extractor is not None
        found = extract_answer(prompt.extractor, right_answer(prompt))
        assert is_expected_answer(prompt.extractor, found, prompt.expected or ""), (prompt.id, found)
        wrong = extract_answer(prompt.extractor, "Answer: 12")
        assert not is_expected_answer(prompt.extractor, wrong, prompt.expected or "") or prompt.expected == "no call"


def test_the_arguments_of_expected_calls_fit_the_tools_that_are_offered() -> None:
    """An expected call that its own schema refuses could only be met by a wrong one."""
    from jsonschema import Draft202012Validator

    for prompt in (p for p in shipped("hosted").prompts if p.tools and p.expected != "no call"):
        offered = {tool["function"]["name"]: tool["function"]["parameters"] for tool in prompt.tools}
        for line in (prompt.expected or "").splitlines():
            name, _, arguments = line.partition("(")
            Draft202012Validator(offered[name]).validate(json.loads(arguments.removesuffix(")")))


def to_roman(n: int) -> str:
    signs = {1000: "M", 900: "CM", 500: "D", 400: "CD", 100: "C", 90: "XC", 50: "L", 40: "XL", 10: "X", 9: "IX"}
    pairs = (signs | {5: "V", 4: "IV", 1: "I"}).items()
    text = ""
    for value, sign in pairs:
        text += sign * (n // value)
        n %= value
    return text


def merge_intervals(intervals: list[list[int]]) -> list[list[int]]:
    merged: list[list[int]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(end, merged[-1][1])
        else:
            merged.append([start, end])
    return merged


def longest_valid(text: str) -> int:
    best, open_at = 0, [-1]
    for at, sign in enumerate(text):
        if sign == "(":
            open_at.append(at)
        else:
            open_at.pop()
            if open_at:
                best = max(best, at - open_at[-1])
            else:
                open_at.append(at)
    return best


def evaluate(expression: str) -> int:
    return int(eval(expression))


def shortest(grid: list[str]) -> int:
    steps, edge, seen = 0, {(0, 0)}, {(0, 0)}
    while edge:
        if (len(grid) - 1, len(grid[0]) - 1) in edge:
            return steps
        near = {(r + a, c + b) for r, c in edge for a, b in ((0, 1), (1, 0), (0, -1), (-1, 0))}
        edge = {(r, c) for r, c in near if 0 <= r < len(grid) and 0 <= c < len(grid[0]) and grid[r][c] == "."} - seen
        seen |= edge
        steps += 1
    return -1


def wrap(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def test_the_cases_of_every_function_are_passed_by_a_right_one() -> None:
    """A case that contradicts its prompt would fail every provider's right code."""
    solutions = {f.__name__: f for f in (to_roman, merge_intervals, longest_valid, evaluate, shortest, wrap)}
    specs = [p.extractor for p in shipped("hosted").prompts if p.extractor and p.extractor.name == "code"]
    assert {spec.args["function"] for spec in specs} == set(solutions)
    for spec in specs:
        solution: Any = solutions[spec.args["function"]]
        assert extract_answer(spec, f"```python\n{inspect.getsource(solution)}```") is not None
        for case in parse_cases(spec.args):
            assert solution(*case.args) == case.out, f"{spec.args['function']}{case.args}"


def test_the_table_says_how_much_is_asked() -> None:
    """What a run of a suite asks is known before it is paid for."""
    table = (SHIPPED / "README.md").read_text()
    rows = {
        m[0]: m[1:]
        for m in re.findall(
            r"^\| `((?:hosted|marathon|conversations)[\w/.-]*)` \|.*?\| ([\d,]+) \| ([\d,]+) \|$", table, re.M
        )
    }
    for name in ("hosted-quick", "hosted", "marathon", "conversations"):
        prompts = shipped(name).prompts
        assert rows[name] == (f"{sum(p.max_tokens or 0 for p in prompts):,}", f"{len(prompts):,}"), name
    every = [p for name in ("hosted", "marathon", "conversations") for p in shipped(name).prompts]
    asked = sorted(every, key=lambda p: p.family)
    for family, own in ((name, list(group)) for name, group in groupby(asked, key=lambda p: p.family)):
        file = family.replace("-", "/", 1) + ".yaml"
        assert rows[file] == (f"{sum(p.max_tokens or 0 for p in own):,}", f"{len(own):,}"), file
