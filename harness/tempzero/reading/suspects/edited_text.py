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


def _suspect(name: str, family: str, words: str, edit: Callable[[str], str], **how: bool) -> RequestSuspect:
    return RequestSuspect(name=name, family=family, words=words, change=_edit_messages(edit, **how))


EDITED_TEXT = (
    _suspect("lower-case", "case", "all messages are put in lower case", str.lower),
    _suspect("lower-case-user", "case", "the user's messages are put in lower case", str.lower, users_only=True),
    _suspect("upper-case", "upper case", "all messages are put in capitals", str.upper),
    _suspect("first-capital", "first capital", "messages are made to begin with a capital", _capitalise_first),
    _suspect("trimmed", "blanks", "blanks at the ends of messages are cut off", str.strip),
    _suspect("one-blank", "blanks", "runs of blanks become one", lambda t: re.sub(r"[ \t]+", " ", t)),
    _suspect("one-line", "blanks", "line breaks and runs of blanks become one blank", lambda t: " ".join(t.split())),
    _suspect("no-empty-lines", "blanks", "empty lines are left out", lambda t: re.sub(r"\n\s*\n+", "\n", t)),
    _suspect("nfkc", "Unicode form", "messages are put in Unicode form NFKC", _to_nfkc),
    _suspect("nfd", "Unicode form", "messages are put in Unicode form NFD", _to_nfd),
    _suspect("ascii", "ASCII only", "accents and all that is not ASCII are taken out of messages", _drop_marks),
    _suspect("quotes", "quotes", "curly quotes in messages become straight", lambda t: t.translate(_STRAIGHT_QUOTES)),
    _suspect("no-markup", "markup", "marks in angle brackets are taken out", _drop_marks_in_brackets),
    _suspect("trailing-newline", "line break added", "a line break is added to messages", lambda t: t + "\n"),
)
