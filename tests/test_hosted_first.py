"""Keys in the environment and nothing else: what a plain `run` then asks, of whom, and what that costs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from loopback import Loopback, completion
from tempzero.cli import main
from tempzero.config import load_config

ROOT = Path(__file__).parent.parent
KEYS = ("GROQ_API_KEY", "NOVITA_API_KEY", "TOGETHER_API_KEY", "NEBIUS_API_KEY")


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for provider in load_config(ROOT / "providers.yaml").providers:
        for name in provider.variables():
            monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["run", "--dry-run", *arguments]) == 0
    return capfd.readouterr().out


def test_four_keys_are_four_providers_and_twenty_prompts(
    empty: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not 280 calls, most of them to the model of the demonstration."""
    for name in KEYS:
        monkeypatch.setenv(name, "some-key")
    said = planned(capfd)
    assert "Plan: 20 prompts of suite hosted-quick, version 1" in said
    assert "local-q8" not in said
    assert " 160 " in said  # calls: four providers, twenty prompts, twice
    local = planned(capfd, "--local")
    assert "cpu-reference" in local
    assert "Plan: 15 prompts of suite quick" in local
    assert "Plan: 119 prompts of suite standard" in planned(capfd, "--suite", "standard")
    assert main(["run", "--dry-run", "--hosted", "--local"]) == 2


def test_without_a_key_the_first_run_is_what_it_was(empty: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The demonstration needs no key, and new suites make it no slower."""
    said = planned(capfd)
    assert "Plan: 15 prompts of suite quick" in said
    assert "local-q8-parallel" in said
    assert main(["run", "--dry-run", "--hosted"]) == 2


def test_a_hosted_suite_runs_to_its_report(tmp_path: Path) -> None:
    """Tools, formats and long limits reach the host; every prompt is answered."""
    with Loopback(lambda call: completion("Answer: 12")) as server:
        entry = {"name": "a", "base_url": server.base_url, "model": "m", "repeats": 1}
        file = tmp_path / "providers.yaml"
        file.write_text(yaml.safe_dump({"version": 1, "run": {"prompts": "builtin"}, "providers": [entry]}))
        assert main(["run", "--config", str(file), "--no-check"]) in (0, 1, 3)
        bodies = [call.json for call in server.calls]
    assert len(bodies) == 20
    assert {body["max_tokens"] for body in bodies} == {512}
    assert sum("tools" in body for body in bodies) == 3
