"""Matrices in, the parts that share a scale out, and numbers rounded to what a small float can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tempzero.precision.forms.form import Matrix

Restore = Callable[[Matrix], Matrix]
SMALLEST_SCALE = np.float32(1e-30)  # a part of zeros has no scale of its own, and is not divided by zero


@dataclass(frozen=True, kw_only=True, slots=True)
class FloatFormat:
    """A float of few bits: what it keeps after the leading one, where it turns subnormal, where it ends."""

    mantissa_bits: int
    smallest_exponent: int
    largest: float


def round_to_float(numbers: Matrix, to: FloatFormat) -> Matrix:
    """The nearest numbers of the format, ties to even, what is too large at its end."""
    _, exponent = np.frexp(numbers)
    step = np.maximum(exponent - 1, to.smallest_exponent) - to.mantissa_bits
    rounded = np.ldexp(np.rint(np.ldexp(numbers, -step)), step)
    kept: Matrix = np.clip(rounded, -to.largest, to.largest).astype(np.float32)
    return kept


def round_to_steps(numbers: Matrix, scale: Matrix, lowest: int, highest: int) -> Matrix:
    """The nearest whole multiples of the scale, from the lowest to the highest."""
    kept: Matrix = (np.clip(np.rint(numbers / scale), lowest, highest) * scale).astype(np.float32)
    return kept


def share_of_peaks(numbers: Matrix, share: float, axis: int | tuple[int, ...] | None = None) -> Matrix:
    """The largest size in each part over `share`: the scale at which the largest weight is so many steps."""
    scale: Matrix = (find_peaks(numbers, axis) / share).astype(np.float32)
    return scale


def find_peaks(numbers: Matrix, axis: int | tuple[int, ...] | None = None) -> Matrix:
    """The largest size in each part, never zero; axes are kept."""
    peaks: Matrix = np.maximum(np.abs(numbers).max(axis=axis, keepdims=True), SMALLEST_SCALE)
    return peaks


def split_groups(matrix: Matrix, size: int) -> tuple[Matrix, Restore]:
    """Each row in groups of neighbours, (rows, groups, size), and the way back. A short last group ends in zeros."""
    rows, columns = matrix.shape
    padded = np.pad(matrix, ((0, 0), (0, -columns % size)))

    def restore(groups: Matrix) -> Matrix:
        return groups.reshape(rows, -1)[:, :columns]

    return padded.reshape(rows, -1, size), restore


def split_blocks(matrix: Matrix, size: int) -> tuple[Matrix, Restore]:
    """Square blocks, (row blocks, size, column blocks, size), and the way back. Blocks at the edge end in zeros."""
    rows, columns = matrix.shape
    padded = np.pad(matrix, ((0, -rows % size), (0, -columns % size)))
    height, width = padded.shape

    def restore(blocks: Matrix) -> Matrix:
        return blocks.reshape(height, width)[:rows, :columns]

    return padded.reshape(height // size, size, width // size, size), restore
