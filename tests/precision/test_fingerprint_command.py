"""`tempzero fingerprint` from weights to a name: a pack made, real servers asked, forms named, offline again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from loopback import Call, Loopback, Reply, completion, error
from making import chain_file
from tempzero.cli import main
from tiny_gguf import tiny_model

WORDS = (
    "bread",
    "clouds",
    "gardens",
    "harbours",
    "keys",
    "ladders",
    "markets",
    "nails",
    "oceans",
    "pianos",
    "rivers",
    "salt",
)
FORMS = "f16,q8_0,q4_0,fp8-e4m3-channel,int8-channel,system-empty"


def write_setting(folder: Path, *entries: str) -> None:
    local = f"{{weights: 'path:{tiny_model()}', precision: f32, threads: 1, batch: 64, context: 512}}"
    (folder / "providers.yaml").write_text(
        "version: 1\nrun: {reference: ref}\nproviders:\n"
        f"  - {{name: ref, local: {local}, claims: {{model: tiny}}}}\n" + "".join(f"  - {{{e}}}\n" for e in entries)
    )
    (folder / "asked.yaml").write_text(
        "family: asked\nprompts:\n" + "".join(f"  - {{id: {w}, prompt: 'Tell me of {w}.'}}\n" for w in WORDS)
    )


def served(name: str, precision: str, declared: str) -> str:
    weights = f"weights: 'path:{tiny_model()}', precision: {precision}, threads: 1, context: 512"
    return f"name: {name}, serve: {{{weights}}}, claims: {{model: tiny, precision: {declared}}}"


@pytest.fixture
def folder(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in; model files made here stay here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_pack() -> None:
    assert main(["fingerprint", "--make-pack", "pack.json", "--suite", "asked.yaml", "--forms", FORMS]) == 0


def read_hosts(text: str) -> dict[str, Any]:
    return {host["provider"]: host for host in json.loads(text)["hosts"]}


@pytest.mark.engine
def test_servers_are_named_after_what_they_serve(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a pack alone, by one token of twelve prompts: the coarse one is named, and its false claim is a finding."""
    write_setting(folder, served("eight", "q8_0", "q8_0"), served("four", "q4_0", "bf16"))
    make_pack()
    capsys.readouterr()
    assert main(["fingerprint", "--pack", "pack.json", "--json"]) == 1
    first = capsys.readouterr().out
    hosts = read_hosts(first)
    assert [form["form"] for form in hosts["four"]["naming"]["named"]] == ["q4_0"]
    assert [form["form"] for form in hosts["eight"]["naming"]["named"]] == ["q8_0"]
    assert (hosts["four"]["standing"], hosts["eight"]["standing"]) == ("contradicted", "confirmed")
    (run,) = folder.glob("results/*-fingerprint")
    for body in chain_file(run).read_text().splitlines():
        assert json.loads(json.loads(body)["attempt"]["exchange"]["request"]["body"])["top_logprobs"] == 20
    assert main(["fingerprint", str(run), "--pack", "pack.json", "--json"]) == 1
    assert capsys.readouterr().out == first
    assert main(["verify", str(run)]) == 0


@pytest.mark.engine
def test_a_pack_is_the_same_bytes_every_time(folder: Path) -> None:
    """Whoever has the weights can make it again and compare the hash."""
    write_setting(folder)
    make_pack()
    once = (folder / "pack.json").read_bytes()
    make_pack()
    assert (folder / "pack.json").read_bytes() == once


@pytest.mark.engine
def test_a_pack_needs_no_form_to_hold_two_hosts_against_each_other(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reference's own log-probabilities are enough, and take one reading of the prompts to make."""
    write_setting(folder, *(served(name, form, form) for name, form in (("a", "q4_0"), ("b", "q4_0"), ("c", "f16"))))
    assert main(["fingerprint", "--make-pack", "pack.json", "--suite", "asked.yaml", "--forms", "none"]) == 0
    capsys.readouterr()
    main(["fingerprint", "--pack", "pack.json", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["pack"]["forms"] == 0
    assert said["camps"] == [["a", "b"]]


@pytest.mark.engine
def test_what_llama_cpp_itself_computes_has_a_direction_of_its_own(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It rounds what goes into each matrix as well, by the same rule every time: that direction fits it whole."""
    write_setting(folder, served("eight", "q8_0", "q8_0"))
    forms = "q8_0,q8_0-llamacpp,q4_k_m,int8-channel"
    assert main(["fingerprint", "--make-pack", "pack.json", "--suite", "asked.yaml", "--forms", forms]) == 0
    capsys.readouterr()
    assert main(["fingerprint", "--pack", "pack.json", "--json"]) == 0
    (host,) = read_hosts(capsys.readouterr().out).values()
    (form,) = host["naming"]["named"]
    assert (form["form"], host["standing"]) == ("q8_0-llamacpp", "confirmed")
    assert set(form["rivals"]) <= {"q8_0"}
    assert form["correlation"] > 0.9


def answer_with(logprobs: object) -> Reply:
    return completion("x", choice={"logprobs": logprobs})


@pytest.mark.engine
def test_hosts_without_log_probabilities_are_skipped_with_the_reason(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is spent on who cannot be told, and he is named with what he said."""
    write_setting(folder)
    make_pack()
    with Loopback(lambda _: answer_with(None)) as mute:
        write_setting(folder, f"name: mute, base_url: '{mute.base_url}', model: m, claims: {{model: tiny}}")
        assert main(["fingerprint", "--pack", "pack.json"]) == 2
    assert "mute: no log-probabilities: ignored" in capsys.readouterr().err


@pytest.mark.engine
def test_a_host_that_gives_five_is_asked_for_five(folder: Path) -> None:
    """Hosts have limits of their own: the most that is given is found before the run, by a few requests."""
    write_setting(folder)
    make_pack()
    asked: list[int] = []

    def reply(call: Call) -> Reply:
        wanted = call.json["top_logprobs"]
        asked.append(wanted)
        if wanted > 5:
            return error(400, "top_logprobs must be at most 5")
        listed = [{"token": letter, "logprob": -1.5 - n, "bytes": [ord(letter)]} for n, letter in enumerate("abcde")]
        return answer_with({"content": [{"token": "a", "logprob": -1.5, "top_logprobs": listed}]})

    with Loopback(reply) as five:
        write_setting(folder, f"name: five, base_url: '{five.base_url}', model: m, claims: {{model: tiny}}")
        assert main(["fingerprint", "--pack", "pack.json", "--prompts", "7"]) in (0, 3)
    assert asked == [20, 1, 10, *[5] * 8]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--make-pack", "x.json", "--forms", "fp9"], "there is no form fp9"),
        (["--pack", "nowhere.json"], "nowhere.json: cannot be read"),
        ([], "no direction pack is shipped for tiny"),
    ],
)
def test_mistakes_are_told_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """Where, what, and what would be right."""
    write_setting(folder)
    assert main(["fingerprint", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_provider_that_there_is_not_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt name is told as such, rather than as a model that no pack is shipped for."""
    monkeypatch.chdir(tmp_path)
    assert main(["fingerprint", "--providers", "locl-q8"]) == 2
    said = capsys.readouterr().err
    assert "locl-q8" in said
    assert "direction pack" not in said
