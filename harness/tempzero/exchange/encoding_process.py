"""A surveyed table in, its encoded attempts out, made by a second process while the first one chains and writes them.

The two halves of writing cost about the same. The second process gets its work and gives its results through pipes, and
runs this module alone, so that nobody's script is run twice.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import subprocess
import sys
from array import array
from collections.abc import Iterable, Iterator
from typing import IO, Any

from tempzero.errors import ExchangeError

_BATCH = struct.Struct("<II")
_FAILED = 0xFFFF_FFFF
# Below this size starting a process costs more than it saves.
_LEAST_BYTES = 64 << 20
_TOGETHER = 2000


def is_worth_a_process(size: int) -> bool:
    """Whether a source of so many bytes is encoded sooner by two processes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return size >= _LEAST_BYTES and cores > 1


def encode_elsewhere(table: Any) -> Iterator[bytes]:
    """What `table.attempts()` gives, from another process. Raises ExchangeError as that does."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    process = subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import {encode_what_is_asked.__name__} as run; run()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdin is not None, "asked for above"
    assert process.stdout is not None, "asked for above"
    try:
        with process.stdin as job:
            pickle.dump(table, job)
        yield from _receive(process.stdout)
    finally:
        process.stdout.close()
        process.kill()
        process.wait()


def _receive(pipe: IO[bytes]) -> Iterator[bytes]:
    while True:
        number, size = _BATCH.unpack(_read_exactly(pipe, _BATCH.size))
        if number == _FAILED:
            raise ExchangeError(_read_exactly(pipe, size).decode())
        if number == 0:
            return
        lengths = array("I", _read_exactly(pipe, number * array("I").itemsize))
        data, start = _read_exactly(pipe, size), 0
        for length in lengths:
            yield data[start : start + length]
            start += length


def _read_exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise ExchangeError("the process that encodes what is imported has ended; import it again")
    return data


def _send(pipe: IO[bytes], attempts: Iterable[bytes]) -> None:
    together: list[bytes] = []
    for attempt in attempts:
        together.append(attempt)
        if len(together) == _TOGETHER:
            _send_batch(pipe, together)
            together.clear()
    if together:
        _send_batch(pipe, together)
    pipe.write(_BATCH.pack(0, 0))
    pipe.flush()


def _send_batch(pipe: IO[bytes], attempts: list[bytes]) -> None:
    lengths, data = array("I", map(len, attempts)), b"".join(attempts)
    pipe.write(_BATCH.pack(len(attempts), len(data)))
    pipe.write(lengths.tobytes())
    pipe.write(data)


def encode_what_is_asked() -> None:
    """The second process: a table through stdin, its attempts through stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    table, out = pickle.load(sys.stdin.buffer), sys.stdout.buffer
    try:
        _send(out, table.attempts())
    except ExchangeError as problem:
        words = str(problem).encode()
        out.write(_BATCH.pack(_FAILED, len(words)) + words)
        out.flush()
    except BrokenPipeError:
        os._exit(1)
