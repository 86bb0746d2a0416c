"""A response in, the part that states its mathematical answer out, as typeset; comparing it is the judge's business."""

from __future__ import annotations

import re

from tempzero.extractors.answer_claims import read_boxes
from tempzero.extractors.answer_line import ANSWER_WORDS
from tempzero.extractors.extractor import Args, Extractor

_MAX_CHARS = 500
# "Answer: x + 1", "The final answer is $x + 1$.": up to the end of its line.
_STATED = re.compile(
    rf"(?:^[ \t>#*_]*(?:{ANSWER_WORDS})[*_]*[ \t]*[:：]|\b(?:final[ \t]+)?answer[ \t]+is\b[ \t]*:?)[*_]*"
    r"(?P<rest>[^\n]*)$",
    re.IGNORECASE | re.MULTILINE,
)
_DENIED = re.compile(r"\s*(?:not|wrong|incorrect)\b", re.IGNORECASE)
_FENCES = re.compile(r"^\s*(?:\$+|\\\(|\\\[|\*+)\s*|\s*(?:\$+|\\\)|\\\]|\*+)\s*$")


def _read_math(text: str, _args: Args) -> str | None:
    """What the boxes hold, else what the last answer line says; None where boxes hold different things."""
    boxes = {" ".join(box.split()) for box in read_boxes(text)}
    if boxes:
        return (boxes.pop() or None) if len(boxes) == 1 else None  # an empty box states nothing
    lines = [match["rest"] for match in _STATED.finditer(text)]
    if not lines or _DENIED.match(lines[-1]):
        return None
    return _strip_typesetting(lines[-1]) or None if len(lines[-1]) <= _MAX_CHARS else None


def _strip_typesetting(stated: str) -> str:
    """Without the marks that typeset it, and without the full stop of its sentence."""
    previous = ""
    while stated != previous:
        previous = stated
        stated = _FENCES.sub("", stated.strip().removesuffix(".")).strip()
    return stated


def _can_state_math(expected: str, _args: Args) -> bool:
    return bool(expected.strip()) and len(expected) <= _MAX_CHARS


MATH = Extractor(
    name="math",
    version=2,
    reader=_read_math,
    can_state=_can_state_math,
    judged="`pip install tempzero[math]`, then `tempzero report RUN`",
)
