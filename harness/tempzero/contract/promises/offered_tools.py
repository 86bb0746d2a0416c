"""The tools that cases offer, and whether a call of one could be carried out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tempzero.answers.chat_messages import canonical_arguments
from tempzero.extractors.json_schema import fits_schema
from tempzero.types.asked import ToolCall


def _make_tool(name: str, about: str, argument: str) -> Mapping[str, Any]:
    parameters = {
        "type": "object",
        "properties": {argument: {"type": "string"}},
        "required": [argument],
        "additionalProperties": False,
    }
    return {
        "type": "function",
        "function": {"name": name, "description": about, "parameters": parameters},
    }


OFFERED_TOOLS = (
    _make_tool("get_weather", "The weather in a city now.", "city"),
    _make_tool("get_time", "The time of day in a city now.", "city"),
)
NAMED_CHOICE = {"type": "function", "function": {"name": "get_time"}}
OFFERED_NAMES = frozenset(tool["function"]["name"] for tool in OFFERED_TOOLS)


def find_argument_problem(call: ToolCall) -> str | None:
    """Why a call could not be carried out; None where it could."""
    arguments = canonical_arguments(call.arguments)
    if arguments is None:
        return _describe_no_object(call.arguments)
    schema = next((t["function"]["parameters"] for t in OFFERED_TOOLS if t["function"]["name"] == call.name), None)
    if schema is None:
        return "name no tool that was offered"
    return None if fits_schema(json.loads(arguments), json.dumps(schema)) else "do not fit the schema"


def _describe_no_object(text: str) -> str:
    try:
        inner = json.loads(text)
    except (ValueError, RecursionError):
        return "are not JSON"
    return "are JSON within a JSON text" if isinstance(inner, str) else "are no JSON object"
