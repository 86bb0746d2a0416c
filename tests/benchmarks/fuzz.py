"""A number of cases in; what they were read as out, and the first that crashed the reader or passed for an answer.

Cases are mutated whole responses, their shapes those of several servers; `--run` adds those of a recorded run.

    python tests/benchmarks/fuzz.py [--cases 100000] [--seed 1] [--run results/RUN]
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from pathlib import Path

from tempzero import records

sys.path.insert(0, str(Path(__file__).parent.parent))

from fuzzing import cases, judge, samples

_MOST_OF_A_RUN = 500
_LONGEST = 20_000


def recorded(path: Path) -> list[bytes]:
    """Response bodies of a run folder."""
    answers = (record.attempt.exchange.response for record in records.open_run(path).records())
    bodies = (a.body.encode() for a in answers if a is not None and a.body is not None)
    return list(itertools.islice((b for b in bodies if len(b) <= _LONGEST), _MOST_OF_A_RUN))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--run", type=Path)
    chosen = parser.parse_args()
    seeds = [*samples(), *(recorded(chosen.run) if chosen.run else [])]
    read_as: Counter[str] = Counter()
    began = time.monotonic()
    for number, case in enumerate(itertools.islice(cases(chosen.seed, seeds), chosen.cases)):
        try:
            outcome = judge(case)
        except Exception as problem:  # any at all is what is being looked for
            print(f"case {number} of seed {chosen.seed}: {problem!r}\n{case!r}")
            raise
        read_as[f"{outcome.status}:{outcome.kind}"] += 1
    elapsed_s = time.monotonic() - began
    for name, count in read_as.most_common():
        print(f"{count:>8}  {name}")
    print(f"{chosen.cases} cases of {len(seeds)} samples, {elapsed_s:.0f} s; no crash, no answer out of rubbish")
    return 0


if __name__ == "__main__":
    sys.exit(main())
