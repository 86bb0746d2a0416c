"""Means and medians of a prompt's responses."""

from __future__ import annotations

import numpy as np
import pytest
from tempzero.metrics import cell_averages

CELL = np.array([2, 0, 0, 0, 0, 2, 3])
VALUES = np.array([5.0, 9.0, 1.0, 2.0, 100.0, 7.0, np.nan])


def test_the_mean_leaves_out_what_is_not_known() -> None:
    """A time that was not measured is not zero."""
    assert cell_averages.mean_by_cell(CELL, VALUES, cells=4) == pytest.approx([28, np.nan, 6, np.nan], nan_ok=True)


def test_the_median_of_an_even_number_is_the_middle_of_the_two() -> None:
    """One slow response must not move a prompt's latency."""
    assert cell_averages.median_by_cell(CELL, VALUES, cells=4) == pytest.approx([5.5, np.nan, 6, np.nan], nan_ok=True)
