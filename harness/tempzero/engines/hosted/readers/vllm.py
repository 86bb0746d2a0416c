"""Token ids in, how they stand under a vLLM server's model out: /v1/completions with `prompt_logprobs`.

For each token of the prompt it tells a map of token id -> logprob, rank, text; the rank is over the whole vocabulary.
The whole prompt is told, the first token as null, so a text that is too long for that is read a token at a time: the
token is forced (`allowed_token_ids`), which leaves the log-probabilities that are shown as they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tempzero.config import Provider
from tempzero.engines.hosted.endpoint_wire import EndpointWire
from tempzero.engines.hosted.server_tokenizer import ServerTokenizer
from tempzero.engines.hosted.token_texts import TokenizerSource
from tempzero.engines.hosted.told_tokens import (
    UNPROCESSED,
    MalformedAnswer,
    RivalToken,
    TokenStanding,
    as_storable_text,
    build_standing,
    first_choice,
    is_token_id,
    require_list,
    require_logprob,
)

VISIBLE = 2
_ID_MARK = "token_id:"
# Values that a server makes of minus infinity: the shown ones are those of the forced choice.
_IMPOSSIBLE = -9000.0


class VllmReader:
    """See `readers.PromptReader`."""

    visible, ranks, reads_single_tokens = VISIBLE, True, True
    tells: Literal["whole"] = "whole"

    def __init__(self, provider: Provider, wire: EndpointWire, tokenizer: TokenizerSource | None) -> None:
        self.path, self._wire = f"{wire.api}/completions", wire
        self.tokenizer: TokenizerSource = tokenizer or ServerTokenizer(provider, wire)

    def describe(self) -> Mapping[str, Any]:
        return {}

    def read_tokens(self, token_ids: Sequence[int], start: int, end: int) -> list[TokenStanding]:
        told = self._wire.require_answer(self.path, {"prompt": list(token_ids[:end]), **build_vllm_fields()})
        return read_vllm_answer(told, token_ids[:end], start)

    def read_token(self, token_ids: Sequence[int], at: int) -> TokenStanding:
        fields = {
            "prompt": list(token_ids[:at]),
            "max_tokens": 1,
            "logprobs": VISIBLE,
            "allowed_token_ids": [token_ids[at]],
            "return_tokens_as_token_ids": True,
            **UNPROCESSED,
        }
        told = first_choice(self._wire.require_answer(self.path, fields)).get("logprobs")
        return _read_forced_token(told if isinstance(told, dict) else {}, token_ids[at])


def build_vllm_fields() -> dict[str, Any]:
    """What makes a server tell of the prompt, which stands beside it."""
    return {"max_tokens": 1, "prompt_logprobs": VISIBLE, **UNPROCESSED}


def read_vllm_answer(value: Mapping[str, Any], token_ids: Sequence[int], start: int) -> list[TokenStanding]:
    """What an answer to these tokens says of those from `start` on. Raises Malformed."""
    told = require_list(first_choice(value).get("prompt_logprobs"), "prompt_logprobs")
    if len(told) != len(token_ids):
        raise MalformedAnswer(f"prompt_logprobs tells of {len(told)} tokens, {len(token_ids)} were sent")
    pairs = zip(token_ids[start:], told[start:], strict=True)
    return [_read_vllm_entry(token, entry) for token, entry in pairs]


def _read_vllm_entry(token: int, entry: Any) -> TokenStanding:
    if not isinstance(entry, dict) or str(token) not in entry:
        raise MalformedAnswer(f"token {token} is not where it was sent")
    rivals = {}
    for name, told in entry.items():
        if not isinstance(told, dict) or not _names_token(name):
            raise MalformedAnswer("prompt_logprobs holds something else than token ids with their logprobs")
        rivals[int(name)] = RivalToken(
            require_logprob(told.get("logprob")), as_storable_text(told.get("decoded_token"))
        )
    rank = entry[str(token)].get("rank")
    if not is_token_id(rank) or rank < 1:
        raise MalformedAnswer("prompt_logprobs tells no ranks")
    return build_standing(token, rivals[token].logprob, rivals, rank)


def _read_forced_token(told: Mapping[str, Any], token: int) -> TokenStanding:
    """Of a token that was forced; its rank is known among the visible ones only."""
    tokens, logprobs, tops = (told.get(name) for name in ("tokens", "token_logprobs", "top_logprobs"))
    shown = tops[0] if isinstance(tops, list) and tops else None
    if tokens != [f"{_ID_MARK}{token}"] or not isinstance(logprobs, list) or not isinstance(shown, dict):
        raise MalformedAnswer(f"token {token} was asked for by allowed_token_ids, and is not what came")
    logprob = require_logprob(logprobs[0] if logprobs else None)
    rivals = {token: RivalToken(logprob, "")}
    for name, value in shown.items():
        number = name.removeprefix(_ID_MARK)
        if not _names_token(number):
            raise MalformedAnswer("top_logprobs holds something else than token ids")
        rivals[int(number)] = RivalToken(require_logprob(value), "")
    if len(rivals) > 1 and all(rival.logprob < _IMPOSSIBLE for other, rival in rivals.items() if other != token):
        raise MalformedAnswer("the server shows what it was forced to; it needs --logprobs-mode raw_logprobs")
    above = sum(rival.logprob > logprob for rival in rivals.values())
    return build_standing(token, logprob, rivals, above + 1)


def _names_token(name: str) -> bool:
    return name.isdecimal() and len(name) <= 10 and is_token_id(int(name))
