"""A server that is the reference reads some texts twice: what it makes of one text and the other is its own noise."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback import Call, Loopback, Reply, after, completion, value
from reading_server import MODEL, ReadingServer
from tempzero.cli import main
from tempzero.collect.watcher import Watcher
from tempzero.config import Config, Local, Provider, Weights
from tempzero.engines import open_reader
from tempzero.engines.event_loop import run_coroutine
from tempzero.engines.local.in_process import InProcessEngine
from tempzero.engines.local.llama_cpp import open_llama_engine
from tempzero.engines.local.weights import obtain_weights
from tempzero.reading import run_reading
from tempzero.reading.run_reading import score_run
from tempzero.records import open_run
from tempzero.types.scored import FormReading
from tiny_gguf import tiny_model

TEXTS = ("the sea", "in the end", "there", "and on", "she is here", "er er er")
NOISE = 0.75  # more than an honest host of a model that nobody knows is taken to round


class BatchingServer:
    """Rounds otherwise while it reads several texts: the likeliest token of each place is a little less likely then."""

    def __init__(self, engine: InProcessEngine) -> None:
        self._reads, self._busy_until = ReadingServer(engine), 0.0

    def answer(self, call: Call) -> Reply:
        if call.target == "/v1/chat/completions":
            return completion(TEXTS[int(call.prompt.split()[-1]) % len(TEXTS)], model=MODEL)
        if "prompt_logprobs" not in call.json:
            return self._reads.answer(call)
        now = time.monotonic()
        among, self._busy_until = now < self._busy_until, max(self._busy_until, now + 0.1)
        reply = self._reads.answer(call)
        return after(0.15, self._shift(reply) if among else reply)

    def _shift(self, reply: Reply) -> Reply:
        (content,) = (step for step in reply.steps if isinstance(step, bytes))
        told: Any = json.loads(content.split(b"\r\n\r\n", 1)[1])
        for place in told["choices"][0]["prompt_logprobs"][1:]:
            best = max(place.values(), key=lambda entry: entry["logprob"])
            best["logprob"] -= NOISE
        return value(told)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setattr(run_reading, "REQUEST_SUSPECTS", ())  # these are not what is looked at
    source = Weights(source=f"path:{tiny_model()}", licence="none")
    weights = obtain_weights(source, precision="as_is", cache=tiny_model().parent / "cache", say=lambda _: None)
    local = Local(weights="w", threads=1, context=512)
    engine = open_llama_engine(Provider(name="ref", local=local, model=MODEL, temperature=0.0), weights)
    with Loopback(BatchingServer(engine).answer) as opened:
        yield opened
    asyncio.run(engine.aclose())


def read_run(folder: Path, server: Loopback, concurrency: int) -> tuple[Path, tuple[FormReading, ...]]:
    prompts = [{"id": f"p{n}", "prompt": f"question {n}"} for n in range(6)]
    (folder / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": prompts}))
    entry = {"base_url": server.base_url, "model": MODEL}
    settings = {
        "version": 1,
        "run": {"prompts": "p.yaml", "reference": "big"},
        "defaults": {"repeats": 1, "max_tokens": 16},
        "providers": [
            {**entry, "name": "big", "reads": "vllm", "concurrency": concurrency},
            {**entry, "name": "host"},
        ],
    }
    (folder / "providers.yaml").write_text(yaml.safe_dump(settings))
    assert main(["run", "--config", str(folder / "providers.yaml"), "--no-check"]) in (0, 1, 3)
    run = next((folder / "results").iterdir())
    return run, open_run(run).reading().forms


def test_what_a_server_makes_of_a_text_among_others_counts_as_honest_rounding(
    tmp_path: Path, server: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reader that strays itself accuses honest hosts of its own noise, unless that is measured and allowed for."""
    run, forms = read_run(tmp_path, server, concurrency=4)
    assert {(form.form, form.honest, form.reference) for form in forms} == {("batched", True, "big")}
    assert len(forms) == len(TEXTS)
    changes = [change for form in forms for change in form.gap_change]
    assert max(changes) == pytest.approx(NOISE, abs=1e-4)
    assert "tokens of its own texts read once more, alone and among others" in capsys.readouterr().err
    (floor,) = json.loads((run / "summary.json").read_text())["reading"]["floors"]
    assert floor["basis"] == "measured"
    assert "batched" in floor["source"]
    assert main(["score", str(run)]) in (0, 1, 3)  # what was read is not read again
    assert len(open_run(run).reading().forms) == len(forms)


def test_a_server_that_reads_one_text_at_a_time_shows_no_noise(tmp_path: Path, server: Loopback) -> None:
    """And says so: a second reading that is the first one to the digit is what makes the reader a yardstick."""
    run, forms = read_run(tmp_path, server, concurrency=1)
    assert {form.form for form in forms} == {"again"}
    assert all(not any(form.gap_change) and not any(form.margin) for form in forms)
    (floor,) = json.loads((run / "summary.json").read_text())["reading"]["floors"]
    assert floor["basis"] == "default"


class TwoNodes:
    """A cluster of two machines, as far as the readers go that it gives."""

    def __init__(self) -> None:
        self._readers: list[Any] = []

    def open_endpoints(self, provider: Provider, *, environ: Mapping[str, str], lanes: int) -> list[Any]:
        self._readers += [open_reader(provider, environ=environ) for _ in range(2 * lanes)]
        return self._readers

    def close(self) -> None:
        for reader in self._readers:
            run_coroutine(reader.aclose())

    def open_models(self, config: Config, provider: Provider) -> list[Any]:
        raise AssertionError(f"{provider.name} is an endpoint")


def test_a_cluster_reads_again_with_as_many_in_flight_as_one_machine(tmp_path: Path, server: Loopback) -> None:
    """Its lines are those of one machine, however many nodes it has: another floor would judge otherwise."""
    run, forms = read_run(tmp_path, server, concurrency=1)
    shutil.rmtree(run / "scores")
    (run / "scores.seal.json").unlink()
    with contextlib.closing(TwoNodes()) as cluster:
        score_run(run, environ={}, watcher=Watcher(), cluster=cluster)
    assert open_run(run).reading().forms == forms
