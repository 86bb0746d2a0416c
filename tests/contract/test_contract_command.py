"""`tempzero check --contract`: exit codes, the screen, and the files it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from contract_host import ContractHost, Fault
from loopback import Loopback
from tempzero.cli import main

HOSTILE = 'm-mini | <b>"x"</b> @everyone \x1b[31m'


def check(folder: Path, host: ContractHost, *arguments: str, **entry: Any) -> int:
    with Loopback(host) as server:
        provider = {"name": "p", "base_url": server.base_url, "model": "m", **entry}
        (folder / "providers.yaml").write_text(yaml.safe_dump({"version": 1, "providers": [provider]}))
        return main(["check", "--contract", "--config", str(folder / "providers.yaml"), *arguments])


def test_a_kept_contract_is_a_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A scheduler reads the exit code, a person the counts."""
    assert check(tmp_path, ContractHost(), "--families", "stop,n") == 0
    shown = capsys.readouterr().out
    assert "contract: pass (exit code 0)" in shown
    assert shown.splitlines()[1].split()[:4] == ["p", "pass", "9", "0"]


def test_a_broken_promise_is_a_finding_with_its_evidence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON, JUnit, Markdown and the exchanges say the same, and hostile words are no markup in any."""
    fault = Fault(body=lambda asked, body: {**body, "model": HOSTILE})
    out = tmp_path / "out"
    assert check(tmp_path, ContractHost(fault=fault), "--families", "stop,identity", "--out", str(out)) == 1
    shown = capsys.readouterr().out
    assert "FAIL identity.model:" in " ".join(shown.split())
    assert "\x1b" not in shown
    value = json.loads((out / "contract.json").read_text())
    (provider,) = value["providers"]
    assert (value["outcome"], provider["counts"]["FAIL"]) == ("finding", 1)
    suite = ElementTree.fromstring((out / "contract.xml").read_bytes())[0]
    assert (suite.get("failures"), suite.get("tests")) == ("1", "8")
    failing = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failing == ["identity.model"]
    markdown = (out / "contract.md").read_text()
    assert "<b>" not in markdown
    assert "@everyone" not in markdown
    exchanges = [json.loads(line) for line in (out / "exchanges.jsonl").read_text().splitlines()]
    assert len(exchanges) == provider["requests"]
    assert all(json.loads(one["request"])["model"] and one["response_sha256"] for one in exchanges)


def test_json_is_all_that_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another program reads it."""
    assert check(tmp_path, ContractHost(), "--families", "n", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert [case["state"] for case in value["providers"][0]["cases"]] == ["PASS"] * 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--contract", "--families", "tool"], "tool is no family of cases; there are shape, limits"),
        (["--families", "tools"], "go with --contract"),
        (["--out", "x"], "go with --contract"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is asked where it is not clear what."""
    provider = {"name": "p", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
    (tmp_path / "providers.yaml").write_text(yaml.safe_dump({"version": 1, "providers": [provider]}))
    assert main(["check", "--config", str(tmp_path / "providers.yaml"), *arguments]) == 2
    assert words in capsys.readouterr().err
