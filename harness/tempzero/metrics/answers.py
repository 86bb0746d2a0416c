"""Correctness of responses in, what a prompt's answers come to out: a value for each cell, NaN where undefined."""

from __future__ import annotations

import numpy as np

from tempzero.metrics.agreement import Floats, Ints
from tempzero.metrics.cell_averages import mean_by_cell
from tempzero.types.vocabulary import PAIR_KINDS, Metric

_NO_K_ANSWERS = "no prompt with an expected answer has k responses"


def accuracy(cell: Ints, correct: Floats, *, cells: int) -> Floats:
    """Share of the repeats that are correct; an answer that could not be parsed is not."""
    return mean_by_cell(cell, correct, cells=cells)


ACCURACY = Metric(
    name="accuracy",
    unit="share",
    kinds=("answers",),
    title="As expected (accuracy)",
    definition="Share of responses whose answer, read by the prompt's extractor, is the expected one. Unreadable "
    "answers count as not expected.",
    source="prompts with an expected answer",
    one_means="every response has the expected answer",
    undefined="no prompt with an expected answer was answered",
)
UNPARSED_SHARE = Metric(
    name="unparsed_share",
    unit="share",
    kinds=("answers",),
    title="Unreadable",
    definition="Share of responses in which the extractor found no answer.",
    source="prompts with an extractor",
    one_means="no response has a readable answer",
    undefined="no prompt with an extractor was answered",
)


def best_accuracy(cell: Ints, correct: Floats, k: int, *, cells: int) -> Floats:
    """1 where any of the k repeats is correct (best possible accuracy, Atil et al.); NaN where there are not k."""
    found = np.zeros(cells)
    np.maximum.at(found, cell, correct)
    return np.where(np.bincount(cell, minlength=cells) == k, found, np.nan)


BEST_ACCURACY = Metric(
    name="best_accuracy",
    unit="share",
    kinds=("repeat",),
    title="Best accuracy",
    definition="Share of prompts answered as expected in at least one repeat.",
    source="Atil et al., arXiv:2408.04667",
    one_means="every prompt is answered as expected at least once",
    per_k=True,
    undefined=_NO_K_ANSWERS,
)


def worst_accuracy(cell: Ints, correct: Floats, k: int, *, cells: int) -> Floats:
    """1 where all of the k repeats are correct (worst possible accuracy, Atil et al.); NaN where there are not k."""
    found = np.ones(cells)
    np.minimum.at(found, cell, correct)
    return np.where(np.bincount(cell, minlength=cells) == k, found, np.nan)


WORST_ACCURACY = Metric(
    name="worst_accuracy",
    unit="share",
    kinds=("repeat",),
    title="Worst accuracy",
    definition="Share of prompts answered as expected in every repeat.",
    source="Atil et al., arXiv:2408.04667",
    one_means="every prompt is answered as expected every time",
    per_k=True,
    undefined=_NO_K_ANSWERS,
)
ACCURACY_SPREAD = Metric(
    name="accuracy_spread",
    unit="share",
    kinds=("repeat",),
    title="Accuracy spread",
    definition="Best minus worst accuracy: how far the score depends on which repeat was taken.",
    source="Atil et al., arXiv:2408.04667",
    one_means="every prompt is answered as expected now and then, and none always",
    per_k=True,
    undefined=_NO_K_ANSWERS,
)


def majority_vote(share_of_repeats: Floats) -> Floats:
    """1 where more than half of a prompt's repeats are so, else 0: what McNemar and %flips count."""
    return np.where(np.isnan(share_of_repeats), np.nan, share_of_repeats > 0.5)


def answer_flips(left: Floats, right: Floats) -> Floats:
    """1 where one side is correct and the other is not, either way (Dutta et al. 2024)."""
    return np.abs(left - right)


FLIPS = Metric(
    name="flips",
    unit="share",
    kinds=PAIR_KINDS,
    title="Flips",
    definition="Share of prompts that one answers as expected and the other does not, in either direction.",
    source="Dutta et al. 2024 (%flips)",
    one_means="each prompt is answered as expected by exactly one of the two",
    undefined="no prompt with an expected answer was answered by both",
)
