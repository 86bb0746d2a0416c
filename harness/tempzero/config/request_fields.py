"""Fields of a request's body as files write them in; the same merged, and what is wrong with them, out.

Fields are laid over each other as in RFC 7396 (JSON Merge Patch): mappings key by key, null leaves out what stands
there, anything else takes its place. From weak to strong: what tempzero sends itself, the provider, the head of a
prompt's file, the prompt, the condition.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from tempzero.config.problems import FilePath, format_path
from tempzero.config.variables import SECRET_REMEDY, find_literal_secrets

OWN_FIELDS: Mapping[str, str] = {
    "model": "the provider's own; write `model:` there",
    "messages": "the prompt's own; write `prompt:` or `messages:` there",
    "tools": "the prompt's own; write `tools:` there",
    "stream": "a setting; write `stream:` at the provider or the condition",
    "stream_options": "a setting; write `stream:` at the provider or the condition",
    "n": "not sent: answers of one request share a batch; write `repeats:`",
    "max_tokens": "planned and paid for; write `max_tokens:` at the provider or the prompt",
    "max_completion_tokens": "planned and paid for; write `max_tokens:`, and its name under `parameter_names:`",
}
"""Fields that tempzero fills in itself: another value behind its back would make the plan or the record untrue."""

_MOST_NESTED = 32


def merge_fields(fields: Mapping[str, Any], *changes: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with each change laid over them in turn; nothing that is given in is altered."""
    merged = dict(fields)
    for change in changes:
        for name, value in change.items():
            if value is None:
                merged.pop(name, None)
            else:
                before, both = merged.get(name), isinstance(value, Mapping)
                merged[name] = merge_fields(before, value) if both and isinstance(before, Mapping) else value
    return merged


def join_fields(fields: Mapping[str, Any], *above: Mapping[str, Any]) -> dict[str, Any]:
    """Changes joined into one that does what they do in turn: null stays, for what it leaves out is not there yet."""
    joined = dict(fields)
    for change in above:
        for name, value in change.items():
            before = joined.get(name)
            if isinstance(before, Mapping) and isinstance(value, Mapping):
                joined[name] = join_fields(before, value)
            else:
                joined[name] = value
    return joined


def find_field_problems(fields: Mapping[str, Any]) -> Iterator[tuple[FilePath, str]]:
    """Where in these fields something cannot be sent, or must not be, and what is wrong with it."""
    for name in fields:
        if name in OWN_FIELDS:
            yield (name,), f"this field is {OWN_FIELDS[name]}"
    yield from _find_unsendable(fields, ())
    for at in find_literal_secrets(fields):
        yield at, SECRET_REMEDY


def _find_unsendable(value: Any, at: FilePath) -> Iterator[tuple[FilePath, str]]:
    if len(at) > _MOST_NESTED:
        yield at, f"nested more than {_MOST_NESTED} deep"
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(key, str):
                yield from _find_unsendable(inner, (*at, key))
            else:
                yield (*at, str(key)), "a field's name must be text (put it in quotes)"
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _find_unsendable(inner, (*at, index))
    elif isinstance(value, str):
        if not _is_whole_text(value):
            yield at, "holds half of a surrogate pair, which no request can carry"
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield at, "is no number that JSON can carry"
    elif not (value is None or isinstance(value, bool | int)):
        yield at, f"{value!s:.40} is no JSON value; put it in quotes"


def _is_whole_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _refuse_field_problems(fields: dict[str, Any]) -> dict[str, Any]:
    problems = [f"{format_path(at)}: {what}" for at, what in find_field_problems(fields)]
    if problems:
        raise ValueError("; ".join(problems))
    return fields


RequestFields = Annotated[dict[str, Any], AfterValidator(_refuse_field_problems)]
"""The type of a key that holds fields of a request's body."""
