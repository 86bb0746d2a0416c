"""A folder of `detection_endpoints.py` in, tables out: which fault is seen with how many tokens, and taken for what.

Three ways of judging the same responses, each held to accusing an honest endpoint in at most 1 % of cases:

tempzero   a finding: a cause that is shown, or tokens beyond 16-bit rounding (no threshold is fitted here)
exact      share of responses whose text is not the reference's
MMD        unbiased MMD² between endpoint and reference, Hamming kernel over 48 tokens, averaged over prompts: the
           two-sample test of Gao et al. (2410.20247)

The last two get the threshold that honest endpoints pass in 99 % of draws of the same size. A draw is some of the
prompts without replacement, with both responses to each. `mixture-10` and `mixture-2` take each response from q4_0
with that chance, else from f16. Rules of diagnosis were set on the first half of the prompts; power is measured on the
second.

    python tests/benchmarks/detection.py FOLDER [--honest 500] [--draws 100] [--prompts second]
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tempzero import records, stats
from tempzero.attribute import ACCUSING_CAUSES, ReportedAnswer
from tempzero.attribute.causes import Patient, diagnose_provider
from tempzero.attribute.noise import join_forms, measure_noise_floor
from tempzero.attribute.reader_tables import build_tables
from tempzero.attribute.rounding_levels import find_table_floor, judge_rounding
from tempzero.stats.kernels import hamming_kernel
from tempzero.types.asked import Trial
from tempzero.types.concluded import Diagnosis
from tempzero.types.scored import Reading, ScoredResponse

HONEST = ("f16", "f16-threads-2", "f16-flash", "f16-batch-32")
MIXTURES = {"mixture-10": 0.1, "mixture-2": 0.02}
SIZES = (5, 10, 20)
LENGTH = 48
ALPHA = 0.05
EXPECTED = {
    "f16": "faithful",
    "q": "coarser",
    "cache": "coarser",
    "template": "other_prompt",
    "hidden-system": "other_prompt",
    "temperature": "sampled",
    "penalty": "penalty",
    "cut": "cut_short",
    "other-model": "other_model",
    "mixture": "mixture",
}
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A scored run, taken apart: what each endpoint said to each prompt, and how it reads."""

    reading: Reading
    answers: dict[Trial, ReportedAnswer]
    scored: dict[str, dict[str, list[ScoredResponse]]]
    prompts: tuple[str, ...]
    reference: str

    def text(self, one: ScoredResponse) -> str:
        return self.answers[one.trial].text


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Prompts, and which endpoint really gave each response to them."""

    endpoint: str
    sources: dict[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the three ways say of one draw; `tokens` are the endpoint's, over all its responses."""

    accused: bool
    not_exact: float
    mmd: float
    tokens: int
    cause: str
    diagnoses: tuple[Diagnosis, ...]


def opened(path: Path, which: str) -> Folder:
    run = records.open_run(path)
    reading = run.reading()
    whole = {s.trial: s for s in reading.scored}
    scored: dict[str, dict[str, list[ScoredResponse]]] = {}
    for one in reading.scored:
        root = one if one.same_as is None else whole[one.same_as]
        own = replace(one, same_as=None, scores=root.scores, sums=root.sums)
        scored.setdefault(one.trial.provider, {}).setdefault(one.trial.prompt, []).append(own)
    reference = run.config.run.references[0]
    repeats = max(len(of) for of in scored[reference].values())
    asked = [p.id for p in run.manifest.suite.prompts]
    half = {"first": asked[: len(asked) // 2], "second": asked[len(asked) // 2 :], "all": asked}[which]
    prompts = tuple(p for p in half if all(len(of.get(p, ())) == repeats for of in scored.values()))
    return Folder(reading=reading, answers=answers_of(run), scored=scored, prompts=prompts, reference=reference)


def answers_of(run: records.Run) -> dict[Trial, ReportedAnswer]:
    asked = {p.id: p.max_tokens for p in run.manifest.suite.prompts}
    found = {}
    for view in run.views():
        completion = view.outcome.completion
        if completion is not None:
            provider = run.config.provider(view.trial.provider)
            found[view.trial] = ReportedAnswer(
                trial=view.trial,
                text=completion.text,
                cut=completion.finish_reason == "length",
                prompt_tokens=completion.prompt_tokens,
                completion_tokens=completion.completion_tokens,
                max_tokens=provider.sampling(asked[view.trial.prompt]).max_tokens,
            )
    return found


def drawn(folder: Folder, endpoint: str, size: int, rng: np.random.Generator) -> Draw:
    prompts = rng.choice(len(folder.prompts), size=min(size, len(folder.prompts)), replace=False)
    sources = {}
    for name in (folder.prompts[i] for i in sorted(prompts)):
        repeats = len(folder.scored[folder.reference][name])
        share = MIXTURES.get(endpoint)
        if share is None:
            sources[name] = (endpoint,) * repeats
        else:
            sources[name] = tuple("q4_0" if rng.random() < share else "f16" for _ in range(repeats))
    return Draw(endpoint=endpoint, sources=sources)


def responses(folder: Folder, draw: Draw) -> Iterator[ScoredResponse]:
    """What the endpoint of this draw answered, as recorded of whoever really did."""
    for prompt, sources in draw.sources.items():
        for repeat, source in enumerate(sources):
            yield folder.scored[source][prompt][repeat]


def judged(folder: Folder, draw: Draw) -> Judged:
    """What the three ways say of an endpoint that gave these answers."""
    mine = list(responses(folder, draw))
    diagnoses, accused = attributed(folder, draw, mine)
    named = [d.cause for d in diagnoses if d.cause != "faithful" and d.strength != "undecided"]
    return Judged(
        accused=accused,
        not_exact=float(np.mean([folder.text(s) not in _reference_texts(folder, s) for s in mine])),
        mmd=float(np.mean([_mmd(folder, draw, prompt) for prompt in draw.sources])),
        tokens=sum(len(_tokens(s)) for s in mine),
        cause=named[0] if named else ("faithful" if diagnoses[0].cause == "faithful" else "unknown"),
        diagnoses=diagnoses,
    )


def attributed(folder: Folder, draw: Draw, mine: Sequence[ScoredResponse]) -> tuple[tuple[Diagnosis, ...], bool]:
    """The diagnoses, and whether there is a finding: `attribute.attribute` but for what only reports show."""
    scored = [s for prompt in draw.sources for s in folder.scored[folder.reference][prompt]]
    answers, renamed = {}, {}
    for one in mine:
        name = renamed[one.trial] = replace(one.trial, provider=draw.endpoint)
        scored.append(replace(one, trial=name))
        answers[name] = replace(folder.answers[one.trial], trial=name)
    variants = tuple(replace(v, trial=renamed[v.trial]) for v in folder.reading.variants if v.trial in renamed)
    part = replace(folder.reading, scored=_shared(scored), variants=variants)
    (table,) = build_tables(part, answers, tuple(draw.sources))
    known = join_forms(table, part.forms)
    floor = find_table_floor(table, known, ())
    ground = measure_noise_floor(table, known, floor)
    (lane,) = (x for x in table.lanes if x.provider == draw.endpoint)
    patient = Patient(
        table=table, lane=lane, floor=ground, forms=known, readings=part.forms, variants=variants, seeded=False
    )
    found = diagnose_provider(patient)
    if any(d.cause in ACCUSING_CAUSES and d.strength == "shown" for d in found):
        return found, True
    judged = (j for j in judge_rounding(table, known, floor) if j.provider == draw.endpoint)
    return found, any(j.evidence >= -math.log(stats.divide_budget(ALPHA, {"rounding": 1})["rounding"]) for j in judged)


def _shared(scored: Sequence[ScoredResponse]) -> tuple[ScoredResponse, ...]:
    """The same token sequence is one again, as a reader stores it."""
    first: dict[tuple[str, tuple[int, ...], bool], Trial] = {}
    found = []
    for one in scored:
        assert one.scores is not None, "filled in when the folder was opened"
        key = (one.trial.prompt, one.scores.token_ids, one.ended)
        root = first.setdefault(key, one.trial)
        found.append(one if root == one.trial else replace(one, same_as=root, scores=None, sums=None))
    return tuple(found)


def _reference_texts(folder: Folder, one: ScoredResponse) -> set[str]:
    return {folder.text(s) for s in folder.scored[folder.reference][one.trial.prompt]}


def _tokens(one: ScoredResponse) -> tuple[int, ...]:
    assert one.scores is not None, "filled in when the folder was opened"
    return one.scores.token_ids[:LENGTH]


def _mmd(folder: Folder, draw: Draw, prompt: str) -> float:
    mine = [_tokens(folder.scored[s][prompt][i]) for i, s in enumerate(draw.sources[prompt])]
    theirs = [_tokens(s) for s in folder.scored[folder.reference][prompt]]
    kernel = hamming_kernel([*mine, *theirs], length=LENGTH)
    own, other = kernel[: len(mine), : len(mine)], kernel[len(mine) :, len(mine) :]
    return _off_diagonal(own) + _off_diagonal(other) - 2 * float(kernel[: len(mine), len(mine) :].mean())


def _off_diagonal(kernel: Floats) -> float:
    n = len(kernel)
    return float(kernel.sum() - np.trace(kernel)) / (n * (n - 1)) if n > 1 else 1.0


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Some draws of one endpoint and size."""

    endpoint: str
    size: int
    draws: int
    seed: int


_folder: list[Folder] = []


def _open_in_worker(path: Path, which: str) -> None:
    _folder.append(opened(path, which))


def _judge_cell(cell: Cell) -> list[Judged]:
    rng = np.random.default_rng(cell.seed)
    return [judged(_folder[0], drawn(_folder[0], cell.endpoint, cell.size, rng)) for _ in range(cell.draws)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--honest", type=int, default=500, help="draws of honest endpoints for each size")
    parser.add_argument("--draws", type=int, default=100, help="draws of each other endpoint for each size")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="prompts a draw")
    parser.add_argument("--endpoints", default="", help="only these besides the honest ones, comma-separated")
    parser.add_argument("--prompts", choices=("first", "second", "all"), default="second")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    folder = opened(options.folder, options.prompts)
    only = set(options.endpoints.split(",")) - {""}
    faulty = [
        e for e in (*folder.scored, *MIXTURES) if e not in (*HONEST, folder.reference) and (not only or e in only)
    ]
    sizes = [s for s in map(int, options.sizes.split(",")) if s < len(folder.prompts)]
    cells = [
        Cell(
            endpoint=e, size=s, draws=options.honest // len(HONEST) if e in HONEST else options.draws, seed=1000 * s + i
        )
        for s in sizes
        for i, e in enumerate((*HONEST, *faulty))
    ]
    whole = [Cell(endpoint=e, size=len(folder.prompts), draws=1, seed=7) for e in (*HONEST, *faulty)]
    with ProcessPoolExecutor(
        options.workers, initializer=_open_in_worker, initargs=(options.folder, options.prompts)
    ) as pool:
        found = dict(zip([*cells, *whole], pool.map(_judge_cell, [*cells, *whole]), strict=True))
    print(f"{len(folder.prompts)} prompts ({options.prompts}), each asked twice\n")
    _power(found, sizes, faulty)
    _confusion([(c.endpoint, of) for c, of in found.items() if c.size == sizes[-1] and c in cells])
    _sentences([(c.endpoint, found[c][0]) for c in whole])


def _power(found: dict[Cell, list[Judged]], sizes: Sequence[int], faulty: Iterable[str]) -> None:
    honest = {s: [j for c, of in found.items() if c.size == s and c.endpoint in HONEST for j in of] for s in sizes}
    limits = {s: (_limit(j.not_exact for j in of), _limit(j.mmd for j in of)) for s, of in honest.items()}
    print("| endpoint | " + " | ".join(f"{s} prompts, {_spent(honest[s]):,.0f} tokens" for s in sizes) + " |")
    print("|---" * (len(sizes) + 1) + "|")
    for name in ("honest", *faulty):
        row = []
        for size in sizes:
            of = (
                honest[size]
                if name == "honest"
                else next(of for c, of in found.items() if (c.endpoint, c.size) == (name, size))
            )
            exact, mmd = limits[size]
            shares = (
                np.mean([j.accused for j in of]),
                np.mean([j.not_exact > exact for j in of]),
                np.mean([j.mmd > mmd for j in of]),
            )
            row.append(" / ".join(f"{share:.2f}" for share in shares))
            if name == "honest":
                row[-1] += f" ({sum(j.accused for j in of)} of {len(of)})"
        print(f"| {name} | " + " | ".join(row) + " |")


def _limit(values: Iterable[float]) -> float:
    return float(np.quantile(list(values), 0.99, method="higher"))


def _spent(of: Sequence[Judged]) -> float:
    return float(np.mean([j.tokens for j in of]))


def _confusion(rows: Sequence[tuple[str, list[Judged]]]) -> None:
    counts = {name: Counter(j.cause for j in of) for name, of in rows}
    causes = sorted({c for of in counts.values() for c in of})
    print("\n| true cause | " + " | ".join(causes) + " |\n" + "|---" * (len(causes) + 1) + "|")
    for name, of in counts.items():
        expected = next(cause for start, cause in EXPECTED.items() if name.startswith(start))
        cells = []
        for cause in causes:
            share = f"{of[cause] / of.total():.2f}" if of[cause] else ""
            cells.append(f"**{share or '0'}**" if cause == expected else share)
        print(f"| {name} | " + " | ".join(cells) + " |")


def _sentences(rows: Sequence[tuple[str, Judged]]) -> None:
    print("\nall prompts")
    for name, one in rows:
        for d in one.diagnoses:
            size = "" if d.estimate is None or d.estimate.value is None else f" {d.estimate.value:.3g}"
            if d.estimate is not None and d.estimate.low is not None:
                size += f" [{d.estimate.low:.3g}, {d.estimate.high:.3g}]"
            print(f"{name}{'' if one.accused else ' (not accused)'}: {d.cause} ({d.strength}){size}: {d.message}")


if __name__ == "__main__":
    main()
