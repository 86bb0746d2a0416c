"""Nothing in, run folders and a table out: how far into long answers each way of computing stays with float32.

Open prose of up to 1,024 tokens, asked of SmolLM2-135M-Instruct: the float32 reference in this process, llama.cpp
servers in f16, q8_0 and q4_0, vLLM in float32 and bfloat16, and the latter with exact speculative decoding.
Each endpoint is a part of its own with a run folder of its own, so that a stop loses nothing; `table` replays them all
as one run and lets tempzero analyse it.

    python tests/benchmarks/length_sensitivity.py FOLDER ask f32|f16|q8_0|q4_0|vllm_f32|vllm|speculative
        [--prompts 12]
        [--tokens 1024] [--vllm PYTHON WEIGHTS]
    python tests/benchmarks/length_sensitivity.py FOLDER table [--against f32]

A part that is there is gone on with where it stopped. `--vllm` names the Python that has vLLM and the model's folder.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from detection_endpoints import MODEL, SHA256, SOURCE
from tempzero import records
from tempzero.analysis import analyse
from tempzero.cli.progress import make_watcher
from tempzero.config import Setting
from tempzero.metrics.divergence import common_prefix_lengths
from tempzero.types.concluded import Analysis, Estimate
from tempzero.workflow import pipeline

PARTS = ("f32", "f16", "q8_0", "q4_0", "vllm_f32", "vllm", "speculative")
MARKS = (32, 64, 128, 256, 512, 1024)
SPECULATIVE = '{"method":"ngram","num_speculative_tokens":4,"prompt_lookup_max":4,"prompt_lookup_min":2}'
ASKED = (
    "Describe a fishing harbour between four and six in the morning, at length, for a radio programme without music.",
    "Explain to a curious adult how sourdough works, from the flour to the crust. Be precise and thorough.",
    "Argue both for and against closing the main street of a small town to cars. Give many reasons, then weigh them.",
    "Write a long letter of resignation from a lighthouse keeper who has come to love the work and leaves.",
    "Tell a story of about a thousand words in which a piano tuner finds something inside a piano.",
    "Write an essay of about a thousand words on why maps lie, and why that is useful.",
    "Write the complete manual of an imaginary hand-cranked machine that folds letters, with safety notes.",
    "Write a conversation between a river and the bridge over it. Twenty turns each.",
    "Invent the full minutes of a meeting of seven beekeepers who have to agree on a common label for their honey.",
    "Write a glossary of forty terms of sailing, in alphabetical order, each explained in one or two sentences.",
    "Describe the water cycle in ten numbered steps of several sentences each, with an example for every step.",
    "Write a guide for somebody who keeps hens for the first time, from the first week to the first winter.",
    "Tell the history of an invented village from its founding to the present, a paragraph for every century.",
    "Explain how a bicycle stays upright, how its gears work, and how to repair a puncture, in great detail.",
    "Write a long dialogue in which a teacher explains fractions to a child who keeps asking why.",
    "Write a review of an invented restaurant on a train, course by course, with everything that went wrong.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", choices=("ask", "table"))
    parser.add_argument("part", nargs="?", choices=PARTS)
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--vllm", nargs=2, metavar=("PYTHON", "WEIGHTS"))
    parser.add_argument(
        "--against", choices=PARTS, default="f32", help="of the table: what the others are held against"
    )
    options = parser.parse_args()
    if options.what == "table":
        print_table(options.folder, options.against)
    else:
        ask_part(options)


def ask_part(options: argparse.Namespace) -> None:
    folder: Path = options.folder / options.part
    folder.mkdir(parents=True, exist_ok=True)
    asked = [
        {"id": f"long-{at:02}", "family": "length", "prompt": text, "max_tokens": options.tokens}
        for at, text in enumerate(ASKED[: options.prompts], start=1)
    ]
    (folder / "asked.yaml").write_text(yaml.safe_dump(asked, sort_keys=False))
    with open_endpoint(options) as way:
        setting = {
            "version": 1,
            "run": {"name": options.part, "prompts": "asked.yaml", "seed": 1},
            "score": {"enabled": False},
            "defaults": {"temperature": 0, "top_p": 1, "seed": 7, "repeats": 1, "timeouts": {"total_s": 3000}},
            "weights": {MODEL: {"source": SOURCE, "sha256": SHA256, "licence": "Apache-2.0", "size_mb": 93}},
            "providers": [{"name": options.part, "claims": {"model": MODEL}, **way}],
        }
        file = folder / "providers.yaml"
        file.write_text(yaml.safe_dump(setting, sort_keys=False))
        loaded = Setting.load(file, {})
        started = time.monotonic()
        old = find_run(folder)
        if old is None:
            done = pipeline.start_run(pipeline.prepare_run(loaded), watcher=make_watcher(), check=False)
        else:
            done = pipeline.resume_run(old, environ={}, watcher=make_watcher(), check=False)
    print(f"{options.part}: {done.path}, {time.monotonic() - started:.0f} s", flush=True)


@contextlib.contextmanager
def open_endpoint(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The entry of a part, with whatever server it needs running meanwhile."""
    served = {"weights": MODEL, "threads": 1, "context": 2048}
    if options.part == "f32":
        yield {"local": {**served, "precision": "f32"}}
    elif options.part in ("f16", "q8_0", "q4_0"):
        yield {"serve": {**served, "precision": options.part}}
    else:
        python, weights = options.vllm
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", weights, "--served-model-name", MODEL]
        command += [
            "--dtype",
            "float32" if options.part == "vllm_f32" else "bfloat16",
            "--max-model-len",
            "2048",
            "--max-num-seqs",
            "16",
            "--enforce-eager",
        ]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        if options.part == "speculative":
            command += ["--speculative-config", SPECULATIVE]
        quiet = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        with (options.folder / options.part / "server.log").open("w") as log:
            server = subprocess.Popen(command, env={**os.environ, **quiet}, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for_health(f"http://127.0.0.1:{port}/health", server)
            yield {"base_url": f"http://127.0.0.1:{port}/v1", "model": MODEL, "concurrency": 16}
        finally:
            server.terminate()
            server.wait(60)


def wait_for_health(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            if server.poll() is not None:
                raise SystemExit("the server ended; see server.log") from None
            time.sleep(1)
    raise SystemExit("the server did not answer")


def find_run(folder: Path) -> Path | None:
    found = sorted((folder / "results").glob("*/manifest.json"))
    return found[-1].parent if found else None


# --- the table -----------------------------------------------------------------------------------


def print_table(folder: Path, against: str) -> None:
    """All parts, replayed as one run."""
    there = {part: run for part in PARTS if (run := find_run(folder / part)) is not None}
    setting = {
        "version": 1,
        "run": {"name": "together", "prompts": f"{folder.resolve()}/{against}/asked.yaml", "seed": 1},
        "defaults": {"temperature": 0, "top_p": 1, "seed": 7, "repeats": 1},
        "providers": [
            {"name": part, "replay": {"run": str(run.resolve()), "provider": part}, "claims": {"model": MODEL}}
            for part, run in there.items()
        ],
    }
    together = folder / "together"
    together.mkdir(exist_ok=True)
    (together / "providers.yaml").write_text(yaml.safe_dump(setting, sort_keys=False))
    prepared = pipeline.prepare_run(Setting.load(together / "providers.yaml", {}))
    path = pipeline.start_run(prepared, watcher=make_watcher(), check=False).path
    analysis = analyse(records.open_run(path))
    lasted = measure_lasting(records.open_run(path))
    marks = " | ".join(f"{mark:,}" for mark in MARKS)
    print(f"{path}\n\n| against {against} | answers | tokens an answer | partings per 1,000 tokens | {marks} |")
    print("|---|---|---|---|" + "---|" * len(MARKS))
    for part in there:
        if part != against:
            print_row(part, against, analysis, lasted)
    if {"vllm", "speculative"} <= set(there):
        print_row("speculative", "vllm", analysis, lasted, named=True)


def print_row(
    name: str,
    against: str,
    analysis: Analysis,
    lasted: dict[str, dict[str, tuple[str, int]]],
    *,
    named: bool = False,
) -> None:
    pair = {name, against}
    rate = next(
        f.estimate
        for f in analysis.figures
        if f.metric == "partings_per_1000_tokens" and {f.left, f.right} == pair and f.family is None
    )
    both = [(lasted[against][prompt], lasted[name][prompt]) for prompt in lasted[against] if prompt in lasted[name]]
    shared = [count_shared_tokens(*two) for two in both]
    mean = sum(two[1][1] for two in both) / len(both)
    kept = " | ".join(f"{sum(s is None or s >= mark for s in shared)}" for mark in MARKS)
    title = f"{name} against {against}" if named else name
    print(f"| {title} | {len(both)} | {mean:.0f} | {write_rate(rate)} | {kept} |")


def count_shared_tokens(left: tuple[str, int], right: tuple[str, int]) -> float | None:
    """After how many tokens two answers part; None where they never do."""
    if left[0] == right[0]:
        return None
    shared = int(common_prefix_lengths([left[0]], [right[0]])[0])
    return shared * (left[1] / len(left[0]) + right[1] / len(right[0])) / 2


def measure_lasting(run: records.Run) -> dict[str, dict[str, tuple[str, int]]]:
    """Each provider's answer to each prompt, with its tokens."""
    found: dict[str, dict[str, tuple[str, int]]] = {}
    for view in run.views():
        said = view.outcome.completion
        if said is not None and said.text and said.completion_tokens:
            found.setdefault(view.trial.provider, {})[view.trial.prompt] = (said.text, said.completion_tokens)
    return found


def write_rate(rate: Estimate) -> str:
    if rate.value is None:
        return "-"
    return f"{rate.value:.1f} [{rate.low or 0:.1f}, {rate.high or 0:.1f}]"


if __name__ == "__main__":
    main()
