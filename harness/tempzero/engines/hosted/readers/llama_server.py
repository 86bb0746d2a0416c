"""Token ids in, how they stand under the model of llama.cpp's own server out: /completion with `n_probs`.

It tells log-probabilities of what it writes and of no prompt (in October 2026 it ignores `echo`), so each token is a
request: all that stands before it is the prompt, of which the server still holds what the last request read
(`cache_prompt`), and the token itself is forced by `logit_bias`. What is shown are the values before that. Of a token
that ends within a character nothing is shown; it is found among the likeliest ones instead, of which as many are asked
for as it takes, while another token is forced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tempzero.answers.chat_messages import wire_message
from tempzero.config import Provider
from tempzero.engines.hosted.endpoint_wire import EndpointWire
from tempzero.engines.hosted.token_texts import TokenizerSource
from tempzero.engines.hosted.told_tokens import (
    MalformedAnswer,
    RivalToken,
    TokenStanding,
    as_storable_text,
    build_standing,
    is_token_id,
    require_list,
    require_logprob,
    require_token_ids,
)
from tempzero.types.asked import Message

_FORCING = 1e6
# The server shows probabilities that 32 bits cannot hold as the least number there is; they are smaller than this one.
_LEAST_SHOWN, _LEAST_TOLD = -1e6, -103.0
_MORE_VISIBLE = (1000, 1 << 20)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """What a server shows of one place: the forced token's log-probability, and the likeliest ones."""

    logprob: float
    rivals: Mapping[int, RivalToken]


class LlamaServerReader:
    """See `readers.PromptReader`."""

    visible, ranks, reads_single_tokens = 20, False, True
    tells: Literal["token"] = "token"
    path = "/completion"

    def __init__(self, provider: Provider, wire: EndpointWire, tokenizer: TokenizerSource | None) -> None:
        self._wire = wire
        self.tokenizer: TokenizerSource = tokenizer or _LlamaServerTokenizer(provider, wire)

    def describe(self) -> Mapping[str, Any]:
        return {}

    def read_tokens(self, token_ids: Sequence[int], start: int, end: int) -> list[TokenStanding]:
        return [self.read_token(token_ids, at) for at in range(start, end)]

    def read_token(self, token_ids: Sequence[int], at: int) -> TokenStanding:
        token = token_ids[at]
        place = self._ask_place(token_ids[:at], token, self.visible)
        if place is not None:
            return _build_place_standing(token, place.logprob, place.rivals)
        plain = self.tokenizer.tokenize("a")[-1]
        for shown in (self.visible, *_MORE_VISIBLE):
            place = self._ask_place(token_ids[:at], plain, shown)
            if place is not None and token in place.rivals:
                likeliest = sorted(place.rivals, key=lambda t: -place.rivals[t].logprob)[: self.visible]
                return _build_place_standing(
                    token, place.rivals[token].logprob, {t: place.rivals[t] for t in likeliest}
                )
        raise MalformedAnswer(f"token {token} is not among those that it shows")

    def _ask_place(self, before: Sequence[int], forced: int, shown: int) -> _Place | None:
        """What is likely behind these tokens; None where nothing is shown of the forced one."""
        fields = {
            "prompt": list(before),
            "n_predict": 1,
            "n_probs": shown,
            "logit_bias": [[forced, _FORCING]],
            "samplers": [],
            "temperature": 1,
            "cache_prompt": True,
            "response_fields": ["completion_probabilities", "model", "tokens_predicted"],
        }
        told = self._wire.require_answer(self.path, fields)
        if "completion_probabilities" not in told and told.get("tokens_predicted") == 1:
            return None
        return _parse_place(told.get("completion_probabilities"), forced)


class _LlamaServerTokenizer:
    """See `token_texts.TokenizerSource`."""

    def __init__(self, provider: Provider, wire: EndpointWire) -> None:
        self._provider, self._wire = provider, wire

    def describe(self) -> str:
        return "/apply-template, /tokenize"

    def prompt_ids(self, messages: Sequence[Message], *, template_values: Mapping[str, Any] | None = None) -> list[int]:
        values = {} if template_values is None else {"chat_template_kwargs": dict(template_values)}
        fields = {**self._provider.fields, **values, "messages": [wire_message(m) for m in messages]}
        told = self._wire.require_answer("/apply-template", fields)
        return self._ask_tokens(self._require_text("/apply-template", told.get("prompt")), begins=True)

    def tokenize(self, text: str) -> list[int]:
        return self._ask_tokens(text, begins=False)

    def detokenize(self, token_ids: Sequence[int]) -> str:
        told = self._wire.require_answer("/detokenize", {"tokens": list(token_ids)})
        return self._require_text("/detokenize", told.get("content"))

    def _ask_tokens(self, text: str, *, begins: bool) -> list[int]:
        told = self._wire.require_answer("/tokenize", {"content": text, "add_special": begins, "parse_special": True})
        try:
            return require_token_ids(told.get("tokens"))
        except MalformedAnswer as problem:
            self._wire.fail("/tokenize", str(problem))

    def _require_text(self, path: str, value: Any) -> str:
        if not isinstance(value, str):
            self._wire.fail(path, "no text came back")
        return value.encode(errors="backslashreplace").decode()


def _parse_place(told: Any, forced: int) -> _Place:
    (place, *_) = require_list(told, "completion_probabilities") or [None]
    if not isinstance(place, dict) or place.get("id") != forced:
        raise MalformedAnswer(f"token {forced} was asked for by logit_bias, and is not what came")
    rivals = {}
    for shown in require_list(place.get("top_logprobs"), "completion_probabilities[].top_logprobs"):
        if not isinstance(shown, dict) or not is_token_id(shown.get("id")):
            raise MalformedAnswer("a logprob is not given with its token id")
        rivals[shown["id"]] = RivalToken(_read_probability(shown.get("logprob")), as_storable_text(shown.get("token")))
    return _Place(logprob=_read_probability(place.get("logprob")), rivals=rivals)


def _build_place_standing(token: int, logprob: float, rivals: Mapping[int, RivalToken]) -> TokenStanding:
    above = sum(rival.logprob > logprob for rival in rivals.values())
    return build_standing(token, logprob, rivals, above + 1)


def _read_probability(value: Any) -> float:
    small = type(value) in (int, float) and value < _LEAST_SHOWN
    return _LEAST_TOLD if small else require_logprob(value)
