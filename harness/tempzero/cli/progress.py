"""What a run tells while it goes on: a bar for each provider on a terminal, some lines in a log (stderr only)."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tempzero.collect.watcher import Watcher
from tempzero.types.asked import Plan, Trial
from tempzero.types.recorded import ANSWERED, Attempt

_LOG_EVERY_S, _LOG_AT_LEAST_EVERY_S = 20.0, 300.0


def make_watcher(console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> Watcher:
    """A watcher for this process' stderr, or for another console."""
    screen = _ProgressScreen(console or Console(stderr=True), clock)
    return Watcher(say=screen.say, begin=screen.begin, attempt=screen.attempt, end=screen.end, read=screen.read)


def make_counter(what: str) -> Callable[[int, int], None]:
    """Shows how many of how many were done: one line that counts on a terminal, else a line every 20 seconds."""
    screen = Console(stderr=True)
    logged = time.monotonic()

    def show(done: int, of: int) -> None:
        nonlocal logged
        if screen.is_terminal:
            print(f"\r{what}: {done} of {of}", end="\n" if done == of else "", file=sys.stderr, flush=True)
        elif time.monotonic() - logged > _LOG_EVERY_S:
            logged = time.monotonic()
            print(f"{what}: {done} of {of}", file=sys.stderr, flush=True)

    return show


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """What takes more than seconds on large runs: a bar on a terminal, in a log a line every 20 seconds."""
    log = _LogTimes(time.monotonic)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=1.0)

        def show(phase: str, share: float) -> None:
            bar.update(task, description=phase, completed=share)
            if bar.disable and log.is_due():
                print(f"{phase}: {share:.0%}", file=sys.stderr, flush=True)

        yield show


class _LogTimes:
    """When a log gets its next lines: after 20 seconds, then less and less often, so that hours fill no disk."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._every = clock, _LOG_EVERY_S
        self._last = clock()

    def is_due(self) -> bool:
        if self._clock() - self._last < self._every:
            return False
        self._last, self._every = self._clock(), min(1.5 * self._every, _LOG_AT_LEAST_EVERY_S)
        return True


@dataclass(kw_only=True, slots=True)
class _Lane:
    """How far one provider is."""

    name: str
    task: TaskID
    planned: int
    answered: int = 0
    attempts: int = 0
    failures: int = 0

    @property
    def done(self) -> bool:
        return self.answered >= self.planned

    def describe_rate(self, elapsed_s: float) -> str:
        return f"{self.attempts / max(elapsed_s, 1e-9):.1f}/s"

    def describe_failures(self) -> str:
        return f"{self.failures} failed" if self.failures else ""


class _ProgressScreen:
    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console, self._clock = console, clock
        self._bar = self._make_bar()
        self._lanes: dict[str, _Lane] = {}
        self._readers: dict[str, TaskID] = {}
        self._began, self._log = clock(), _LogTimes(clock)

    def _make_bar(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[failures]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )

    def say(self, line: str) -> None:
        print(line, file=self._console.file, flush=True)

    def begin(self, plan: Plan, answered: Collection[Trial]) -> None:
        planned = Counter(one.trial.provider for one in plan.trials)
        already = Counter(trial.provider for trial in answered)
        self._began, self._log = self._clock(), _LogTimes(self._clock)
        for name, number in planned.items():
            task = self._bar.add_task(name, total=number, completed=already[name], rate="", failures="")
            self._lanes[name] = _Lane(name=name, task=task, planned=number, answered=already[name])
        self._bar.start()

    def attempt(self, attempt: Attempt) -> None:
        lane = self._lanes[attempt.trial.provider]
        lane.attempts += 1
        if attempt.exchange.outcome.status in ANSWERED:
            lane.answered += 1
        else:
            lane.failures += 1
        elapsed_s = self._clock() - self._began
        rate, failures = lane.describe_rate(elapsed_s), lane.describe_failures()
        self._bar.update(lane.task, completed=lane.answered, rate=rate, failures=failures)
        if not self._console.is_terminal and self._log.is_due():
            self._log_lanes(elapsed_s)

    def _log_lanes(self, elapsed_s: float) -> None:
        lanes = self._lanes.values()
        self.say(f"asked: {sum(one.answered for one in lanes)} of {sum(one.planned for one in lanes)} answered")
        for lane in lanes:
            if not lane.done:
                told = (f"{lane.answered} of {lane.planned}", lane.describe_rate(elapsed_s), lane.describe_failures())
                self.say(f"  {lane.name}: {', '.join(filter(None, told))}")

    def end(self) -> None:
        """Nobody is asked any more: the bars go."""
        self._bar.stop()
        self._bar, self._lanes = self._make_bar(), {}

    def read(self, reference: str, done: int, waiting: int) -> None:
        """A reference's bar, or a line now and then: reading takes seconds to minutes."""
        if reference not in self._readers:
            self._readers[reference] = self._bar.add_task(
                f"{reference} reads", total=waiting, completed=0, rate="", failures=""
            )
            self._bar.start()
        self._bar.update(self._readers[reference], completed=done)
        if done == waiting:
            self._bar.stop()
            self._bar = self._make_bar()
            self._readers.clear()
        if done == waiting or (not self._console.is_terminal and self._log.is_due()):
            self.say(f"{reference} has read {done} of {waiting} responses")
