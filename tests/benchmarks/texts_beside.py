"""Texts of a host and of the reference in, what comparing them says out: exact match, and permutation tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tempzero import stats
from tempzero.attribute.reader_tables import ReaderTable, ResponseLane
from tempzero.stats.kernels import prefix_kernel


@dataclass(frozen=True, kw_only=True)
class Texts:
    """How often each text came of one prompt, a row for the reference and one for the host, and how alike texts are."""

    counts: NDArray[np.int64]
    kernel: NDArray[np.float64]


def compare_texts(table: ReaderTable, lane: ResponseLane, reference: ResponseLane) -> dict[int, Texts]:
    found = {}
    for prompt in np.unique(lane.prompt).tolist():
        sides = [
            [a.text for a, p in zip(one.answers, one.prompt.tolist(), strict=True) if p == prompt and a is not None]
            for one in (reference, lane)
        ]
        if min(map(len, sides)):
            sides[0] = (sides[0] * len(sides[1]))[: max(2, len(sides[1]))]  # the reference repeats itself
            sides[1] = (sides[1] * 2)[: max(2, len(sides[1]))]
            texts = sorted({t for side in sides for t in side})
            counts = np.array([[side.count(t) for t in texts] for side in sides], np.int64)
            found[prompt] = Texts(counts=counts, kernel=prefix_kernel(texts))
    return found


def test_texts(texts: Sequence[Texts]) -> dict[str, bool]:
    plain = stats.one_hot_permutation([t.counts for t in texts], permutations=199)
    prefix = stats.mmd_permutation([t.counts for t in texts], [t.kernel for t in texts], permutations=199)
    differs = any(t.counts.shape[1] > 1 for t in texts)
    return {"exact": differs, "D": plain.p_value <= 0.05, "MMD": prefix.p_value <= 0.05}


def find_lane(table: ReaderTable, name: str, like: ResponseLane) -> ResponseLane:
    return next(one for one in table.lanes if (one.provider, one.condition) == (name, like.condition))
