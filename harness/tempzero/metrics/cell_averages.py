"""Sizes or times of responses in, one value for each cell out; NaN where a cell has none."""

from __future__ import annotations

import numpy as np

from tempzero.metrics.agreement import Floats, Ints, divide_or_nan, sum_by_index


def mean_by_cell(cell: Ints, values: Floats, *, cells: int) -> Floats:
    """Mean over the responses of each cell that have a value (NaN: none)."""
    given = ~np.isnan(values)
    return divide_or_nan(sum_by_index(cell[given], values[given], cells), np.bincount(cell[given], minlength=cells))


def median_by_cell(cell: Ints, values: Floats, *, cells: int) -> Floats:
    """Median over the responses of each cell that have a value (NaN: none)."""
    given = ~np.isnan(values)
    cell, values = cell[given], values[given]
    order = np.lexsort((values, cell))
    values = values[order]
    number = np.bincount(cell, minlength=cells)
    start = np.cumsum(number) - number
    found = np.full(cells, np.nan)
    some = number > 0
    low, high = start[some] + (number[some] - 1) // 2, start[some] + number[some] // 2
    found[some] = (values[low] + values[high]) / 2
    return found
