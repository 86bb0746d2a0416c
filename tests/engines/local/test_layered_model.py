"""What is computed layer by layer, to change each step, is the model that llama.cpp computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tempzero.config import Local
from tempzero.engines import open_model
from tempzero.engines.local.layered_model import LayeredModel, Matrices, PassChange, Rows
from tempzero.engines.local.weights import LocalWeights
from tempzero.errors import EngineError, WeightsError
from tiny_gguf import tiny_model

PROMPTS = [[1, 5, 9, 20, 3], [1, 5, 9, 33, 21, 7, 8], [1, 5, 9, 2]]
SAMPLE = [[4, 8, 15, 16], [23, 42]]


def read_by_llama_cpp(path: Path) -> NDArray[np.float32]:
    weights = LocalWeights(path=path, sha256="0" * 64, precision="f32", source="tiny", licence=None, size_bytes=1)
    model = open_model(Local(weights="tiny", threads=1), weights)
    try:
        return np.array([list(model.logits(ids, len(ids)))[-1][-1] for ids in PROMPTS])
    finally:
        model.close()


@pytest.mark.engine
@pytest.mark.parametrize("arch", ["llama", "qwen2"])
def test_the_logits_are_those_of_llama_cpp(arch: str) -> None:
    """A direction measured by another computation would be the difference of two engines."""
    path = tiny_model(arch)
    expected = read_by_llama_cpp(path)
    assert np.abs(LayeredModel(path).read_logits(PROMPTS) - expected).max() < 1e-4
    twice = LayeredModel(path).read_logits(PROMPTS, sample=SAMPLE, times=2)
    assert np.abs(twice - np.vstack([expected, expected])).max() < 1e-4


def test_each_step_can_be_changed_and_sees_what_it_should() -> None:
    """Every matrix once, those that read the same numbers together, with the sample's numbers and no others."""
    seen: dict[str, tuple[int, int]] = {}
    inputs: list[int] = []

    def matrices(site: Matrices, rows: Rows) -> Matrices:
        seen.update(dict.fromkeys(site, rows.shape))
        return {name: matrix * 0 if "attn_output" in name else matrix for name, matrix in site.items()}

    def note_rows(rows: Rows) -> Rows:
        inputs.append(len(rows))
        return rows

    model = LayeredModel(tiny_model())
    changed = model.read_logits(PROMPTS, PassChange(matrices=matrices, inputs=note_rows), sample=SAMPLE)
    assert np.abs(changed - model.read_logits(PROMPTS)).max() > 0.1
    assert {name.split(".")[-2] for name in seen} == {
        *("token_embd", "output", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"),
    }
    assert {shape[0] for name, shape in seen.items() if name.startswith("blk.")} == {sum(map(len, SAMPLE))}
    assert len(inputs) == 4 * model.layers
    assert set(inputs) == {3 + sum(len(p) - 3 for p in PROMPTS) + sum(map(len, SAMPLE))}  # what all begin with: once
    kept = model.read_logits(PROMPTS, PassChange(kept=np.zeros_like))
    assert np.abs(kept - model.read_logits(PROMPTS)).max() > 0.1


def test_what_cannot_be_computed_so_says_so(tmp_path: Path) -> None:
    """Another shape would be computed wrongly and believed."""
    tiny = tiny_model().read_bytes()
    other = tmp_path / "other.gguf"
    other.write_bytes(
        tiny.replace(b"\x05\x00\x00\x00\x00\x00\x00\x00llama", b"\x05\x00\x00\x00\x00\x00\x00\x00gemma", 1)
    )
    with pytest.raises(EngineError, match="gemma models are not computed layer by layer"):
        LayeredModel(other)
    (tmp_path / "none.gguf").write_bytes(b"none")
    with pytest.raises(WeightsError, match="not a readable GGUF"):
        LayeredModel(tmp_path / "none.gguf")
