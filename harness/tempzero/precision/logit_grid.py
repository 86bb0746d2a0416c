"""Log-probabilities of several tokens in, the number format of the logits that they were made from out.

A log-probability is its logit less one number that all tokens of a prompt share. Where the logits were 16-bit numbers,
some shift puts all of them on the grid of that format at once. It is looked for where the reference's own logits lie:
near zero the numbers of a coarse format are as dense as those of a finer one elsewhere. It is a label of the engine: of
what it computes its last step in, and never of what its weights are held in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

LogitFormat = Literal["fp8", "bf16", "f16", "float32"]
"""float32: no coarser format fits."""
# Bits after the leading one, and the smallest exponent of a normal number; from coarse to fine.
_GRIDS: tuple[tuple[LogitFormat, int, int], ...] = (("fp8", 3, -6), ("bf16", 7, -126), ("f16", 10, -14))
_AROUND = 3.0  # logits: further from the reference's no honest engine's are
_FLOAT32_NOISE = 4e-6
_LEAST_CANDIDATES = 5
_LEAST_PROMPTS, _MOST_PROMPTS = 4, 12
# A format is told only where chance puts all candidates of a prompt onto its grid less often than this.
_CHANCE = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class LogitGrid:
    """The format, or None where the numbers are too few or too rounded to tell. `fitting` of `prompts` fit it."""

    format: LogitFormat | None
    fitting: int
    prompts: int


def find_logit_grid(
    prompts: Sequence[NDArray[np.float64]], normalisers: Sequence[float], decimals: int | None
) -> LogitGrid:
    """The coarsest format whose grid holds the log-probabilities of nine in ten prompts, each shifted by one number.

    `normalisers` are the reference's: what its own logits less its log-probabilities are.
    """
    several = [(np.sort(p)[::-1], n) for p, n in zip(prompts, normalisers, strict=True) if len(p) >= _LEAST_CANDIDATES]
    usable = several[:_MOST_PROMPTS]
    if len(usable) < _LEAST_PROMPTS:
        return LogitGrid(format=None, fitting=0, prompts=len(usable))
    rounding = _FLOAT32_NOISE if decimals is None else 0.5 * 10.0**-decimals + _FLOAT32_NOISE
    for name, bits, exponent in _GRIDS:
        told = [_fits_grid(p, n, bits, exponent, rounding) for p, n in usable]
        if None in told:
            return LogitGrid(format=None, fitting=0, prompts=len(usable))
        fitting = sum(bool(fits) for fits in told)
        if fitting >= 0.9 * len(usable):
            return LogitGrid(format=name, fitting=fitting, prompts=len(usable))
    return LogitGrid(format="float32", fitting=len(usable), prompts=len(usable))


def _fits_grid(
    logprobs: NDArray[np.float64], normaliser: float, bits: int, exponent: int, rounding: float
) -> bool | None:
    """Whether some shift puts all of them on the grid; None where chance alone might."""
    tops = _list_grid(logprobs[0] + normaliser, bits, exponent)
    below = (logprobs - logprobs[0])[1:]
    tolerance = 2 * rounding  # of the first candidate and of the other
    sample = tops[:: max(1, len(tops) // 2_000)]
    steps = _step_sizes(sample[:, None] + below[None, :], bits, exponent)
    expected = np.minimum(2 * tolerance / steps, 1).prod(axis=1).mean() * len(tops)
    if expected > _CHANCE:
        return None
    for difference in below:  # one after another: the first few leave hardly any shift
        logits = tops + difference
        steps = _step_sizes(logits, bits, exponent)
        tops = tops[np.abs(logits - np.rint(logits / steps) * steps) <= tolerance]
    return bool(len(tops))


def _step_sizes(logits: NDArray[np.float64], bits: int, exponent: int) -> NDArray[np.float64]:
    """How far a number of the format is from the next."""
    _, exponents = np.frexp(logits)
    sizes: NDArray[np.float64] = np.exp2(np.maximum(exponents - 1, exponent) - float(bits))
    return sizes


def _list_grid(near: float, bits: int, exponent: int) -> NDArray[np.float64]:
    """Every number of the format that is near; of those closer to zero than a thousandth, none."""
    powers = np.exp2(np.arange(max(exponent, -10), 12.0))
    sizes = (powers[:, None] * (1 + np.arange(2**bits) / 2**bits)).ravel()
    every = np.concatenate([-sizes, sizes])
    return every[np.abs(every - near) <= _AROUND]
