"""Similarities of texts that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from tempzero import stats


def test_prefix_kernel_counts_the_common_beginning() -> None:
    """Two texts are as alike as the share of the longer one up to their first difference."""
    kernel = stats.prefix_kernel(["abcd", "abXdefgh", "", "abcdefgh"])
    expected = [[1, 2 / 8, 0, 4 / 8], [2 / 8, 1, 0, 2 / 8], [0, 0, 1, 0], [4 / 8, 2 / 8, 0, 1]]
    assert kernel == pytest.approx(np.array(expected))


def test_hamming_kernel_counts_equal_places_and_padding() -> None:
    """Places after both ends are equal, as in the definition with padded texts; what is beyond `length` is not seen."""
    kernel = stats.hamming_kernel(["abcd", "aXcd", "ab", "abcdLATER"], length=4)
    assert kernel[0] == pytest.approx([1, 3 / 4, 2 / 4, 1])
    assert stats.hamming_kernel(["ab", "aX"], length=10)[0, 1] == pytest.approx(9 / 10)


def test_tokens_are_outputs_too() -> None:
    """The same kernels compare token ids."""
    assert stats.prefix_kernel([(7, 8, 9), (7, 8, 1, 2)])[0, 1] == pytest.approx(2 / 4)
    assert stats.hamming_kernel([[7, 8, 9], [7, 1, 9]], length=3)[0, 1] == pytest.approx(2 / 3)


def test_characters_outside_the_basic_plane_count_once() -> None:
    """An emoji or a lone surrogate in a model's output is one place and no error."""
    assert stats.prefix_kernel(["a😀b", "a😀c"])[0, 1] == pytest.approx(2 / 3)
    assert stats.prefix_kernel(["\ud800x", "\ud800y"])[0, 1] == pytest.approx(1 / 2)


def test_no_outputs_make_an_empty_kernel() -> None:
    """A prompt that nobody answered has nothing to compare."""
    for kernel in (stats.one_hot_kernel([]), stats.prefix_kernel([]), stats.hamming_kernel([], length=5)):
        assert kernel.shape == (0, 0)
