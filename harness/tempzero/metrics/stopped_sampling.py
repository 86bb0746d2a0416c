"""Repeats of many prompts in, whether asking stopped at the first divergence out: agreement of such data is false.

Some experiments ask a prompt again only while its answers stay identical. What is left then agrees
perfectly, or diverges at its last repeat only, and TARr comes out far too high: the prompts that
reach k repeats are exactly those that did not diverge. All that such data can say is how many
prompts survived how many repeats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tempzero.metrics.agreement import Ints, mark_group_starts
from tempzero.types.vocabulary import Metric

# A repeat that was asked for and gave no output to compare.
NO_OUTPUT = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class StoppedSampling:
    """What stopped sampling leaves: `survivors[k-1]` prompts gave k repeats that were all identical.

    `short` prompts have fewer repeats than the `longest`.
    """

    prompts: int
    longest: int
    short: int
    survivors: tuple[int, ...]


SURVIVORS = Metric(
    name="survivors",
    unit="count",
    kinds=("repeat",),
    title="Prompts without divergence",
    definition="Where asking stopped at a prompt's first divergence, agreement rates of what is left are false and "
    "refused. What can be said is how many of the prompts (n) gave k repeats that were all the same.",
    source="counted",
    per_k=True,
    exact=True,
)


def detect_stopped_sampling(cell: Ints, repeat: Ints, output: Ints, *, cells: int) -> StoppedSampling | None:
    """One row for each trial: its prompt, its repeat (from 0) and its output. None when sampling did not stop so.

    It did when the number of repeats differs by prompt, no prompt with fewer of them lacks one in
    between, and none of these was asked again after its first divergence. Prompts that all lack
    just the last one of three or more repeats, without any divergence, are an interrupted run.
    """
    order = np.lexsort((repeat, cell))
    cell, repeat, output = cell[order], repeat[order], output[order]
    asked = np.bincount(cell, minlength=cells)
    position = _repeat_positions(cell)
    diverged = np.full(cells, cell.size)
    np.minimum.at(diverged, cell, np.where(_differs_from_first(cell, output), position, cell.size))
    longest = int(asked.max(initial=0))
    short = (asked > 0) & (asked < longest)
    gap = np.zeros(cells, dtype=bool)
    np.logical_or.at(gap, cell, repeat != position)
    again = diverged < asked - 1
    if not short.any() or (short & (gap | again)).any() or _is_interrupted(asked[short], diverged[short], longest):
        return None
    survivors = tuple(int(np.count_nonzero((asked >= k) & (diverged >= k))) for k in range(1, longest + 1))
    return StoppedSampling(
        prompts=int(np.count_nonzero(asked)), longest=longest, short=int(short.sum()), survivors=survivors
    )


def _is_interrupted(asked: Ints, diverged: Ints, longest: int) -> bool:
    return bool(longest >= 3 and (asked == longest - 1).all() and (diverged >= asked).all())


def _repeat_positions(cell: Ints) -> Ints:
    """0, 1, 2, ... within each cell of sorted rows."""
    first = np.flatnonzero(mark_group_starts(cell))
    lengths = np.diff(np.append(first, cell.size))
    return np.arange(cell.size) - np.repeat(first, lengths)


def _differs_from_first(cell: Ints, output: Ints) -> Ints:
    """1 where an output is not the first one that its cell has."""
    said = output != NO_OUTPUT
    found = np.full(int(cell.max(initial=0)) + 1, NO_OUTPUT, dtype=np.int64)
    # Written in reverse, so that the first of each cell is what stays.
    found[cell[said][::-1]] = output[said][::-1]
    return np.asarray(said & (output != found[cell]), dtype=np.int64)
