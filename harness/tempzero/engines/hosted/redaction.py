"""Bytes somebody sent back in, the same without our secrets out; where they cannot be cut out, that is said.

A server may echo a key as it was, encoded, escaped letter by letter, cut in pieces over the events of a
stream, or compressed. Plain and encoded spellings are replaced where they stand; a body that hides
the key in any other way, or that cannot be searched, is not kept.
"""

from __future__ import annotations

import base64
import contextlib
import html
import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from tempzero.engines.hosted.parsing import parse_json_bytes
from tempzero.engines.hosted.unpacking import is_packed, unpack_bytes

REDACTED = "[secret removed]"  # no word of it may be one that classification goes by
# Shorter ones are placeholders for servers that want some word; removing "none" would maim answers.
_SHORTEST_SECRET = 8
# So much of a key in one piece is worth hiding, whatever of it is starred out.
_TELLING_PIECE = 16
# Every such piece holds one of the blocks of half that length which the key falls into.
_BLOCK_CHARS = _TELLING_PIECE // 2
_JSON_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|(/))")
# Text fields, but for those that every chunk of a stream repeats whole.
_NOT_REPEATED_FIELD = rb"(?!(?:id|object|model|role|finish_reason|system_fingerprint|provider)\")"
_TEXT_FIELD = re.compile(rb'"' + _NOT_REPEATED_FIELD + rb'([A-Za-z_]{1,40}+)"\s*+:\s*+"((?:[^"\\]|\\.)*+)', re.DOTALL)
# How most lines of a stream begin: not a piece of a text field stands in it.
_SAME_HEAD = re.compile(
    rb'data: \{(?:"(?:(?:id|object|model|system_fingerprint|provider)": ?"[^"\\\r\n]*+"|created": ?\d++), ?)*+'
    rb'(?:"choices": ?\[\{(?:"index": ?\d++, ?)?+"delta": ?\{)?+'
)
# Something in a stream that has texts in a list, or bytes as numbers.
_LISTED = re.compile(
    rb'"(?:[A-Za-z_]{1,40})"\s*+:\s*+\[\s*+(?:\{\s*+"(?!(?:index|delta|finish_reason|logprobs)")|[0-9"])'
)
_LINE_OPENING = re.compile(rb"^[^\S\r\n]*+(?:data|event|id|retry)?+:[^\S\r\n]?+", re.MULTILINE)

Hidden = Literal["spelled", "unsearchable"]


class Secrets:
    """What must never be written down, in the spellings in which a server could echo it."""

    def __init__(self, values: Iterable[str]) -> None:
        self._values = tuple({v.encode() for v in values if len(v) >= _SHORTEST_SECRET})
        spelled = {spelling for value in self._values for spelling in _secret_spellings(value.decode())}
        self._spellings = tuple(sorted(spelled, key=len, reverse=True))
        self._pieces = {v[i : i + _TELLING_PIECE]: v for v in self._values for i in range(len(v) - _TELLING_PIECE + 1)}
        self._blocks = {
            v[i : i + _BLOCK_CHARS] for v in self._values for i in range(0, len(v) - _BLOCK_CHARS + 1, _BLOCK_CHARS)
        }

    def remove_from(self, data: bytes) -> tuple[bytes, bool]:
        """The bytes without any spelling, and whether there was one; half a key at the end goes as well."""
        found = False
        for spelling in self._spellings:
            if spelling in data:
                data, found = data.replace(spelling, REDACTED.encode()), True
        telling = self._pieces.items() if any(block in data for block in self._blocks) else ()
        for piece, value in telling:
            for _ in range(data.count(piece)):
                data, found = _cut_secret_run(data, piece, value), True
        for value in self._values:
            for length in range(len(value) - 1, _SHORTEST_SECRET - 1, -1):
                if data.endswith(value[:length]):
                    return data[:-length] + REDACTED.encode(), True
        return data, found

    def clean_header(self, name: str, value: str) -> tuple[str, bool]:
        """A header's value, fit to be kept, and whether anything was removed from it."""
        if any(v.decode().lower() in name for v in self._values):
            return "", True
        clean, found = self.remove_from(value.encode())
        return (REDACTED, True) if self.find_hidden(clean) else (clean.decode(), found)

    def find_hidden(self, body: bytes, *, coding: str = "identity", limit: int = 1 << 24) -> Hidden | None:
        """Whether bytes already cleaned still give the secret away once decoded, or cannot be decoded."""
        if not self._values:
            return None
        if is_packed(body) or (coding not in ("", "identity") and not _is_utf8(body)):
            unpacked = unpack_bytes(body, limit)
            # Nearly any bytes can be taken for bare deflate: where that was not said, they are something else.
            known = is_packed(body) or coding == "deflate"
            if not (known and unpacked.whole) or is_packed(unpacked.plain):
                return "unsearchable"
            body = unpacked.plain
            if self._is_in(body):
                return "spelled"
        return "spelled" if any(self._is_in(view) for view in _readable_views(body)) else None

    def _is_in(self, data: bytes) -> bool:
        return any(spelling in data for spelling in self._spellings)


def _cut_secret_run(data: bytes, piece: bytes, value: bytes) -> bytes:
    """The data without the first run that holds this piece of the value, as far as it agrees with it both ways."""
    start = data.find(piece)
    if start < 0:
        return data
    at, end = value.index(piece), start + len(piece)
    after = at + len(piece)
    while start and at and data[start - 1] == value[at - 1]:
        start, at = start - 1, at - 1
    while end < len(data) and after < len(value) and data[end] == value[after]:
        end, after = end + 1, after + 1
    return data[:start] + REDACTED.encode() + data[end:]


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _secret_spellings(secret: str) -> Iterator[bytes]:
    """Every encoding a server is known to put a text through before it quotes it."""
    raw = secret.encode()
    yield raw
    yield json.dumps(secret)[1:-1].encode()
    yield secret.replace("/", "\\/").encode()
    yield urllib.parse.quote(secret, safe="").encode()
    yield html.escape(secret).encode()
    yield secret.encode("utf-16-le")[:-1]  # either order of its bytes holds this
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    for before in range(3):  # base64 looks different at each of three offsets; its ends depend on the neighbours
        encoded = base64.b64encode(b"\0" * before + raw)
        inner = encoded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))


def _readable_views(body: bytes) -> Iterator[bytes]:
    """The body as a reader would see it: unescaped, and with the pieces of its text fields put together."""
    if b"\\" in body:
        yield _unescape_json(body)
    if b"%" in body:
        yield urllib.parse.unquote_to_bytes(body)
    if b"&" in body:
        yield html.unescape(body.decode(errors="replace")).encode(errors="replace")
    yield from _join_pieces(body)
    if b"data:" in body or body.startswith(b":"):
        pieces: dict[bytes, list[bytes]] = {}
        same = _SAME_HEAD.match(body)
        for name, text in _TEXT_FIELD.findall(body if same is None else body.replace(same[0], b"")):
            pieces.setdefault(name, []).append(text)
        for parts in pieces.values():
            yield _unescape_json(b"".join(parts))
        if not _has_only_objects(body):
            yield b"".join(_LINE_OPENING.sub(b"", body).split())  # cut over comment lines


def _join_pieces(body: bytes) -> Iterator[bytes]:
    """Texts that stand one after the other at one place of a list, put together: tokens of logprobs, parts of a
    content, calls; and numbers, which may be the bytes of a text."""
    if body.lstrip()[:1] == b"{":
        events = [body]
    elif _LISTED.search(body):
        events = [line.partition(b":")[2] for line in body.split(b"\n") if line.startswith(b"data:")]
    else:
        return
    found: dict[tuple[str, ...], list[str]] = {}
    for event in events:
        with contextlib.suppress(ValueError, RecursionError):
            _gather_pieces(parse_json_bytes(event), (), found)
    for texts in found.values():
        if len(texts) > 1 or len(texts[0]) >= _SHORTEST_SECRET:
            yield "".join(texts).encode(errors="replace")


def _gather_pieces(value: Any, at: tuple[str, ...], found: dict[tuple[str, ...], list[str]]) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _gather_pieces(inner, (*at, name), found)
    elif isinstance(value, list):
        if value and all(type(one) is int and 0 <= one < 0x110000 for one in value):
            found.setdefault((*at, "[]"), []).append("".join(map(chr, value)))
            return
        for inner in value:
            _gather_pieces(inner, (*at, "[]"), found)
    elif isinstance(value, str):
        found.setdefault(at, []).append(value)


def _has_only_objects(body: bytes) -> bool:
    """A stream of nothing but objects on lines of their own: nothing can be cut in pieces over its lines."""
    body = body.removesuffix(b"data: [DONE]\n\n")
    lines = body.count(b"\n")
    framed = body.startswith(b"data: {") and body.endswith(b"}\n\n") and b"\r" not in body
    return framed and lines == 2 * body.count(b"}\n\ndata: {") + 2


def _unescape_json(data: bytes) -> bytes:
    """JSON's escapes undone; all others are left alone, a key holds none of what they stand for."""
    return _JSON_ESCAPE.sub(lambda m: chr(int(m[1], 16)).encode(errors="replace") if m[1] else b"/", data)
