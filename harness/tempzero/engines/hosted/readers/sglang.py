"""Token ids in, how they stand under an SGLang server's model out: /generate with `return_logprob`.

It tells [logprob, id, text] of each token from `logprob_start_len` on, the first one's logprob null, and beside them
the most likely ones. No rank: only the visible ones are known.
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
    is_token_id,
    require_list,
    require_logprob,
)


class SglangReader:
    """See `readers.PromptReader`."""

    path, visible, ranks, reads_single_tokens = "/generate", 20, False, False
    tells: Literal["part"] = "part"

    def __init__(self, provider: Provider, wire: EndpointWire, tokenizer: TokenizerSource | None) -> None:
        self._wire = wire
        self.tokenizer: TokenizerSource = tokenizer or ServerTokenizer(provider, wire)

    def describe(self) -> Mapping[str, Any]:
        return {}

    def read_tokens(self, token_ids: Sequence[int], start: int, end: int) -> list[TokenStanding]:
        fields = {
            "input_ids": list(token_ids[:end]),
            "sampling_params": {"max_new_tokens": 1, **UNPROCESSED},
            "return_logprob": True,
            "logprob_start_len": start - 1,
            "top_logprobs_num": self.visible,
            "return_text_in_logprobs": True,
        }
        meta = self._wire.require_answer(self.path, fields).get("meta_info")
        return _read_meta_info(meta if isinstance(meta, dict) else {}, token_ids[start:end])

    def read_token(self, token_ids: Sequence[int], at: int) -> TokenStanding:
        return self.read_tokens(token_ids, at, at + 1)[0]


def _read_meta_info(meta: Mapping[str, Any], token_ids: Sequence[int]) -> list[TokenStanding]:
    own = require_list(meta.get("input_token_logprobs"), "meta_info.input_token_logprobs")
    top = require_list(meta.get("input_top_logprobs"), "meta_info.input_top_logprobs")
    count = len(token_ids) + 1
    if not len(own) == len(top) == count:
        raise MalformedAnswer(f"it tells of {len(own)} and {len(top)} tokens where {count} were asked for")
    triples = zip(token_ids, own[1:], top[1:], strict=True)
    return [_read_sglang_entry(token, mine, rivals) for token, mine, rivals in triples]


def _read_sglang_entry(token: int, mine: Any, told: Any) -> TokenStanding:
    logprob, shown, _ = _parse_logprob_entry(mine)
    if shown not in (token, 0):  # the vocabulary's last ids are shown as 0
        raise MalformedAnswer(f"token {token} is not where it was sent")
    rivals = {}
    for entry in require_list(told, "meta_info.input_top_logprobs[]"):
        value, token_id, text = _parse_logprob_entry(entry)
        rivals[token_id] = RivalToken(value, text)
    above = sum(rival.logprob > logprob for rival in rivals.values())
    return build_standing(token, logprob, rivals, above + 1)


def _parse_logprob_entry(entry: Any) -> tuple[float, int, str]:
    if not isinstance(entry, list) or len(entry) < 2 or not is_token_id(entry[1]):
        raise MalformedAnswer("a logprob is not given with its token id")
    return require_logprob(entry[0]), entry[1], as_storable_text(entry[2]) if len(entry) > 2 else ""
