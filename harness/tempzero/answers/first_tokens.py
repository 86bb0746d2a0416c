"""A recorded exchange in, the log-probabilities that its response gives of the first tokens, or of all, out.

Two shapes are read: that of chat completions (`logprobs.content[0].top_logprobs`, a list) and that of the older
completions (`logprobs.top_logprobs[0]`, an object), which some hosts give under the chat route as well.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tempzero.types.recorded import Exchange

FLOOR = -90.0
"""At or below this a number stands for "none": hosts write -100 or -9999 where they have no value."""
MOST_DECIMALS = 6
_MOST_TOKENS = 1_000
_TOKEN_ID = "token_id:"


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenLogprob:
    """One candidate for a token: the bytes it would add, its id where that was told, its log-probability."""

    token: bytes
    token_id: int | None
    logprob: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstToken:
    """What a response says of one of its first tokens. `floored` candidates came with a number that stands for none.

    `chosen` is the token that the response goes on with, where that is told.
    """

    candidates: tuple[TokenLogprob, ...]
    floored: int
    decimals: int | None
    """To how many decimals the numbers are rounded; None: to more than are looked at."""
    chosen: TokenLogprob | None = None


def read_first_token(exchange: Exchange) -> FirstToken | None:
    """The candidates of a response's first token, likeliest first; None where it gives none that can be read."""
    return next(iter(read_first_tokens(exchange, 1)), None)


def read_first_tokens(exchange: Exchange, most: int) -> tuple[FirstToken, ...]:
    """The same of its first tokens, at most so many, up to the first of which nothing can be read."""
    response = exchange.response
    if response is None or response.body is None or exchange.outcome.completion is None:
        return ()
    try:
        logprobs = json.loads(response.body)["choices"][0]["logprobs"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return ()
    if not isinstance(logprobs, Mapping):
        return ()
    told = []
    for listed, chosen in _list_chat_places(logprobs, most) or _list_completions_places(logprobs, most):
        kept = sorted({one for one in listed if one.logprob > FLOOR}, key=lambda one: (-one.logprob, one.token))
        if not kept:
            break
        told.append(
            FirstToken(
                candidates=tuple(kept),
                floored=sum(one.logprob <= FLOOR for one in listed),
                decimals=count_decimals(one.logprob for one in kept),
                chosen=chosen,
            )
        )
    return tuple(told)


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerToken:
    """One token of an answer, and what else might have stood there, likeliest first; itself among them or not."""

    chosen: TokenLogprob
    candidates: tuple[TokenLogprob, ...]


def read_answer_tokens(exchange: Exchange) -> tuple[AnswerToken, ...]:
    """Every token of a response in the shape of chat completions; none where it gives none that can be read."""
    response = exchange.response
    if response is None or response.body is None or exchange.outcome.completion is None:
        return ()
    try:
        content = json.loads(response.body)["choices"][0]["logprobs"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return ()
    found = []
    for entry in content if isinstance(content, list) else ():
        if not isinstance(entry, Mapping):
            return ()
        listed = entry.get("top_logprobs")
        chosen = _build_candidate(entry.get("token"), entry.get("logprob"), entry.get("bytes"), entry.get("id"))
        if chosen is None or not isinstance(listed, list):
            return ()
        read = _read_listed(listed)
        found.append(AnswerToken(chosen=chosen, candidates=tuple(sorted(read, key=lambda c: (-c.logprob, c.token)))))
    return tuple(found)


def count_decimals(numbers: Iterable[float]) -> int | None:
    """How many decimals are enough to write all of these; None where more than `MOST_DECIMALS` are."""
    values = list(numbers)
    for decimals in range(MOST_DECIMALS + 1):
        if all(abs(v - round(v, decimals)) < 1e-9 for v in values):
            return decimals
    return None


_Place = tuple[list[TokenLogprob], TokenLogprob | None]


def _list_chat_places(logprobs: Mapping[str, Any], most: int) -> list[_Place]:
    content = logprobs.get("content")
    places = []
    for entry in content[:most] if isinstance(content, list) else ():
        listed = entry.get("top_logprobs") if isinstance(entry, Mapping) else None
        if not isinstance(listed, list):
            break
        chosen = _build_candidate(entry.get("token"), 0.0, entry.get("bytes"), entry.get("id"))
        places.append((_read_listed(listed), chosen))
    return places


def _read_listed(listed: Sequence[Any]) -> list[TokenLogprob]:
    entries = [one for one in listed[:_MOST_TOKENS] if isinstance(one, Mapping)]
    read = [_build_candidate(e.get("token"), e.get("logprob"), e.get("bytes"), e.get("id")) for e in entries]
    return [one for one in read if one is not None]


def _list_completions_places(logprobs: Mapping[str, Any], most: int) -> list[_Place]:
    listed, tokens = logprobs.get("top_logprobs"), logprobs.get("tokens")
    places = []
    for at, entry in enumerate(listed[:most] if isinstance(listed, list) else ()):
        if not isinstance(entry, Mapping):
            break
        given = itertools.islice(entry.items(), _MOST_TOKENS)
        read = [_build_candidate(token, logprob, None, None) for token, logprob in given]
        goes_on = tokens[at] if isinstance(tokens, list) and at < len(tokens) else None
        places.append(([one for one in read if one is not None], _build_candidate(goes_on, 0.0, None, None)))
    return places


def _build_candidate(token: Any, logprob: Any, raw: Any, token_id: Any) -> TokenLogprob | None:
    if not isinstance(token, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float):
        return None
    if math.isnan(value := _to_float(logprob)) or value > 1e-3:
        return None
    known = token_id if type(token_id) is int and token_id >= 0 else None
    if token.startswith(_TOKEN_ID) and token.removeprefix(_TOKEN_ID).isdecimal():
        known = int(token.removeprefix(_TOKEN_ID)[:12])
    return TokenLogprob(token=_choose_bytes(token, raw), token_id=known, logprob=max(value, -1e9))


def _to_float(number: int | float) -> float:
    """JSON has whole numbers that no float holds."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _choose_bytes(token: str, raw: Any) -> bytes:
    """What the host says are the token's bytes, else its text as UTF-8."""
    if isinstance(raw, list) and raw and all(type(b) is int and 0 <= b < 256 for b in raw):
        return bytes(raw)
    return token.encode("utf-8", "surrogatepass")
