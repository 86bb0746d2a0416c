"""Eight bits for the weights and for what goes into each matrix as well: W8A8, as engines compute on integer units."""

from __future__ import annotations

import functools

from tempzero.precision.forms.floating import E4M3, FP8_FORMS
from tempzero.precision.forms.form import Form, Rounding
from tempzero.precision.forms.integers import INTEGER_FORMS
from tempzero.precision.forms.scaling import round_to_scaled_floats, round_to_scaled_steps

_round_token_to_int8 = functools.partial(round_to_scaled_steps, peak=127, lowest=-127, highest=127, sharing="row")
_round_token_to_fp8 = functools.partial(round_to_scaled_floats, to=E4M3, sharing="row")


def _find_rounding(name: str) -> Rounding:
    """How the weights of the form of this name are rounded."""
    (rounding,) = (form.round for form in (*FP8_FORMS, *INTEGER_FORMS) if form.name == name)
    assert rounding is not None
    return rounding


ACTIVATION_FORMS = (
    Form(
        name="int8-channel-a8",
        title="INT8 W8A8: one scale for each row, and for what goes in one for each token",
        kind="8-bit",
        claims=("int8", "w8a8"),
        round=_find_rounding("int8-channel"),
        inputs=_round_token_to_int8,
    ),
    Form(
        name="fp8-e4m3-channel-a8",
        title="FP8 W8A8 (e4m3): one scale for each row, and for what goes in one for each token",
        kind="8-bit",
        claims=("fp8", "float8", "w8a8-fp8"),
        round=_find_rounding("fp8-e4m3-channel"),
        inputs=_round_token_to_fp8,
    ),
    Form(
        name="fp8-e4m3-tensor-a8",
        title="FP8 W8A8 (e4m3): one scale for each matrix, and for what goes in one for each token",
        kind="8-bit",
        claims=("fp8", "float8", "w8a8-fp8"),
        round=_find_rounding("fp8-e4m3-tensor"),
        inputs=_round_token_to_fp8,
    ),
    Form(
        name="fp8-e4m3-block128-a8",
        title="FP8 W8A8 (e4m3): one scale for each 128 x 128 weights, and for what goes in one for each 128 numbers",
        kind="8-bit",
        claims=("fp8", "float8", "w8a8-fp8"),
        round=_find_rounding("fp8-e4m3-block128"),
        inputs=functools.partial(round_to_scaled_floats, to=E4M3, sharing=128),
    ),
)
