"""A seed and a place in, a small puzzle of several steps with one checkable answer out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from tempzero.suites.generated.generator import GeneratedPrompt, Generator, OneOfWords, Settings, WholeNumber
from tempzero.suites.generated.seeded_draw import Draw
from tempzero.suites.generated.words import COLOURS, NAMES, NONSENSE, ORDINALS, THINGS


@dataclass(frozen=True, kw_only=True, slots=True)
class _Puzzle:
    """`choices` are the answers that could be given; `yes` and `no` are read as such."""

    text: str
    answer: str
    choices: tuple[str, ...] = ("yes", "no")


def _make_logic(seed: int, index: int, settings: Settings) -> GeneratedPrompt:
    steps, form = int(settings["steps"]), str(settings["form"])
    puzzle = _KINDS[index % len(_KINDS)](Draw("logic", 1, steps, form, seed, index), index // len(_KINDS), steps)
    yes_or_no = puzzle.choices == ("yes", "no")
    if form == "worked":
        asked = 'Think step by step, then write a last line that starts with "Answer:" and holds one word.'
        extractor = {"name": "answer_line"}
    elif yes_or_no:
        asked, extractor = "Answer yes or no.", {"name": "yes_no"}
    else:
        asked, extractor = "Reply with one word.", {"name": "regex", "pattern": _word_choice_pattern(puzzle.choices)}
    return GeneratedPrompt(
        stem=f"logic-{steps}-{form}", prompt=f"{puzzle.text} {asked}", extractor=extractor, expected=puzzle.answer
    )


def _word_choice_pattern(words: tuple[str, ...]) -> str:
    return rf"(?i)\b({'|'.join(words)})\b"


def _pose_comparison(draw: Draw, turn: int, steps: int) -> _Puzzle:
    """A chain of comparisons, told out of order; who stands at an end of it?"""
    names = draw.sample(NAMES, steps + 2)
    facts = draw.shuffle([f"{a} is taller than {b}." for a, b in pairwise(names)])
    most = turn % 2 == 0
    question = f"Who is the {'tallest' if most else 'shortest'}?"
    return _Puzzle(text=f"{' '.join(facts)} {question}", answer=names[0 if most else -1], choices=tuple(sorted(names)))


def _pose_box_moves(draw: Draw, _turn: int, steps: int) -> _Puzzle:
    """One thing wanders from box to box, another one distracts; where is the first?"""
    name = draw.pick(NAMES)
    thing, other = draw.sample(THINGS, 2)
    boxes = draw.sample(COLOURS, 4)
    here, there = boxes[0], boxes[1]
    text = [f"There are four boxes: {', '.join(boxes[:3])} and {boxes[3]}.",
            f"The {thing} is in the {here} box and the {other} is in the {there} box."]  # fmt: skip
    for _ in range(steps):
        here = draw.pick([box for box in boxes if box != here])
        text.append(f"{name} puts the {thing} into the {here} box.")
        there = draw.pick([box for box in boxes if box not in (here, there)])
        text.append(f"{name} puts the {other} into the {there} box.")
    return _Puzzle(text=f"{' '.join(text)} Which box is the {thing} in?", answer=here, choices=tuple(sorted(boxes)))


def _pose_syllogism(draw: Draw, turn: int, steps: int) -> _Puzzle:
    """Every A is a B, every B is a C; or at the end: no B is a C."""
    kinds = draw.sample(NONSENSE, steps + 2)
    name, yes = draw.pick(NAMES), turn % 2 == 0
    facts = [f"Every {a} is a {b}." for a, b in pairwise(kinds)]
    if not yes:
        facts[-1] = f"No {kinds[-2]} is a {kinds[-1]}."
    told = draw.shuffle([f"{name} is a {kinds[0]}.", *facts])
    return _Puzzle(text=f"{' '.join(told)} Is {name} a {kinds[-1]}?", answer="yes" if yes else "no")


def _pose_lamp_switch(draw: Draw, turn: int, steps: int) -> _Puzzle:
    """A lamp that every press turns on or off, between people who only look at it."""
    lit = draw.below(2) == 1
    presses = steps + (turn + steps + lit) % 2  # so that the lamp is lit at the end in every other turn
    text = [
        f"A lamp is {'on' if lit else 'off'}. Whoever presses its switch turns it on if it is off, and off if it is on."
    ]
    for name in draw.sample(NAMES, presses):
        text.append(f"{name} presses the switch.")
        lit = not lit
    text.insert(1 + draw.below(presses), f"{draw.pick(NAMES)} only looks at the lamp.")
    return _Puzzle(text=f"{' '.join(text)} Is the lamp on now?", answer="yes" if lit else "no")


def _pose_row_swaps(draw: Draw, _turn: int, steps: int) -> _Puzzle:
    """People in a row change places two by two; who stands where?"""
    row = draw.sample(NAMES, 4)
    text = [f"Four people stand in a row, from left to right: {', '.join(row)}."]
    for _ in range(steps):
        a, b = draw.sample(range(4), 2)
        row[a], row[b] = row[b], row[a]
        text.append(f"{row[a]} and {row[b]} change places.")
    place = draw.below(4)
    question = f"Who is now the {ORDINALS[place]} from the left?"
    return _Puzzle(text=f"{' '.join(text)} {question}", answer=row[place], choices=tuple(sorted(row)))


_KINDS: tuple[Callable[[Draw, int, int], _Puzzle], ...] = (
    _pose_comparison,
    _pose_box_moves,
    _pose_syllogism,
    _pose_lamp_switch,
    _pose_row_swaps,
)

LOGIC = Generator(
    name="logic",
    version=1,
    make=_make_logic,
    parameters={"steps": WholeNumber(low=1, high=6, default=2), "form": OneOfWords(words=("direct", "worked"))},
)
