"""Nothing in, Markdown tables out: which cause is diagnosed for which, and how often an honest endpoint is accused.

    python tests/benchmarks/attribution.py            # 100 runs a cause, 300 of honest endpoints; under 3 minutes
    python tests/benchmarks/attribution.py --quick    # 10 runs a cause, a smoke test; the figures mean little

Each run is 20 prompts of a larger pool, two repeats each, 50 tokens a response: 2,000 response tokens.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from attribute import simulated
from attribute.simulated import Choice, World, foreign, greedy, penalised, rounding, sampling
from tempzero.attribute import Attribution, ReportedAnswer, attribute_reading
from tempzero.types.asked import Trial
from tempzero.types.scored import FormReading, Reading, ScoredResponse

PROMPTS, REPEATS, LENGTH = 20, 2, 50
HONEST, COARSE = 0.004, {"q8_0": 0.15, "q5_0": 0.7, "q4_0": 1.5}


@dataclass(frozen=True, kw_only=True)
class Truth:
    """An endpoint with a known fault: how it chooses, whether its repeats vary, which share is `also`."""

    choose: Choice
    expected: tuple[str, ...]
    varies: bool = False
    also: Choice | None = None
    share: float = 0.0
    cut: int | None = None
    runs: int = 100
    pool: int = 100


TRUTHS = {
    "f16": Truth(choose=rounding(HONEST), expected=("faithful",), runs=300, pool=300),
    "f16, other threads": Truth(choose=rounding(0.006), expected=("faithful",), varies=True, runs=300, pool=150),
    "q8_0": Truth(choose=rounding(COARSE["q8_0"]), expected=("coarser",)),
    "q5_0": Truth(choose=rounding(COARSE["q5_0"]), expected=("coarser",)),
    "q4_0": Truth(choose=rounding(COARSE["q4_0"]), expected=("coarser",)),
    "temperature .2": Truth(choose=sampling(0.2), expected=("sampled",), varies=True),
    "temperature .5": Truth(choose=sampling(0.5), expected=("sampled",), varies=True),
    "temperature 1": Truth(choose=sampling(1.0), expected=("sampled",), varies=True),
    "temperature .5, fixed seed": Truth(choose=sampling(0.5), expected=("sampled",)),
    "penalty 1.1": Truth(choose=penalised(1.1), expected=("penalty",)),
    "other prompt": Truth(choose=foreign(0.9, fading=10), expected=("other_prompt",)),
    "other model": Truth(choose=foreign(0.4), expected=("other_model",)),
    "10 % q4_0": Truth(choose=rounding(HONEST), expected=("mixture",), also=rounding(1.5), share=0.1),
    "2 % q4_0": Truth(choose=rounding(HONEST), expected=("mixture", "faithful"), also=rounding(1.5), share=0.02),
    "ends early": Truth(choose=rounding(HONEST), expected=("cut_short",), cut=25),
}


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Responses of one endpoint to many prompts: a list of repeats for each, and as many of what it is mixed with."""

    responses: list[list[ScoredResponse]]
    also: list[list[ScoredResponse]]


def pool_of(world: World, truth: Truth) -> Pool:
    """Read every response once; an endpoint that repeats itself is read once a prompt."""

    def responses(choose: Choice, salt: int) -> list[list[ScoredResponse]]:
        found = []
        for prompt in range(truth.pool):
            draws = range(1 + salt, 1 + salt + (REPEATS if truth.varies else 1))
            read = []
            for draw in draws:
                tokens, rows = world.answer(choose, prompt, draw, cut=truth.cut)
                read.append(simulated.scored(world, "x", prompt, draw, tokens, rows))
            found.append(read)
        return found

    return Pool(responses=responses(truth.choose, 0), also=responses(truth.also, 1000) if truth.also else [])


def run_of(pool: Pool, truth: Truth, rng: np.random.Generator) -> list[ScoredResponse]:
    """One run: some prompts of the pool, REPEATS responses each."""
    found = []
    for prompt in rng.choice(len(pool.responses), PROMPTS, replace=False).tolist():
        first: dict[int, Trial] = {}
        for repeat in range(REPEATS):
            side = pool.also if pool.also and rng.random() < truth.share else pool.responses
            of = side[prompt][repeat % len(side[prompt])]
            trial = replace(of.trial, repeat=repeat)
            if id(of) in first:
                found.append(replace(of, trial=trial, same_as=first[id(of)], scores=None, sums=None))
            else:
                first[id(of)] = trial
                found.append(replace(of, trial=trial))
    return found


def calibration(world: World, prompts: int) -> tuple[list[ScoredResponse], list[FormReading]]:
    """The reference's own responses, and how its forms read them."""
    own = []
    for prompt in range(prompts):
        tokens, rows = world.answer(greedy, prompt, 0)
        own.append(simulated.scored(world, simulated.REFERENCE, prompt, 0, tokens, rows))
    read = range(prompts)
    forms = simulated.form(world, "f16", True, rounding(HONEST), read, HONEST)
    for name, scale in COARSE.items():
        forms += simulated.form(world, name, False, rounding(scale), read, scale)
    return own, forms


def judge(
    run: list[ScoredResponse], own: list[ScoredResponse], forms: list[FormReading], *, seeded: bool
) -> Attribution:
    """Attribute one simulated run."""
    reading = Reading(readers=(simulated.READER,), scored=(*own, *run), forms=tuple(forms))
    prompts = list(dict.fromkeys(s.trial.prompt for s in (*own, *run)))
    answers = {
        s.trial: ReportedAnswer(
            trial=s.trial, text="", cut=False, prompt_tokens=None, completion_tokens=None, max_tokens=None
        )
        for s in run
    }
    return attribute_reading(reading, answers, prompts, (), {"x"} if seeded else ())


def main() -> None:
    """Print the confusion table, the rate of false accusations, and the coverage of the temperature's interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 runs a cause; the figures mean little")
    parser.add_argument("--only", help="one endpoint")
    options = parser.parse_args()
    begun = perf_counter()
    world = World(seed=5, length=LENGTH)
    own, forms = calibration(world, 30)
    print(f"| endpoint | runs | match | diagnosed (strength) | temperature in interval |\n|{'---|' * 5}")
    for name, truth in TRUTHS.items():
        if options.only in (None, name):
            quick = replace(truth, runs=10, pool=40) if options.quick else truth
            print(line(world, name, quick, own, forms), flush=True)
    print(f"\n{perf_counter() - begun:.0f} s")


def line(world: World, name: str, truth: Truth, own: list[ScoredResponse], forms: list[FormReading]) -> str:
    """One row of the table."""
    pool, rng = pool_of(world, truth), np.random.default_rng(11)
    found: Counter[str] = Counter()
    covered = tested = 0
    match: list[float] = []
    temperature = float(name.split()[1].rstrip(",")) if name.startswith("temperature") else 0.0
    for _ in range(truth.runs):
        result = judge(run_of(pool, truth, rng), own, forms, seeded="seed" in name)
        found[" + ".join(f"{d.cause} ({d.strength})" for d in result.reading.diagnoses)] += 1
        match.append(
            float(
                np.nanmean(
                    next(m.values for m in result.measures if m.metric.name == "token_match_rate" and m.provider == "x")
                )
            )
        )
        for one in result.lone:
            if one.metric.name == "effective_temperature":
                tested += 1
                e = one.estimate
                covered += e.low is not None and e.high is not None and e.low <= temperature <= e.high
    told = "; ".join(f"{words}: {count}" for words, count in found.most_common(6))
    return f"| {name} | {truth.runs} | {np.mean(match):.3f} | {told} | {covered} of {tested} |"


if __name__ == "__main__":
    main()
