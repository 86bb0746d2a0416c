"""A float32 model file and prompts in, the logits after each prompt out, by numpy, one layer after another.

All prompts go through a layer before the next one is read, so that a machine need not hold the model. What goes into
each matrix, the matrices themselves, and the keys and values can be changed on the way: it shows what engines do that
llama.cpp does not. Llama and Qwen2 shapes alone; whoever needs an exact reference takes one of the engines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tempzero.engines.local.weights.tensor_file import TensorFile
from tempzero.errors import EngineError

Rows = NDArray[np.float32]
Matrices = Mapping[str, Rows]
_SHAPES = ("llama", "qwen2")
_ROWS_AT_ONCE = 128
_ATTENTION = ("attn_q", "attn_k", "attn_v")


@dataclass(frozen=True, kw_only=True, slots=True)
class PassChange:
    """What is done on the way. None: nothing.

    `matrices` gets those that read the same numbers, by name, with these numbers where `sample` prompts are read along;
    `inputs` what goes into every matrix of a layer, a row a token; `kept` the keys, then the values, a row a token.
    """

    matrices: Callable[[Matrices, Rows], Matrices] | None = None
    inputs: Callable[[Rows], Rows] | None = None
    kept: Callable[[Rows], Rows] | None = None


AS_IT_IS = PassChange()


class LayeredModel:
    """A model on disk. Raises EngineError where its shape is another, WeightsError where the file is no such file."""

    def __init__(self, path: Path) -> None:
        self._file = file = TensorFile(path)
        if file.architecture not in _SHAPES:
            raise EngineError(f"{path}: {file.architecture} models are not computed layer by layer, only llama, qwen2")
        self.layers = int(file.read_number("block_count"))
        self._heads = int(file.read_number("attention.head_count"))
        self._kept_heads = int(file.read_number("attention.head_count_kv", self._heads))
        self._width = int(file.read_number("embedding_length")) // self._heads
        self._turned = int(file.read_number("rope.dimension_count", self._width))
        self._base = file.read_number("rope.freq_base", 10_000.0)
        self._epsilon = np.float32(file.read_number("attention.layer_norm_rms_epsilon"))
        if "rope_freqs.weight" in file or file.read_number("attention.key_length", self._width) != self._width:
            raise EngineError(f"{path}: its positions or heads are of a kind that is not computed layer by layer")

    def read_logits(
        self,
        prompts: Sequence[Sequence[int]],
        change: PassChange = AS_IT_IS,
        *,
        sample: Sequence[Sequence[int]] = (),
        times: int = 1,
        ends: Sequence[int] = (),
    ) -> NDArray[np.float32]:
        """After the last token of each prompt, a row a prompt; all of them so many `times`, one after another.

        After so many of its last tokens each where `ends` says so, in their order. `sample` is only seen by the changes
        of matrices.
        """
        rows = _Rows.lay_out([prompts] * times + ([sample] if sample else []), alone=max(ends, default=1))
        outside = self._change_outside(change)
        stream = outside("token_embd.weight", self._file.read_matrix("token_embd.weight"))[rows.tokens]
        angles = rows.positions[:, None] * self._base ** (-np.arange(0, self._turned, 2) / self._turned)
        turn = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        seen = rows.tails[times * len(prompts) - 1].stop
        for layer in range(self.layers):
            self._pass_layer(f"blk.{layer}.", stream, rows, turn, change, seen)
        asked = zip(rows.tails[: times * len(prompts)], [*(ends or [1] * len(prompts))] * times, strict=True)
        last = stream[[at for tail, end in asked for at in range(tail.stop - end, tail.stop)]]
        name = "output.weight" if "output.weight" in self._file else "token_embd.weight"
        unembedding = outside(name, self._file.read_matrix(name))
        logits: NDArray[np.float32] = self._norm(last, "output_norm") @ unembedding.T
        return logits

    def _change_outside(self, change: PassChange) -> Callable[[str, Rows], Rows]:
        """Embedding and unembedding: no layer's, so that only the change of matrices sees them, without inputs."""
        nothing = np.zeros((0, self._heads * self._width), np.float32)

        def apply(name: str, matrix: Rows) -> Rows:
            return matrix if change.matrices is None else change.matrices({name: matrix}, nothing)[name]

        return apply

    def _pass_layer(
        self, block: str, stream: Rows, rows: _Rows, turn: tuple[Rows, Rows], change: PassChange, seen: int
    ) -> None:
        """The stream is changed in place."""
        queries, keys, values = self._multiply(
            [block + n for n in _ATTENTION], self._norm(stream, block + "attn_norm"), change, seen
        )
        queries, keys = self._turn(queries, self._heads, turn), self._turn(keys, self._kept_heads, turn)
        if change.kept is not None:
            keys, values = _change_rows(keys, change.kept), _change_rows(values, change.kept)
        attended = np.empty_like(queries)
        for span in {(head.start, head.stop): head for head in rows.heads if head.stop > head.start}.values():
            attended[span] = self._attend(queries[span], keys[span], values[span])
        for head, tail in zip(rows.heads, rows.tails, strict=True):
            both = np.r_[head, tail]
            attended[tail] = self._attend(queries[tail], keys[both], values[both])
        (out,) = self._multiply([block + "attn_output"], attended, change, seen)
        stream += out
        gate, up = self._multiply(
            [block + "ffn_gate", block + "ffn_up"], self._norm(stream, block + "ffn_norm"), change, seen
        )
        with np.errstate(over="ignore"):  # exp of a large number: the gate is shut
            gate /= 1 + np.exp(-gate)
        (out,) = self._multiply([block + "ffn_down"], gate * up, change, seen)
        stream += out

    def _multiply(self, names: Sequence[str], inputs: Rows, change: PassChange, seen: int) -> Iterator[Rows]:
        """What several matrices make of the same numbers."""
        matrices: Matrices = {f"{name}.weight": self._file.read_matrix(f"{name}.weight") for name in names}
        if change.matrices is not None:
            matrices = change.matrices(matrices, inputs[seen:])
        given = inputs if change.inputs is None else _change_rows(inputs, change.inputs)
        for name in names:
            made = given @ matrices[f"{name}.weight"].T
            if f"{name}.bias" in self._file:
                made += self._file.read_matrix(f"{name}.bias")
            yield made

    def _norm(self, rows: Rows, name: str) -> Rows:
        size = np.sqrt(np.mean(rows * rows, axis=1, keepdims=True) + self._epsilon)
        normed: Rows = rows / size * self._file.read_matrix(f"{name}.weight")
        return normed

    def _turn(self, rows: Rows, heads: int, turn: tuple[Rows, Rows]) -> Rows:
        """Rotary positions: neighbours are a pair in a llama file, halves of a head in the others."""
        cosines, sines = turn[0][:, None, :], turn[1][:, None, :]
        split = rows.reshape(len(rows), heads, self._width).copy()
        turned, half = split[..., : self._turned], self._turned // 2
        paired = self._file.architecture == "llama"
        first, second = (slice(0, None, 2), slice(1, None, 2)) if paired else (slice(half), slice(half, None))
        one, other = turned[..., first].copy(), turned[..., second].copy()
        turned[..., first] = one * cosines - other * sines
        turned[..., second] = one * sines + other * cosines
        return split.reshape(len(rows), -1)

    def _attend(self, queries: Rows, keys: Rows, values: Rows) -> Rows:
        """The last tokens of one prompt: each over itself and those before it."""
        length, before, group = len(queries), len(keys) - len(queries), self._heads // self._kept_heads
        asked = queries.reshape(length, self._kept_heads, group, self._width).transpose(1, 2, 0, 3)
        held = keys.reshape(len(keys), self._kept_heads, self._width).transpose(1, 2, 0)[:, None]
        scores: Rows = asked @ held / np.float32(np.sqrt(self._width))
        scores += np.triu(np.full((length, len(keys)), np.float32(-np.inf)), 1 + before)
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        given = scores @ values.reshape(len(keys), self._kept_heads, self._width).transpose(1, 0, 2)[:, None]
        attended: Rows = given.transpose(2, 0, 1, 3).reshape(length, -1)
        return attended


def _change_rows(rows: Rows, change: Callable[[Rows], Rows]) -> Rows:
    """A few at a time: what a change makes on its way then stays in the processor's cache."""
    changed = np.empty_like(rows)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        changed[start : start + _ROWS_AT_ONCE] = change(rows[start : start + _ROWS_AT_ONCE])
    return changed


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rows:
    """Where the tokens of each prompt lie: what all prompts of a group begin with, their `heads`, is computed once."""

    tokens: NDArray[np.int64]
    positions: NDArray[np.int64]
    heads: tuple[slice, ...]
    tails: tuple[slice, ...]

    @classmethod
    def lay_out(cls, groups: Sequence[Sequence[Sequence[int]]], *, alone: int) -> _Rows:
        """At least so many tokens of each prompt are its own."""
        tokens: list[int] = []
        positions: list[int] = []
        heads, tails = [], []
        for group in groups:
            shared = _count_shared(group, alone)
            head = slice(len(tokens), len(tokens) + shared)
            tokens += group[0][:shared]
            positions += range(shared)
            for prompt in group:
                heads.append(head)
                tails.append(slice(len(tokens), len(tokens) + len(prompt) - shared))
                tokens += prompt[shared:]
                positions += range(shared, len(prompt))
        return cls(tokens=np.array(tokens), positions=np.array(positions), heads=tuple(heads), tails=tuple(tails))


def _count_shared(prompts: Sequence[Sequence[int]], alone: int) -> int:
    """How many tokens all of them begin with; at least so many are left of each."""
    most = max(0, min(len(p) for p in prompts) - alone)
    first = prompts[0]
    return next((at for at in range(most) if any(p[at] != first[at] for p in prompts)), most)
