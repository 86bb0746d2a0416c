"""A Chat Completions response that another tool kept in, cells for the fields of a recipe out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tempzero.chat_messages import CALL_MARK, call_line
from tempzero.exchange.foreign_answers import answer_content, find_reasoning, find_refusal
from tempzero.exchange.table_reading import foreign_to_canonical_json
from tempzero.types.asked import ToolCall

_TEXT_CELLS = ("text", "error", "refusal", "reasoning", "finish_reason", "served_model", "fingerprint", "response_id")
_USAGE_CELLS = ("prompt_tokens", "completion_tokens", "reasoning_tokens", "total_tokens")
EMPTY_CELLS: Mapping[str, Any] = {f"@{name}": None for name in (*_TEXT_CELLS, *_USAGE_CELLS)}


def completion_cells(response: Any) -> Mapping[str, Any]:
    """`@text`, `@finish_reason` and so on of a response's body; `@error` where it is none."""
    if not isinstance(response, dict):
        return {**EMPTY_CELLS, "@error": "no response"}
    choices = response.get("choices")
    if response.get("error") or not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return {**EMPTY_CELLS, "@error": response.get("error") or "no choices in the response"}
    choice, usage = choices[0], response.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    message = choice.get("message")
    said = message if isinstance(message, dict) else {"content": choice.get("text")}
    return {
        "@text": append_tool_calls(answer_content(said.get("content")), said.get("tool_calls")),
        "@error": None,
        "@refusal": find_refusal(said),
        "@reasoning": find_reasoning(said),
        "@finish_reason": choice.get("finish_reason"),
        "@served_model": response.get("model"),
        "@fingerprint": response.get("system_fingerprint"),
        "@response_id": response.get("id"),
        "@prompt_tokens": counts.get("prompt_tokens"),
        "@completion_tokens": counts.get("completion_tokens"),
        "@reasoning_tokens": _count_reasoning(counts),
        "@total_tokens": counts.get("total_tokens"),
    }


def _count_reasoning(usage: Mapping[str, Any]) -> Any:
    details = usage.get("completion_tokens_details")
    counted = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return usage.get("reasoning_tokens") if counted is None else counted


def append_tool_calls(text: str | None, calls: Any) -> str | None:
    """The text, and behind it a line for each tool call, spelled as in the texts of our own runs."""
    if not isinstance(calls, list) or not calls:
        return text
    return "\n".join(filter(None, (text, *map(_foreign_call_line, calls))))


def _foreign_call_line(call: Any) -> str:
    function = call.get("function") if isinstance(call, dict) else call
    if not isinstance(function, dict):
        return CALL_MARK + foreign_to_canonical_json(function)
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(arguments, str):
        arguments = "" if arguments is None else foreign_to_canonical_json(arguments)
    return call_line(
        ToolCall(name=name if isinstance(name, str) else foreign_to_canonical_json(name), arguments=arguments)
    )
