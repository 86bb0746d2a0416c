"""Correctness of responses in, what a prompt's answers come to out: a value for each cell, NaN where undefined."""

from __future__ import annotations

import numpy as np

from tempzero.metrics.agreement import Floats, Ints
from tempzero.metrics.cell_averages import mean_by_cell


def accuracy(cell: Ints, correct: Floats, *, cells: int) -> Floats:
    """Share of the repeats that are correct; an answer that could not be parsed is not."""
    return mean_by_cell(cell, correct, cells=cells)


def best_accuracy(cell: Ints, correct: Floats, k: int, *, cells: int) -> Floats:
    """1 where any of the k repeats is correct (best possible accuracy, Atil et al.); NaN where there are not k."""
    found = np.zeros(cells)
    np.maximum.at(found, cell, correct)
    return np.where(np.bincount(cell, minlength=cells) == k, found, np.nan)


def worst_accuracy(cell: Ints, correct: Floats, k: int, *, cells: int) -> Floats:
    """1 where all of the k repeats are correct (worst possible accuracy, Atil et al.); NaN where there are not k."""
    found = np.ones(cells)
    np.minimum.at(found, cell, correct)
    return np.where(np.bincount(cell, minlength=cells) == k, found, np.nan)


def majority_vote(share_of_repeats: Floats) -> Floats:
    """1 where more than half of a prompt's repeats are so, else 0: what McNemar and %flips count."""
    return np.where(np.isnan(share_of_repeats), np.nan, share_of_repeats > 0.5)


def answer_flips(left: Floats, right: Floats) -> Floats:
    """1 where one side is correct and the other is not, either way (Dutta et al. 2024)."""
    return np.abs(left - right)
