"""A server with coarser weights reads as a suspect: what a host of that form wrote is its own choice throughout."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from loopback import Call, Loopback, Reply, completion
from reading_server import MODEL, ReadingServer
from tempzero.cli import main
from tempzero.config import Local, Provider, Weights
from tempzero.engines.local.in_process import InProcessEngine
from tempzero.engines.local.llama_cpp import open_llama_engine
from tempzero.engines.local.weights import obtain_weights
from tempzero.records import open_run
from tempzero.types.asked import Message
from tiny_gguf import tiny_model

LENGTH = 4


def open_tiny(seed: int) -> InProcessEngine:
    source = Weights(source=f"path:{tiny_model(seed=seed)}", licence="none")
    weights = obtain_weights(source, precision="as_is", cache=tiny_model().parent / "cache", say=lambda _: None)
    local = Local(weights="w", threads=1, context=512)
    return open_llama_engine(Provider(name="ref", local=local, model=MODEL, temperature=0.0), weights)


@pytest.fixture
def servers() -> Iterator[dict[str, Loopback]]:
    """The reference, and another model in the part of its coarser form; both read, and write what they compute."""
    with ExitStack() as opened:
        found = {}
        for name, seed in (("own", 3), ("coarse", 4)):
            engine = open_tiny(seed)
            opened.callback(lambda it: asyncio.run(it.aclose()), engine)
            found[name] = opened.enter_context(Loopback(Server(engine).answer))
        yield found


class Server:
    def __init__(self, engine: InProcessEngine) -> None:
        self._engine, self._reads = engine, ReadingServer(engine)

    def answer(self, call: Call) -> Reply:
        if call.target != "/v1/chat/completions":
            return self._reads.answer(call)
        return completion(write_answer(self._engine, call.prompt)[0], model=MODEL, finish_reason="length")


def write_answer(engine: InProcessEngine, prompt: str) -> tuple[str, list[int]]:
    """What the model writes, and in which tokens."""
    ids = engine.prompt_ids([Message(role="user", content=prompt)])
    said: list[int] = []
    while len(said) < LENGTH:
        said.append(int(list(engine.logits([*ids, *said], len(ids) + len(said)))[-1][-1].argmax()))
    return b"".join(engine.piece(t) for t in said).decode(errors="replace"), said


def find_readable_prompts(seed: int) -> list[str]:
    """Those to which these random weights write a text that is cut into the very tokens they wrote."""
    engine = open_tiny(seed)
    answers = {prompt: write_answer(engine, prompt) for prompt in (f"question {n}" for n in range(60))}
    found = [p for p, (text, said) in answers.items() if engine.tokenize(text, special=False) == said]
    asyncio.run(engine.aclose())
    return found


def test_a_host_of_that_form_is_explained_by_it(tmp_path: Path, servers: dict[str, Loopback]) -> None:
    """So coarser weights can be shown where the reference is a server, and no weights lie on this machine."""
    prompts = [{"id": f"p{n:02}", "prompt": prompt} for n, prompt in enumerate(find_readable_prompts(4))]
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": prompts}))
    entry = {"model": MODEL, "reads": "vllm"}
    settings = {
        "version": 1,
        "run": {"prompts": "p.yaml", "reference": "own"},
        "score": {"forms": ["coarser:own-coarse"]},
        "defaults": {"repeats": 1, "max_tokens": LENGTH},
        "providers": [
            {**entry, "name": "own", "base_url": servers["own"].base_url},
            {**entry, "name": "own-coarse", "base_url": servers["coarse"].base_url, "enabled": False},
            {"name": "host", "base_url": servers["coarse"].base_url, "model": MODEL},
        ],
    }
    (tmp_path / "providers.yaml").write_text(yaml.safe_dump(settings))
    assert main(["run", "--config", str(tmp_path / "providers.yaml"), "--no-check"]) in (0, 1, 3)
    reading = open_run(next((tmp_path / "results").iterdir())).reading()
    lines = {s.suspect: s for s in reading.suspects if s.provider == "host"}
    missed = {name: sum(len(a.missed) for a in line.answers) for name, line in lines.items()}
    assert missed["unchanged"] >= 8
    assert not lines["coarser:own-coarse"].refuted
    assert missed["coarser:own-coarse"] == 0


def test_a_server_that_claims_another_model_is_told_not_to_be_read(
    tmp_path: Path, servers: dict[str, Loopback], capsys: pytest.CaptureFixture[str]
) -> None:
    """Who believes that coarser weights were tried would take their silence for a clean host."""
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": [{"id": "p", "prompt": "question 1"}]}))
    entry = {"model": MODEL, "reads": "vllm", "base_url": servers["own"].base_url}
    settings = {
        "version": 1,
        "run": {"prompts": "p.yaml", "reference": "own"},
        "score": {"forms": ["coarser:own-coarse"]},
        "defaults": {"repeats": 1, "max_tokens": LENGTH},
        "providers": [
            {**entry, "name": "own"},
            {**entry, "name": "own-coarse", "claims": {"model": "tiny-fp8"}, "enabled": False},
        ],
    }
    (tmp_path / "providers.yaml").write_text(yaml.safe_dump(settings))
    assert main(["run", "--config", str(tmp_path / "providers.yaml"), "--no-check"]) in (0, 1, 3)
    assert "not read by the form coarser:own-coarse" in capsys.readouterr().err


def test_a_form_that_cannot_read_is_refused_before_anything_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it is written down, not after an hour of reading."""
    entry = {"name": "own", "base_url": "http://127.0.0.1:9/v1", "model": MODEL}
    settings = {"version": 1, "score": {"forms": ["coarser:own"]}, "providers": [entry]}
    (tmp_path / "providers.yaml").write_text(yaml.safe_dump(settings))
    assert main(["run", "--config", str(tmp_path / "providers.yaml")]) == 2
    assert "coarser:own is to read, so its entry needs `reads:`" in capsys.readouterr().err
