"""An item of `generate:` in, the prompts it declares out: a file holds one line for what would be megabytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tempzero.errors import SuiteError
from tempzero.suites.generated import GENERATORS, GeneratedPrompt, OneOfWords, WholeNumber, generate_prompts
from tempzero.suites.prompt_files import (
    HEAD_KEYS,
    Declaration,
    Entry,
    Place,
    SuiteProblem,
    describe_value,
    require_known_keys,
    suggest_word,
)

_EXAMPLE = "{generator: arithmetic, seed: 1, count: 20}"
_COUNT_PARAMETERS: Mapping[str, WholeNumber | OneOfWords] = {
    "seed": WholeNumber(low=0, high=2**63 - 1, default=0),
    "count": WholeNumber(low=1, high=10_000, default=1),
}


def expand_declaration(declared: Declaration) -> Iterator[Entry]:
    """The declared prompts, each as if it stood in the file. Raises SuiteProblem."""
    item, place = declared.item, declared.place
    if not isinstance(item, dict):
        place.refuse(f"expected a mapping such as {_EXAMPLE}; found {describe_value(item)}")
    name = item.get("generator")
    if not isinstance(name, str) or name not in GENERATORS:
        place.inside("generator").refuse(f"expected a generator; {suggest_word(str(name), GENERATORS)}")
    generator = GENERATORS[name]
    require_known_keys(item, ("generator", *_COUNT_PARAMETERS, *generator.parameters, *HEAD_KEYS), place)
    for key in _COUNT_PARAMETERS:
        if key not in item:
            place.inside(key).refuse(f"this key is needed, e.g. {_EXAMPLE}")
    seed, count = (
        int(_parse_parameter(item[key], _COUNT_PARAMETERS[key], place.inside(key))) for key in _COUNT_PARAMETERS
    )
    settings = {
        key: _parse_parameter(item[key], parameter, place.inside(key))
        for key, parameter in generator.parameters.items()
        if key in item
    }
    shared = {key: item[key] for key in HEAD_KEYS if key in item}
    for prompt_id, one in generate_prompts(generator, seed=seed, count=count, settings=settings):
        own = {**as_file_entry(prompt_id, one), **shared}
        yield Entry(own=own, head=declared.head, place=place, head_place=declared.head_place, generated=True)


def as_file_entry(prompt_id: str, one: GeneratedPrompt) -> Mapping[str, Any]:
    """A generated prompt with the keys it would have in a file."""
    values = {
        "id": prompt_id,
        "prompt": one.prompt,
        "extractor": one.extractor,
        "expected": one.expected,
        "variants": one.variants,
        "template": one.stem,
    }
    return {key: value for key, value in values.items() if value is not None}


def _parse_parameter(value: Any, parameter: WholeNumber | OneOfWords, place: Place) -> int | str:
    if isinstance(parameter, OneOfWords):
        if value not in parameter.words:
            place.refuse(f"expected one of {', '.join(parameter.words)}; found {value!r:.40}")
        return str(value)
    if not isinstance(value, int) or isinstance(value, bool) or not parameter.low <= value <= parameter.high:
        place.refuse(f"expected a whole number from {parameter.low} to {parameter.high}; found {value!r:.40}")
    return value


def generate_jsonl(generator: str, *, seed: int, count: int, settings: Sequence[str]) -> str:
    """Generated prompts as the text of a JSONL file. `settings` are `KEY=VALUE`. Raises SuiteError."""
    item: dict[str, Any] = {"generator": generator, "seed": seed, "count": count}
    place = Place(file=Path("suite generate"), lines={})
    try:
        for setting in settings:
            key, equals, value = setting.partition("=")
            if not equals:
                place.refuse(f"--set {setting}: write KEY=VALUE, e.g. --set steps=3")
            item[key] = int(value) if value.isdecimal() else value
        declared = Declaration(item=item, head={"family": generator}, place=place, head_place=place)
        # The text is a promise: a seed gives the same bytes for ever, and templates came later.
        entries = [
            {"family": generator, **{key: value for key, value in entry.own.items() if key != "template"}}
            for entry in expand_declaration(declared)
        ]
    except SuiteProblem as problem:
        raise SuiteError(str(problem)) from None
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
