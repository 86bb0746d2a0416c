"""A coroutine in, what it comes to out, from code that waits: also where a loop runs already, as in a notebook."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run_coroutine(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end. Under a running loop it has a thread and a loop of its own, and Ctrl-C cancels it there.

    Whoever cancels it from outside has interrupted it: that is a KeyboardInterrupt, and never a result or our bug.
    """
    try:
        return _run_beside_loop(work) if _has_running_loop() else asyncio.run(work)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _has_running_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run_beside_loop(work: Coroutine[Any, Any, T]) -> T:
    under_way: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def run_watched() -> T:
        task = asyncio.current_task()
        assert task is not None, "a coroutine that runs has a task"
        under_way.append((asyncio.get_running_loop(), task))
        return await work

    with ThreadPoolExecutor(max_workers=1) as thread:
        ended = thread.submit(asyncio.run, run_watched())
        try:
            return ended.result()
        except KeyboardInterrupt:
            for loop, task in under_way:
                loop.call_soon_threadsafe(task.cancel)
            raise
