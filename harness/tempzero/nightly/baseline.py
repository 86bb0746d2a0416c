"""Run folders or nights in, the baselines of their providers out: an explicit act, never the first run by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tempzero import records, stats
from tempzero.analysis import analyse
from tempzero.config import Gates
from tempzero.errors import UsageError
from tempzero.nightly import history
from tempzero.nightly.history import Baseline, Side
from tempzero.records import Run
from tempzero.records.store import fetch_folder, remove_file
from tempzero.types.concluded import Estimate

# An endpoint that agrees with itself less often than this needs so many answers a prompt before it is known what it
# usually says; with fewer, `tests/benchmarks/nightly.py` finds some changes in the first nights only now and then.
_LOW_AGREEMENT, _ENOUGH_ANSWERS = 0.7, 18


def set_baselines(results: Path, runs: Sequence[Run], *, only: Collection[str] = ()) -> tuple[Baseline, ...]:
    """Make the runs the baseline that nights in `results` are held against. Raises as `make_baselines` does."""
    made = make_baselines(runs, only=only, now=datetime.now(UTC).isoformat(timespec="seconds"))
    for one in made:
        history.write_baseline(results, one)
    return made


def make_baselines(runs: Sequence[Run], *, only: Collection[str] = (), now: str) -> tuple[Baseline, ...]:
    """Pool the runs into one baseline for each provider that answered in them.

    Raises UsageError where a provider's settings differ between the runs, or where it answered too little to be
    held against; nothing is written.
    """
    sides = [side for run in runs for side in history.condense_run(run, analyse(run))]
    names = sorted({s.provider for s in sides if not only or s.provider in only})
    unknown = sorted(set(only) - set(names))
    if unknown or not names:
        known = ", ".join(sorted({s.provider for s in sides})) or "none"
        raise UsageError(f"--providers: not in these runs: {', '.join(unknown) or 'any'}; known: {known}")
    if len({run.manifest.suite.digest for run in runs}) > 1:
        raise UsageError("these runs asked different suites; a baseline is of one: set one after the other")
    gates = runs[-1].config.gates
    found = [_make_baseline([s for s in sides if s.provider == name], runs[-1], gates, now) for name in names]
    return tuple(found)


def _make_baseline(sides: Sequence[Side], run: Run, gates: Gates, now: str) -> Baseline:
    name = sides[0].provider
    weak = [s for s in sides if s.answered < gates.min_coverage * s.planned]
    if weak:
        raise UsageError(
            f"{name}: only {weak[0].answered} of {weak[0].planned} calls were answered in {weak[0].run}; "
            f"an outage is no baseline: leave that run out, or this provider with --providers"
        )
    return pool_sides(sides, run.manifest.suite.digest, gates, now)


def pool_sides(sides: Sequence[Side], suite_digest: str, gates: Gates, now: str) -> Baseline:
    """One provider's runs or nights as one baseline. Raises UsageError where they cannot be one."""
    name = sides[0].provider
    if len({s.settings for s in sides}) > 1:
        raise UsageError(f"{name}: was asked with different settings in these runs; they cannot be one baseline")
    floor = own_agreement_rate(sides)
    if floor.n < gates.min_prompts:
        raise UsageError(
            f"{name}: {floor.n} prompts were answered twice or more; {gates.min_prompts} are needed. "
            "Take a run with more prompts, or with --repeats 3"
        )
    return Baseline(
        format=history.FORMAT,
        provider=name,
        set_at=now,
        suite_digest=suite_digest,
        floor=floor,
        sides=tuple(sides),
    )


def accept_change(results: Path, provider: str, *, since: str, gates: Gates) -> tuple[Baseline, ...]:
    """Acknowledge: what a provider answered since a night (empty: since its change) is what it is held against now.

    Raises UsageError where it is not changed and no night is named, or where no night since then has data.
    """
    made = []
    for baseline, held in _held_nights(results, provider):
        last = [p.entry.decision for p in held if p.entry.decision.tested][-1:]
        first = since or (last[0].since if last and last[0].state in history.CHANGED_STATES else None)
        taken = [p.entry.side for p in held if first is not None and p.night >= first and p.entry.decision.tested]
        if taken:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            made.append(pool_sides(_restore_shown_texts(results, taken), baseline.suite_digest, gates, now))
    if not made:
        wanted = (
            f"has no night with data since {since}" if since else "is not changed; name the first night with --since"
        )
        raise UsageError(f"{provider}: nothing to accept: it {wanted}")
    for one in made:
        history.write_baseline(results, one)
    return tuple(made)


def grow_baseline(results: Path, provider: str, *, since: str, gates: Gates) -> tuple[Baseline, ...]:
    """Add the quiet nights (where one is named: since that) to what a provider is held against. Raises UsageError."""
    made = []
    for baseline, held in _held_nights(results, provider):
        quiet = [p.entry.side for p in held if p.entry.decision.state == "ok" and p.night >= since]
        alike = [side for side in quiet if side.settings == baseline.sides[-1].settings]
        if alike:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            sides = [*baseline.sides, *_restore_shown_texts(results, alike)]
            made.append(pool_sides(sides, baseline.suite_digest, gates, now))
    if not made:
        raise UsageError(f"{provider}: no quiet night is there to be added to its baseline")
    for one in made:
        history.write_baseline(results, one)
    return tuple(made)


def _held_nights(results: Path, provider: str) -> list[tuple[Baseline, list[history.PastNight]]]:
    """Each baseline of a provider with the nights that were held against it."""
    found = [b for b in history.read_baselines(results) if b.provider == provider]
    if not found:
        known = ", ".join(sorted({b.provider for b in history.read_baselines(results)})) or "none"
        raise UsageError(f"no baseline of {provider}; there is: {known}")
    past = history.gather_past_nights(history.read_nights(results), "~")[provider]
    return [(b, [p for p in past if p.entry.decision.baseline == b.key]) for b in found]


def _restore_shown_texts(results: Path, sides: Sequence[Side]) -> list[Side]:
    """With the texts that a night's file leaves out, from its run folder where that is still there."""
    found = []
    for side in sides:
        whole = side
        fetch_folder(results / side.run)
        if (results / side.run / records.MANIFEST).is_file():
            run = records.open_run(results / side.run)
            whole = next((s for s in history.condense_run(run, analyse(run)) if s.provider == side.provider), side)
        found.append(replace(side, shown=whole.shown))
    return found


def own_agreement_rate(sides: Sequence[Side]) -> Estimate:
    """EMR over all answers of the runs together: the floor under any comparison with them."""
    shares = [
        sum(n * (n - 1) for n in texts.values()) / (texts.total() * (texts.total() - 1))
        for texts in _pool_repeated_texts(sides)
    ]
    return stats.share_over_prompts(np.array(shares, dtype=np.float64))


def _pool_repeated_texts(sides: Sequence[Side]) -> list[Counter[str]]:
    """How often each text came, for each question that was answered twice or more."""
    pool: dict[str, Counter[str]] = {}
    basis = history.find_common_basis(sides)
    for side in sides:
        for question, texts in side.texts_by(basis).items():
            pool.setdefault(question, Counter()).update(texts)
    return [texts for texts in pool.values() if texts.total() >= 2]


def describe_baseline(baseline: Baseline) -> str:
    """One line for a screen."""
    floor = baseline.floor
    interval = f" [{floor.low:.3f}, {floor.high:.3f}]" if floor.low is not None and floor.high is not None else ""
    answers = sum(side.answered for side in baseline.sides)
    runs = ", ".join(dict.fromkeys(side.run for side in baseline.sides))
    return (
        f"{baseline.provider}: {answers} answers from {runs}, set {baseline.set_at}; agrees with itself "
        f"{floor.value:.3f}{interval}, n={floor.n} prompts; suite "
        f"{baseline.suite_digest[:12]}{_advise_pooling(baseline)}"
    )


def _advise_pooling(baseline: Baseline) -> str:
    """What a provider usually says must be known before a night can be unusual: would more runs help?"""
    known = np.median([texts.total() for texts in _pool_repeated_texts(baseline.sides)])
    if (baseline.floor.value or 0.0) >= _LOW_AGREEMENT or known >= _ENOUGH_ANSWERS:
        return ""
    return (
        f". It seldom agrees with itself, and {known:.0f} answers a prompt say little about what is usual: pool more "
        f"runs, {_ENOUGH_ANSWERS} answers or more"
    )


def clear_baselines(results: Path, providers: Collection[str]) -> tuple[str, ...]:
    """Remove the baselines of these providers (none named: all of them); give their names."""
    found = history.read_baselines(results)
    known = {b.provider for b in found}
    unknown = sorted(set(providers) - known)
    if unknown:
        raise UsageError(f"no baseline of {', '.join(unknown)}; there is: {', '.join(sorted(known)) or 'none'}")
    names = set(providers) or known
    for one in found:
        if one.provider in names:
            file = history.baseline_path(results, one)
            file.unlink()
            remove_file(file)
    return tuple(sorted(names))
