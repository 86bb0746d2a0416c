"""A folder of `detection_endpoints.py` in, tables out: which fault is seen with how many tokens, and taken for what.

Three ways of judging the same responses, each held to accusing an honest endpoint in at most 1 % of cases:

tempzero   a diagnosis other than "faithful" or "unknown", "shown" or "likely" (no threshold is fitted here)
exact      share of prompts whose text is not the reference's
MMD        1 - Hamming similarity of the first 48 tokens, averaged over prompts: the statistic of the two-sample test of
           Gao et al. (2410.20247) for one response a side and prompt

The last two get the threshold that honest endpoints pass in 99 % of draws of the same size. Draws are prompts
without replacement. `mixture-10` and `mixture-2` take a response from q4_0 with that chance, else from f16.

    python tests/benchmarks/detection.py FOLDER [--honest 500] [--draws 100]
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness import store
from harness.attribute import Answer, attribute
from harness.types import Diagnosis, Reading, ScoredResponse, Trial

HONEST = ("f16", "f16-threads-1", "f16-flash", "f16-batch-32")
MIXTURES = {"mixture-10": 0.1, "mixture-2": 0.02}
SIZES = (5, 10, 20)
LENGTH = 48
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A scored run, taken apart: what each endpoint said to each prompt, and how it reads."""

    reading: Reading
    answers: dict[Trial, Answer]
    scored: dict[str, dict[str, ScoredResponse]]
    text: dict[str, dict[str, str]]
    prompts: tuple[str, ...]
    reference: str

    def tokens(self, endpoint: str, prompt: str) -> tuple[int, ...]:
        scores = self.scored[endpoint][prompt].scores
        assert scores is not None
        return scores.token_ids[:LENGTH]


def opened(path: Path) -> Folder:
    run = store.open_run(path)
    reading = run.reading()
    whole = {s.trial: s for s in reading.scored}
    scored: dict[str, dict[str, ScoredResponse]] = {}
    for one in reading.scored:
        root = one if one.same_as is None else whole[one.same_as]
        own = replace(one, same_as=None, scores=root.scores, sums=root.sums)
        scored.setdefault(one.trial.provider, {})[one.trial.prompt] = own
    answers = answers_of(run)
    text: dict[str, dict[str, str]] = {}
    for trial, answer in answers.items():
        text.setdefault(trial.provider, {})[trial.prompt] = answer.text
    reference = run.config.run.references[0]
    prompts = tuple(p for p in scored[reference] if all(p in of for of in scored.values()))
    return Folder(reading=reading, answers=answers, scored=scored, text=text, prompts=prompts, reference=reference)


def answers_of(run: store.Run) -> dict[Trial, Answer]:
    asked = {p.id: p.max_tokens for p in run.manifest.suite.prompts}
    found = {}
    for view in run.views():
        completion = view.outcome.completion
        if completion is not None:
            provider = run.config.provider(view.trial.provider)
            found[view.trial] = Answer(
                trial=view.trial,
                text=completion.text,
                cut=completion.finish_reason == "length",
                prompt_tokens=completion.prompt_tokens,
                completion_tokens=completion.completion_tokens,
                max_tokens=provider.sampling(asked[view.trial.prompt]).max_tokens,
            )
    return found


def drawn(folder: Folder, endpoint: str, size: int, rng: np.random.Generator) -> dict[str, str]:
    """Prompts, and which endpoint really answered each."""
    prompts = rng.choice(len(folder.prompts), size=min(size, len(folder.prompts)), replace=False)
    names = [folder.prompts[i] for i in sorted(prompts)]
    if endpoint not in MIXTURES:
        return dict.fromkeys(names, endpoint)
    return {n: "q4_0" if rng.random() < MIXTURES[endpoint] else "f16" for n in names}


def diagnosed(folder: Folder, endpoint: str, draw: dict[str, str]) -> tuple[Diagnosis, ...]:
    """What tempzero says of an endpoint that gave these answers."""
    scored = [folder.scored[folder.reference][p] for p in draw]
    answers = {}
    for prompt, source in draw.items():
        one = folder.scored[source][prompt]
        mine = replace(one.trial, provider=endpoint)
        scored.append(replace(one, trial=mine))
        answers[mine] = replace(folder.answers[one.trial], trial=mine)
    variants = tuple(
        replace(v, trial=replace(v.trial, provider=endpoint))
        for v in folder.reading.variants
        if draw.get(v.trial.prompt) == v.trial.provider
    )
    part = replace(folder.reading, scored=tuple(scored), variants=variants)
    return attribute(part, answers, tuple(draw), (), ()).reading.diagnoses


def accused(found: Sequence[Diagnosis]) -> bool:
    return any(d.cause not in ("faithful", "unknown") and d.strength != "undecided" for d in found)


def not_exact(folder: Folder, draw: dict[str, str]) -> float:
    return float(np.mean([folder.text[s][p] != folder.text[folder.reference][p] for p, s in draw.items()]))


def hamming(folder: Folder, draw: dict[str, str]) -> float:
    apart = []
    for prompt, source in draw.items():
        left, right = folder.tokens(source, prompt), folder.tokens(folder.reference, prompt)
        longer = max(len(left), len(right))
        apart.append((longer - sum(a == b for a, b in zip(left, right, strict=False))) / LENGTH)
    return float(np.mean(apart))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--honest", type=int, default=500, help="draws of honest endpoints for each size")
    parser.add_argument("--draws", type=int, default=100, help="draws of each other endpoint for each size")
    options = parser.parse_args()
    folder = opened(options.folder)
    rng = np.random.default_rng(20)
    sizes = (*SIZES, len(folder.prompts))
    tokens = np.mean([len(folder.tokens(folder.reference, p)) for p in folder.prompts])
    others = [e for e in (*folder.scored, *MIXTURES) if e not in (*HONEST, folder.reference)]
    thresholds, false = {}, {}
    for size in sizes:
        draws = []
        for at in range(options.honest if size < len(folder.prompts) else len(HONEST)):
            endpoint = HONEST[at % len(HONEST)]
            draw = drawn(folder, endpoint, size, rng)
            draws.append((accused(diagnosed(folder, endpoint, draw)), not_exact(folder, draw), hamming(folder, draw)))
        columns = np.array(draws, dtype=np.float64)
        false[size] = (int(columns[:, 0].sum()), len(draws))
        thresholds[size] = tuple(float(np.quantile(columns[:, i], 0.99, method="higher")) for i in (1, 2))
    print(f"{len(folder.prompts)} prompts, {tokens:.0f} tokens a response")
    print("honest endpoints accused: " + ", ".join(f"{a} of {n} ({s} prompts)" for s, (a, n) in false.items()))
    print("\npower (tempzero / exact / MMD) by prompts and response tokens")
    print("endpoint".ljust(18) + "".join(f"{s} = {s * tokens:.0f} tokens".rjust(24) for s in sizes))
    confusion: dict[str, Counter[str]] = {}
    for endpoint in (*HONEST, *others):
        row = endpoint.ljust(18)
        for size in sizes:
            wins: list[tuple[bool, bool, bool]] = []
            number = options.draws if size < len(folder.prompts) or endpoint in MIXTURES else 1
            for _ in range(number):
                draw = drawn(folder, endpoint, size, rng)
                found = diagnosed(folder, endpoint, draw)
                exact, mmd = thresholds[size]
                wins.append((accused(found), not_exact(folder, draw) > exact, hamming(folder, draw) > mmd))
                if size == SIZES[-1]:
                    main_cause = next((d.cause for d in found if d.strength != "undecided"), "unknown")
                    confusion.setdefault(endpoint, Counter())[main_cause] += 1
            row += " / ".join(f"{share:.2f}" for share in np.mean(wins, axis=0)).rjust(24)
        print(row, flush=True)
    print(f"\ntrue cause x main diagnosis, {SIZES[-1]} prompts, share of draws")
    causes = sorted({c for counts in confusion.values() for c in counts})
    print("endpoint".ljust(18) + "".join(c.rjust(14) for c in causes))
    for endpoint, counts in confusion.items():
        total = sum(counts.values())
        print(endpoint.ljust(18) + "".join(f"{counts[c] / total:.2f}".rjust(14) for c in causes))
    print("\nall prompts")
    for endpoint in (*HONEST, *others):
        for d in diagnosed(folder, endpoint, drawn(folder, endpoint, len(folder.prompts), rng)):
            size = "" if d.estimate is None or d.estimate.value is None else f" {d.estimate.value:.3g}"
            span = (
                ""
                if d.estimate is None or d.estimate.low is None
                else f" [{d.estimate.low:.3g}, {d.estimate.high:.3g}]"
            )
            print(f"{endpoint}: {d.cause} ({d.strength}){size}{span}: {d.message}")


if __name__ == "__main__":
    main()
