"""A message of an answer in, its parts out: text, reasoning, refusal, from all the places where servers put them.

Reasoning comes in fields of its own, as parts of a content that is a list, or within the text in the marks of the
model's template. A mark of the template that is left in the text is a leak.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
"""Fields of a message, or of a delta, that hold reasoning as a text."""
REASONING_LIST = "reasoning_details"
"""The field that holds it as a list of pieces (OpenRouter's)."""

_TEXT_KINDS = frozenset({"text", "output_text"})
_REASONING_KINDS = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_text", "summary_text"})
_THINK_MARKS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
)
# What both marks of a pair end in: one look for two.
_THINK_ENDS = tuple(opening.lstrip("<[◁") for opening, _ in _THINK_MARKS)
_MARK_SIGNS = ("<", "[", "◁")  # without one of them there is no mark in a text
# What is left of the channels of gpt-oss where their marks were taken out of the text.
_CHANNEL_LEAK = ("analysis", "assistantfinal")
_LEAKS = re.compile(
    r"<\|[a-z][a-z_]{1,40}\|>|<｜[^｜<>\n]{2,40}｜>|</?(?:tool_call|tool_response|arg_key|arg_value)>"
    r"|<function=|</?start_of_turn>|<end_of_turn>|\[/?(?:TOOL_CALLS|INST|AVAILABLE_TOOLS)\]|</s>\s*$"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ContentParts:
    """A content that came as a list of parts, joined by kind. `unread`: some were of a kind that is not read."""

    text: str
    reasoning: str
    refusal: str
    unread: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ThinkBlock:
    """A text without its block of reasoning, and that block; `opened` and `closed` as its marks stood there."""

    text: str
    reasoning: str
    opened: bool
    closed: bool


def split_content_list(content: Any) -> ContentParts | None:
    """A list of parts by kind; None where it is no such list, or a part of a known kind does not hold its text."""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return None
    texts: list[str] = []
    thoughts: list[str] = []
    refusals: list[str] = []
    unread = False
    for part in content:
        kind = part.get("type", "text")
        if not isinstance(kind, str):
            return None
        if kind in _TEXT_KINDS:
            texts.append(part.get("text"))
        elif kind in _REASONING_KINDS:
            thoughts.append(_inner_text(part))
        elif kind == "refusal":
            refusals.append(part.get("refusal"))
        else:
            unread = True
    if not all(isinstance(text, str) for text in (*texts, *refusals)):
        return None
    return ContentParts(text="".join(texts), reasoning="".join(thoughts), refusal="".join(refusals), unread=unread)


def _inner_text(part: Mapping[str, Any]) -> str:
    """The text of a part of reasoning: a text, or a list of parts with texts; "" where it is kept back."""
    for name in ("thinking", "reasoning", "text", "summary", "content"):
        given = part.get(name)
        if isinstance(given, str):
            return given
        if isinstance(given, list):
            texts = [inner.get("text") if isinstance(inner, dict) else inner for inner in given]
            return "".join(text for text in texts if isinstance(text, str))
    return ""


def join_reasoning_list(pieces: Any) -> str:
    """The texts of a list of pieces of reasoning, by their index; encrypted ones have none."""
    if not isinstance(pieces, list):
        return ""
    found = [piece for piece in pieces if isinstance(piece, dict)]
    if all(type(piece.get("index")) is int for piece in found):
        found.sort(key=lambda piece: piece["index"])
    texts = (piece.get("text") or piece.get("summary") for piece in found)
    return "".join(text for text in texts if isinstance(text, str))


def read_reasoning_fields(message: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first field that holds reasoning, and its text; None where none does."""
    for name in REASONING_FIELDS:
        given = message.get(name)
        if isinstance(given, str) and given:
            return name, given
    listed = join_reasoning_list(message.get(REASONING_LIST))
    return (REASONING_LIST, listed) if listed else None


def split_think_block(text: str, asked: str) -> ThinkBlock | None:
    """The block of reasoning at the text's beginning; None where there is none.

    Where the template opens the block itself, only its end stands in the text: exactly one, with no beginning. Marks
    that the request holds too (`asked`) are spoken about, and end nothing that they did not begin.
    """
    if not any(sign in text for sign in _MARK_SIGNS):
        return None
    start = len(text) - len(text.lstrip())
    for opening, closing in _THINK_MARKS:
        if text.startswith(opening, start):
            inside, closed, rest = text[start + len(opening) :].partition(closing)
            return ThinkBlock(text=rest, reasoning=inside, opened=True, closed=bool(closed))
        if closing in text and opening not in text and text.count(closing) == 1 and closing not in asked:
            inside, _, rest = text.partition(closing)
            return ThinkBlock(text=rest, reasoning=inside, opened=False, closed=True)
    return None


def holds_think_mark(text: str) -> bool:
    """Whether a mark of reasoning stands anywhere in a text: without one `split_think_block` finds nothing."""
    # One sign is looked for far faster than a word, and most texts have none of these.
    return any(sign in text for sign in (">", "]", "▷")) and any(end in text for end in _THINK_ENDS)


def find_leak(text: str, asked: str) -> str | None:
    """The first mark of a chat template in a text that the request does not hold as well."""
    if text.startswith(_CHANNEL_LEAK[0]) and _CHANNEL_LEAK[1] in text:
        return _CHANNEL_LEAK[1]
    if "<" not in text and "[" not in text:
        return None
    return next((mark for mark in _LEAKS.findall(text) if mark.strip() not in asked), None)
