"""A pack stands for a reference where no model is: it says what the reference would say, up to the first difference."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from loopback import Call, Loopback, Reply, completion
from tempzero.canonical_json import to_canonical_json
from tempzero.cli import main
from tempzero.engines import open_local_engine
from tempzero.engines.local.weights import obtain_weights_for
from tempzero.errors import PackError
from tempzero.packs.reference_pack import load_reference_pack, save_reference_pack
from tempzero.records import open_run
from tempzero.types.scored import Reading, TokenScores
from tiny_gguf import tiny_model

MODEL = {"model": "tiny"}
PROMPTS = [{"id": f"p{n:02}", "prompt": f"question {n} of the pack, asked at length"} for n in range(12)]
OTHER = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '!<|im_end|>\\n' }}{% endfor %}"
    + ("{{ '<|im_start|>assistant\\n' }}")
)


def write(folder: Path, providers: list[dict[str, Any]], *, score: bool = True, **run: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": PROMPTS}))
    file = folder / "providers.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "version": 1,
                "run": {"prompts": "p.yaml", **run},
                "score": {"enabled": score, "forms": []},
                "defaults": {"repeats": 2, "max_tokens": 24},
                "providers": [{"claims": MODEL, **p} for p in providers],
            }
        )
    )
    return file


def entry(name: str, way: str, **how: Any) -> dict[str, Any]:
    weights = f"path:{tiny_model(vocabulary='pieces', end_gain=1.6)}"
    return {"name": name, way: {"weights": weights, "context": 512, "threads": 1, **how}}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A pack made by the float32 model, and a run of it and of servers of the same weights, some of them odd."""
    folder = tmp_path_factory.mktemp("packs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        providers = [
            entry("ref", "local", precision="as_is"),
            entry("plain", "serve", precision="as_is"),
            entry("coarse", "serve", precision="q4_0"),
            entry("template", "serve", precision="as_is", chat_template=OTHER),
        ]
        file = write(folder / "made", providers, reference="ref", score=False)
        assert main(["pack", "make", str(folder / "tiny.pack.json"), "--config", str(file)]) == 0
        main(["run", "--config", str(file)])
        yield folder


def recorded(world: Path) -> Path:
    return next(p for p in (world / "made" / "results").iterdir() if p.name.endswith("-run"))


def judge(world: Path, folder: Path, *names: str, reference: str | None = None) -> tuple[int, dict[str, Any]]:
    """Recorded answers held against the pack alone."""
    replayed = [{"name": n, "replay": {"run": str(recorded(world)), "provider": n}} for n in names]
    file = write(folder, replayed, reference=reference or f"pack:{world / 'tiny.pack.json'}")
    code = main(["run", "--config", str(file)])
    found = next((folder / "results").iterdir())
    return code, json.loads((found / "summary.json").read_text())


def test_answers_are_judged_without_a_model(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With no weights to be had: the honest server passes, coarser weights and another template are findings."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing"))
    assert judge(world, tmp_path / "honest", "plain")[0] == 0
    code, summary = judge(world, tmp_path / "all", "plain", "coarse", "template")
    assert code == 1
    accused = {f["subject"] for f in summary["findings"] if f["rule"] == "deviates_token_by_token"}
    assert accused == {"coarse", "template"}
    assert not (tmp_path / "nothing").exists()
    assert "next:   tempzero report" in capsys.readouterr().out  # no bundle can be made of these


def test_nights_are_held_against_hosts_and_no_pack_is_watched(world: Path, tmp_path: Path) -> None:
    """What says the same every night has no baseline to be held against, and makes no night one without data."""
    file = str(
        write(tmp_path, [entry("plain", "serve", precision="as_is")], reference=f"pack:{world / 'tiny.pack.json'}")
    )
    assert main(["run", "--config", file]) == 0
    (run,) = (tmp_path / "results").iterdir()
    assert main(["baseline", "set", str(run), "--config", file]) == 0
    assert main(["nightly", "--config", file, "--night", "2026-03-01"]) == 0


def test_texts_of_a_model_in_this_process_stand_in_a_bundle(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its answers have no labels but those in their own bytes: what the run knows besides must not refute itself."""
    run, bundle = str(recorded(world)), str(tmp_path / "c.zip")
    accused = ["--rule", "differs-from-all", "--provider", "template", "--against", "ref,coarse"]
    assert main(["claim", run, *accused, "--out", bundle]) == 0, capsys.readouterr().err
    assert main(["verify", bundle, "--run", run]) == 0


def test_a_second_pack_is_the_honest_noise_and_no_provider_without_repeats(world: Path, tmp_path: Path) -> None:
    """As the manual has it: its answers were recorded once, and a run of honest hosts beside it is a pass."""
    made = write(tmp_path / "made", [entry("plain", "serve", precision="as_is")], reference="plain", score=False)
    pack = tmp_path / "plain.pack.json"
    assert main(["pack", "make", str(pack), "--config", str(made)]) == 0
    replayed = {"name": "plain", "replay": {"run": str(recorded(world)), "provider": "plain"}}
    file = write(tmp_path / "j", [replayed, {"name": "second", "pack": str(pack)}])
    value = yaml.safe_load(file.read_text())
    value["run"]["reference"], value["score"]["forms"] = f"pack:{world / 'tiny.pack.json'}", ["endpoint:second"]
    file.write_text(yaml.safe_dump(value))
    assert main(["run", "--config", str(file), "--providers", "plain"]) == 0
    summary = json.loads((next((tmp_path / "j" / "results").iterdir()) / "summary.json").read_text())
    assert {p["provider"] for p in summary["verdict"]["providers"]} == {"plain", "second", "pack:tiny"}


def test_an_honest_pack_that_says_too_little_is_named(world: Path, tmp_path: Path) -> None:
    """Who named one and still reads that nothing was measured would name another, and another."""
    replayed = {"name": "plain", "replay": {"run": str(recorded(world)), "provider": "plain"}}
    file = write(tmp_path, [replayed, {"name": "second", "pack": str(world / "tiny.pack.json")}])
    value = yaml.safe_load(file.read_text())
    value["run"]["reference"], value["score"]["forms"] = f"pack:{world / 'tiny.pack.json'}", ["endpoint:second"]
    value["defaults"]["max_tokens"] = 4
    file.write_text(yaml.safe_dump(value))
    main(["run", "--config", str(file)])
    summary = json.loads((next((tmp_path / "results").iterdir()) / "summary.json").read_text())
    (floor,) = summary["reading"]["floors"]
    assert "of second, named as honest, fewer than 200 tokens" in floor["source"]


def test_a_pack_that_cannot_be_written_is_said_before_anything_is_asked(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reference of 400 billion parameters has then not answered a suite for nothing."""
    made, before = world / "made" / "providers.yaml", set((world / "made" / "results").iterdir())
    for place in (tmp_path, tmp_path / "nowhere" / "x.json"):
        for command in (["pack", "make", str(place)], ["fingerprint", "--make-pack", str(place)]):
            assert main([*command, "--config", str(made)]) == 2
            assert capsys.readouterr().err.startswith(f"{place}: ")
    assert set((world / "made" / "results").iterdir()) == before


def test_a_pack_holds_what_its_reference_computes(world: Path, tmp_path: Path) -> None:
    """At every place the log-probabilities that the model gives there, read by themselves; and its own answer fits."""
    pack = load_reference_pack(world / "tiny.pack.json")
    answers = {a.prompt: a for a in pack.answers}
    run = open_run(recorded(world))
    local = run.config.provider("ref").local
    assert local is not None
    weights = obtain_weights_for(run.config, local, say=print)
    engine = open_local_engine(run.config.provider("ref"), weights)
    try:
        prompts = {p.id: engine.prompt_ids(p.messages) for p in run.manifest.suite.prompts}
        own = {v.trial.prompt: v.outcome.completion for v in run.views() if v.trial.provider == "ref"}
        for name, answered in own.items():
            assert answered is not None
            ids = list(answered.token_ids or ())
            rows = np.concatenate(list(engine.logits((*prompts[name], *ids), len(prompts[name]))))[: len(ids)]
            logprobs = rows - np.logaddexp.reduce(rows, axis=1, keepdims=True)
            best = -np.sort(-logprobs, axis=1)[:, :20]
            assert np.abs(answers[name].logprob - logprobs[np.arange(len(ids)), ids]).max() < 1e-3
            assert np.abs(answers[name].best_logprobs[:, :5] - best[:, :5]).max() < 1e-3
    finally:
        asyncio.run(engine.aclose())
    judge(world, tmp_path, "ref", "plain")
    reading = open_run(next((tmp_path / "results").iterdir())).reading()
    assert [r.until_difference for r in reading.readers] == [True]
    assert {max(scores_of(reading, name).margin) for name in ("ref", "plain")} == {0.0}


def test_a_pack_is_the_same_bytes_and_names_its_makers(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Saved again it is the same file, and made again from the run that it names it has the same content."""
    pack = load_reference_pack(world / "tiny.pack.json")
    save_reference_pack(pack, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (world / "tiny.pack.json").read_bytes()
    run = next(p for p in (world / "made" / "results").iterdir() if p.name.endswith("-pack"))
    assert pack.run_root == open_run(run).root()
    config = str(world / "made" / "providers.yaml")
    made = ["pack", "make", str(tmp_path / "b.json"), "--from", str(run), "--reference", "ref", "--config", config]
    assert main(made) == 0
    assert load_reference_pack(tmp_path / "b.json").seal == pack.seal
    assert main(["pack", "show", str(tmp_path / "b.json")]) == 0
    told = capsys.readouterr().out
    assert pack.seal in told
    assert "first token in which it differs" in told


def test_another_question_is_not_answered(world: Path, tmp_path: Path) -> None:
    """A prompt that the pack was not asked is missing and unread, and never judged by another prompt's answer."""
    file = write(
        tmp_path,
        [{"name": "plain", "replay": {"run": str(recorded(world)), "provider": "plain"}}],
        reference=f"pack:{world / 'tiny.pack.json'}",
    )
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": [{"id": "p00", "prompt": "another"}]}))
    assert main(["run", "--config", str(file)]) in (2, 3)
    run = open_run(next((tmp_path / "results").iterdir()))
    assert {v.outcome.kind for v in run.views()} == {"not_recorded"}
    assert not run.reading().scored


def scores_of(reading: Reading, provider: str) -> TokenScores:
    """Those of a provider's first response, or of the one that it is the same as."""
    first = next(s for s in reading.scored if s.trial.provider == provider)
    of = first.same_as or first.trial
    return next(s.scores for s in reading.scored if s.trial == of and s.scores is not None)


# --- packs of endpoints ------------------------------------------------------------------------


def reported(*tokens: tuple[str, float, dict[str, float]]) -> dict[str, Any]:
    return {
        "content": [
            {"token": t, "logprob": v, "top_logprobs": [{"token": a, "logprob": b} for a, b in {t: v, **more}.items()]}
            for t, v, more in tokens
        ]
    }


SAID = (("Red", -0.1, {"Blue": -2.5}), (" and", -0.2, {" or": -1.9}), (" blue", -0.05, {" green": -3.4}))
END = ("<|im_end|>", -0.01, {"!": -5.0})


def official(*, end: bool) -> Any:
    def answer(call: Call) -> Reply:
        tokens = (*SAID, END) if end else SAID
        given = reported(*tokens) if call.json.get("logprobs") else None
        return completion("Red and blue", choice={"logprobs": given})

    return answer


def host(text: str, **how: Any) -> Any:
    return lambda call: completion(text, **how)


@pytest.mark.parametrize(
    ("text", "end", "margin"),
    [
        ("Red and blue", True, 0.0),
        ("Red or blue", True, 1.7),
        ("Red and", True, 3.35),  # it ended: lower than all that are listed
        ("Red and", False, 0.0),  # this engine never lists ends, so nothing is known of one
        ("Red and blue!", True, 4.99),
        ("Rot", True, 2.4),  # not listed: no higher than the last that is
    ],
)
def test_an_official_endpoint_makes_a_pack(tmp_path: Path, text: str, end: bool, margin: float) -> None:
    """Recorded `top_logprobs` are enough, and an answer is held against what was listed and nothing more."""
    with Loopback(official(end=end)) as server, Loopback(host(text)) as other:
        hosted = {"name": "official", "base_url": server.base_url, "model": "tiny"}
        file = write(tmp_path, [hosted], reference="official")
        assert main(["pack", "make", str(tmp_path / "o.json"), "--config", str(file)]) == 0
        judged = {"name": "host", "base_url": other.base_url, "model": "tiny"}
        file = write(tmp_path / "j", [judged], reference=f"pack:{tmp_path / 'o.json'}")
        main(["run", "--config", str(file), "--no-check"])
    reading = open_run(next((tmp_path / "j" / "results").iterdir())).reading()
    assert max(scores_of(reading, "host").margin) == pytest.approx(margin, abs=1e-6)


@pytest.mark.parametrize("text", [" Yes.\n", "Yes.", "Yes.\n", " Yes."])
def test_blanks_that_a_host_takes_away_are_no_parting(tmp_path: Path, text: str) -> None:
    """Many hosts trim what a model writes; its tokens are the reference's all the same."""
    tokens = (
        (" ", -0.1, {"x": -6.0}),
        ("Yes", -0.1, {"No": -6.0}),
        (".", -0.1, {"!": -6.0}),
        ("\n", -0.1, {"x": -6.0}),
        END,
    )
    with Loopback(host(" Yes.\n", choice={"logprobs": reported(*tokens)})) as server, Loopback(host(text)) as other:
        file = write(tmp_path, [{"name": "o", "base_url": server.base_url, "model": "tiny"}], reference="o")
        assert main(["pack", "make", str(tmp_path / "o.json"), "--config", str(file)]) == 0
        judged = {"name": "host", "base_url": other.base_url, "model": "tiny"}
        file = write(tmp_path / "j", [judged], reference=f"pack:{tmp_path / 'o.json'}")
        main(["run", "--config", str(file), "--no-check"])
    scores = scores_of(open_run(next((tmp_path / "j" / "results").iterdir())).reading(), "host")
    assert max(scores.margin) == 0.0
    assert len(scores.margin) >= 3


def test_what_was_drawn_is_no_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Answers that were sampled, or log-probabilities after sampling, would accuse every honest host: none is made."""
    drawn = (("Red", -3.0, {"Blue": -0.1}), *SAID[1:], END)
    certain = ((token, 0.0, {"x": -60.0}) for token in ("Red", " and", " blue"))
    for told in (reported(*drawn), reported(*certain)):
        with Loopback(host("Red and blue", choice={"logprobs": told})) as server:
            file = write(tmp_path, [{"name": "o", "base_url": server.base_url, "model": "tiny"}], reference="o")
            assert main(["pack", "make", str(tmp_path / "o.json"), "--config", str(file)]) == 2
    said = capsys.readouterr().err
    assert "not decoded greedily" in said
    assert "after sampling" in said
    assert not (tmp_path / "o.json").exists()


def test_the_same_letters_in_other_tokens_are_a_parting(tmp_path: Path) -> None:
    """Where a response may have left the pack's path unseen, by a near-tie, what it says later accuses nobody."""
    tokens = (
        (":", -0.1, {"!": -4.0}),
        ("\n", -0.7, {"\n\n": -0.8}),
        ("\n", -0.1, {" ": -5.0}),
        ("Em", -0.2, {"He": -6.0}),
    )

    def listing(call: Call) -> Reply:
        given = reported(*tokens, END) if call.json.get("logprobs") else None
        return completion(":\n\nEm", choice={"logprobs": given})

    with Loopback(listing) as server, Loopback(host(":\n\n1.")) as other:
        file = write(tmp_path, [{"name": "o", "base_url": server.base_url, "model": "tiny"}], reference="o")
        assert main(["pack", "make", str(tmp_path / "o.json"), "--config", str(file)]) == 0
        judged = {"name": "host", "base_url": other.base_url, "model": "tiny"}
        file = write(tmp_path / "j", [judged], reference=f"pack:{tmp_path / 'o.json'}")
        main(["run", "--config", str(file), "--no-check"])
    scores = scores_of(open_run(next((tmp_path / "j" / "results").iterdir())).reading(), "host")
    assert scores.margin == pytest.approx((0.0, 0.1))
    assert scores.ends == (1, 3)


def test_reasoning_stands_in_a_pack_where_it_was_written(tmp_path: Path) -> None:
    """An endpoint that lists the tokens of its reasoning makes a pack by which reasoning and text are both judged."""
    words = ("<think>\n", "Hm", " well", "\n</think>\n\n", "Yes")
    thinking = reported(*((w, -0.1, {"x": -4.0}) for w in words), END)

    def think(call: Call) -> Reply:
        given = thinking if call.json.get("logprobs") else None
        return completion(None, message={"content": "Yes", "reasoning_content": "Hm well"}, choice={"logprobs": given})

    def other(call: Call) -> Reply:
        return completion(None, message={"content": "Yes", "reasoning_content": "Hm no"})

    with Loopback(think) as server, Loopback(other) as odd:
        file = write(tmp_path, [{"name": "o", "base_url": server.base_url, "model": "tiny"}], reference="o")
        assert main(["pack", "make", str(tmp_path / "o.json"), "--config", str(file)]) == 0
        hosts = [
            {"name": name, "base_url": url, "model": "tiny"}
            for name, url in (("same", server.base_url), ("odd", odd.base_url))
        ]
        file = write(tmp_path / "j", hosts, reference=f"pack:{tmp_path / 'o.json'}")
        main(["run", "--config", str(file), "--no-check"])
    reading = open_run(next((tmp_path / "j" / "results").iterdir())).reading()
    assert scores_of(reading, "same").margin == (0.0,) * 6
    assert len(scores_of(reading, "odd").margin) == 3
    assert scores_of(reading, "odd").margin[-1] > 3


# --- packs of anybody --------------------------------------------------------------------------


def bomb() -> str:
    return base64.b64encode(zlib.compress(bytes(40_000_000))).decode()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "x"}, "not a reference pack"),
        ({"version": 9}, "reads version 1"),
        ({"model": "a\x1b[2J"}, "damaged"),
        ({"tokens": [1]}, "damaged"),
        ({"ends": [10**9]}, "damaged"),
        ({"answers": "x"}, "damaged"),
        ({"written": ["<think>"]}, "damaged"),
        ({"answers.path": bomb}, "damaged"),
        ({"answers.path": "AAAA"}, "damaged"),
        ({"answers.listed": 10**9}, "damaged"),
        ({"answers.finish_reason": "x\n"}, "damaged"),
        ({"answers.prompt_tokens": 10**9}, "damaged"),
        ({"answers.best": base64.b64encode(zlib.compress(b"\xff" * 8)).decode()}, "damaged"),
        ({"answers.logprob": base64.b64encode(zlib.compress(b"\x00\x7f" * 24)).decode()}, "damaged"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_pack_that_is_none_says_so(world: Path, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    """Whatever somebody writes into one, sealed anew: one line, and never a crash or memory without bound."""
    body = json.loads((world / "tiny.pack.json").read_text())
    for name, given in change.items():
        value = given() if callable(given) else given
        place = body["answers"][0] if name.startswith("answers.") else body
        place[name.removeprefix("answers.")] = value
    body.pop("sha256")
    body["sha256"] = hashlib.sha256(to_canonical_json(body).encode()).hexdigest()
    (tmp_path / "x.json").write_text(json.dumps(body))
    with pytest.raises(PackError, match=said):
        load_reference_pack(tmp_path / "x.json")


def test_a_changed_pack_is_refused_before_anything_is_asked(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the file's name, exit code 2, no run folder."""
    text = (world / "tiny.pack.json").read_text()
    (tmp_path / "x.json").write_text(text.replace('"model":"tiny"', '"model":"tinY"'))
    host_entry = {"name": "h", "base_url": "http://127.0.0.1:1/v1", "model": "tiny"}
    for reference in (f"pack:{tmp_path / 'x.json'}", f"pack:{tmp_path / 'missing.json'}"):
        assert main(["run", "--config", str(write(tmp_path, [host_entry], reference=reference))]) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1
        assert reference.removeprefix("pack:") in said[0]
    assert not (tmp_path / "results").exists()
