"""An endpoint that reads in, its own tokenizer out: /tokenize and /detokenize, or what stands below /v1 alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tempzero.answers.chat_messages import wire_message
from tempzero.config import Provider
from tempzero.engines.hosted.endpoint_wire import EndpointWire
from tempzero.engines.hosted.told_tokens import MalformedAnswer, first_choice, require_token_ids
from tempzero.types.asked import Message


class ServerTokenizer:
    """See `token_texts.TokenizerSource`."""

    def __init__(self, provider: Provider, wire: EndpointWire) -> None:
        self._provider, self._wire = provider, wire
        self._is_there = True

    def describe(self) -> str:
        """Which paths it was asked by."""
        return "/tokenize" if self._is_there else "return_token_ids"

    def prompt_ids(self, messages: Sequence[Message], *, template_values: Mapping[str, Any] | None = None) -> list[int]:
        values = {} if template_values is None else {"chat_template_kwargs": dict(template_values)}
        fields = {**self._provider.fields, **values, "messages": [wire_message(m) for m in messages]}
        told = self._ask("/tokenize", {**fields, "add_generation_prompt": True})
        if told is not None:
            return self._require_ids("/tokenize", told.get("tokens"))
        path = f"{self._wire.api}/chat/completions"
        told = self._wire.require_answer(path, {**fields, "max_tokens": 1, "return_token_ids": True})
        return self._require_ids(path, told.get("prompt_token_ids"))

    def tokenize(self, text: str) -> list[int]:
        fields = {"prompt": text, "add_special_tokens": False}
        told = self._ask("/tokenize", fields)
        if told is not None:
            return self._require_ids("/tokenize", told.get("tokens"))
        path = f"{self._wire.api}/completions"
        told = self._wire.require_answer(path, {**fields, "max_tokens": 1, "return_token_ids": True})
        return self._require_ids(path, first_choice(told).get("prompt_token_ids"))

    def detokenize(self, token_ids: Sequence[int]) -> str:
        told = self._ask("/detokenize", {"tokens": list(token_ids), "skip_special_tokens": False})
        if told is None:
            path = f"{self._wire.api}/completions"
            fields = {"prompt": list(token_ids), "max_tokens": 0, "echo": True}
            told = first_choice(self._wire.require_answer(path, fields))
        text = told.get("prompt", told.get("text"))
        if not isinstance(text, str):
            self._wire.fail("/detokenize", "no text came back for token ids")
        return text.encode(errors="backslashreplace").decode()

    def _ask(self, path: str, fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What the server's tokenizer says; None where only the paths below base_url can be reached."""
        if not self._is_there:
            return None
        told = self._wire.ask(path, fields, may_be_absent=self._provider.reads == "vllm")
        self._is_there = told is not None
        return told

    def _require_ids(self, path: str, value: Any) -> list[int]:
        try:
            return require_token_ids(value)
        except MalformedAnswer as problem:
            self._wire.fail(path, str(problem))
