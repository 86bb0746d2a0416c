"""An endpoint that tells the log-probabilities of given tokens in; each token's standing under its model out.

For a reference too large for this machine: a vLLM or SGLang server reads a whole response in one pass
and names the most likely tokens beside the one that stands there. A difference of two log-probabilities
is the difference of their logits, so the margins are those that the logits would give.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from tempzero.config import Provider
from tempzero.engines.hosted.endpoint_wire import EndpointWire
from tempzero.engines.hosted.prompt_logprobs_forms import LOGPROB_FORMS, MalformedAnswer, TokenStanding
from tempzero.engines.hosted.server_tokenizer import ServerTokenizer
from tempzero.engines.hosted.token_texts import TokenizerSource, TokenTexts, build_sample_conversation
from tempzero.errors import EngineError

__all__ = ["EndpointReader", "TokenStanding", "open_endpoint_reader"]


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
        self._form = LOGPROB_FORMS[provider.reads]
        self._wire = EndpointWire(provider, environ)
        self._path = self._form.path if self._form.at_root else f"{self._wire.api}{self._form.path}"
        self._wire.describe_path(self._path)
        self._tokenizer = ServerTokenizer(provider, self._wire) if tokenizer is None else tokenizer
        known = TokenTexts(self._tokenizer, {} if texts is None else texts)
        self._known, self.tokenize, self.pieces = known, known.tokenize, known.pieces
        self.prompt_ids = self._tokenizer.prompt_ids

    def describe(self) -> Mapping[str, Any]:
        """The endpoint and how much of its distributions can be seen, as JSON values without secrets."""
        return {
            **self._wire.describe_path(self._path),
            "engine": "prompt_logprobs",
            "reads": self._provider.reads,
            "visible_tokens": self._form.visible,
            "ranks": "of all tokens" if self._form.ranks else f"of the first {self._form.visible}",
            "tokenizer": self._tokenizer.describe(),
        }

    async def aclose(self) -> None:
        """Close the connections. Safe to call twice."""
        await asyncio.to_thread(self._wire.close)

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The token that ends the model's turn; empty where the chat template writes none."""
        return self._known.end_ids

    def read(self, token_ids: Sequence[int], start: int) -> list[TokenStanding]:
        """How each token from position `start` (1 or more) on stands in its own context, in one request.

        Raises EngineError where the server does not tell, or reads another model or other tokens.
        """
        if not 1 <= start <= len(token_ids) or not all(type(t) is int and t >= 0 for t in token_ids):
            raise EngineError(
                f"{self._provider.name}: cannot read {len(token_ids)} tokens from {start} on: "
                "at least one must stand before, and all must be token ids"
            )
        if start == len(token_ids):
            return []
        told = self._wire.require_answer(self._path, self._form.request(token_ids, start))
        try:
            return self._form.standings(told, token_ids, start)
        except MalformedAnswer as problem:
            self._wire.fail(self._path, str(problem))

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
