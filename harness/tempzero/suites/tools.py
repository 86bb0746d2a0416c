"""The `tools`, `tool_choice` and `tool_calls` of a prompt as written in, their checked values out."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

from tempzero.extractors.json_schema import find_schema_problem
from tempzero.extractors.tool_call import expected_tool_names
from tempzero.suites.prompt_files import Place, describe_value, require_known_keys
from tempzero.types.asked import Prompt, ToolCall

# What every provider takes for a name.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CHOICES = ("auto", "none", "required")


def parse_tools(value: Any, place: Place) -> tuple[dict[str, Any], ...]:
    """The tools of a prompt, as they go on the wire. Raises SuiteProblem."""
    if value is None:
        return ()
    if not isinstance(value, list) or not value:
        place.refuse(f"expected a list of tools; found {'an empty list' if value == [] else describe_value(value)}")
    found = tuple(_parse_tool(item, place.inside(index)) for index, item in enumerate(value))
    names = [tool["function"]["name"] for tool in found]
    for index, name in enumerate(names):
        if name in names[:index]:
            place.inside(index, "function", "name").refuse(f'"{name}" is given twice')
    return found


def parse_tool_choice(value: Any, offered: Any, place: Place) -> str | dict[str, Any] | None:
    """Which tool is to be called: auto, none, required, or one by its name. Raises SuiteProblem."""
    if value is None:
        return None
    if not offered:
        place.refuse("needs tools: to choose from")
    if isinstance(value, str):
        if value not in _CHOICES:
            place.refuse(f"expected {', '.join(_CHOICES)} or {{type: function, function: {{name: ...}}}}")
        return value
    fields = require_known_keys(value, ("type", "function"), place)
    function = require_known_keys(fields.get("function"), ("name",), place.inside("function"))
    names = [
        t["function"].get("name")
        for t in (offered if isinstance(offered, list) else [])
        if isinstance(t, dict) and isinstance(t.get("function"), dict)
    ]
    if fields.get("type") != "function" or function.get("name") not in names:
        place.refuse("expected {type: function, function: {name: one of the tools}}")
    return {"type": "function", "function": {"name": function["name"]}}


def parse_tool_calls(value: Any, place: Place) -> tuple[ToolCall, ...]:
    """The calls in an assistant's message: {id, name, arguments}, arguments as a mapping or as the text it wrote."""
    if value is None:
        return ()
    if not isinstance(value, list) or not value:
        place.refuse(f"expected a list of calls; found {'an empty list' if value == [] else describe_value(value)}")
    calls = []
    for index, item in enumerate(value):
        at = place.inside(index)
        fields = require_known_keys(item, ("id", "name", "arguments"), at)
        for key in ("id", "name"):
            if not isinstance(fields.get(key), str) or not _NAME.fullmatch(fields[key]):
                at.inside(key).refuse("is needed: letters, digits, _ and -, at most 64")
        arguments = fields.get("arguments", {})
        if not isinstance(arguments, dict | str):
            at.inside("arguments").refuse(
                f"expected a mapping, or the JSON text of one; found {describe_value(arguments)}"
            )
        text = (
            arguments
            if isinstance(arguments, str)
            else _dump_arguments(to_json_value(arguments, at.inside("arguments")))
        )
        calls.append(ToolCall(id=fields["id"], name=fields["name"], arguments=text))
    if len({call.id for call in calls}) < len(calls):
        place.refuse("two calls have the same id")
    return tuple(calls)


def check_expected_calls(prompt: Prompt, place: Place) -> None:
    """Only a prompt that offers tools can be answered by a call, and only by one of those. Raises SuiteProblem."""
    if prompt.extractor is None or prompt.extractor.name != "tool_call":
        return
    if not prompt.tools:
        place.inside("extractor").refuse("tool_call needs tools: to call")
    known = [tool["function"]["name"] for tool in prompt.tools]
    unknown = [name for name in expected_tool_names(prompt.expected or "") if name not in (*known, "no")]
    if prompt.expected is not None and prompt.expected != "no call" and unknown:
        place.inside("expected").refuse(f"no tool is called {unknown[0]}; offered: {', '.join(known)}")


def to_json_value(value: Any, place: Place) -> Any:
    """The value in JSON's own types. Raises SuiteProblem for dates and the like, which YAML reads out of bare words."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                place.inside(str(key)).refuse(f"a key must be text; found {describe_value(key)} (put it in quotes)")
        return {key: to_json_value(inner, place.inside(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [to_json_value(inner, place.inside(index)) for index, inner in enumerate(value)]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and "." not in str(value) else float(value)
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and value - value == 0):
        return value
    place.refuse(f"{value!s:.40} is no JSON value; put it in quotes")


def _parse_tool(value: Any, place: Place) -> dict[str, Any]:
    fields = require_known_keys(value, ("type", "function"), place)
    if fields.get("type") != "function":
        place.inside("type").refuse("must be function")
    at = place.inside("function")
    function = to_json_value(
        require_known_keys(fields.get("function"), ("name", "description", "parameters", "strict"), at), at
    )
    if not isinstance(function.get("name"), str) or not _NAME.fullmatch(function["name"]):
        at.inside("name").refuse("is needed: letters, digits, _ and -, at most 64")
    if not isinstance(function.get("description", ""), str):
        at.inside("description").refuse(f"expected text; found {describe_value(function['description'])}")
    parameters = function.get("parameters", {})
    if not isinstance(parameters, dict):
        at.inside("parameters").refuse(f"expected a JSON schema; found {describe_value(parameters)}")
    problem = find_schema_problem(parameters)
    if problem:
        at.inside("parameters").refuse(f"is no JSON schema: {problem}")
    return {"type": "function", "function": function}


def _dump_arguments(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
