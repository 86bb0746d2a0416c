"""How often the nightly alarm is false and how soon it is right, by simulation; naive rules on the same nights.

Run `python tests/benchmarks/nightly.py --years 100`. A year is 365 nights x 20 endpoints: five each whose own EMR is
about 1.0, .9, .6 and .2, 20 prompts x 3 repeats a night. The share of each prompt's commonest text moves from night
to night (standard deviation `--variation` on the logit scale, one draw for the endpoint and one for each prompt);
on 5 % of nights an endpoint is down, on another 5 % a third of its calls is lost. After an alarm the evidence starts
anew, as after an acknowledged change.

Tests of which both statistics lie less than 1.65 standard deviations above what is tolerated are not computed; they
get half the p-value of a normal distribution, at least .1: alarms are counted rather too many than too few.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from harness import stats
from harness.stats.drift import KAPPAS

PROMPTS, REPEATS, NIGHTS, ENDPOINTS_OF_A_KIND = 20, 3, 365, 5
# own EMR: texts a prompt has, and the share of the commonest one
KINDS = {1.0: (1, 1.0), 0.9: (3, 0.948), 0.6: (5, 0.757), 0.2: (8, 0.333)}
SCREEN, DEVIATIONS = 0.1, 1.65
Array = np.ndarray[Any, Any]


@dataclass
class World:
    """`size` endpoints of one kind: what they answer tonight."""

    size: int
    own: float
    variation: float
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.texts, share = KINDS[self.own]
        spread = self.rng.normal(0, 0.4, (self.size, PROMPTS)) if self.own < 1 else 0.0
        self.logit = math.log(share / (1 - share)) + spread if share < 1 else np.full((self.size, PROMPTS), 99.0)

    def night(self, changed: Array | None = None) -> Array:
        """Counts of each text, size x prompts x (twice the texts); where `changed`, only new texts come."""
        noise = self.rng.normal(0, self.variation, (self.size, 1)) + self.rng.normal(
            0, self.variation, (self.size, PROMPTS)
        )
        top = 1 / (1 + np.exp(-(self.logit + (noise if self.own < 1 else 0))))
        rest = (1 - top) / max(1, self.texts - 1)
        shares = np.repeat(rest[..., None], self.texts, axis=2)
        shares[..., 0] = top if self.texts > 1 else 1.0
        calls = np.full((self.size, PROMPTS), REPEATS)
        lossy = self.rng.random((self.size, 1)) < 0.05
        calls -= self.rng.binomial(calls, 1 / 3) * lossy
        down = self.rng.random((self.size, 1)) < 0.05
        calls = np.where(down, 0, calls)
        counts = self.rng.multinomial(calls, shares)
        both = np.zeros((self.size, PROMPTS, 2 * self.texts), dtype=np.int64)
        both[..., : self.texts] = counts
        if changed is not None:
            both[changed] = np.roll(both[changed], self.texts, axis=1)
        return both


def p_values(tonight: Array, pool: Array, tolerance: float) -> Array:
    """One p-value an endpoint, NaN where there is no data."""
    n, m = tonight.sum(axis=2), pool.sum(axis=2)
    usable = (n >= 2) & (m >= 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        own_n = (tonight * (tonight - 1)).sum(axis=2) / (n * (n - 1))
        own_m = (pool * (pool - 1)).sum(axis=2) / (m * (m - 1))
        cross = (tonight * pool).sum(axis=2) / (n * m)
        both = tonight + pool
        total = both.sum(axis=2)
        own = (both * (both - 1)).sum(axis=2) / (total * (total - 1))
        q = both / total[..., None]
        s2, s3 = (q**2).sum(axis=2), (q**3).sum(axis=2)
        # The null variance of a degenerate U-statistic of order two.
        variance = (s2 - 2 * s3 + s2**2) / 2 * (1 / (n * (n - 1)) + 1 / (m * (m - 1)) + 2 / (n * m))
    excess = np.where(usable, (own_n + own_m) / 2 - cross, 0).sum(axis=1)
    allowed = tolerance * np.where(usable, own, 0).sum(axis=1)
    deviation = np.sqrt(np.where(usable, np.maximum(variance, 0), 0).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        loss_variance = (s3 - s2**2) * (1 / n + 1 / m)
    lost = np.where(usable, own * 2 / 3 - cross, 0).sum(axis=1)
    of_loss = np.sqrt(np.where(usable, np.maximum(loss_variance, 0), 0).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.fmax((excess - allowed) / deviation, lost / of_loss)
    found = np.where(usable.any(axis=1), np.maximum(SCREEN, special.ndtr(-np.nan_to_num(z))), np.nan)
    found[(deviation == 0) & usable.any(axis=1)] = 1.0
    close = (excess - allowed > DEVIATIONS * deviation) | (lost > DEVIATIONS * of_loss)
    for index in np.flatnonzero((deviation > 0) & close):
        tables = [np.stack([tonight[index, j], pool[index, j]]) for j in range(PROMPTS)]
        tables = [t[:, t.sum(axis=0) > 0] for t in tables]
        found[index] = stats.drift_test(tables, tolerance=tolerance).p_value
    return found


def step(bets: Array, p: Array) -> Array:
    """The e-detectors of all endpoints, one night on; nights without data leave them as they are."""
    kappa = np.array(KAPPAS)[:, None]
    known = np.maximum(np.where(np.isnan(p), 1, p), 1e-12)
    after = np.minimum((bets + 1) * kappa * known ** (kappa - 1), 1e300)
    return np.where(np.isnan(p), bets, after)


def null_year(world: World, runs_in_baseline: int, tolerance: float, alarm: float) -> dict[str, float]:
    """False alarms a year and endpoint, by rule."""
    baseline = sum((world.night() for _ in range(runs_in_baseline)), np.int64(0))
    pool, bets = baseline.copy(), np.zeros((len(KAPPAS), world.size))
    alarms = sigma = cusum_alarms = nights = naive = naive_nights = 0
    matches: list[Array] = []
    cusum = np.zeros(world.size)
    for _ in range(NIGHTS):
        tonight = world.night()
        p = p_values(tonight, pool, tolerance)
        bets = step(bets, p)
        over = bets.mean(axis=0) >= alarm
        alarms += int(over.sum())
        bets[:, over] = 0
        nights += int((~np.isnan(p)).sum())
        match = match_to(tonight, baseline)
        sigma += int(two_sigma(match, matches).sum())
        cusum, hits = page_cusum(cusum, match, matches)
        cusum_alarms += hits
        matches.append(match)
        hit, tried = plain_test(tonight, baseline, world.rng)
        naive, naive_nights = naive + hit, naive_nights + tried
        pool += tonight
    years = world.size
    return {
        "e-detector": alarms / years,
        "alpha .05 nightly": naive / max(1, naive_nights) * nights / years,
        "2 sigma over 7 nights": sigma / years,
        "CUSUM of the match": cusum_alarms / years,
    }


def match_to(tonight: Array, baseline: Array) -> Array:
    n, m = tonight.sum(axis=2), baseline.sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        cross = (tonight * baseline).sum(axis=2) / (n * m)
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
    return (known >= 3) & (match < mean - 2 * spread - 1e-12)


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


def plain_test(tonight: Array, baseline: Array, rng: np.random.Generator) -> tuple[int, int]:
    """Tonight against the baseline at .05 (199 relabellings), of the first few endpoints: it is slow."""
    hits = tried = 0
    for index in range(min(4, len(tonight))):
        if rng.random() > 0.2 or tonight[index].sum() == 0:
            continue
        tables = [np.stack([tonight[index, j], baseline[index, j]]) for j in range(PROMPTS)]
        test = stats.one_hot_permutation(tables, permutations=199, seed=int(rng.integers(1 << 30)))
        hits, tried = hits + (test.p_value <= 0.05), tried + 1
    return hits, tried


def detection(
    world: World, before: int, runs_in_baseline: int, share: float, tolerance: float, alarm: float
) -> tuple[Array, Array]:
    """Nights with data until the alarm (99: not in four), and until the 2 sigma rule, after `before` quiet nights."""
    baseline = sum((world.night() for _ in range(runs_in_baseline)), np.int64(0))
    pool, bets = baseline.copy(), np.zeros((len(KAPPAS), world.size))
    matches: list[Array] = []
    for _ in range(before):
        tonight = world.night()
        bets = step(bets, p_values(tonight, pool, tolerance))
        bets[:, bets.mean(axis=0) >= alarm] = 0
        matches.append(match_to(tonight, baseline))
        pool += tonight
    order = world.rng.random((world.size, PROMPTS)).argsort(axis=1)
    changed = order < round(share * PROMPTS)
    found, naive, seen = (np.full(world.size, 99), np.full(world.size, 99), np.zeros(world.size, dtype=int))
    for _ in range(4):
        tonight = world.night(changed)
        p = p_values(tonight, pool, tolerance)
        seen += ~np.isnan(p)
        bets = step(bets, p)
        found = np.where((bets.mean(axis=0) >= alarm) & (found == 99), seen, found)
        match = match_to(tonight, baseline)
        naive = np.where(two_sigma(match, matches) & (naive == 99), seen, naive)
        matches.append(match)
        pool += tonight
    return found, naive


def own_agreement(world: World) -> float:
    """The kind's EMR as it comes out, variation included."""
    values = []
    for _ in range(20):
        night = world.night()
        n = night.sum(axis=2)
        full = n >= 2
        values.append(((night * (night - 1)).sum(axis=2)[full] / (n * (n - 1))[full]).mean())
    return float(np.mean(values))


def report(arguments: argparse.Namespace) -> Iterator[str]:
    rng = np.random.default_rng(arguments.seed)
    alarm = stats.threshold(arguments.budget)
    size = ENDPOINTS_OF_A_KIND * arguments.years
    yield f"{arguments.years} years, variation {arguments.variation}, tolerance {arguments.tolerance}, alarm {alarm:g}"
    yield "own EMR | false alarms a year and endpoint: " + "e-detector, alpha .05 nightly, 2 sigma, CUSUM"
    for own in KINDS:
        world = World(size, own, arguments.variation, rng)
        rates = null_year(world, arguments.baseline, arguments.tolerance, alarm)
        yield f"{own} ({own_agreement(world):.2f}) | " + ", ".join(f"{r:.4f}" for r in rates.values())
    yield "own EMR | change | nights before | first night, within 3 (e-detector; 2 sigma)"
    for own in KINDS:
        for name, share in (("swap", 1.0), ("half", 0.5)):
            for before in (0, 30):
                world = World(arguments.changes, own, arguments.variation, rng)
                found, naive = detection(world, before, arguments.baseline, share, arguments.tolerance, alarm)
                rates2 = [float(np.mean(r <= k)) for r in (found, naive) for k in (1, 3)]
                yield f"{own} | {name} | {before} | {rates2[0]:.4f}, {rates2[1]:.4f}; {rates2[2]:.3f}, {rates2[3]:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=2)
    parser.add_argument("--changes", type=int, default=500, help="simulated changes of each kind")
    parser.add_argument("--baseline", type=int, default=3, help="runs pooled into the baseline")
    parser.add_argument("--variation", type=float, default=0.3)
    parser.add_argument("--tolerance", type=float, default=0.05)
    parser.add_argument("--budget", type=float, default=0.1, help="false alarms a year and endpoint")
    parser.add_argument("--seed", type=int, default=1)
    began = time.monotonic()
    for line in report(parser.parse_args()):
        print(line, f"[{time.monotonic() - began:.0f} s]", flush=True)


if __name__ == "__main__":
    main()
