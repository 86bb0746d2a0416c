"""Long prompts are cut to fit: their beginning, their end or their middle is lost, at the usual lengths in tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tempzero.reading.suspects.suspect import AskedPrompt, RequestSuspect

_LENGTHS = (128, 200, 256, 384, 400, 500, 512, 768, 1000, 1024, 1536, 2000, 2048, 3072, 4000, 4096)


def _keep(length: int, cut: Callable[[Sequence[int], int], Sequence[int]]) -> Callable[[AskedPrompt], Sequence[int]]:
    return lambda asked: cut(asked.ids, length) if len(asked.ids) > length else asked.ids


def _cut_beginning(ids: Sequence[int], length: int) -> Sequence[int]:
    return ids[-length:]


def _cut_end(ids: Sequence[int], length: int) -> Sequence[int]:
    return ids[:length]


def _cut_middle(ids: Sequence[int], length: int) -> Sequence[int]:
    return [*ids[: length // 2], *ids[-(length - length // 2) :]]


CONTEXT_CUT = tuple(
    RequestSuspect(
        name=f"{name}-cut-to-{length}",
        family=f"{name} of long prompts cut",
        words=f"prompts are cut to {length:,} tokens by leaving out their {name}",
        change=_keep(length, cut),
        loud=True,
    )
    for name, cut in (("beginning", _cut_beginning), ("end", _cut_end), ("middle", _cut_middle))
    for length in _LENGTHS
)
