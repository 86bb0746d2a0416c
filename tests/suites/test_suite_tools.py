"""Prompts that offer tools in, their values as they go on the wire out, or one line for what is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tempzero import suites
from tempzero.errors import SuiteError
from tempzero.types.asked import Message, Suite, ToolCall

WEATHER = """
    tools:
      - type: function
        function:
          name: get_weather
          description: The weather in a city now.
          parameters: {type: object, properties: {unit: {enum: [celsius]}, city: {type: string}}, required: [city]}
"""
HEAD = """family: tools
prompts:
  - id: oslo
    prompt: What is the weather in Oslo?
    extractor: tool_call
"""


def loaded(tmp_path: Path, text: str) -> Suite:
    path = tmp_path / "t.yaml"
    path.write_text(text, encoding="utf-8")
    return suites.load_suite(path)


def test_a_tool_arrives_with_its_keys_in_order(tmp_path: Path) -> None:
    """Chat templates print a tool's schema in the order of its keys: another order is another prompt."""
    expected = """    expected: 'get_weather({"city": "Oslo"})'\n    tool_choice: auto\n"""
    (prompt,) = loaded(tmp_path, HEAD + expected + WEATHER).prompts
    function = prompt.tools[0]["function"]
    assert list(function) == ["name", "description", "parameters"]
    assert list(function["parameters"]["properties"]) == ["unit", "city"]
    assert prompt.tool_choice == "auto"


def test_tools_are_part_of_the_digest_down_to_their_order(tmp_path: Path) -> None:
    """A suite with another tool is another suite; one without tools keeps the digest it always had."""
    (prompt,) = loaded(tmp_path, HEAD + WEATHER).prompts
    function = dict(reversed(prompt.tools[0]["function"].items()))
    turned = replace(prompt, tools=({"type": "function", "function": function},))
    digests = {
        suites.digest_prompts([p])
        for p in (prompt, turned, replace(prompt, tools=()), replace(prompt, tool_choice="none"))
    }
    assert len(digests) == 4


def test_a_conversation_with_calls_is_read(tmp_path: Path) -> None:
    """The last word may be a tool's: what the model makes of its answer is what is asked."""
    text = """family: tools
prompts:
  - id: two-turns
    messages:
      - {role: user, content: "Weather in Oslo?"}
      - role: assistant
        tool_calls: [{id: c1, name: get_weather, arguments: {city: Oslo}}]
      - {role: tool, tool_call_id: c1, content: '{"degrees": 4}'}
"""
    (prompt,) = loaded(tmp_path, text + WEATHER).prompts
    call = ToolCall(name="get_weather", arguments='{"city": "Oslo"}', id="c1")
    assert prompt.messages[1] == Message(role="assistant", content="", tool_calls=(call,))
    assert prompt.messages[2] == Message(role="tool", content='{"degrees": 4}', tool_call_id="c1")


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("    tools: []\n", "expected a list of tools; found an empty list"),
        ("", "tool_call needs tools: to call"),
        (WEATHER + "    tool_choice: always\n", "expected auto, none, required"),
        (WEATHER + "    tool_choice: {type: function, function: {name: get_time}}\n", "one of the tools"),
        (WEATHER + "    expected: get_time({})\n", "no tool is called get_time; offered: get_weather"),
        (WEATHER + "    expected: get_weather(Oslo)\n", "could never read"),
        (WEATHER.replace("name: get_weather", "name: get weather"), "letters, digits, _ and -"),
        (WEATHER.replace("type: object", "type: objekt"), "is no JSON schema: type"),
        (WEATHER.replace("enum: [celsius]", "7: [celsius]"), "a key must be text; found a number"),
        (WEATHER.replace("description", "descripton"), 'did you mean "description"?'),
    ],
)
def test_what_could_not_be_asked_is_refused(tmp_path: Path, more: str, complaint: str) -> None:
    """A tool that no provider would take, or a call that nobody could make, is found before a run."""
    with pytest.raises(SuiteError) as caught:
        loaded(tmp_path, HEAD + more)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ("{role: tool, content: x, tool_call_id: c9}", "must be the id of a call of the assistant's message before it"),
        ("{role: tool, content: x}", "must be the id of a call"),
        ("{role: user, content: x, tool_call_id: c1}", "only a tool's message answers a call"),
        ("{role: user, content: x, tool_calls: [{id: c2, name: f}]}", "only an assistant's message calls tools"),
        ("{role: assistant, tool_calls: [{id: c2, name: f}]}", "the last message must be the user's or a tool's"),
        ("{role: assistant, tool_calls: [{name: f}]}", "is needed"),
    ],
)
def test_calls_and_their_answers_must_fit(tmp_path: Path, message: str, complaint: str) -> None:
    """A dangling answer is refused by most providers, each in its own words."""
    text = f"""family: tools
prompts:
  - id: turns
    messages:
      - {{role: user, content: "Weather?"}}
      - {{role: assistant, tool_calls: [{{id: c1, name: get_weather}}]}}
      - {message}
"""
    with pytest.raises(SuiteError) as caught:
        loaded(tmp_path, text)
    assert complaint in str(caught.value)
