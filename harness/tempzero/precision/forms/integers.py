"""Integers of eight and four bits, by how many weights share a scale, with and without a zero point."""

from __future__ import annotations

import functools

from tempzero.precision.forms.form import Form
from tempzero.precision.forms.scaling import round_to_scaled_steps, round_with_zero

_INT8, _INT4 = ("int8", "w8a16", "w8a8"), ("int4", "w4a16", "awq", "gptq")


_round_to_int8 = functools.partial(round_to_scaled_steps, peak=127, lowest=-127, highest=127)
# As GPTQ, AWQ and compressed-tensors lay the steps out: 16 of them over twice the largest size.
_round_to_int4 = functools.partial(round_to_scaled_steps, peak=7.5, lowest=-8, highest=7)
_int8_by_row = functools.partial(_round_to_int8, sharing="row")


INTEGER_FORMS = (
    Form(
        name="int8-channel",
        title="INT8, one scale for each row",
        kind="8-bit",
        claims=_INT8,
        round=_int8_by_row,
    ),
    Form(
        name="int8-channel-embeddings",
        title="INT8, one scale for each row, embeddings included",
        kind="8-bit",
        claims=_INT8,
        round=_int8_by_row,
        embeddings="rounded",
    ),
    Form(
        name="int8-channel-inner",
        title="INT8, one scale for each row, first and last layer left alone",
        kind="8-bit",
        claims=_INT8,
        round=_int8_by_row,
        layers="without first and last",
    ),
    Form(
        name="int8-tensor",
        title="INT8, one scale for each matrix",
        kind="8-bit",
        claims=_INT8,
        round=functools.partial(_round_to_int8, sharing="matrix"),
    ),
    Form(
        name="int8-group128",
        title="INT8, one scale for each 128 weights",
        kind="8-bit",
        claims=_INT8,
        round=functools.partial(_round_to_int8, sharing=128),
    ),
    *(
        Form(
            name=f"int4-group{size}",
            title=f"INT4, one scale for each {size} weights",
            kind="4-bit",
            claims=_INT4,
            round=functools.partial(_round_to_int4, sharing=size),
        )
        for size in (32, 64, 128)
    ),
    *(
        Form(
            name=f"int4-group{size}-zero",
            title=f"INT4, scale and zero point for each {size} weights",
            kind="4-bit",
            claims=_INT4,
            round=functools.partial(round_with_zero, sharing=size),
        )
        for size in (32, 64, 128)
    ),
    Form(
        name="int4-group128-inner",
        title="INT4, one scale for each 128 weights, first and last layer left alone",
        kind="4-bit",
        claims=_INT4,
        round=functools.partial(_round_to_int4, sharing=128),
        layers="without first and last",
    ),
    Form(
        name="int4-group128-embeddings",
        title="INT4, one scale for each 128 weights, embeddings included",
        kind="4-bit",
        claims=_INT4,
        round=functools.partial(_round_to_int4, sharing=128),
        embeddings="rounded",
    ),
)
