"""Several readers of one model in, one out that reads with whichever is idle, for threads that read side by side."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tempzero.metrics import decoding
from tempzero.reading.references import ReferenceModel
from tempzero.types.asked import Message


class PooledReference:
    """Several readers of one model as one; who asks while all of them read waits."""

    def __init__(self, references: Sequence[ReferenceModel]) -> None:
        self._idle: queue.SimpleQueue[ReferenceModel] = queue.SimpleQueue()
        for reference in references:
            self._idle.put(reference)
        first = references[0]
        self.exact, self.until_difference, self.written = first.exact, first.until_difference, first.written
        self.vocabulary, self.end_ids, self.describe = first.vocabulary, first.end_ids, first.describe

    def prompt_ids(
        self,
        messages: Sequence[Message],
        *,
        chat_template: str | None = None,
        template_values: Mapping[str, Any] | None = None,
    ) -> list[int]:
        with self._borrow() as one:
            return one.prompt_ids(messages, chat_template=chat_template, template_values=template_values)

    def tokenize(self, text: str) -> list[int]:
        with self._borrow() as one:
            return one.tokenize(text)

    def pieces(self, token_ids: Sequence[int]) -> list[bytes]:
        with self._borrow() as one:
            return one.pieces(token_ids)

    def read(self, prompt: Sequence[int], ids: Sequence[int], *, ended: bool) -> decoding.TokenStandings:
        with self._borrow() as one:
            return one.read(prompt, ids, ended=ended)

    @contextlib.contextmanager
    def _borrow(self) -> Iterator[ReferenceModel]:
        one = self._idle.get()
        try:
            yield one
        finally:
            self._idle.put(one)
