"""From a model's name to its report: `init --model`, `check`, `run`, against eleven hosts that speak as theirs do.

The entries are what the catalogue writes, its addresses led to this machine; each host takes, refuses, answers and
counts as its vendor documents. Efforts low and high, thinking on and off are conditions of one run.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback import Loopback
from tempzero.cli import main
from tempzero.config.catalogue import read_catalogue
from tempzero.records import open_run
from test_dialects import (
    THOUGHT,
    Dialect,
    effort_of,
    in_details,
    in_field,
    in_tags,
    router_effort,
    thinking_type,
)

DISABLED: dict[str, Any] = {"thinking": {"type": "disabled"}}
ENABLED: dict[str, Any] = {"thinking": {"type": "enabled"}}
PLAIN: dict[str, Any] = {name: {"reasoning_effort": name} for name in ("none", "low", "high")}
TYPED: dict[str, Any] = {"none": DISABLED, "low": {"reasoning_effort": "low"}, "high": ENABLED}
ROUTED: dict[str, Any] = {
    "none": {"reasoning": {"enabled": False}},
    **{n: {"reasoning": {"effort": n}} for n in ("low", "high")},
}
HOSTS: dict[str, dict[str, Dialect]] = {
    "gpt-oss-120b": {
        "groq": Dialect(effort=effort_of, message=in_field("reasoning"), sent=PLAIN),
        "cerebras": Dialect(effort=effort_of, message=in_field("reasoning"), sent=PLAIN, limit="max_completion_tokens"),
        "together": Dialect(effort=effort_of, message=in_field("reasoning"), sent=PLAIN, counted=False),
        "fireworks": Dialect(effort=effort_of, message=in_field("reasoning_content"), sent=PLAIN, counted=False),
        "nebius": Dialect(effort=effort_of, message=in_field("reasoning_content"), sent=PLAIN, refuses="seed"),
        "novita": Dialect(effort=effort_of, message=in_tags, sent=PLAIN, counted=False),
        "openrouter-deepinfra": Dialect(effort=router_effort, message=in_details, sent=ROUTED),
    },
    "DeepSeek-V4-Pro-0813": {
        "deepseek": Dialect(effort=thinking_type, message=in_field("reasoning_content"), sent=TYPED, refuses="seed"),
    },
    "Kimi-K2.6": {
        "moonshot": Dialect(
            effort=thinking_type, message=in_field("reasoning_content"), sent=TYPED, refuses="temperature"
        ),
    },
    "GLM-5.3": {
        "zai": Dialect(effort=thinking_type, message=in_field("reasoning_content"), sent=TYPED, refuses="seed"),
    },
    "MiniMax-M3": {"minimax": Dialect(effort=effort_of, message=in_tags, sent=PLAIN, counted=False)},
}
CONDITIONS = ("none", "low", "high")
PROMPTS, REPEATS, ASKED = 5, 2, 10  # tokens that every host counts of a prompt


def lead_here(folder: Path, model: str, urls: Mapping[str, str]) -> Path:
    """The file that `init` wrote, with only these hosts, on this machine, and efforts as conditions."""
    file = folder / "providers.yaml"
    written = yaml.safe_load(file.read_text())
    written["providers"] = [{**p, "base_url": urls[p["name"]]} for p in written["providers"] if p["name"] in urls]
    written["conditions"] = [{"name": name, "reasoning": {"effort": name}} for name in CONDITIONS]
    file.write_text(yaml.safe_dump(written))
    return file


@pytest.mark.parametrize("model", HOSTS)
def test_a_model_s_name_leads_to_its_report(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the catalogue says of a host is enough to ask it, to read it, and to say what it cost."""
    hosts, catalogue = HOSTS[model], read_catalogue()
    for name in hosts:
        monkeypatch.setenv(catalogue.hosts[name].api_key_env, "k" * 24)
    assert main(["init", str(tmp_path), "--model", model]) == 0
    prompts = [{"id": f"p{n}", "prompt": f"question {n}"} for n in range(PROMPTS)]
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": prompts}))
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(Loopback(host.answer)) for name, host in hosts.items()}
        file = lead_here(tmp_path, model, {name: server.base_url for name, server in servers.items()})
        capfd.readouterr()
        assert main(["check", "--config", str(file), "--json"]) in (0, 1)
        checked = json.loads(capfd.readouterr().out)["providers"]
        main(["run", "--config", str(file), "--prompts", str(tmp_path / "p.yaml")])
    assert {row["endpoint"] for row in checked} == {"answers"}
    assert {row["reasoning"] for row in checked} == {"shown"}
    run = open_run(next((tmp_path / "results").iterdir()))
    room = catalogue.models[model].reasoning_tokens or 0
    answers = 0
    for record in run.records():
        trial, exchange = record.attempt.trial, record.attempt.exchange
        said, host = exchange.outcome.completion, hosts[trial.provider]
        if said is None:
            continue
        answers += 1
        body = json.loads(exchange.request.body)
        assert {key: body[key] for key in host.sent[trial.condition]} == host.sent[trial.condition]
        assert body[host.limit] == 512 + (0 if trial.condition == "none" else room)
        assert said.text.strip() == "yes"
        assert (said.reasoning_text or "").split() == ["hm"] * THOUGHT[trial.condition]
        assert said.output_tokens == THOUGHT[trial.condition] + 1
    assert answers == len(hosts) * len(CONDITIONS) * PROMPTS * REPEATS
    summary = json.loads((run.path / "summary.json").read_text())
    assert_paid(summary, model, hosts)
    report = (run.path / "report.md").read_text()
    assert not [f for f in summary["findings"] if f["weight"] == "accuses"]
    assert "(the reasoning on 5)" in report  # under other efforts, and told as their effect


def assert_paid(summary: Any, model: str, hosts: Mapping[str, Dialect]) -> None:
    """The catalogue's price times what each host counted; nothing where the catalogue knows no price."""
    costs = {
        (f["left"], f["condition"]): f["value"]
        for f in summary["figures"]
        if f["metric"] == "cost_usd" and f["family"] is None
    }
    priced = 0
    for name in hosts:
        at = read_catalogue().models[model].hosts[name]
        for condition in CONDITIONS:
            if at.input_per_mtok is None or at.output_per_mtok is None:
                assert costs.get((name, condition)) is None
                continue
            priced += 1
            each = ASKED * at.input_per_mtok + (THOUGHT[condition] + 1) * at.output_per_mtok
            assert costs[name, condition] == pytest.approx(PROMPTS * REPEATS * each / 1e6)
    assert priced >= len(CONDITIONS)
