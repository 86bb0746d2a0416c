"""Canonical JSON: one text for equal values, and for ever the bytes that stored digests were taken over."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tempzero.canonical_json import to_ascii_canonical_json, to_canonical_json, to_spaced_canonical_json
from tempzero.claims import byte_reading

VALUE = {"b": [1, 1.5, None, True], "ä": {"z": "é\n", "a": ()}}
FORMS = [to_canonical_json, to_ascii_canonical_json, to_spaced_canonical_json]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def test_each_form_has_its_flags() -> None:
    """Another flag is another digest: suites, plans and nights of before would look changed."""
    assert to_canonical_json(VALUE) == '{"b":[1,1.5,null,true],"ä":{"a":[],"z":"é\\n"}}'
    assert to_ascii_canonical_json(VALUE) == '{"b":[1,1.5,null,true],"\\u00e4":{"a":[],"z":"\\u00e9\\n"}}'
    assert to_spaced_canonical_json(VALUE) == '{"b": [1, 1.5, null, true], "\\u00e4": {"a": [], "z": "\\u00e9\\n"}}'


@pytest.mark.parametrize("form", FORMS)
def test_what_json_has_no_form_for_is_refused(form: Callable[[Any], str]) -> None:
    """A digest over NaN or over a Python object's repr would mean nothing to another reader."""
    for number in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(ValueError, match="not JSON compliant"):
            form({"x": [number]})
    with pytest.raises(TypeError):
        form({"x": b"bytes"})


def test_half_of_a_surrogate_pair_is_escaped() -> None:
    """A model or a table can smuggle one in; no UTF-8 file can hold it, and a digest must not crash on it."""
    assert to_canonical_json({"é": "\ud800"}) == '{"\\u00e9":"\\ud800"}'


@pytest.mark.parametrize("form", FORMS)
@given(value=JSON_VALUES)
def test_the_order_of_keys_leaves_no_trace_and_nothing_is_lost(form: Callable[[Any], str], value: Any) -> None:
    """Equal values have one text, whatever order they were built in, and the text says all of the value."""

    def turn(inner: Any) -> Any:
        if isinstance(inner, dict):
            return {key: turn(inner[key]) for key in reversed(inner)}
        return [turn(one) for one in inner] if isinstance(inner, list) else inner

    assert form(turn(value)) == form(value)
    assert json.loads(form(value)) == value
    form(value).encode()


@given(value=JSON_VALUES)
def test_a_bundle_that_stands_alone_spells_it_the_same(value: Any) -> None:
    """verify.py imports nothing of tempzero, so its copy of the form is held here."""
    assert byte_reading.canonical_json(value) == to_canonical_json(value)
