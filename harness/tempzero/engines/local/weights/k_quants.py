"""A matrix, its name in a model file and a mix of llama.cpp's K types in, the matrix as such a file holds it out.

Which type a matrix gets is what llama.cpp's own quantiser decides, without an importance matrix. Rounding to these is a
search, which llama.cpp does itself, in the library that computes the reference.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from tempzero.errors import EngineError

KMix = Literal["q4_k_m", "q5_k_m", "q6_k"]
_MAIN = {
    "q4_k_m": GGMLQuantizationType.Q4_K,
    "q5_k_m": GGMLQuantizationType.Q5_K,
    "q6_k": GGMLQuantizationType.Q6_K,
}
# What a row gets whose length is no multiple of 256.
_INSTEAD = {
    GGMLQuantizationType.Q4_K: GGMLQuantizationType.Q5_0,
    GGMLQuantizationType.Q5_K: GGMLQuantizationType.Q5_1,
    GGMLQuantizationType.Q6_K: GGMLQuantizationType.Q8_0,
}
_DELICATE = ("attn_v", "ffn_down")
_VOCABULARY = ("token_embd.weight", "output.weight")


def round_to_k_mix(name: str, matrix: NDArray[np.float32], mix: KMix, layers: int) -> NDArray[np.float32]:
    """Through the type that the mix gives it, and back. Raises EngineError where the library cannot."""
    kind = choose_k_type(name, matrix.shape[-1], mix, layers)
    rounded: NDArray[np.float32] = gguf.quants.dequantize(_quantise_rows(matrix, kind), kind)
    return rounded.reshape(matrix.shape)


def choose_k_type(name: str, row: int, mix: KMix, layers: int) -> GGMLQuantizationType:
    """Embedding and unembedding keep six bits, and so do values and the way down in some of the layers."""
    kind = _MAIN[mix]
    if name in _VOCABULARY or (any(part in name for part in _DELICATE) and _uses_more_bits(_read_layer(name), layers)):
        kind = GGMLQuantizationType.Q6_K
    return kind if row % 256 == 0 else _INSTEAD[kind]


def _read_layer(name: str) -> int:
    return int(name.split(".")[1])


def _uses_more_bits(layer: int, layers: int) -> bool:
    """The first and last eighth, and every third between."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def _quantise_rows(matrix: NDArray[np.float32], kind: GGMLQuantizationType) -> NDArray[np.uint8]:
    rows, columns = matrix.reshape(-1, matrix.shape[-1]).shape
    block, size = gguf.GGML_QUANT_SIZES[kind]
    given = np.ascontiguousarray(matrix, np.float32)
    stored = np.zeros((rows, columns // block * size), np.uint8)
    _load_quantiser()(int(kind), given.ctypes.data, stored.ctypes.data, 0, rows, columns, None)
    return stored


@functools.cache
def _load_quantiser() -> Any:
    """`ggml_quantize_chunk`, which llama.cpp's library gives to whoever links with it."""
    spec = importlib.util.find_spec("xllamacpp")
    found = sorted(Path(spec.origin).parent.glob("xllamacpp*.so")) if spec is not None and spec.origin else []
    try:
        quantiser = ctypes.CDLL(str(found[0])).ggml_quantize_chunk
    except (IndexError, OSError, AttributeError):
        raise EngineError("this llama.cpp library does not give its quantiser away, which K types need") from None
    whole = ctypes.c_int64
    quantiser.restype = ctypes.c_size_t
    quantiser.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, whole, whole, whole, ctypes.c_void_p]
    return quantiser
