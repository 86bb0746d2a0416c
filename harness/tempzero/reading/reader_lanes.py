"""Several readers of one model in, one out that reads with a reader of its own in every thread that asks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from tempzero.metrics import decoding
from tempzero.reading.references import EndpointReference
from tempzero.types.asked import Message


class PooledReference:
    """Several readers of one model as one: each thread that asks has a reader of its own."""

    def __init__(self, references: Sequence[EndpointReference]) -> None:
        self._waiting, self._own = deque(references), threading.local()
        first = references[0]
        self.exact, self.until_difference, self.written = first.exact, first.until_difference, first.written
        self.vocabulary, self.end_ids, self.describe = first.vocabulary, first.end_ids, first.describe
        # In this thread, which waits while others read, the first serves as well.
        self._first = self._own.reference = first

    def prompt_ids(
        self,
        messages: Sequence[Message],
        *,
        chat_template: str | None = None,
        template_values: Mapping[str, Any] | None = None,
    ) -> list[int]:
        return self._mine().prompt_ids(messages, chat_template=chat_template, template_values=template_values)

    def tokenize(self, text: str) -> list[int]:
        return self._mine().tokenize(text)

    def pieces(self, token_ids: Sequence[int]) -> list[bytes]:
        return self._mine().pieces(token_ids)

    def read(self, prompt: Sequence[int], ids: Sequence[int], *, ended: bool) -> decoding.TokenStandings:
        standings = self._mine().read(prompt, ids, ended=ended)
        if self._mine() is not self._first:  # whoever reads under suspects later need not read this again
            self._first.remember(prompt, ids, standings, ended=ended)
        return standings

    def _mine(self) -> EndpointReference:
        if not hasattr(self._own, "reference"):
            self._own.reference = self._waiting.popleft()
        reference: EndpointReference = self._own.reference
        return reference
