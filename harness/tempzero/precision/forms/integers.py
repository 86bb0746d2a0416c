"""Integers of eight and four bits, by how many weights share a scale, with and without a zero point."""

from __future__ import annotations

import functools

import numpy as np

from tempzero.precision.forms.form import Form, Matrix
from tempzero.precision.forms.scaling import SMALLEST_SCALE, round_to_steps, share_of_peaks, split_groups

_INT8, _INT4 = ("int8", "w8a16", "w8a8"), ("int4", "w4a16", "awq", "gptq")


def _round_int8_by_row(matrix: Matrix) -> Matrix:
    return round_to_steps(matrix, share_of_peaks(matrix, 127, axis=1), -127, 127)


def _round_int8_by_tensor(matrix: Matrix) -> Matrix:
    return round_to_steps(matrix, share_of_peaks(matrix, 127), -127, 127)


def _round_int8_in_groups(matrix: Matrix) -> Matrix:
    groups, restore = split_groups(matrix, 128)
    return restore(round_to_steps(groups, share_of_peaks(groups, 127, axis=-1), -127, 127))


def _round_int4_symmetric(matrix: Matrix, *, size: int) -> Matrix:
    """As GPTQ, AWQ and compressed-tensors lay the steps out: 16 of them over twice the largest size."""
    groups, restore = split_groups(matrix, size)
    return restore(round_to_steps(groups, share_of_peaks(groups, 7.5, axis=-1), -8, 7))


def _round_int4_asymmetric(matrix: Matrix, *, size: int) -> Matrix:
    groups, restore = split_groups(matrix, size)
    low = np.minimum(groups.min(axis=-1, keepdims=True), 0)
    high = np.maximum(groups.max(axis=-1, keepdims=True), 0)
    scale = np.maximum(high - low, SMALLEST_SCALE) / 15
    zero = np.rint(-low / scale)
    return restore((np.clip(np.rint(groups / scale) + zero, 0, 15) - zero) * scale)


INTEGER_FORMS = (
    Form(
        name="int8-channel",
        title="INT8, one scale for each row",
        kind="8-bit",
        claims=_INT8,
        round=_round_int8_by_row,
    ),
    Form(
        name="int8-tensor",
        title="INT8, one scale for each matrix",
        kind="8-bit",
        claims=_INT8,
        round=_round_int8_by_tensor,
    ),
    Form(
        name="int8-group128",
        title="INT8, one scale for each 128 weights",
        kind="8-bit",
        claims=_INT8,
        round=_round_int8_in_groups,
    ),
    *(
        Form(
            name=f"int4-group{size}",
            title=f"INT4, one scale for each {size} weights",
            kind="4-bit",
            claims=_INT4,
            round=functools.partial(_round_int4_symmetric, size=size),
        )
        for size in (32, 64, 128)
    ),
    *(
        Form(
            name=f"int4-group{size}-zero",
            title=f"INT4, scale and zero point for each {size} weights",
            kind="4-bit",
            claims=_INT4,
            round=functools.partial(_round_int4_asymmetric, size=size),
        )
        for size in (32, 64, 128)
    ),
)
