"""A seed and a place in, a sum or a word problem of several steps with one whole number as its answer out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from tempzero.suites.generated.generator import GeneratedPrompt, Generator, OneOfWords, Settings, WholeNumber
from tempzero.suites.generated.seeded_draw import Draw
from tempzero.suites.generated.words import BOXES, COUNTED, NAMES

# Which steps follow one another is fixed by the prompt's place: every seed has the same mix of them.
_STEPS = ("more", "fewer", "twice", "half", "fewer", "more")
_MAX_VALUE = 200


def _make_arithmetic(seed: int, index: int, settings: Settings) -> GeneratedPrompt:
    steps, form = int(settings["steps"]), str(settings["form"])
    told = _find_exercise(steps, form, seed, index)
    return GeneratedPrompt(
        stem=f"arithmetic-{steps}-{form}",
        prompt=f"{told.text} {_FORMS[form]}",
        extractor={"name": "number"},
        expected=str(told.value),
    )


_FORMS: Mapping[str, str] = {
    "direct": "Reply with the number only.",
    "worked": 'Work it out step by step, then write a last line that starts with "Answer:".',
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Exercise:
    text: str
    value: int


@lru_cache(maxsize=512)  # of many steps one is found among thousands, and a process that lasts reads suites again
def _find_exercise(steps: int, form: str, seed: int, index: int) -> _Exercise:
    draw = Draw("arithmetic", 1, steps, form, seed, index)
    return _make_sum(draw, index, steps) if index % 4 == 3 else _make_story(draw, index, steps)


def _make_story(draw: Draw, index: int, steps: int) -> _Exercise:
    """Somebody has things, something happens to them `steps` times, and how many there are now is asked."""
    while True:
        told = _try_story(draw, index, steps)
        if told is not None:
            return told


def _try_story(draw: Draw, index: int, steps: int) -> _Exercise | None:
    """A story, or None where its numbers do not come out whole, or too large or small."""
    name, other = draw.sample(NAMES, 2)
    thing = draw.pick(COUNTED)
    if index % 2:
        boxes, each = draw.between(3, 6), draw.between(4, 9)
        value, text = boxes * each, [f"{name} has {boxes} {draw.pick(BOXES)} with {each} {thing} each."]
        steps -= 1
    else:
        value = draw.between(12, 39)
        text = [f"{name} has {value} {thing}."]
    for step in range(steps):
        happens = _STEPS[(index // 2 + step * (1 + index % 3)) % len(_STEPS)]
        change = draw.between(3, 19)
        if happens == "more":
            value += change
            text.append(f"{other} brings {change} more.")
        elif happens == "fewer":
            value -= change
            text.append(f"{name} gives {change} of them away.")
        elif happens == "twice":
            value *= 2
            text.append("Then the number doubles.")
        else:
            if value % 2:
                return None
            value //= 2
            text.append(f"{name} sells half of them.")
        if not 2 <= value <= _MAX_VALUE:
            return None
    return _Exercise(text=f"{' '.join(text)} How many {thing} does {name} have in the end?", value=value)


def _make_sum(draw: Draw, index: int, steps: int) -> _Exercise:
    """An expression with `steps` operations, multiplication before addition."""
    while True:
        value = product = draw.between(3, 12)
        text = str(value)
        total = 0
        for step in range(steps):
            operation = "+*-"[(index // 4 + step) % 3]
            number = draw.between(2, 9) if operation == "*" else draw.between(3, 29)
            text += f" {operation} {number}"
            if operation == "*":
                product *= number
            else:
                total, product = total + product, number if operation == "+" else -number
        value = total + product
        if 2 <= value <= _MAX_VALUE:
            return _Exercise(text=f"What is {text.replace('*', '×')}?", value=value)


ARITHMETIC = Generator(
    name="arithmetic",
    version=1,
    make=_make_arithmetic,
    parameters={"steps": WholeNumber(low=1, high=8, default=2), "form": OneOfWords(words=tuple(_FORMS))},
)
