"""What a reference read and could not read in, how many of each provider's responses that were, and why, out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from tempzero.types.concluded import ReadCount
from tempzero.types.scored import Reading


def count_read_responses(reading: Reading) -> Iterator[ReadCount]:
    """A row for each reference, provider and condition with a response to read; none is silently missing."""
    read: Counter[tuple[str, str, str]] = Counter()
    reasons: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for scored in reading.scored:
        read[(scored.reference, scored.trial.provider, scored.trial.condition)] += 1
    for one in reading.unread:
        reasons[(one.reference, one.trial.provider, one.trial.condition)][one.reason] += 1
    for key in sorted({*read, *reasons}):
        unread = reasons.get(key, Counter())
        yield ReadCount(
            reference=key[0],
            provider=key[1],
            condition=key[2],
            read=read[key],
            responses=read[key] + sum(unread.values()),
            reasons=tuple(sorted(unread.items(), key=lambda pair: (-pair[1], pair[0]))),
        )
