"""Many calls of an engine that answers at once in, CPU time for each and peak memory along the way out.

`collect` with a real run folder and the shown progress: what is measured is everything but the provider. Memory that
grows with the calls beyond the plan itself would end a long run.

    python tests/benchmarks/collect_memory.py [--calls 200000]
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import resource
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tempzero import records
from tempzero.collect import collect_attempts
from tempzero.collect.session import StopSwitch, acknowledge_attempts
from tempzero.config import Config, parse_config
from tempzero.plan import build_plan
from tempzero.types.asked import Message, Prompt, Question, Suite
from tempzero.types.recorded import Attempt, Completion, Exchange, Manifest, Outcome, Times, WireRequest, WireResponse

_PROMPTS = 100
_NOW = "2026-01-01T00:00:00.000+00:00"
_TEXT = "The quick brown fox jumps over the lazy dog. " * 12


class Instant:
    """Answers as a recorded provider would, without a wire."""

    def describe(self) -> Mapping[str, Any]:
        return {}

    async def ask(self, question: Question) -> Exchange:
        await asyncio.sleep(0)
        body = json.dumps({"messages": [m.content for m in question.messages]})
        answer = json.dumps({"text": _TEXT, "repeat": question.trial.repeat})
        completion = Completion(text=_TEXT, finish_reason="stop", prompt_tokens=150, completion_tokens=120)
        return Exchange(
            request=WireRequest(method="POST", url="local:instant", headers=(), body=body, sha256=_sha256(body)),
            response=WireResponse(
                status=200,
                headers=(),
                body=answer,
                body_base64=None,
                sha256=_sha256(answer),
                size_bytes=len(answer),
                complete=True,
            ),
            times=Times(started_at=_NOW, first_byte_s=0.0, end_s=0.0, in_flight=1),
            outcome=Outcome(status="valid", kind="complete", completion=completion),
        )

    async def aclose(self) -> None:
        """Nothing is held open."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200_000)
    asyncio.run(_measure(parser.parse_args().calls))


async def _measure(calls: int) -> None:
    prompts = tuple(
        Prompt(id=f"p{i}", family="bench", messages=(Message(role="user", content=f"Question {i}: " + "why? " * 100),))
        for i in range(_PROMPTS)
    )
    suite = Suite(prompts=prompts, digest="0" * 64)
    entry = {"name": "a", "base_url": "http://127.0.0.1:9/v1", "model": "m", "concurrency": 16}
    entry["repeats"] = max(1, calls // _PROMPTS)
    config = parse_config({"version": 1, "providers": [entry]}, source="benchmark")
    plan = build_plan(config, suite)
    with tempfile.TemporaryDirectory() as folder:
        path = records.create_run(Path(folder), _manifest(config, suite, plan.digest))
        watch = _Watch(len(plan.trials))
        stopping = StopSwitch()
        with records.open_run_writer(path, now=_NOW) as writer:
            async with acknowledge_attempts(writer, watch.attempt, stopping) as had:
                await collect_attempts(
                    plan,
                    config=config,
                    suite=suite,
                    engines={"a": Instant()},
                    attempts={},
                    complete=frozenset(),
                    write=lambda attempt: (writer.append(attempt), None)[1],
                    progress=had,
                )
            records.finish_session(path, writer, now=_NOW)
        size = sum(part.stat().st_size for part in records.list_parts(path, records.RECORDS))
        print(f"{len(plan.trials)} records, {size / 2**20:.0f} MiB; planned and begun at {watch.at_start_mib:.0f} MiB")


class _Watch:
    """Prints a line for each tenth of the calls."""

    def __init__(self, calls: int) -> None:
        self._every, self._seen = max(1, calls // 10), 0
        self._cpu, self._began = time.process_time(), time.perf_counter()
        self.at_start_mib = _peak_mib()
        print("| calls | CPU ms a call | calls/s | peak memory, MiB |\n|---|---|---|---|")

    def attempt(self, attempt: Attempt) -> None:
        self._seen += 1
        if self._seen % self._every == 0:
            cpu, now = time.process_time(), time.perf_counter()
            each_ms = (cpu - self._cpu) / self._every * 1000
            rate = self._every / (now - self._began)
            print(f"| {self._seen} | {each_ms:.3f} | {rate:.0f} | {_peak_mib():.0f} |", flush=True)
            self._cpu, self._began = cpu, now


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _manifest(config: Config, suite: Suite, digest: str) -> Manifest:
    return Manifest(
        format=records.RUN_FORMAT,
        run_id="bench",
        created_at=_NOW,
        config=config.model_dump(mode="json"),
        suite=suite,
        plan_digest=digest,
        plan_seed=1,
        skipped=(),
        versions={},
        host={},
        engines={},
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    main()
