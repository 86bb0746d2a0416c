"""`tempzero fingerprint` from weights to a name: a pack made, real servers asked, forms named, offline again."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from loopback import Call, Loopback, Reply, completion, error
from making import chain_file
from numpy.typing import NDArray
from tempzero.answers.first_tokens import FirstToken, TokenLogprob
from tempzero.cli import main
from tempzero.config import Local
from tempzero.engines import open_model
from tempzero.engines.local.layered_model import LayeredModel, PassChange, Rows
from tempzero.engines.local.weights import LocalWeights
from tempzero.precision.forms import FORMS, Form
from tempzero.precision.hosts import conclude_host
from tempzero.precision.pack_making import build_site_change
from tempzero.precision.packs import DirectionPack, HonestRounding, load_pack
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
MADE = "f16,q8_0,q4_0,fp8-e4m3-channel,int8-channel,int8-channel-a8,gptq-int4-group128,system-empty"


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


def make_pack_anew() -> bytes:
    """By the setting of this folder."""
    assert main(["fingerprint", "--make-pack", "pack.json", "--suite", "asked.yaml", "--forms", MADE]) == 0
    return Path("pack.json").read_bytes()


_make_pack_once = cache(make_pack_anew)


def make_pack() -> None:
    """The same weights are asked the same prompts in every test: made in the first that needs it."""
    Path("pack.json").write_bytes(_make_pack_once())


def read_hosts(text: str) -> dict[str, Any]:
    return {host["provider"]: host for host in json.loads(text)["hosts"]}


@pytest.mark.engine
def test_servers_are_named_after_what_they_serve(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a pack alone, by how twelve answers begin: the coarse one is named, and its false claim is a finding."""
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
        asked = json.loads(json.loads(body)["attempt"]["exchange"]["request"]["body"])
        assert (asked["top_logprobs"], asked["max_tokens"]) == (20, 8)
    assert main(["fingerprint", str(run), "--pack", "pack.json", "--json"]) == 1
    assert capsys.readouterr().out == first
    assert main(["verify", str(run)]) == 0


@pytest.mark.engine
def test_the_servers_that_init_writes_are_named_after_what_they_serve(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's own example, with other weights: each form of llama.cpp's that is coarser is told by its name."""
    assert main(["init", "--precisions"]) == 0
    file = folder / "providers.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["weights"] = {"smollm2-135m-instruct": {"source": f"path:{tiny_model()}"}}
    for one in settings["providers"]:
        one["claims"]["model"] = "tiny"
        one["serve"] |= {"threads": 1, "context": 512}
    coarse = {p["name"]: p["serve"]["precision"] for p in settings["providers"] if p["serve"]["precision"][0] == "q"}
    file.write_text(yaml.safe_dump(settings))
    reference = folder / "reference"
    reference.mkdir()
    write_setting(reference)
    asked = ["--config", str(reference / "providers.yaml"), "--suite", str(reference / "asked.yaml")]
    forms = f"{','.join(coarse.values())},q8_0-llamacpp,f16,bf16"
    assert main(["fingerprint", "--make-pack", "pack.json", *asked, "--forms", forms]) == 0
    capsys.readouterr()
    only = ["--providers", ",".join((*coarse, "local-cache-q4_0"))]
    assert main(["fingerprint", "--pack", "pack.json", *only, "--json"]) in (0, 3)  # 1: a claim is contradicted
    hosts = read_hosts(capsys.readouterr().out)
    assert set(hosts) == {*coarse, "local-cache-q4_0"}
    for name, form in coarse.items():
        (one,) = hosts[name]["naming"]["named"]
        assert one["form"].removesuffix("-llamacpp") == form


@pytest.mark.engine
def test_a_run_asks_the_servers_that_it_has_started(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own servers are asked where they are, once its own prompts are answered: nothing is started twice."""
    write_setting(folder, served("eight", "q8_0", "q8_0"), served("four", "q4_0", "bf16"))
    make_pack()
    file = folder / "providers.yaml"
    run_keys = "reference: ref, direction_pack: pack.json, prompts: few.yaml"
    file.write_text(file.read_text().replace("reference: ref", run_keys))
    (folder / "few.yaml").write_text("family: few\nprompts:\n  - {id: a, prompt: 'Tell me of tea.', max_tokens: 4}\n")
    capsys.readouterr()
    assert main(["run"]) == 1
    said = capsys.readouterr()
    (run,) = folder.glob("results/*-run")
    found = {one["provider"]: one for one in json.loads((run / "summary.json").read_text())["precision"]}
    assert {name: (one["forms"], one["standing"]) for name, one in found.items()} == {
        "eight": (["q8_0"], "confirmed"),
        "four": (["q4_0"], "contradicted"),
    }
    assert said.err.count("ready: ") == 3
    assert f"{len(WORDS)} short requests each to eight, four" in said.err
    assert "contradicted (four); confirmed (eight)" in " ".join(said.out.split())
    assert main(["verify", str(run)]) == 0


@pytest.mark.engine
def test_a_pack_is_the_same_bytes_every_time(folder: Path) -> None:
    """Whoever has the weights can make it again and compare the hash."""
    write_setting(folder)
    make_pack()
    once = (folder / "pack.json").read_bytes()
    assert make_pack_anew() == once


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
    """It rounds what goes into each matrix as well, by the same rule every time: that direction fits it better."""
    write_setting(folder, served("eight", "q8_0", "q8_0"))
    forms = "q8_0,q8_0-llamacpp,q4_k_m,int8-channel"
    assert main(["fingerprint", "--make-pack", "pack.json", "--suite", "asked.yaml", "--forms", forms]) == 0
    capsys.readouterr()
    assert main(["fingerprint", "--pack", "pack.json", "--json"]) == 0
    (host,) = read_hosts(capsys.readouterr().out).values()
    (form,) = host["naming"]["named"]
    assert (form["form"], host["standing"]) == ("q8_0-llamacpp", "confirmed")
    assert set(form["rivals"]) <= {"q8_0"}
    assert form["correlation"] > max(0.5, host["naming"]["correlations"]["q8_0"])


def compute_noisily(form: Form, ids: list[list[int]], ends: list[int]) -> NDArray[np.float64]:
    """Logits of an engine that rounds in its own way besides."""
    draw, path = np.random.default_rng(5), tiny_model()

    def scatter(rows: Rows) -> Rows:
        noisy: Rows = (rows * (1 + draw.normal(size=rows.shape) / 1_000)).astype(np.float32)
        return noisy if form.inputs is None else form.inputs(noisy)

    change = PassChange(matrices=build_site_change(form, path), inputs=scatter)
    return LayeredModel(path).read_logits(ids, change, ends=ends).astype(np.float64)


def list_candidates(pack: DirectionPack, logits: NDArray[np.float64]) -> dict[str, list[tuple[FirstToken, ...]]]:
    """The twenty likeliest that the pack knows, of each place; it goes on with its own likeliest."""
    logprobs = iter(logits - np.logaddexp.reduce(logits, axis=1)[:, None])
    found = {}
    for prompt in pack.prompts:
        told = []
        for place, row in zip(prompt.places, logprobs, strict=False):
            known = [
                TokenLogprob(token=text, token_id=token, logprob=float(row[token]))
                for token, text in zip(place.token_ids, place.tokens, strict=True)
            ]
            best = max(known, key=lambda one: one.logprob)
            told.append(FirstToken(candidates=tuple(known[:20]), floored=0, decimals=None, chosen=best))
        found[prompt.id] = [tuple(told)]
    return found


@pytest.mark.engine
def test_a_pack_holds_so_many_tokens_of_each_answer_as_it_is_told(folder: Path) -> None:
    """Who asks for one token alone asks for no more; further ones are those of the same model's own answers."""
    write_setting(folder)
    make_pack()
    long = load_pack(folder / "pack.json")
    made = ["fingerprint", "--make-pack", "one.json", "--suite", "asked.yaml", "--forms", "q8_0", "--tokens", "1"]
    assert main(made) == 0
    short = load_pack(folder / "one.json")
    assert (short.answer_tokens, len(short.places)) == (1, len(WORDS))
    assert 1 < long.answer_tokens <= 8
    first = long.rows.places == 0
    assert np.abs(long.logprobs[first] - short.logprobs).max() < 1e-3
    (eight,) = (d for d in long.directions if d.name == "q8_0")
    assert np.abs(eight.by[first] - short.directions[0].by).max() < 0.01 * np.abs(eight.by).max()


@pytest.mark.engine
def test_who_rounds_what_goes_in_as_well_is_named_all_the_same(folder: Path) -> None:
    """W8A8 scatters: its direction is a mean, and a host with rounding of its own still stands in it."""
    write_setting(folder)
    names = ("int8-channel", "int8-channel-a8", "fp8-e4m3-channel", "fp8-e4m3-channel-a8", "int4-group32")
    forms = ["--forms", ",".join(names)]
    assert main(["fingerprint", "--make-pack", "pack.json", "--suite", "asked.yaml", *forms]) == 0
    pack = replace(load_pack(folder / "pack.json"), rounding=HonestRounding(rms=0.01, source="numbers"))
    weights = LocalWeights(path=tiny_model(), sha256="", precision="f32", source="", licence=None, size_bytes=1)
    model = open_model(Local(weights="tiny", threads=1), weights)
    ends = "<|im_start|>system\nYou are tiny.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    ids = [model.tokenize(ends.format(p.messages[0].content), special=True) for p in pack.prompts]
    ids = [[*asked, *(at.token_ids[0] for at in p.places[:-1])] for asked, p in zip(ids, pack.prompts, strict=True)]
    model.close()
    for form in (f for f in FORMS if f.name in names):
        host = conclude_host(
            pack,
            form.name,
            None,
            list_candidates(pack, compute_noisily(form, ids, [len(p.places) for p in pack.prompts])),
        )
        assert host.naming is not None
        (one,) = host.naming.named
        assert form.name in {one.direction.name, *(d.name for d in one.rivals)}, form.name
        assert one.direction.name.removesuffix("-a8") == form.name.removesuffix("-a8")


@pytest.mark.engine
def test_what_llama_cpp_rounds_itself_is_the_mean_of_the_ways_that_it_can_attend_in(folder: Path) -> None:
    """A single pass scatters, and a server that attends in another way would be off it by that."""
    write_setting(folder)
    forms = ["--forms", "q8_0,q8_0-llamacpp"]
    assert main(["fingerprint", "--make-pack", "pack.json", "--suite", "asked.yaml", *forms]) == 0
    exact, rounded = load_pack(folder / "pack.json").directions
    assert (exact.passes, exact.unsure, exact.scatter) == (1, 0.0, 0.0)
    assert rounded.passes > 1
    assert 0 < rounded.unsure < rounded.scatter


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
