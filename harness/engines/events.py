"""The bytes of an event stream in, its events out, and whether a piece of it was content or only a sign of life.

Server-sent events as the standard has them: lines end at LF, CR LF or CR and nowhere else (U+2028 and
U+0085 are text), a blank line ends an event, comments and unknown fields say nothing, and an event
that the stream's end cuts is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

DONE = b"[DONE]"
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
# The first thing an event stream can hold: a comment or one of the standard's fields.
_OPENING = re.compile(rb"(?:\xef\xbb\xbf)?[\r\n]*(?::|(?:data|event|id|retry)[ \t]*[:\r\n])")
# A model's output, or its end: what a data line must hold to count as content. Empty strings are signs of life.
_OUTPUT = re.compile(rb'"(?:content|text|reasoning|reasoning_content|refusal|arguments)"\s*:\s*(?:"[^"]|\[\s*\{)')
_ENDING = re.compile(rb'"(?:finish_reason|error)"\s*:\s*(?:"[^"]|\{)')


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its data lines joined by LF, and its name where it has one."""

    data: bytes
    name: bytes = b""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """A whole stream. `rest` is what stood after the last blank line: an event that was cut."""

    events: tuple[Event, ...]
    rest: bytes


def looks_like_events(body: bytes) -> bool:
    """By its first bytes; what a server says of its own content type is not always so."""
    return _OPENING.match(body) is not None


def decode(body: bytes) -> Stream:
    """Events with data, in order. Never raises."""
    events: list[Event] = []
    data: list[bytes] = []
    name = b""
    at = len(_BOM) if body.startswith(_BOM) else 0
    whole = at
    for end in _LINE_END.finditer(body, at):
        line, at = body[at : end.start()], end.end()
        if line:
            field, value = _field(line)
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value
            continue
        if data:
            events.append(Event(b"\n".join(data), name))
        data, name, whole = [], b"", at
    return Stream(events=tuple(events), rest=_without_comments(body[whole:]))


class Pulse:
    """Fed with a response's pieces as they come, it knows which of them moved the answer on.

    In an event stream that is a data line with output, an error or an end; elsewhere whatever is not blank.
    """

    def __init__(self, *, streaming: bool) -> None:
        self._streaming = streaming
        self._line = bytearray()
        self.output = False  # has any of the model's own text come (event streams only)?
        self.done = False  # has the end mark of the stream come?

    def feed(self, piece: bytes) -> bool:
        """Did this piece bring content?"""
        if not self._streaming:
            return bool(piece) and not piece.isspace()
        content = False
        for line in self._lines(piece):
            field, value = _field(line)
            if field == b"data" and not self.done:
                self.done = value == DONE
                output = _OUTPUT.search(value) is not None
                self.output = self.output or output
                content = content or output or self.done or _ENDING.search(value) is not None
        return content

    def _lines(self, piece: bytes) -> Iterator[bytes]:
        if _LINE_END.search(piece) is None:
            self._line += piece
            return
        first, *lines = _LINE_END.split(piece)
        yield bytes(self._line + first)
        yield from lines[:-1]
        self._line = bytearray(lines[-1])


def _field(line: bytes) -> tuple[bytes, bytes]:
    """Name and value of a line; a comment has an empty name."""
    name, _, value = line.partition(b":")
    return name, value.removeprefix(b" ")


def _without_comments(rest: bytes) -> bytes:
    """What is left of a cut event once comments and blank lines, which say nothing, are gone."""
    return b"\n".join(line for line in _LINE_END.split(rest) if line and not line.startswith(b":"))
