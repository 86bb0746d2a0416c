"""An endpoint that tells the log-probabilities of given tokens in; each token's standing under its model out.

For a reference too large for this machine: a vLLM or SGLang server reads a whole response in one pass
and names the most likely tokens beside the one that stands there. A difference of two log-probabilities
is the difference of their logits, so the margins are those that the logits would give.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Never

from tempzero.answers.chat_messages import wire_message
from tempzero.answers.served_names import judge_served_name
from tempzero.config import Provider
from tempzero.engines.hosted.fault_catalogue import (
    outcome_of_break,
    outcome_of_inband_error,
    outcome_of_refusal,
    to_printable_line,
)
from tempzero.engines.hosted.openai_chat import ChatEngine, open_chat_engine
from tempzero.engines.hosted.prompt_logprobs_forms import (
    LOGPROB_FORMS,
    MalformedAnswer,
    TokenStanding,
    first_choice,
    require_token_ids,
)
from tempzero.errors import EngineError
from tempzero.types.asked import Message

__all__ = ["EndpointReader", "TokenStanding", "open_endpoint_reader"]

_PARTIAL_CHARACTER = "\ufffd"  # what a part of a character is shown as
_CONTROL_TOKEN = re.compile(r"[<\[].+[>\]]", re.DOTALL)
_ABSENT_STATUSES = (404, 405)


class EndpointReader:
    """Reads tokens through one endpoint. Make it with `open_reader`.

    Its methods block, and are called from one thread at a time, in which no event loop is running. An
    EngineError from an open reader is about these very tokens, or a passing fault: others may be readable.
    """

    def __init__(
        self, provider: Provider, environ: Mapping[str, str], texts: dict[tuple[int, ...], str] | None = None
    ) -> None:
        """Prepare to ask; nothing is sent yet. Raises EngineError for a key, header or URL that cannot be used.

        `texts`: what tokens are in letters, where readers of one model share what they learn of it.
        """
        assert provider.reads is not None, "the caller has seen `reads:`"
        assert provider.base_url is not None, "the configuration allows `reads:` beside `base_url:` only"
        self._provider, self._environ = provider, environ
        self._form = LOGPROB_FORMS[provider.reads]
        self._root = provider.base_url.removesuffix("/v1")
        self._api = provider.base_url.removeprefix(self._root)
        self._channels: dict[str, ChatEngine] = {}
        self._texts = {} if texts is None else texts
        self._has_tokenizer = True
        self._path = self._form.path if self._form.at_root else f"{self._api}{self._form.path}"
        self._channel(self._path)
        self._runner = asyncio.Runner()

    def describe(self) -> Mapping[str, Any]:
        """The endpoint and how much of its distributions can be seen, as JSON values without secrets."""
        return {
            **self._channel(self._path).describe(),
            "engine": "prompt_logprobs",
            "reads": self._provider.reads,
            "visible_tokens": self._form.visible,
            "ranks": "of all tokens" if self._form.ranks else f"of the first {self._form.visible}",
            "tokenizer": "/tokenize" if self._has_tokenizer else "return_token_ids",
        }

    async def aclose(self) -> None:
        """Close the connections. Safe to call twice."""
        await asyncio.to_thread(self._close)

    def prompt_ids(self, messages: Sequence[Message], *, template_values: Mapping[str, Any] | None = None) -> list[int]:
        """The token ids that the server's own chat template makes of these messages, given these values."""
        values = {} if template_values is None else {"chat_template_kwargs": dict(template_values)}
        fields = {**self._provider.fields, **values, "messages": [wire_message(m) for m in messages]}
        told = self._ask_tokenizer("/tokenize", {**fields, "add_generation_prompt": True})
        if told is not None:
            return self._ids("/tokenize", told.get("tokens"))
        path = f"{self._api}/chat/completions"
        told = self._require_answer(path, {**fields, "max_tokens": 1, "return_token_ids": True})
        return self._ids(path, told.get("prompt_token_ids"))

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a response's text, without a begin token. Control tokens spelled out in it are read as such."""
        return self._tokenized(text)[self._begin_tokens :]

    def pieces(self, token_ids: Sequence[int]) -> list[bytes]:
        """The bytes each token adds to a text: none for the end of the turn.

        A character made of several tokens counts to the last of them; one left incomplete is left out.
        Raises EngineError for ids that the server does not know.
        """
        pieces: list[bytes] = []
        pending: tuple[int, ...] = ()
        shown = 0
        for token in token_ids:
            if token in self.end_ids:
                pieces.append(b"")
                continue
            pending = (*pending, token)
            text = self._text_behind_anchor(pending)
            whole = text.rstrip(_PARTIAL_CHARACTER)
            pieces.append(whole[shown:].encode())
            pending, shown = ((), 0) if whole == text else (pending, len(whole))
        return pieces

    @functools.cached_property
    def end_ids(self) -> tuple[int, ...]:
        """The token that ends the model's turn, as the chat template writes it; empty where it writes none.

        Two conversations that differ in one answer have the same tokens behind it; the end comes first.
        """
        one, other = (self.prompt_ids(_sample_conversation(answer)) for answer in ("yes", "no"))
        behind: list[int] = []
        for mine, theirs in zip(reversed(one), reversed(other), strict=False):
            if mine != theirs:
                break
            behind.insert(0, mine)
        for token in behind:
            text = self._text_behind_anchor((token,)).strip()
            if text:
                return (token,) if _CONTROL_TOKEN.fullmatch(text) else ()
        return ()

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
        told = self._require_answer(self._path, self._form.request(token_ids, start))
        try:
            return self._form.standings(told, token_ids, start)
        except MalformedAnswer as problem:
            self._fail(self._path, str(problem))

    # --- texts ----------------------------------------------------------------------------------

    @functools.cached_property
    def _begin_tokens(self) -> int:
        """How many tokens the server puts before a text although it is asked not to."""
        ids = self._tokenized("a")
        return 1 if self._text(tuple(ids)) != "a" and self._text(tuple(ids[1:])) == "a" else 0

    @functools.cached_property
    def _anchor(self) -> int:
        """A plain token to put before others: some tokenizers drop a space that begins a text."""
        ids = self._tokenized("a")
        if not ids:
            self._fail("/tokenize", 'the text "a" has no tokens')
        return ids[-1]

    def _text_behind_anchor(self, token_ids: tuple[int, ...]) -> str:
        """The text of these tokens, behind others."""
        return self._text((self._anchor, *token_ids)).removeprefix(self._text((self._anchor,)))

    def _text(self, token_ids: tuple[int, ...]) -> str:
        if token_ids not in self._texts:
            self._texts[token_ids] = self._detokenized(token_ids) if token_ids else ""
        return self._texts[token_ids]

    def _detokenized(self, token_ids: tuple[int, ...]) -> str:
        told = self._ask_tokenizer("/detokenize", {"tokens": list(token_ids), "skip_special_tokens": False})
        if told is None:
            path = f"{self._api}/completions"
            told = first_choice(self._require_answer(path, {"prompt": list(token_ids), "max_tokens": 0, "echo": True}))
        text = told.get("prompt", told.get("text"))
        if not isinstance(text, str):
            self._fail("/detokenize", "no text came back for token ids")
        return text.encode(errors="backslashreplace").decode()

    def _tokenized(self, text: str) -> list[int]:
        fields = {"prompt": text, "add_special_tokens": False}
        told = self._ask_tokenizer("/tokenize", fields)
        if told is not None:
            return self._ids("/tokenize", told.get("tokens"))
        path = f"{self._api}/completions"
        told = self._require_answer(path, {**fields, "max_tokens": 1, "return_token_ids": True})
        return self._ids(path, first_choice(told).get("prompt_token_ids"))

    def _ask_tokenizer(self, path: str, fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What the server's tokenizer says; None where only the paths below base_url can be reached."""
        if not self._has_tokenizer:
            return None
        told = self._answer(path, fields, may_be_absent=self._provider.reads == "vllm")
        self._has_tokenizer = told is not None
        return told

    def _ids(self, path: str, value: Any) -> list[int]:
        try:
            return require_token_ids(value)
        except MalformedAnswer as problem:
            self._fail(path, str(problem))

    # --- the wire -------------------------------------------------------------------------------

    def _require_answer(self, path: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        told = self._answer(path, fields, may_be_absent=False)
        assert told is not None, "absence is an error here"
        return told

    def _answer(self, path: str, fields: Mapping[str, Any], *, may_be_absent: bool) -> Mapping[str, Any] | None:
        """The JSON object that comes back. Raises EngineError for everything else."""
        body = json.dumps({"model": self._provider.model, **fields}, ensure_ascii=False, allow_nan=False)
        reply = self._runner.run(self._channel(path).post(body))
        if reply.status is None or (reply.broken is not None and 200 <= reply.status < 300):
            assert reply.broken is not None, "without a head there is a reason for it"
            self._fail(path, outcome_of_break(reply.broken).detail)
        if may_be_absent and reply.status in _ABSENT_STATUSES:
            return None
        if not 200 <= reply.status < 300:
            self._fail(path, outcome_of_refusal(reply.status, reply.headers, reply.body).detail)
        try:
            value = json.loads(reply.body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            stated = to_printable_line(reply.headers.get("content-type", "no content type"))
            self._fail(path, f"HTTP {reply.status} with {len(reply.body)} bytes of {stated} that are no JSON object")
        if value.get("error"):
            self._fail(path, outcome_of_inband_error(value["error"], reply.headers).detail)
        self._check_model(path, value.get("model"))
        return value

    def _check_model(self, path: str, served: Any) -> None:
        asked, accepted = self._provider.model, self._provider.accepts_models
        if isinstance(served, str) and judge_served_name(served, asked=asked, accepted=accepted) == "other":
            self._fail(path, f"{to_printable_line(served)} answers where {asked} was asked")

    def _fail(self, path: str, problem: str) -> Never:
        """With the URL as the configuration writes it: filled in, it could hold a secret."""
        raise EngineError(f"{self._provider.name}: {self._root}{path}: {problem}")

    def _channel(self, path: str) -> ChatEngine:
        if path not in self._channels:
            at_root = self._provider.model_copy(update={"base_url": self._root})
            self._channels[path] = open_chat_engine(at_root, environ=self._environ, path=path)
        return self._channels[path]

    def _close(self) -> None:
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            self._runner.run(channel.aclose())
        self._runner.close()


def open_endpoint_reader(
    provider: Provider, *, environ: Mapping[str, str], texts: dict[tuple[int, ...], str] | None = None
) -> EndpointReader:
    """The reader of a `base_url:` provider with `reads:`, tried on one short text.

    Raises EngineError where the endpoint cannot be asked or does not tell what is needed.
    """
    reader = EndpointReader(provider, environ, texts)
    try:
        ids = reader.prompt_ids(_sample_conversation("yes")[:1])
        reader.read([*ids, *reader.tokenize("yes")], max(1, len(ids)))
    except EngineError:
        reader._close()
        raise
    return reader


def _sample_conversation(answer: str) -> list[Message]:
    return [
        Message(role="user", content="Is it?"),
        Message(role="assistant", content=answer),
        Message(role="user", content="Why?"),
    ]
