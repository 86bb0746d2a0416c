"""A request body of a JSONL file in, the prompt that sends it as it is out: the vendor verifiers' sets, and batches.

Nothing in it is changed but what must be the asked provider's own; what the rest of the harness wants to know of a
prompt (its words, its tools, its limit) is read out of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tempzero.config import PASTED_KEY, find_key_places
from tempzero.suites.prompt_files import Entry, Place, describe_value
from tempzero.suites.tools import to_json_value
from tempzero.types.asked import Message, Prompt, ToolCall

_PATH_END = "/chat/completions"
_LIMITS = ("max_completion_tokens", "max_tokens")
_OWN_ROLES = ("system", "developer", "user", "assistant", "tool")
# Beside the body in one object: how vendors' files and batches say which one it is.
_IDS = ("custom_id", "id", "data_index")
# How Kimi's verifier calls a system message in its files; it is sent as one.
_INPUT_ROLE = "_input"
# What MiniMax's verifier says to itself in a line, and does not send.
_CHECKS = ("check_type", "expected_tool_call", "scenario_check")
_THOUGHTS = ("reasoning_detail", "reasoning", "reason")


def parse_whole_request(entry: Entry) -> Prompt:
    """The prompt of such a line, called by its own id, else by its file and line. Raises SuiteProblem."""
    place, line = entry.place, dict(entry.own)
    url = line.get("url")
    if isinstance(url, str) and not url.endswith(_PATH_END):
        place.inside("url").refuse(f"only requests to ...{_PATH_END} can be asked; found {url!r:.60}")
    batched = isinstance(line.get("body"), dict)
    given = line["body"] if batched else {name: value for name, value in line.items() if name not in _IDS}
    at = place.inside("body") if batched else place
    body = _send_as_verifiers_do(to_json_value(given, at))
    for where in find_key_places(body):
        at.inside(*where).refuse(PASTED_KEY)
    if body.get("n") not in (None, 1):
        at.inside("n").refuse("one answer a request: answers of one request share a batch")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        at.inside("messages").refuse(f"expected a list of messages; found {describe_value(messages)}")
    tools = body.get("tools")
    return Prompt(
        id=next(
            (str(line[name]) for name in _IDS if line.get(name) not in (None, "")),
            f"{_file_stem(place)}-{place.line()}",
        ),
        messages=tuple(_read_message(item, at.inside("messages", index)) for index, item in enumerate(messages)),
        family=_file_stem(place),
        max_tokens=_read_limit(body, at),
        tools=tuple(tool for tool in tools if isinstance(tool, dict)) if isinstance(tools, list) else (),
        tool_choice=body.get("tool_choice"),
        body={name: value for name, value in body.items() if name != "model"},
    )


def _send_as_verifiers_do(body: dict[str, Any]) -> dict[str, Any]:
    """The body that a vendor's own script sends for such a line; any other body is its own."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return body
    checked = any(name in body for name in _CHECKS)
    sent = [_to_sent_message(item, checked=checked) for item in messages]
    return {name: value for name, value in body.items() if name not in _CHECKS} | {"messages": sent}


def _to_sent_message(item: Any, *, checked: bool) -> Any:
    """Of lines with checks reasoning goes back in one field, whichever one the file has it in."""
    if not isinstance(item, dict):
        return item
    given = {**item, "role": "system"} if item.get("role") == _INPUT_ROLE else item
    if not checked or not any(name in given for name in _THOUGHTS):
        return given
    pieces, *texts = (given.get(name) for name in _THOUGHTS)
    found = [str(piece["text"]) for piece in pieces if isinstance(piece, dict) and piece.get("text")] if pieces else []
    thought = "\n".join(found) if pieces else next((text for text in texts if text), None)
    kept = {name: value for name, value in given.items() if name not in _THOUGHTS}
    return {**kept, "reasoning_content": thought} if thought else kept


def _file_stem(place: Place) -> str:
    return place.file.name.split(".")[0].replace(" ", "-")


def _read_limit(body: Mapping[str, Any], place: Place) -> int | None:
    given = [(name, body[name]) for name in _LIMITS if body.get(name) is not None]
    for name, value in given:
        if type(value) is not int or value < 1:
            place.inside(name).refuse(f"expected a whole number from 1 on; found {value!s:.40}")
    return given[0][1] if given else None


def _read_message(item: Any, place: Place) -> Message:
    """What a message says, as far as it can be told; the message itself is sent as it stands."""
    if not isinstance(item, dict):
        place.refuse(f"expected a mapping; found {describe_value(item)}")
    role = item.get("role")
    if role not in _OWN_ROLES:
        place.inside("role").refuse(f"expected one of {', '.join(_OWN_ROLES)}; found {role!r:.40}")
    content = item.get("content")
    parts = tuple(part for part in content if isinstance(part, dict)) if isinstance(content, list) else ()
    texts = [str(part["text"]) for part in parts if isinstance(part.get("text"), str)]
    answers = item.get("tool_call_id")
    return Message(
        role=role,
        content=content if isinstance(content, str) else "\n".join(texts),
        parts=parts,
        tool_calls=tuple(_read_calls(item.get("tool_calls"))),
        tool_call_id=answers if isinstance(answers, str) else None,
    )


def _read_calls(calls: Any) -> list[ToolCall]:
    found = []
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            given = function.get("arguments", "")
            text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
            own = call.get("id")
            found.append(ToolCall(name=function["name"], arguments=text, id=own if isinstance(own, str) else None))
    return found
