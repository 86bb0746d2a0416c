"""Distinct outputs of one prompt (texts or token ids) in, the matrix of their similarities in [0, 1] out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# A text, or the ids of its tokens in one named tokenizer.
Output = str | Sequence[int]

# Never a character or a token: marks the places after an output's end.
_END = -1


def one_hot_kernel(outputs: Sequence[Output]) -> NDArray[np.float64]:
    """1 for the same output, 0 for any other: MMD² is then twice the excess divergence."""
    return np.eye(len(outputs))


def prefix_kernel(outputs: Sequence[Output]) -> NDArray[np.float64]:
    """Length of the common prefix / length of the longer output; 1 for the same output."""
    codes = _encode_outputs(outputs)
    lengths = np.count_nonzero(codes != _END, axis=1)
    similarity = np.eye(len(outputs))
    for i in range(len(outputs) - 1):
        common = (codes[i + 1 :] != codes[i]).argmax(axis=1)
        similarity[i, i + 1 :] = common / np.maximum(lengths[i + 1 :], lengths[i])
    return np.maximum(similarity, similarity.T)


def hamming_kernel(outputs: Sequence[Output], *, length: int) -> NDArray[np.float64]:
    """Share of equal places among the first `length`, shorter outputs padded (Gao et al. 2410.20247)."""
    codes = _encode_outputs([output[:length] for output in outputs])
    padding = length - codes.shape[1]
    similarity = np.empty((len(outputs), len(outputs)))
    for i, row in enumerate(codes):
        similarity[i] = ((codes == row).sum(axis=1) + padding) / length
    return similarity


def _encode_outputs(outputs: Sequence[Output]) -> NDArray[np.int64]:
    """One row an output, one number a character or token, `_END` to the length of the longest."""
    codes = np.full((len(outputs), max((len(o) for o in outputs), default=0)), _END, dtype=np.int64)
    for row, output in zip(codes, outputs, strict=True):
        row[: len(output)] = [ord(place) if isinstance(place, str) else place for place in output]
    return codes
