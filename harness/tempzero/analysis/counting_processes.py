"""The files of a run's records in, the counts of each out, in order: counted here, or by processes side by side.

A process gets the setting and its files and gives counts through pipes, and runs this module alone, so that nobody's
script is run twice. It waits when its pipe is full, so that few counts are held at once.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from tempzero.analysis.part_counts import CountingSetting, PartCounts, count_part
from tempzero.errors import RunFolderError

_SIZE = struct.Struct("<Q")
# Below this size starting processes costs more than it saves.
_LEAST_BYTES = 256 << 20
_MOST_PROCESSES = 16


def count_parts(
    parts: Sequence[Path], setting: CountingSetting, *, processes: int | None = None
) -> Iterator[PartCounts]:
    """Count each file, in order; by so many processes, or as many as are worth it. Raises RunFolderError."""
    number = _choose_processes(parts) if processes is None else min(processes, len(parts))
    if number < 2:
        for part in parts:
            yield count_part(part, setting)
        return
    with contextlib.ExitStack() as stack:
        working = [
            stack.enter_context(contextlib.closing(_CountingProcess(parts[first::number], setting)))
            for first in range(number)
        ]
        for at, part in enumerate(parts):
            yield working[at % number].take_next(part)


def _choose_processes(parts: Sequence[Path]) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    size = sum(part.stat().st_size for part in parts)
    return min(cores, len(parts), _MOST_PROCESSES) if size >= _LEAST_BYTES else 1


class _CountingProcess:
    """Another process at work on some files, in order; it must be closed."""

    def __init__(self, parts: Sequence[Path], setting: CountingSetting) -> None:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import {count_what_is_asked.__name__} as run; run()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self._process.stdin is not None, "asked for above"
        assert self._process.stdout is not None, "asked for above"
        self._results = self._process.stdout
        with contextlib.suppress(BrokenPipeError):  # that it has ended is noticed where its counts are read
            self._process.stdin.write(pickle.dumps((tuple(parts), setting)))
            self._process.stdin.close()

    def take_next(self, part: Path) -> PartCounts:
        """The counts of its next file, which is this one. Raises RunFolderError."""
        (size,) = _SIZE.unpack(self._read_exactly(_SIZE.size, part))
        found = pickle.loads(self._read_exactly(size, part))
        if isinstance(found, RunFolderError):
            raise found
        assert isinstance(found, PartCounts), "that is what it sends"
        return found

    def _read_exactly(self, size: int, part: Path) -> bytes:
        data = self._results.read(size)
        if len(data) < size:
            raise RunFolderError(f"{part}: the process that counts it has ended; try again")
        return data

    def close(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._results.close()
        self._process.wait()


def _send_counts(pipe: IO[bytes], result: PartCounts | RunFolderError) -> None:
    data = pickle.dumps(result, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(_SIZE.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def count_what_is_asked() -> None:
    """A counting process: files and their setting through stdin, their counts through stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    (parts, setting), out = pickle.load(sys.stdin.buffer), sys.stdout.buffer
    try:
        for part in parts:
            try:
                _send_counts(out, count_part(part, setting))
            except RunFolderError as problem:
                _send_counts(out, problem)
                return
    except BrokenPipeError:
        os._exit(1)
