"""What a run tells while it goes on: a progress bar on a terminal, a few lines in a log (stderr only)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tempzero.collect.watcher import Watcher
from tempzero.types.asked import Plan
from tempzero.types.recorded import ANSWERED, Attempt

_LOG_EVERY_S = 20.0


def make_watcher() -> Watcher:
    """A watcher for this process' stderr."""
    screen = _ProgressScreen(Console(stderr=True))
    return Watcher(say=screen.say, begin=screen.begin, attempt=screen.attempt, read=screen.read)


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
    """A bar on a terminal for what takes more than seconds on large runs; elsewhere nothing."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda phase, share: bar.update(task, description=phase, completed=share)


class _ProgressScreen:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[failures]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._planned = self._answered = self._attempts = self._failures = 0
        self._began = self._logged = 0.0

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def begin(self, plan: Plan, already: int) -> None:
        self._planned, self._answered = len(plan.trials), already
        self._began = self._logged = time.monotonic()
        self._bar.add_task("asking", total=self._planned, completed=already, rate="", failures="")
        self._bar.start()

    def attempt(self, attempt: Attempt) -> None:
        self._attempts += 1
        if attempt.exchange.outcome.status in ANSWERED:
            self._answered += 1
        else:
            self._failures += 1
        elapsed = max(time.monotonic() - self._began, 1e-9)
        rate, failures = f"{self._attempts / elapsed:.1f}/s", f"{self._failures} failed"
        self._bar.update(self._bar.task_ids[0], completed=self._answered, rate=rate, failures=failures)
        if self._answered >= self._planned:
            self._bar.stop()
        if not self._console.is_terminal and time.monotonic() - self._logged > _LOG_EVERY_S:
            self._logged = time.monotonic()
            self.say(f"asked: {self._answered} of {self._planned} answered, {rate}, {failures}")

    def read(self, reference: str, done: int, waiting: int) -> None:
        """A line now and then: reading takes seconds to minutes, and no request depends on it."""
        if done == waiting or time.monotonic() - self._logged > _LOG_EVERY_S:
            self._logged = time.monotonic()
            self.say(f"{reference} has read {done} of {waiting} responses")
