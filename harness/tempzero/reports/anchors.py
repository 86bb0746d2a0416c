"""Names of prompts and providers in, fragment identifiers of a page out: no two alike, whatever the names hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_LONGEST = 60


def to_anchor(text: str) -> str:
    """A text as a fragment identifier: letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text[:_LONGEST]).strip("-").lower() or "item"


def number_anchors(prefix: str, names: Iterable[str]) -> Mapping[str, str]:
    """An identifier for each name; of several names that come to the same one the later ones are numbered."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        plain = anchor = f"{prefix}-{to_anchor(name)}"
        number = 1
        while anchor in taken:
            number += 1
            anchor = f"{plain}-{number}"
        taken.add(anchor)
        found[name] = anchor
    return found
