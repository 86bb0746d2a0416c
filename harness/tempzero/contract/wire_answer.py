"""An exchange in, its answer as it stood on the wire out: bodies, choices, pieces of calls, log-probabilities.

The texts are those that every reader of this package sees (`Completion`); what a promise is about besides them is read
here from the bytes, tolerantly: whatever is no such thing is not there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tempzero.types.asked import ToolCall
from tempzero.types.recorded import Exchange, Flag, OutcomeKind

_DATA = "data:"
_PASSING_STATUS = frozenset({401, 402, 403, 408, 409, 425, 429})
_OWN_FAULTS: frozenset[OutcomeKind] = frozenset({"auth", "quota", "rate_limited", "blocked", "wrong_url"})


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedToken:
    """One token of `logprobs`: its text, its log-probability, and those of the likeliest ones in its place."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CallPiece:
    """One entry of `delta.tool_calls`; None where it does not say so."""

    index: int | None
    id: str | None
    name: str | None


@dataclass(frozen=True, kw_only=True)
class RawAnswer:
    """One answer, or what came in its place."""

    exchange: Exchange

    @property
    def status(self) -> int:
        return self.exchange.response.status if self.exchange.response is not None else 0

    @property
    def kind(self) -> OutcomeKind:
        return self.exchange.outcome.kind

    @property
    def detail(self) -> str:
        return self.exchange.outcome.detail

    @property
    def flags(self) -> tuple[Flag, ...]:
        return self.exchange.outcome.flags

    @property
    def is_answer(self) -> bool:
        return self.exchange.outcome.completion is not None

    @property
    def is_refusal(self) -> bool:
        """Whether the request was refused for what stands in it, and not for the moment, the key or the account."""
        if self.is_answer or self.kind in _OWN_FAULTS:
            return False
        return (400 <= self.status < 500 and self.status not in _PASSING_STATUS) or self.status in (200, 501)

    @property
    def text(self) -> str:
        said = self.exchange.outcome.completion
        return said.text if said is not None else ""

    @property
    def reasoning(self) -> str:
        said = self.exchange.outcome.completion
        return (said.reasoning_text or "") if said is not None else ""

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        said = self.exchange.outcome.completion
        return said.tool_calls if said is not None else ()

    @property
    def finish(self) -> str:
        said = self.exchange.outcome.completion
        return (said.finish_reason or "") if said is not None else ""

    @property
    def is_cut(self) -> bool:
        return self.kind == "length"

    @property
    def prompt_tokens(self) -> int | None:
        said = self.exchange.outcome.completion
        return said.prompt_tokens if said is not None else None

    @property
    def output_tokens(self) -> int | None:
        said = self.exchange.outcome.completion
        return said.output_tokens if said is not None else None

    @property
    def is_stream(self) -> bool:
        """Whether events came, be that what was asked for or not."""
        response = self.exchange.response
        kind = dict(response.headers).get("content-type", "") if response is not None else ""
        return "event-stream" in kind or self._body.lstrip().startswith(_DATA)

    @property
    def _body(self) -> str:
        return (self.exchange.response.body if self.exchange.response is not None else None) or ""

    @property
    def has_done(self) -> bool:
        return any(line.removeprefix(_DATA).strip() == "[DONE]" for line in self._data_lines())

    @cached_property
    def bodies(self) -> tuple[Mapping[str, Any], ...]:
        """The JSON objects that came: the events of a stream, else the one body."""
        found = []
        for text in [line.removeprefix(_DATA) for line in self._data_lines()] if self.is_stream else [self._body]:
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                found.append(value)
        return tuple(found)

    def _data_lines(self) -> list[str]:
        lines = self._body.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return [line for line in lines if line.startswith(_DATA)]

    @cached_property
    def choices(self) -> Mapping[int, tuple[Mapping[str, Any], ...]]:
        """What came of each choice, by its index, in order; one without an index counts by its place."""
        found: dict[int, list[Mapping[str, Any]]] = {}
        for body in self.bodies:
            listed = body.get("choices")
            for place, choice in enumerate(listed if isinstance(listed, list) else ()):
                if isinstance(choice, dict):
                    index = choice.get("index")
                    found.setdefault(index if type(index) is int else place, []).append(choice)
        return {index: tuple(found[index]) for index in sorted(found)}

    @property
    def choice_count(self) -> int:
        """How many choices came, those that share an index included."""
        listed = [body.get("choices") for body in self.bodies]
        most = max((len(choices) for choices in listed if isinstance(choices, list)), default=0)
        return max(most, len(self.choices))

    def choice_texts(self) -> tuple[str, ...]:
        """The text of each choice, as it stands there."""
        whole = [(self.bodies[0].get("choices") or []) if self.bodies and not self.is_stream else []]
        if whole[0] and isinstance(whole[0], list):
            return tuple("".join(_find_texts((choice,))) for choice in whole[0] if isinstance(choice, dict))
        return tuple("".join(_find_texts(pieces)) for pieces in self.choices.values())

    @cached_property
    def pieces(self) -> tuple[str, ...]:
        """The texts of the first choice's deltas, or its one text."""
        return tuple(_find_texts(self.choices.get(0, ())))

    @property
    def usage(self) -> Mapping[str, Any] | None:
        """The last one that came, from where servers put it."""
        found = None
        for body in self.bodies:
            groq = body.get("x_groq")
            places = [body.get("usage"), groq.get("usage") if isinstance(groq, dict) else None]
            listed = body.get("choices")
            places += [c.get("usage") for c in (listed if isinstance(listed, list) else ()) if isinstance(c, dict)]
            found = next((place for place in places if isinstance(place, dict) and place), found)
        return found

    @property
    def call_pieces(self) -> tuple[CallPiece, ...]:
        """Every entry of the first choice's `delta.tool_calls`."""
        found = []
        for choice in self.choices.get(0, ()):
            listed = _find_mapping(choice, "delta").get("tool_calls")
            for piece in listed if isinstance(listed, list) else ():
                if isinstance(piece, dict):
                    index, name = piece.get("index"), _find_mapping(piece, "function").get("name")
                    found.append(
                        CallPiece(
                            index=index if type(index) is int else None,
                            id=piece.get("id") if isinstance(piece.get("id"), str) else None,
                            name=name if isinstance(name, str) else None,
                        )
                    )
        return tuple(found)

    @property
    def logged(self) -> tuple[LoggedToken, ...] | None:
        """The tokens of the first choice's `logprobs`, in either of their shapes; None where there are none."""
        found: list[LoggedToken] = []
        for choice in self.choices.get(0, ()):
            given = choice.get("logprobs")
            if isinstance(given, dict):
                found += _read_logged_list(given) or _read_logged_columns(given)
        return tuple(found) or None


def _find_mapping(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _find_texts(choices: tuple[Mapping[str, Any], ...]) -> Iterator[str]:
    for choice in choices:
        content = (_find_mapping(choice, "delta") or _find_mapping(choice, "message")).get("content")
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            yield "".join(p["text"] for p in content if isinstance(p, dict) and isinstance(p.get("text"), str))


def _read_logged_list(given: Mapping[str, Any]) -> list[LoggedToken]:
    listed = given.get("content")
    found = []
    for entry in listed if isinstance(listed, list) else ():
        if (
            not isinstance(entry, dict)
            or not isinstance(entry.get("token"), str)
            or not _is_number(entry.get("logprob"))
        ):
            continue
        tops = entry.get("top_logprobs")
        top = [
            (str(one.get("token")), float(one["logprob"]))
            for one in (tops if isinstance(tops, list) else ())
            if isinstance(one, dict) and _is_number(one.get("logprob"))
        ]
        found.append(LoggedToken(token=entry["token"], logprob=float(entry["logprob"]), top=tuple(top)))
    return found


def _read_logged_columns(given: Mapping[str, Any]) -> list[LoggedToken]:
    tokens, numbers, tops = given.get("tokens"), given.get("token_logprobs"), given.get("top_logprobs")
    if not isinstance(tokens, list) or not isinstance(numbers, list):
        return []
    found = []
    for place, (token, number) in enumerate(zip(tokens, numbers, strict=False)):
        if isinstance(token, str) and _is_number(number):
            at = tops[place] if isinstance(tops, list) and place < len(tops) else None
            top = [(str(k), float(v)) for k, v in at.items() if _is_number(v)] if isinstance(at, dict) else []
            found.append(LoggedToken(token=token, logprob=float(number), top=tuple(top)))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
