"""Displacements of several hosts from one reference in, which of them are moved alike out: no form is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tempzero.precision.displacement import Displacement, Matrix, centre_rows
from tempzero.precision.naming import LEAST_PROMPTS
from tempzero.precision.packs import DirectionPack
from tempzero.precision.prompt_rows import SHUFFLES, SharedTokens, count_shuffles_as_good
from tempzero.stats.intervals import t_half_width

SHARED_ALPHA = 0.005
_ALIKE = 0.5
_MOST_TIMES = 2.0
"""One that is moved so many times as far as the other is moved by something else as well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedDisplacement:
    """Two hosts: how far they are moved the same way.

    `alike` where chance does not explain it, over half is shared, and neither is moved twice as far as the other.
    `apart`, the root mean square of their difference, with its upper bound, is what at most parts them.
    """

    first: str
    second: str
    prompts: int
    correlation: float
    p: float
    apart: float
    apart_bound: float
    alike: bool


def compare_displacements(pack: DirectionPack, hosts: Mapping[str, Displacement]) -> tuple[SharedDisplacement, ...]:
    """Every pair with enough prompts in common. Hosts of one engine that round alike are alike, too.

    What tokens are moved by in common wherever they stand makes nobody alike: it is taken off before chance is asked.
    """
    found = []
    for first, second in combinations(sorted(hosts), 2):
        pair = _compare_pair(pack, first, second, hosts[first].by, hosts[second].by)
        found += [pair] if pair is not None else []
    return tuple(found)


def _compare_pair(pack: DirectionPack, first: str, second: str, a: Matrix, b: Matrix) -> SharedDisplacement | None:
    both = ~(np.isnan(a) | np.isnan(b))
    left, right = (centre_rows(np.where(both, m, np.nan)) for m in (a, b))
    rows = pack.rows.find_common(left)
    known = pack.rows.pick(rows)
    if known.count() < LEAST_PROMPTS:
        return None
    columns = np.argsort(~both[rows], axis=1, kind="stable")[:, : int(both[rows].sum(axis=1).max())]
    there = np.take_along_axis(both[rows], columns, axis=1)
    left, right = (np.nan_to_num(np.take_along_axis(m[rows], columns, axis=1)) for m in (left, right))
    sizes = [float(np.sqrt((m**2).sum())) for m in (left, right)]
    correlation = _correlate_pair(left, right)
    tokens = np.array([place.token_ids for place in pack.places])[rows]
    shared = SharedTokens.find(np.take_along_axis(tokens, columns, axis=1), there, centred=True)
    own, other = shared.take_off(left), shared.take_off(right)
    p = count_shuffles_as_good(known, own, [other], _correlate_pair(own, other), SHUFFLES)
    squares, counts = (known.sum_by_prompt(v.sum(axis=1)) for v in ((left - right) ** 2, there.astype(float)))
    mean, prompts = float(squares.sum() / counts.sum()), len(counts)
    spread = float(np.sqrt(((squares - mean * counts) ** 2).sum() * prompts / (prompts - 1))) / float(counts.sum())
    return SharedDisplacement(
        first=first,
        second=second,
        prompts=prompts,
        correlation=correlation,
        p=p,
        apart=float(np.sqrt(mean)),
        apart_bound=float(np.sqrt(mean + t_half_width(spread, prompts - 1, 0.10))),
        alike=p <= SHARED_ALPHA and correlation >= _ALIKE and max(sizes) <= _MOST_TIMES * min(sizes),
    )


def _correlate_pair(one: Matrix, other: Matrix) -> float:
    """1 where neither is moved at all."""
    size = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / size if size else 1.0
