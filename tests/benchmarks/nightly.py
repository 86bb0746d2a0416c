"""How often the nightly alarm is false and how soon it is right, by simulation; naive rules on the same nights.

Run `python tests/benchmarks/nightly.py --years 100`. A year is 365 nights x 20 endpoints: four of each kind, 20
prompts x 3 repeats a night. Kinds are named by their own EMR; `.2 unique` gives one text often and else one that never
comes again, as long free texts do. The share of each prompt's commonest text moves from night to night (standard
deviation `--variation` on the logit scale, one draw for the endpoint and one for each prompt); on 5 % of nights an
endpoint is down, on another 5 % a third of its calls is lost. After an alarm the evidence starts anew, as after an
acknowledged change.

Changes: `swap` (another model: only new texts), `half` (new texts on half of the prompts) and `mixed` (half of all
answers are new); the last two halve the cross-EMR. p-values are those of `stats.drift_test`. Only where novelty is
below what is tolerated on average, and D less than 2 standard deviations above (3 for windows), they are not
computed; such tests get half the p-value that a normal distribution would give: alarms are counted
rather too many than too few.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special
from tempzero import stats
from tempzero.stats.drift import KAPPAS, SHARE_OF_WINDOWS, WINDOWS, tolerated_novelty

PROMPTS, REPEATS, NIGHTS, ENDPOINTS_OF_A_KIND = 20, 3, 365, 4
# own EMR -> texts that come again, the share of the commonest one, and whether all others come once only
KINDS = {
    "1.0": (1, 1.0, False),
    "0.9": (3, 0.948, False),
    "0.6": (5, 0.757, False),
    "0.2": (8, 0.333, False),
    "0.2 unique": (1, 0.44, True),
}
DEVIATIONS, OF_WINDOWS = 2.0, 3.0
Array = np.ndarray[Any, Any]


@dataclass
class Answers:
    """Counts of the texts that come again, size x prompts x texts, and of those that come once only."""

    texts: Array
    once: Array

    def __add__(self, other: Answers) -> Answers:
        return Answers(self.texts + other.texts, self.once + other.once)

    def __sub__(self, other: Answers) -> Answers:
        return Answers(self.texts - other.texts, self.once - other.once)

    @property
    def number(self) -> Array:
        return np.asarray(self.texts.sum(axis=2) + self.once)

    def where(self, rows: Array, other: Answers) -> Answers:
        """These where `rows`, else the other's."""
        return Answers(
            np.where(rows[:, None, None], self.texts, other.texts), np.where(rows[:, None], self.once, other.once)
        )


@dataclass
class World:
    """`size` endpoints of one kind: what they answer tonight."""

    size: int
    kind: str
    variation: float
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.texts, share, self.unique = KINDS[self.kind]
        self.steady = share == 1
        spread = 0.0 if self.steady else self.rng.normal(0, 0.4, (self.size, PROMPTS))
        self.logit = np.full((self.size, PROMPTS), 99.0 if self.steady else math.log(share / (1 - share))) + spread

    def night(self, changed: Array | None = None, mixed: float = 0.0) -> Answers:
        """Tonight's answers; where `changed`, or with a chance of `mixed`, they are new texts."""
        noise = self.rng.normal(0, self.variation, (self.size, 1)) + self.rng.normal(
            0, self.variation, (self.size, PROMPTS)
        )
        top = 1 / (1 + np.exp(-(self.logit + (0 if self.steady else noise))))
        columns = self.texts + self.unique
        shares = np.repeat(((1 - top) / max(1, columns - 1))[..., None], columns, axis=2)
        shares[..., 0] = top if columns > 1 else 1.0
        calls = np.full((self.size, PROMPTS), REPEATS)
        lossy = self.rng.random((self.size, 1)) < 0.05
        calls -= self.rng.binomial(calls, 1 / 3) * lossy
        down = self.rng.random((self.size, 1)) < 0.05
        counts = self.rng.multinomial(np.where(down, 0, calls), shares)
        both = np.zeros((self.size, PROMPTS, 2 * self.texts), dtype=np.int64)
        both[..., : self.texts] = counts[..., : self.texts]
        if changed is not None:
            both[changed] = np.roll(both[changed], self.texts, axis=1)
        if mixed:
            moved = self.rng.binomial(both[..., : self.texts], mixed)
            both[..., : self.texts] -= moved
            both[..., self.texts :] += moved
        return Answers(both, counts[..., -1] if self.unique else np.zeros_like(calls))


def p_values(tonight: Answers, pool: Answers, tolerance: float, deviations: float, asked: Array | None = None) -> Array:
    """One p-value an endpoint, NaN where there is no data; 1 where it is not `asked`."""
    n, m = tonight.number, pool.number
    usable = (n >= 2) & (m >= 2)
    both = tonight + pool
    total = np.maximum(both.number, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        own_n = (tonight.texts * (tonight.texts - 1)).sum(axis=2) / (n * (n - 1))
        own_m = (pool.texts * (pool.texts - 1)).sum(axis=2) / (m * (m - 1))
        cross = (tonight.texts * pool.texts).sum(axis=2) / (n * m)
        own = (both.texts * (both.texts - 1)).sum(axis=2) / (total * (total - 1))
        q = both.texts / total[..., None]
        s2, s3 = (q**2).sum(axis=2) + both.once / total**2, (q**3).sum(axis=2) + both.once / total**3
        # The null variance of a degenerate U-statistic of order two.
        variance = (s2 - 2 * s3 + s2**2) / 2 * (1 / (n * (n - 1)) + 1 / (m * (m - 1)) + 2 / (n * m))
    excess = np.where(usable, (own_n + own_m) / 2 - cross, 0).sum(axis=1)
    allowed = tolerance * np.where(usable, own, 0).sum(axis=1)
    deviation = np.sqrt(np.where(usable, np.maximum(variance, 0), 0).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (excess - allowed) / deviation
        new, usual = novelty(tonight, pool)
    with np.errstate(invalid="ignore"):
        commonest = np.maximum(both.texts.max(axis=2), both.once > 0) / total
        surprising = np.where(usable, new - usual - tolerated_novelty(usual, commonest, tolerance), 0).sum(axis=1)
    found = np.where(usable.any(axis=1), special.ndtr(-np.nan_to_num(z)), np.nan)
    found[(deviation == 0) & usable.any(axis=1)] = 1.0
    close = (excess - allowed > deviations * deviation) | (surprising > 0)
    close &= deviation > 0
    if asked is not None:
        found = np.where(asked | np.isnan(found), found, 1.0)
        close &= asked
    for index in np.flatnonzero(close):
        found[index] = stats.drift_test(tables(tonight, pool, int(index)), tolerance=tolerance).p_value
    return found


def novelty(tonight: Answers, pool: Answers) -> tuple[Array, Array]:
    """Share of tonight's answers that equal none before, and its mean when labels mean nothing."""
    n, total = tonight.number, tonight.number + pool.number
    counts = tonight.texts + pool.texts
    rare = (counts > 0) & (counts <= n[..., None])
    chances = np.zeros(counts.shape)
    left, all_of = np.broadcast_to(n[..., None], counts.shape), np.broadcast_to(total[..., None], counts.shape)
    chances[rare] = special.comb(left[rare], counts[rare]) / special.comb(all_of[rare], counts[rare])
    usual = (counts * chances).sum(axis=2) / n + (tonight.once + pool.once) / total
    return (np.where(pool.texts == 0, tonight.texts, 0).sum(axis=2) + tonight.once) / n, usual


def tables(tonight: Answers, pool: Answers, index: int) -> list[Array]:
    """One endpoint's 2 x K tables."""
    found = []
    for j in range(PROMPTS):
        shared = np.stack([tonight.texts[index, j], pool.texts[index, j]])
        ours, theirs = int(tonight.once[index, j]), int(pool.once[index, j])
        once = np.repeat(np.eye(2, dtype=np.int64), [ours, theirs], axis=1)
        found.append(np.hstack([shared[:, shared.sum(axis=0) > 0], once]))
    return found


class Watch:
    """The shipped rule for many endpoints at once: their pools, last nights and e-detectors."""

    def __init__(self, baseline: Answers, tolerance: float, alarm: float) -> None:
        self.pool = baseline
        self.size = len(baseline.once)
        self.last = [baseline - baseline for _ in WINDOWS]
        self.nights = np.zeros(self.size, dtype=int)
        self.bets = np.zeros((len(KAPPAS), self.size))
        self.tolerance, self.alarm = tolerance, alarm

    def after(self, tonight: Answers, watched: Array | None = None) -> tuple[Array, Array]:
        """Who has data tonight, and who alarms (of those `watched`); evidence that alarmed starts anew."""
        p = p_values(tonight, self.pool, self.tolerance, DEVIATIONS, watched)
        known = ~np.isnan(p)
        self.bets = np.where(known, np.minimum((self.bets + 1) * e_values(p), 1e300), self.bets)
        self.nights += known
        value = (1 - SHARE_OF_WINDOWS) * self.bets.mean(axis=0)
        window, before = tonight, self.pool
        for nights in range(2, max(WINDOWS) + 1):
            window, before = window + self.last[nights - 2], before - self.last[nights - 2]
            if nights in WINDOWS:
                asked = known & (self.nights >= nights) & (value < self.alarm) & (True if watched is None else watched)
                p = p_values(window, before, self.tolerance, OF_WINDOWS, asked)
                value += np.where(asked, e_values(p).mean(axis=0), 0) * SHARE_OF_WINDOWS / len(WINDOWS)
        self.last = [tonight.where(known, self.last[0]), self.last[0].where(known, self.last[1])]
        self.pool = self.pool + tonight
        over = known & (value >= self.alarm)
        self.bets[:, over] = 0
        self.nights[over] = 0
        return known, over


def e_values(p: Array) -> Array:
    kappa = np.array(KAPPAS)[:, None]
    known = np.maximum(np.where(np.isnan(p), 1, p), 1e-12)
    return np.asarray(kappa * known ** (kappa - 1))


def baseline_of(world: World, runs: int) -> Answers:
    found = world.night()
    for _ in range(runs - 1):
        found = found + world.night()
    return found


def null_year(world: World, runs_in_baseline: int, tolerance: float, alarm: float) -> dict[str, float]:
    """False alarms a year and endpoint, by rule."""
    baseline = baseline_of(world, runs_in_baseline)
    watch = Watch(baseline, tolerance, alarm)
    alarms = sigma = cusum_alarms = nights = naive = naive_nights = 0
    matches: list[Array] = []
    cusum = np.zeros(world.size)
    for _ in range(NIGHTS):
        tonight = world.night()
        known, over = watch.after(tonight)
        alarms += int(over.sum())
        nights += int(known.sum())
        match = match_to(tonight, baseline)
        sigma += int(two_sigma(match, matches).sum())
        cusum, hits = page_cusum(cusum, match, matches)
        cusum_alarms += hits
        matches.append(match)
        hit, tried = plain_test(tonight, baseline, world.rng)
        naive, naive_nights = naive + hit, naive_nights + tried
    years = world.size
    return {
        "e-detector": alarms / years,
        "alpha .05 nightly": naive / max(1, naive_nights) * nights / years,
        "2 sigma over 7 nights": sigma / years,
        "CUSUM of the match": cusum_alarms / years,
    }


def match_to(tonight: Answers, baseline: Answers) -> Array:
    n, m = tonight.number, baseline.number
    with np.errstate(divide="ignore", invalid="ignore"):
        cross = (tonight.texts * baseline.texts).sum(axis=2) / (n * m)
    rows = np.where((n > 0) & (m > 0), cross, np.nan)
    answered = (~np.isnan(rows)).sum(axis=1)
    return np.where(answered > 0, np.nansum(rows, axis=1) / np.maximum(answered, 1), np.nan)


def two_sigma(match: Array, before: list[Array]) -> Array:
    """Lower than the mean of the last seven nights by more than two of their standard deviations."""
    if len(before) < 7:
        return np.zeros(match.size, dtype=bool)
    last = np.stack(before[-7:])
    known = (~np.isnan(last)).sum(axis=0)
    mean = np.nansum(last, axis=0) / np.maximum(known, 1)
    spread = np.sqrt(np.nansum((last - mean) ** 2, axis=0) / np.maximum(known - 1, 1))
    return np.asarray((known >= 3) & (match < mean - 2 * spread - 1e-12))


def page_cusum(cusum: Array, match: Array, before: list[Array]) -> tuple[Array, int]:
    """Page's rule with k = 1/2, h = 5 on the match, standardised by the first 30 nights."""
    if len(before) < 30:
        return cusum, 0
    first = np.stack(before[:30])
    known = (~np.isnan(first)).sum(axis=0)
    known = np.maximum(known, 2)
    mean = np.nansum(first, axis=0) / known
    spread = np.maximum(np.sqrt(np.nansum((first - mean) ** 2, axis=0) / (known - 1)), 1e-6)
    cusum = np.where(np.isnan(match), cusum, np.maximum(0, cusum + (mean - match) / spread - 0.5))
    over = cusum > 5
    return np.where(over, 0, cusum), int(over.sum())


def plain_test(tonight: Answers, baseline: Answers, rng: np.random.Generator) -> tuple[int, int]:
    """Tonight against the baseline at .05 (199 relabellings), of the first few endpoints: it is slow."""
    hits = tried = 0
    for index in range(min(4, len(tonight.once))):
        if rng.random() > 0.2 or tonight.number[index].sum() == 0:
            continue
        compared = tables(tonight, baseline, index)
        test = stats.one_hot_permutation(compared, permutations=199, seed=int(rng.integers(1 << 30)))
        hits, tried = hits + (test.p_value <= 0.05), tried + 1
    return hits, tried


CHANGES = ("swap", "half", "mixed")


def detection(
    world: World, change: str, before: int, runs_in_baseline: int, tolerance: float, alarm: float
) -> tuple[Array, Array]:
    """Nights with data until the alarm (99: not in four), and until the 2 sigma rule, after `before` quiet nights."""
    baseline = baseline_of(world, runs_in_baseline)
    watch = Watch(baseline, tolerance, alarm)
    matches: list[Array] = []
    for _ in range(before):
        tonight = world.night()
        watch.after(tonight)
        matches.append(match_to(tonight, baseline))
    order = world.rng.random((world.size, PROMPTS)).argsort(axis=1)
    changed = order < {"swap": PROMPTS, "half": PROMPTS // 2, "mixed": 0}[change]
    found, naive, seen = (np.full(world.size, 99), np.full(world.size, 99), np.zeros(world.size, dtype=int))
    for _ in range(4):
        tonight = world.night(changed, 0.5 if change == "mixed" else 0.0)
        known, over = watch.after(tonight, found == 99)
        seen += known
        found = np.where(over & (found == 99), seen, found)
        match = match_to(tonight, baseline)
        naive = np.where(two_sigma(match, matches) & (naive == 99), seen, naive)
        matches.append(match)
    return found, naive


def own_agreement(world: World) -> float:
    """The kind's EMR as it comes out, variation included."""
    values = []
    for _ in range(20):
        night = world.night()
        n = night.number
        full = n >= 2
        values.append(((night.texts * (night.texts - 1)).sum(axis=2)[full] / (n * (n - 1))[full]).mean())
    return float(np.mean(values))


def report(arguments: argparse.Namespace) -> Iterator[str]:
    rng = np.random.default_rng(arguments.seed)
    alarm = stats.alarm_threshold(arguments.budget)
    tolerance, kinds = arguments.tolerance, arguments.kinds.split(",") if arguments.kinds else KINDS
    size = ENDPOINTS_OF_A_KIND * arguments.years
    yield (
        f"seed {arguments.seed}, {arguments.years} years, variation {arguments.variation}, tolerance {tolerance}, "
        f"alarm {alarm:g}"
    )
    yield "own EMR | false alarms a year and endpoint: " + "e-detector, alpha .05 nightly, 2 sigma, CUSUM"
    for kind in kinds if size else ():
        world = World(size, kind, arguments.variation, rng)
        rates = null_year(world, arguments.baseline, tolerance, alarm)
        yield f"{kind} ({own_agreement(world):.2f}) | " + ", ".join(f"{r:.4f}" for r in rates.values())
    yield "own EMR | change | runs in the baseline, nights before | within 1, 2, 3 nights (2 sigma within 1, 3)"
    for kind in kinds if arguments.changes else ():
        for change in CHANGES:
            for runs, before in history_of(arguments):
                world = World(arguments.changes, kind, arguments.variation, rng)
                found, naive = detection(world, change, before, runs, tolerance, alarm)
                rates2 = [f"{np.mean(found <= k):.4f}" for k in (1, 2, 3)]
                naive2 = [f"{np.mean(naive <= k):.3f}" for k in (1, 3)]
                yield f"{kind} | {change} | {runs}, {before} | {', '.join(rates2)} ({', '.join(naive2)})"


def history_of(arguments: argparse.Namespace) -> Sequence[tuple[int, int]]:
    """Runs in the baseline and nights after it: straight after, with a larger baseline, and a month later."""
    return ((arguments.baseline, 0), (2 * arguments.baseline, 0), (arguments.baseline, 30))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=2)
    parser.add_argument("--changes", type=int, default=500, help="simulated changes of each kind")
    parser.add_argument("--baseline", type=int, default=3, help="runs pooled into the baseline")
    parser.add_argument("--variation", type=float, default=0.3)
    parser.add_argument("--tolerance", type=float, default=0.05)
    parser.add_argument("--budget", type=float, default=0.1, help="false alarms a year and endpoint")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default="", help="only these, comma-separated")
    began = time.monotonic()
    for line in report(parser.parse_args()):
        print(line, f"[{time.monotonic() - began:.0f} s]", flush=True)


if __name__ == "__main__":
    main()
