"""A response in, the text of its last line "Answer: ..." out."""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.extractors.answer_text import last_line
from harness.extractors.claims import MAX_PHRASE_CHARS
from harness.extractors.extractor import Extractor, same_text

_LABEL = re.compile(
    r"^[ \t>#*_\-•]*(?:(?:the|my)[ \t]+)?(?:final[ \t]+)?answer[*_]{0,3}[ \t]*[:：][*_]{0,3}(?P<rest>[^\n]*)$",
    re.IGNORECASE | re.MULTILINE,
)
_BOX = re.compile(r"\$*\\boxed\{([^{}]*)\}\$*")
_TEXT = re.compile(r"\\text\{([^{}]*)\}")
# What a model repeats of the instruction: "Answer: <number>", "Answer: [your answer]", "Answer: ...".
_PLACEHOLDER = re.compile(r"<[^<>]*>|\[[^\[\]]*\]|\{[^{}]*\}|[.…_\s]*")
_QUOTES = (
    ('"', '"'),
    ("'", "'"),
    ("“", "”"),
    ("`", "`"),
    ("**", "**"),
    ("*", "*"),
    ("__", "__"),
    ("_", "_"),
    ("$", "$"),
)


def _read(text: str, _args: Mapping[str, str]) -> str | None:
    labels = list(_LABEL.finditer(text))
    if not labels:
        return None
    rest = labels[-1]["rest"]
    if len(rest) <= MAX_PHRASE_CHARS and not _bare(rest):
        below = text[labels[-1].end() :].strip()
        # Below its label only a last line of its own is the answer; anything longer is reasoning.
        rest = below if below and below == last_line(below) else ""
    answer = _bare(rest) if len(rest) <= MAX_PHRASE_CHARS else ""
    return None if _PLACEHOLDER.fullmatch(answer) else answer


def _bare(answer: str) -> str:
    """The answer without bold, quotes, a box, or the full stop that ends its sentence."""
    answer = " ".join(_TEXT.sub(r"\1", _BOX.sub(r"\1", answer)).split())
    previous = None
    while answer != previous:
        previous = answer
        answer = answer.strip().removesuffix("**").strip() if answer.count("**") % 2 else answer.strip()
        for opening, closing in _QUOTES:
            inner = answer[len(opening) : len(answer) - len(closing)]
            if (
                len(answer) > len(opening) + len(closing)
                and answer == opening + inner + closing
                and closing not in inner
            ):
                answer = inner
        if answer.endswith(".") and answer.count(".") == 1:
            answer = answer[:-1]
    return answer


def _can_state(expected: str, args: Mapping[str, str]) -> bool:
    answer = _read(f"Answer: {expected}", args)
    return answer is not None and same_text(answer, expected)


ANSWER_LINE = Extractor(name="answer_line", version=1, reader=_read, can_state=_can_state)
