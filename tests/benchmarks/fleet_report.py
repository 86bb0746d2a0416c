"""A made-up run of many endpoints in, how long its analysis and report take and how large each file is out.

Every endpoint claims one of the models and answers each prompt a few times: nineteen in twenty as most do, with another
text now and then; each twentieth otherwise. Without pairs of endpoints in what is computed and written, ten times the
endpoints cost ten times as much; with them, a hundred times.

    python tests/benchmarks/fleet_report.py [ENDPOINTS ...] [--models 1] [--prompts 20] [--repeats 3] [--seed 1]
"""

from __future__ import annotations

import argparse
import math
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import making
from tempzero import config, records
from tempzero.analysis import analyse
from tempzero.config import Config
from tempzero.reports import write_reports
from tempzero.types.asked import Suite
from tempzero.types.recorded import Attempt
from tempzero.verdict.gate import judge

_SHOWN_FILES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("endpoints", type=int, nargs="*", default=[50, 100, 250, 500])
    parser.add_argument("--models", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    rows, before = [], dict[str, tuple[int, float]]()
    for endpoints in chosen.endpoints:
        with tempfile.TemporaryDirectory() as name:
            suite = making.make_suite(chosen.prompts)
            settings = _make_fleet(endpoints, chosen.models, chosen.repeats)
            attempts = _answer_all(settings, suite, random.Random(chosen.seed), chosen.repeats, chosen.models)
            run = records.open_run(making.make_run(Path(name), settings, suite, attempts))
            began = time.perf_counter()
            analysis = analyse(run)
            analysed = time.perf_counter()
            verdict = judge(analysis, settings.gates)
            judged = time.perf_counter()
            files = {str(p.relative_to(run.path)): p.stat().st_size for p in write_reports(analysis, verdict, run.path)}
            written = time.perf_counter()
        memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        took = {"analysis": analysed - began, "verdict": judged - analysed, "report": written - judged}
        largest = sorted(files, key=lambda name: -files[name])[:_SHOWN_FILES]
        print(
            f"{endpoints} endpoints of {chosen.models} models: "
            + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items())
            + f", {memory_mb:,.0f} MB; {len(analysis.findings)} findings; "
            + ", ".join(f"{name} {files[name] / 1e6:.2f} MB" for name in largest),
            flush=True,
        )
        measured = {**took, **{name: float(size) for name, size in files.items()}}
        steep = [
            f"{name} ^{power:.1f}"
            for name, value in measured.items()
            if name in before
            and (value > 0.5 if name in took else value > 50_000)
            and (power := math.log(value / before[name][1]) / math.log(endpoints / before[name][0])) > 1.3
        ]
        if steep:
            print(f"  grows faster than the endpoints: {', '.join(steep)}", flush=True)
        before = {name: (endpoints, max(value, 1e-9)) for name, value in measured.items()}
        rows.append((endpoints, took, memory_mb, files))
    print(
        "\n| endpoints | analysis | verdict | report written | peak memory | report.html | summary.json | all tables |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for endpoints, took, memory_mb, files in rows:
        tables = sum(size for name, size in files.items() if name.startswith("tables"))
        print(
            f"| {endpoints} | {took['analysis']:.1f} s | {took['verdict']:.1f} s | {took['report']:.1f} s "
            f"| {memory_mb:,.0f} MB | {files['report.html'] / 1e6:.2f} MB | {files['summary.json'] / 1e6:.2f} MB "
            f"| {tables / 1e6:.2f} MB |"
        )


def _make_fleet(endpoints: int, models: int, repeats: int) -> Config:
    entries = [
        {
            "name": f"endpoint-{i:03}",
            "base_url": "http://127.0.0.1:9/v1",
            "model": f"model-{i % models:02}",
            "repeats": repeats,
        }
        for i in range(endpoints)
    ]
    return config.parse_config({"version": 1, "providers": entries}, source="fleet")


def _answer_all(fleet: Config, suite: Suite, draw: random.Random, repeats: int, models: int) -> Iterator[Attempt]:
    for prompt in suite.prompts:
        for number, provider in enumerate(fleet.providers):
            usual = f"The answer to {prompt.id} of {provider.model} is {'another' if number % 20 == 19 else 'usual'}. "
            for repeat in range(repeats):
                text = usual * 10 + (f"Or rather {draw.randrange(5)}." if draw.random() < 0.1 else "")
                yield making.make_attempt(making.make_trial(provider.name, prompt.id, repeat), text)


if __name__ == "__main__":
    main()
