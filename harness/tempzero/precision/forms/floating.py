"""Eight-bit floating point in both layouts, by how many weights share a scale: the FP8 of GPU engines."""

from __future__ import annotations

import functools

import numpy as np

from tempzero.precision.forms.form import Form, Matrix
from tempzero.precision.forms.scaling import (
    FloatFormat,
    find_peaks,
    round_to_float,
    round_to_scaled_floats,
    split_groups,
)

E4M3 = FloatFormat(mantissa_bits=3, smallest_exponent=-6, largest=448.0)
E5M2 = FloatFormat(mantissa_bits=2, smallest_exponent=-14, largest=57344.0)
_FP8 = ("fp8", "float8", "w8a8-fp8")


def _round_in_microscale(matrix: Matrix) -> Matrix:
    """MXFP8: 32 weights share a power of two."""
    groups, restore = split_groups(matrix, 32)
    scale = np.exp2(np.floor(np.log2(find_peaks(groups, axis=-1))) - 8).astype(np.float32)
    return restore(round_to_float(groups / scale, E4M3) * scale)


_e4m3_by_row = functools.partial(round_to_scaled_floats, to=E4M3, sharing="row")

FP8_FORMS = (
    Form(
        name="fp8-e4m3-channel",
        title="FP8 (e4m3), one scale for each row",
        kind="8-bit",
        claims=_FP8,
        round=_e4m3_by_row,
    ),
    Form(
        name="fp8-e4m3-channel-embeddings",
        title="FP8 (e4m3), one scale for each row, embeddings included",
        kind="8-bit",
        claims=_FP8,
        round=_e4m3_by_row,
        embeddings="rounded",
    ),
    Form(
        name="fp8-e4m3-channel-inner",
        title="FP8 (e4m3), one scale for each row, first and last layer left alone",
        kind="8-bit",
        claims=_FP8,
        round=_e4m3_by_row,
        layers="without first and last",
    ),
    Form(
        name="fp8-e4m3-tensor",
        title="FP8 (e4m3), one scale for each matrix",
        kind="8-bit",
        claims=_FP8,
        round=functools.partial(round_to_scaled_floats, to=E4M3, sharing="matrix"),
    ),
    Form(
        name="fp8-e4m3-block128",
        title="FP8 (e4m3), one scale for each 128 x 128 weights",
        kind="8-bit",
        claims=_FP8,
        round=functools.partial(round_to_scaled_floats, to=E4M3, sharing="block of 128"),
    ),
    Form(
        name="fp8-e5m2-channel",
        title="FP8 (e5m2) or FP6 (e3m2), which hold nearly the same numbers, one scale for each row",
        kind="8-bit",
        claims=_FP8,
        round=functools.partial(round_to_scaled_floats, to=E5M2, sharing="row"),
    ),
    Form(
        name="fp8-e5m2-tensor",
        title="FP8 (e5m2) or FP6 (e3m2), which hold nearly the same numbers, one scale for each matrix",
        kind="8-bit",
        claims=_FP8,
        round=functools.partial(round_to_scaled_floats, to=E5M2, sharing="matrix"),
    ),
    Form(
        name="mxfp8",
        title="MXFP8 (e4m3), a power of two for each 32 weights",
        kind="8-bit",
        claims=("mxfp8", "fp8"),
        round=_round_in_microscale,
    ),
)
