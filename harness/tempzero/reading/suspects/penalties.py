"""A penalty on what was said before, of each kind, over each window that serving engines count, and how strong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tempzero.reading.suspects.suspect import ChosenTokens, Logits, SamplerSuspect

PenaltyKind = Literal["presence", "frequency", "repetition"]
PenaltyWindow = Literal["prompt and answer", "last 64 tokens", "answer"]
# vLLM counts presence and frequency over the answer and repetition over all; llama.cpp everything over the last 64.
WINDOWS: tuple[PenaltyWindow, ...] = ("prompt and answer", "last 64 tokens", "answer")
_SUBTRACTED = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0)
_DIVIDED = (1.02, 1.05, 1.08, 1.1, 1.12, 1.15, 1.18, 1.2, 1.25, 1.3, 1.4, 1.5)
_LAST = 64


def count_before(chosen: ChosenTokens, window: PenaltyWindow) -> NDArray[np.int32]:
    """How often each of the best tokens stands in the window before its place."""
    context = np.asarray((*chosen.prompt, *chosen.tokens), np.int32)
    begin = len(chosen.prompt)
    counts = np.zeros(chosen.ids.shape, np.int32)
    for at, ids in enumerate(chosen.ids):
        end = begin + at
        first = {"prompt and answer": 0, "last 64 tokens": max(0, end - _LAST), "answer": begin}[window]
        counts[at] = (context[first:end, None] == ids[None, :]).sum(axis=0)
    return counts


def apply_penalty(logits: Logits, often: NDArray[np.int32], kind: PenaltyKind, strength: float) -> Logits:
    """Logits as the penalty leaves them, `often` each token stands in its window."""
    if kind == "frequency":
        return (logits - strength * often).astype(np.float32)
    if kind == "presence":
        return (logits - strength * (often > 0)).astype(np.float32)
    divided = np.where(logits > 0, logits / np.float32(strength), logits * np.float32(strength))
    return np.where(often > 0, divided, logits).astype(np.float32)


def suggest_penalties(chosen: Sequence[ChosenTokens]) -> Sequence[SamplerSuspect]:
    counted = {(id(one), window): count_before(one, window) for one in chosen for window in WINDOWS}

    def count(one: ChosenTokens, window: PenaltyWindow) -> NDArray[np.int32]:
        """Known beforehand, but for a response that is cut into other tokens meanwhile."""
        known = counted.get((id(one), window))
        return count_before(one, window) if known is None else known

    def penalise(kind: PenaltyKind, window: PenaltyWindow, strength: float) -> Callable[[ChosenTokens], Logits]:
        return lambda one: apply_penalty(one.logits, count(one, window), kind, strength)

    kinds: tuple[tuple[PenaltyKind, tuple[float, ...]], ...] = (
        ("presence", _SUBTRACTED),
        ("frequency", _SUBTRACTED),
        ("repetition", _DIVIDED),
    )
    return [
        SamplerSuspect(
            name=f"{kind}-{strength:g}-{window}",
            family="penalty on what was said",
            words=f"a {kind} penalty of {strength:g} (counted over: {window})",
            change=penalise(kind, window, strength),
        )
        for kind, strengths in kinds
        for window in WINDOWS
        for strength in strengths
    ]
