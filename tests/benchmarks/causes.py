"""A folder of `cause_endpoints.py` in, the table true cause x named cause out, at 5, 10, 20 and all 30 prompts.

Each draw is a run folder of its own that the reference scores as `tempzero score` does, so that what is refuted early
is refuted by the prompts of that draw. What was read once stands in the book of rows and costs nothing again.

    python tests/benchmarks/causes.py FOLDER [--part set|shown] [--weights shipped|finer] [--sizes 5,10,20] [--draws 2]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

from cause_endpoints import ALL_FAULTS, PARTS, REPEATS, SOURCE, TOKENS, draw_prompts, finer, list_faults, load, suite
from making import make_attempt, make_run
from tempzero import config, records
from tempzero.attribute import ReportedAnswer, attribute_reading
from tempzero.collect.watcher import Watcher
from tempzero.config import Config
from tempzero.reading.run_reading import score_run
from tempzero.types.asked import Suite, Trial
from tempzero.types.concluded import Diagnosis
from tempzero.types.recorded import Attempt, Completion

REFERENCE = "reference"
FORMS = ("batch=64", "bf16", "q8_0", "q4_0", "cache=q4_0", "position_base=10000")


def settings(names: Iterable[str], source: str) -> Config:
    local = {"weights": source, "precision": "f32", "threads": 1, "context": 2048}
    entries = [
        {"name": n, "base_url": "http://127.0.0.1:9/v1", "model": "m", "claims": {"model": MODEL}} for n in names
    ]
    return config.parse_config(
        {
            "version": 1,
            "defaults": {"repeats": REPEATS, "max_tokens": TOKENS, "seed": None},
            "run": {"name": "causes", "reference": REFERENCE},
            "score": {"forms": list(FORMS), "form_tokens": 120},
            "providers": [{"name": REFERENCE, "local": local, "claims": {"model": MODEL}}, *entries],
        },
        source="benchmark",
    )


MODEL = "SmolLM2-135M-Instruct"


def attempts(folder: Path, name: str, prompts: set[str]) -> Iterator[Attempt]:
    for answer in load(folder, name):
        if answer["prompt"] in prompts:
            trial = Trial(provider=name, prompt=answer["prompt"], condition="default", repeat=answer["repeat"])
            completion = Completion(
                text=answer["text"],
                finish_reason=answer["finish"],
                prompt_tokens=answer["prompt_tokens"],
                completion_tokens=answer["completion_tokens"],
            )
            made = make_attempt(trial, completion.text)
            ended = answer["finish"] == "stop"
            outcome = replace(made.exchange.outcome, status="valid" if ended else "censored", completion=completion)
            yield replace(made, exchange=replace(made.exchange, outcome=outcome))


def collect_answers(run: records.Run) -> dict[Trial, ReportedAnswer]:
    limits = {p.id: p.max_tokens for p in run.manifest.suite.prompts}
    answers = {}
    for view in run.views():
        completion = view.outcome.completion
        if completion is not None:
            answers[view.trial] = ReportedAnswer(
                trial=view.trial,
                text=completion.text,
                cut=completion.finish_reason == "length",
                prompt_tokens=completion.prompt_tokens,
                completion_tokens=completion.completion_tokens,
                max_tokens=limits[view.trial.prompt],
            )
    return answers


def diagnose(path: Path) -> dict[str, tuple[Diagnosis, ...]]:
    """As `analyse` does, but for what only reports show."""
    run = records.open_run(path)
    prompts = [p.id for p in run.manifest.suite.prompts]
    found = attribute_reading(run.reading(), collect_answers(run), prompts, ())
    by_name = defaultdict(list)
    for one in found.reading.diagnoses:
        by_name[one.provider].append(one)
    return {name: tuple(of) for name, of in by_name.items()}


@dataclass(frozen=True, kw_only=True)
class Judged:
    fault: str
    size: int
    diagnoses: tuple[Diagnosis, ...]

    @property
    def main(self) -> Diagnosis:
        return self.diagnoses[0]

    @property
    def right(self) -> bool:
        return self.main.cause in ALL_FAULTS[self.fault].causes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", choices=PARTS, default="set")
    parser.add_argument("--weights", choices=("shipped", "finer"), default="shipped")
    parser.add_argument("--sizes", default="5,10,20,30")
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--endpoints", default="")
    options = parser.parse_args()
    made = options.folder / f"{options.part}-{options.weights}"
    names = [n for n in list_faults(options.part) if n != REFERENCE and (made / f"{n}.jsonl").exists()]
    if options.endpoints:
        names = [n for n in names if n in options.endpoints.split(",")]
    source = f"path:{finer(options.folder)}" if options.weights == "finer" else SOURCE.source
    chosen = settings(names, source)
    asked = suite(options.part)
    for size in map(int, options.sizes.split(",")):
        judged: list[Judged] = []
        for draw in range(options.draws if size < len(asked.prompts) else 1):
            picked = {p.id for p in draw_prompts(asked, size, draw)}
            judged += judge_draw(options.folder, made, chosen, names, asked, picked, f"{size}-{draw}")
        print_table(judged, size)
        if size >= len(asked.prompts):
            print_sentences(judged)
        sys.stdout.flush()


def judge_draw(
    folder: Path, made: Path, chosen: Config, names: list[str], asked: Suite, prompts: set[str], label: str
) -> list[Judged]:
    began = time.monotonic()
    place = folder / "runs" / made.name
    path = place / label
    if not path.exists():
        part = replace(asked, prompts=tuple(p for p in asked.prompts if p.id in prompts))
        all_attempts = [a for name in (REFERENCE, *names) for a in attempts(made, name, prompts)]
        make_run(place, chosen, part, all_attempts, label)

    def say(words: str) -> None:
        print(f"{label}: {time.monotonic() - began:.0f} s; {words}", file=sys.stderr, flush=True)

    watcher = Watcher(say=say, begin=lambda *_: None, attempt=lambda _: None, read=lambda *_: None)
    score_run(path, environ={}, watcher=watcher)
    return [Judged(fault=n, size=len(prompts), diagnoses=d) for n, d in diagnose(path).items()]


def print_table(judged: list[Judged], size: int) -> None:
    causes = sorted({f"{j.main.cause} ({j.main.strength})" for j in judged})
    print(f"\n{size} prompts\n| true cause | " + " | ".join(causes) + " |\n" + "|---" * (len(causes) + 1) + "|")
    for fault in dict.fromkeys(j.fault for j in judged):
        counts = Counter(f"{j.main.cause} ({j.main.strength})" for j in judged if j.fault == fault)
        cells = [
            f"{counts[c]}{' ok' if c.split(' ')[0] in ALL_FAULTS[fault].causes else ''}" if counts[c] else ""
            for c in causes
        ]
        print(f"| {fault} | " + " | ".join(cells) + " |")
    honest = [j for j in judged if ALL_FAULTS[j.fault].kind == "honest"]
    faulty = [j for j in judged if ALL_FAULTS[j.fault].kind != "honest"]
    named = [j for j in faulty if j.main.strength == "shown" and j.main.cause not in ("not_faithful", "faithful")]
    nameable = [j for j in faulty if not set(ALL_FAULTS[j.fault].causes) & {"not_faithful", "unknown"}]
    right = [j for j in named if j.right]
    false_pass = [j for j in faulty if j.main.cause == "faithful" and "faithful" not in ALL_FAULTS[j.fault].causes]
    accused = [j for j in honest if j.main.cause != "faithful" and j.main.strength == "shown"]
    print(
        f"a cause shown: {len(named)} of {len(nameable)} with a suspect or rule, {len(right)} of them right; "
        f"open and shown to be more than rounding: {sum(j.main.cause == 'not_faithful' for j in faulty)}; "
        f"called faithful: {len(false_pass)} ({sum(j.main.strength == 'shown' for j in false_pass)} of them shown); "
        f"honest accused: {len(accused)} of {len(honest)}"
    )
    for one in named:
        if not one.right:
            print(f"  WRONG {one.fault}: {one.main.cause}: {one.main.message}")


def print_sentences(judged: list[Judged]) -> None:
    for one in judged:
        for d in one.diagnoses:
            print(f"{one.fault}: {d.cause} ({d.strength}): {d.message}")


if __name__ == "__main__":
    main()
