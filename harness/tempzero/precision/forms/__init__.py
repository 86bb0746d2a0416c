"""A model's matrices in, the same matrices as another form holds them out. To add one: its file, and its line below."""

from __future__ import annotations

from tempzero.precision.forms.activations import ACTIVATION_FORMS
from tempzero.precision.forms.calibrated import CALIBRATED_FORMS
from tempzero.precision.forms.floating import FP8_FORMS
from tempzero.precision.forms.form import Form, FormKind
from tempzero.precision.forms.gguf_types import GGUF_FORMS
from tempzero.precision.forms.integers import INTEGER_FORMS
from tempzero.precision.forms.other_changes import CHANGE_FORMS
from tempzero.precision.forms.small_floats import SMALL_FLOAT_FORMS

__all__ = ["FORMS", "Form", "FormKind"]

FORMS: tuple[Form, ...] = (
    *GGUF_FORMS,  # bf16, f16, llama.cpp's q8_0 to q4_0, K types, and how it computes with them
    *FP8_FORMS,  # e4m3 and e5m2 by matrix, row, block; MXFP8
    *INTEGER_FORMS,  # INT8 and INT4, by row or group, with and without a zero point
    *CALIBRATED_FORMS,  # AWQ and GPTQ
    *ACTIVATION_FORMS,  # W8A8, in integers and in FP8
    *SMALL_FLOAT_FORMS,  # MXFP4, NVFP4, NF4
    *CHANGE_FORMS,  # KV cache, position base, system message
)
