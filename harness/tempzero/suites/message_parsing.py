"""What an entry says of its messages in, messages out; what no provider could be sent is refused by line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from tempzero.suites.content_parts import Content, parse_content_parts
from tempzero.suites.prompt_files import Entry, Place, describe_value, parse_text, require_known_keys
from tempzero.suites.tools import parse_tool_calls
from tempzero.types.asked import Message, Role, ToolCall

_ROLES: tuple[Role, ...] = get_args(Role)
_MESSAGE_KEYS = ("role", "content", "tool_calls", "tool_call_id", "reasoning_content", "name")
_SPEAKER = re.compile(r"[A-Za-z0-9_-]{1,64}")


def parse_messages(entry: Entry) -> tuple[Message, ...]:
    """Those of `messages:`, or of `system:` and `prompt:`. Raises SuiteProblem."""
    if "messages" in entry.own:
        for key in ("prompt", "system"):
            if key in entry.own:
                entry.place_of(key).refuse("cannot stand beside messages; put it there as a message")
        return _parse_message_list(entry.own["messages"], entry.place_of("messages"))
    if "prompt" not in entry.own:
        entry.place_of("prompt").refuse("this key is needed (or messages: for several turns)")
    messages = [_check_message("user", entry.own["prompt"], entry.place_of("prompt"))]
    if "system" in entry.own:
        place = entry.place_of("system")
        if entry.own["system"] is None:
            place.refuse('found nothing; write "" for an empty system message, or leave the key out: they differ')
        messages.insert(0, _check_message("system", entry.own["system"], place))
    return tuple(messages)


def _parse_message_list(value: Any, place: Place) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        found = "an empty list" if value == [] else describe_value(value)
        place.refuse(f"expected a list of messages; found {found}")
    messages: list[Message] = []
    for index, item in enumerate(value):
        at = place.inside(index)
        fields = require_known_keys(item, _MESSAGE_KEYS, at)
        calls = parse_tool_calls(fields.get("tool_calls"), at.inside("tool_calls"))
        for key in ("role", "content"):
            if key not in fields and not (key == "content" and calls):
                at.inside(key).refuse("this key is needed")
        message = _check_message(fields["role"], fields.get("content", ""), at.inside("content"), at.inside("role"))
        message = replace(message, name=_parse_speaker(fields, at), reasoning_content=_parse_thoughts(fields, at))
        messages.append(_attach_calls(message, calls, fields.get("tool_call_id"), messages, at))
    if messages[-1].role not in ("user", "tool"):
        place.refuse(
            "the last message must be the user's or a tool's; some providers continue another one, some answer it"
        )
    return tuple(messages)


def _attach_calls(
    message: Message, calls: tuple[ToolCall, ...], answers: Any, before: Sequence[Message], at: Place
) -> Message:
    """The message with what it calls, or with the call it answers: one of the assistant's message before it."""
    if calls and message.role != "assistant":
        at.inside("tool_calls").refuse("only an assistant's message calls tools")
    if message.role != "tool":
        if answers is not None:
            at.inside("tool_call_id").refuse("only a tool's message answers a call")
        return replace(message, tool_calls=calls)
    called = [m for m in before if m.role == "assistant"][-1:]
    ids = [call.id for m in called for call in m.tool_calls]
    if answers not in ids or before[-1].role not in ("assistant", "tool"):
        known = f"; that message calls {', '.join(map(str, ids))}" if ids else ""
        at.inside("tool_call_id").refuse(f"must be the id of a call of the assistant's message before it{known}")
    return replace(message, tool_call_id=answers)


def _check_message(role: Any, content: Any, place: Place, role_place: Place | None = None) -> Message:
    if role not in _ROLES:
        (role_place or place).refuse(f"expected one of {', '.join(_ROLES)}; found {role!r:.40}")
    shown = (
        parse_content_parts(content, place) if isinstance(content, list) else Content(text=parse_text(content, place))
    )
    for part in shown.parts:
        parse_text(part.get("text", ""), place)
    # An empty system message is a prompt of its own kind; an empty question is a slip.
    if role == "user" and not shown.text.strip() and all(part["type"] == "text" for part in shown.parts):
        place.refuse("is empty; write what is asked")
    return Message(role=role, content=shown.text, parts=shown.parts)


def _parse_speaker(fields: Mapping[str, Any], place: Place) -> str | None:
    name = fields.get("name")
    if name is not None and not (isinstance(name, str) and _SPEAKER.fullmatch(name)):
        place.inside("name").refuse("expected letters, digits, _ and -, at most 64")
    return name


def _parse_thoughts(fields: Mapping[str, Any], place: Place) -> str | None:
    thoughts, at = fields.get("reasoning_content"), place.inside("reasoning_content")
    if thoughts is not None and fields.get("role") != "assistant":
        at.refuse("only an assistant's message has thoughts of its own")
    return None if thoughts is None else parse_text(thoughts, at)
