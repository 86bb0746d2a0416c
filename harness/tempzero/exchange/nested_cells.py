"""A row in, its single values out, each under its path: what stands inside objects, small lists and JSON text too."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tempzero.exchange.expressions import Cells, parse_nested_cell, walk_path

# Deeper and further values are no settings that anybody looks for.
_MOST_LEVELS = 6
_MOST_VALUES = 300
_MOST_ITEMS = 8


def flatten_cells(cells: Cells, used: Collection[str]) -> Iterator[tuple[str, Any]]:
    """(path, value) of every single value that none of the paths `used` names or encloses, spelled as in `--map`.

    Of a list that a `[*]` in `used` goes through, the item that this answer is of: `runs[*].temperature`.
    """
    number = 0
    starred = {path.partition("[*]")[0]: path for path in used if "[*]" in path}
    for head, path in starred.items():
        items = walk_path(cells, head)
        items = parse_nested_cell(items) if isinstance(items, str) else items
        match = str(cells.get("@match") or "")
        if isinstance(items, list) and match.isdigit() and int(match) < len(items):
            item = items[int(match)]
            if isinstance(item, dict) and not path.endswith("[*][]"):
                yield from _flatten_value(f"{head}[*]", item, used, 1)
    for column, value in cells.items():
        if column[:1] == "@" or column in used:
            continue
        if value.__class__ is str and value[:1] not in "{[":
            yield column, value
            continue
        for found in _flatten_value(column, value, used, 0, starred):
            number += 1
            if number > _MOST_VALUES:
                return
            yield found


# What of a request is no setting: what was asked, what only labels a call, or says how its answer is sent.
_NO_SETTINGS = frozenset(
    ("messages", "prompt", "input", "contents", "user", "metadata", "store", "stream", "stream_options", "seed")
) | {"safety_identifier", "prompt_cache_key", "service_tier", "logprobs", "top_logprobs", "custom_id"}

_FIELDS_OF_SETTINGS = dict.fromkeys(
    ("max_completion_tokens", "max_new_tokens", "max_output_tokens", "max_gen_toks"), "max_tokens"
)


def flatten_settings(requests: Cells, used: Collection[str], fields: Collection[str] = ()) -> Iterator[tuple[str, Any]]:
    """(path, value) of every setting of a request, which stands in a column as an object or as JSON text.

    Not of those that have a field of the mapping, however a request spells them.
    """
    for column, request in requests.items():
        inside = parse_nested_cell(request) if isinstance(request, str) else request
        if isinstance(inside, Mapping):
            for name, value in inside.items():
                if name not in _NO_SETTINGS and _FIELDS_OF_SETTINGS.get(name, name) not in fields:
                    yield from _flatten_value(f"{column}.{name}", value, used, 1)


def _flatten_value(
    path: str, value: Any, used: Collection[str], level: int, starred: Collection[str] = ()
) -> Iterator[tuple[str, Any]]:
    if path in used or path in starred:
        return
    inside = parse_nested_cell(value) if isinstance(value, str) and level < 2 else value
    if isinstance(inside, Mapping) and inside and level < _MOST_LEVELS:
        for name, inner in inside.items():
            yield from _flatten_value(f"{path}.{name}", inner, used, level + 1, starred)
    elif isinstance(inside, list) and _holds_objects(inside) and level < _MOST_LEVELS:
        for number, inner in enumerate(inside):
            yield from _flatten_value(f"{path}[{number}]", inner, used, level + 1, starred)
    else:
        yield path, repr(value) if isinstance(value, dict | list) else value


def _holds_objects(value: list[Any]) -> bool:
    return 0 < len(value) <= _MOST_ITEMS and all(isinstance(item, dict) for item in value)
