"""Nothing in, Markdown tables out: do the intervals cover, do the tests keep their level, what do they find?

    python tests/benchmarks/calibration.py            # R = 2000 simulated runs a cell; minutes
    python tests/benchmarks/calibration.py --quick    # R = 100, a smoke test; the figures mean little

Prompts differ from each other and repeats of one prompt depend on each other, as in real runs: each simulated prompt
has its own outputs with its own probabilities, or is deterministic.
"""

from __future__ import annotations

import argparse
import random
import string
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from tempzero import stats
from tempzero.types.concluded import Estimate

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

SIZES = (5, 20, 100)
REGIONS = {"0 to .1": (0.0, 0.1), ".4 to .6": (0.4, 0.6), ".9 to 1": (0.9, 1.0)}
ALPHA = 0.05


def main() -> None:
    """Print every table, or those asked for."""
    sections = (shares, divergences, means, plain_proportions, false_positives, aa_shares, power, detectable)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="R = 100 instead of 2000")
    parser.add_argument("--only", nargs="+", choices=[s.__name__ for s in sections], help="these sections only")
    arguments = parser.parse_args()
    runs = 100 if arguments.quick else 2000
    print(f"R = {runs} simulated runs a cell, alpha = {ALPHA}, nominal coverage 95 %\n")
    for section in sections:
        if arguments.only is None or section.__name__ in arguments.only:
            for line in section(runs):
                print(line, flush=True)
            print(flush=True)


# --- coverage --------------------------------------------------------------------------------


def yes_or_no(rng: np.random.Generator, share: float, prompts: int) -> Floats:
    """Deterministic on both sides: each prompt agrees or does not."""
    return (rng.random(prompts) < share).astype(np.float64)


def beta_binomial(correlation: float, repeats: int) -> Callable[[np.random.Generator, float, int], Floats]:
    """Share of a prompt's repeats; `correlation` between repeats of one prompt."""

    def draw(rng: np.random.Generator, share: float, prompts: int) -> Floats:
        size = 1 / correlation - 1
        chance = rng.beta(max(share * size, 1e-9), max((1 - share) * size, 1e-9), size=prompts)
        return np.asarray(rng.binomial(repeats, chance) / repeats)

    return draw


def spiked_match_rates(repeats: int) -> Callable[[np.random.Generator, float, int], Floats]:
    """Unbiased exact-match rate: half of the prompts at 0 or 1, the others between."""

    def draw(rng: np.random.Generator, share: float, prompts: int) -> Floats:
        between = rng.beta(max(3 * share, 1e-9), max(3 * (1 - share), 1e-9), size=prompts)
        rate = np.where(rng.random(prompts) < 0.5, rng.random(prompts) < share, between)
        same = rng.binomial(repeats, np.sqrt(rate))
        return np.asarray(same * (same - 1) / (repeats * (repeats - 1)))

    return draw


SHARES: dict[str, Callable[[np.random.Generator, float, int], Floats]] = {
    "0 or 1": yes_or_no,
    "beta-binomial, 5 repeats, ICC .5": beta_binomial(0.5, 5),
    "beta-binomial, 10 repeats, ICC .3": beta_binomial(0.3, 10),
    "beta-binomial, 10 repeats, ICC .1": beta_binomial(0.1, 10),
    "EMR, 5 repeats, half at 0 or 1": spiked_match_rates(5),
    "EMR, 10 repeats, half at 0 or 1": spiked_match_rates(10),
}


def shares(runs: int) -> Iterator[str]:
    """Coverage of `share_over_prompts`; the true share is drawn anew from the region in each run."""
    yield "### Coverage of `share_over_prompts`, % (mean width)\n"
    yield from header("values per prompt", [f"{n} prompts, share {r}" for n in SIZES for r in REGIONS])
    rng = np.random.default_rng(11)
    for name, draw in SHARES.items():
        cells = []
        for prompts in SIZES:
            for low, high in REGIONS.values():
                truths = rng.uniform(low, high, size=runs)
                cells.append(coverage([(t, stats.share_over_prompts(draw(rng, t, prompts))) for t in truths]))
        yield row(name, cells)


def excess_divergences(
    rng: np.random.Generator, shares: Floats, prompts: int, *, noisy: float, repeats: int
) -> tuple[Floats, Floats]:
    """The true mean of D of each run, and its values: one row a run, one column a prompt.

    A share of the prompts differs: of those that are deterministic wholly, of the `noisy` ones as far as two
    distributions over two outputs do. On the others both sides have one distribution.
    """
    size = (shares.size, prompts)
    differs, is_noisy = rng.random(size) < shares[:, None], rng.random(size) < noisy
    same = np.where(is_noisy, rng.beta(2, 1, size), 1.0)
    left = np.where(differs, np.where(is_noisy, rng.beta(6, 1, size), 1.0), same)
    right = np.where(differs, np.where(is_noisy, rng.beta(1, 6, size), 0.0), same)
    mean, variance = 6 / 7, 6 / (49 * 8)
    truth = shares * ((1 - noisy) + noisy * ((2 * mean - 1) ** 2 + 2 * variance))
    a, b, n = rng.binomial(repeats, left), rng.binomial(repeats, right), repeats
    own = (a * (a - 1) + (n - a) * (n - a - 1) + b * (b - 1) + (n - b) * (n - b - 1)) / (2 * n * (n - 1))
    return truth, np.asarray(own - (a * b + (n - a) * (n - b)) / n**2)


def divergences(runs: int) -> Iterator[str]:
    """Coverage of the interval of excess divergence; the true share of prompts that differ is drawn anew each time."""
    yield "### Coverage of `divergence_over_prompts`, % (mean width)\n"
    yield from header("noisy prompts, repeats", [f"{n} prompts, share {r}" for n in SIZES for r in REGIONS])
    rng = np.random.default_rng(18)
    for noisy in (0.0, 0.3, 1.0):
        for repeats in (2, 5, 10):
            cells = []
            for prompts in SIZES:
                for low, high in REGIONS.values():
                    shares = rng.uniform(low, high, size=runs)
                    truths, values = excess_divergences(rng, shares, prompts, noisy=noisy, repeats=repeats)
                    estimates = [stats.divergence_over_prompts(v) for v in values]
                    cells.append(coverage(list(zip(truths.tolist(), estimates, strict=True))))
            yield row(f"{noisy:.0%}, {repeats}", cells)


Drawn = tuple[Callable[[int, np.random.Generator], Floats], float, tuple[float, float] | None]
MEANS: dict[str, Drawn] = {
    "normal": (lambda n, rng: rng.normal(1, 1, size=n), 1.0, None),
    "difference of two shares of 5": (
        lambda n, rng: (rng.binomial(5, 0.6, n) - rng.binomial(5, 0.5, n)) / 5,
        0.1,
        None,
    ),
    "lengths: 60 % equal, others ± 100": (
        lambda n, rng: np.where(rng.random(n) < 0.6, 0.0, rng.normal(20, 100, size=n).round()),
        8.0,
        None,
    ),
    "skewed (exponential)": (lambda n, rng: rng.exponential(1, size=n), 1.0, None),
    "one prompt in ten flips": (lambda n, rng: (rng.random(n) < 0.1).astype(np.float64), 0.1, (-1.0, 1.0)),
}


def means(runs: int) -> Iterator[str]:
    """Coverage of `mean_over_prompts`; a run whose values are all equal, without bounds, has no interval to cover."""
    yield "### Coverage of `mean_over_prompts`, % (mean width)\n"
    yield from header("values per prompt", [f"{n} prompts" for n in SIZES])
    rng = np.random.default_rng(12)
    for name, (draw, truth, bounds) in MEANS.items():
        cells = []
        for prompts in SIZES:
            estimates = [stats.mean_over_prompts(draw(prompts, rng), bounds=bounds) for _ in range(runs)]
            cells.append(coverage([(truth, e) for e in estimates if e.low is not None]))
        yield row(name, cells)


def plain_proportions(runs: int) -> Iterator[str]:
    """Coverage of the two intervals for independent units."""
    yield "### Coverage of the intervals for independent units, %\n"
    yield from header("interval", [f"n = {n}, share {r}" for n in SIZES for r in REGIONS])
    rng = np.random.default_rng(13)
    for interval in (stats.wilson_proportion, stats.exact_proportion):
        cells = []
        for n in SIZES:
            for low, high in REGIONS.values():
                truths = rng.uniform(low, high, size=runs)
                cells.append(coverage([(t, interval(int(rng.binomial(n, t)), n)) for t in truths]))
        yield row(f"`{interval.__name__}`", cells)


def coverage(pairs: Sequence[tuple[float, Estimate]]) -> str:
    """Share of intervals that hold the truth, and their mean width."""
    inside = [e.low <= t <= e.high for t, e in pairs if e.low is not None and e.high is not None]
    widths = [e.high - e.low for _, e in pairs if e.low is not None and e.high is not None]
    return f"{100 * np.mean(inside):.1f} ({np.mean(widths):.3g})" if inside else "-"


# --- false positives -------------------------------------------------------------------------


def mixed_prompts(rng: np.random.Generator, prompts: int) -> Floats:
    """Probabilities of 8 outputs a prompt: a third deterministic, a third nearly so, a third open-ended."""
    kind = rng.integers(3, size=prompts)
    chances = np.stack([rng.dirichlet(np.full(8, (1e-3, 0.1, 1.0)[k])) for k in kind])
    return np.asarray(chances / chances.sum(axis=1, keepdims=True))


def ask(rng: np.random.Generator, chances: Floats, repeats: int) -> Counts:
    """Counts of each prompt's outputs over its repeats: one row a prompt."""
    return np.asarray(rng.multinomial(repeats, chances))


def tables_of(left: Counts, right: Counts) -> list[Counts]:
    """One 2 x K table a prompt."""
    return list(np.stack([left, right], axis=1))


class Texts:
    """A pool of prompts with outputs that leave a common text at some character, and their kernels."""

    def __init__(self, prompts: int, outputs: int, length: int = 200) -> None:
        chance = random.Random(5)
        self.prefix, self.hamming = [], []
        for _ in range(prompts):
            root = "".join(chance.choices(string.ascii_lowercase, k=length))
            pool = [root]
            for _ in range(outputs - 1):
                at = chance.randrange(length)
                pool.append(root[:at] + "".join(chance.choices(string.ascii_lowercase, k=length - at)))
            self.prefix.append(stats.prefix_kernel(pool))
            self.hamming.append(stats.hamming_kernel(pool, length=length))


def seen_only(table: Counts, kernel: Floats) -> tuple[Counts, Floats]:
    """The table and kernel without the outputs that never occurred."""
    seen = table.sum(axis=tuple(range(table.ndim - 1))) > 0
    return table[..., seen], kernel[np.ix_(seen, seen)]


def mmd(tables: Sequence[Counts], kernels: Sequence[Floats], seed: int) -> float:
    """p-value of the MMD test on outputs that occurred."""
    seen = [seen_only(t, k) for t, k in zip(tables, kernels, strict=False)]
    return stats.mmd_permutation([t for t, _ in seen], [k for _, k in seen], seed=seed).p_value


def null_one_hot(rng: np.random.Generator, seed: int, texts: Texts, *, prompts: int, repeats: int) -> float:
    """Excess divergence, two equal sides."""
    chances = mixed_prompts(rng, prompts)
    tables = tables_of(ask(rng, chances, repeats), ask(rng, chances, repeats))
    return stats.one_hot_permutation(tables, seed=seed).p_value


def null_mmd(rng: np.random.Generator, seed: int, texts: Texts, *, kernel: str) -> float:
    """MMD with a kernel over texts, two equal sides of 20 prompts and 5 repeats."""
    chances = mixed_prompts(rng, 20)
    tables = tables_of(ask(rng, chances, 5), ask(rng, chances, 5))
    return mmd(tables, getattr(texts, kernel), seed)


def null_mmd_blocks(rng: np.random.Generator, seed: int, texts: Texts) -> float:
    """Both sides change together half-way, and one of them asks more after it: only blocks keep the level here."""
    before, after = mixed_prompts(rng, 20), mixed_prompts(rng, 20)
    blocks = [
        np.stack([ask(rng, chances, left), ask(rng, chances, right)], axis=1)
        for chances, left, right in ((before, 4, 2), (after, 2, 4))
    ]
    return mmd(list(np.stack(blocks, axis=1)), texts.prefix, seed)


def null_sign_flip(rng: np.random.Generator, seed: int, texts: Texts, *, prompts: int) -> float:
    """Difference of two exact-match rates of equal sides."""
    chances = mixed_prompts(rng, prompts)
    rates = [(c * (c - 1)).sum(axis=1) / 20 for c in (ask(rng, chances, 5), ask(rng, chances, 5))]
    return stats.sign_flip_test(rates[0] - rates[1], seed=seed, permutations=1999).p_value


def null_mcnemar(rng: np.random.Generator, seed: int, texts: Texts) -> float:
    """Flips between two sides that are right with the same chance on each of 100 prompts."""
    chance = rng.beta(0.5, 0.5, size=100)
    left, right = rng.random(100) < chance, rng.random(100) < chance
    return stats.mcnemar_exact(int((left & ~right).sum()), int((right & ~left).sum()))


def null_composite(rng: np.random.Generator, seed: int, texts: Texts) -> float:
    """One side equals the first of three references and differs wholly from the others."""
    chances = mixed_prompts(rng, 20)
    others = [np.roll(chances, shift, axis=1) for shift in (0, 2, 4)]
    side = ask(rng, chances, 5)
    results = [stats.one_hot_permutation(tables_of(side, ask(rng, o, 5)), seed=seed) for o in others]
    return stats.composite_null_test(results).p_value


def null_holm(rng: np.random.Generator, seed: int, texts: Texts) -> float:
    """Smallest corrected p-value over the ten pairs of five equal sides."""
    chances = mixed_prompts(rng, 20)
    sides = [ask(rng, chances, 5) for _ in range(5)]
    pairs = [(a, b) for a in range(5) for b in range(a)]
    tests = [stats.one_hot_permutation(tables_of(sides[a], sides[b]), seed=seed) for a, b in pairs]
    return min(stats.holm([t.p_value for t in tests]))


def false_positives(runs: int) -> Iterator[str]:
    """How often each test rejects where nothing is there to find."""
    yield "### False positives: share of A/A runs with p ≤ .05\n"
    yield from header("test", ["rejected, %", "Wilson 95 %, upper"])
    texts = Texts(20, 8)
    cases: list[tuple[str, Callable[..., float], dict[str, int | str]]] = [
        ("excess divergence, 5 prompts x 5", null_one_hot, {"prompts": 5, "repeats": 5}),
        ("excess divergence, 20 prompts x 5", null_one_hot, {"prompts": 20, "repeats": 5}),
        ("excess divergence, 100 prompts x 3", null_one_hot, {"prompts": 100, "repeats": 3}),
        ("excess divergence, 20 prompts x 30", null_one_hot, {"prompts": 20, "repeats": 30}),
        ("the same, Holm over 10 pairs", null_holm, {}),
        ("the same, differs from each of 3", null_composite, {}),
        ("MMD², prefix kernel", null_mmd, {"kernel": "prefix"}),
        ("MMD², Hamming kernel", null_mmd, {"kernel": "hamming"}),
        ("MMD², prefix kernel, time blocks", null_mmd_blocks, {}),
        ("sign-flip, 20 prompts", null_sign_flip, {"prompts": 20}),
        ("sign-flip, 100 prompts", null_sign_flip, {"prompts": 100}),
        ("McNemar, 100 prompts", null_mcnemar, {}),
    ]
    for index, (name, draw, options) in enumerate(cases):
        rng = np.random.default_rng([14, index])
        hits = sum(draw(rng, seed, texts, **options) <= ALPHA for seed in range(runs))
        yield row(name, rates(hits, runs))


def aa_shares(runs: int) -> Iterator[str]:
    """What `aa_splits` says of sides of several shapes."""
    yield "### `aa_splits` on one side's repeats\n"
    yield from header("shape", ["rejected, %", "exact 95 %, upper"])
    for prompts, repeats in ((5, 10), (20, 10), (100, 6), (30, 30)):
        rng = np.random.default_rng([15, prompts])
        estimate = stats.aa_rejection_rate(list(ask(rng, mixed_prompts(rng, prompts), repeats)), splits=runs)
        yield row(f"{prompts} prompts x {repeats}", [percent(estimate.value), percent(estimate.high)])


# --- power -----------------------------------------------------------------------------------


OUTPUTS = 203
# Own EMR .4, cross-EMR .2: one output shared at .447, one of each side's own at .447, and a tail of rare ones.
TAIL = np.full(OUTPUTS - 3, (1 - 2 * 0.2**0.5) / (OUTPUTS - 3))
STRONG = (np.r_[0.2**0.5, 0.2**0.5, 0.0, TAIL], np.r_[0.0, 0.2**0.5, 0.2**0.5, TAIL])
# Own EMR .91 and .68, cross-EMR .77: the rarer of two outputs becomes more frequent.
WEAK = (np.r_[0.95, 0.05, np.zeros(OUTPUTS - 2)], np.r_[0.8, 0.2, np.zeros(OUTPUTS - 2)])
DESIGNS = (
    (1, 10),
    (1, 30),
    (1, 60),
    (3, 5),
    (3, 10),
    (3, 20),
    (6, 5),
    (6, 10),
    (12, 3),
    (12, 5),
    (20, 2),
    (20, 3),
    (30, 2),
)


def power(runs: int) -> Iterator[str]:
    """How often a real difference is found, beside MMD with the Hamming kernel over the texts."""
    texts = Texts(30, OUTPUTS)
    for name, sides in (("own EMR .4 and .4, cross-EMR .2", STRONG), ("own EMR .91 and .68, cross-EMR .77", WEAK)):
        yield f"### Power, %, at α = .05: {name}\n"
        yield from header("prompts x repeats", ["calls a side", "excess divergence", "MMD², Hamming"])
        for prompts, repeats in DESIGNS:
            rng = np.random.default_rng([16, prompts, repeats])
            found = np.zeros(2)
            for seed in range(runs):
                found += np.array(p_values(rng, sides, prompts, repeats, texts, seed)) <= ALPHA
            yield row(f"{prompts} x {repeats}", [str(prompts * repeats), *(percent(f / runs) for f in found)])
        yield ""


def p_values(
    rng: np.random.Generator, sides: tuple[Floats, Floats], prompts: int, repeats: int, texts: Texts, seed: int
) -> tuple[float, float]:
    """The same simulated answers under three tests; which texts the outputs are is drawn anew for each prompt."""
    tables = []
    for _ in range(prompts):
        order = rng.permutation(OUTPUTS)
        tables.append(np.stack([ask(rng, sides[0], repeats)[order], ask(rng, sides[1], repeats)[order]]))
    one_hot = stats.one_hot_permutation([t[:, t.sum(axis=0) > 0] for t in tables], seed=seed).p_value
    return one_hot, mmd(tables, texts.hamming, seed)


def detectable(runs: int) -> Iterator[str]:
    """Is an effect of the announced smallest size found four times out of five?"""
    yield "### Power, %, at the effect announced as the smallest detectable (.8 intended)\n"
    yield from header("test", ["power, %"])
    rng = np.random.default_rng(17)
    for prompts in SIZES[1:]:
        planned = [stats.minimum_detectable_effect(rng.normal(size=prompts)) or 0.0 for _ in range(200)]
        shift = float(np.mean(planned))
        found = sum(
            stats.sign_flip_test(rng.normal(shift, 1, size=prompts), seed=s, permutations=999).p_value <= ALPHA
            for s in range(runs)
        )
        yield row(f"sign-flip, {prompts} prompts", [percent(found / runs)])
    for prompts, repeats in ((20, 5), (100, 5), (100, 10)):
        yield row(f"excess divergence, {prompts} x {repeats}", [percent(divergence_power(rng, prompts, repeats, runs))])


def divergence_power(rng: np.random.Generator, prompts: int, repeats: int, runs: int) -> float:
    """Two outputs at .5 on the left; on the right the shift whose D = shift² is the announced one."""
    even = np.full((prompts, 2), 0.5)
    planned = [
        stats.minimum_detectable_divergence(tables_of(ask(rng, even, repeats), ask(rng, even, repeats))) or 0.0
        for _ in range(50)
    ]
    shifted = even + np.array([1, -1]) * min(0.5, np.mean(planned) ** 0.5)
    found = sum(
        stats.one_hot_permutation(tables_of(ask(rng, even, repeats), ask(rng, shifted, repeats)), seed=s).p_value
        <= ALPHA
        for s in range(runs)
    )
    return found / runs


# --- tables ----------------------------------------------------------------------------------


def header(first: str, columns: Sequence[str]) -> Iterator[str]:
    """Head of a Markdown table."""
    yield row(first, columns)
    yield "|---" + "|--:" * len(columns) + "|"


def row(first: str, cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join([first, *cells]) + " |"


def rates(hits: int, runs: int) -> list[str]:
    """Share rejected and the upper limit of its Wilson interval."""
    estimate = stats.wilson_proportion(hits, runs)
    return [percent(estimate.value), percent(estimate.high)]


def percent(share: float | None) -> str:
    """One decimal; a dash for nothing."""
    return "-" if share is None else f"{100 * share:.1f}"


if __name__ == "__main__":
    main()
