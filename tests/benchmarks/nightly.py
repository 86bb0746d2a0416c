"""How often a nightly alarm is false, how soon it is right, how often a change is cleared falsely: by simulation.

    python tests/benchmarks/nightly.py false --years 400 --kinds 0.9 --variation .5
    python tests/benchmarks/nightly.py power --changes 400
    python tests/benchmarks/nightly.py after --changes 400
    python tests/benchmarks/nightly.py moods --years 12
    python tests/benchmarks/nightly.py check          # the simulation's arithmetic against the shipped decision

An endpoint answers 20 prompts 3 times a night. Kinds are named by their own EMR; `0.2 unique` gives one text often and
else one that never comes again, as long free texts do. The share of each prompt's commonest text moves from night to
night (standard deviation `--variation` on the logit scale, one draw for the endpoint and one for each prompt); on 5 %
of nights an endpoint is down, on another 5 % a third of its calls is lost. Pools, windows, evidence and the all-clear
are `tempzero.stats`; `moods` and `check` run `decide_tonight` itself. The exact test of tonight alone is left out where
neither of its statistics is near what an alarm takes: it then counts with its usual value, 1.

Changes: `swap` (another model: only new texts), `half` (new texts on half of the prompts), `tenth` (a tenth of all
answers new, for good), `one` and `two` (so many of the 20 prompts changed for good), `creep` (one more every 5 nights).
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
from tempzero import stats
from tempzero.config import Gates, Nightly
from tempzero.nightly import history
from tempzero.nightly.history import Baseline, Night, NightEntry, Side, Tonight, decide_tonight, gather_past_nights
from tempzero.nightly.history.deciding import CLEARING_SPANS, FORBIDDING
from tempzero.nightly.history.known_states import FULL, HOLD
from tempzero.stats.drift import tolerated_novelty

PROMPTS, REPEATS, NIGHTS = 20, 3, 365
# own EMR -> texts that come again, the share of the commonest one, and whether all others come once only
KINDS = {
    "1.0": (1, 1.0, False),
    "0.9": (3, 0.948, False),
    "0.6": (5, 0.757, False),
    "0.2": (8, 0.333, False),
    "0.2 unique": (1, 0.44, True),
}
CHANGES = ("swap", "half", "tenth", "one", "two", "creep")
TOLERANCE, ALARM = 0.05, 3650.0
KEPT = max(stats.WINDOWS) + HOLD
# An endpoint's alarms within so many nights are one.
ONE_ALARM = 21
# Endpoints at once: what fits into the processor's cache counts more than what fits into memory.
CHUNK = 50
Array = np.ndarray[Any, Any]


@dataclass
class World:
    """`size` endpoints of one kind, and what they answer tonight."""

    size: int
    kind: str
    variation: float
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.texts, share, self.unique = KINDS[self.kind]
        self.steady = share == 1
        spread = 0.0 if self.steady else self.rng.normal(0, 0.4, (self.size, PROMPTS))
        self.logit = np.full((self.size, PROMPTS), 99.0 if self.steady else math.log(share / (1 - share))) + spread
        self.order = self.rng.random((self.size, PROMPTS)).argsort(axis=1)

    def night(self, changed: int = 0, mixed: float = 0.0) -> tuple[Array, Array]:
        """Tonight's answers: texts that come again, and how many come once only.

        On so many prompts (`changed`), or with a chance of `mixed`, they are new texts.
        """
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
        if changed:
            rows = self.order < changed
            both[rows] = np.roll(both[rows], self.texts, axis=1)
        if mixed:
            moved = self.rng.binomial(both[..., : self.texts], mixed)
            both[..., : self.texts] -= moved
            both[..., self.texts :] += moved
        return both, counts[..., -1] if self.unique else np.zeros_like(calls)

    def changed_night(self, change: str, number: int) -> tuple[Array, Array]:
        """Night `number` (from 0) after a change."""
        prompts = {"swap": PROMPTS, "half": PROMPTS // 2, "tenth": 0, "one": 1, "two": 2, "creep": 1 + number // 5}
        return self.night(min(PROMPTS, prompts[change]), 0.1 if change == "tenth" else 0.0)


class Watch:
    """The shipped rule for many endpoints at once: their pools, last nights and evidence."""

    def __init__(self, world: World, runs: int, *, always_exact: bool = False) -> None:
        self.size, self.base_runs, self.always_exact = world.size, runs, always_exact
        nights = [world.night() for _ in range(runs)]
        self.texts = nights[0][0].shape[2]
        self.pool_nights = np.zeros((self.size, FULL, PROMPTS, self.texts + 1), dtype=np.int16)
        for i, night in enumerate(nights):
            self.pool_nights[:, i] = join_cells(night)
        self.base = self.pool_nights[:, :runs].sum(axis=1, dtype=np.int64)
        self.pool = self.base.copy()
        self.in_pool = np.full(self.size, runs)
        self.last = np.zeros((KEPT, self.size, PROMPTS, self.texts + 1), dtype=np.int64)
        self.nights = np.zeros(self.size, dtype=int)
        self.frozen = np.zeros(self.size, dtype=bool)
        self.spread = self._estimate(np.ones(self.size, dtype=bool), np.zeros(self.size))

    def _estimate(self, rows: Array, before: Array) -> Array:
        found = before.copy()
        for index in np.flatnonzero(rows):
            nights = self.pool_nights[index, : self.in_pool[index], :, : self.texts].astype(np.int64)
            number = self.pool_nights[index, : self.in_pool[index]].sum(axis=2, dtype=np.int64)
            top = nights.sum(axis=0).argmax(axis=1)
            commonest = np.take_along_axis(nights, top[None, :, None], axis=2)[..., 0]
            found[index] = float(stats.estimate_spread(commonest, number))
        return found

    def after(self, tonight: tuple[Array, Array]) -> tuple[Array, Array]:
        """Who has data tonight, and the evidence of each (0 without data)."""
        self._let_old_nights_join()
        cells = join_cells(tonight)
        usable = cells.sum(axis=2) >= 2
        known = usable.any(axis=1)
        found = []
        kinds: tuple[tuple[stats.PoolKind, Array, Array, Array], ...] = (
            ("base", self.base, np.full(self.size, self.base_runs), self.nights),
            ("whole", self.pool, self.in_pool, self.nights - (self.in_pool - self.base_runs)),
        )
        for kind, pool, runs, fits in kinds:
            window = cells.copy()
            done = 1
            for length in stats.WINDOWS:
                window += self.last[done - 1 : length - 1].sum(axis=0)
                done = length
                rows = np.flatnonzero(known & (length - 1 <= fits))
                total = np.full(self.size, -np.inf)
                sd = np.maximum(self.spread[rows], stats.SPREAD_FLOOR)
                odds = 2 * sd * np.sqrt(1 / length + 1 / runs[rows])
                total[rows] = weigh(window[rows], pool[rows], usable[rows], odds)
                found.append(total + math.log(stats.SHARE_OF_POOL[kind] / len(stats.WINDOWS)))
        found.append(self._exact_bets(cells, usable, known) + math.log(stats.SHARE_OF_EXACT_TEST))
        value = np.where(known, np.exp(np.minimum(special.logsumexp(np.stack(found), axis=0), 600)), 0.0)
        self.last[1:, known] = self.last[:-1, known]
        self.last[0, known] = cells[known]
        self.nights += known
        return known, value

    def _let_old_nights_join(self) -> None:
        wanted = np.minimum(self.nights - (HOLD - 1), FULL - self.base_runs) + self.base_runs
        rows = ~self.frozen & (wanted > self.in_pool)
        if rows.any():
            joining = self.last[HOLD - 1, rows]
            self.pool[rows] += joining
            self.pool_nights[rows, self.in_pool[rows]] = joining
            self.in_pool[rows] += 1
            self.spread = self._estimate(rows, self.spread)

    def _exact_bets(self, cells: Array, usable: Array, known: Array) -> Array:
        found = np.where(known, stats.bet_on(1.0), -np.inf)
        for index in np.flatnonzero(known & (self.always_exact | near_alarm(cells, self.pool, usable))):
            pairs = zip(cells[index][usable[index]], self.pool[index][usable[index]], strict=True)
            test = stats.drift_test([write_out(*pair) for pair in pairs], tolerance=TOLERANCE)
            found[index] = stats.bet_on(test.p_value)
        return found


def join_cells(night: tuple[Array, Array]) -> Array:
    """Texts, and in the last cell how many came once only."""
    return np.concatenate([night[0], night[1][..., None]], axis=2)


def weigh(window: Array, pool: Array, usable: Array, odds: Array) -> Array:
    """log e of each endpoint's window; texts that come once only are cells of count 1."""
    found = np.empty(len(window))
    for start in range(0, len(window), CHUNK):
        part = slice(start, start + CHUNK)
        left, held = window[part] * usable[part][..., None], pool[part] * usable[part][..., None]
        # Texts that nobody gave count nothing; half of the columns wait for a change that may never come.
        given = np.append((left[..., :-1] + held[..., :-1]).any(axis=(0, 1)), True)
        left, held = left[..., given], held[..., given]
        texts, number, other = left[..., :-1], left[..., -1], held[..., -1]
        if not (number.any() or other.any()):
            found[part] = stats.weigh_windows(texts, texts + held[..., :-1], odds[part]).total
            continue
        ours, theirs = np.minimum(number, 1)[..., None], np.minimum(other, 1)[..., None]
        cells = np.concatenate([texts, ours, 0 * theirs], axis=2)
        both = np.concatenate([texts + held[..., :-1], ours, theirs], axis=2)
        times = np.ones_like(cells)
        times[..., -2], times[..., -1] = number, other
        found[part] = stats.weigh_windows(cells, both, odds[part], times).total
    return found


def near_alarm(cells: Array, pool: Array, usable: Array) -> Array:
    """Where the exact test of tonight alone could matter.

    With its share of the evidence it takes p < 1e-7 for an alarm: no statistic has that within three of its standard
    deviations (novelty's is bounded by what its mean allows, which for three answers is up to 1.7 times too much).
    """
    n, m = cells.sum(axis=2), pool.sum(axis=2)
    both = cells + pool
    total = np.maximum(n + m, 2)
    texts = slice(0, cells.shape[2] - 1)
    once = both[..., -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        own_n = (cells[..., texts] * (cells[..., texts] - 1)).sum(axis=2) / (n * (n - 1))
        own_m = (pool[..., texts] * (pool[..., texts] - 1)).sum(axis=2) / (m * (m - 1))
        cross = (cells[..., texts] * pool[..., texts]).sum(axis=2) / (n * m)
        own = (both[..., texts] * (both[..., texts] - 1)).sum(axis=2) / (total * (total - 1))
        q = both[..., texts] / total[..., None]
        s2, s3 = (q**2).sum(axis=2) + once / total**2, (q**3).sum(axis=2) + once / total**3
        variance = (s2 - 2 * s3 + s2**2) / 2 * (1 / (n * (n - 1)) + 1 / (m * (m - 1)) + 2 / (n * m))
    excess = np.where(usable, (own_n + own_m) / 2 - cross - TOLERANCE * own, 0).sum(axis=1)
    deviation = np.sqrt(np.where(usable, np.maximum(variance, 0), 0).sum(axis=1))
    counts = both[..., texts]
    rare = (counts > 0) & (counts <= n[..., None])
    chances = np.zeros(counts.shape)
    wide, whole = np.broadcast_to(n[..., None], counts.shape), np.broadcast_to(total[..., None], counts.shape)
    chances[rare] = special.comb(wide[rare], counts[rare]) / special.comb(whole[rare], counts[rare])
    with np.errstate(divide="ignore", invalid="ignore"):
        usual = (counts * chances).sum(axis=2) / n + once / total
        new = (np.where(pool[..., texts] == 0, cells[..., texts], 0).sum(axis=2) + cells[..., -1]) / n
        commonest = np.maximum(counts.max(axis=2), once > 0) / total
        surprising = np.where(usable, new - usual - tolerated_novelty(usual, commonest, TOLERANCE), 0).sum(axis=1)
        most = np.sqrt(np.where(usable, usual * (1 - usual), 0).sum(axis=1))
    return np.asarray((deviation > 0) & ((excess > 3 * deviation) | (surprising > 2 * most)))


def write_out(ours: Array, theirs: Array) -> Array:
    """A 2 x K table, texts that came once only each in a column."""
    shared = np.stack([ours[:-1], theirs[:-1]])
    once = np.repeat(np.eye(2, dtype=np.int64), [int(ours[-1]), int(theirs[-1])], axis=1)
    return np.hstack([shared[:, shared.sum(axis=0) > 0], once])


def count_false_alarms(world: World, runs: int) -> tuple[int, int, float]:
    """Alarms of endpoints that never change, nights of an alarm, and the largest evidence short of one."""
    watch = Watch(world, runs)
    quiet_until = np.zeros(world.size, dtype=int)
    alarms = nights = 0
    largest = 0.0
    for night in range(NIGHTS):
        _, value = watch.after(world.night())
        over = value >= ALARM
        largest = max(largest, float(value[~over].max(initial=0.0)))
        nights += int(over.sum())
        new = over & (night >= quiet_until)
        alarms += int(new.sum())
        quiet_until = np.where(new, night + ONE_ALARM, quiet_until)
        watch.frozen |= over
    return alarms, nights, largest


def find_change(world: World, change: str, runs: int, before: int, most: int) -> Array:
    """Nights with data until the alarm after `before` quiet nights; 999: none within `most`."""
    watch = Watch(world, runs)
    for _ in range(before):
        watch.after(world.night())
    found, seen = np.full(world.size, 999), np.zeros(world.size, dtype=int)
    for number in range(most):
        known, value = watch.after(world.changed_night(change, number))
        seen += known
        found = np.where((value >= ALARM) & (found == 999), seen, found)
        if (found < 999).all():
            break
    return found


class Clearing:
    """Which endpoints have been said to be as before again since their alarm."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        shape = (watch.size, max(CLEARING_SPANS), PROMPTS)
        self.nights = np.zeros((*shape, watch.texts + 1), dtype=np.int64)
        self.number = np.zeros(watch.size, dtype=int)

    def after(self, tonight: tuple[Array, Array], rows: Array) -> Array:
        """Who is cleared tonight, of those that have data and had their alarm before (`rows`)."""
        cells = join_cells(tonight)
        rows = rows & (cells.sum(axis=2) >= 2).any(axis=1)
        self.nights[rows, 1:] = self.nights[rows, :-1]
        self.nights[rows, 0] = cells[rows]
        self.number += rows
        cleared = np.zeros(len(rows), dtype=bool)
        for index in np.flatnonzero(rows):
            cleared[index] = self._is_over(int(index))
        return cleared

    def _is_over(self, index: int) -> bool:
        pool = self.watch.pool[index]
        texts, number = pool[:, :-1], pool.sum(axis=1)
        own = float(((texts * (texts - 1)).sum(axis=1) / (number * (number - 1))).mean())
        for span in CLEARING_SPANS:
            if span <= self.number[index]:
                nights = self.nights[index, :span]
                losses = span_losses(nights, pool)
                if float(stats.upper_loss(losses)) < TOLERANCE * own:
                    batch = nights.sum(axis=0)[None]
                    usable = np.ones(batch.shape[:2], dtype=bool)
                    odds = np.array([stats.odds_tolerated(span, int(self.watch.in_pool[index]), 0.0)])
                    if weigh(batch, pool[None], usable, odds)[0] < math.log(FORBIDDING):
                        return True
        return False


def span_losses(nights: Array, pool: Array) -> Array:
    """Loss of match of each night on each prompt; texts that come once only match nothing."""
    number, size = nights.sum(axis=2), pool.sum(axis=1)
    own = (pool[:, :-1] * (pool[:, :-1] - 1)).sum(axis=1) / (size * (size - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        cross = (nights[..., :-1] * pool[None, :, :-1]).sum(axis=2) / (number * size)
    return np.where(number > 0, own - cross, np.nan)


def watch_after(world: World, change: str, back_after: int | None, runs: int, before: int) -> dict[str, Array]:
    """What is said in 60 nights after a change, or after its end where it ends `back_after` nights."""
    watch = Watch(world, runs)
    for _ in range(before):
        watch.after(world.night())
    alarmed, cleared = np.full(world.size, 999), np.full(world.size, 999)
    clearing = Clearing(watch)
    for number in range(60 + (back_after or 0)):
        changed = back_after is None or number < back_after
        tonight = world.changed_night(change, number) if changed else world.night()
        over = clearing.after(tonight, (alarmed < number) & (cleared == 999))
        cleared = np.where(over, number, cleared)
        if (alarmed < 999).all():
            continue
        _, value = watch.after(tonight)
        alarmed = np.where((value >= ALARM) & (alarmed == 999) & changed, number, alarmed)
        watch.frozen |= alarmed < 999
    return {"alarmed": alarmed, "cleared": cleared}


def make_side(index: int, counts: Array, once: Array, unseen: Iterator[int]) -> Side:
    """One night of one endpoint as the shipped code reads it."""
    texts = {
        f"p{j}#0": {f"t{c}": int(n) for c, n in enumerate(row) if n} | {f"u{next(unseen)}": 1 for _ in range(int(o))}
        for j, (row, o) in enumerate(zip(counts, once, strict=True))
        if row.sum() + o
    }
    answered = sum(sum(one.values()) for one in texts.values())
    return Side(
        provider="p", run=f"r{index}", started_at="", ended_at="", settings="s", planned=answered or 60,
        answered=answered, texts=texts, answers={}, values={}, prompt_tokens={}, refused=(), labels={}, price=None,
        latency_s=None,
    )  # fmt: skip


class Deciding:
    """One endpoint, night after night, by the shipped decision."""

    def __init__(self, base: list[Side]) -> None:
        floor = stats.share_over_prompts(np.ones(20))
        self.baseline = Baseline(
            format=history.FORMAT, provider="p", set_at="", suite_digest="s", floor=floor, sides=tuple(base)
        )
        self.nights: list[Night] = []

    def night(self, side: Side) -> history.Decision:
        number = len(self.nights)
        label = f"{2000 + number // 360}-{number % 360 // 30 + 1:02}-{number % 30 + 1:02}"
        tonight = Tonight(night=label, depth="nightly", side=side)
        decision = decide_tonight(
            tonight, self.baseline, gather_past_nights(self.nights, label)["p"], Nightly(), Gates()
        )
        entry = NightEntry(side=side, decision=decision)
        self.nights.append(Night(format=history.FORMAT, night=label, run=side.run, created_at="", entries=(entry,)))
        return decision


def live_with_moods(rng: np.random.Generator, share: float, noise: float, nights: int) -> dict[str, int]:
    """A year of an endpoint whose two replicas take turns for 5 nights on average and differ on `share` of the prompts.

    A further text comes with a chance of `noise`.
    """
    unseen = iter(range(10**9))
    differ = rng.random(PROMPTS) < share

    def answers(mood: int) -> tuple[Array, Array]:
        counts = np.zeros((PROMPTS, 4), dtype=np.int64)
        for j in range(PROMPTS):
            usual = mood if differ[j] else 0
            for _ in range(REPEATS):
                counts[j, usual if rng.random() >= noise else 2 + int(rng.integers(2))] += 1
        return counts, np.zeros(PROMPTS, dtype=np.int64)

    mood, sides = 0, []
    for i in range(3):
        mood = mood if rng.random() > 0.2 else 1 - mood
        sides.append(make_side(i, *answers(mood), unseen))
    one = Deciding(sides)
    found = {"alarms": 0, "changed or not seen": 0, "known state": 0, "ok": 0}
    for number in range(nights):
        mood = mood if rng.random() > 0.2 else 1 - mood
        if rng.random() < 0.05:
            continue
        decision = one.night(make_side(number, *answers(mood), unseen))
        found["alarms"] += decision.alarms
        found["changed or not seen"] += decision.state in ("changed", "not seen")
        found["known state"] += decision.state == "known state"
        found["ok"] += decision.state == "ok"
    return found


def check_against_shipped(rng: np.random.Generator) -> None:
    """The simulation's evidence is that of `decide_tonight`, night for night."""
    for kind in KINDS:
        world = World(2, kind, 0.3, rng)
        watch = Watch(world, 3, always_exact=True)
        unseen = iter(range(10**9))
        base = [watch.pool_nights[:, i].astype(np.int64) for i in range(3)]
        shipped = [Deciding([make_side(0, b[k, :, :-1], b[k, :, -1], unseen) for b in base]) for k in range(2)]
        for number in range(45):
            tonight = world.night(1 if number > 38 else 0)
            known, value = watch.after(tonight)
            for k in np.flatnonzero(known & ~watch.frozen):
                decision = shipped[k].night(make_side(number, tonight[0][k], tonight[1][k], unseen))
                if not decision.tested:
                    raise SystemExit(f"{kind}, night {number}: {decision.reason}")
                mine, theirs = float(value[k]), decision.evidence
                if abs(math.log(mine) - math.log(theirs)) > 0.3:  # of two commonest texts either may be taken
                    raise SystemExit(f"{kind}, night {number}: {mine} here, {theirs} shipped")
            watch.frozen |= value >= ALARM
        print(f"{kind}: the same evidence on every night")


def report(chosen: argparse.Namespace) -> Iterator[str]:
    yield f"{chosen.what}: seed {chosen.seed}, variation {chosen.variation}, {chosen.baseline} runs in the baseline"
    rng = np.random.default_rng(chosen.seed)
    kinds = chosen.kinds.split(",") if chosen.kinds else list(KINDS)
    if chosen.what == "check":
        check_against_shipped(rng)
    if chosen.what == "moods":
        yield from report_moods(chosen, rng)
    for kind in kinds:
        if chosen.what == "false":
            yield report_false_alarms(kind, chosen, rng)
        if chosen.what == "power":
            yield from report_power(kind, chosen, rng)
        if chosen.what == "after":
            yield from report_after(kind, chosen, rng)


def report_false_alarms(kind: str, chosen: argparse.Namespace, rng: np.random.Generator) -> str:
    alarms = nights = years = 0
    largest = 0.0
    while years < chosen.years:
        size = min(100, chosen.years - years)
        found = count_false_alarms(World(size, kind, chosen.variation, rng), chosen.baseline)
        alarms, nights, years = alarms + found[0], nights + found[1], years + size
        largest = max(largest, found[2])
    rate = f"{alarms} alarms ({nights} nights) in {years} endpoint-years = {alarms / years:.4f} a year"
    return f"{kind} | {rate} | most evidence short of one {largest:.0f}"


def report_power(kind: str, chosen: argparse.Namespace, rng: np.random.Generator) -> Iterator[str]:
    for change in chosen.only.split(",") if chosen.only else CHANGES:
        for before in chosen.before:
            world = World(chosen.changes, kind, chosen.variation, rng)
            found = find_change(world, change, chosen.baseline, before, 30)
            shares = ", ".join(f"{k}: {np.mean(found <= k):.3f}" for k in (1, 2, 3, 5, 7, 14, 30))
            yield f"{kind} | {change} | after {before} nights | found within {shares} | median {np.median(found):.0f}"


def report_after(kind: str, chosen: argparse.Namespace, rng: np.random.Generator) -> Iterator[str]:
    for change in chosen.only.split(",") if chosen.only else ("swap", "tenth", "two", "one"):
        for back in (None, 5):
            world = World(chosen.changes, kind, chosen.variation, rng)
            said = watch_after(world, change, back, chosen.baseline, 40)
            known = said["alarmed"] < 999
            cleared = said["cleared"][known]
            head = f"{kind} | {change} | alarmed {known.sum()} of {len(known)}"
            if back is None:
                yield f"{head} | stays: falsely cleared within 60 nights {np.mean(cleared < 999):.4f}"
                continue
            waited = cleared - back + 1
            yield (
                f"{head} | back after {back}: cleared before {np.mean(cleared < back):.4f}, within 10 nights "
                f"{np.mean(waited <= 10):.3f}, median {np.median(waited):.0f}, 90 % {np.quantile(waited, 0.9):.0f}"
            )


def report_moods(chosen: argparse.Namespace, rng: np.random.Generator) -> Iterator[str]:
    for share in (0.2, 0.5):
        for noise in (0.0, 0.05):
            years = [live_with_moods(rng, share, noise, NIGHTS) for _ in range(chosen.years)]
            means = ", ".join(f"{key} {sum(one[key] for one in years) / len(years):.2f}" for key in years[0])
            most = max(one["alarms"] for one in years)
            yield f"moods on {share:.0%} of the prompts, noise {noise:.0%} | a year: {means} | most alarms {most}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("false", "power", "after", "moods", "check"))
    parser.add_argument("--years", type=int, default=20, help="endpoint-years of each kind")
    parser.add_argument("--changes", type=int, default=100, help="simulated changes of each kind")
    parser.add_argument("--baseline", type=int, default=3, help="runs pooled into the baseline")
    parser.add_argument("--variation", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default="", help="only these, comma-separated")
    parser.add_argument("--before", type=int, nargs="+", default=[0, 40], help="quiet nights before a change")
    parser.add_argument("--only", default="", help="only these changes, comma-separated")
    began = time.monotonic()
    for line in report(parser.parse_args()):
        print(line, f"[{time.monotonic() - began:.0f} s]", flush=True)


if __name__ == "__main__":
    main()
