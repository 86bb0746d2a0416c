"""What a server tells of given tokens in, piece by piece, their standings out: what all readers have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Nothing may be done to the distribution, also where a server is set to show processed values.
UNPROCESSED: Mapping[str, Any] = {"temperature": 1, "top_p": 1, "top_k": -1, "repetition_penalty": 1}
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


@dataclass(frozen=True, slots=True)
class RivalToken:
    """A token that a server shows as likely in a place."""

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


def build_standing(token: int, logprob: float, rivals: Mapping[int, RivalToken], rank: int) -> TokenStanding:
    """The standing of a token among the visible ones. Raises Malformed where these are too few, or no probabilities."""
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


def require_list(value: Any, name: str) -> list[Any]:
    """The list of that name. Raises Malformed for anything else."""
    if not isinstance(value, list):
        raise MalformedAnswer(f"no {name} came back: this server does not tell the log-probabilities of given tokens")
    return value


def require_logprob(value: Any) -> float:
    """A number that can be counted with. Raises Malformed for anything else."""
    if type(value) not in (int, float) or not _LEAST_LOGPROB <= value <= -_LEAST_LOGPROB:
        raise MalformedAnswer("a logprob is not a finite number, or below a million under 0")
    return float(value)


def as_storable_text(value: Any) -> str:
    """A text that any file can hold."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else ""
