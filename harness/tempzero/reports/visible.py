"""Text from outside in, the same text out without characters that act on a terminal, a page or the reader's eye."""

from __future__ import annotations

import unicodedata

# Emoji sequences and several scripts are spelt with the joiners; they hide nothing by themselves.
_KEPT = "\n\t\u200c\u200d"
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


class _Shown(dict[int, str]):
    """Code point -> what is shown for it; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        hidden = char not in _KEPT and unicodedata.category(char) in _HIDDEN
        self[code] = shown = f"⟨U+{code:04X}⟩" if hidden else char
        return shown


_SHOWN = _Shown()


def make_visible(text: str) -> str:
    """Control, formatting and surrogate characters become their codes, `⟨U+202E⟩`; newline and tab stay."""
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_SHOWN)


def to_one_line(text: str) -> str:
    """`visible`, and newlines and tabs become signs too."""
    return make_visible(text).replace("\n", "↵").replace("\t", "⟨U+0009⟩")


def shorten_text(text: str, limit: int) -> str:
    """At most `limit` characters of `text`; what was left out is said."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… (+{len(text) - limit} characters)"
