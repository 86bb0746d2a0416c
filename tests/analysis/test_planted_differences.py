"""One difference planted in each field of a response in turn, through a real server and the whole command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback import Call, Loopback, Reply, completion_value, value
from tempzero.cli import main

ARGUMENTS = {"city": "Paris", "unit": "C"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}

Change = Callable[[dict[str, Any]], None]


def weather(**changed: Any) -> list[dict[str, Any]]:
    """A call of the offered tool."""
    arguments = json.dumps({**ARGUMENTS, **changed})
    return [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": arguments}}]


def answer(call: Call) -> dict[str, Any]:
    """What is answered every time but once."""
    message = {"reasoning_content": "Let me think.", "tool_calls": weather()}
    given = completion_value("It is warm.", finish_reason="tool_calls", message=message, system_fingerprint="fp_1")
    given["usage"] = {"prompt_tokens": 11, "completion_tokens": 9, "total_tokens": 20}
    given["choices"][0]["logprobs"] = {"content": [{"token": "It", "logprob": -0.5}]}
    return given


def run(folder: Path, change: Change, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any], str]:
    """Ask eight prompts twice; the second answer to p3 is changed. Exit code, summary.json and report.md."""

    def reply(call: Call) -> Reply:
        given = answer(call)
        planted = call.prompt == "question 3" and call.nth == 2
        if planted:
            change(given)
        return value(given, headers=headers if planted else None)

    prompts = [{"id": f"p{i}", "prompt": f"question {i}", "tools": [TOOL]} for i in range(8)]
    (folder / "prompts.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": prompts}))
    with Loopback(reply) as server:
        provider = {"name": "a", "base_url": server.base_url, "model": "m", "repeats": 2, "max_tokens": 50}
        settings = {"version": 1, "run": {"prompts": "prompts.yaml"}, "providers": [provider]}
        (folder / "providers.yaml").write_text(yaml.safe_dump(settings))
        code = main(["run", "--config", str(folder / "providers.yaml"), "--no-check"])
    (made,) = (folder / "results").iterdir()
    return code, json.loads((made / "summary.json").read_text()), (made / "report.md").read_text()


def message_with(**fields: Any) -> Change:
    return lambda given: given["choices"][0]["message"].update(fields)


def choice_with(**fields: Any) -> Change:
    return lambda given: given["choices"][0].update(fields)


def body_with(**fields: Any) -> Change:
    return lambda given: given.update(fields)


def usage_with(**fields: int) -> Change:
    return lambda given: given["usage"].update(fields)


@pytest.mark.parametrize(
    ("change", "rules", "said"),
    [
        (message_with(reasoning_content="Let me see."), ["nondeterministic"], '("p3"), the reasoning on 1,'),
        (message_with(reasoning_content=None), ["nondeterministic"], "shows its reasoning in some repeats and not in"),
        (message_with(content="It is cold."), ["nondeterministic"], '("p3"), the text on 1,'),
        (message_with(content=None), ["nondeterministic"], '("p3"), the text on 1,'),
        (message_with(tool_calls=weather(city="Rome")), ["nondeterministic"], '("p3"), the tool calls on 1,'),
        (message_with(tool_calls=weather(unit="F")), ["nondeterministic"], '("p3"), the tool calls on 1,'),
        (message_with(tool_calls=weather() * 2), ["nondeterministic"], '("p3"), the tool calls on 1,'),
        (message_with(refusal="I cannot."), ["nondeterministic"], '("p3"), the refusal on 1,'),
        (body_with(model="other"), ["model_mismatch", "identity_changed"], "answered as m x15, other x1"),
    ],
    ids=["reasoning", "no reasoning", "text", "no text", "one argument", "another", "calls", "refusal", "model"],
)
def test_a_difference_in_what_is_compared_is_found_and_named(
    tmp_path: Path, change: Change, rules: list[str], said: str
) -> None:
    """Whatever part of an answer differs, the proof names it; whoever answers as another model is found."""
    code, summary, report = run(tmp_path, change)
    assert [f["rule"] for f in summary["findings"]] == rules
    assert code == 1
    assert said in report.replace("\\_", "_")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (choice_with(finish_reason="stop"), "finish_reason in all: tool_calls x15, stop x1"),
        (usage_with(prompt_tokens=12, total_tokens=21), "counts other prompt_tokens for the same prompt, from repeat"),
        (usage_with(completion_tokens=8, total_tokens=19), "counts other completion_tokens for the same answer"),
        (body_with(system_fingerprint="fp_2"), "2 different system fingerprints in 16 answers"),
        (choice_with(logprobs=None), "log-probabilities that a host sends are kept only"),
        (body_with(id="another"), "response ids"),
        (body_with(created=2), "times of creation"),
    ],
    ids=["finish_reason", "prompt_tokens", "completion_tokens", "fingerprint", "logprobs", "id", "created"],
)
def test_a_difference_in_what_is_only_said_is_told_and_found_by_nobody(
    tmp_path: Path, change: Change, said: str
) -> None:
    """Normal service stands in the report as what it is, and accuses no provider."""
    code, summary, report = run(tmp_path, change)
    assert summary["findings"] == []
    assert code == 0
    assert said in report.replace("\\_", "_")


def test_another_header_is_recorded_and_not_compared(tmp_path: Path) -> None:
    """Every response of a real host has headers of its own."""
    code, summary, report = run(tmp_path, lambda given: None, headers={"x-request-id": "2"})
    assert (code, summary["findings"]) == (0, [])
    assert "headers" in report
