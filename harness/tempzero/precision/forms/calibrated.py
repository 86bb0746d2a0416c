"""Four bits chosen by what goes into each matrix on some texts: as AWQ scales, and as GPTQ corrects.

Whoever quantises with other texts, or other settings, gets other numbers that are moved much alike.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tempzero.precision.forms.form import Form, Matrix
from tempzero.precision.forms.scaling import find_steps_with_zero, round_to_shifted_steps, round_with_zero

_GROUP = 128
_CALIBRATED_ON = "calibrated on tempzero's own prompts"


def _scale_as_awq(matrices: Mapping[str, Matrix], inputs: Matrix) -> Mapping[str, Matrix]:
    """Columns with large inputs are scaled up before rounding, by the power that errs least on the inputs.

    Matrices that read the same numbers share the scale, for it is folded into what comes before them.
    """
    sizes = np.maximum(np.abs(inputs).mean(axis=0), 1e-4).astype(np.float32)
    rows = inputs[:: max(1, len(inputs) // 512)]
    best, least = dict(matrices), np.inf
    for power in np.arange(0, 1, 0.1, dtype=np.float32):
        scale = sizes**power
        scale /= np.sqrt(scale.max() * scale.min())
        tried = {name: round_with_zero(m * scale, sharing=_GROUP) / scale for name, m in matrices.items()}
        error = sum(float(((rows @ (tried[name] - m).T) ** 2).sum()) for name, m in matrices.items())
        if error < least:
            best, least = tried, error
    return best


def _correct_as_gptq(matrices: Mapping[str, Matrix], inputs: Matrix) -> Mapping[str, Matrix]:
    """Column by column; what a column's rounding errs is made up for by the columns that follow."""
    hessian = inputs.T.astype(np.float64) @ inputs
    hessian += np.eye(len(hessian)) * max(0.01 * float(np.mean(np.diag(hessian))), 1e-8)
    upper = np.linalg.cholesky(np.linalg.inv(hessian)).T.astype(np.float32)
    return {name: _correct_columns(matrix, upper) for name, matrix in matrices.items()}


def _correct_columns(matrix: Matrix, upper: Matrix) -> Matrix:
    left, out = np.array(matrix), np.empty_like(matrix)
    for start in range(0, matrix.shape[1], _GROUP):
        end = min(start + _GROUP, matrix.shape[1])
        block, errors = left[:, start:end].copy(), np.empty((len(matrix), end - start), np.float32)
        scale, zero = find_steps_with_zero(block)
        for at in range(end - start):
            column = block[:, at : at + 1]
            kept = round_to_shifted_steps(column, scale, zero)
            out[:, start + at] = kept[:, 0]
            errors[:, at] = (column - kept)[:, 0] / upper[start + at, start + at]
            block[:, at + 1 :] -= np.outer(errors[:, at], upper[start + at, start + at + 1 : end])
        left[:, end:] -= errors @ upper[start:end, end:]
    return out


CALIBRATED_FORMS = (
    Form(
        name="awq-int4-group128",
        title=f"INT4, scale and zero point for each 128 weights, scaled as AWQ does ({_CALIBRATED_ON})",
        kind="4-bit",
        claims=("int4", "w4a16", "awq"),
        calibrate=_scale_as_awq,
    ),
    Form(
        name="gptq-int4-group128",
        title=f"INT4, scale and zero point for each 128 weights, corrected as GPTQ does ({_CALIBRATED_ON})",
        kind="4-bit",
        claims=("int4", "w4a16", "gptq"),
        calibrate=_correct_as_gptq,
    ),
)
