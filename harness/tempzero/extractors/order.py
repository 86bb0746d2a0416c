"""A response that is to put known items in order in, the items in the order in which it names them out."""

from __future__ import annotations

import json
import re
from functools import lru_cache

from tempzero.extractors.answer_line import find_answer_line
from tempzero.extractors.extractor import Args, Extractor
from tempzero.extractors.normal import normalise_text

_MOST_ITEMS = 30
_MOST_NAMED = 500


def _read_order(text: str, args: Args) -> str | None:
    """Each item exactly once: in the labelled answer, else in the whole text, else in its last line that names any.

    A text that leaves items out gives those it has; one that names an item twice has stated no order.
    """
    items = tuple(json.loads(args["items"]))
    labelled = find_answer_line(text)
    if labelled is not None:
        return _spell_order(_find_items(labelled, items))
    everywhere = _find_items(text.replace("\n", " "), items)
    if len(everywhere) == len(set(everywhere)):
        return _spell_order(everywhere)
    if len(everywhere) > _MOST_NAMED:
        return None
    last = [found for line in text.splitlines() if (found := _find_items(line, items))][-1]
    return _spell_order(last) if sorted(last) == sorted(items) else None


def _spell_order(names: list[str]) -> str | None:
    return ", ".join(names) if len(names) > 1 and len(set(names)) == len(names) else None


def _find_items(text: str, items: tuple[str, ...]) -> list[str]:
    """The items in the order in which they stand in a text."""
    known = {normalise_text(item): item for item in items}
    return [known[match.group()] for match in _items_pattern(items).finditer(normalise_text(text))]


@lru_cache(maxsize=256)
def _items_pattern(items: tuple[str, ...]) -> re.Pattern[str]:
    """Longest items first, so that "pine" is not found in "pine tree"."""
    longest_first = sorted(map(normalise_text, items), key=lambda item: (-len(item), item))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")


def _check_order_args(args: Args) -> None:
    items = json.loads(args["items"])
    if not 2 <= len(items) <= _MOST_ITEMS or not all(
        isinstance(i, str) and normalise_text(i) and "," not in i for i in items
    ):
        raise ValueError("items must be a list of 2 to 30 texts without commas; put numbers in quotes")
    if len({normalise_text(item) for item in items}) < len(items):
        raise ValueError("an item is given twice")


def _can_state_order(expected: str, args: Args) -> bool:
    named = [normalise_text(part) for part in expected.split(",")]
    return sorted(named) == sorted(normalise_text(item) for item in json.loads(args["items"]))


def _is_same_order(left: str, right: str) -> bool:
    return [normalise_text(part) for part in left.split(",")] == [normalise_text(part) for part in right.split(",")]


ORDER = Extractor(
    name="order",
    version=1,
    reader=_read_order,
    can_state=_can_state_order,
    parameters=("items",),
    structured={"items": list},
    check=_check_order_args,
    same=_is_same_order,
)
