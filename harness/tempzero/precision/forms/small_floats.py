"""Four-bit floating point: MXFP4, NVFP4, and the NF4 of bitsandbytes."""

from __future__ import annotations

import numpy as np

from tempzero.precision.forms.floating import E4M3
from tempzero.precision.forms.form import Form, Matrix
from tempzero.precision.forms.scaling import SMALLEST_SCALE, FloatFormat, find_peaks, round_to_float, split_groups

_E2M1 = FloatFormat(mantissa_bits=1, smallest_exponent=0, largest=6.0)
# The sixteen levels of NF4, as QLoRA (2305.14314) gives them.
_NF4 = np.array(
    [
        *(-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1),
    ],
    np.float32,
)
_NF4_BORDERS = (_NF4[1:] + _NF4[:-1]) / 2


def _round_to_mxfp4(matrix: Matrix) -> Matrix:
    """32 weights share a power of two."""
    groups, restore = split_groups(matrix, 32)
    scale = np.exp2(np.floor(np.log2(find_peaks(groups, axis=-1))) - 2).astype(np.float32)
    return restore(round_to_float(groups / scale, _E2M1) * scale)


def _round_to_nvfp4(matrix: Matrix) -> Matrix:
    """16 weights share a scale in e4m3, and the matrix one in float32."""
    groups, restore = split_groups(matrix, 16)
    whole = find_peaks(matrix).item() / (_E2M1.largest * E4M3.largest)
    scale = round_to_float(find_peaks(groups, axis=-1) / np.float32(_E2M1.largest * whole), E4M3) * np.float32(whole)
    return restore(round_to_float(groups / np.maximum(scale, SMALLEST_SCALE), _E2M1) * scale)


def _round_to_nf4(matrix: Matrix) -> Matrix:
    """64 weights share a scale, the levels lie as those of a normal distribution."""
    groups, restore = split_groups(matrix, 64)
    scale = find_peaks(groups, axis=-1)
    return restore(_NF4[np.searchsorted(_NF4_BORDERS, groups / scale)] * scale)


SMALL_FLOAT_FORMS = (
    Form(
        name="mxfp4",
        title="MXFP4, a power of two for each 32 weights",
        kind="4-bit",
        claims=("mxfp4", "fp4"),
        round=_round_to_mxfp4,
    ),
    Form(
        name="nvfp4",
        title="NVFP4, a small float for each 16 weights",
        kind="4-bit",
        claims=("nvfp4", "fp4"),
        round=_round_to_nvfp4,
    ),
    Form(
        name="nf4",
        title="NF4 (bitsandbytes), one scale for each 64 weights",
        kind="4-bit",
        claims=("nf4", "bnb-4bit", "bitsandbytes"),
        round=_round_to_nf4,
    ),
)
