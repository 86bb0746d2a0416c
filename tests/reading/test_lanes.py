"""Several readers of one model read as one does: the same lines in the same order, only sooner."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback import Call, Loopback, Reply, after, completion, error
from reading_server import MODEL, ReadingServer
from tempzero.cli import main
from tempzero.config import Local, Provider, Weights
from tempzero.engines.local.llama_cpp import open_llama_engine
from tempzero.engines.local.weights import obtain_weights
from tempzero.reading import run_reading
from tempzero.reading.suspects import REQUEST_SUSPECTS
from tempzero.records import open_run
from tiny_gguf import tiny_model

TEXTS = ("the sea", "in the end", "there", "and on", "she is here", "the sea", "", "er er er", "nd the rest", "there")


class SlowReader:
    """Waits a little before every reading, as a server does that is far away or busy."""

    def __init__(self) -> None:
        source = Weights(source=f"path:{tiny_model()}", licence="none")
        cache = tiny_model().parent / "cache"
        weights = obtain_weights(source, precision="as_is", cache=cache, say=lambda _: None)
        local = Local(weights="w", threads=1, context=512)
        self.engine = open_llama_engine(Provider(name="ref", local=local, model=MODEL, temperature=0.0), weights)
        self._server = ReadingServer(self.engine)

    def answer(self, call: Call) -> Reply:
        if call.target == "/v1/chat/completions":
            return completion(TEXTS[int(call.prompt.split()[-1]) % len(TEXTS)], model=MODEL)
        asked = call.json
        if "prompt_logprobs" in asked and len(asked["prompt"]) % 7 == 3:
            return error(500, "out of memory")
        return after(0.01, self._server.answer(call))


def collect(folder: Path, urls: list[str], **how: Any) -> Path:
    """A run of two hosts whose answers nobody has read yet."""
    prompts = [{"id": f"p{n:02}", "prompt": f"question {n}"} for n in range(10)]
    (folder / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": prompts}))
    entry = {"base_url": urls[0], "model": MODEL}
    reader = {**entry, "name": "big", "reads": "vllm", "reads_also_at": urls[1:], **how}
    settings = {
        "version": 1,
        "run": {"prompts": "p.yaml", "reference": "big"},
        "score": {"enabled": False},
        "defaults": {"repeats": 1, "max_tokens": 16},
        "providers": [reader, {**entry, "name": "host"}],
    }
    (folder / "providers.yaml").write_text(yaml.safe_dump(settings))
    assert main(["run", "--config", str(folder / "providers.yaml"), "--no-check"]) in (0, 1, 3)
    return next((folder / "results").iterdir())


def test_lanes_write_what_one_reader_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Duplicates, an empty answer and readings that fail among them: byte for byte the same scores."""
    monkeypatch.setattr(run_reading, "REQUEST_SUSPECTS", REQUEST_SUSPECTS[:2])  # these are read one by one
    reader, beside = SlowReader(), SlowReader()
    scored, unread = [], []
    try:
        with Loopback(reader.answer) as first, Loopback(beside.answer) as second:
            for name, concurrency in (("one", 1), ("many", 2)):
                urls = [first.base_url, second.base_url][: 2 if name == "many" else 1]
                (tmp_path / name).mkdir()
                run = collect(tmp_path / name, urls, concurrency=concurrency)
                first.peak_in_flight.clear()
                second.peak_in_flight.clear()
                assert main(["score", str(run)]) in (0, 1, 3)
                assert first.peak_in_flight[MODEL] == concurrency
                assert second.peak_in_flight[MODEL] == (concurrency if len(urls) > 1 else 0)
                reading = open_run(run).reading()
                scored.append([(s.trial, s.same_as, s.scores) for s in reading.scored])
                unread.append([(u.trial, u.reason.split(": ", 2)[-1]) for u in reading.unread])
    finally:
        asyncio.run(reader.engine.aclose())
        asyncio.run(beside.engine.aclose())
    assert scored[0] == scored[1]
    assert unread[0] == unread[1]
    assert scored[0]
    assert sum("out of memory" in reason for _, reason in unread[0]) >= 2
