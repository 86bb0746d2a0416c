"""Responses of which some were cut at their token limit in, the ones that count as the same output out.

A cut text is real evidence up to the cut: where it is the beginning of another response, no
divergence was seen between the two; where it is not, they diverged before the cut. Two texts cut
after the same number of tokens are both as long as they could be: where they differ they have
diverged, also where one begins the other (" I" and " It", one token each). So "is the beginning of"
speaks for two cut texts only where their limits differ or are not known. It is no equivalence
either ("ab" cut begins both "abc" and "abd"), so counting needs a rule:

    a cut response counts as the commonest longer response that it is the beginning of
    (the same text, whole, included), among the responses that are being compared.

So two responses that visibly differ never count as one, a cut one counts as different only where
those that it could have become differ among themselves, and outputs can be counted instead of
compared in pairs. A whole text that is the beginning of another did end there: that is divergence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tempzero.metrics.agreement import Counts, Ints

LIMIT_NOT_KNOWN = -1
"""Stands where nobody recorded after how many tokens a text was cut, or where several numbers were recorded."""


def find_continuations(length: Ints, cut: NDArray[np.bool_], shared: Ints, limit: Ints) -> dict[int, Ints]:
    """For each cut text that begins another one of its cell, and may go on as that one: the numbers of those.

    Texts are numbered in sorted order within their cell (a cut one before the same text whole);
    `shared` counts the characters a text shares with the one before it, −1 at the first of a cell.
    `limit` is the number of tokens after which a text was cut.
    """
    begins_next = np.zeros(length.size, dtype=bool)
    begins_next[:-1] = cut[:-1] & (shared[1:] >= length[:-1])
    found = {}
    for text in np.flatnonzero(begins_next).tolist():
        end = text + 1
        while end < length.size and shared[end] >= length[text]:
            end += 1
        longer = np.arange(text + 1, end)
        longer = longer[~were_cut_alike(np.full(longer.size, text), longer, cut, limit)]
        if longer.size:
            found[text] = longer
    return found


def were_cut_alike(left: Ints, right: Ints, cut: NDArray[np.bool_], limit: Ints) -> NDArray[np.bool_]:
    """Whether two texts were both cut, after the same number of tokens: then any difference is divergence."""
    alike = cut[left] & cut[right] & (limit[left] == limit[right]) & (limit[left] != LIMIT_NOT_KNOWN)
    return np.asarray(alike, dtype=np.bool_)


def settle_cuts(sides: Sequence[Counts], longer: Mapping[int, Ints]) -> dict[tuple[int, int], int]:
    """Which (cell, output) counts as which other output when these sides are compared, all segments taken together.

    Empty where nothing was cut. Ties go to the smallest number, that is to the text that sorts first.
    """
    if not longer:
        return {}
    cell = np.concatenate([s.cell for s in sides])
    output = np.concatenate([s.output for s in sides])
    amount = np.concatenate([s.count for s in sides])
    touched = np.unique(cell[np.isin(output, np.fromiter(longer, dtype=np.int64))])
    rows = np.flatnonzero(np.isin(cell, touched))
    rows = rows[np.lexsort((output[rows], cell[rows]))]
    starts = np.flatnonzero(np.diff(cell[rows], prepend=-1))
    new: dict[tuple[int, int], int] = {}
    for start, end in pairwise([*starts.tolist(), rows.size]):
        inside = rows[start:end]
        settled = _settle_cell(output[inside].tolist(), amount[inside].tolist(), longer)
        new |= {(int(cell[inside[0]]), old): text for old, text in settled.items()}
    return new


def _settle_cell(outputs: list[int], amounts: list[int], longer: Mapping[int, Ints]) -> dict[int, int]:
    total: dict[int, int] = {}
    for output, amount in zip(outputs, amounts, strict=True):
        total[output] = total.get(output, 0) + amount
    counts_as: dict[int, int] = {}
    # Longer texts sort after their beginnings, so whatever a text may become is settled before it.
    for text in sorted((t for t in total if t in longer), reverse=True):
        goes_on_as = set(longer[text].tolist())
        # What a longer text counts as may have been cut where this one was, and so be no continuation of it.
        possible = {counts_as.get(t, t) for t in goes_on_as if t in total} & goes_on_as
        if possible:
            chosen = min(possible, key=lambda t: (-total[t], t))
            counts_as[text] = chosen
            total[chosen] += total[text]
    return counts_as
