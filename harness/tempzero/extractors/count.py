"""A response that is to have an exact size in, how many words, lines, items or characters it has out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tempzero.extractors.answer_text import to_plain_text
from tempzero.extractors.extractor import Args, Extractor

# Scripts that put no spaces between words.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_HAS_WORD = re.compile(r"\w")
_ITEM_MARK = re.compile(r"[ \t]*(?:[-*•–+]|\(?(?:\d{1,3}|[a-zA-Z])[.)])[ \t]+\S")
_FENCE_LINE = re.compile(r"[ \t]*(?:`{3,}|~{3,})\w*[ \t]*")
_ITEM_SPLIT = re.compile(r"[,，、،;；]")
_AND = re.compile(r"(?:^|\s)(?:and|or|&)\s+(?=\S)", re.IGNORECASE)


def _read_count(text: str, args: Args) -> str | None:
    number = _COUNTED[args["of"]](text)
    return None if number is None else str(number)


def _count_words(text: str) -> int | None:
    """Runs of characters between spaces that hold a letter or a digit: "well-known" is one, a lone dash none."""
    shown = to_plain_text(text)
    if _UNSPACED.search(shown):
        return None
    return sum(bool(_HAS_WORD.search(word)) for word in shown.split()) or None


def _count_lines(text: str) -> int | None:
    """Lines that are not blank; the marks of a code fence are none."""
    return len(_content_lines(text)) or None


def _count_items(text: str) -> int | None:
    """The items of a list: marked lines where there are any, else what one line holds between commas.

    A line without a mark among marked ones, or several lines without any, leaves open what an item is.
    """
    lines = _content_lines(text)
    marked = [bool(_ITEM_MARK.match(line)) for line in lines]
    if any(marked):
        return sum(marked) if all(marked) else None
    if len(lines) != 1:
        return None
    line = to_plain_text(lines[0]).strip()
    if ":" in line or re.search(r"[.!?]\s+\S", line):
        return None
    items = [_AND.sub(" ", item).strip(" .\t") for item in _ITEM_SPLIT.split(line)]
    # "tea, milk and bread": an "and" without a comma before it parts two items in the last piece only.
    last = [part for part in _AND.split(_ITEM_SPLIT.split(line)[-1]) if part.strip(" .")]
    return len([item for item in items[:-1] if item]) + len(last) or None


def _count_characters(text: str) -> int | None:
    """Characters that are not white space."""
    return sum(not c.isspace() for c in text) or None


def _content_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() and not _FENCE_LINE.fullmatch(line)]


_COUNTED: Mapping[str, Callable[[str], int | None]] = {
    "words": _count_words,
    "lines": _count_lines,
    "items": _count_items,
    "characters": _count_characters,
}


def _check_count_args(args: Args) -> None:
    if args["of"] not in _COUNTED:
        raise ValueError(f"of must be one of {', '.join(_COUNTED)}")


def _can_state_count(expected: str, _args: Args) -> bool:
    return expected.isdecimal() and expected.isascii() and not expected.startswith("0")


COUNT = Extractor(
    name="count", version=1, reader=_read_count, can_state=_can_state_count, parameters=("of",), check=_check_count_args
)
