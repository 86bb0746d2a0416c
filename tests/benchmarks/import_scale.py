"""A synthetic CSV in, a table out: seconds and peak memory of import, analysis and report for 10^5 and 10^6 rows.

10 providers, 10 repeats, answers of some 300 characters, a fifth of them divergent. Each step runs in a process of
its own, so that peak memory is its own; what must hold is printed beside it: a million rows through all three steps
in under 5 minutes and 4 GB on 2 cores, and at most 11 times what a tenth of them takes.

    python tests/benchmarks/import_scale.py [--rows 100000 1000000]
"""

from __future__ import annotations

import argparse
import csv
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROVIDERS, REPEATS = 10, 10
MAP = (
    "provider=model,id=question_id,prompt=question,repeat=run,text=response,expected=gt,finish_reason=finish,"
    "prompt_tokens=prompt_tokens,completion_tokens=completion_tokens,date=date"
)
MOST_SECONDS, MOST_MB, MOST_GROWTH = 300, 4096, 11
_TEXT = (
    "the model gives an answer that depends on rounding so a small change of one logit may turn this word into "
    "another one and every word behind it differs while nobody who reads only one of them can tell"
)


def write(path: Path, rows: int) -> None:
    """A CSV of that many rows, in the order in which a run would have asked."""
    draw, words = random.Random(1), _TEXT.split()
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow([part.split("=")[1] for part in MAP.split(",")])
        for number in range(rows // (PROVIDERS * REPEATS)):
            question = f"Question {number}: " + " ".join(draw.choices(words, k=40))
            base = " ".join(draw.choices(words, k=60))
            for repeat in range(REPEATS):
                for provider in range(PROVIDERS):
                    text = base
                    if draw.random() < 0.2:
                        text = base[: draw.randrange(50, len(base))] + " ".join(draw.choices(words, k=20))
                    answer = f"{text}. The answer is {number % 7}."
                    line = [f"provider-{provider}", number, question, repeat, answer, number % 7, "stop", 60, 80]
                    out.writerow([*line, "2026-01-02T03:04:05Z"])


def step(name: str, source: Path, results: Path) -> None:
    """One step, in this process; prints seconds and megabytes."""
    from tempzero import exchange, records, reports
    from tempzero.analysis import analyse
    from tempzero.verdict import gate

    began = time.monotonic()
    if name == "import":
        recipe = exchange.recipe_from_options(maps=[MAP], extractor="number")
        exchange.import_records(source, results=results, recipe=recipe, name="scale")
    elif name == "verify":
        records.open_run(next(results.iterdir())).verify()
    else:
        run = records.open_run(next(results.iterdir()))
        analysis = analyse(run)
        reports.write_reports(analysis, gate.judge(analysis, run.config.gates), run.path)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = used.ru_utime + used.ru_stime
    print(f"{time.monotonic() - began:.1f} {cpu_s:.1f} {used.ru_maxrss / 1024:.0f}")


def measure(rows: int) -> tuple[float, float]:
    """Wall seconds of import, analysis and report together, and the largest peak memory in MB."""
    total_s = peak_mb = 0.0
    with tempfile.TemporaryDirectory() as folder:
        source, results = Path(folder) / "records.csv", Path(folder) / "results"
        write(source, rows)
        for name in ("import", "analyse+report", "verify"):
            command = [sys.executable, __file__, "--step", name, str(source), str(results)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, cpu_s, megabytes = map(float, done.stdout.split())
            print(
                f"{rows:>9} rows  {name:<15} {seconds:>7.1f} s  {cpu_s:>7.1f} s CPU  {megabytes:>6.0f} MB", flush=True
            )
            if name != "verify":
                total_s, peak_mb = total_s + seconds, max(peak_mb, megabytes)
    return total_s, peak_mb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--step", nargs=3, metavar=("NAME", "SOURCE", "RESULTS"))
    arguments = parser.parse_args()
    if arguments.step:
        name, source, results = arguments.step
        step(name, Path(source), Path(results))
        return
    seconds = {}
    for rows in arguments.rows:
        seconds[rows], megabytes = measure(rows)
        bounds = f"for 10^6 at most {MOST_SECONDS} s, {MOST_MB} MB"
        print(f"{rows:>9} rows  together        {seconds[rows]:>7.1f} s  {megabytes:.0f} MB  ({bounds})")
    if len(seconds) > 1:
        growth = seconds[max(seconds)] / seconds[min(seconds)]
        print(
            f"growth {growth:.1f}-fold for {max(seconds) // min(seconds)} times the rows (at most {MOST_GROWTH} for 10)"
        )


if __name__ == "__main__":
    main()
