"""Reading on other machines: what travels, what is said where there is no cluster, the same scores where there is."""

from __future__ import annotations

import functools
import importlib.util
import pickle
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tempzero
import yaml
from loopback import Loopback, completion
from reading_server import MODEL
from tempzero import config
from tempzero.cli import main
from tempzero.cluster.done_tasks import do_task, take_result
from tempzero.cluster.part_counting import count_on_cluster
from tempzero.cluster.reader_holder import HeldReply, ReaderHolder, open_model_reference
from tempzero.config import Config
from tempzero.errors import EngineError, RunFolderError
from tempzero.records import open_run
from tempzero.types.asked import Message
from tempzero.workflow.conclusion import conclude_run
from tiny_gguf import tiny_model

HAS_RAY = importlib.util.find_spec("ray") is not None


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Model files made here stay here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp()))


def list_settings(host: str) -> dict[str, object]:
    local = {"weights": f"path:{tiny_model()}", "precision": "as_is", "threads": 1, "batch": 64, "context": 512}
    return {
        "version": 1,
        "defaults": {"repeats": 1, "max_tokens": 8},
        "run": {"reference": "ref", "prompts": "p.yaml"},
        "score": {"enabled": False, "forms": []},
        "providers": [
            {"name": "ref", "local": local, "claims": {"model": "tiny"}},
            {"name": "b", "base_url": host, "model": MODEL, "claims": {"model": "tiny"}},
        ],
    }


def parse(host: str) -> Config:
    return config.parse_config(list_settings(host), source="test")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    prompts = [{"id": f"p{n}", "prompt": f"question {n}"} for n in range(4)]
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": prompts}))
    with Loopback(lambda call: completion(f"the end {call.prompt[-1]}", model=MODEL)) as server:
        (tmp_path / "providers.yaml").write_text(yaml.safe_dump(list_settings(server.base_url)))
        assert main(["run", "--config", str(tmp_path / "providers.yaml"), "--no-check"]) in (0, 1, 3)
        yield next((tmp_path / "results").iterdir())


def test_what_a_holder_is_asked_and_gives_can_travel() -> None:
    """A reading is worth nothing that cannot be sent, and an error that brings a trace would stand in the scores."""
    chosen = parse("http://127.0.0.1:9/v1")
    opener = functools.partial(open_model_reference, chosen, chosen.provider("ref"))
    holder = ReaderHolder(pickle.loads(pickle.dumps(opener)), 1)
    direct = opener()
    prompt = holder.call("prompt_ids", [Message(role="user", content="question")]).value
    ids = holder.call("tokenize", "the end").value
    reply = pickle.loads(pickle.dumps(holder.call("read", prompt, ids, ended=False)))
    assert reply == HeldReply(value=direct.read(prompt, ids, ended=False))
    refused = pickle.loads(pickle.dumps(holder.call("pieces", [10**6])))
    assert refused == HeldReply(problem="ids outside this vocabulary")


@pytest.mark.skipif(HAS_RAY, reason="where Ray is installed it is not missing")
def test_without_the_extra_one_line_says_what_is_missing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of Ray is asked for by anything else."""
    assert main(["score", str(run), "--on", "ray"]) == 2
    assert "pip install 'tempzero[ray]'" in capsys.readouterr().err


def test_an_address_that_is_none_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A typo must not start a cluster on this machine."""
    assert main(["score", str(run), "--on", "rya://head:10001"]) == 2
    assert "write ray, or ray://HOST:10001" in capsys.readouterr().err
    shutil.rmtree(run / "judged", ignore_errors=True)
    assert main(["report", str(run), "--on", "ray", "--facts"]) == 2
    assert "leave one of them out" in capsys.readouterr().err
    assert not (run / "judged").exists()


def test_a_cluster_that_is_not_there_is_one_line_at_once(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ray waits for minutes, and warns besides."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else will
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", nobody)
        for on in ("ray", f"ray://{nobody}", "ray://host.invalid", "ray://host.invalid:99999999", "ray://"):
            began = time.monotonic()
            assert main(["report", str(run), "--on", on]) == 2
            assert len(capsys.readouterr().err.splitlines()) == 1
            assert time.monotonic() - began < 12


class OtherProcess:
    """A cluster of one machine, as far as what goes to it and comes back is concerned: it must travel."""

    def map_tasks(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            there, given = pickle.loads(pickle.dumps((work, item)))
            yield take_result(pickle.loads(pickle.dumps(do_task(there, given))))


def test_counts_that_were_made_elsewhere_make_the_same_report(run: Path) -> None:
    """The same map and merge, wherever the parts are counted: not a byte of the report may tell where."""
    opened = open_run(run)
    here = {path.name: path.read_bytes() for path in conclude_run(opened).files}
    there = conclude_run(opened, count=functools.partial(count_on_cluster, OtherProcess(), opened)).files
    assert {path.name: path.read_bytes() for path in there} == here
    parts = list(opened.parts())
    parts[0].write_bytes(parts[0].read_bytes().replace(b'"trial"', b'"trail"', 1))
    with pytest.raises(RunFolderError, match="part-00001"):
        conclude_run(opened, count=functools.partial(count_on_cluster, OtherProcess(), opened))


def test_counts_of_another_version_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may mean something else: a report of both would be nobody's."""
    done = do_task(len, "abc")
    assert take_result(done) == 3
    monkeypatch.setattr(tempzero, "__version__", "another")
    with pytest.raises(EngineError, match="here is another: install the same one"):
        take_result(done)


@pytest.mark.skipif(not HAS_RAY, reason="of the extra ray: pip install 'tempzero[ray]'")
def test_a_cluster_writes_what_one_machine_writes(run: Path) -> None:
    """Line for line: a model in the memory of a node reads as it does here."""
    other = run.parent.parent / "other"
    shutil.copytree(run, other)
    assert main(["score", str(run)]) in (0, 1, 3)
    assert main(["score", str(other), "--on", "ray"]) in (0, 1, 3)
    lines = list(open_run(other).score_lines())
    assert lines == list(open_run(run).score_lines())[: len(lines)]
    assert len(lines) == 9
    report = (other / "report.html").read_bytes()
    assert main(["report", str(other), "--on", "ray"]) in (0, 1, 3)
    assert (other / "report.html").read_bytes() == report
