"""A generator's name, a seed and settings in, prompts out: fresh variants that nobody can have tuned to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tempzero.suites.generated.arithmetic import ARITHMETIC
from tempzero.suites.generated.generator import Generator, Made, OneOf, Settings, Whole
from tempzero.suites.generated.logic import LOGIC
from tempzero.suites.generated.long_context import COUNT, NEEDLE, NEEDLES, TOTAL
from tempzero.suites.generated.repetition import REPETITION

__all__ = ["GENERATORS", "Generator", "Made", "OneOf", "Settings", "Whole", "made"]

GENERATORS: Mapping[str, Generator] = {
    generator.name: generator for generator in (ARITHMETIC, LOGIC, NEEDLE, NEEDLES, COUNT, TOTAL, REPETITION)
}


def made(generator: Generator, *, seed: int, count: int, settings: Settings) -> Iterator[tuple[str, Made]]:
    """The first `count` prompts of a seed, each with its id. Settings that are left out have their defaults."""
    known = {
        name: parameter.default if isinstance(parameter, Whole) else parameter.words[0]
        for name, parameter in generator.parameters.items()
    }
    for index in range(count):
        one = generator.make(seed, index, {**known, **settings})
        yield f"{one.stem}-s{seed}-{index + 1:02d}", one
