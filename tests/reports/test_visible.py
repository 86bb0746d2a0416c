"""Text from outside is made harmless to look at, and stays legible."""

from __future__ import annotations

import sys

import pytest
from tempzero.reports.visible import make_visible, shorten_text, to_one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31m", "⟨U+001B⟩[31m"),
        ("a\x00b\x7f", "a⟨U+0000⟩b⟨U+007F⟩"),
        ("\u202eabc", "⟨U+202E⟩abc"),
        ("\r\u0085\u2028", "⟨U+000D⟩⟨U+0085⟩⟨U+2028⟩"),
        ("\ufeff\u200b", "⟨U+FEFF⟩⟨U+200B⟩"),
        ("line\n\tindented", "line\n\tindented"),
        ("👩\u200d👧 e\u0301 中文 עברית", "👩\u200d👧 e\u0301 中文 עברית"),
    ],
)
def test_what_acts_is_shown_as_its_code(text: str, shown: str) -> None:
    """Controls, direction marks and odd line ends become visible; scripts and emoji stay as they are."""
    assert make_visible(text) == shown


def test_any_character_can_be_written() -> None:
    """Whatever Unicode holds, lone surrogates included, the result is valid UTF-8 and one line."""
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    line = to_one_line(every)
    line.encode("utf-8")
    assert len(line.splitlines()) == 1


def test_shortening_says_what_is_missing() -> None:
    """A shortened text names the number of characters left out; a short one is untouched."""
    assert shorten_text("abcdef", 4) == "abcd… (+2 characters)"
    assert shorten_text("abcd", 4) == "abcd"
