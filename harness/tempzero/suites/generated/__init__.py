"""A generator's name, a seed and settings in, prompts out: fresh variants that nobody can have tuned to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tempzero.suites.generated.arithmetic import ARITHMETIC
from tempzero.suites.generated.chains import CHAINS
from tempzero.suites.generated.generator import GeneratedPrompt, Generator, OneOfWords, Settings, WholeNumber
from tempzero.suites.generated.logic import LOGIC
from tempzero.suites.generated.long_context import COUNT, NEEDLE, NEEDLES, TOTAL
from tempzero.suites.generated.repetition_prompts import REPETITION

__all__ = ["GENERATORS", "GeneratedPrompt", "Generator", "OneOfWords", "Settings", "WholeNumber", "generate_prompts"]

GENERATORS: Mapping[str, Generator] = {
    generator.name: generator for generator in (ARITHMETIC, LOGIC, CHAINS, NEEDLE, NEEDLES, COUNT, TOTAL, REPETITION)
}


def generate_prompts(
    generator: Generator, *, seed: int, count: int, settings: Settings
) -> Iterator[tuple[str, GeneratedPrompt]]:
    """The first `count` prompts of a seed, each with its id. Settings that are left out have their defaults."""
    known = {
        name: parameter.default if isinstance(parameter, WholeNumber) else parameter.words[0]
        for name, parameter in generator.parameters.items()
    }
    for index in range(count):
        one = generator.make(seed, index, {**known, **settings})
        yield f"{one.stem}-s{seed}-{index + 1:02d}", one
