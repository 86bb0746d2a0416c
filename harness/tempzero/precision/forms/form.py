"""The noun of the room: one way to hold a model's weights, or to be asked, that moves its answers in a direction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Rounding = Callable[[Matrix], Matrix]
"""A matrix (rows of weights, one for each output) in, the numbers that a form can hold of it out."""

Calibration = Callable[[Mapping[str, Matrix], Matrix], Mapping[str, Matrix]]
"""Matrices that read the same numbers, by name, and these numbers on some texts, a row a token, in; rounded out."""

FormKind = Literal["16-bit", "8-bit", "5-bit", "4-bit", "cache", "request"]
"""What is changed: weights, by about how many bits they keep; the kept keys and values; or what the model is asked."""
EmbeddingRule = Literal["kept", "rounded", "q8_0"]
"""Embedding and unembedding: left alone, rounded like the layers, or by llama.cpp's q8_0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """One form. `claims` are words that a provider may use for it; `layers` says which layers are rounded."""

    name: str
    title: str
    kind: FormKind
    claims: tuple[str, ...] = ()
    round: Rounding | None = None
    gguf_type: str | None = None
    """Instead of `round`: the type of llama.cpp that every matrix goes through, embeddings by its own rule."""
    k_mix: Literal["q4_k_m", "q5_k_m", "q6_k"] | None = None
    """Instead of both: llama.cpp's mix of K types, each matrix by its place."""
    calibrate: Calibration | None = None
    """Instead of all three: rounding that depends on what the model reads."""
    inputs: Rounding | None = None
    """What goes into each matrix is rounded so, a row a token."""
    rounds_activations: bool = False
    """With `gguf_type`: computed by llama.cpp from the stored type, and not in float32."""
    embeddings: EmbeddingRule = "kept"
    layers: Literal["all", "without first and last"] = "all"
    metadata: Mapping[str, float] = field(default_factory=dict)
    """Numbers of the model file changed; `{arch}` in a key stands for its architecture."""
    cache: Literal["q8_0", "q4_0"] | None = None
    """Keys and values kept by llama.cpp in one of its types."""
    kept: Rounding | None = None
    """Keys and values rounded so, a row a token."""
    system: str | None = None
    """A system message put before the prompt's own messages where they have none; "" is an empty one."""

    @property
    def needs_layers(self) -> bool:
        """Computed layer by layer, where each step can be changed, and not by llama.cpp."""
        return self.calibrate is not None or self.inputs is not None or self.kept is not None
