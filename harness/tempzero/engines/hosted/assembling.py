"""The events of a streamed answer in, the value that the same answer has when it comes whole, or what is wrong instead.

Deltas are joined choice by choice, by index and by field, so that one reader serves both ways of
asking and a streamed text equals the same text unstreamed. A stream is whole where its choice
gave a finish reason and its end mark came, or where a known finish reason stands at a clean end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tempzero.engines.hosted.event_stream import DONE_MARK, EventStream, StreamEvent
from tempzero.engines.hosted.fault_catalogue import UnusableReply, missing_outcome, outcome_of_inband_error
from tempzero.engines.hosted.parsing import parse_json_bytes
from tempzero.types.recorded import Flag

# What stands in every chunk and is the same for the whole answer: the first that says something counts.
_FIELDS_SENT_ONCE = ("id", "object", "created", "model", "system_fingerprint", "provider")
_UNCHANGING_FIELDS = ("id", "created", "model", "system_fingerprint", "provider")
_HEAD_FIELDS = frozenset({*_FIELDS_SENT_ONCE, "choices"})
_TEXT_FIELDS = ("content", "reasoning", "reasoning_content", "refusal")
_KEEP_ALIVE_EVENTS = frozenset({b"ping", b"heartbeat", b"keepalive", b"keep-alive"})  # names of events without content
_TOKEN_ID_FIELDS = ("token_ids", "tokens")
# What a JSON string holds as it stands, without an escape; and the place of such a text that is joined.
_UNESCAPED_TEXT = re.compile(rb'[^"\\\x00-\x1f]+')
_TEXT_PLACE = re.compile(
    rb'"(?:' + "|".join(_TEXT_FIELDS).encode() + rb')"\s*+:\s*+"(' + _UNESCAPED_TEXT.pattern + rb')"'
)
# So many shapes are tried that no event followed; a server whose events have nothing in common is read as it is.
_MOST_SHAPE_TRIES = 4


@dataclass(slots=True)
class AssembledAnswer:
    """One answer: `value` as it would have come whole, `flags` for what was odd on the way."""

    value: dict[str, Any] = field(default_factory=dict)
    flags: list[Flag] = field(default_factory=list)
    done: bool = False

    def flag(self, name: Flag) -> None:
        """Note it, once."""
        if name not in self.flags:
            self.flags.append(name)


def assemble_stream(stream: EventStream, headers: Mapping[str, str]) -> AssembledAnswer:
    """Join a stream. Raises Unusable with the outcome where an event is an error, or none at all."""
    joined = _StreamJoiner(headers)
    for event in stream.events:
        joined.take(event)
    if stream.strange is not None:
        raise UnusableReply(
            missing_outcome("malformed", f"a line of {len(stream.strange)} bytes that no event stream holds", "yes")
        )
    if stream.rest in (b"data: " + DONE_MARK, b"data:" + DONE_MARK) and not joined.answer.done:
        joined.answer.done = True  # only its line end is missing, and it needs none to be understood
    elif stream.rest and joined.answer.done:
        joined.answer.flag("suspicious_stream")
    elif stream.rest:
        raise UnusableReply(missing_outcome("truncated_stream", "the stream ends within an event", "yes"))
    return joined.whole()


def join_text_parts(content: Any) -> str | None:
    """A list of parts as one text; None where it is no such list. Parts of other kinds (thinking) are left out."""
    if not isinstance(content, list) or not all(isinstance(p, dict) for p in content):
        return None
    texts = [p.get("text") for p in content if p.get("type", "text") in ("text", "output_text")]
    return "".join(texts) if all(isinstance(t, str) for t in texts) else None


@dataclass(slots=True)
class _ChoiceSoFar:
    """One choice so far."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    message: dict[str, Any] = field(default_factory=dict)
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)
    finish: str | None = None
    pieces: int = 0  # deltas that brought output
    roles: int = 0  # runs of deltas that named a role
    named_role: bool = False
    spoke: bool = False  # has any delta said something, be it the role?

    def value(self, index: int) -> dict[str, Any]:
        message = {"content": None} | self.message | {name: "".join(parts) for name, parts in self.texts.items()}
        if self.calls:
            message["tool_calls"] = [self.calls[i] for i in sorted(self.calls)]
        return self.rest | {"index": index, "message": message, "finish_reason": self.finish}


@dataclass(frozen=True, kw_only=True, slots=True)
class _EventShape:
    """An event with a gap where its text was. Whatever text fills the gap, that is all the event adds to the answer."""

    before: bytes
    after: bytes
    name: bytes
    choice: _ChoiceSoFar
    texts: list[str]

    def text_of(self, event: StreamEvent) -> str | None:
        """The text, if the event has this shape and its text is written without an escape."""
        data, before, after = event.data, self.before, self.after
        if not (data.startswith(before) and data.endswith(after)) or event.name != self.name:
            return None
        inside = data[len(before) : len(data) - len(after)]
        if len(data) <= len(before) + len(after) or _UNESCAPED_TEXT.fullmatch(inside) is None:
            return None
        try:
            return inside.decode()
        except UnicodeDecodeError:
            return None


class _StreamJoiner:
    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self.answer = AssembledAnswer()
        self._choices: dict[int, _ChoiceSoFar] = {}
        self._last = b""
        self._repeated = False
        self._head: list[Any] = []
        self._shape: _EventShape | None = None
        self._tries = _MOST_SHAPE_TRIES

    def take(self, event: StreamEvent) -> None:
        """One event more. Most differ from the one before in their text alone, and need not be parsed."""
        shape = self._shape
        if shape is not None:
            text = shape.text_of(event)
            if text is not None:
                self._tries = _MOST_SHAPE_TRIES
                self._repeated = self._repeated or event.data == self._last
                self._last = event.data
                shape.texts.append(text)
                shape.choice.pieces += 1
                return
        self._shape = None
        self._take_parsed(event)

    def _take_parsed(self, event: StreamEvent) -> None:
        if self.answer.done:
            self.answer.flag("suspicious_stream")  # nothing follows the end mark
            return
        data = event.data.strip()
        if data == DONE_MARK:
            self.answer.done = True
            return
        if not data or event.name.lower() in _KEEP_ALIVE_EVENTS:
            return
        value = _parse_event(event)
        if event.name == b"error" or value.get("error") or value.get("object") == "error":
            raise UnusableReply(outcome_of_inband_error(value.get("error") or value, self._headers))
        self._repeated = self._repeated or (event.data == self._last and bool(value.get("choices")))
        self._last = event.data
        self._take_head(value)
        choices = value.get("choices")
        if choices is not None and not (isinstance(choices, list) and all(isinstance(c, dict) for c in choices)):
            raise UnusableReply(missing_outcome("schema", "choices of a stream's chunk is not a list of objects"))
        for given in choices or ():
            self._take_choice(given)
        if self._tries and choices and len(choices) == 1:
            self._shape = self._shape_of(event, value)

    def _shape_of(self, event: StreamEvent, value: dict[str, Any]) -> _EventShape | None:
        """The shape of an event just taken, where taking all of it but its text once more would change nothing."""
        given = value["choices"][0]
        delta, choice = given.get("delta"), self._choices[given.get("index") or 0]
        if not delta or choice.finish or any(given.get(name) for name in _TOKEN_ID_FIELDS):
            return None
        said = [name for name, what in delta.items() if what and name != "role"]
        place = _TEXT_PLACE.search(event.data)
        if len(said) != 1 or said[0] not in _TEXT_FIELDS or place is None:
            return None
        self._tries -= 1
        before, after = event.data[: place.start(1)], event.data[place.end(1) :]
        # The text found might be another field's: another text in its place shows whose it is.
        other = "!" if delta[said[0]] == "?" else "?"
        try:
            filled = parse_json_bytes(before + other.encode() + after)
            if filled != value | {"choices": [given | {"delta": delta | {said[0]: other}}]}:
                return None
        except (ValueError, RecursionError):
            return None
        return _EventShape(before=before, after=after, name=event.name, choice=choice, texts=choice.texts[said[0]])

    def whole(self) -> AssembledAnswer:
        """The answer, if it is one."""
        if not self._choices:
            if self.answer.done:
                raise UnusableReply(missing_outcome("no_choices", "the stream holds no choices", "once"))
            raise UnusableReply(missing_outcome("truncated_stream", "the stream ends without an answer", "yes"))
        first = self._choices[min(self._choices)]
        if not first.finish:
            raise UnusableReply(missing_outcome("truncated_stream", "the stream ends without a finish reason", "yes"))
        if not first.spoke:
            raise UnusableReply(missing_outcome("schema", "the choices of the stream hold no delta"))
        self._suspect(first)
        self.answer.value["choices"] = [self._choices[i].value(i) for i in sorted(self._choices)]
        return self.answer

    def _suspect(self, first: _ChoiceSoFar) -> None:
        """More pieces than tokens and one of them twice in a row: somebody sent it again."""
        usage = self.answer.value.get("usage")
        tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
        if self._repeated and type(tokens) is int and first.pieces > tokens:
            self.answer.flag("suspicious_stream")
        if first.roles > 1:
            self.answer.flag("suspicious_stream")

    def _take_head(self, value: Mapping[str, Any]) -> None:
        head = [value.get(name) for name in _FIELDS_SENT_ONCE]
        if head != self._head:
            self._head = head
            self._take_once(head)
        whole = self.answer.value
        for name, given in value.items():
            if name in _HEAD_FIELDS or given is None:
                continue
            if name == "usage":
                if isinstance(given, dict) and given:
                    self._take_usage(given)
                else:
                    whole.setdefault(name, given)
            elif isinstance(given, dict) and isinstance(whole.get(name), dict):
                whole[name].update(given)  # x_groq: the id comes first, the usage last
            else:
                whole[name] = dict(given) if isinstance(given, dict) else given

    def _take_once(self, head: list[Any]) -> None:
        whole = self.answer.value
        for name, given in zip(_FIELDS_SENT_ONCE, head, strict=True):
            if given in (None, "", 0):
                continue  # Azure's first chunk brings filter results and says nothing else
            if name not in whole:
                whole[name] = given
            elif name in _UNCHANGING_FIELDS and whole[name] != given:
                self.answer.flag("suspicious_stream")

    def _take_usage(self, given: dict[str, Any]) -> None:
        """The last one counts; some servers count as they go, none counts backwards."""
        before = self.answer.value.get("usage")
        self.answer.value["usage"] = given
        counts = [u.get("completion_tokens") if isinstance(u, dict) else None for u in (before, given)]
        if type(counts[0]) is int and type(counts[1]) is int and counts[1] < counts[0]:
            self.answer.flag("suspicious_stream")

    def _take_choice(self, given: Mapping[str, Any]) -> None:
        index = 0 if given.get("index") is None else given["index"]
        if type(index) is not int:
            raise UnusableReply(missing_outcome("schema", "the index of a stream's choice is not a whole number"))
        if given.get("error"):
            raise UnusableReply(outcome_of_inband_error(given["error"], self._headers))
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _ChoiceSoFar()
        self._take_delta(choice, self._delta_of(choice, given))
        self._take_ending(choice, given)

    def _delta_of(self, choice: _ChoiceSoFar, given: Mapping[str, Any]) -> Mapping[str, Any]:
        delta = given.get("delta")
        if delta is None and isinstance(given.get("message"), dict):
            # A whole answer as one event, or the whole once more at the end.
            self.answer.flag("suspicious_stream")
            delta = {} if choice.spoke else given["message"]
        if delta is not None and not isinstance(delta, dict):
            raise UnusableReply(missing_outcome("schema", "the delta of a stream's choice is not an object"))
        return delta or {}

    def _take_delta(self, choice: _ChoiceSoFar, delta: Mapping[str, Any]) -> None:
        names_role = delta.get("role") is not None
        choice.spoke = choice.spoke or bool(delta)
        # Some servers name the role in every delta; naming it anew after a pause is a second beginning.
        choice.roles += names_role and not choice.named_role
        choice.named_role = names_role
        brought = False
        for name, given in delta.items():
            text = _delta_text(name, given)
            if text is not None:
                choice.texts.setdefault(name, []).append(text)
                brought = brought or bool(text)
            elif name == "tool_calls" and given:
                _join_tool_calls(choice.calls, given)
                brought = True
            elif name == "function_call" and given:
                choice.message[name] = given
                brought = True
            elif name in _TEXT_FIELDS or name == "role":
                choice.message.setdefault(name, given)
        choice.pieces += brought
        if brought and choice.finish:
            self.answer.flag("suspicious_stream")

    def _take_ending(self, choice: _ChoiceSoFar, given: Mapping[str, Any]) -> None:
        finish = given.get("finish_reason")
        if finish is not None and not isinstance(finish, str):
            raise UnusableReply(missing_outcome("schema", "the finish_reason of a stream's choice is no text"))
        if finish:
            if choice.finish and choice.finish != finish:
                self.answer.flag("suspicious_stream")
            choice.finish = finish
        for name in _TOKEN_ID_FIELDS:
            if isinstance(given.get(name), list):
                choice.rest.setdefault(name, []).extend(given[name])
        if isinstance(given.get("usage"), dict) and given["usage"]:
            choice.rest["usage"] = given["usage"]


def _join_tool_calls(calls: dict[int, dict[str, Any]], given: Any) -> None:
    """Join pieces of tool calls, by index: the id and the name come once, the arguments in pieces.

    Servers that give no index send whole calls: one with an id or a name begins another.
    """
    if not isinstance(given, list) or not all(isinstance(piece, dict) for piece in given):
        raise UnusableReply(missing_outcome("schema", "delta.tool_calls is not a list of objects"))
    for piece in given:
        function = piece.get("function") or {}
        if not isinstance(function, dict):
            raise UnusableReply(missing_outcome("schema", "the function of a tool call is not an object"))
        index = piece.get("index")
        if index is None:
            begins = not calls or piece.get("id") or function.get("name")
            index = max(calls, default=-1) + bool(begins)
        if type(index) is not int:
            raise UnusableReply(missing_outcome("schema", "the index of a tool call is not a whole number"))
        call = calls.setdefault(index, {"function": {"arguments": None}})
        call |= {k: v for k, v in piece.items() if k in ("id", "type") and v and k not in call}
        _join_function(call["function"], function)


def _join_function(so_far: dict[str, Any], function: Mapping[str, Any]) -> None:
    if function.get("name") and "name" not in so_far:
        so_far["name"] = function["name"]
    arguments = function.get("arguments")
    if isinstance(arguments, str) and isinstance(so_far["arguments"], str | None):
        so_far["arguments"] = (so_far["arguments"] or "") + arguments
    elif arguments is not None:
        so_far["arguments"] = arguments


def _parse_event(event: StreamEvent) -> dict[str, Any]:
    """An event's data as a JSON object. One that is none spoils the stream: what it held nobody knows."""
    try:
        value = parse_json_bytes(event.data)
    except (ValueError, RecursionError):
        if event.name == b"error":
            value = {"error": event.data.decode("utf-8", errors="replace")}
        else:
            detail = f"{len(event.data)} bytes of an event are not JSON"
            raise UnusableReply(missing_outcome("malformed", detail, "yes")) from None
    if not isinstance(value, dict):
        raise UnusableReply(
            missing_outcome("malformed", f"an event is a JSON {type(value).__name__}, not an object", "yes")
        )
    return value


def _delta_text(name: str, given: Any) -> str | None:
    """The text of a delta's field that is joined; None where it holds none. Unknown forms are refused."""
    if name not in _TEXT_FIELDS or given is None:
        return None
    text = given if isinstance(given, str) else join_text_parts(given)
    if text is None and name == "content":
        raise UnusableReply(missing_outcome("schema", f"delta.content is a JSON {type(given).__name__}"))
    return text
