"""Bytes that a server sent in, the JSON value they spell out."""

from __future__ import annotations

import json
from typing import Any

import msgspec


def parse_json_bytes(data: bytes) -> Any:
    """The value. Bytes that are not UTF-8 survive as surrogates, to be found where they matter.

    Raises ValueError or RecursionError where it is no JSON. The fast parser takes nothing that the other
    one would read differently; what it refuses (half a surrogate pair, NaN, a huge number) the other one reads.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return json.loads(data.decode("utf-8", errors="surrogateescape"))
