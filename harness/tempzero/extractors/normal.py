"""A text in any script in, the form it is compared in out: NFKC, casefolded, without marks that may be left out."""

from __future__ import annotations

import re
import unicodedata

# Arabic vowel signs and tatweel, Hebrew points, and what has no shape of its own.
_LEFT_OUT = re.compile(
    r"[\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]"
)
# Letters that keyboards of neighbouring languages put in the place of one another.
_VARIANTS = str.maketrans({
    "أ": "ا", "إ": "ا", "آ": "ا", "ٱ": "ا", "ى": "ي", "ی": "ي", "ک": "ك", "ة": "ه", "ۀ": "ه",
    "’": "'", "ʼ": "'", "‘": "'", "`": "'", "‐": "-", "‑": "-", "–": "-",
    "ё": "е", "ς": "σ",
})  # fmt: skip


def normalise_text(text: str) -> str:
    """The text as it is compared: canonical composition, one case, one width, digits of all scripts as 0 to 9."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    folded = _LEFT_OUT.sub("", unicodedata.normalize("NFKC", folded)).translate(_VARIANTS)
    return " ".join("".join(map(_to_latin_digit, folded)).split())


def _to_latin_digit(character: str) -> str:
    return str(unicodedata.decimal(character)) if character.isdecimal() and not character.isascii() else character
