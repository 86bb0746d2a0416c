"""Two nodes of a Ray cluster on this machine in, a table out: the same scores whichever dies, and how much sooner.

The reader is a server that waits before each reading, as one that is far away or busy does, so that this machine's
cores do not decide. One reader without a cluster, one node, two nodes; then two of which the first, or the second, is
removed in the middle.

    pip install 'tempzero[ray]'
    python tests/benchmarks/ray_nodes.py [--prompts 24] [--wait-s 0.4]
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from loopback import Call, Loopback, Reply, after, completion
from reading_server import MODEL, ReadingServer
from tempzero.cli import main
from tempzero.cluster import open_cluster
from tempzero.collect.watcher import Watcher
from tempzero.config import Local, Provider, Weights
from tempzero.engines.local.llama_cpp import open_llama_engine
from tempzero.engines.local.weights import obtain_weights
from tempzero.reading import run_reading
from tempzero.reading.run_reading import score_run
from tempzero.records import open_run
from tempzero.types.scored import ScoreLine
from tiny_gguf import tiny_model

ray = pytest.importorskip("ray", reason="pip install 'tempzero[ray]'")
cluster_utils = pytest.importorskip("ray.cluster_utils")
WORDS = ["the", "sea", "and", "on", "in", "there", "she", "is", "here", "nd", "er", "rest"]


class WaitingReader:
    """A real engine behind a server, which waits before it reads."""

    def __init__(self, wait_s: float) -> None:
        source = Weights(source=f"path:{tiny_model()}", licence="none")
        weights = obtain_weights(source, precision="as_is", cache=tiny_model().parent / "cache", say=lambda _: None)
        local = Local(weights="w", threads=1, context=512)
        self._engine = open_llama_engine(Provider(name="ref", local=local, model=MODEL, temperature=0.0), weights)
        self._server, self._wait_s = ReadingServer(self._engine), wait_s

    def answer(self, call: Call) -> Reply:
        if call.target == "/v1/chat/completions":
            number = int(call.prompt.split()[-1])
            return completion(" ".join(WORDS[number % k] for k in (12, 7, 5)), model=MODEL)
        reply = self._server.answer(call)
        return after(self._wait_s, reply) if "prompt_logprobs" in call.json else reply


def collect(folder: Path, url: str, prompts: int) -> Path:
    asked = [{"id": f"p{n:03}", "prompt": f"question {n}"} for n in range(prompts)]
    (folder / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": asked}))
    entry = {"base_url": url, "model": MODEL}
    settings = {
        "version": 1,
        "run": {"prompts": str(folder / "p.yaml"), "reference": "big", "results": str(folder / "results")},
        "score": {"enabled": False},
        "defaults": {"repeats": 1, "max_tokens": 16},
        "providers": [{**entry, "name": "big", "reads": "vllm", "concurrency": 1}, {**entry, "name": "host"}],
    }
    (folder / "providers.yaml").write_text(yaml.safe_dump(settings))
    assert main(["run", "--config", str(folder / "providers.yaml"), "--no-check"]) in (0, 1, 3)
    return next((folder / "results").iterdir())


def score_copy(
    run: Path, name: str, on: str | None, at_a_third: Callable[[], object] | None = None
) -> tuple[list[ScoreLine], float]:
    """The score lines of a copy, and the seconds from the first response that was read to the last."""
    copy = run.parent.parent / name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy)

    read_at: list[float] = []

    def tell(reference: str, done: int, waiting: int) -> None:
        read_at.append(time.monotonic())
        if at_a_third is not None and done == waiting // 3:
            threading.Thread(target=at_a_third).start()

    watcher = Watcher(say=print, begin=lambda *_: None, attempt=lambda _: None, read=tell)
    cluster = None if on is None else open_cluster(on)
    with mock.patch.object(run_reading, "REQUEST_SUSPECTS", ()):  # these are read one by one
        score_run(copy, environ=dict(os.environ), watcher=watcher, cluster=cluster)
    if cluster is not None:
        cluster.close()
    took = read_at[-1] - read_at[0]
    return list(open_run(copy).score_lines()), took


def kill_node(node: Any) -> None:
    """As a machine goes that loses its power: its workers end with it."""
    for held in node.all_processes["raylet"]:
        os.kill(held.process.pid, signal.SIGKILL)


def run_benchmark() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--wait-s", type=float, default=0.4)
    options = parser.parse_args()
    os.environ.setdefault("RAY_worker_niceness", "0")  # by itself Ray lets its workers stand behind all else
    folder = Path(tempfile.mkdtemp(prefix="tempzero-ray-"))
    with Loopback(WaitingReader(options.wait_s).answer) as server:
        run = collect(folder, server.base_url, options.prompts)
        serial, took = score_copy(run, "serial", None)
        print(f"serial: {len(serial)} lines, {took:.1f} s", flush=True)
        head = {"num_cpus": 0, "include_dashboard": False}
        cluster = cluster_utils.Cluster(initialize_head=True, connect=True, head_node_args=head)
        nodes = [cluster.add_node(num_cpus=1)]
        lines, one = score_copy(run, "one", "ray")
        print(f"one node: same lines {lines == serial}, {one:.1f} s", flush=True)
        nodes.append(cluster.add_node(num_cpus=1))
        lines, two = score_copy(run, "two", "ray")
        print(f"two nodes: same lines {lines == serial}, {two:.1f} s, {one / two:.2f} times as fast", flush=True)
        for number in (0, 1):
            lines, took = score_copy(run, f"without-{number}", "ray", functools.partial(kill_node, nodes[number]))
            alive = sum(node["Alive"] and bool(node["Resources"].get("CPU")) for node in ray.nodes())
            print(
                f"node {number + 1} killed in the middle: same lines {lines == serial}, {took:.1f} s, {alive} left",
                flush=True,
            )
            nodes[number] = cluster.add_node(num_cpus=1)
        ray.shutdown()
        cluster.shutdown()
    shutil.rmtree(folder)


if __name__ == "__main__":
    run_benchmark()
