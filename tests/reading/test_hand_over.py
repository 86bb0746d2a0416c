"""Readings that a batch did, or other machines: the scores are those that one machine would have written."""

from __future__ import annotations

import asyncio
import codecs
import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback import Call, Loopback, Reply, completion
from reading_server import MODEL, ReadingServer
from tempzero.cli import main
from tempzero.config import Local, Provider, Weights
from tempzero.engines.local.llama_cpp import open_llama_engine
from tempzero.engines.local.weights import obtain_weights
from tempzero.reading import run_reading
from tempzero.records import open_run
from tiny_gguf import tiny_model, write_tokenizer_folder

pytest.importorskip("tokenizers", reason="of the extra tokenizer")

TEXTS = (
    "the sea",
    "in the end",
    "there",
    "and on",
    "she is here",
    "the sea",
    "né 🦊",
    "er er er",
    "nd the rest",
    "there",
)


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    """Answers prompts with a text of its own, and reads tokens as vLLM does."""
    source = Weights(source=f"path:{tiny_model()}", licence="none")
    weights = obtain_weights(source, precision="as_is", cache=tiny_model().parent / "cache", say=lambda _: None)
    local = Local(weights="w", threads=1, context=512)
    engine = open_llama_engine(Provider(name="ref", local=local, model=MODEL, temperature=0.0), weights)
    reads = ReadingServer(engine)

    def answer(call: Call) -> Reply:
        if call.target == "/v1/chat/completions" and "prompt_logprobs" not in call.json:
            return completion(TEXTS[int(call.prompt.split()[-1]) % len(TEXTS)], model=MODEL)
        return reads.answer(call)

    with Loopback(answer) as opened:
        yield opened
    asyncio.run(engine.aclose())


@pytest.fixture(scope="module")
def asked_once(server: Loopback, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two hosts whose answers nobody has read yet."""
    folder = tmp_path_factory.mktemp("asked")
    prompts = [{"id": f"p{n:02}", "prompt": f"question {n}"} for n in range(10)]
    (folder / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": prompts}))
    entry = {"base_url": server.base_url, "model": MODEL}
    tokenizer = str(write_tokenizer_folder(folder / "tokenizer"))
    settings = {
        "version": 1,
        "run": {"prompts": "p.yaml", "reference": "big"},
        "score": {"enabled": False},
        "defaults": {"repeats": 1, "max_tokens": 16},
        "providers": [{**entry, "name": "big", "reads": "vllm", "tokenizer": tokenizer}, {**entry, "name": "host"}],
    }
    (folder / "providers.yaml").write_text(yaml.safe_dump(settings))
    assert main(["run", "--config", str(folder / "providers.yaml"), "--no-check"]) in (0, 1, 3)
    return folder


@pytest.fixture
def run(asked_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that run."""
    monkeypatch.setattr(run_reading, "REQUEST_SUSPECTS", ())  # only responses are handed over
    shutil.copytree(asked_once, tmp_path, dirs_exist_ok=True)
    return next((tmp_path / "results").iterdir())


def copy_run(run: Path, name: str) -> Path:
    shutil.copytree(run, run.parent.parent / name)
    return run.parent.parent / name


def run_batch(plan: Path, results: Path, server: Loopback) -> list[dict[str, Any]]:
    """As an offline batch: each line asked, and what came back under the line's own name."""
    lines = []
    for line in plan.read_text().splitlines():
        asked = json.loads(line)
        url = server.base_url.removesuffix("/v1") + asked["url"]
        request = urllib.request.Request(url, json.dumps(asked["body"]).encode(), {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request) as reply:
                response = {"status_code": reply.status, "body": json.loads(reply.read())}
        except urllib.error.HTTPError as refused:
            response = {"status_code": refused.code, "body": json.loads(refused.read())}
        lines.append({"id": "x", "custom_id": asked["custom_id"], "response": response, "error": None})
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return lines


def list_scores(run: Path) -> list[Any]:
    reading = open_run(run).reading()
    return [(s.trial, s.record_sha256, s.same_as, s.scores, s.settled) for s in reading.scored]


@pytest.mark.parametrize("form", ["chat", "completions"])
def test_what_is_handed_over_is_read_as_the_server_would_read_it(
    run: Path, server: Loopback, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Value for value, whatever else stands in the result file: that is somebody else's, and may be damaged."""
    handed, direct = copy_run(run, "handed"), copy_run(run, "direct")
    plan, results = tmp_path / "plan.jsonl", tmp_path / "results.jsonl"
    assert main(["score", str(direct)]) in (0, 1, 3)
    assert main(["score", str(handed), "--plan", str(plan), "--plan-form", form]) == 0
    assert not list_scores(handed)
    lines = run_batch(plan, results, server)
    with results.open("a") as file:
        file.write("no JSON\n[]\n" + json.dumps(lines[0]) + "\n" + json.dumps({**lines[0], "custom_id": "x"}) + "\n")
    capsys.readouterr()
    assert main(["score", str(handed), "--from", str(results)]) in (0, 1, 3)
    told = capsys.readouterr().err
    assert list_scores(handed) == list_scores(direct)
    assert list_scores(handed)
    assert told.count(f"{results}: 1 line") == 4


def test_a_form_of_no_plan_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who forgets --plan would wait for a reading that was to be handed over."""
    assert main(["score", str(run), "--plan-form", "completions"]) == 2
    assert "without --plan nothing is written" in capsys.readouterr().err


def test_nothing_is_written_until_every_reading_is_there(
    run: Path, server: Loopback, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a batch would be half a verdict; what is left is planned by the same command."""
    plan, rest, results, more = (tmp_path / f"{name}.jsonl" for name in ("plan", "rest", "results", "more"))
    assert main(["score", str(run), "--plan", str(plan)]) == 0
    lines = run_batch(plan, results, server)
    foreign = {**lines[2]["response"]["body"], "prompt_token_ids": [1, 2]}
    cut = [*lines[3:], {**lines[2], "response": {"status_code": 200, "body": foreign}}]
    results.write_text("".join(json.dumps(line) + "\n" for line in cut))
    assert main(["score", str(run), "--from", str(results)]) == 2
    assert "3 readings are not in" in capsys.readouterr().err
    assert not list_scores(run)
    assert main(["score", str(run), "--from", str(results), "--plan", str(rest)]) == 0
    assert len(rest.read_text().splitlines()) == 3
    assert "1 line: cannot be used: other tokens were read" in capsys.readouterr().err
    run_batch(rest, more, server)
    assert main(["score", str(run), "--from", str(more), "--from", str(results)]) in (0, 1, 3)
    assert len(list_scores(run)) == 20


def test_what_failed_is_asked_again_and_the_line_that_can_be_used_counts(
    run: Path, server: Loopback, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A batch that ran out of time, or asked for another name, must not leave responses unread for good."""
    plan, rest, results, more = (tmp_path / f"{name}.jsonl" for name in ("plan", "rest", "results", "more"))
    assert main(["score", str(run), "--plan", str(plan)]) == 0
    lines = run_batch(plan, results, server)
    failed: tuple[dict[str, Any], ...] = (
        {"response": None, "error": {"code": "batch_expired", "message": "it took too long"}},
        {"response": {"status_code": 404, "body": {}}, "error": {"message": "no such model"}},
        {"response": {"status_code": 200, "body": {"model": MODEL, "choices": [7]}}},
    )
    cut = [*({**line, **how} for line, how in zip(lines, failed, strict=False)), *lines[3:]]
    results.write_text("".join(json.dumps(line) + "\n" for line in cut))
    assert main(["score", str(run), "--from", str(results), "--plan", str(rest)]) == 0
    told = capsys.readouterr().err
    assert "it took too long" in told
    assert "no such model" in told
    assert [json.loads(line)["custom_id"] for line in rest.read_text().splitlines()] == [
        line["custom_id"] for line in lines[:3]
    ]
    assert main(["score", str(run), "--from", str(results), "--plan", str(results)]) == 2
    assert "no plan is written over it" in capsys.readouterr().err
    run_batch(rest, more, server)
    assert main(["score", str(run), "--from", str(results), "--from", str(more)]) in (0, 1, 3)
    assert len(list_scores(run)) == 20
    assert not list(open_run(run).reading().unread)
    capsys.readouterr()
    assert main(["score", str(run), "--from", str(results)]) == 2
    assert "its responses have been read before" in capsys.readouterr().err
    assert main(["score", str(run)]) == 2
    assert "remove scores/ to score again" in capsys.readouterr().err
    shutil.rmtree(run / "scores")
    assert main(["verify", str(run)]) == 2  # a reading that is gone is no reading that never was
    assert main(["score", str(run)]) in (0, 1, 3)
    assert main(["verify", str(run)]) == 0
    assert len(list_scores(run)) == 20


def test_a_results_file_is_taken_as_editors_and_shells_leave_it(
    run: Path, server: Loopback, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mark before the first line costs no reading, and a pipe, which would be waited for for ever, is one line."""
    plan, results = tmp_path / "plan.jsonl", tmp_path / "results.jsonl"
    assert main(["score", str(run), "--plan", str(plan)]) == 0
    run_batch(plan, results, server)
    os.mkfifo(tmp_path / "pipe")
    assert main(["score", str(run), "--from", str(tmp_path / "pipe")]) == 2
    assert "which can be read once only; write it into a file first" in capsys.readouterr().err
    results.write_bytes(codecs.BOM_UTF8 + results.read_bytes().replace(b"\n", b"\r\n"))
    assert main(["score", str(run), "--from", str(results)]) in (0, 1, 3)
    assert list_scores(run)


def test_a_plan_is_written_over_no_folder(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that ends in a folder is a usual slip, and no bug of ours."""
    for place in ("/", str(run.parent)):
        assert main(["score", str(run), "--plan", place]) == 2
        assert f"{place}: cannot be written: Is a directory" in capsys.readouterr().err


def test_copies_that_read_a_part_each_make_one_run_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Byte for byte what one machine writes, and only where every response was read exactly once."""
    serial, first, second, joined = (copy_run(run, name) for name in ("serial", "first", "second", "joined"))
    assert main(["score", str(serial)]) in (0, 1, 3)
    assert main(["score", str(first), "--shard", "1/2"]) in (0, 1, 3)
    assert main(["score", str(joined), "--merge", str(first)]) == 2
    assert "10 of 20 responses were read by no copy" in capsys.readouterr().err
    assert main(["score", str(second), "--shard", "2/2"]) in (0, 1, 3)
    assert main(["score", str(joined), "--merge", str(first), "--merge", str(second), "--merge", str(serial)]) == 2
    assert "both read" in capsys.readouterr().err
    assert main(["score", str(joined), "--merge", str(first), "--merge", str(second)]) in (0, 1, 3)
    whole = list(open_run(serial).score_lines())
    assert list(open_run(joined).score_lines()) == whole[:21]
    assert main(["score", str(joined)]) in (0, 1, 3)
    assert list(open_run(joined).score_lines()) == whole
    shutil.rmtree(joined / "scores")
    assert main(["score", str(joined), "--merge", str(first), "--merge", str(second)]) in (0, 1, 3)
    assert list(open_run(joined).score_lines()) == whole[:21]
