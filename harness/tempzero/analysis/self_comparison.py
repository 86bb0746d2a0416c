"""A Tally in, whether the test of two providers would accuse this one of differing from itself out (A/A)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tempzero import stats
from tempzero.analysis.book import Book, Subject
from tempzero.analysis.pair_figures import permutations_needed
from tempzero.analysis.part_counts import NOT_SAID
from tempzero.analysis.tallies import Tally
from tempzero.metrics import agreement
from tempzero.metrics.agreement import Counts, Ints
from tempzero.types.concluded import Estimate
from tempzero.types.vocabulary import Metric

# As between two providers: each half of a prompt's repeats has to show its own noise.
_FEWEST_REPEATS = 4
# Where no repeat differs no deal of them does: the share is 0 by construction, whatever the test is worth.
NEVER_DIFFER = "cannot tell: its repeats never differ"
_TOO_FEW_REPEATS = "no prompt has four comparable responses"

AA_FALSE_ALARMS = Metric(
    name="aa_false_alarms",
    unit="share",
    kinds=("repeat",),
    title="False alarms against itself (A/A)",
    definition="The provider's own repeats are dealt into two halves at random, again and again, and the halves "
    "tested as if they were two providers. This is the share of deals at which the test says that the provider "
    "differs from itself, which is false every time: it has to be about 0.05 or less, or the findings of this run "
    "deserve less trust. Here n is the number of deals.",
    source="A/A test of the permutation test at 5 %; Clopper and Pearson 1934",
    one_means="the test always accuses the provider of differing from itself",
    undefined=_TOO_FEW_REPEATS,
)
HALVES_EXCESS = Metric(
    name="halves_excess",
    unit="share",
    kinds=("repeat",),
    title="Later repeats against earlier ones",
    definition="Excess divergence between the first and the second half of the provider's repeats: around zero where "
    "the provider stayed the same while it was asked. What the deals at random cannot see shows here. Prompts with "
    "four or more comparable repeats.",
    source="permutation test within prompts; its p-value stands with the method",
    one_means="each half repeats itself and never gives the other's texts",
    undefined=_TOO_FEW_REPEATS,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Halves:
    """The first half of a provider's repeats tested against the second; the test is still to be corrected."""

    tally: Tally
    test: stats.TestResult


def compare_halves(book: Book, tallies: Sequence[Tally], alpha: float) -> list[Halves]:
    """Enter both figures of every provider; the tests of those that have enough repeats."""
    found, drawn = [], permutations_needed(len(tallies), alpha)
    for tally in (t for t in tallies if t.stopped is None):
        subject = Subject(kind="repeat", left=tally.name, condition=tally.lane.condition)
        book.put(subject, AA_FALSE_ALARMS, _estimate_false_alarms(tally))
        first, second = _count_half(tally, 0), _count_half(tally, 1)
        test = stats.one_hot_permutation(agreement.build_count_tables(first, second), permutations=drawn)
        note = f"permutation p = {test.p_value:.2g}" if test.n else ""
        excess = agreement.excess_divergence(first, second)
        book.add(subject, HALVES_EXCESS, excess, estimate=stats.divergence_over_prompts, note=note)
        if test.n:
            found.append(Halves(tally=tally, test=test))
    return found


def _estimate_false_alarms(tally: Tally) -> Estimate:
    """Identities are taken together, as they are where two providers are compared."""
    counts = agreement.pool_segments(tally.own)
    several = np.bincount(counts.cell, counts.count, counts.cells) >= _FEWEST_REPEATS
    if several.any() and (np.bincount(counts.cell, minlength=counts.cells)[several] < 2).all():
        return Estimate(value=None, low=None, high=None, n=0, method=NEVER_DIFFER)
    starts = np.searchsorted(counts.cell, np.arange(1, counts.cells))
    return stats.aa_rejection_rate(np.split(counts.count, starts))


def _count_half(tally: Tally, which: int) -> Counts:
    """The earlier (0) or later (1) half of each prompt's comparable repeats; of an odd number the middle is left out.

    Prompts with fewer than four repeats are in neither.
    """
    lane = tally.lane
    rows = np.flatnonzero(tally.output != NOT_SAID)
    rows = rows[np.lexsort((lane.repeat[rows], lane.prompt[rows]))]
    cell = lane.prompt[rows]
    total = np.bincount(cell, minlength=len(tally.emr))[cell]
    place = _places_in_cell(cell)
    if which:
        place = total - 1 - place
    chosen = (place < total // 2) & (total >= _FEWEST_REPEATS)
    return agreement.count_outputs(cell[chosen], tally.output[rows][chosen], cells=len(tally.emr))


def _places_in_cell(cell: Ints) -> Ints:
    """0, 1, 2, ... within each cell of sorted rows."""
    first = np.flatnonzero(agreement.mark_group_starts(cell))
    return np.arange(cell.size) - np.repeat(first, np.diff(np.append(first, cell.size)))
