"""Synthetic run folders in, a table out: seconds and peak memory of `analyse` for 10^4, 10^5 and 10^6 responses.

10 providers, 10 repeats, texts of some 300 characters. Half of the providers are deterministic, half diverge on a
fifth of the prompts; two in five are another quantisation that parts from the others somewhere in the text. A fifth
of the prompts has an expected number. Each size is analysed in a process of its own, so that peak memory is its own.

    python tests/benchmarks/analysis_scale.py [--responses 10000 100000 1000000] [--all-different]
        [--against OTHER/harness]

`--all-different` makes every response a text of its own: the worst case for everything done once per distinct text.
With `--against` another, older checkout writes each folder and analyses it too; its rows come first and last.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tempzero import records
from tempzero.analysis import analyse
from tempzero.config import DEFAULT_CONDITION, Config, parse_config
from tempzero.types.asked import ExtractorSpec, Message, Prompt, Suite, Trial
from tempzero.types.recorded import Attempt, Completion, Exchange, Manifest, Outcome, Times, WireRequest, WireResponse

PROVIDERS, REPEATS = 10, 10
_NOW = "2026-01-01T00:00:00.000+00:00"
_SENTENCE = (
    "the model gives an answer that depends on rounding so a small change of one logit may turn this word into "
    "another and what follows is then a different text with its own length style and result therefore we count"
)
_WORDS = _SENTENCE.split()


def suite(prompts: int) -> Suite:
    """One prompt in five asks for a number; five families."""
    return Suite(
        prompts=tuple(
            Prompt(
                id=f"p{j:05}",
                messages=(Message(role="user", content=f"Question {j}"),),
                family=f"family {j % 5}",
                extractor=ExtractorSpec(name="number") if j % 5 == 0 else None,
                expected=str(j) if j % 5 == 0 else None,
            )
            for j in range(prompts)
        ),
        digest="0" * 64,
    )


def settings() -> Config:
    """p0 is the reference."""
    names = [f"p{i}" for i in range(PROVIDERS)]
    entries = [{"name": n, "base_url": "http://127.0.0.1:9/v1", "model": "m", "repeats": REPEATS} for n in names]
    return parse_config({"version": 1, "providers": entries, "run": {"reference": "p0"}}, source="benchmark")


def text(provider: int, prompt: int, repeat: int, all_different: bool) -> str:
    """Providers share a beginning; where they part depends on their kind, and for some on the repeat."""
    rng = random.Random(prompt)
    words = rng.choices(_WORDS, k=55)
    if provider % 5 >= 3:
        at = rng.randrange(5, 50)
        words[at:] = random.Random(prompt * 7 + provider % 5).choices(_WORDS, k=55 - at)
    if provider % 2 and prompt % 5 == 1 and repeat % 3:
        at = rng.randrange(10, 55)
        words[at:] = random.Random(prompt * 31 + provider * 7 + repeat).choices(_WORDS, k=55 - at)
    if all_different:
        words[40] = f"w{provider}x{repeat}"
    return " ".join(words) + f". The answer is {prompt}."


def attempts(config: Config, prompts: Suite, all_different: bool) -> Iterator[Attempt]:
    """In the order of a run: repeat by repeat, all providers of a prompt together."""
    for repeat in range(REPEATS):
        for j, prompt in enumerate(prompts.prompts):
            for i, provider in enumerate(config.providers):
                trial = Trial(provider=provider.name, prompt=prompt.id, condition=DEFAULT_CONDITION, repeat=repeat)
                yield attempt(trial, j, text(i, j, repeat, all_different))


def attempt(trial: Trial, block: int, answer: str) -> Attempt:
    """A line as long as a real one: the exact request and response beside the completion."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": trial.prompt}], "temperature": 0})
    reply = json.dumps({"id": "r", "choices": [{"message": {"content": answer}, "finish_reason": "stop"}]})
    return Attempt(
        trial=trial,
        number=1,
        block=block,
        exchange=Exchange(
            request=WireRequest(method="POST", url="http://x/v1", headers=(), body=body, sha256=_sha256(body)),
            response=WireResponse(
                status=200,
                headers=(("content-type", "application/json"),),
                body=reply,
                body_base64=None,
                sha256=_sha256(reply),
                size_bytes=len(reply),
                complete=True,
            ),
            times=Times(started_at=_NOW, first_byte_s=0.2, end_s=0.5 + len(answer) % 7 / 10, in_flight=1),
            outcome=Outcome(
                status="valid",
                kind="complete",
                completion=Completion(
                    text=answer, finish_reason="stop", served_model="m", prompt_tokens=20, completion_tokens=70
                ),
            ),
        ),
    )


def write(folder: Path, responses: int, all_different: bool) -> Path:
    """A finished run folder with that many responses."""
    config, prompts = settings(), suite(max(1, responses // (PROVIDERS * REPEATS)))
    manifest = Manifest(
        format=records.RUN_FORMAT,
        run_id=f"scale-{responses}",
        created_at=_NOW,
        config=config.model_dump(mode="json"),
        suite=prompts,
        plan_digest="0" * 64,
        plan_seed=1,
        skipped=(),
        versions={},
        host={},
        engines={},
    )
    path = records.create_run(folder, manifest)
    with records.open_run_writer(path, now=_NOW) as writer:
        for one in attempts(config, prompts, all_different):
            writer.append(one)
        records.finish_session(path, writer, now=_NOW)
    return path


def measure(path: Path) -> None:
    """Analyse one folder and print its row: the child process of `main`."""
    start, cpu = time.perf_counter(), time.process_time()
    analysis = analyse(records.open_run(path))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"| {analysis.records:,} | {analysis.prompts:,} | {seconds:.1f} | {cpu:.1f} | "
        f"{1e6 * cpu / analysis.records:.0f} | "
        f"{peak:.2f} | {len(analysis.figures):,} | {len(analysis.findings)} |"
    )


def main() -> None:
    """Write, then measure each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--responses", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--all-different", action="store_true")
    parser.add_argument("--against", type=Path, help="The harness folder of another checkout.")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        print(write(arguments.write, arguments.responses[0], arguments.all_different))
        return
    if arguments.measure:
        measure(arguments.measure)
        return
    print("| responses | prompts | seconds | CPU seconds | CPU µs a response | peak GiB | figures | findings |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for responses in arguments.responses:
        with tempfile.TemporaryDirectory() as folder:
            other = [{"PYTHONPATH": str(arguments.against)}] if arguments.against else []
            command = [sys.executable, __file__, "--write", folder, "--responses", str(responses)]
            command += ["--all-different"] if arguments.all_different else []
            writer = {**os.environ, **(other[0] if other else {})}
            path = subprocess.run(command, env=writer, check=True, capture_output=True, text=True).stdout.strip()
            for changed in (*other, {}, *other):
                subprocess.run([sys.executable, __file__, "--measure", path], env={**os.environ, **changed}, check=True)


def _sha256(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


if __name__ == "__main__":
    main()
