"""Two lines to start: a model's name, or an aggregator's listing, in; a providers.yaml that can be run, out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from loopback import Loopback
from tempzero import config
from tempzero.cli import main
from tempzero.config.catalogue import CATALOGUE_FILE, read_catalogue, write_listing_config, write_model_config
from tempzero.config.env_file import read_env_file
from tempzero.errors import ConfigError, UsageError

MODELS = tuple(read_catalogue().models)


def test_the_models_that_people_compare_are_there_with_several_hosts_each() -> None:
    """A comparison needs two; every entry says where it is from, and the file that nothing in it was verified."""
    catalogue = read_catalogue()
    assert len(MODELS) >= 12
    assert all(len(known.hosts) >= 3 for known in catalogue.models.values())
    used = {host for known in catalogue.models.values() for host in known.hosts}
    assert used <= set(catalogue.hosts)
    assert all(host.source and host.as_of.startswith("2026-") for host in catalogue.hosts.values())
    assert "not verified" in CATALOGUE_FILE.read_text()


@pytest.mark.parametrize("model", MODELS)
def test_what_is_written_can_be_read_and_says_what_it_costs(tmp_path: Path, model: str) -> None:
    """Each entry of the catalogue is a provider as it stands: pinned, priced with a day, with room to think."""
    path, ready = write_model_config(model.lower(), tmp_path, {})
    settings = config.load_config(path)
    assert ready == []
    assert {p.claimed_model for p in settings.providers} == {model}
    assert all(p.pinned and p.api_key_env for p in settings.providers)
    assert sum(p.price is not None and p.price.as_of == "2026-11-06" for p in settings.providers) >= 1
    thinks = read_catalogue().models[model].reasoning_tokens
    assert {p.reasoning.allowance for p in settings.providers} == {thinks or 0}


def test_only_hosts_with_a_key_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two lines, and a `.env` beside them: the plan holds the one host whose key is there."""
    monkeypatch.chdir(tmp_path)
    for host in read_catalogue().hosts.values():
        monkeypatch.delenv(host.api_key_env, raising=False)
    monkeypatch.setenv("GROQ_API_KEY", "")
    monkeypatch.delenv("GROQ_API_KEY")
    (tmp_path / ".env").write_text("# keys\nexport GROQ_API_KEY='gq-1'\n")
    assert main(["init", "--model", "gpt-oss-120b"]) == 0
    assert "keys are set for groq;" in capfd.readouterr().err
    assert main(["run", "--dry-run"]) == 0
    said = capfd.readouterr()
    assert "Plan: 20 prompts of suite hosted-quick" in said.out
    assert "groq" in said.out
    assert "cerebras" not in said.out
    assert "skipped: cerebras: environment variable CEREBRAS_API_KEY not set" in said.err
    monkeypatch.delenv("GROQ_API_KEY")


def test_nothing_is_overwritten_and_an_unknown_model_is_told(tmp_path: Path) -> None:
    """A name that is nearly right is suggested."""
    write_model_config("gpt-oss-20b", tmp_path, {})
    with pytest.raises(UsageError, match="is there already"):
        write_model_config("gpt-oss-20b", tmp_path, {})
    with pytest.raises(UsageError, match='knows no "gpt-oss-12b"; did you mean "gpt-oss-120b"'):
        write_model_config("gpt-oss-12b", tmp_path / "b", {})
    assert main(["init", "--model", "gpt-oss-20b", "--from-openrouter", "x.json"]) == 2
    assert main(["init", "--model", "gpt-oss-20b", "--imitated"]) == 2


ENDPOINT = {
    "name": "DeepInfra | openai/gpt-oss-120b",
    "tag": "deepinfra/fp4",
    "quantization": "fp4",
    "context_length": 131072,
    "pricing": {"prompt": "0.00000005", "completion": "0.00000025"},
    "supported_parameters": ["temperature", "top_p", "reasoning", "tools"],
}


def listing(folder: Path, *endpoints: Any) -> Path:
    file = folder / "endpoints.json"
    file.write_text(json.dumps({"data": {"id": "openai/gpt-oss-120b", "endpoints": endpoints}}))
    return file


def test_every_endpoint_of_a_listing_is_a_provider_of_its_own(tmp_path: Path) -> None:
    """Pinned by its whole tag, without what it does not take, at its own price, with what it says of its precision."""
    other = {"tag": "novita", "pricing": {"prompt": "x"}, "quantization": "unknown"}
    path, count = write_listing_config(listing(tmp_path, ENDPOINT, other), tmp_path / "out")
    first, second = config.load_config(path).providers
    assert count == 2
    assert first.request == {
        "provider": {"only": ["deepinfra/fp4"], "allow_fallbacks": False, "require_parameters": True}
    }
    assert (first.seed, first.temperature, first.context) == (None, 0, 131072)
    assert first.claims.precision == "fp4"
    assert first.price is not None
    assert (first.price.input_per_mtok, first.price.output_per_mtok) == (0.05, 0.25)
    assert first.effort_fields("none") == {"reasoning": {"enabled": False}}
    assert (second.name, second.price, second.claims.precision) == ("openrouter-novita", None, None)
    assert {first.claimed_model, second.claimed_model} == {"gpt-oss-120b"}


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '{"data": {"id": "m", "endpoints": []}}',
        '{"data": {"id": 5, "endpoints": [{}]}}',
        '{"data": {"id": "m", "endpoints": [{"tag": "a\\u001b[31m"}]}}',
        '{"data": {"id": "m", "endpoints": [5]}}',
    ],
)
def test_a_file_that_is_no_listing_is_told_in_one_line(tmp_path: Path, content: str) -> None:
    """What was saved from the web is somebody else's text."""
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(UsageError) as caught:
        write_listing_config(file, tmp_path)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert not (tmp_path / "providers.yaml").exists()


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A_KEY=abc", "abc"),
        ("export A_KEY = abc # the one", "abc"),
        ('A_KEY="a b#c"  # quoted', "a b#c"),
        ("A_KEY='$HOME'", "$HOME"),
        ("A_KEY=a#b", "a#b"),
        ("A_KEY=", ""),
    ],
)
def test_lines_of_an_env_file_are_read_as_people_write_them(tmp_path: Path, line: str, value: str) -> None:
    """Nothing is expanded: a key may hold any sign."""
    file = tmp_path / ".env"
    file.write_text(f"# keys\n\n{line}\n")
    assert read_env_file(file) == {"A_KEY": value}


def test_a_line_that_is_no_variable_is_told_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a key that was pasted without its name."""
    file = tmp_path / ".env"
    file.write_text("A=1\nsk-secret-secret\n")
    with pytest.raises(ConfigError) as caught:
        read_env_file(file)
    assert str(caught.value) == f"{file}:2: expected NAME=VALUE, a # comment or an empty line"
    monkeypatch.chdir(tmp_path)
    assert main(["schema"]) == 2


def test_a_variable_that_is_set_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key that is asked with is the environment's, where both have one."""
    entry = "{name: a, base_url: URL, model: m, api_key_env: A_KEY, repeats: 1}"
    (tmp_path / "p.yaml").write_text("- {id: a, family: f, prompt: One.}\n")
    (tmp_path / ".env").write_text("A_KEY=from-the-file\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A_KEY", "from-the-environment")
    with Loopback() as server:
        text = f"version: 1\nrun: {{prompts: p.yaml}}\nproviders: [{entry.replace('URL', server.base_url)}]\n"
        (tmp_path / "providers.yaml").write_text(text)
        main(["run", "--no-check"])
        assert server.calls[0].headers["authorization"] == "Bearer from-the-environment"
