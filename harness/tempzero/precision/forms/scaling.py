"""Matrices in, the parts that share a scale out, and numbers rounded to what a small float can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tempzero.precision.forms.form import Matrix

Restore = Callable[[Matrix], Matrix]
_FLOAT32_MANTISSA, _FLOAT32_BIAS = 23, 127
SMALLEST_SCALE = np.float32(1e-30)  # a part of zeros has no scale of its own, and is not divided by zero


@dataclass(frozen=True, kw_only=True, slots=True)
class FloatFormat:
    """A float of few bits: what it keeps after the leading one, where it turns subnormal, where it ends."""

    mantissa_bits: int
    smallest_exponent: int
    largest: float


def round_to_float(numbers: Matrix, to: FloatFormat) -> Matrix:
    """The nearest numbers of the format, ties to even, what is too large at its end."""
    bits = np.ascontiguousarray(numbers, np.float32).view(np.int32)
    exponent = (bits >> _FLOAT32_MANTISSA & 0xFF) - _FLOAT32_BIAS
    np.maximum(exponent, to.smallest_exponent, out=exponent)
    exponent += _FLOAT32_BIAS - to.mantissa_bits
    step = (exponent << _FLOAT32_MANTISSA).view(np.float32)  # a power of two: dividing by it rounds nothing
    kept: Matrix = np.rint(numbers / step)
    kept *= step
    np.clip(kept, -to.largest, to.largest, out=kept)
    return kept


Sharing = Literal["matrix", "row", "block of 128"] | int
"""Which weights share a scale; a number: so many neighbours in a row."""


def split_matrix(matrix: Matrix, sharing: Sharing) -> tuple[Matrix, int | tuple[int, ...] | None, Restore]:
    """The matrix in parts that share a scale, the axes of one part, and the way back."""
    if sharing == "matrix":
        return matrix, None, lambda parts: parts
    if sharing == "row":
        return matrix, 1, lambda parts: parts
    if sharing == "block of 128":
        blocks, restore = _split_blocks(matrix, 128)
        return blocks, (1, 3), restore
    groups, restore = split_groups(matrix, sharing)
    return groups, -1, restore


def round_to_scaled_floats(matrix: Matrix, *, to: FloatFormat, sharing: Sharing) -> Matrix:
    """Each part scaled so that its largest number is the format's largest."""
    parts, axis, restore = split_matrix(matrix, sharing)
    scale = find_peaks(parts, axis) / to.largest
    return restore(round_to_float(parts / scale, to) * scale)


def round_to_scaled_steps(matrix: Matrix, *, peak: float, lowest: int, highest: int, sharing: Sharing) -> Matrix:
    """Each part in whole steps, its largest number so many of them."""
    parts, axis, restore = split_matrix(matrix, sharing)
    return restore(_round_to_steps(parts, share_of_peaks(parts, peak, axis), lowest, highest))


def round_with_zero(matrix: Matrix, *, sharing: Sharing) -> Matrix:
    """Each part in the sixteen steps of `find_steps_with_zero`."""
    parts, axis, restore = split_matrix(matrix, sharing)
    scale, zero = find_steps_with_zero(parts, axis)
    return restore(round_to_shifted_steps(parts, scale, zero))


def find_steps_with_zero(parts: Matrix, axis: int | tuple[int, ...] | None = -1) -> tuple[Matrix, Matrix]:
    """Sixteen steps from the lowest number of each part to the highest, and which of them is zero."""
    low = np.minimum(parts.min(axis=axis, keepdims=True), 0)
    high = np.maximum(parts.max(axis=axis, keepdims=True), 0)
    scale: Matrix = (np.maximum(high - low, SMALLEST_SCALE) / 15).astype(np.float32)
    return scale, np.rint(-low / scale)


def round_to_shifted_steps(numbers: Matrix, scale: Matrix, zero: Matrix) -> Matrix:
    """The nearest of sixteen steps."""
    kept: Matrix = ((np.clip(np.rint(numbers / scale) + zero, 0, 15) - zero) * scale).astype(np.float32)
    return kept


def _round_to_steps(numbers: Matrix, scale: Matrix, lowest: int, highest: int) -> Matrix:
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


def _split_blocks(matrix: Matrix, size: int) -> tuple[Matrix, Restore]:
    """Square blocks, (row blocks, size, column blocks, size), and the way back. Blocks at the edge end in zeros."""
    rows, columns = matrix.shape
    padded = np.pad(matrix, ((0, -rows % size), (0, -columns % size)))
    height, width = padded.shape

    def restore(blocks: Matrix) -> Matrix:
        return blocks.reshape(height, width)[:rows, :columns]

    return padded.reshape(height // size, size, width // size, size), restore
