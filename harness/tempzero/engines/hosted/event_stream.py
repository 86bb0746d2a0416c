"""The bytes of an event stream in, its events out, and whether a piece of it was content or only a sign of life.

Server-sent events as the standard has them: lines end at LF, CR LF or CR and nowhere else (U+2028 and
U+0085 are text), a blank line ends an event, comments and unknown fields say nothing, and an event
that the stream's end cuts is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

DONE_MARK = b"[DONE]"
_BOM = b"\xef\xbb\xbf"
# The first thing an event stream can hold: a comment or one of the standard's fields.
_STREAM_OPENING = re.compile(rb"(?:\xef\xbb\xbf)?[\r\n]*(?::|(?:data|event|id|retry)[ \t]*[:\r\n])")
# Nearly every stream holds nothing but such events: one data line each.
_PLAIN_EVENT = re.compile(rb"data: (.*+)\n\n")
_PLAIN_FRAME = len(b"data: \n\n")
# The name of a field: those of the standard, and others that are to be ignored, but no other spelling of data.
_FIELD_NAME = re.compile(rb"(?!(?i:data))[A-Za-z][A-Za-z0-9_-]{0,31}")
# A model's output, or its end: what a data line must hold to count as content. Empty strings are signs of life.
_OUTPUT_FIELD = re.compile(
    rb'"(?:content|text|reasoning|reasoning_content|thinking|refusal|arguments)"\s*:\s*(?:"[^"]|\[\s*\{)'
)
_ENDING_FIELD = re.compile(rb'"(?:finish_reason|error)"\s*:\s*(?:"[^"]|\{)')


class StreamEvent(NamedTuple):
    """One event: its data lines joined by LF, and its name where it has one."""

    data: bytes
    name: bytes = b""


@dataclass(frozen=True, kw_only=True, slots=True)
class EventStream:
    """A whole stream. `rest` is what stood after the last blank line: an event that was cut.

    `strange` is the first line that is neither field nor comment: a proxy's page, or a data line that lost
    its beginning. The standard skips such lines; a text with a hole in it is no answer.
    """

    events: tuple[StreamEvent, ...]
    rest: bytes
    strange: bytes | None = None


def is_event_stream(body: bytes) -> bool:
    """By its first bytes; what a server says of its own content type is not always so."""
    return _STREAM_OPENING.match(body) is not None


def decode_events(body: bytes) -> EventStream:
    """Events with data, in order. Never raises."""
    body = body.removeprefix(_BOM)
    plain = _PLAIN_EVENT.findall(body)
    # Nothing stands between them, and no line ends within them.
    if sum(map(len, plain)) + _PLAIN_FRAME * len(plain) == len(body) and b"\r" not in body:
        return EventStream(events=tuple(map(StreamEvent, plain)), rest=b"")
    events: list[StreamEvent] = []
    data: list[bytes] = []
    name = b""
    lines = _split_stream_lines(body)
    whole = 0
    ended = False
    strange: bytes | None = None
    for number, line in enumerate(lines, start=1):
        if line.startswith(b"data: "):
            data.append(line[6:])
            continue
        if line:
            field, value = _split_field(line)
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value
            elif field == b"error":  # llama.cpp's way to say what broke its stream
                data.append(value)
                name = field
            elif field and not _FIELD_NAME.fullmatch(field):
                strange = line if strange is None and not ended and number < len(lines) else strange
            continue
        if number == len(lines):
            break  # no blank line, but the nothing after the last line's end
        if data:
            events.append(StreamEvent(b"\n".join(data), name))
            ended = ended or data == [DONE_MARK]
        data, name, whole = [], b"", number
    return EventStream(events=tuple(events), rest=b"\n".join(_meaningful_lines(lines[whole:])), strange=strange)


class ContentWatch:
    """Fed with a response's pieces as they come, it knows which of them moved the answer on.

    In an event stream that is a data line with output, an error or an end; elsewhere whatever is not blank.
    """

    def __init__(self, *, streaming: bool) -> None:
        self._streaming = streaming
        self._line: list[bytes] = []
        self.output = False  # has any of the model's own text come (event streams only)?
        self.done = False  # has the end mark of the stream come?

    def feed(self, piece: bytes) -> bool:
        """Did this piece bring content?"""
        if not self._streaming:
            return bool(piece) and not piece.isspace()
        content = False
        if b"\n" not in piece and b"\r" not in piece:
            self._line.append(piece)  # joined once: a line without end must not cost its length each time
            return False
        *lines, rest = _split_stream_lines(b"".join([*self._line, piece]))
        self._line = [rest]
        for line in lines:
            if self.done or not line.startswith(b"data:"):
                continue
            value = line[6:] if line.startswith(b"data: ") else line[5:]
            if value == DONE_MARK:
                self.done = content = True
            elif self.output and content:
                continue  # all there is to know, but for the end mark
            elif _OUTPUT_FIELD.search(value):
                self.output = content = True
            elif not content and _ENDING_FIELD.search(value):
                content = True
        return content


def _split_stream_lines(data: bytes) -> list[bytes]:
    """At LF, CR LF and CR, and nowhere else; the last one has no end yet."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data.split(b"\n")


def _split_field(line: bytes) -> tuple[bytes, bytes]:
    """Name and value of a line; a comment has an empty name."""
    name, _, value = line.partition(b":")
    return name, value.removeprefix(b" ")


def _meaningful_lines(lines: list[bytes]) -> list[bytes]:
    """The lines of a cut event that say something: comments and blank ones do not."""
    return [line for line in lines if line and not line.startswith(b":")]
