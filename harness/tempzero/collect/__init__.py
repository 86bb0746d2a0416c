"""A Plan and engines in, every attempt handed to `write` as it ends: lanes, turns, limits, retries, resume.

Each provider has a lane for each condition it is asked under: at most `concurrency` requests under way,
trials in plan order. Lanes of one provider take turns and share its limits; so do lanes that share a
resource (this machine's cores). All others run side by side.

lane            one provider under one condition: slots, trials, the one retry loop
access          what all lanes of a provider share: its engines, its limits, and whether it is still asked
conversation    a round's messages: what is scripted, and the model's own answers between
request_limits  pure rules: pace, breaker, budget
spending        what one exchange is taken to have cost
session         one sitting, from engines opened to the folder sealed; a wing's door of its own, as it knows the folder
run_manifest    what the folder says of itself
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Container, Coroutine, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from tempzero.collect.access import Access, CollectJob
from tempzero.collect.conversation import name_rounds
from tempzero.collect.lane import Lane, run_side_by_side
from tempzero.collect.request_limits import Budget, Limits
from tempzero.config import Config
from tempzero.engines import Engine
from tempzero.types.asked import Plan, PlannedTrial, Suite, Trial
from tempzero.types.recorded import Attempt, Ending, Exchange

__all__ = ["Budget", "Limits", "collect_attempts"]


def _ignore_attempt(attempt: Attempt) -> None:
    """The progress callback of a caller who does not watch."""


async def collect_attempts(
    plan: Plan,
    *,
    config: Config,
    suite: Suite,
    engines: Mapping[str, Engine],
    attempts: Mapping[Trial, int],
    complete: Container[Trial],
    write: Callable[[Attempt], None],
    progress: Callable[[Attempt], None] = _ignore_attempt,
    stop: asyncio.Event | None = None,
    budget: Budget | None = None,
    without: Collection[str] = (),
    renew: Callable[[str], Engine] | None = None,
    answers: Mapping[Trial, Exchange] | None = None,
) -> tuple[Ending, ...]:
    """Ask every trial of the plan that is not `complete`; each attempt is written before the slot's next request.

    `engines` are by provider name. `attempts` are those of
    earlier sessions: numbers go on from there, and they count towards the provider's limit, but a trial that
    is not complete is asked at least once more. Providers in `without` are not asked. `renew` opens an engine
    again, with its key read anew, once a provider refuses a key that it took before. `answers` are those of earlier
    sessions to rounds of conversations, which go back to the model.

    A permanent fault (a refused key, no credit), an outage or a spent budget ends the asking: trials not asked
    leave no record, and the reasons are given back. Returns when all is asked, or soon after `stop` is set;
    requests then in flight are cancelled and leave no record, as on cancellation. Whatever an engine or
    `write` raises ends everything and comes out as it is.
    """
    job = CollectJob(
        prompts={p.id: p for p in suite.prompts},
        seed=plan.seed,
        write=write,
        progress=progress,
        budget=budget or Budget(Limits()),
        renew=renew,
        rounds=name_rounds(suite.prompts),
        answers=dict(answers or {}),
    )
    asked = {t.trial.provider for t in plan.trials} - set(without)
    accesses = [Access(p, engines, job) for p in config.providers if p.name in asked]
    for number, trials in enumerate(_split_sessions(config, (t for t in plan.trials if t.trial not in complete))):
        if number:
            await _run_until_stopped(asyncio.sleep(config.run.session_gap_s), stop)
        if stop is not None and stop.is_set():
            break
        for access in accesses if number else ():
            access.reconnect()
        lanes = _open_lanes(config, accesses, trials, attempts, job)
        await _run_until_stopped(run_side_by_side([_take_turns(group) for group in _group_lanes(lanes)]), stop)
    reasons = [Ending(provider=a.provider.name, reason=a.ended) for a in accesses if a.ended]
    return (*([Ending(provider=None, reason=job.budget.exhausted)] if job.budget.exhausted else []), *reasons)


def _split_sessions(config: Config, trials: Iterable[PlannedTrial]) -> list[list[PlannedTrial]]:
    """The trials session by session, in plan order; sessions of which nothing is left are left out."""
    repeats = {
        (p.name, c.name): under.repeats
        for p, c in product(config.providers, config.asked_under())
        if (under := config.under(p, c)) is not None
    }
    found: dict[int, list[PlannedTrial]] = {}
    for one in trials:
        of = repeats[one.trial.provider, one.trial.condition]
        found.setdefault(config.run.session_of(one.trial.repeat, of), []).append(one)
    return [found[number] for number in sorted(found)]


def _open_lanes(
    config: Config,
    accesses: Sequence[Access],
    trials: Iterable[PlannedTrial],
    attempts: Mapping[Trial, int],
    job: CollectJob,
) -> list[Lane]:
    """A lane for each provider and condition that has trials left."""
    waiting: dict[tuple[str, str], list[PlannedTrial]] = {}
    for planned in trials:
        waiting.setdefault((planned.trial.provider, planned.trial.condition), []).append(planned)
    lanes = []
    for access, condition in product(accesses, config.asked_under()):
        provider, own = config.under(access.provider, condition), waiting.get((access.provider.name, condition.name))
        if provider is not None and own:
            fields = config.fields_under(access.provider, condition)
            lanes.append(Lane(provider, condition, access, own, attempts, job, fields))
    return lanes


def _group_lanes(lanes: Iterable[Lane]) -> list[list[Lane]]:
    """Lanes of one resource or one provider together, every other lane alone."""
    groups: dict[tuple[str, str], list[Lane]] = {}
    for lane in lanes:
        shared = lane.provider.resource_group
        groups.setdefault(("provider", lane.provider.name) if shared is None else ("resource", shared), []).append(lane)
    return list(groups.values())


async def _take_turns(lanes: Sequence[Lane]) -> None:
    """One lane at a time; always the one furthest behind in the plan, so that matched blocks stay close in time."""
    while waiting := [lane for lane in lanes if lane.next_block is not None]:
        lane = min(waiting, key=lambda one: one.next_block or 0)
        await lane.run(lane.remaining_trials() if len(lanes) == 1 else lane.next_turn())


async def _run_until_stopped(work: Coroutine[Any, Any, None], stop: asyncio.Event | None) -> None:
    if stop is None:
        await work
        return
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
