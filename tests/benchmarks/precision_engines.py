"""A folder of float32 weights in, runs of `tempzero fingerprint` against real servers of it out, one a scheme.

    VLLM/bin/python tests/benchmarks/precision_engines.py FOLDER OUT --tempzero "PYTHON -m tempzero" NAME ...
        [--engine vllm|transformers] [--openvino PYTHON FILE.gguf]

Each NAME is a scheme of `precision_hosts.py`, written back in the weights that the engine serves in bfloat16; `w8a8` is
a checkpoint of compressed-tensors in INT8 with rounded activations, which vLLM computes in integers itself. The names
`openvino` and `openvino-f32` are that engine on FILE as it comes, and told to compute in float32. OUT gets a run folder
for each and `named.jsonl`. A scheme that is done is skipped when called again.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from precision_hosts import _EMBEDDING, Bench, find_change, is_matrix, make_scheme

_HOSTS = Path(__file__).with_name("engine_hosts.py")
_W8A8 = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True, "dynamic": False},
            "input_activations": {
                "num_bits": 8,
                "type": "int",
                "strategy": "token",
                "symmetric": True,
                "dynamic": True,
            },
        }
    },
}


def main() -> None:
    """One server after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--tempzero", required=True)
    parser.add_argument("--engine", choices=("vllm", "transformers"), default="vllm")
    parser.add_argument("--openvino", nargs=2, metavar=("PYTHON", "FILE"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    bench: Bench | None = None
    for name in asked.names:
        place = asked.out / name
        if (place / "results").exists():
            continue
        began = time.monotonic()
        place.mkdir(exist_ok=True)
        weights, served = asked.out / "weights", f"{asked.engine}-{name}"
        if name.startswith("openvino"):
            python, file = asked.openvino
            comes = [] if name == "openvino-f32" else ["--as-it-comes"]
            served, command = name, [python, str(_HOSTS), "openvino", file, "{port}", *comes]
        else:
            bench = bench or Bench(asked.folder, None)
            write_weights(bench, asked.folder, weights, name)
            command = [sys.executable, str(_HOSTS), "transformers", str(weights), "{port}"]
            command = list_vllm_words(weights) if asked.engine == "vllm" else command
        with serve(command, place / "server.log") as port:
            said = ask_fingerprint(asked.tempzero, place, served, port)
        with (asked.out / "named.jsonl").open("a") as file:
            file.write(json.dumps({"host": name, "said": said}) + "\n")
        print(f"{name}: {said} ({time.monotonic() - began:.0f} s)", flush=True)


def write_weights(bench: Bench, source: Path, target: Path, name: str) -> None:
    """The folder's model with its matrices as the scheme has them."""
    save = importlib.import_module("safetensors.torch").save_file
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((source / "config.json").read_text())
    tensors: dict[str, Any] = {}
    change = find_change(make_scheme("honest" if name == "w8a8" else name), bench)
    for key, array in bench.weights.items():
        if key == "lm_head.weight":
            continue
        if name == "w8a8" and is_matrix(key) and key != _EMBEDDING:
            scale = np.maximum(np.abs(array).max(axis=1, keepdims=True), 1e-30) / 127
            tensors[key] = bench.torch.from_numpy(np.clip(np.rint(array / scale), -127, 127).astype(np.int8))
            tensors[f"{key}_scale"] = bench.torch.from_numpy(scale.astype(np.float32))
            config["quantization_config"] = _W8A8
        else:
            changed = change(key, array) if is_matrix(key) else array
            tensors[key] = bench.torch.from_numpy(np.ascontiguousarray(changed)).bfloat16()
    save(tensors, target / "model.safetensors", metadata={"format": "pt"})
    (target / "config.json").write_text(json.dumps(config))


def list_vllm_words(folder: Path) -> list[str]:
    """A server in bfloat16."""
    words = (
        f"-m vllm.entrypoints.openai.api_server --model {folder} --served-model-name smollm2 --dtype bfloat16 "
        "--max-model-len 1024 --max-num-seqs 8 --host 127.0.0.1 --port {port} --enforce-eager"
    )
    return [sys.executable, *words.split()]


@contextmanager
def serve(command: Sequence[str], log: Path) -> Iterator[int]:
    """A server on a free port, which stands for `{port}`; ended with all that it started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    with log.open("w") as file:
        server = subprocess.Popen(
            [word.replace("{port}", str(port)) for word in command],
            env={**os.environ, **settings},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until_ready(server, port)
            yield port
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)


def wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    """Some minutes, on a machine that others use too."""
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=2)
        except (urllib.error.URLError, OSError):
            if server.poll() is not None:
                raise SystemExit("the server ended; see its log") from None
            time.sleep(1)
        else:
            return
    raise SystemExit("the server was not ready in ten minutes")


def ask_fingerprint(command: str, place: Path, name: str, port: int) -> str:
    """The sentence that the command prints first."""
    (place / "providers.yaml").write_text(
        f"""version: 1
run: {{name: precision, prompts: builtin, seed: 1}}
defaults: {{temperature: 0, seed: 7, concurrency: 1, attempts: 2}}
providers:
  - name: {name}
    base_url: http://127.0.0.1:{port}/v1
    model: smollm2
    claims: {{model: SmolLM2-135M-Instruct}}
"""
    )
    done = subprocess.run(
        [*shlex.split(command), "fingerprint"], cwd=place, capture_output=True, text=True, check=False
    )
    return (done.stdout.splitlines() or [done.stderr[-300:]])[0]


if __name__ == "__main__":
    main()
