"""A seed, a place and a length in, a task out whose answer tempts to go on for ever: lists, refrains, rows, logs."""

from __future__ import annotations

from collections.abc import Callable

from tempzero.suites.generated.generator import GeneratedPrompt, Generator, Settings, WholeNumber
from tempzero.suites.generated.seeded_draw import Draw
from tempzero.suites.generated.words import NAMES, PLACES, QUALITIES, THINGS

_WHERE = (
    "a kitchen", "a garden", "a school", "a workshop", "a harbour", "a library", "a farm", "a hospital", "a forest",
    "a toy shop", "a railway station", "an attic", "a bakery", "a museum", "a theatre", "a harbour tavern", "a tent",
    "a circus", "a stable", "a lighthouse", "a laundry", "a post office", "a greenhouse", "a castle",
)  # fmt: skip
_GIVEN_LINES = 12
_WEATHER = ("clear", "cloudy", "light rain", "fog", "strong wind", "frost", "drizzle", "sunshine")


def _ask_for_list(draw: Draw, turn: int, lines: int) -> str:
    """A long list, with numbers or without. `draw` is the seed's own here, so that no place comes twice."""
    numbered = "with numbers" if turn % 2 else "without numbers"
    where = draw.shuffle(_WHERE)[turn % len(_WHERE)]
    return f"List {lines} things that one can find in {where}, one per line, {numbered}. Write nothing else."


def _ask_for_refrain(draw: Draw, turn: int, lines: int) -> str:
    """A song or a story that comes back to the same sentence."""
    quality, thing, place = draw.pick(QUALITIES), draw.pick(THINGS), draw.pick(PLACES)
    refrain = f"Home, come home, my {quality} {thing}."
    kind = "a story about" if turn % 2 else "a song for"
    return (
        f"Write {kind} a {quality} {thing} that was left at the {place}. Write {lines} short sentences, "
        f'and after every one of them repeat the refrain "{refrain}"'
    )


def _ask_for_row(draw: Draw, turn: int, lines: int) -> str:
    """An enumeration that follows a rule."""
    first, step = draw.between(3, 40), draw.between(2, 9)
    thing = draw.pick(THINGS)
    if turn % 2:
        return f"Count from {first} upwards in steps of {step}. Write {lines} numbers, one per line, and nothing else."
    return (
        f'Write {lines} lines. The first line is "{first} {thing}s", and every line counts {step} more than '
        "the one before it. Write nothing else."
    )


def _ask_for_log(draw: Draw, _turn: int, lines: int) -> str:
    """A log to be continued; what is given is in proportion to what is asked for."""
    given = max(_GIVEN_LINES, lines)
    minute, told = draw.between(0, 40), []
    for _ in range(given):
        minute += draw.between(1, 9)
        told.append(
            f"minute {minute} | {draw.pick(PLACES)} | {draw.pick(_WEATHER)} | {draw.pick(NAMES)} checked the "
            f"{draw.pick(THINGS)}: all well"
        )
    listed = "\n".join(told)
    return f"{listed}\n\nContinue this log with the next {lines} lines in the same form. Write nothing else."


_KINDS: tuple[tuple[str, Callable[[Draw, int, int], str]], ...] = (
    ("list", _ask_for_list),
    ("refrain", _ask_for_refrain),
    ("row", _ask_for_row),
    ("log", _ask_for_log),
)


def _make_repetition(seed: int, index: int, settings: Settings) -> GeneratedPrompt:
    lines, turn = int(settings["lines"]), index // len(_KINDS)
    name, text = _KINDS[index % len(_KINDS)]
    # The same task at every length: only the number of lines differs.
    draw = Draw(name, 1, seed) if text is _ask_for_list else Draw(name, 1, seed, turn)
    return GeneratedPrompt(stem=f"{name}-{lines}", prompt=text(draw, turn, lines), variants=f"{name}-s{seed}-{turn}")


REPETITION = Generator(
    name="repetition", version=1, make=_make_repetition, parameters={"lines": WholeNumber(low=4, high=200, default=12)}
)
