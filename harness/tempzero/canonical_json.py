"""A value in, its one JSON text out: what digests are taken over and texts are compared by.

Equal values give equal texts, whatever order their keys came in. In every form keys are sorted, NaN and the infinities
are refused (ValueError: JSON has no form for them), and what JSON does not know is refused too (TypeError). The forms
differ in two flags. New uses take the first; the others stay because stored digests were taken over them, and with
another form a suite, plan or night of before would look changed.

| function                   | beyond ASCII  | after `,` and `:` | stands behind                                     |
|----------------------------|---------------|-------------------|---------------------------------------------------|
| `to_canonical_json`        | as it is      | nothing           | suites, imports, bodies of local engines, calls   |
| `to_ascii_canonical_json`  | escaped       | nothing           | plan digests                                      |
| `to_spaced_canonical_json` | escaped       | a space           | nights, judgements, calls in prompts, probe names |

Not canonical, on purpose: a request's body as it goes over the wire, and the tools in a prompt's digest. There the
order of keys is part of what a model sees.
"""

from __future__ import annotations

import json
from typing import Any

_encode_characters = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_encode_ascii = json.JSONEncoder(ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_encode_spaced = json.JSONEncoder(ensure_ascii=True, sort_keys=True, separators=(", ", ": "), allow_nan=False).encode


def to_canonical_json(value: Any) -> str:
    """Sorted keys, no spaces, characters as they are. Where they hold half of a surrogate pair, the ASCII form."""
    text = _encode_characters(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # has a form in JSON, but none in UTF-8, so no file can hold it unescaped
            return _encode_ascii(value)
    return text


def to_ascii_canonical_json(value: Any) -> str:
    """Sorted keys, no spaces, all characters beyond ASCII escaped."""
    return _encode_ascii(value)


def to_spaced_canonical_json(value: Any) -> str:
    """Sorted keys, a space after each comma and colon, all characters beyond ASCII escaped."""
    return _encode_spaced(value)
