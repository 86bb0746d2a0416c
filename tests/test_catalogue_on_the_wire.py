"""What `init --model` writes, asked of imitated hosts: every entry of a model sends what its host documents."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback import Call, Loopback, Reply, completion_value, value
from tempzero.cli import main
from tempzero.collect.watcher import Watcher
from tempzero.config import Setting
from tempzero.config.catalogue import read_catalogue
from tempzero.records import open_run
from tempzero.workflow.pipeline import prepare_run, start_run


def thinking_host(call: Call) -> Reply:
    """It thinks, unless it was told not to in any of the dialects."""
    if call.method == "GET":
        return value({"data": [{"id": call.model}]})
    asked = call.json
    off = (
        asked.get("thinking", {}).get("type") == "disabled"
        or asked.get("reasoning", {}).get("enabled") is False
        or asked.get("reasoning_effort") == "none"
    )
    message: dict[str, Any] = {"content": "yes"} if off else {"content": "yes", "reasoning_content": "hm hm"}
    tokens = 1 if off else 3
    usage = {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + tokens}
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return value(completion_value(choices=[choice], usage=usage, model=asked["model"]))


@pytest.mark.parametrize("model", ["gpt-oss-120b", "Kimi-K3", "DeepSeek-V4-Pro-0813", "GLM-5.3"])
def test_every_entry_of_a_model_can_be_asked_with_thinking_on_and_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """Two lines and one condition more: what is sent is what each host takes, and nothing that it refuses."""
    monkeypatch.chdir(tmp_path)
    for host in read_catalogue().hosts.values():
        for name in (host.api_key_env, *re.findall(r"\$\{(\w+)\}", host.base_url)):
            monkeypatch.setenv(name, "some-key")
    assert main(["init", "--model", model]) == 0
    (tmp_path / "p.yaml").write_text("- {id: a, family: f, prompt: One.}\n")
    file = tmp_path / "providers.yaml"
    with Loopback(thinking_host) as server:
        settings = yaml.safe_load(file.read_text())
        for entry in settings["providers"]:
            entry["base_url"] = f"{server.base_url}/{entry['name']}"
        settings["run"] = {"prompts": "p.yaml"}
        settings["conditions"] = [{"name": name, "reasoning": {"effort": name}} for name in ("none", "high")]
        file.write_text(yaml.safe_dump(settings))
        # Asked and recorded; what a report of so many hosts looks like is not the question here, and takes its time.
        prepared = prepare_run(Setting.load(file, os.environ), repeats=1)
        start_run(prepared, watcher=Watcher(), check=False)
        sent = [(call.target.split("/")[2], call.json) for call in server.calls]
    assert {name for name, _ in sent} == set(read_catalogue().models[model].hosts)
    run = open_run(next((tmp_path / "results").iterdir()))
    for record in run.records():
        answer = record.attempt.exchange.outcome.completion
        assert answer is not None
        assert (answer.reasoning_text is None) == (record.attempt.trial.condition == "none"), record.attempt.trial
    limits = {(body["max_tokens"] > 4096) for _, body in sent}
    assert limits == {True, False}  # with room for thinking, and without
    for name, body in sent:
        assert ("temperature" in body) == (name != "moonshot")
        if name in ("moonshot", "deepseek", "zai"):
            assert body["thinking"]["type"] in ("enabled", "disabled")
            assert "seed" not in body
        if name == "openrouter-deepinfra":
            assert body["provider"] == {"only": ["deepinfra"], "allow_fallbacks": False, "require_parameters": True}
            assert body["reasoning"] in ({"enabled": False}, {"effort": "high"})
        if name == "fireworks":
            assert body["context_length_exceeded_behavior"] == "error"
