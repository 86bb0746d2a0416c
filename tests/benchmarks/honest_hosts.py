"""Run folders with honest 16-bit hosts in, a table out: what level each has, and what the run ends with.

The answers of real engines that round activations (vLLM and transformers in bfloat16), recorded with a float32
reference beside them. Each folder is copied, read by its reference where it was not (or --again), without other forms,
which takes seconds, and judged. An honest host must be "rounding" or "identical", and accused of nothing but of repeats
that differ, if they do.

    python tests/benchmarks/honest_hosts.py RUN...
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from tempzero import records
from tempzero.analysis import analyse
from tempzero.engines import open_local_engine
from tempzero.engines.event_loop import run_coroutine
from tempzero.engines.local import weights
from tempzero.reading.references import LogitsReference
from tempzero.reading.scorer import Scorer
from tempzero.types.concluded import Analysis
from tempzero.verdict import gate

HARMLESS = ("nondeterministic",)


def read_run(path: Path) -> None:
    """Let the run's first reference in this process read every response."""
    run = records.open_run(path)
    provider = run.config.provider(run.config.run.references[0])
    assert provider.local is not None, "the reference runs in this process"
    engine = open_local_engine(provider, weights.obtain_weights_for(run.config, provider.local, say=print))
    try:
        with records.open_score_writer(path) as writer:
            scorer = Scorer(run, provider.name, LogitsReference(engine), writer.append)
            scorer.read_responses(lambda done, of: None)
    finally:
        run_coroutine(engine.aclose())


def describe_run(name: str, analysis: Analysis, outcome: str, counted: Counter[str]) -> None:
    for one in analysis.levels:
        rules = sorted({f.rule for f in analysis.findings if f.subject == one.provider and f.weight == "accuses"})
        accused = [rule for rule in rules if rule not in HARMLESS]
        scale = one.scale
        size = "" if scale is None or scale.low is None else f"{scale.value:.3f} [{scale.low:.3f}, {scale.high:.3f}]"
        print(
            f"{name}  {one.provider}  {one.name}  texts {one.differ}/{one.prompts}  tokens {one.missed}/{one.tokens}  "
            f"largest {one.largest_margin or 0:.3f}  scale {size}  findings {rules}  run: {outcome}",
            flush=True,
        )
        counted["accused" if accused else one.name] += 1
    for finding in analysis.findings:
        if finding.rule == "nondeterministic":
            print("   ", finding.message)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--again", action="store_true", help="read what was read before as well")
    options = parser.parse_args()
    counted: Counter[str] = Counter()
    for path in options.runs:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(shutil.copytree(path, Path(folder) / path.name))
            if options.again or not (copy / "scores.jsonl").exists():
                for file in ("scores.jsonl", "scores.seal.json"):
                    (copy / file).unlink(missing_ok=True)
                read_run(copy)
            run = records.open_run(copy)
            analysis = analyse(run)
            describe_run(path.name, analysis, gate.judge(analysis, run.config.gates).outcome, counted)
    print(dict(counted))


if __name__ == "__main__":
    main()
