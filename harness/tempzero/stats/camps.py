"""Which pairs of endpoints can be told apart in, the camps that cannot, and who stands outside of the largest, out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def find_camps(told_apart: NDArray[np.bool_], alikeness: NDArray[np.float64]) -> list[list[int]]:
    """Complete linkage: in a camp no two can be told apart. The most alike pairs join first; the largest camp first.

    Both arrays are symmetric, a row for each endpoint; of equal alikeness the earlier pair joins first.
    """
    size = len(told_apart)
    camp = np.arange(size)
    members: dict[int, list[int]] = {i: [i] for i in range(size)}
    rows, columns = np.triu_indices(size, 1)
    open_pairs = np.flatnonzero(~told_apart[rows, columns])
    order = open_pairs[np.argsort(-alikeness[rows[open_pairs], columns[open_pairs]], kind="stable")]
    for left, right in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        one, other = int(camp[left]), int(camp[right])
        if one == other or told_apart[np.ix_(members[one], members[other])].any():
            continue
        members[one] += members.pop(other)
        camp[members[one]] = one
    return sorted((sorted(m) for m in members.values()), key=lambda m: (-len(m), m))


def find_odd_ones(camps: Sequence[Sequence[int]], told_apart: NDArray[np.bool_]) -> list[int]:
    """Who differs from every member of a camp that holds more than half of the endpoints; nobody where none does."""
    most = list(camps[0]) if camps else []
    if 2 * len(most) <= len(told_apart):
        return []
    return [i for i in range(len(told_apart)) if i not in most and told_apart[i, most].all()]
