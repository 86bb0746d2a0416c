"""What every generator of prompts is: a name, its parameters, and a maker of one prompt from seed and place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Settings = Mapping[str, int | str]


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratedPrompt:
    """One generated prompt. `stem` begins its id; `variants` names a text that several prompts share on purpose."""

    stem: str
    prompt: str
    extractor: Mapping[str, str] | None = None
    expected: str | None = None
    variants: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeNumber:
    """A parameter that is a whole number, both bounds included."""

    low: int
    high: int
    default: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OneOfWords:
    """A parameter that is one of several words; the first is the default."""

    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Generator:
    """Makes prompts of one kind without end.

    `version` rises whenever any prompt would come out otherwise than before. `make` gets the seed, the
    prompt's place from 0 on and the settings; the same three give the same prompt, whatever else is generated.
    The *kind* of a prompt follows from its place and its *values* from the seed, so that seeds are equally hard.
    """

    name: str
    version: int
    make: Callable[[int, int, Settings], GeneratedPrompt]
    parameters: Mapping[str, WholeNumber | OneOfWords] = field(default_factory=dict)
