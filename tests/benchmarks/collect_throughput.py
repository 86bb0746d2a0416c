"""A loopback server with 50 ms latency in, a table out: requests per second of `collect` against a bare httpx2 loop.

`collect` does all it does in a run (exact bytes, hashes, classification, the search for the key, a chained and flushed
line for each attempt); the bare loop posts the same bodies and reads the responses, no more. The official client,
which also records nothing, stands beside them. All are alternated, round by round, in one process.

With `--stream` all three ask for event streams; the bare loop then reads the bytes to their end and no more. With
`--against` the `collect` of another checkout takes its turn in each round, in a process of its own as then ours is.

    python tests/benchmarks/collect_throughput.py [--rounds 5] [--in-flight 8 32 100] [--stream] [--no-official]
        [--against OTHER/harness]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
from tempzero import records
from tempzero.collect import collect_attempts
from tempzero.config import Config, parse_config
from tempzero.engines import open_engine
from tempzero.engines.hosted.openai_chat import build_request_body
from tempzero.plan import build_plan
from tempzero.types.asked import Message, Prompt, Question, Suite
from tempzero.types.recorded import Manifest

ROOT = Path(__file__).parent.parent.parent
LOOPBACK = ROOT / "tests" / "loopback.py"
_PROMPTS = 20
_REQUESTS_PER_SLOT = 30
_NOW = "2026-01-01T00:00:00.000+00:00"

Way = Callable[[str, int, int, bool], Coroutine[Any, Any, float]]


def suite() -> Suite:
    """Prompts of some 600 characters."""
    prompts = tuple(
        Prompt(
            id=f"p{i}",
            family="bench",
            messages=(Message(role="user", content=f"Question {i}: " + "why is it so? " * 42),),
        )
        for i in range(_PROMPTS)
    )
    return Suite(prompts=prompts, digest="0" * 64)


def settings(base_url: str, in_flight: int, requests: int, stream: bool) -> Config:
    provider = {"name": "bench", "base_url": base_url, "model": "m", "concurrency": in_flight, "stream": stream}
    provider["api_key_env"] = "BENCH_KEY"
    return parse_config(
        {"version": 1, "providers": [{**provider, "repeats": requests // _PROMPTS}]}, source="benchmark"
    )


def bodies(config: Config, count: int) -> Iterator[str]:
    """The very bodies that `collect` sends, in the same order."""
    plan, messages = build_plan(config, suite()), {p.id: p.messages for p in suite().prompts}
    provider = config.providers[0]
    for planned in plan.trials[:count]:
        question = Question(
            trial=planned.trial, messages=messages[planned.trial.prompt], sampling=provider.sampling(planned.max_tokens)
        )
        yield build_request_body(provider, question)


async def bare_httpx2(base_url: str, in_flight: int, requests: int, stream: bool) -> float:
    """Requests per second of a loop that posts and reads, and does nothing else."""
    waiting = iter([body.encode() for body in bodies(settings(base_url, in_flight, requests, stream), requests)])
    limits = httpx2.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx2.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:

        async def slot() -> None:
            for body in waiting:
                response = await client.post(
                    f"{base_url}/chat/completions", content=body, headers={"content-type": "application/json"}
                )
                assert response.status_code == 200

        began = time.perf_counter()
        await asyncio.gather(*[slot() for _ in range(in_flight)])
        return requests / (time.perf_counter() - began)


async def official_client(base_url: str, in_flight: int, requests: int, stream: bool) -> float:
    """Requests per second of the openai package as its users call it; nothing is recorded."""
    messages = [suite().prompts[0].messages[0].content] * requests
    waiting = iter(messages)
    async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        more: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}

        async def slot() -> None:
            for content in waiting:
                answer = await client.chat.completions.create(
                    model="m",
                    messages=[{"role": "user", "content": content}],
                    temperature=0,
                    top_p=1,
                    seed=7,
                    max_tokens=128,
                    **more,
                )
                if stream:
                    async for _ in answer:
                        pass

        began = time.perf_counter()
        await asyncio.gather(*[slot() for _ in range(in_flight)])
        return requests / (time.perf_counter() - began)


async def collecting(base_url: str, in_flight: int, requests: int, stream: bool) -> float:
    """Requests per second of `collect` with a real engine and a real run folder."""
    config = settings(base_url, in_flight, requests, stream)
    plan = build_plan(config, suite())
    engine = open_engine(config.providers[0], environ={"BENCH_KEY": "sk-bench-0123456789abcdef"})
    with tempfile.TemporaryDirectory() as folder:
        path = records.create_run(Path(folder), _manifest(config, plan.digest))
        with records.open_run_writer(path, now=_NOW) as writer:
            began = time.perf_counter()
            await collect_attempts(
                plan,
                config=config,
                suite=suite(),
                engines={"bench": engine},
                attempts={},
                complete=frozenset(),
                write=lambda attempt: (writer.append(attempt), None)[1],
            )
            elapsed = time.perf_counter() - began
            assert writer.seq == len(plan.trials)
        await engine.aclose()
    return len(plan.trials) / elapsed


def _manifest(config: Config, digest: str) -> Manifest:
    return Manifest(
        format=records.RUN_FORMAT,
        run_id="bench",
        created_at=_NOW,
        config=config.model_dump(mode="json"),
        suite=suite(),
        plan_digest=digest,
        plan_seed=1,
        skipped=(),
        versions={},
        host={},
        engines={},
    )


@contextmanager
def loopback(stream: bool) -> Iterator[str]:
    """The base URL of a server in its own process, so that it takes no time from the loops measured."""
    command = [sys.executable, str(LOOPBACK), "--latency-s", "0.05", *(["--stream"] if stream else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        finally:
            server.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[8, 32, 100])
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--no-official", action="store_true", help="Leave out the openai client, by far the slowest.")
    parser.add_argument("--against", type=Path, help="The harness folder of another checkout.")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        base_url, *numbers = chosen.measure
        in_flight, requests = map(int, numbers)
        print(*_measured(collecting(base_url, in_flight, requests, chosen.stream), requests))
        return
    ways: dict[str, Way] = {"bare": bare_httpx2, "collect": collecting}
    if not chosen.no_official:
        ways["official"] = official_client
    print("| in flight | bare, req/s | collect, req/s | collect / bare (rounds) | official / bare | CPU ms a request |")
    print("|---|---|---|---|---|---|")
    with loopback(chosen.stream) as base_url:
        for in_flight in chosen.in_flight:
            requests = -(-in_flight * _REQUESTS_PER_SLOT // _PROMPTS) * _PROMPTS
            rounds = []
            for number in range(chosen.rounds):
                rates = {
                    name: _measured(way(base_url, in_flight, requests, chosen.stream), requests)
                    for name, way in ways.items()
                    if name != "collect" or chosen.against is None
                }
                if chosen.against is not None:
                    roots = {"collect": ROOT / "harness", "other": chosen.against}
                    for name in sorted(roots, reverse=bool(number % 2)):
                        rates[name] = _measured_apart(roots[name], base_url, in_flight, requests, chosen.stream)
                rounds.append(rates)
            print(_row(in_flight, rounds), flush=True)


def _measured(work: Coroutine[Any, Any, float], requests: int) -> tuple[float, float]:
    """Requests per second, and this process' CPU time for each in milliseconds (set-up included)."""
    began = time.process_time()
    rate = asyncio.run(work)
    return rate, (time.process_time() - began) / requests * 1000


def _measured_apart(harness: Path, base_url: str, in_flight: int, requests: int, stream: bool) -> tuple[float, float]:
    """The same of `collect` of one checkout."""
    command = [sys.executable, __file__, *(["--stream"] if stream else [])]
    command += ["--measure", base_url, str(in_flight), str(requests)]
    environ = {**os.environ, "PYTHONPATH": str(harness)}
    printed = subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout
    rate, cpu_ms = map(float, printed.split())
    return rate, cpu_ms


def _row(in_flight: int, rounds: list[dict[str, tuple[float, float]]]) -> str:
    rate = {name: statistics.median(r[name][0] for r in rounds) for name in rounds[0]}
    cpu_ms = {name: statistics.median(r[name][1] for r in rounds) for name in rounds[0]}
    ratios = sorted(r["collect"][0] / r["bare"][0] for r in rounds)
    official = "-"
    if "official" in rate:
        official = f"{statistics.median(r['official'][0] / r['bare'][0] for r in rounds):.2f}"
    spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    if "other" in rate:
        before = sorted(r["collect"][0] / r["other"][0] for r in rounds)
        spread += f"; / other {statistics.median(before):.3f} ({before[0]:.2f} to {before[-1]:.2f})"
    cpu = ", ".join(f"{name} {ms:.2f}" for name, ms in cpu_ms.items())
    return f"| {in_flight} | {rate['bare']:.0f} | {rate['collect']:.0f} | {spread} | {official} | {cpu} |"


if __name__ == "__main__":
    main()
