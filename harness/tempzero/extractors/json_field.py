"""A response in, one field of the JSON object in it out, as text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tempzero.answers.chat_messages import refuse_constant, refuse_duplicate_keys
from tempzero.extractors.extractor import Args, Extractor, is_same_text
from tempzero.extractors.numerals import canonical_spelling

# What an author of JSON, good or broken, begins an object with; braces in prose are passed by.
_OBJECT_START = re.compile(r"\{(?=\s*(?:[\"'}]|\w+\s*:))")
_MAX_OBJECTS = 20
_MAX_NUMBER_CHARS = 100
_PLAIN_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


def _read_json_field(text: str, args: Mapping[str, str]) -> str | None:
    found = {_scalar_text(_value_at_path(value, args["field"])) for value in _parse_json_objects(text)}
    return found.pop() if len(found) == 1 else None


def _parse_json_objects(text: str) -> list[Any]:
    """The outermost JSON objects of the text; none at all if one of them is broken: nothing is repaired."""
    objects: list[Any] = []
    position = 0
    while match := _OBJECT_START.search(text, position):
        try:
            value, position = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            return []
        objects.append(value)
        if len(objects) > _MAX_OBJECTS:
            return []
    return objects


def _parse_decimal(literal: str) -> Decimal:
    value = Decimal(literal)
    if len(literal) > _MAX_NUMBER_CHARS or (value and abs(value.adjusted()) > _MAX_NUMBER_CHARS):
        raise ValueError("a number too long to be an answer")
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=refuse_duplicate_keys,
    parse_float=_parse_decimal,
    parse_int=_parse_decimal,
    parse_constant=refuse_constant,
    strict=False,
)


def _value_at_path(value: Any, path: str) -> Any:
    """The value at a dotted path ("answer.city", "items.0"), or None."""
    for step in path.split("."):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _scalar_text(value: Any) -> str | None:
    """A scalar as text; None for null, an empty text, a list or an object."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return canonical_spelling(Fraction(value))
    return value.strip() or None if isinstance(value, str) else None


def _check_json_field_args(args: Args) -> None:
    if not all(step.strip() for step in args["field"].split(".")):
        raise ValueError('field must be a key or a dotted path of keys, e.g. "city" or "answer.city"')


def _can_state_json_field(expected: str, _args: Args) -> bool:
    return bool(expected.strip())


def _is_same_scalar(left: str, right: str) -> bool:
    if _PLAIN_NUMBER.fullmatch(left.strip()) and _PLAIN_NUMBER.fullmatch(right.strip()):
        return Fraction(left.strip()) == Fraction(right.strip())
    return is_same_text(left, right)


JSON_FIELD = Extractor(
    name="json_field",
    version=1,
    reader=_read_json_field,
    can_state=_can_state_json_field,
    parameters=("field",),
    check=_check_json_field_args,
    same=_is_same_scalar,
)
