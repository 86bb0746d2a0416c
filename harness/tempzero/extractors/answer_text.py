"""A response text in, the part that can hold the answer out: no thinking, no typesetting."""

from __future__ import annotations

import re

MAX_CHARS = 100_000
"""A longer answer is not read at all: no answer, and bounded work on hostile text."""

_THINKING_ENDS = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_THINKING_STARTS = re.compile(r"<think(?:ing)?>", re.IGNORECASE)

_LATEX_SPACE = re.compile(r"\\[,;:! ]|\\q?quad\b|~")
_LATEX_FENCE = re.compile(r"\\[()\[\]]|\$")
_MINUS_DOLLAR = re.compile(r"([-−])\$(?=[\d.])")
_LATEX_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|operatorname|bold|emph)\s*\{([^{}]*)\}")
_LATEX_FRACTION = re.compile(r"\\[dtc]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_LATEX_SIGNS = (
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"(?<=\d)\\[,!](?=\d{3})"), "\u2009"),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\\times\b"), "×"),
    (re.compile(r"\\cdot\b"), "·"),
    (re.compile(r"\\div\b"), "÷"),
    (re.compile(r"\\approx\b"), "≈"),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ\b)"), "°"),
)
# Bold, code and heading marks. A single asterisk stays: it may multiply.
_MARKS = re.compile(r"\*\*|__|`|^[ \t]{0,3}>[ \t]?|^[ \t]{0,3}#{1,6}[ \t]", re.MULTILINE)
_EMPHASIS = re.compile(r"(?<![\w*])\*([^*\s](?:[^*\n]{0,200}[^*\s])?)\*(?![\w*])")
_ABBREVIATIONS = re.compile(r"\b(approx|ca|i\.e|e\.g|viz|resp)\.", re.IGNORECASE)


def strip_thinking(text: str) -> str | None:
    """The text behind a `<think>` block; None if thinking never ended, or the text is too long to read."""
    ends = [match.end() for match in _THINKING_ENDS.finditer(text)]
    answer = text[ends[-1] :] if ends else text
    unfinished = _THINKING_STARTS.search(answer)
    if unfinished:
        answer = answer[: unfinished.start()]
        if not answer.strip():
            return None
    return answer if len(answer) <= MAX_CHARS else None


def to_plain_text(text: str) -> str:
    """The text without bold, code and LaTeX marks; a mark becomes a space, so nothing grows together."""
    text = _MINUS_DOLLAR.sub(r"\1", text.replace("\\$", "$"))
    text = _LATEX_FENCE.sub(" ", text)
    for pattern, sign in _LATEX_SIGNS:
        text = pattern.sub(sign, text)
    text = _LATEX_TEXT.sub(r" \1 ", text)
    text = _LATEX_FRACTION.sub(_spell_fraction, text)
    text = _LATEX_SPACE.sub(" ", text)
    text = _EMPHASIS.sub(r" \1 ", _MARKS.sub(" ", text))
    return _ABBREVIATIONS.sub(r"\1", text.replace("’", "'"))


def _spell_fraction(match: re.Match[str]) -> str:
    top, bottom = (part.strip() for part in match.groups())
    # Anything but two whole numbers keeps its brackets, and is thereby no plain number.
    return f" {top}/{bottom}" if top.isdecimal() and bottom.isdecimal() else f"({top})/({bottom})"


def last_line(text: str) -> str:
    """The last line that is not blank, stripped; empty if there is none."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
