"""One raw entry of a prompt file in, its prompts out; all that is wrong with it is said by line."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

from tempzero.config import PASTED_KEY, find_field_problems, find_key_places, join_fields
from tempzero.extractors import EXTRACTORS, Extractor
from tempzero.suites.conversation_rounds import expand_rounds
from tempzero.suites.declarations import expand_declaration
from tempzero.suites.message_parsing import parse_messages
from tempzero.suites.prompt_files import (
    Declaration,
    Entry,
    Place,
    SuiteProblem,
    describe_value,
    parse_text,
    read_entries,
    require_known_keys,
    suggest_word,
)
from tempzero.suites.tools import check_expected_calls, parse_tool_choice, parse_tools, to_json_value
from tempzero.suites.whole_requests import parse_whole_request
from tempzero.types.asked import ExtractorSpec, Prompt, SuiteName

_SUITE_NAMES: tuple[SuiteName, ...] = get_args(SuiteName)
# Of a prompt that does not say which suite asks it.
_LARGEST: SuiteName = "deep"
# Ids and families become parts of file names and table cells.
_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:+-]{0,99}")


def iterate_entries(files: Iterable[Path], problems: list[str]) -> Iterable[Entry]:
    """The entries of all files, those that a declaration stands for too; `problems` gets what cannot be read."""
    for file in files:
        try:
            for entry in read_entries(file):
                if isinstance(entry, SuiteProblem):
                    problems.append(str(entry))
                elif isinstance(entry, Declaration):
                    yield from _expand_or_report(entry, problems)
                else:
                    yield entry
        except SuiteProblem as problem:
            problems.append(str(problem))


def _expand_or_report(declared: Declaration, problems: list[str]) -> Iterable[Entry]:
    try:
        yield from expand_declaration(declared)
    except SuiteProblem as problem:
        problems.append(str(problem))


def parse_prompts(entry: Entry) -> tuple[Prompt, ...]:
    """The entry as a prompt, or one for each round. Raises SuiteProblem with all that is wrong with it."""
    if entry.whole_request:
        prompt = parse_whole_request(entry)
        _require_name(prompt.id, entry.place)
        return (prompt,)
    parsers: Mapping[str, Callable[[Entry], Any]] = {
        "id": lambda e: _parse_name(e, "id"),
        "messages": parse_messages,
        "family": lambda e: _parse_name(e, "family"),
        "extractor": _parse_extractor,
        "max_tokens": _parse_max_tokens,
        "tags": _parse_tags,
        "suite": _parse_suite_name,
        "tools": lambda e: parse_tools(e.get("tools"), e.place_of("tools")),
        "tool_choice": lambda e: parse_tool_choice(e.get("tool_choice"), e.get("tools"), e.place_of("tool_choice")),
        "margin": _parse_margin,
        "request": _parse_request,
        "cluster": _parse_cluster,
    }
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field, parse in parsers.items():
        try:
            values[field] = parse(entry)
            if field == "extractor":
                values["expected"] = _parse_expected(entry, values["extractor"])
        except SuiteProblem as problem:
            problems.append(str(problem))
    if problems:
        raise SuiteProblem("\n".join(problems))
    prompt = Prompt(**values)
    check_expected_calls(prompt, entry.place)
    return expand_rounds(prompt, entry)


def _parse_cluster(entry: Entry) -> str | None:
    """The group of look-alikes that a prompt belongs to: its variants', else its template's."""
    for key in ("variants", "template"):
        if entry.get(key) is not None:
            return parse_text(entry.get(key), entry.place_of(key))
    return None


def _parse_name(entry: Entry, key: str) -> str:
    place = entry.place_of(key)
    if entry.get(key) is None:
        place.refuse("this key is needed" + (", here or once in the file's head" if key == "family" else ""))
    return _require_name(parse_text(entry.get(key), place), place)


def _require_name(name: str, place: Place) -> str:
    if not _ID_PATTERN.fullmatch(name):
        place.refuse(f'"{name[:40]}" is no name; use letters, digits and . _ @ : + -, at most 100, e.g. sum-apples')
    return name


def _parse_request(entry: Entry) -> dict[str, Any]:
    """Fields of the request's body: those of the file's head, over them the prompt's own."""
    written = [(entry.head_place, entry.head.get("request")), (entry.place, entry.own.get("request"))]
    fields: dict[str, Any] = {}
    for place, value in ((place.inside("request"), value) for place, value in written if value is not None):
        if not isinstance(value, dict):
            place.refuse(f"expected a mapping such as {{reasoning_effort: low}}; found {describe_value(value)}")
        own = to_json_value(value, place)
        problems = [*find_field_problems(own), *((at, PASTED_KEY) for at in find_key_places(own))]
        if problems:
            raise SuiteProblem("\n".join(place.inside(*at).remark(what) for at, what in problems))
        fields = join_fields(fields, own)
    return fields


def _parse_extractor(entry: Entry) -> ExtractorSpec | None:
    value, place = entry.get("extractor"), entry.place_of("extractor")
    if value is None:
        return None
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, dict) or "name" not in value:
        place.refuse("expected a name, or a mapping such as {name: json_field, field: city}")
    name = parse_text(value["name"], place)
    if name not in EXTRACTORS:
        place.refuse(f'unknown extractor "{name[:40]}"; {suggest_word(name, EXTRACTORS)}')
    extractor = EXTRACTORS[name]
    parameters = (*extractor.parameters, *extractor.optional)
    require_known_keys(value, ("name", *parameters), place)
    args = {key: _parse_argument(extractor, key, value[key], place.inside(key)) for key in parameters if key in value}
    _check_extractor_args(extractor, args, place)
    return ExtractorSpec(name=name, args=args)


def _parse_argument(extractor: Extractor, key: str, value: Any, place: Place) -> str:
    """An argument as text; lists and mappings as JSON, with the keys in the order they are written in."""
    wanted = (extractor.structured or {}).get(key)
    if wanted is None:
        return parse_text(value, place)
    if not isinstance(value, wanted):
        place.refuse(f"expected {describe_value(wanted())}; found {describe_value(value)}")
    return json.dumps(to_json_value(value, place), ensure_ascii=False)


def _check_extractor_args(extractor: Extractor, args: Mapping[str, str], place: Place) -> None:
    for key in extractor.parameters:
        if key not in args:
            example = ", ".join(f"{parameter}: ..." for parameter in extractor.parameters)
            place.refuse(f"{extractor.name} needs {key}; write {{name: {extractor.name}, {example}}}")
    try:
        extractor.check(args)
    except ValueError as problem:
        place.refuse(str(problem))


def _parse_expected(entry: Entry, spec: ExtractorSpec | None) -> str | None:
    value, place = entry.get("expected"), entry.place_of("expected")
    if value is None:
        return None
    expected = parse_text(value, place)
    if spec is None:
        place.refuse(f"needs an extractor that reads the answer; known: {', '.join(EXTRACTORS)}")
    if not EXTRACTORS[spec.name].can_state(expected, spec.args):
        place.refuse(
            f'extractor {spec.name} could never read "{expected[:40]}" from a response; '
            "write it as it is read, e.g. Paris, 42, B or yes"
        )
    return expected


def _parse_max_tokens(entry: Entry) -> int | None:
    value = entry.get("max_tokens")
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        entry.place_of("max_tokens").refuse(
            f"expected a whole number from 1 on; found {describe_value(value)}: {value!s:.40}"
        )
    return value


def _parse_tags(entry: Entry) -> tuple[str, ...]:
    value, place = entry.get("tags"), entry.place_of("tags")
    if value is None:
        return ()
    if not isinstance(value, list):
        place.refuse(f"expected a list such as [smoke, long]; found {describe_value(value)}")
    return tuple(parse_text(tag, place.inside(index)) for index, tag in enumerate(value))


def _parse_suite_name(entry: Entry) -> SuiteName:
    value, named = entry.get("suite"), {name: name for name in _SUITE_NAMES}
    if value is None:
        return _LARGEST
    if not isinstance(value, str) or value not in named:
        entry.place_of("suite").refuse(f"expected one of {', '.join(_SUITE_NAMES)}; found {value!r:.40}")
    return named[value]


def _parse_margin(entry: Entry) -> float | None:
    value = entry.get("margin")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not 0 <= value < math.inf:
        entry.place_of("margin").refuse(
            f"expected a number of logits from 0 on; found {describe_value(value)}: {value!s:.40}"
        )
    return float(value)
