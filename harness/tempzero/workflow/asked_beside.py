"""A run that asks its own prompts in, short requests for log-probabilities besides out: a run inside its folder.

They come after the run's own prompts, so that nothing of these is measured otherwise, by the same local servers and
within the same limits. What they say of the form of the weights is concluded with all else (precision_reading).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tempzero import records
from tempzero.collect import Budget, Limits
from tempzero.collect.run_manifest import build_run_manifest
from tempzero.collect.session import (
    CollectedRun,
    OpenedEngines,
    PreparedRun,
    collect_session,
    open_engines,
    planned_providers,
)
from tempzero.collect.watcher import Watcher
from tempzero.precision.asking import FingerprintPlan, estimate_first_tokens, find_who_gives
from tempzero.precision.packs import save_pack
from tempzero.records import DIRECTION_PACK, FIRST_TOKENS
from tempzero.types.asked import Skipped
from tempzero.types.recorded import Ending

NO_FINGERPRINT = "--no-fingerprint"


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionFrame:
    """What a session inside a run shares with the run's own: who hears of it, what is left to spend, since when."""

    watcher: Watcher
    limits: Limits
    budget: Budget
    began_s: float

    def left(self) -> Limits:
        """The limits with the minutes that are left of them; requests and money the budget counts."""
        if self.limits.max_minutes is None:
            return self.limits
        gone = (asyncio.get_running_loop().time() - self.began_s) / 60
        return replace(self.limits, max_minutes=max(1e-3, self.limits.max_minutes - gone))


def estimate_beside(prepared: PreparedRun) -> FingerprintPlan | None:
    """What a run asks besides at most, before anybody was asked how much he gives. Raises PackError."""
    return estimate_first_tokens(prepared.setting, planned_providers(prepared), skipped=prepared.plan.skipped)


async def plan_beside(prepared: PreparedRun, refused: Sequence[Ending]) -> FingerprintPlan | None:
    """Whose first tokens a run asks for besides, hosted providers asked how many they give; None: nobody's.

    Raises EngineError and PackError.
    """
    without = {ending.provider for ending in refused}
    chosen = [p for p in planned_providers(prepared) if p.name not in without]
    skipped = [*prepared.plan.skipped, *(Skipped(provider=e.provider, reason=e.reason) for e in refused if e.provider)]
    most = estimate_first_tokens(prepared.setting, chosen)
    if most is None:
        return None
    return await find_who_gives(
        prepared.setting,
        most.pack,
        chosen,
        skipped=skipped,
        prompts=prepared.config.run.fingerprint,
        name=FIRST_TOKENS,
    )


def describe_first_tokens(planned: FingerprintPlan) -> Iterator[str]:
    """A line of those that are asked and how much, and one of each that gives nothing."""
    if planned.asked:
        prompts = len(planned.prepared.suite.prompts)
        yield (
            f"besides, {prompts} short requests each to {', '.join(planned.asked)}: their log-probabilities tell "
            f"the form of the weights ({NO_FINGERPRINT}: none)"
        )
    yield from (f"{name}: no log-probabilities: {way.word}" for name, way in planned.ways.items() if not way.given)


async def begin_first_tokens(planned: FingerprintPlan, path: Path, opened: OpenedEngines) -> None:
    """Make the folder inside the run's, so that a run that is stopped before them goes on with them."""
    async with open_engines(planned.prepared, _say_nothing, without=(), running=opened.served) as own:
        manifest = build_run_manifest(planned.prepared, own.engines, own.served, ())
        folder = records.create_run(path, replace(manifest, run_id=FIRST_TOKENS))
    save_pack(planned.pack, folder / DIRECTION_PACK)


async def finish_first_tokens(
    collected: CollectedRun, prepared: PreparedRun, opened: OpenedEngines, frame: SessionFrame
) -> CollectedRun:
    """Ask what is not answered yet of them, unless the run itself was stopped; then the run's root has theirs."""
    if collected.interrupted or any(ending.provider is None for ending in collected.endings):
        return collected
    path, folder = collected.path, collected.path / FIRST_TOKENS
    answered = {v.trial.provider for v in records.open_run(path).views() if v.outcome.completion is not None}
    silent = [
        Ending(provider=p.name, reason="it answered nothing that the run asked")
        for p in planned_providers(prepared)
        if p.name not in answered
    ]
    names = {ending.provider for ending in silent}
    done = records.open_run(folder).progress().complete
    if all(t.trial in done or t.trial.provider in names for t in prepared.plan.trials):
        return collected
    async with open_engines(prepared, _say_nothing, without=list(names), running=opened.served) as own:
        asked = await collect_session(
            prepared, folder, own, frame.watcher, frame.left(), (), silent, budget=frame.budget
        )
    records.write_root(path)
    stopped = [ending for ending in asked.endings if ending.provider is None]
    return replace(collected, interrupted=asked.interrupted, endings=(*stopped, *collected.endings))


def _say_nothing(_: str) -> None:
    pass
