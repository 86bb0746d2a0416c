"""A folder of float32 weights in, runs of `tempzero fingerprint` against real servers of it out, one a scheme.

    VLLM/bin/python tests/benchmarks/precision_engines.py FOLDER OUT --tempzero "PYTHON -m tempzero" NAME ...
        [--engine vllm|transformers] [--openvino PYTHON FILE.gguf] [--pack FILE]

Each NAME is a scheme of `precision_hosts.py`, written back in the weights that the engine serves in bfloat16. A name
of `CHECKPOINTS` is one of compressed-tensors, which vLLM computes with as it is: INT8 and FP8 with rounded activations,
and packed INT4. `cache-fp8` keeps keys and values so (vLLM). The names `openvino` and `openvino-f32` are that engine on
FILE as it comes, and told to compute in float32. OUT gets a run folder for each and `named.jsonl`. A scheme that is
done is skipped when called again.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from precision_hosts import _EMBEDDING, Bench, find_change, is_matrix, make_scheme
from tempzero.precision.forms.form import Matrix
from tempzero.precision.forms.scaling import share_of_peaks

_HOSTS = Path(__file__).with_name("engine_hosts.py")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights as compressed-tensors stores them, which vLLM computes with itself. `pack`: the tensors of one matrix."""

    format: str
    weights: dict[str, Any]
    inputs: dict[str, Any] | None
    pack: Callable[[Any, Matrix], dict[str, Any]]

    def describe(self) -> dict[str, Any]:
        """As `config.json` says it."""
        return {
            "quant_method": "compressed-tensors",
            "format": self.format,
            "ignore": ["lm_head"],
            "config_groups": {
                "group_0": {"targets": ["Linear"], "weights": self.weights, "input_activations": self.inputs}
            },
        }


def pack_int8(torch: Any, matrix: Matrix) -> dict[str, Any]:
    """By row."""
    scale = share_of_peaks(matrix, 127, axis=1)
    steps = np.clip(np.rint(matrix / scale), -127, 127).astype(np.int8)
    return {"weight": torch.from_numpy(steps), "weight_scale": torch.from_numpy(scale)}


def pack_fp8(torch: Any, matrix: Matrix) -> dict[str, Any]:
    """By row, e4m3."""
    scale = share_of_peaks(matrix, 448, axis=1)
    return {
        "weight": torch.from_numpy(matrix / scale).to(torch.float8_e4m3fn),
        "weight_scale": torch.from_numpy(scale),
    }


def pack_int4(torch: Any, matrix: Matrix) -> dict[str, Any]:
    """Groups of 64, eight weights in each 32 bits."""
    groups = matrix.reshape(len(matrix), -1, 64)
    scale = share_of_peaks(groups, 7.5, axis=-1)
    steps = (np.clip(np.rint(groups / scale), -8, 7) + 8).astype(np.uint32).reshape(len(matrix), -1, 8)
    packed = np.bitwise_or.reduce(steps << np.arange(0, 32, 4, dtype=np.uint32), axis=-1).view(np.int32)
    return {
        "weight_packed": torch.from_numpy(packed),
        "weight_scale": torch.from_numpy(scale[..., 0]).bfloat16(),
        "weight_shape": torch.tensor(matrix.shape),
    }


def list_rounding(bits: int, kind: str, strategy: str, *, dynamic: bool = False, **more: int) -> dict[str, Any]:
    """In the words of compressed-tensors."""
    return {"num_bits": bits, "type": kind, "strategy": strategy, "symmetric": True, "dynamic": dynamic, **more}


CHECKPOINTS = {
    "w8a8": Checkpoint(
        format="int-quantized",
        weights=list_rounding(8, "int", "channel"),
        inputs=list_rounding(8, "int", "token", dynamic=True),
        pack=pack_int8,
    ),
    "w8a8-fp8": Checkpoint(
        format="float-quantized",
        weights=list_rounding(8, "float", "channel"),
        inputs=list_rounding(8, "float", "token", dynamic=True),
        pack=pack_fp8,
    ),
    "w4a16": Checkpoint(
        format="pack-quantized", weights=list_rounding(4, "int", "group", group_size=64), inputs=None, pack=pack_int4
    ),
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
    parser.add_argument("--pack", type=Path, help="not the shipped one: of other weights")
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
            if asked.engine == "vllm":
                command = list_vllm_words(weights, ["--kv-cache-dtype", "fp8"] if name == "cache-fp8" else [])
        try:
            with serve(command, place / "server.log") as port:
                said = ask_fingerprint(asked.tempzero, place, served, port, asked.pack)
        except EndedServerError as ended:
            print(f"{name}: {ended}", flush=True)
            continue
        with (asked.out / "named.jsonl").open("a") as file:
            file.write(json.dumps({"host": name, "said": said}) + "\n")
        print(f"{name}: {said} ({time.monotonic() - began:.0f} s)", flush=True)


def write_weights(bench: Bench, source: Path, target: Path, name: str) -> None:
    """The folder's model with its matrices as the scheme has them."""
    save = importlib.import_module("safetensors.torch").save_file
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((source / "config.json").read_text())
    tensors: dict[str, Any] = {}
    checkpoint = CHECKPOINTS.get(name)
    change = find_change(make_scheme("honest" if checkpoint is not None or name == "cache-fp8" else name), bench)
    for key, array in bench.weights.items():
        if key == "lm_head.weight":
            continue
        if checkpoint is not None and is_matrix(key) and key != _EMBEDDING:
            stem = key.removesuffix("weight")
            tensors |= {stem + part: told for part, told in checkpoint.pack(bench.torch, array).items()}
        else:
            changed = change(key, array) if is_matrix(key) else array
            tensors[key] = bench.torch.from_numpy(np.ascontiguousarray(changed)).bfloat16()
    if checkpoint is not None:
        config["quantization_config"] = checkpoint.describe()
    save(tensors, target / "model.safetensors", metadata={"format": "pt"})
    (target / "config.json").write_text(json.dumps(config))


def list_vllm_words(folder: Path, more: Sequence[str]) -> list[str]:
    """A server in bfloat16."""
    words = (
        f"-m vllm.entrypoints.openai.api_server --model {folder} --served-model-name smollm2 --dtype bfloat16 "
        "--max-model-len 1024 --max-num-seqs 8 --host 127.0.0.1 --port {port} --enforce-eager"
    )
    return [sys.executable, *words.split(), *more]


class EndedServerError(Exception):
    """It did not start."""


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
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)


def wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    """Some minutes, on a machine that others use too."""
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=2)
        except (urllib.error.URLError, OSError):
            if server.poll() is not None:
                raise EndedServerError("its server ended; see its log") from None
            time.sleep(1)
        else:
            return
    raise SystemExit("the server was not ready in ten minutes")


def ask_fingerprint(command: str, place: Path, name: str, port: int, pack: Path | None) -> str:
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
    words = [*shlex.split(command), "fingerprint", *([] if pack is None else ["--pack", str(pack.absolute())])]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or [done.stderr[-300:]])[0]


if __name__ == "__main__":
    main()
