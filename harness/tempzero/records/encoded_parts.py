"""Parts of records in, the bytes of them in a record's line out: for attempts that are put together of such parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder()

encode_part: Callable[[Any], bytes] = _ENCODER.encode
"""One part, or a plain value."""


encode_lines: Callable[[Sequence[Any]], bytes] = _ENCODER.encode_lines
"""Many at once, a line each."""


def make_row_encoder(names: Sequence[str]) -> Callable[[Iterable[Sequence[str]]], bytes]:
    """Encodes rows of texts as objects with these names, a line each; further texts of a row are left out."""
    number = len(names)
    try:
        row = msgspec.defstruct("Row", [(f"c{at}", str, msgspec.field(name=name)) for at, name in enumerate(names)])
    except ValueError:  # names that JSON has to escape
        return lambda rows: _ENCODER.encode_lines([dict(zip(names, cells, strict=False)) for cells in rows])
    return lambda rows: _ENCODER.encode_lines([row(*cells[:number]) for cells in rows])
