"""Token ids in, the request that makes a server tell their log-probabilities out; and its answer in, standings out.

vllm      POST /v1/completions with `prompt_logprobs`: for each token a map of token id -> logprob, rank, text.
          The rank is over the whole vocabulary. The whole prompt is told, the first token as null.
sglang    POST /generate with `return_logprob`: [logprob, id, text] of each token from `logprob_start_len` on,
          the first one's logprob null, and beside them the most likely ones. No rank: only the visible ones are known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

# Nothing may be done to the distribution, also where a server is set to show processed values.
_UNPROCESSED = {"temperature": 1, "top_p": 1, "top_k": -1, "repetition_penalty": 1}
_ROUNDING = 1e-3
# Beyond what any model has or says: such values cannot be counted with.
_MOST_TOKENS = 2**31 - 1
_LEAST_LOGPROB = -1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenStanding:
    """One token under the endpoint's model, in its own context. Texts are for the eye; ids are what counts.

    `rank` counts from 1. Where the server tells no ranks, a token that is not among the visible ones
    has one more than those: it ranks there or lower. `rivals` are the visible tokens with their log-probabilities, the
    likeliest first.
    """

    token_id: int
    logprob: float
    rank: int
    top1_id: int
    top1_logprob: float
    top1_text: str
    top2_logprob: float
    rivals: tuple[tuple[int, float], ...]

    @property
    def margin(self) -> float:
        """Largest logit minus this token's; 0 where the model agrees."""
        return self.top1_logprob - self.logprob

    @property
    def gap(self) -> float:
        """Largest logit minus the second largest."""
        return self.top1_logprob - self.top2_logprob


class MalformedAnswer(Exception):
    """The answer does not tell what was asked for; the text says what is wrong with it."""


class LogprobForm(Protocol):
    """How one kind of server is asked. `visible`: how many of the most likely tokens it shows."""

    path: str
    at_root: bool
    visible: int
    ranks: bool

    def request(self, token_ids: Sequence[int], start: int) -> dict[str, Any]:
        """The body's fields, the model's name apart."""

    def standings(self, value: Mapping[str, Any], token_ids: Sequence[int], start: int) -> list[TokenStanding]:
        """What the answer says of the tokens from `start` on. Raises Malformed."""


class _VllmForm:
    path, at_root, visible, ranks = "/completions", False, 2, True

    def request(self, token_ids: Sequence[int], start: int) -> dict[str, Any]:
        return {"prompt": list(token_ids), "max_tokens": 1, "prompt_logprobs": self.visible, **_UNPROCESSED}

    def standings(self, value: Mapping[str, Any], token_ids: Sequence[int], start: int) -> list[TokenStanding]:
        told = _require_list(first_choice(value).get("prompt_logprobs"), "prompt_logprobs")
        if len(told) != len(token_ids):
            raise MalformedAnswer(f"prompt_logprobs tells of {len(told)} tokens, {len(token_ids)} were sent")
        pairs = zip(token_ids[start:], told[start:], strict=True)
        return [self._standing(token, entry) for token, entry in pairs]

    def _standing(self, token: int, entry: Any) -> TokenStanding:
        if not isinstance(entry, dict) or str(token) not in entry:
            raise MalformedAnswer(f"token {token} is not where it was sent")
        rivals = {}
        for name, told in entry.items():
            if not isinstance(told, dict) or not (name.isdecimal() and len(name) <= 10 and is_token_id(int(name))):
                raise MalformedAnswer("prompt_logprobs holds something else than token ids with their logprobs")
            rivals[int(name)] = _RivalToken(
                _require_logprob(told.get("logprob")), _as_storable_text(told.get("decoded_token"))
            )
        rank = entry[str(token)].get("rank")
        if not is_token_id(rank) or rank < 1:
            raise MalformedAnswer("prompt_logprobs tells no ranks")
        return _build_standing(token, rivals[token].logprob, rivals, rank)


class _SglangForm:
    path, at_root, visible, ranks = "/generate", True, 20, False

    def request(self, token_ids: Sequence[int], start: int) -> dict[str, Any]:
        return {
            "input_ids": list(token_ids),
            "sampling_params": {"max_new_tokens": 1, **_UNPROCESSED},
            "return_logprob": True,
            "logprob_start_len": start - 1,
            "top_logprobs_num": self.visible,
            "return_text_in_logprobs": True,
        }

    def standings(self, value: Mapping[str, Any], token_ids: Sequence[int], start: int) -> list[TokenStanding]:
        meta = value.get("meta_info")
        meta = meta if isinstance(meta, dict) else {}
        own = _require_list(meta.get("input_token_logprobs"), "meta_info.input_token_logprobs")
        top = _require_list(meta.get("input_top_logprobs"), "meta_info.input_top_logprobs")
        count = len(token_ids) - start
        if not len(own) == len(top) == count + 1:
            raise MalformedAnswer(f"it tells of {len(own)} and {len(top)} tokens where {count + 1} were asked for")
        triples = zip(token_ids[start:], own[1:], top[1:], strict=True)
        return [self._standing(token, mine, rivals) for token, mine, rivals in triples]

    def _standing(self, token: int, mine: Any, told: Any) -> TokenStanding:
        logprob, shown, _ = _parse_logprob_entry(mine)
        if shown not in (token, 0):  # the vocabulary's last ids are shown as 0
            raise MalformedAnswer(f"token {token} is not where it was sent")
        rivals = {}
        for entry in _require_list(told, "meta_info.input_top_logprobs[]"):
            value, token_id, text = _parse_logprob_entry(entry)
            rivals[token_id] = _RivalToken(value, text)
        above = sum(rival.logprob > logprob for rival in rivals.values())
        return _build_standing(token, logprob, rivals, above + 1)


LOGPROB_FORMS: Mapping[str, LogprobForm] = {"vllm": _VllmForm(), "sglang": _SglangForm()}


@dataclass(frozen=True, slots=True)
class _RivalToken:
    logprob: float
    text: str


def first_choice(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The only choice of a completion; empty where there is none."""
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def is_token_id(value: Any) -> bool:
    """Whether it is a number that a token can have."""
    return type(value) is int and 0 <= value <= _MOST_TOKENS


def require_token_ids(value: Any) -> list[int]:
    """A list of token ids. Raises Malformed for anything else."""
    if not isinstance(value, list) or not all(map(is_token_id, value)):
        raise MalformedAnswer("no list of token ids came back")
    return value


def _build_standing(token: int, logprob: float, rivals: Mapping[int, _RivalToken], rank: int) -> TokenStanding:
    if len(rivals) < 2:
        raise MalformedAnswer("fewer than the two most likely tokens are told; let the server show more logprobs")
    order = sorted(rivals, key=lambda t: (-rivals[t].logprob, t))
    best, second = order[:2]
    top1, top2 = rivals[best].logprob, rivals[second].logprob
    if max(top1, logprob) > _ROUNDING or math.exp(top1) + math.exp(top2) > 1 + _ROUNDING:
        raise MalformedAnswer(
            "these are not log-probabilities but logits; a vLLM server needs --logprobs-mode raw_logprobs"
        )
    return TokenStanding(
        token_id=token,
        logprob=logprob,
        # Of equally likely tokens servers count every one; here none stands above another.
        rank=1 if logprob >= top1 else rank,
        top1_id=best,
        top1_logprob=max(top1, logprob),
        top1_text=rivals[best].text,
        top2_logprob=top2,
        rivals=tuple((rival, rivals[rival].logprob) for rival in order),
    )


def _parse_logprob_entry(entry: Any) -> tuple[float, int, str]:
    if not isinstance(entry, list) or len(entry) < 2 or not is_token_id(entry[1]):
        raise MalformedAnswer("a logprob is not given with its token id")
    return _require_logprob(entry[0]), entry[1], _as_storable_text(entry[2]) if len(entry) > 2 else ""


def _require_list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedAnswer(f"no {name} came back: this server does not tell the log-probabilities of given tokens")
    return value


def _require_logprob(value: Any) -> float:
    if type(value) not in (int, float) or not _LEAST_LOGPROB <= value <= -_LEAST_LOGPROB:
        raise MalformedAnswer("a logprob is not a finite number, or below a million under 0")
    return float(value)


def _as_storable_text(value: Any) -> str:
    """A text that any file can hold."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else ""
