"""An endpoint that tells the log-probabilities of given tokens in; each token's standing under its model out.

For a reference too large for this machine: a server reads a response and names the most likely tokens beside each that
stands there. A difference of two log-probabilities is the difference of their logits, so the margins are those that the
logits would give. How each kind of server is asked stands in `readers`; how much at once, here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from tempzero.config import Provider
from tempzero.engines.hosted.endpoint_wire import EndpointWire, RefusedRequest
from tempzero.engines.hosted.readers import PROMPT_READERS
from tempzero.engines.hosted.token_texts import TokenizerSource, TokenTexts, build_sample_conversation
from tempzero.engines.hosted.told_tokens import MalformedAnswer, TokenStanding
from tempzero.errors import EngineError

__all__ = ["EndpointReader", "TokenStanding", "open_endpoint_reader"]

# Of a server that tells any part of a text: so many tokens a request, whose log-probabilities over a vocabulary of
# 150,000 are 600 MB there. A request for fewer than the second number is not made smaller.
_AT_ONCE, _AT_ONCE_LEAST = 1024, 64
# A text of so many tokens is too long for no server: where it is refused, that is for another reason.
_SHORT_TEXT = 256
# One refusal may be a passing fault, and a token at a time is slow: so many and longer texts are not sent whole again.
_REFUSALS_BELIEVED = 2


class EndpointReader:
    """Reads tokens through one endpoint. Make it with `open_reader`.

    Its methods block, and are called from one thread at a time, in which no event loop is running. An
    EngineError from an open reader is about these very tokens, or a passing fault: others may be readable.
    """

    def __init__(
        self,
        provider: Provider,
        environ: Mapping[str, str],
        texts: dict[tuple[int, ...], str] | None = None,
        tokenizer: TokenizerSource | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet. Raises EngineError for a key, header or URL that cannot be used.

        `texts`: what tokens are in letters, where readers of one model share what they learn of it. `tokenizer`: one
        that is asked in place of the server's.
        """
        assert provider.reads is not None, "the caller has seen `reads:`"
        self._provider = provider
        self._wire = EndpointWire(provider, environ)
        self._reader = PROMPT_READERS[provider.reads](provider, self._wire, tokenizer)
        self._wire.describe_path(self._reader.path)
        self._at_once, self._longest = provider.reads_at_once or _AT_ONCE, provider.reads_at_once
        self._refused: list[int] = []
        self._tokenizer = self._reader.tokenizer
        known = TokenTexts(self._tokenizer, {} if texts is None else texts)
        self._known, self.tokenize, self.pieces = known, known.tokenize, known.pieces
        self.prompt_ids = self._tokenizer.prompt_ids

    def describe(self) -> Mapping[str, Any]:
        """The endpoint and how much of its distributions can be seen, as JSON values without secrets."""
        return {
            **self._wire.describe_path(self._reader.path),
            "engine": "prompt_logprobs",
            "reads": self._provider.reads,
            "visible_tokens": self._reader.visible,
            "ranks": "of all tokens" if self._reader.ranks else f"of the first {self._reader.visible}",
            "tokenizer": self._tokenizer.describe(),
            **self._reader.describe(),
        }

    async def aclose(self) -> None:
        """Close the connections. Safe to call twice."""
        await asyncio.to_thread(self._wire.close)

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The token that ends the model's turn; empty where the chat template writes none."""
        return self._known.end_ids

    def read(self, token_ids: Sequence[int], start: int) -> list[TokenStanding]:
        """How each token from position `start` (1 or more) on stands in its own context.

        In one request, or in several where the text is longer than is to be told at once or the server refuses it as a
        whole; what they say is the same. Raises EngineError where the server does not tell, or reads another model or
        other tokens.
        """
        if not 1 <= start <= len(token_ids) or not all(type(t) is int and t >= 0 for t in token_ids):
            raise EngineError(
                f"{self._provider.name}: cannot read {len(token_ids)} tokens from {start} on: "
                "at least one must stand before, and all must be token ids"
            )
        if start == len(token_ids):
            return []
        try:
            if self._reader.tells == "whole":
                return self._read_whole(token_ids, start)
            if self._reader.tells == "part":
                return self._read_parts(token_ids, start)
            return self._reader.read_tokens(token_ids, start, len(token_ids))
        except MalformedAnswer as problem:
            self._wire.fail(self._reader.path, str(problem))

    def _read_whole(self, token_ids: Sequence[int], start: int) -> list[TokenStanding]:
        """All in one request; of a text that is too long for that each token by itself, where that can be asked."""
        end, single = len(token_ids), self._reader.reads_single_tokens
        if single and self._longest is not None and end > self._longest:
            return [self._reader.read_token(token_ids, at) for at in range(start, end)]
        try:
            return self._reader.read_tokens(token_ids, start, end)
        except RefusedRequest as refusal:
            if not single or end <= _SHORT_TEXT:
                raise
            try:  # the last one first: it is refused too where the text does not fit into the context
                last = self._reader.read_token(token_ids, end - 1)
            except (EngineError, MalformedAnswer):
                raise refusal from None
        self._refused.append(end)
        if len(self._refused) >= _REFUSALS_BELIEVED:
            self._longest = min(self._refused) - 1
        return [*(self._reader.read_token(token_ids, at) for at in range(start, end - 1)), last]

    def _read_parts(self, token_ids: Sequence[int], start: int) -> list[TokenStanding]:
        """One part after another; smaller ones, now and later, where the server refuses one."""
        found: list[TokenStanding] = []
        size = self._at_once
        while (at := start + len(found)) < len(token_ids):
            end = min(at + size, len(token_ids))
            try:
                found += self._reader.read_tokens(token_ids, at, end)
            except RefusedRequest:
                if end - at <= _AT_ONCE_LEAST:
                    raise
                size = max(_AT_ONCE_LEAST, (end - at) // 2)
        self._at_once = size
        return found

    def try_out(self) -> None:
        """Read one short text. Raises EngineError, closed, where the endpoint does not tell what is needed."""
        try:
            ids = self.prompt_ids(build_sample_conversation("yes")[:1])
            self.read([*ids, *self.tokenize("yes")], max(1, len(ids)))
        except EngineError:
            self._wire.close()
            raise


def open_endpoint_reader(
    provider: Provider,
    *,
    environ: Mapping[str, str],
    texts: dict[tuple[int, ...], str] | None = None,
    tokenizer: TokenizerSource | None = None,
) -> EndpointReader:
    """The reader of a `base_url:` provider with `reads:`, tried on one short text.

    Raises EngineError where the endpoint cannot be asked or does not tell what is needed.
    """
    reader = EndpointReader(provider, environ, texts, tokenizer)
    reader.try_out()
    return reader
