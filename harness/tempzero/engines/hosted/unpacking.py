"""Compressed bytes in, at most a bounded number of plain bytes out: to look into what was not asked for."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

_EITHER_HEADER, _NO_HEADER = 47, -15  # zlib's words for "gzip or zlib, find out" and for bare deflate
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_MOST_MEMBERS = 100  # a gzip file may hold several in a row


@dataclass(frozen=True, kw_only=True, slots=True)
class UnpackedBytes:
    """`plain` as far as it was read; `whole` only where that is to the end. `burst`: the limit was reached."""

    plain: bytes
    whole: bool
    burst: bool


def is_packed(body: bytes) -> bool:
    """By its first bytes, whatever its headers say."""
    return body.startswith((_GZIP, _ZSTD)) or (len(body) > 1 and body[0] == 0x78 and not int.from_bytes(body[:2]) % 31)


def unpack_bytes(body: bytes, limit: int) -> UnpackedBytes:
    """Undo gzip or deflate; anything else gives nothing. Never raises, never takes more memory than the limit."""
    with_header = _unpack_members(body, limit, _EITHER_HEADER)
    return with_header if with_header.plain else _unpack_members(body, limit, _NO_HEADER)


def _unpack_members(body: bytes, limit: int, form: int) -> UnpackedBytes:
    plain = bytearray()
    for _ in range(_MOST_MEMBERS):
        one = zlib.decompressobj(form)
        try:
            plain += one.decompress(body, limit + 1 - len(plain))
        except zlib.error:
            return UnpackedBytes(plain=bytes(plain), whole=False, burst=False)
        if len(plain) > limit:
            return UnpackedBytes(plain=bytes(plain[:limit]), whole=False, burst=True)
        body = one.unused_data
        if not one.eof or not body:
            return UnpackedBytes(plain=bytes(plain), whole=one.eof, burst=False)
    return UnpackedBytes(plain=bytes(plain), whole=False, burst=False)
