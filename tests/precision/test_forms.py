"""A form holds what the number format of its name can hold: else a host would be named after something else."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import gguf
import numpy as np
import pytest
from tempzero.engines.local.weights.k_quants import KMix, choose_k_type, round_to_k_mix
from tempzero.engines.local.weights.requantise import rewrite_file
from tempzero.errors import WeightsError
from tempzero.precision.forms import FORMS, Form
from tempzero.precision.forms.floating import E4M3, E5M2
from tempzero.precision.forms.scaling import round_to_float
from tempzero.precision.pack_making import build_change
from tiny_gguf import tiny_model

RNG = np.random.default_rng(1)
WEIGHTS = RNG.standard_normal((256, 320)).astype(np.float32) * 0.02
ROWS = RNG.standard_normal((64, 512)).astype(np.float32) * 0.02
CALIBRATED = [form for form in FORMS if form.calibrate is not None]
ROUNDED = [form for form in FORMS if form.round is not None]
# Form -> how many weights share a scale, and how many different numbers these can then be.
LEVELS = {
    "int8-channel": (320, 255),
    "int4-group32": (32, 16),
    "int4-group64": (64, 16),
    "int4-group64-zero": (64, 16),
    "mxfp4": (32, 15),
    "nvfp4": (16, 15),
    "nf4": (64, 16),
}


def named(name: str) -> Form:
    return next(form for form in FORMS if form.name == name)


def test_eight_bit_floats_round_as_the_formats_are_written_down() -> None:
    """Every number of e4m3 and e5m2 is kept, and what lies between goes to the nearest, ties to even."""
    for form, bits, low, high in ((E4M3, 3, -6, 8), (E5M2, 2, -14, 15)):
        normal = [(1 + m / 2**bits) * 2.0**e for e in range(low, high + 1) for m in range(2**bits)]
        kept = np.array([x for x in normal if x <= form.largest] + [m * 2.0 ** (low - bits) for m in range(2**bits)])
        assert np.array_equal(round_to_float(kept.astype(np.float32), form), kept.astype(np.float32))
    given = np.array([17.0, 19.0, -17.5, 500.0, 2.0**-10, 3 * 2.0**-10], np.float32)
    assert round_to_float(given, E4M3).tolist() == [16.0, 20.0, -18.0, 448.0, 0.0, 2.0**-8]


@pytest.mark.parametrize(
    ("name", "row", "mix", "kind"),
    [
        ("blk.4.ffn_up.weight", 1536, "q4_k_m", "Q4_K"),
        ("blk.4.ffn_up.weight", 576, "q4_k_m", "Q5_0"),
        ("blk.0.ffn_down.weight", 1536, "q4_k_m", "Q6_K"),
        ("blk.4.ffn_down.weight", 1536, "q5_k_m", "Q5_K"),
        ("blk.5.attn_v.weight", 512, "q5_k_m", "Q6_K"),
        ("token_embd.weight", 576, "q4_k_m", "Q8_0"),
        ("blk.4.attn_q.weight", 512, "q6_k", "Q6_K"),
    ],
)
def test_k_types_are_what_llama_cpp_makes_of_a_file(name: str, row: int, mix: KMix, kind: str) -> None:
    """A host that serves such a file holds these very types: six bits here and there, and others in short rows."""
    assert choose_k_type(name, row, mix, 30).name == kind


def test_rounding_to_k_types_keeps_most_of_each_weight_and_more_bits_keep_more() -> None:
    """It is llama.cpp's own search, called from the library that computes the reference."""
    lost = [np.abs(round_to_k_mix("blk.4.ffn_up.weight", ROWS, mix, 30) - ROWS).mean() for mix in get_args(KMix)]
    assert 0.1 * np.abs(ROWS).mean() > lost[0] > lost[1] > lost[2] > 0


@pytest.mark.parametrize("name", LEVELS)
def test_weights_that_share_a_scale_take_no_more_values_than_the_form_has(name: str) -> None:
    """Sixteen levels are what four bits are."""
    size, levels = LEVELS[name]
    form = named(name)
    assert form.round is not None
    changed = form.round(WEIGHTS)
    for group in changed.reshape(len(WEIGHTS), -1, size).reshape(-1, size)[:200]:
        assert len(np.unique(np.round(group / np.abs(group).max(), 5))) <= levels


@pytest.mark.parametrize("form", ROUNDED, ids=lambda form: form.name)
def test_a_form_keeps_shape_and_most_of_each_weight(form: Form) -> None:
    """A matrix of another shape or scale would still load, and answer nonsense; rows of any length are taken."""
    assert form.round is not None
    for matrix in (WEIGHTS, WEIGHTS[:5, :77], np.zeros((3, 40), np.float32)):
        changed = form.round(matrix)
        assert changed.shape == matrix.shape
        assert np.isfinite(changed).all()
    error = np.sqrt(np.mean((form.round(WEIGHTS) - WEIGHTS) ** 2)) / WEIGHTS.std()
    assert 1e-4 < error < {"8-bit": 0.08, "4-bit": 0.2}[form.kind]


@pytest.mark.parametrize("form", CALIBRATED, ids=lambda form: form.name)
def test_a_calibrated_form_errs_less_on_what_it_was_calibrated_on(form: Form) -> None:
    """That is what AWQ and GPTQ are for: else it would be plain rounding by another name."""
    assert form.calibrate is not None
    plain = named("int4-group128-zero").round
    assert plain is not None
    mixed = RNG.standard_normal((512, 512)).astype(np.float32)
    inputs = (RNG.standard_normal((600, 512)).astype(np.float32) @ mixed) * np.exp(RNG.standard_normal(512) * 1.5)
    inputs = inputs.astype(np.float32)
    changed = form.calibrate({"one": ROWS, "two": ROWS[:7]}, inputs)
    assert set(changed) == {"one", "two"}
    errors = [np.square(inputs @ (m - ROWS).T).sum() for m in (changed["one"], plain(ROWS))]
    assert 0 < errors[0] < 0.8 * errors[1]
    if form.name.startswith("gptq"):
        groups = changed["one"].reshape(-1, 128)[:50]
        assert all(len(np.unique(np.round(g / np.abs(g).max(), 4))) <= 16 for g in groups)


@pytest.mark.parametrize("form", [form for form in FORMS if form.inputs is not None], ids=lambda form: form.name)
def test_activations_are_rounded_token_by_token(form: Form) -> None:
    """One token's outlier must not take the bits of another: the scale is its own."""
    assert form.inputs is not None
    rows = ROWS.copy()
    rows[0] *= 1_000
    assert np.array_equal(form.inputs(rows)[1:], form.inputs(ROWS)[1:])
    assert 1e-4 < np.abs(form.inputs(ROWS) - ROWS).max() / np.abs(ROWS).max() < 0.04


def test_no_two_forms_are_the_same() -> None:
    """Two names for one thing could never be told apart."""
    changed = {form.name: form.round(WEIGHTS) for form in ROUNDED if form.round is not None}
    seen: dict[bytes, str] = {}
    for form in ROUNDED:
        inputs = form.inputs(ROWS).tobytes() if form.inputs is not None else b""
        key = changed[form.name].tobytes() + inputs + (form.embeddings + form.layers).encode()
        assert key not in seen, f"{form.name} and {seen[key]}"
        seen[key] = form.name
    assert len({form.name for form in FORMS}) == len({form.title for form in FORMS}) == len(FORMS)


def test_a_rewritten_model_differs_in_its_matrices_alone(tmp_path: Path) -> None:
    """Norms steer the computation, the vocabulary is not weights, and embeddings are left alone where the form says."""
    source, target = tiny_model(), tmp_path / "changed.gguf"
    rewrite_file(
        source,
        target,
        build_change(named("fp8-e4m3-channel"), source),
        metadata={"llama.rope.freq_base": 500.0},
    )
    before, after = gguf.GGUFReader(source), gguf.GGUFReader(target)
    changed = {a.name for a, b in zip(before.tensors, after.tensors, strict=True) if not np.array_equal(a.data, b.data)}
    assert changed == {t.name for t in before.tensors if len(t.shape) > 1 and t.name.startswith("blk.")}
    base = after.get_field("llama.rope.freq_base")
    assert base is not None
    assert base.contents() == 500.0
    inner = tmp_path / "inner.gguf"
    rewrite_file(source, inner, build_change(named("fp8-e4m3-channel-inner"), source))
    assert inner.read_bytes() == source.read_bytes()  # both of its layers are an outer one


def test_what_cannot_be_rewritten_says_so(tmp_path: Path) -> None:
    """A number that the file has not would be written somewhere else."""
    with pytest.raises(WeightsError, match=r"no llama\.nothing"):
        rewrite_file(tiny_model(), tmp_path / "x.gguf", None, metadata={"llama.nothing": 1.0})
