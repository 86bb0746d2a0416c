"""A planned run and its folder in, everything that came back in the folder out: engines opened, signals, syncing."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tempzero import records
from tempzero.check import Preflight
from tempzero.collect import Budget, Limits, collect_attempts
from tempzero.collect.watcher import Watcher
from tempzero.config import Config, Provider, Setting
from tempzero.engines import Engine, open_engine
from tempzero.engines.hosted import clock
from tempzero.engines.local import weights
from tempzero.engines.local.serve import RunningServer, run_server
from tempzero.types.asked import Plan, Suite, Trial
from tempzero.types.recorded import ANSWERED, CLOCK_SKEW, Attempt, Ending, Exchange

# An answer is shown as had once it has been forced to the disk; so often at most.
_SYNC_EVERY_S = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedRun:
    """A run that is planned and not yet paid for: `setting` with what the command line changed in it."""

    setting: Setting
    suite: Suite
    plan: Plan

    @property
    def config(self) -> Config:
        """What is asked, as it was planned."""
        return self.setting.config


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectedRun:
    """Where the run is, whether somebody interrupted it, and why what was left unasked was."""

    path: Path
    interrupted: bool
    endings: tuple[Ending, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedEngines:
    """What answers: engines by provider, local servers, and a way to open an engine anew."""

    engines: dict[str, Engine]
    served: dict[str, RunningServer]
    renew: Callable[[str], Engine]


def planned_providers(prepared: PreparedRun) -> list[Provider]:
    """The providers that take part."""
    skipped = {s.provider for s in prepared.plan.skipped}
    return [p for p in prepared.config.providers if p.name not in skipped]


@contextlib.asynccontextmanager
async def open_engines(
    prepared: PreparedRun,
    say: Callable[[str], None],
    *,
    without: Sequence[str | None],
    running: Mapping[str, RunningServer] | None = None,
) -> AsyncIterator[OpenedEngines]:
    """Every engine of the plan, started; all of them stopped at the end, whatever happens.

    Local servers that are `running` are asked where they are, and left to whoever started them.
    """
    environ = prepared.setting.environ
    async with contextlib.AsyncExitStack() as stack:
        engines: dict[str, Engine] = {}
        served: dict[str, RunningServer] = dict(running or {})

        def renew(name: str) -> Engine:
            """The engine of a hosted provider once more, its key read anew."""
            provider = prepared.config.provider(name)
            engine = open_engine(provider, environ=environ) if provider.base_url is not None else engines[name]
            stack.push_async_callback(engine.aclose)
            return engine

        for provider in (p for p in planned_providers(prepared) if p.name not in without):
            spec = None if provider.name in served else provider.serve or provider.local
            file = None
            if spec is not None:
                file = await asyncio.to_thread(weights.obtain_weights_for, prepared.config, spec, say=say)
            if provider.serve is not None and file is not None:
                served[provider.name] = await stack.enter_async_context(run_server(provider, file))
            base_url = served[provider.name].base_url if provider.name in served else None
            engine = await asyncio.to_thread(open_engine, provider, environ=environ, weights=file, base_url=base_url)
            stack.push_async_callback(engine.aclose)
            engines[provider.name] = engine
            if spec is not None:  # it took its time; whoever is asked over a network is ready at once
                say(f"ready: {provider.name}")
        yield OpenedEngines(engines=engines, served=served, renew=renew)


async def collect_session(
    prepared: PreparedRun,
    path: Path,
    opened: OpenedEngines,
    watcher: Watcher,
    limits: Limits,
    flights: Sequence[Preflight],
    refused: Sequence[Ending],
    *,
    budget: Budget | None = None,
) -> CollectedRun:
    """Ask what is not answered yet, with these engines and within these limits; the session is sealed at its end.

    `budget`: one that other sessions of the same command have taken from, in place of a new one.
    """
    looked = [one for flight in flights for one in flight.looked]
    budget = budget or open_budget(limits, flights)
    stopping, clocks = StopSwitch(), _ClockSkews()
    with stop_on_signals(stopping), records.open_run_writer(path, now=_session_timestamp(), say=watcher.say) as writer:
        records.record_preflight(path, [(one.provider, one.what, one.exchange) for one in looked])
        progress = records.open_run(path).progress()
        watcher.begin(prepared.plan, progress.complete)
        stopping.after(limits.max_minutes)
        try:
            async with acknowledge_attempts(writer, watcher.attempt, stopping) as had:
                endings = await collect_attempts(
                    prepared.plan,
                    config=prepared.config,
                    suite=prepared.suite,
                    engines=opened.engines,
                    attempts=progress.attempts,
                    complete=progress.complete,
                    write=lambda attempt: clocks.look(writer.append(attempt).attempt),
                    progress=had,
                    stop=stopping.event,
                    budget=budget,
                    without=[e.provider for e in refused if e.provider],
                    renew=opened.renew,
                    answers=_find_round_answers(path, prepared.suite) if progress.complete else None,
                )
        finally:
            watcher.end()
        endings = (*refused, *endings)
        if stopping.by_deadline:
            endings = (Ending(provider=None, reason=f"--max-minutes {limits.max_minutes:g} were over"), *endings)
        records.finish_session(path, writer, now=_session_timestamp(), endings=endings, notes=clocks.notes())
    return CollectedRun(path=path, interrupted=stopping.by_signal, endings=endings)


def open_budget(limits: Limits, flights: Sequence[Preflight]) -> Budget:
    """What a command may spend, less what its check has taken already."""
    looked = sum(len(flight.looked) for flight in flights)
    return Budget(limits, requests=looked, cost_usd=sum(_preflight_cost_usd(f) for f in flights))


def _find_round_answers(path: Path, suite: Suite) -> dict[Trial, Exchange]:
    """The answers of earlier sessions to rounds of conversations, as they were recorded: the first of each trial."""
    rounds = {prompt.id for prompt in suite.prompts if prompt.round is not None}
    found: dict[Trial, Exchange] = {}
    for record in records.open_run(path).records() if rounds else ():
        attempt = record.attempt
        if attempt.trial.prompt in rounds and attempt.exchange.outcome.status in ANSWERED:
            found.setdefault(attempt.trial, attempt.exchange)
    return found


def _preflight_cost_usd(flight: Preflight) -> float:
    """What the check itself cost, as far as it was reported."""
    price, answers = flight.provider.price, [one.exchange.outcome.completion for one in flight.looked]
    if price is None:
        return 0.0
    return sum(price.cost_of_answer(a) for a in answers if a is not None)


class _ClockSkews:
    """Whose clock is far from this machine's."""

    def __init__(self) -> None:
        self._ahead_s: dict[str, float] = {}

    def look(self, attempt: Attempt) -> None:
        """Once a provider is enough."""
        if CLOCK_SKEW in attempt.exchange.outcome.flags and attempt.trial.provider not in self._ahead_s:
            self._ahead_s[attempt.trial.provider] = clock.clock_lead_s(attempt.exchange) or 0.0

    def notes(self) -> list[str]:
        """A line for each: nobody knows which of the two is right."""
        return [
            f"{name}: its clock is {abs(s):.0f} s {'ahead of' if s > 0 else 'behind'} this machine's; times of day in "
            "the records are this machine's, durations need neither"
            for name, s in self._ahead_s.items()
        ]


class StopSwitch:
    """When and why collecting stops before its end."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.by_signal = self.by_deadline = False

    def after(self, minutes: float | None) -> None:
        """Stop at a deadline: what is then under way is cancelled."""
        if minutes is not None:
            asyncio.get_running_loop().call_later(60 * minutes, self._deadline)

    def _deadline(self) -> None:
        self.by_deadline = True
        self.event.set()


@contextlib.asynccontextmanager
async def acknowledge_attempts(
    writer: records.RunWriter, show: Callable[[Attempt], None], stopping: StopSwitch
) -> AsyncIterator[Callable[[Attempt], None]]:
    """Show an attempt once it is on the disk: one sync, in a thread, for all that were written meanwhile."""
    written: list[Attempt] = []
    news, over = asyncio.Event(), asyncio.Event()

    def had(attempt: Attempt) -> None:
        written.append(attempt)
        news.set()

    async def acknowledge() -> None:
        while not over.is_set() or written:
            if not over.is_set():
                await news.wait()
            news.clear()
            batch = written[:]
            written.clear()
            await asyncio.to_thread(writer.sync)
            for attempt in batch:
                show(attempt)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SYNC_EVERY_S):
                    await over.wait()

    working = asyncio.ensure_future(acknowledge())
    working.add_done_callback(lambda _: stopping.event.set())  # a disk that cannot be synced to ends the run
    try:
        yield had
    finally:
        over.set()
        news.set()
        await working


@contextlib.contextmanager
def stop_on_signals(stopping: StopSwitch) -> Any:
    """The first Ctrl-C (or SIGTERM, or a terminal that closes) ends the run cleanly; a second is not waited for."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals come to the main thread: whoever waits there for this one passes them on
        return
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def interrupted() -> None:
        if stopping.by_signal and task is not None:
            task.cancel()
        stopping.by_signal = True
        stopping.event.set()

    handled = [signal.SIGINT, signal.SIGTERM]
    # Under nohup a terminal may close: who started it said so.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        handled.append(signal.SIGHUP)
    with contextlib.suppress(NotImplementedError):  # Windows loops take no handlers: KeyboardInterrupt ends the run
        for number in handled:
            loop.add_signal_handler(number, interrupted)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError):
            for number in handled:
                loop.remove_signal_handler(number)


def _session_timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
