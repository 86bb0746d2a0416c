"""Responses of which some were cut in, the ones that count as the same output out, by the rule of `cut_answers`.

Many cells at once: which texts a cut one begins is read from what sorted neighbours share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tempzero.answers.cut_answers import settle_cut_answers
from tempzero.metrics.agreement import Counts, Ints

LIMIT_NOT_KNOWN = -1
"""Stands where nobody recorded after how many tokens a text was cut, or where several numbers were recorded."""


def find_continuations(length: Ints, cut: NDArray[np.bool_], shared: Ints) -> dict[int, list[int]]:
    """For each cut text that begins another one of its cell: the numbers of those.

    Texts are numbered in sorted order within their cell (a cut one before the same text whole);
    `shared` counts the characters a text shares with the one before it, −1 at the first of a cell.
    """
    begins_next = np.zeros(length.size, dtype=bool)
    begins_next[:-1] = cut[:-1] & (shared[1:] >= length[:-1])
    found = {}
    for text in np.flatnonzero(begins_next).tolist():
        end = text + 1
        while end < length.size and shared[end] >= length[text]:
            end += 1
        found[text] = list(range(text + 1, end))
    return found


def were_cut_alike(left: Ints, right: Ints, cut: NDArray[np.bool_], limit: Ints) -> NDArray[np.bool_]:
    """Whether two texts were both cut, after the same number of tokens: then any difference is divergence."""
    alike = cut[left] & cut[right] & (limit[left] == limit[right]) & (limit[left] != LIMIT_NOT_KNOWN)
    return np.asarray(alike, dtype=np.bool_)


def settle_cuts(sides: Sequence[Counts], longer: Mapping[int, list[int]], limit: Ints) -> dict[tuple[int, int], int]:
    """Which (cell, output) counts as which other output when these sides are compared, all segments taken together.

    `limit` is the number of tokens after which a text was cut. Empty where nothing was cut. Ties go to the smallest
    number, that is to the text that sorts first.
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
        amounts: dict[int, int] = {}
        for text, number in zip(output[inside].tolist(), amount[inside].tolist(), strict=True):
            amounts[text] = amounts.get(text, 0) + number
        texts = np.fromiter(amounts, dtype=np.int64)
        known = texts[limit[texts] != LIMIT_NOT_KNOWN]
        limits = dict(zip(known.tolist(), limit[known].tolist(), strict=True))
        here = {text: longer[text] for text in amounts if text in longer}
        settled = settle_cut_answers(amounts, here, limits)
        new |= {(int(cell[inside[0]]), old): text for old, text in settled.items()}
    return new
