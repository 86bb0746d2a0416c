"""A GGUF file and a precision, or a change of its matrices, in, the same model in that form out; metadata is kept."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType
from numpy.typing import NDArray

from tempzero.errors import WeightsError

CONVERTER_VERSION = 1  # part of the cached file's name: raise it when the same input gives other bytes

_FILE_TYPES = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "q5_1": (GGMLQuantizationType.Q5_1, LlamaFileType.MOSTLY_Q5_1),
    "q5_0": (GGMLQuantizationType.Q5_0, LlamaFileType.MOSTLY_Q5_0),
    "q4_1": (GGMLQuantizationType.Q4_1, LlamaFileType.MOSTLY_Q4_1),
    "q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}
# Embedding and output decide over every token: like llama.cpp's own quantiser, spend more bits on them.
_WIDER_TENSORS = ("token_embd.weight", "output.weight")
# Small tensors that steer the computation; llama.cpp wants or keeps them in float32.
_STEERING_TENSORS = (
    "_norm",
    "ffn_gate_inp",
    "ssm_",
    "shortconv",
    "time_mix",
    "position_embd",
    "token_types",
    "rope_",
    "altup",
)
# gguf's writer puts these down itself.
_WRITTEN_ANYWAY = ("GGUF.", "general.architecture", "general.file_type", "general.quantization_version")


def requantise_file(source: Path, target: Path, precision: str) -> None:
    """Write `source` in another precision. Dequantising to f32 is exact; the rest rounds.

    Raises WeightsError where the file is no GGUF, is split, or holds what the precision cannot.
    """
    wanted, file_type = _FILE_TYPES[precision]
    reader = open_gguf(source)
    split = reader.get_field("split.count")
    if split is not None and split.contents() > 1:
        raise WeightsError(f"{source}: one part of a split model; merge the parts first (llama-gguf-split --merge)")
    writer = GGUFWriter(target, read_architecture(source), endianess=reader.endianess)
    try:
        _copy_metadata(reader, writer)
        writer.add_file_type(file_type)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        kinds = {
            tensor.name: _choose_tensor_type(tensor, wanted, _is_mixed_precision(reader)) for tensor in reader.tensors
        }
        _announce_tensors(reader, writer, kinds)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for data in _convert_tensors(reader, kinds, source, precision):
            writer.write_tensor_data(data)
    finally:
        writer.close()


MatrixChange = Callable[[str, NDArray[np.float32]], NDArray[np.float32]]
"""A matrix's name and its numbers (rows of weights) in, those that take their place out."""


def rewrite_file(
    source: Path, target: Path, change: MatrixChange | None, *, metadata: Mapping[str, float] | None = None
) -> None:
    """Copy a float32 `source`, every matrix that a quantiser would round changed by `change`.

    A stack of matrices (experts) is changed one by one; one tensor is held in memory at a time. `metadata` are numbers
    that take the place of those of the file. Raises WeightsError where something is not float32, or has no such number.
    """
    reader = open_gguf(source)
    for tensor in reader.tensors:
        if tensor.tensor_type != GGMLQuantizationType.F32:
            raise WeightsError(f"{source}: {tensor.name} is {tensor.tensor_type.name}; make a float32 file of it first")
    shutil.copyfile(source, target)
    with target.open("r+b") as file:  # in place: writing a vocabulary anew takes longer than all the numbers
        for key, value in (metadata or {}).items():
            _overwrite_number(file, reader.get_field(key), value, f"{source}: its metadata has no {key}")
        for tensor in reader.tensors:
            if change is not None and _is_rounded(tensor):
                changed = _change_matrices(tensor.name, tensor.data, change)
                file.seek(tensor.data_offset)
                file.write(changed.astype(tensor.data.dtype, copy=False).tobytes())


def _overwrite_number(file: IO[bytes], field: Any, value: float, otherwise: str) -> None:
    if field is None:
        raise WeightsError(otherwise)
    file.seek(field.offset + sum(part.nbytes for part in field.parts[:-1]))
    file.write(np.array([value], field.parts[-1].dtype).tobytes())


def _change_matrices(name: str, tensor: NDArray[np.float32], change: MatrixChange) -> NDArray[np.float32]:
    stack = tensor.reshape(-1, *tensor.shape[-2:])
    changed = np.stack([change(name, matrix) for matrix in stack]) if len(stack) > 1 else change(name, stack[0])
    return changed.reshape(tensor.shape)


def round_to_gguf_type(name: str, matrix: NDArray[np.float32], precision: str) -> NDArray[np.float32]:
    """A matrix of this name as `requantise_file` would store it, back in float32."""
    kind = _choose_matrix_type(name, matrix.shape[-1], _FILE_TYPES[precision][0])
    rounded: NDArray[np.float32] = gguf.quants.dequantize(gguf.quants.quantize(matrix, kind), kind)
    return rounded.reshape(matrix.shape)


def read_file_licence(path: Path) -> str | None:
    """The licence a GGUF file states of itself, or None. Raises WeightsError where it is no GGUF."""
    field = open_gguf(path).get_field("general.license")
    return str(field.contents()) if field is not None else None


def read_architecture(path: Path) -> str:
    """What a GGUF file calls its architecture, the first part of many of its metadata's keys. Raises WeightsError."""
    field = open_gguf(path).get_field("general.architecture")
    if field is None:
        raise WeightsError(f"{path}: no architecture in its metadata")
    return str(field.contents())


def find_layer(name: str) -> int | None:
    """Which layer a tensor of this name stands in; None for embeddings, the unembedding and what is outside."""
    first, _, rest = name.partition(".")
    number = rest.partition(".")[0]
    return int(number) if first == "blk" and number.isdecimal() else None


def count_layers(path: Path) -> int:
    """How many layers a GGUF file has. Raises WeightsError."""
    return 1 + max((find_layer(tensor.name) or 0 for tensor in open_gguf(path).tensors), default=0)


def open_gguf(path: Path) -> GGUFReader:
    """A reader of the file. Raises WeightsError where it is none."""
    return _read_gguf(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _read_gguf(path: Path, _: int) -> GGUFReader:
    # Reading a vocabulary takes seconds, and one file is often turned into several precisions in a row.
    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError) as problem:
        raise WeightsError(f"{path}: not a readable GGUF model file: {problem}") from None


def _copy_metadata(reader: GGUFReader, writer: GGUFWriter) -> None:
    for field in reader.fields.values():
        if field.name.startswith(_WRITTEN_ANYWAY):
            continue
        element = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=element)


def _is_mixed_precision(reader: GGUFReader) -> bool:
    matrices = {tensor.tensor_type for tensor in reader.tensors if len(tensor.shape) > 1}
    return len(matrices) > 1 or GGMLQuantizationType.F32 not in matrices


def _choose_tensor_type(tensor: Any, wanted: GGMLQuantizationType, mixed: bool) -> GGMLQuantizationType:
    """The type a tensor gets. What a mixed file holds in float32, whoever wrote it found too delicate to round."""
    f32 = GGMLQuantizationType.F32
    if (mixed and tensor.tensor_type == f32) or not _is_rounded(tensor):
        return f32
    return _choose_matrix_type(tensor.name, int(tensor.shape[0]), wanted)


def _is_rounded(tensor: Any) -> bool:
    """Whether a quantiser touches it: a matrix, and none that steers the computation."""
    return len(tensor.shape) > 1 and not any(mark in tensor.name for mark in _STEERING_TENSORS)


def _choose_matrix_type(name: str, row: int, wanted: GGMLQuantizationType) -> GGMLQuantizationType:
    f32, f16, q8_0 = GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.Q8_0
    if wanted in (f32, f16, GGMLQuantizationType.BF16):
        return wanted
    kind = q8_0 if name in _WIDER_TENSORS else wanted
    return kind if row % gguf.GGML_QUANT_SIZES[kind][0] == 0 else f16


def _announce_tensors(reader: GGUFReader, writer: GGUFWriter, kinds: dict[str, GGMLQuantizationType]) -> None:
    for tensor in reader.tensors:
        kind = kinds[tensor.name]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        shape = [int(n) for n in reversed(tensor.shape)]
        shape[-1] = shape[-1] // block * size
        count = int(np.prod([int(n) for n in tensor.shape]))
        writer.add_tensor_info(tensor.name, shape, np.dtype(np.uint8), count // block * size, raw_dtype=kind)


def _convert_tensors(
    reader: GGUFReader, kinds: dict[str, GGMLQuantizationType], source: Path, precision: str
) -> Iterator[NDArray[Any]]:
    for tensor in reader.tensors:
        kind = kinds[tensor.name]
        if tensor.tensor_type == kind:
            yield np.ascontiguousarray(tensor.data)
            continue
        try:
            exact = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            data = gguf.quants.quantize(exact, kind)
        except NotImplementedError:
            name = tensor.tensor_type.name
            raise WeightsError(f"{source}: {tensor.name} is {name}, which cannot be turned into {precision}") from None
        if kind == GGMLQuantizationType.F16 and not np.isfinite(data).all():
            raise WeightsError(f"{source}: {tensor.name} holds numbers too large for f16; use bf16")
        yield np.ascontiguousarray(data)
