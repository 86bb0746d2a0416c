"""Messages and completions in, their forms in the Chat Completions API, and the text that is compared, out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from tempzero.canonical_json import to_canonical_json
from tempzero.types.asked import Message, ToolCall
from tempzero.types.recorded import Completion

# Stands before each call in the text of an answer; nothing that a model writes looks so by accident.
CALL_MARK = "\x1e"
_LARGEST_WHOLE = 2**53
_MESSAGE_FIELDS = ("role", "content", "name", "reasoning_content", "tool_calls", "tool_call_id")


def wire_message(message: Message) -> dict[str, Any]:
    """A message as it goes on the wire; keys that say nothing are absent."""
    content = [dict(part) for part in message.parts] if message.parts else message.content
    fields: dict[str, Any] = {"role": message.role, "content": content}
    if message.name is not None:
        fields["name"] = message.name
    if message.reasoning_content is not None:
        fields["reasoning_content"] = message.reasoning_content
    if message.tool_calls:
        fields["tool_calls"] = [wire_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        fields["tool_call_id"] = message.tool_call_id
    return {**fields, **message.returned}


def read_wire_message(fields: Mapping[str, Any]) -> Message:
    """A message of a request that this harness sent, as it stood before; the other way round of `wire_message`."""
    content = fields.get("content")
    parts = tuple(part for part in content if isinstance(part, dict)) if isinstance(content, list) else ()
    texts = [str(part["text"]) for part in parts if isinstance(part.get("text"), str)]
    calls = fields.get("tool_calls") or ()
    return Message(
        role=fields["role"],
        content=content if isinstance(content, str) else "\n".join(texts),
        parts=parts,
        name=fields.get("name"),
        reasoning_content=fields.get("reasoning_content"),
        tool_calls=tuple(
            ToolCall(name=call["function"]["name"], arguments=call["function"]["arguments"], id=call.get("id"))
            for call in calls
        ),
        tool_call_id=fields.get("tool_call_id"),
        returned={name: value for name, value in fields.items() if name not in _MESSAGE_FIELDS},
    )


def read_request_messages(body: str) -> tuple[Message, ...]:
    """The messages of a recorded request's body."""
    messages = json.loads(body).get("messages")
    listed = messages if isinstance(messages, list) else ()
    return tuple(read_wire_message(one) for one in listed if isinstance(one, dict))


def is_plain_message(message: Message) -> bool:
    """Whether role and content say all that there is to it."""
    return wire_message(message).keys() == {"role", "content"} and not message.parts


def wire_call(call: ToolCall) -> dict[str, Any]:
    """A tool call as it goes on the wire."""
    head = {} if call.id is None else {"id": call.id}
    return {**head, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def wire_tools(tools: Sequence[Mapping[str, Any]], tool_choice: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields of a request that offer tools; none where none are offered."""
    fields: dict[str, Any] = {"tools": [dict(tool) for tool in tools]} if tools else {}
    return fields if tool_choice is None else {**fields, "tool_choice": tool_choice}


def to_answer_text(completion: Completion) -> str:
    """What was answered, as one text: what was written, then a line for each tool call.

    Calls stand there by name and canonical arguments, so that two texts differ only where what is
    called differs; ids, which servers draw at random, are left out.
    """
    return "\n".join(filter(None, (completion.text, *(call_line(c) for c in completion.tool_calls))))


def to_verbatim_text(completion: Completion) -> str:
    """The same with the arguments letter by letter as the provider gave them."""
    lines = (f"{CALL_MARK}{to_canonical_json(c.name)} {c.arguments}" for c in completion.tool_calls)
    return "\n".join(filter(None, (completion.text, *lines)))


def call_line(call: ToolCall) -> str:
    """One call in the text of an answer. Arguments that are no JSON object stand there as a text."""
    arguments = canonical_arguments(call.arguments)
    shown = to_canonical_json(call.arguments) if arguments is None else arguments
    return f'{CALL_MARK}{{"name":{to_canonical_json(call.name)},"arguments":{shown}}}'


def parse_calls(text: str) -> tuple[ToolCall, ...]:
    """The calls in a text that `said` made. Arguments that were no JSON object come back as they were."""
    calls = []
    for line in text.split("\n"):
        if line.startswith(CALL_MARK):
            try:
                value = json.loads(line[1:])
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict) and isinstance(value.get("name"), str):
                given = value.get("arguments")
                calls.append(
                    ToolCall(
                        name=value["name"], arguments=given if isinstance(given, str) else to_canonical_json(given)
                    )
                )
    return tuple(calls)


def canonical_arguments(arguments: str) -> str | None:
    """The arguments of a call in one spelling: keys sorted, no spaces, 5.0 as 5. None: they are no JSON object.

    No arguments at all are an empty object, as many providers mean it.
    """
    if not arguments.strip():
        return "{}"
    try:
        value = json.loads(arguments, object_pairs_hook=refuse_duplicate_keys, parse_constant=refuse_constant)
        return to_canonical_json(_unify_whole_numbers(value)) if isinstance(value, dict) else None
    except (ValueError, RecursionError):
        return None


def _unify_whole_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unify_whole_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_unify_whole_numbers(inner) for inner in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_WHOLE:
        return int(value)
    return value


def refuse_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object read strictly (`object_pairs_hook`). Raises ValueError for a key given twice: readers differ on it."""
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key is given twice")
    return dict(pairs)


def refuse_constant(constant: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python reads and JSON lacks (`parse_constant`). Raises ValueError."""
    raise ValueError(f"{constant} is not JSON")
