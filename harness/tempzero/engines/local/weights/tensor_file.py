"""A float32 GGUF file in, its matrices and numbers by name out; nothing is read before it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tempzero.engines.local.weights.requantise import open_gguf
from tempzero.errors import WeightsError


class TensorFile:
    """A model file whose matrices stay on disk: one that is not asked for costs no memory."""

    def __init__(self, path: Path) -> None:
        """Raises WeightsError where it is no GGUF, or has no architecture."""
        self.path = path
        self._reader = open_gguf(path)
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        self.architecture = str(self._read_field("general.architecture"))

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def read_matrix(self, name: str) -> NDArray[np.float32]:
        """A row an output, or a vector. Raises WeightsError where it is not there or not in float32."""
        tensor = self._tensors.get(name)
        if tensor is None:
            raise WeightsError(f"{self.path}: it has no {name}")
        if tensor.data.dtype != np.float32:
            raise WeightsError(f"{self.path}: {name} is {tensor.tensor_type.name}; make a float32 file of it first")
        matrix: NDArray[np.float32] = np.asarray(tensor.data)
        return matrix

    def read_number(self, key: str, otherwise: float | None = None) -> float:
        """One of the architecture's own numbers. Raises WeightsError where neither it nor `otherwise` is there."""
        return float(self._read_field(f"{self.architecture}.{key}", otherwise))

    def _read_field(self, key: str, otherwise: float | None = None) -> Any:
        field = self._reader.get_field(key)
        if field is None and otherwise is None:
            raise WeightsError(f"{self.path}: its metadata has no {key}")
        value: Any = field.contents() if field is not None else otherwise
        return value
