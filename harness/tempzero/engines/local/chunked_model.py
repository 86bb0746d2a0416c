"""Token ids in, rows of logits out, for models that read chunk by chunk and can keep a prefix."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tempzero.errors import EngineError

SCORED_ROWS = 128  # rows of logits held at a time: 25 MB for a vocabulary of 50,000


class ChunkedModel(ABC):
    """One sequence, its cache, and the rule that chunks are always cut at the same places.

    The size of a chunk changes the last bits of its logits. So that these depend on the tokens
    alone and never on what was read before, a prefix is kept by whole chunks or not at all.
    """

    context: int
    vocabulary: int

    def __init__(self, *, batch: int) -> None:
        self._batch_size = batch
        self._held: list[tuple[int, ...]] = []  # the chunks in the cache, in order

    @abstractmethod
    def _compute(self, chunk: tuple[int, ...], position: int, *, rows: int) -> NDArray[np.float32]:
        """Append a chunk to the cache; the logits after its last `rows` tokens, in memory of their own."""

    @abstractmethod
    def _shorten(self, tokens: int) -> bool:
        """Cut the cache back to its first tokens, 0 for none; whether that was possible."""

    def forget(self) -> None:
        """Empty the cache."""
        self._shorten(0)
        self._held.clear()

    def advance(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Append tokens, a batch at a time; the logits after the last one."""
        chunks = _cut_chunks(token_ids, self._batch_size)
        for chunk in chunks[:-1]:
            self._append(chunk, rows=0)
        row: NDArray[np.float32] = self._append(chunks[-1], rows=1)[0]
        return row

    def logits_after(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """What `forget` and `advance` would give, bit for bit, without computing a shared beginning again."""
        chunks = _cut_chunks(token_ids, self._batch_size)
        for chunk in chunks[self._keep(chunks[:-1]) : -1]:
            self._append(chunk, rows=0)
        row: NDArray[np.float32] = self._append(chunks[-1], rows=1)[0]
        return row

    def logits(self, token_ids: Sequence[int], start: int) -> Iterator[NDArray[np.float32]]:
        """Distributions over the tokens from `start` on and the one after the last, at most 128 rows at a time.

        Chunks before `start - 1` give no rows, and are taken over from the call before where equal.
        """
        fits = 1 <= start <= len(token_ids) <= self.context
        if not fits or not all(0 <= t < self.vocabulary for t in token_ids):
            raise EngineError(
                f"cannot score {len(token_ids)} tokens from {start} on: at least one must stand before, "
                f"all must be of this vocabulary, and {self.context} fit into the context"
            )
        prefix = _cut_chunks(token_ids[: start - 1], self._batch_size)
        for chunk in prefix[self._keep(prefix) :]:
            self._append(chunk, rows=0)
        for chunk in _cut_chunks(token_ids[start - 1 :], min(SCORED_ROWS, self._batch_size)):
            yield self._append(chunk, rows=len(chunk))

    def _keep(self, chunks: Sequence[tuple[int, ...]]) -> int:
        """Cut the cache back to the leading chunks it shares with `chunks`; how many those are."""
        shared = 0
        for held, wanted in zip(self._held, chunks, strict=False):
            if held != wanted:
                break
            shared += 1
        if not shared or not self._shorten(sum(map(len, chunks[:shared]))):
            self.forget()  # a recurrent model's state cannot be cut back
            return 0
        del self._held[shared:]
        return shared

    def _append(self, chunk: tuple[int, ...], *, rows: int) -> NDArray[np.float32]:
        position = sum(map(len, self._held))
        if position + len(chunk) > self.context:
            raise EngineError(f"{position + len(chunk)} tokens do not fit into a context of {self.context}")
        try:
            logits = self._compute(chunk, position, rows=rows)
        except EngineError:
            self.forget()
            raise
        self._held.append(chunk)
        return logits


def _cut_chunks(token_ids: Sequence[int], size: int) -> list[tuple[int, ...]]:
    return [tuple(token_ids[at : at + size]) for at in range(0, len(token_ids), size)]
