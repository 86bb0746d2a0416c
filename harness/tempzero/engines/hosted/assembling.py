"""The events of a streamed answer in, the value that the same answer has when it comes whole, or what is wrong instead.

Deltas are joined choice by choice, by index and by field, so that one reader serves both ways of
asking and a streamed text equals the same text unstreamed. A stream is whole where its end mark came
behind a finish reason or usage, or where a known finish reason stands at a clean end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tempzero.answers.message_parts import REASONING_FIELDS, REASONING_LIST, split_content_list
from tempzero.engines.hosted.call_joining import CallJoiner, join_function
from tempzero.engines.hosted.event_stream import DONE_MARK, EventStream, StreamEvent
from tempzero.engines.hosted.fault_catalogue import UnusableReply, missing_outcome, outcome_of_inband_error
from tempzero.engines.hosted.finish_reasons import FILTERED_REASONS
from tempzero.engines.hosted.parsing import parse_json_bytes
from tempzero.types.recorded import Flag

# What stands in every chunk and is the same for the whole answer: the first that says something counts.
_FIELDS_SENT_ONCE = ("id", "object", "created", "model", "system_fingerprint", "provider")
# Those that one answer has one of, and what another value of them is called. `created` moves in honest streams.
_CHANGE_FLAGS: Mapping[str, Flag] = {
    "id": "id_changed_within",
    "model": "model_changed_within",
    "provider": "model_changed_within",
    "system_fingerprint": "fingerprint_changed",
}
_HEAD_FIELDS = frozenset({*_FIELDS_SENT_ONCE, "choices"})
_TEXT_FIELDS = ("content", *REASONING_FIELDS, "refusal")
# Where the reasoning and the refusal go that come as parts of the content.
_REASONING_PLACE, _REFUSAL_PLACE = REASONING_FIELDS[-1], "refusal"
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
        joined.answer.flag("events_after_done")
    elif stream.rest:
        raise UnusableReply(missing_outcome("truncated_stream", "the stream ends within an event", "yes"))
    return joined.finish()


@dataclass(slots=True)
class _ChoiceSoFar:
    """One choice so far."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    message: dict[str, Any] = field(default_factory=dict)
    calls: CallJoiner = field(default_factory=CallJoiner)
    rest: dict[str, Any] = field(default_factory=dict)
    finish: str | None = None
    pieces: int = 0  # deltas that brought output
    spoke: bool = False  # has any delta said something, be it the role?

    def value(self, index: int) -> dict[str, Any]:
        message = {"content": None} | self.message | {name: "".join(parts) for name, parts in self.texts.items()}
        if self.calls.has_calls:
            message["tool_calls"] = self.calls.value()
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
        self._repeats = 0  # events that say again what the one before said
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
                self._repeats += event.data == self._last
                self._last = event.data
                shape.texts.append(text)
                shape.choice.pieces += 1
                return
        self._shape = None
        self._take_parsed(event)

    def _take_parsed(self, event: StreamEvent) -> None:
        if self.answer.done:
            self.answer.flag("events_after_done")
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
        self._repeats += event.data == self._last and bool(value.get("choices"))
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

    def finish(self) -> AssembledAnswer:
        """The answer, if it is one."""
        if not self._choices:
            if self.answer.done:
                raise UnusableReply(missing_outcome("no_choices", "the stream holds no choices", "once"))
            raise UnusableReply(missing_outcome("truncated_stream", "the stream ends without an answer", "yes"))
        first = self._choices[min(self._choices)]
        if not first.finish and not self.answer.done:
            raise UnusableReply(missing_outcome("truncated_stream", "the stream ends without a finish reason", "yes"))
        if not first.spoke and (first.finish or "").lower() not in FILTERED_REASONS:
            raise UnusableReply(missing_outcome("schema", "the choices of the stream hold no delta"))
        self._flag_resent_pieces(first)
        self.answer.value["choices"] = [self._choices[i].value(i) for i in sorted(self._choices)]
        return self.answer

    def _flag_resent_pieces(self, first: _ChoiceSoFar) -> None:
        """More pieces than tokens, and so many of them twice in a row: somebody sent them again."""
        usage = self.answer.value.get("usage")
        counts = usage if isinstance(usage, dict) else {}
        prompt, completion, total = (counts.get(f"{name}_tokens") for name in ("prompt", "completion", "total"))
        if type(completion) is not int:
            return
        apart = total - prompt if type(total) is int and type(prompt) is int else 0
        if 0 < first.pieces - max(completion, apart) <= self._repeats:
            self.answer.flag("piece_sent_twice")

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
                    whole[name] = given  # the last one counts: some servers count as they go
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
            elif name in _CHANGE_FLAGS and whole[name] != given:
                self.answer.flag(_CHANGE_FLAGS[name])

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
            self.answer.flag("message_for_delta")
            delta = {} if choice.spoke else given["message"]
        if delta is not None and not isinstance(delta, dict):
            raise UnusableReply(missing_outcome("schema", "the delta of a stream's choice is not an object"))
        return delta or {}

    def _take_delta(self, choice: _ChoiceSoFar, delta: Mapping[str, Any]) -> None:
        choice.spoke = choice.spoke or bool(delta)
        brought = False
        for name, given in delta.items():
            if given is None:
                if name in _TEXT_FIELDS or name == "role":
                    choice.message.setdefault(name, given)
            elif name in _TEXT_FIELDS:
                brought = self._take_text(choice, name, given) or brought
            elif name == REASONING_LIST and isinstance(given, list):
                choice.message.setdefault(name, []).extend(given)
                brought = brought or bool(given)
            elif name == "tool_calls" and given:
                choice.calls.take(given)
                brought = True
            elif name == "function_call" and isinstance(given, dict) and given:
                join_function(choice.message.setdefault(name, {}), given)
                brought = True
            elif name == "role":
                choice.message.setdefault(name, given)
        choice.pieces += brought
        if choice.calls.guessed:
            self.answer.flag("tool_index_missing")
        if brought and choice.finish:
            self.answer.flag("output_after_finish")

    def _take_text(self, choice: _ChoiceSoFar, name: str, given: Any) -> bool:
        """The text of a delta's field, to be joined; whether it brought any. Unknown forms of a content are refused."""
        if isinstance(given, str):
            choice.texts.setdefault(name, []).append(given)
            return bool(given)
        parts = split_content_list(given)
        if parts is None:
            if name == "content":
                raise UnusableReply(missing_outcome("schema", f"delta.content is a JSON {type(given).__name__}"))
            choice.message.setdefault(name, given)
            return False
        self.answer.flag("content_parts")
        if parts.unread:
            self.answer.flag("parts_unread")
        for place, text in ((name, parts.text), (_REASONING_PLACE, parts.reasoning), (_REFUSAL_PLACE, parts.refusal)):
            if text or place == name:
                choice.texts.setdefault(place, []).append(text)
        return bool(parts.text or parts.reasoning or parts.refusal)

    def _take_ending(self, choice: _ChoiceSoFar, given: Mapping[str, Any]) -> None:
        finish = given.get("finish_reason")
        if finish is not None and not isinstance(finish, str):
            raise UnusableReply(missing_outcome("schema", "the finish_reason of a stream's choice is no text"))
        if finish:
            if choice.finish and choice.finish != finish:
                self.answer.flag("finish_reason_changed")
            choice.finish = finish
        if isinstance(given.get("content_filter_results"), dict) and given["content_filter_results"]:
            choice.rest["content_filter_results"] = given["content_filter_results"]
        for name in _TOKEN_ID_FIELDS:
            if isinstance(given.get(name), list):
                choice.rest.setdefault(name, []).extend(given[name])
        if isinstance(given.get("usage"), dict) and given["usage"]:
            choice.rest["usage"] = given["usage"]


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
