"""Run folders with honest 16-bit hosts in, a table out: what level each has, and what the run ends with.

The answers of real engines that round activations (vLLM, transformers, OpenVINO, llama.cpp in 16 bits), recorded with a
float32 reference beside them. Of each a new folder is made with the same attempts, read by its reference under the
forms and suspects of the shipped configuration (--forms names others), and judged. An honest host must be "rounding" or
"identical", and accused of nothing but of repeats that differ, if they do.

    python tests/benchmarks/honest_hosts.py RUN...
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from making import make_run
from tempzero import records
from tempzero.analysis import analyse
from tempzero.cli.exit_codes import EXIT_CODES
from tempzero.collect.watcher import Watcher
from tempzero.config import Config, Provider, load_config
from tempzero.reading.run_reading import score_run
from tempzero.types.concluded import Analysis, Verdict
from tempzero.verdict import gate

HARMLESS = ("nondeterministic",)
ROOT = Path(__file__).parents[2]


def make_copy(path: Path, folder: Path, forms: tuple[str, ...], claim: str | None) -> Path:
    """The same attempts, for these forms to read; every provider but the references declares `claim` ("": nothing)."""
    run = records.open_run(path)
    config = run.config.model_copy(update={"score": run.config.score.model_copy(update={"forms": forms})})
    if claim is not None:
        config = config.model_copy(update={"providers": tuple(_declare(p, config, claim) for p in config.providers)})
    return make_run(folder, config, run.manifest.suite, (r.attempt for r in run.records()), path.name)


def _declare(provider: Provider, config: Config, claim: str) -> Provider:
    if provider.name in config.run.references:
        return provider
    claims = provider.claims.model_copy(update={"precision": claim or None})
    return provider.model_copy(update={"claims": claims})


def describe_run(name: str, analysis: Analysis, verdict: Verdict, counted: Counter[str]) -> None:
    outcomes = {p.provider: p.outcome for p in verdict.providers}
    for one in analysis.levels:
        rules = sorted({f.rule for f in analysis.findings if f.subject == one.provider and f.weight == "accuses"})
        accused = [rule for rule in rules if rule not in HARMLESS]
        scale = one.scale
        size = "" if scale is None or scale.low is None else f"{scale.value:.3f} [{scale.low:.3f}, {scale.high:.3f}]"
        cells = (one.provider, name, one.name, f"{one.differ} of {one.prompts}", f"{one.missed} of {one.tokens}")
        print(
            "|",
            " | ".join((*cells, f"{one.largest_margin or 0:.2f}", size, ", ".join(rules), outcomes[one.provider])),
            "|",
            flush=True,
        )
        print("   ", one.message)
        counted["accused" if accused else one.name] += 1
    for diagnosis in analysis.reading.diagnoses if analysis.reading else ():
        print("   ", diagnosis.provider, diagnosis.cause, diagnosis.strength, diagnosis.message)
    for finding in analysis.findings:
        if finding.rule in HARMLESS:
            print("   ", finding.message)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--forms", help="parted by commas; else those of the shipped configuration")
    parser.add_argument("--claim", help="let the hosts declare this precision")
    parser.add_argument("--keep", type=Path, help="a folder for what was read, which is not read again")
    options = parser.parse_args()
    shipped = load_config(ROOT / "providers.yaml").score.forms
    forms = tuple(options.forms.split(",")) if options.forms else shipped
    counted: Counter[str] = Counter()
    for path in options.runs:
        with tempfile.TemporaryDirectory() as folder:
            target = options.keep or Path(folder)
            copy = target / path.name if (target / path.name).exists() else None
            copy = copy or make_copy(path, target, forms, options.claim)
            score_run(copy, environ=os.environ, watcher=Watcher())
            run = records.open_run(copy)
            analysis = analyse(run)
            verdict = gate.judge(analysis, run.config.gates)
            describe_run(path.name, analysis, verdict, counted)
            print(f"    the run ends with exit code {EXIT_CODES[verdict.outcome]}")
    print(dict(counted))


if __name__ == "__main__":
    main()
