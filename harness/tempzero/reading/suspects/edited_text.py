"""The words of the messages are edited on their way: case, blanks, quotes, the Unicode form, what is not ASCII."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace

from tempzero.reading.suspects.suspect import AskedPrompt, RequestSuspect

_STRAIGHT_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")


def _edit_messages(edit: Callable[[str], str], *, users_only: bool = False) -> Callable[[AskedPrompt], Sequence[int]]:
    def change(asked: AskedPrompt) -> Sequence[int]:
        edited = [
            replace(m, content=edit(m.content)) if m.role == "user" or not users_only else m for m in asked.messages
        ]
        return asked.render(edited) if tuple(edited) != asked.messages else asked.ids

    return change


def _drop_marks(text: str) -> str:
    """Letters without their accents; what is then not ASCII is left out."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _to_nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _to_nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def _drop_marks_in_brackets(text: str) -> str:
    return re.sub(r"<[^<>\n]{1,40}>", "", text)


def _capitalise_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def _suspect_edit(name: str, family: str, words: str, edit: Callable[[str], str]) -> tuple[RequestSuspect, ...]:
    """Of all messages, and of the user's only: what sanitises what users send leaves system messages as they are."""
    return (
        RequestSuspect(name=name, family=family, words=words, change=_edit_messages(edit)),
        RequestSuspect(
            name=f"{name}-user",
            family=family,
            words=f"{words} (the user's only)",
            change=_edit_messages(edit, users_only=True),
        ),
    )


EDITED_TEXT = (
    *_suspect_edit("lower-case", "case", "messages are put in lower case", str.lower),
    *_suspect_edit("upper-case", "upper case", "messages are put in capitals", str.upper),
    *_suspect_edit("first-capital", "first capital", "messages are made to begin with a capital", _capitalise_first),
    *_suspect_edit("trimmed", "blanks", "blanks at the ends of messages are cut off", str.strip),
    *_suspect_edit("one-blank", "blanks", "runs of blanks in messages become one", lambda t: re.sub(r"[ \t]+", " ", t)),
    *_suspect_edit(
        "one-line",
        "blanks",
        "line breaks and runs of blanks in messages become one blank",
        lambda t: " ".join(t.split()),
    ),
    *_suspect_edit(
        "no-empty-lines", "blanks", "empty lines of messages are left out", lambda t: re.sub(r"\n\s*\n+", "\n", t)
    ),
    *_suspect_edit("nfkc", "Unicode form", "messages are put in Unicode form NFKC", _to_nfkc),
    *_suspect_edit("nfd", "Unicode form", "messages are put in Unicode form NFD", _to_nfd),
    *_suspect_edit("ascii", "ASCII only", "accents and all that is not ASCII are taken out of messages", _drop_marks),
    *_suspect_edit(
        "quotes", "quotes", "curly quotes in messages become straight", lambda t: t.translate(_STRAIGHT_QUOTES)
    ),
    *_suspect_edit("no-markup", "markup", "marks in angle brackets are taken out of messages", _drop_marks_in_brackets),
    *_suspect_edit("trailing-newline", "line break added", "a line break is added to messages", lambda t: t + "\n"),
)
