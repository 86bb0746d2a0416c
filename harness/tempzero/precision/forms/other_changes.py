"""What is not the weights and moves the answers in a direction all the same: the cache, positions, the request."""

from __future__ import annotations

import functools

from tempzero.precision.forms.floating import E4M3, E5M2
from tempzero.precision.forms.form import Form
from tempzero.precision.forms.scaling import round_to_float

CHANGE_FORMS = (
    Form(name="cache-q8_0", title="keys and values kept in 8 bits (q8_0)", kind="cache", cache="q8_0"),
    Form(name="cache-q4_0", title="keys and values kept in 4 bits (q4_0)", kind="cache", cache="q4_0"),
    Form(
        name="cache-fp8-e4m3",
        title="keys and values kept in FP8 (e4m3) as they are, without a scale",
        kind="cache",
        kept=functools.partial(round_to_float, to=E4M3),
    ),
    Form(
        name="cache-fp8-e5m2",
        title="keys and values kept in FP8 (e5m2) as they are, without a scale",
        kind="cache",
        kept=functools.partial(round_to_float, to=E5M2),
    ),
    Form(
        name="rope-base-10000",
        title="positions by another base (10,000)",
        kind="request",
        metadata={"{arch}.rope.freq_base": 10_000.0},
    ),
    Form(
        name="rope-base-500000",
        title="positions by another base (500,000)",
        kind="request",
        metadata={"{arch}.rope.freq_base": 500_000.0},
    ),
    Form(name="system-empty", title="an empty system message put in", kind="request", system=""),
    Form(
        name="system-assistant",
        title='a system message put in: "You are a helpful assistant."',
        kind="request",
        system="You are a helpful assistant.",
    ),
)
