"""A sentence in any language of the suites in, whether it denies what it names out."""

from __future__ import annotations

import re

# "It is not Paris". Words of one language that mean something else in another (the Portuguese "a", "no") are left out.
NEGATIONS = re.compile(
    r"\b(?:not|never|neither|nor|isn't|wasn't|cannot|can't|unlike"
    r"|nicht|kein\w*|weder|pas|jamais|non|nunca|tampoco|jamás|não|nem|mai|né|niet|geen|inte|ikke|ej"
    r"|nie|не|ни|нет|değil|hayır|bukan|tidak|không|chẳng|δεν|όχι|μην|ليس|ليست|لا|لم|לא|אינו|אינה|नहीं|मत|si|sio|siyo)\b"
    r"|不|没|沒|非|ではな|でな|じゃな|ない|ません|아니|않|ไม่"
)
