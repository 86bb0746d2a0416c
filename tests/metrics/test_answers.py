"""What a prompt's answers come to, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from tempzero.metrics import answers

CELL = np.array([0, 0, 0, 1, 1, 1, 2, 2])
CORRECT = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0])


def test_accuracy_is_the_share_of_correct_repeats() -> None:
    """Each prompt weighs the same later, however many repeats it has."""
    assert answers.accuracy(CELL, CORRECT, cells=4) == pytest.approx([2 / 3, 0, 1, np.nan], nan_ok=True)


def test_best_and_worst_need_all_k_repeats() -> None:
    """More repeats make the best better and the worst worse, so both are for a given k."""
    assert answers.best_accuracy(CELL, CORRECT, 3, cells=4) == pytest.approx([1, 0, np.nan, np.nan], nan_ok=True)
    assert answers.worst_accuracy(CELL, CORRECT, 3, cells=4) == pytest.approx([0, 0, np.nan, np.nan], nan_ok=True)


def test_a_majority_is_more_than_half() -> None:
    """Half right is not right: a tie must not depend on which answer came first."""
    found = answers.majority_vote(np.array([2 / 3, 0.5, 1, np.nan]))
    assert found == pytest.approx([1, 0, 1, np.nan], nan_ok=True)


def test_flips_go_both_ways() -> None:
    """Correct to incorrect and back both count, which equal accuracies would hide."""
    found = answers.answer_flips(np.array([1.0, 0.0, 1.0, np.nan]), np.array([0.0, 1.0, 1.0, 1.0]))
    assert found == pytest.approx([1, 1, 0, np.nan], nan_ok=True)
