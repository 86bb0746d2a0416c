"""Displacements of several hosts from one reference in, which of them are moved alike out: no form is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tempzero.precision.displacement import Displacement, Matrix, centre_rows
from tempzero.precision.naming import LEAST_PROMPTS, count_shuffles_as_good
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


def compare_displacements(hosts: Mapping[str, Displacement]) -> tuple[SharedDisplacement, ...]:
    """Every pair with enough prompts in common. Hosts of one engine that round alike are alike, too."""
    found = []
    for first, second in combinations(sorted(hosts), 2):
        pair = _compare_pair(first, second, hosts[first].by, hosts[second].by)
        found += [pair] if pair is not None else []
    return tuple(found)


def _compare_pair(first: str, second: str, a: Matrix, b: Matrix) -> SharedDisplacement | None:
    both = ~(np.isnan(a) | np.isnan(b))
    left, right = (centre_rows(np.where(both, m, np.nan)) for m in (a, b))
    rows = np.flatnonzero((~np.isnan(left)).any(axis=1))
    if len(rows) < LEAST_PROMPTS:
        return None
    counts = both[rows].sum(axis=1)
    columns = np.argsort(~both[rows], axis=1, kind="stable")[:, : int(counts.max())]
    left, right = (np.nan_to_num(np.take_along_axis(m[rows], columns, axis=1)) for m in (left, right))
    sizes = [float(np.sqrt((m**2).sum())) for m in (left, right)]
    size = sizes[0] * sizes[1]
    correlation = float((left * right).sum()) / size if size else 1.0
    p = count_shuffles_as_good(left, [right], correlation)
    squares = ((left - right) ** 2).sum(axis=1)
    mean = float(squares.sum() / counts.sum())
    spread = float(np.sqrt(((squares - mean * counts) ** 2).sum() * len(rows) / (len(rows) - 1))) / float(counts.sum())
    return SharedDisplacement(
        first=first,
        second=second,
        prompts=len(rows),
        correlation=correlation,
        p=p,
        apart=float(np.sqrt(mean)),
        apart_bound=float(np.sqrt(mean + t_half_width(spread, len(rows) - 1, 0.10))),
        alike=p <= SHARED_ALPHA and correlation >= _ALIKE and max(sizes) <= _MOST_TIMES * min(sizes),
    )
