"""A folder of `cause_endpoints.py` and recorded runs of honest hosts in, how often each is found at 5, 10, 20 prompts.

The reference reads all answers once, without suspects. Prompts are drawn again and again, without replacement, and of
each draw it is asked what a run of these prompts would have ended with:

beyond   the level is "beyond 16-bit rounding": the finding by tokens
varies   repeats of a prompt differ: the finding by existence
edited   texts are the reference's after one edit, on two prompts: the finding by text
found    any of these. Of an honest host: a false accusation, where its repeats do not differ
exact    any text differs from the reference's: what exact match would accuse
D, MMD   a permutation test at .05 of excess divergence (half the one-hot MMD squared), and of MMD with the prefix
         kernel, against the reference's own repeats: what comparing texts would accuse

    python tests/benchmarks/power.py FOLDER [--part set|shown] [--weights shipped|finer] [--draws 200] [--endpoints a,b]
                                     [--runs RUN ...]
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from cause_endpoints import PARTS, SOURCE, finer, list_faults, suite
from causes import REFERENCE, attempts, collect_answers, settings
from making import make_run
from tempzero import records, stats
from tempzero.attribute.reader_tables import ReaderTable, ResponseLane, build_tables
from tempzero.attribute.rounding_levels import ALLOWANCE, find_table_floor, gather_choices
from tempzero.attribute.text_edits import MIN_EDITED_PROMPTS, find_text_edit
from tempzero.engines import open_local_engine
from tempzero.engines.event_loop import run_coroutine
from tempzero.engines.local import weights
from tempzero.reading.references import LogitsReference
from tempzero.reading.scorer import Scorer
from tempzero.stats.error_budget import divide_budget
from texts_beside import compare_texts, find_lane, test_texts

SIZES = (5, 10, 20)
PROVIDERS = 4
TESTS = 40  # permutation tests are made on so many of the draws
LIMIT = math.log(PROVIDERS / divide_budget(0.05, {"rounding": PROVIDERS, "causes": PROVIDERS, "camps": 1})["rounding"])


def try_host(table: ReaderTable, lane: ResponseLane, draws: int) -> dict[int, dict[str, float]]:
    """The share of draws of each size that end so."""
    allowed = ALLOWANCE * find_table_floor(table, (), ()).rms
    choices, texts = gather_choices(table, lane), compare_texts(table, lane, find_lane(table, REFERENCE, lane))
    edit = find_text_edit(table, lane)
    edited = {table.prompts.index(t.prompt) for t in edit.trials} if edit is not None and not edit.harmless else set()
    varied = {p for p in set(lane.prompt.tolist()) if np.unique(lane.sequence[lane.prompt == p]).size > 1}
    asked, found = sorted(set(lane.prompt.tolist())), {}
    for size in SIZES:
        seen: dict[str, list[bool]] = defaultdict(list)
        for draw in range(draws if size < len(asked) else 1):
            picked = set(random.Random(f"{size}-{draw}").sample(asked, min(size, len(asked))))
            tests = draw_tests(choices, picked, allowed, edited, varied)
            for name, hit in tests.items():
                seen[name].append(hit)
            if draw < TESTS:
                for name, hit in test_texts([texts[p] for p in sorted(picked) if p in texts]).items():
                    seen[name].append(hit)
        found[size] = {name: float(np.mean(hits)) for name, hits in seen.items()}
    return found


def draw_tests(
    choices: stats.ReadChoices,
    picked: set[int],
    allowed: float,
    edited: set[int],
    varied: set[int],
) -> dict[str, bool]:
    kept = np.flatnonzero(np.isin(choices.prompt, list(picked)))
    inside = np.isin(choices.response, kept)
    part = stats.ReadChoices(
        gap=choices.gap[inside],
        margin=choices.margin[inside],
        response=np.searchsorted(kept, choices.response[inside]),
        prompt=choices.prompt[kept],
        times=choices.times[kept],
    )
    seen = {
        "beyond": stats.rounding_evidence(part, allowed) >= LIMIT,
        "varies": bool(varied & picked),
        "edited": len(edited & picked) >= MIN_EDITED_PROMPTS,
    }
    return {**seen, "found": any(seen.values())}


def print_host(name: str, kind: str, found: dict[int, dict[str, float]]) -> None:
    columns = ("found", "beyond", "varies", "edited", "exact", "D", "MMD")
    cells = (" / ".join(f"{found[s].get(c, math.nan):.2f}" for s in SIZES) for c in columns)
    print(f"| {name} | {kind} | " + " | ".join(cells) + " |", flush=True)


def try_run(path: Path, draws: int, kinds: dict[str, str]) -> None:
    run = records.open_run(path)
    reference = run.config.run.references[0]
    (table,) = build_tables(run.reading(), collect_answers(run), [p.id for p in run.manifest.suite.prompts])
    for lane in table.lanes:
        if lane.provider != reference:
            print_host(lane.provider, kinds.get(lane.provider, "honest"), try_host(table, lane, draws))


def read_run(path: Path) -> None:
    """Let the run's first reference in this process read every response, under no forms and suspects."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", choices=PARTS, default="set")
    parser.add_argument("--weights", choices=("shipped", "finer"), default="shipped")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--endpoints", default="", help="only these, comma-separated")
    parser.add_argument("--runs", nargs="*", type=Path, default=())
    options = parser.parse_args()
    label = f"{options.part}-{options.weights}"
    made, path = options.folder / label, options.folder / "read" / label
    print("| host | kind | found | beyond | varies | edited | exact | D | MMD |\n" + "|---" * 9 + "|", flush=True)
    faults = list_faults(options.part)
    if not path.exists():
        only = {REFERENCE, *options.endpoints.split(",")} if options.endpoints else set(faults)
        names = [n for n in faults if n in only and (made / f"{n}.jsonl").exists()]
        source = f"path:{finer(options.folder)}" if options.weights == "finer" else SOURCE.source
        asked = suite(options.part)
        everything = [a for name in names for a in attempts(made, name, {p.id for p in asked.prompts})]
        make_run(path.parent, settings([n for n in names if n != REFERENCE], source), asked, everything, label)
    read_run(path)
    try_run(path, options.draws, {name: fault.kind for name, fault in faults.items()})
    for other in options.runs:
        try_run(other, options.draws, {})


if __name__ == "__main__":
    main()
