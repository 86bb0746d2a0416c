"""How responses end in, those that were cut short out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tempzero.attribute.reader_tables import ReaderTable, ResponseLane
from tempzero.types.asked import Trial

# An end is negligible where the reference gives it this log-probability or less (one in 8,000), and this margin.
NEGLIGIBLE_LOGPROB, NEGLIGIBLE_MARGIN = -9.0, 6.0
# Re-tokenized text may count a few tokens fewer than the provider's limit was.
_COUNTED_BY_PROVIDER, _COUNTED_HERE = 0.95, 0.75


def find_improbable_ends(table: ReaderTable, lane: ResponseLane) -> tuple[Trial, ...]:
    """Responses that ended by themselves where the reference would hardly have."""
    tokens = table.tokens
    last = tokens.start[1:] - 1
    logprob = tokens.top[last] - tokens.margin[last]
    odd = (logprob <= NEGLIGIBLE_LOGPROB) & (tokens.margin[last] >= NEGLIGIBLE_MARGIN)
    ended = np.array([s.ended for s in lane.scored], dtype=np.bool_)
    return tuple(lane.trials[i] for i in np.flatnonzero(odd[lane.sequence] & ended))


def improbable_token_share(table: ReaderTable, lane: ResponseLane) -> float:
    """The share of all other tokens that are as improbable as such an end."""
    tokens = table.tokens
    odd = (tokens.top - tokens.margin <= NEGLIGIBLE_LOGPROB) & (tokens.margin >= NEGLIGIBLE_MARGIN)
    odd[tokens.start[1:] - 1] = False
    length = tokens.length[lane.sequence].sum()
    return float(tokens.sum_by_sequence(odd)[lane.sequence].sum() / length) if length else 0.0


def find_early_cuts(table: ReaderTable, lane: ResponseLane) -> tuple[Trial, ...]:
    """Responses that were cut at a token limit that is smaller than the one asked for."""
    return tuple(t for t, short in zip(lane.trials, _flag_early_cuts(table, lane), strict=True) if short)


def _flag_early_cuts(table: ReaderTable, lane: ResponseLane) -> Iterable[bool]:
    lengths = table.tokens.length[lane.sequence].tolist()
    for answer, length in zip(lane.answers, lengths, strict=True):
        if answer is None or not answer.cut or answer.max_tokens is None:
            yield False
        elif answer.completion_tokens is not None:
            yield answer.completion_tokens < _COUNTED_BY_PROVIDER * answer.max_tokens - 1
        else:
            yield length < _COUNTED_HERE * answer.max_tokens - 1
