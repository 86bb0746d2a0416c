"""Repeats of many prompts in, whether asking stopped at the first divergence out: agreement of such data is false.

Some experiments ask a prompt again only while its answers stay identical: the texts, or what is read
from them. What is left then agrees perfectly, or diverges at its last repeat only, and TARr comes out
far too high: the prompts that reach k repeats are exactly those that did not diverge. All that such
data can say is how many prompts survived how many repeats.

One prompt that was asked again after its first divergence disproves it, be it one of those with all
repeats. Where what asking stopped by is not known, agreement that rises with the number of repeats
is a sign of it: of the same prompts it can only fall.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tempzero.metrics.agreement import Ints, count_outputs, count_responses, mark_group_starts, total_agreement_rate
from tempzero.types.vocabulary import Metric

# A repeat that was asked for and gave no output to compare.
NO_OUTPUT = -1
# Agreement that rises by no more than this, or over fewer prompts, may do so by chance.
_LEAST_RISE = 0.05
_LEAST_PROMPTS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class StoppedSampling:
    """What stopped sampling leaves: `survivors[k-1]` prompts gave k repeats that were all identical.

    `short` prompts have fewer repeats than the `longest`. `by` says what asking went by.
    """

    prompts: int
    longest: int
    short: int
    survivors: tuple[int, ...]
    by: Literal["text", "answer"] = "text"

    @property
    def described(self) -> str:
        """Where asking stopped, in words."""
        return "at the first divergence" if self.by == "text" else "at the first other answer"


@dataclass(frozen=True, kw_only=True, slots=True)
class RisingAgreement:
    """TARr at few repeats, and at more of them of the fewer prompts that have those: higher, as it could not be."""

    few: int
    few_prompts: int
    few_rate: float
    many: int
    many_prompts: int
    many_rate: float


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
    between, and no prompt at all was asked again after its first divergence. Prompts that all lack
    just the last one of three or more repeats, without any divergence, are an interrupted run.
    """
    found = _follow_outputs(cell, repeat, output, cells)
    again = found.diverged < found.asked - 1
    if not found.short.any() or (found.short & found.gap).any() or again.any() or _is_interrupted(found):
        return None
    return _count_survivors(found)


def detect_stopped_by_answer(cell: Ints, repeat: Ints, answer: Ints, *, cells: int) -> StoppedSampling | None:
    """The same for answers that were read from the texts, NO_OUTPUT where none could be.

    Answers seldom differ, so silence is no sign here: most of the prompts with fewer repeats must end in
    the first answer that is another one.
    """
    found = _follow_outputs(cell, repeat, answer, cells)
    ended = found.short & (found.diverged == found.asked - 1)
    if (found.diverged < found.asked - 1).any() or (found.short & found.gap).any():
        return None
    if ended.sum() < 2 or 2 * ended.sum() < found.short.sum():
        return None
    return replace(_count_survivors(found), by="answer")


def detect_rising_agreement(cell: Ints, output: Ints, *, cells: int) -> RisingAgreement | None:
    """Whether TARr@k is clearly higher at a larger k than at 2, over the prompts that have so many repeats."""
    said = output != NO_OUTPUT
    counts = count_outputs(cell[said], output[said], cells=cells)
    number = count_responses(counts)
    sizes = [k for k in np.unique(number).tolist() if k >= 2 and np.count_nonzero(number >= k) >= _LEAST_PROMPTS]
    if len(sizes) < 2:
        return None
    rates = {k: float(np.nanmean(total_agreement_rate(counts, k))) for k in {2, *sizes}}
    many = max(sizes, key=lambda k: rates[k])
    if rates[many] - rates[2] <= _LEAST_RISE:
        return None
    prompts = {k: int(np.count_nonzero(number >= k)) for k in (2, many)}
    return RisingAgreement(
        few=2, few_prompts=prompts[2], few_rate=rates[2], many=many, many_prompts=prompts[many], many_rate=rates[many]
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Followed:
    """By prompt: how often it was asked, at which repeat it first diverged (beyond all: never), what is missing."""

    asked: Ints
    diverged: Ints
    short: NDArray[np.bool_]
    gap: NDArray[np.bool_]
    longest: int


def _follow_outputs(cell: Ints, repeat: Ints, output: Ints, cells: int) -> _Followed:
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
    return _Followed(asked=asked, diverged=diverged, short=short, gap=gap, longest=longest)


def _count_survivors(found: _Followed) -> StoppedSampling:
    asked, diverged = found.asked, found.diverged
    survivors = tuple(int(np.count_nonzero((asked >= k) & (diverged >= k))) for k in range(1, found.longest + 1))
    return StoppedSampling(
        prompts=int(np.count_nonzero(asked)), longest=found.longest, short=int(found.short.sum()), survivors=survivors
    )


def _is_interrupted(found: _Followed) -> bool:
    asked, diverged = found.asked[found.short], found.diverged[found.short]
    return bool(found.longest >= 3 and (asked == found.longest - 1).all() and (diverged >= asked).all())


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
