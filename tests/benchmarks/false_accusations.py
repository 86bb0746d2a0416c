"""Nothing in, a table out: how often a run of honest endpoints ends with exit code 1, all kinds of findings together.

Simulated at the level of counts, with the tests, the correction, the budget and the camps of the package itself.
Honest endpoints of one model give the same texts with the same chances; a third of the prompts or templates are noisy.
Against a reference each rounds by its own amount, up to what is allowed. A finding by existence (its repeats differ) is
true of a noisy endpoint and left out, as by `gates.ignore: [nondeterministic]`.

    python tests/benchmarks/false_accusations.py [--runs 200] [--seed 20261129]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray
from tempzero import stats
from tempzero.analysis.pair_figures import permutations_needed

ALPHA = 0.05
TEXTS = 4
ALLOWED = 0.2
TOKENS = 40

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What kind of run is simulated."""

    endpoints: int
    reference: bool
    repeats: int
    templated: bool

    @property
    def prompts(self) -> int:
        return 40 if self.templated else 20


@dataclass(frozen=True, kw_only=True)
class Answers:
    """`texts[e, j, r]`: which text endpoint e gave to prompt j; what each text of a prompt is like."""

    texts: Ints
    right: NDArray[np.bool_]
    loops: NDArray[np.bool_]
    repetition: Floats


def draw_answers(rng: np.random.Generator, cell: Cell) -> Answers:
    groups = np.repeat(np.arange(8), 5) if cell.templated else np.arange(cell.prompts)
    size = int(groups.max()) + 1
    noisy = rng.random(size) < 1 / 3
    chances = np.where(noisy[:, None], rng.dirichlet(np.full(TEXTS, 0.8), size), np.eye(TEXTS)[0])[groups]
    edges = chances.cumsum(axis=1)
    drawn = rng.random((cell.endpoints + cell.reference, cell.prompts, cell.repeats))
    texts = (drawn[..., None] > edges[None, :, None, :]).sum(axis=3).clip(max=TEXTS - 1)
    if cell.reference:  # the last one is deterministic: it gives the likeliest text
        texts[-1] = chances.argmax(axis=1)[:, None]
    shape = (cell.prompts, TEXTS)
    return Answers(
        texts=texts, right=rng.random(shape) < 0.6, loops=rng.random(shape) < 0.1, repetition=rng.random(shape) * 0.3
    )


def find_false(rng: np.random.Generator, cell: Cell) -> set[str]:
    """The kinds of findings that one honest run has."""
    answers = draw_answers(rng, cell)
    pairs = list(combinations(range(cell.endpoints), 2)) if not cell.reference else []
    against = [(e, cell.endpoints) for e in range(cell.endpoints)] if cell.reference else []
    tests: dict[stats.Family, int] = {
        "camps": len(pairs),
        "rounding": len(against),
        "causes": len(against),
        "first_answers": cell.endpoints if cell.repeats > 2 else 0,
        "answers": len(pairs) + len(against),
        "repetition": len(against),
        "loops": len(against),
    }
    budget = stats.divide_budget(ALPHA, tests)
    found: set[str] = set()
    found |= {"camps"} if pairs and _any_camp(answers, pairs, cell, budget["camps"]) else set()
    found |= {"first answers"} if _any_first(answers, cell, budget["first_answers"]) else set()
    found |= {"answers"} if _any_one_sided(answers.right, answers, (*pairs, *against), budget["answers"]) else set()
    if cell.reference:
        found |= {"loops"} if _any_one_sided(answers.loops, answers, against, budget["loops"], worse=True) else set()
        found |= {"repetition"} if _any_repetition(answers, against, budget["repetition"]) else set()
        found |= {"rounding"} if _any_beyond(rng, cell, budget["rounding"]) else set()
    return found


def _any_camp(answers: Answers, pairs: Sequence[tuple[int, int]], cell: Cell, alpha: float) -> bool:
    counts = np.stack([(answers.texts == t).sum(axis=2) for t in range(TEXTS)], axis=2)
    drawn = permutations_needed(len(pairs), alpha)
    p_values = [
        stats.one_hot_permutation(
            list(np.stack([counts[a], counts[b]], axis=1)), permutations=drawn, settled_above=0.2
        ).p_value
        for a, b in pairs
    ]
    apart = np.zeros((cell.endpoints, cell.endpoints), dtype=bool)
    for (a, b), p_value in zip(pairs, stats.holm(p_values), strict=True):
        apart[a, b] = apart[b, a] = p_value <= alpha
    return bool(apart.any())  # whether an odd one or a finding about the set: exit code 1


def _any_first(answers: Answers, cell: Cell, alpha: float) -> bool:
    if not alpha:
        return False
    p_values = []
    for own in answers.texts[: cell.endpoints]:
        varied = [r for r in own if np.unique(r).size > 1]
        counts = [np.bincount(r, minlength=TEXTS) for r in varied]
        p_values.append(
            stats.odd_one_test(
                [[int(c) for c in n if c] for n in counts],
                [int(np.count_nonzero(n[: r[0]])) for n, r in zip(counts, varied, strict=True)],
                alike=len(own) - len(varied),
                permutations=permutations_needed(cell.endpoints, alpha),
            ).p_value
        )
    return min(stats.holm(p_values)) <= alpha


def _any_one_sided(
    of_text: NDArray[np.bool_], answers: Answers, pairs: Sequence[tuple[int, int]], alpha: float, *, worse: bool = False
) -> bool:
    prompts = np.arange(len(of_text))[:, None]
    share = np.stack([of_text[prompts, own].mean(axis=1) for own in answers.texts])
    majority = np.where(share > 0.5, 1.0, np.where(share < 0.5, 0.0, np.nan))
    sides = [
        (int(((x := majority[a]) == 1)[(y := majority[b]) == 0].sum()), int((x[y == 1] == 0).sum())) for a, b in pairs
    ]
    p_values = stats.holm([stats.mcnemar_exact(*one) for one in sides])
    return any(p <= alpha and (not worse or one > other) for p, (one, other) in zip(p_values, sides, strict=True))


def _any_repetition(answers: Answers, pairs: Sequence[tuple[int, int]], alpha: float) -> bool:
    prompts = np.arange(len(answers.repetition))[:, None]
    mean = np.stack([answers.repetition[prompts, own].mean(axis=1) for own in answers.texts])
    tests = [stats.sign_flip_test(mean[a] - mean[b]) for a, b in pairs]
    return any(
        p <= alpha and t.statistic > 0 for p, t in zip(stats.holm([t.p_value for t in tests]), tests, strict=True)
    )


def _any_beyond(rng: np.random.Generator, cell: Cell, alpha: float) -> bool:
    """Endpoints that round by half to all of what is allowed, unevenly from token to token."""
    shape = (cell.prompts, TOKENS)
    for _ in range(cell.endpoints):
        gap = np.where(rng.random(shape) < 0.13, rng.exponential(0.5, shape), 0.5 + rng.gamma(2, 2, shape))
        scale = rng.uniform(0.5, 1.0) * ALLOWED * np.exp(0.5 * rng.normal(size=shape) - 0.25)
        turned = rng.normal(0, 1, shape) * scale > gap
        choices = stats.ReadChoices(
            gap=gap.ravel(),
            margin=np.where(turned, gap, 0.0).ravel(),
            response=np.repeat(np.arange(cell.prompts), TOKENS),
            prompt=np.arange(cell.prompts),
            times=np.ones(cell.prompts, dtype=np.int64),
        )
        if stats.rounding_evidence(choices, ALLOWED) >= math.log(cell.endpoints / alpha):
            return True
    return False


def list_cells() -> Iterator[Cell]:
    for endpoints, reference, repeats, templated in product((2, 3, 5, 10, 26), (False, True), (2, 3, 5), (False, True)):
        yield Cell(endpoints=endpoints, reference=reference, repeats=repeats, templated=templated)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="of each cell with five endpoints or fewer")
    parser.add_argument("--seed", type=int, default=20261129)
    options = parser.parse_args()
    accused = total = 0
    kinds: dict[str, int] = {}
    by_size: dict[tuple[int, bool], list[int]] = {}
    for number, cell in enumerate(list_cells()):
        rng = np.random.default_rng((options.seed, number))
        runs = options.runs if cell.endpoints <= 5 else max(1, options.runs * 5 // cell.endpoints // 2)
        found = [find_false(rng, cell) for _ in range(runs)]
        hits = sum(map(bool, found))
        accused, total = accused + hits, total + runs
        size = by_size.setdefault((cell.endpoints, cell.reference), [0, 0])
        size[0], size[1] = size[0] + hits, size[1] + runs
        for kind in (k for one in found for k in one):
            kinds[kind] = kinds.get(kind, 0) + 1
        print(cell, f"{hits} of {runs}", flush=True)
    for (endpoints, reference), (hits, runs) in by_size.items():
        share = stats.wilson_proportion(hits, runs)
        words = "with a reference" if reference else "peers alone"
        print(f"{endpoints} endpoints, {words}: {hits} of {runs} = {share.value:.1%} (at most {share.high:.1%})")
    share = stats.wilson_proportion(accused, total)
    print(f"together: {accused} of {total} = {share.value:.1%}, interval {share.low:.1%} to {share.high:.1%}; {kinds}")


if __name__ == "__main__":
    main()
