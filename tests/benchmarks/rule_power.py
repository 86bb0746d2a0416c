"""A run that `power.py` has read in, how often rules of the sampler alone name a cause at 10 and 20 prompts, out.

A weak penalty turns tokens that rounding could turn, so that its size accuses nobody: only *which* tokens it turns says
so. Rules are tried on rows that stand in the book, so a draw of prompts costs no model. Other suspects are left out:
they could only leave open what is named here.

    python tests/benchmarks/rule_power.py RUN [--draws 100] [--endpoints a,b]
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

from causes import MODEL, REFERENCE, collect_answers
from tempzero import records
from tempzero.attribute import ReportedAnswer, attribute_reading
from tempzero.engines import open_local_engine
from tempzero.engines.local import weights
from tempzero.reading.references import LogitsReference
from tempzero.reading.rounding_floor import find_rounding_floor
from tempzero.reading.scorer import Scorer
from tempzero.reading.suspect_reading import ProviderAnswers, SuspectReader, Tokens
from tempzero.reading.top_rows import RowBook
from tempzero.types.asked import Trial
from tempzero.types.concluded import Diagnosis
from tempzero.types.scored import Reading

SIZES = (20, 10)


def open_reader(run: records.Run) -> tuple[SuspectReader, tuple[ProviderAnswers, ...]]:
    provider = run.config.provider(REFERENCE)
    assert provider.local is not None
    engine = open_local_engine(provider, weights.obtain_weights_for(run.config, provider.local, say=print))
    model = LogitsReference(engine, RowBook(weights.default_cache_folder() / "readings", engine.describe()))
    reader = SuspectReader(
        reference=REFERENCE,
        tokens=Tokens(tokenize=model.tokenize, pieces=model.pieces, end_ids=model.end_ids),
        source=model,
        exact=True,
        clear_margin=find_rounding_floor(MODEL).clear_margin,
    )
    return reader, Scorer(run, REFERENCE, model, lambda _: None).collect_answers()


@dataclass(frozen=True, kw_only=True)
class ReadRun:
    """What was asked, answered and read."""

    asked: tuple[str, ...]
    answers: Mapping[Trial, ReportedAnswer]
    reading: Reading


def diagnose_draw(read: ReadRun, reader: SuspectReader, given: ProviderAnswers, prompts: set[str]) -> Diagnosis:
    part = replace(given, answers=tuple(a for a in given.answers if a.trial.prompt in prompts))
    suspects = (reader.read_unchanged(part), *reader.read_rules(part))
    whole, mine = read.reading, (given.provider, REFERENCE)
    roots = {s.same_as for s in whole.scored if s.trial.provider in mine}
    scored = [s for s in whole.scored if s.trial.provider in mine or s.trial in roots]
    reading = replace(whole, suspects=suspects, forms=(), scored=tuple(s for s in scored if s.trial.prompt in prompts))
    answers = {t: a for t, a in read.answers.items() if t.prompt in prompts}
    asked = [p for p in read.asked if p in prompts]
    found = attribute_reading(reading, answers, asked, ()).reading.diagnoses
    return next(d for d in found if d.provider == given.provider)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--endpoints", default="", help="only these, comma-separated")
    options = parser.parse_args()
    run = records.open_run(options.run)
    reader, everything = open_reader(run)
    read = ReadRun(
        asked=tuple(p.id for p in run.manifest.suite.prompts), answers=collect_answers(run), reading=run.reading()
    )
    for given in everything:
        if options.endpoints and given.provider not in options.endpoints.split(","):
            continue
        reader.read_unchanged(given)
        asked = sorted({a.trial.prompt for a in given.answers})
        for size in SIZES:
            counts: Counter[str] = Counter()
            for draw in range(options.draws):
                picked = set(random.Random(f"{size}-{draw}").sample(asked, min(size, len(asked))))
                found = diagnose_draw(read, reader, given, picked)
                counts[f"{found.cause}, {found.strength}"] += 1
            words = "; ".join(f"{n / options.draws:.2f} {name}" for name, n in counts.most_common())
            print(f"| {given.provider} | {size} | {words} |", flush=True)


if __name__ == "__main__":
    main()
