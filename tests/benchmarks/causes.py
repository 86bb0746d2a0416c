"""A folder of `cause_endpoints.py` in, the table true cause x named cause out, at 5, 10 and 20 prompts.

The 20 prompts of the first draw are a run that the reference scores as `tempzero score` does; an interrupted one goes
on where it was. Fewer prompts are drawn from the same readings. A suspect that another prompt had refuted was then not
read on all of these: where such a one is open a cause counts as named only in the upper bound. Beside it what comparing
texts says of the same prompts: exact match, and MMD with the prefix kernel.

    python tests/benchmarks/causes.py FOLDER [--part set|shown] [--weights shipped|finer] [--draws 6]
"""

from __future__ import annotations

import argparse
import random
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
from tempzero.attribute.reader_tables import build_tables
from tempzero.collect.watcher import Watcher
from tempzero.config import Config
from tempzero.reading.rounding_floor import find_rounding_floor
from tempzero.reading.run_reading import score_run
from tempzero.types.asked import Trial
from tempzero.types.concluded import Diagnosis
from tempzero.types.recorded import Attempt, Completion
from tempzero.types.scored import Reading, SuspectReading
from texts_beside import compare_texts, find_lane, test_texts

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


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One endpoint on some prompts. `firm`: every suspect was refuted on these prompts or read on all of them."""

    fault: str
    diagnoses: tuple[Diagnosis, ...]
    firm: bool
    texts: dict[str, bool]

    @property
    def main(self) -> Diagnosis:
        return self.diagnoses[0]

    @property
    def honest(self) -> bool:
        return ALL_FAULTS[self.fault].kind == "honest"

    @property
    def nameable(self) -> bool:
        """Whether a suspect or a rule would be right."""
        return not self.honest and not set(ALL_FAULTS[self.fault].causes) & {"not_faithful", "unknown"}

    @property
    def names(self) -> bool:
        return self.main.strength == "shown" and self.main.cause not in ("not_faithful", "faithful", "unknown")

    @property
    def right(self) -> bool:
        return self.main.cause in ALL_FAULTS[self.fault].causes


def judge_prompts(run: records.Run, prompts: set[str]) -> list[Judged]:
    """As `analyse` does, but for what only reports show."""
    whole = run.reading()
    reading = replace(whole, scored=tuple(s for s in whole.scored if s.trial.prompt in prompts))
    asked = [p.id for p in run.manifest.suite.prompts if p.id in prompts]
    answers = {t: a for t, a in collect_answers(run).items() if t.prompt in prompts}
    by_name = defaultdict(list)
    for one in attribute_reading(reading, answers, asked, ()).reading.diagnoses:
        by_name[one.provider].append(one)
    (table,) = build_tables(reading, answers, asked)
    judged = []
    for lane in table.lanes:
        if lane.provider != REFERENCE:
            texts = compare_texts(table, lane, find_lane(table, REFERENCE, lane))
            judged.append(
                Judged(
                    fault=lane.provider,
                    diagnoses=tuple(by_name[lane.provider]),
                    firm=not any(
                        is_open(line, reading, prompts) for line in reading.suspects if line.provider == lane.provider
                    ),
                    texts=test_texts([texts[p] for p in sorted(texts)]),
                )
            )
    return judged


def is_open(line: SuspectReading, reading: Reading, prompts: set[str]) -> bool:
    """Whether it was refuted by other prompts only, so that it was not read on all of these."""
    if not line.refuted or not set(line.touched) & prompts:
        return False
    if any(not a.whole for a in line.answers if a.trial.prompt in prompts):
        return False
    plain = next(s for s in reading.suspects if (s.provider, s.suspect) == (line.provider, "unchanged"))
    left = [a for a in plain.answers if a.trial.prompt in prompts and a.trial.prompt not in line.touched]
    clear = find_rounding_floor(MODEL).clear_margin
    return not any(max(a.margin, default=0.0) > 2 * clear for a in left)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", choices=PARTS, default="set")
    parser.add_argument("--weights", choices=("shipped", "finer"), default="shipped")
    parser.add_argument("--size", type=int, default=20)
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--endpoints", default="", help="only these, comma-separated")
    parser.add_argument("--label", default="", help="of a run of its own, for other endpoints of the same part")
    options = parser.parse_args()
    made = options.folder / f"{options.part}-{options.weights}"
    names = [n for n in list_faults(options.part) if n != REFERENCE and (made / f"{n}.jsonl").exists()]
    if options.endpoints:
        names = [n for n in names if n in options.endpoints.split(",")]
    source = f"path:{finer(options.folder)}" if options.weights == "finer" else SOURCE.source
    asked = suite(options.part)
    picked = {p.id for p in draw_prompts(asked, options.size, 0)}
    path = options.folder / "runs" / made.name / f"{options.size}{options.label}"
    if not path.exists():
        part = replace(asked, prompts=tuple(p for p in asked.prompts if p.id in picked))
        everything = [a for name in (REFERENCE, *names) for a in attempts(made, name, picked)]
        make_run(path.parent, settings(names, source), part, everything, path.name)
    read_all(path)
    run = records.open_run(path)
    read = sorted({s.trial.prompt for s in run.reading().scored})
    fewer = {
        size: [
            judge_prompts(run, set(random.Random(f"{size}-{draw}").sample(read, min(size, len(read)))))
            for draw in range(options.draws)
        ]
        for size in (5, 10)
    }
    whole = judge_prompts(run, set(read))
    print_table(whole, fewer, len(read))
    for size, draws in fewer.items():
        print_rates(f"{size} prompts, {options.draws} draws", [j for draw in draws for j in draw])
    print_rates(f"{len(read)} prompts", whole)
    print_sentences(whole)


def read_all(path: Path) -> None:
    began = time.monotonic()

    def say(words: str) -> None:
        print(f"{path.name}: {time.monotonic() - began:.0f} s; {words}", file=sys.stderr, flush=True)

    watcher = Watcher(say=say, begin=lambda *_: None, attempt=lambda _: None, read=lambda *_: None)
    score_run(path, environ={}, watcher=watcher)
    say(f"{time.process_time():.0f} s of CPU")


def print_table(whole: list[Judged], fewer: dict[int, list[list[Judged]]], size: int) -> None:
    print(f"| true | named at {size} prompts | 10 | 5 | exact match | MMD |\n|---|---|---|---|---|---|")
    for one in whole:
        cells = []
        for draws in (fewer[10], fewer[5]):
            of = [next(j for j in draw if j.fault == one.fault) for draw in draws]
            counts = Counter(f"{j.main.cause}, {j.main.strength}" for j in of)
            cells.append("; ".join(f"{n} x {words}" for words, n in counts.most_common()))
        found = ["differs" if one.texts["exact"] else "same", "differs" if one.texts["MMD"] else "same"]
        verdict = "" if one.right else " (NOT RIGHT)"
        print(
            f"| {one.fault} | {one.main.cause}, {one.main.strength}{verdict} | " + " | ".join((*cells, *found)) + " |"
        )


def print_rates(label: str, judged: list[Judged]) -> None:
    honest = [j for j in judged if j.honest]
    faulty = [j for j in judged if not j.honest]
    nameable = [j for j in faulty if j.nameable]
    named = [j for j in faulty if j.names]
    right = [j for j in named if j.right]
    passed = [j for j in faulty if j.main.cause == "faithful" and not j.right]
    print(
        f"{label}: a cause shown for {len(named)} of {len(faulty)} with a fault ({sum(j.firm for j in named)} of them "
        f"with no suspect left open), {len(right)} of them right; of {len(nameable)} with a suspect or rule "
        f"{sum(j.nameable for j in right)}; shown to be more than rounding, open: "
        f"{sum(j.main.cause == 'not_faithful' for j in faulty)}; called faithful: {len(passed)} "
        f"({sum(j.main.strength == 'shown' for j in passed)} shown); honest named: "
        f"{sum(j.main.cause != 'faithful' and j.main.strength == 'shown' for j in honest)} of {len(honest)}"
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
