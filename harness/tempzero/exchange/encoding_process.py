"""An EncodingJob in, its encoded rows out, made by a second process while the first one surveys, chains and writes.

The second process gets its job and gives its results through pipes, and runs this module alone, so that nobody's
script is run twice. It begins before the source has been surveyed, and waits when its pipe is full.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import IO

from tempzero.errors import ExchangeError
from tempzero.exchange.row_encoding import EncodedRows, EncodingJob, encode_rows

_SIZE = struct.Struct("<Q")
# Below this size starting a process costs more than it saves.
_LEAST_BYTES = 64 << 20


def is_worth_a_process(size: int) -> bool:
    """Whether a source of so many bytes is encoded sooner by two processes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return size >= _LEAST_BYTES and cores > 1


class EncodingProcess:
    """Another process at work on a job; it must be closed."""

    def __init__(self, job: EncodingJob) -> None:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import {encode_what_is_asked.__name__} as run; run()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self._process.stdin is not None, "asked for above"
        assert self._process.stdout is not None, "asked for above"
        self._results = self._process.stdout
        with contextlib.suppress(BrokenPipeError):  # that it has ended is noticed where its rows are read
            self._process.stdin.write(pickle.dumps(job))
            self._process.stdin.close()

    def encode_rows(self) -> Iterator[EncodedRows]:
        """What the function of that name gives. Raises ExchangeError as that does."""
        while True:
            (size,) = _SIZE.unpack(_read_exactly(self._results, _SIZE.size))
            if size == 0:
                return
            found = pickle.loads(_read_exactly(self._results, size))
            if isinstance(found, ExchangeError):
                raise found
            yield found

    def close(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._results.close()
        self._process.wait()


def _read_exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise ExchangeError("the process that encodes what is imported has ended; import it again")
    return data


def _send(pipe: IO[bytes], result: EncodedRows | ExchangeError) -> None:
    data = pickle.dumps(result, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(_SIZE.pack(len(data)))
    pipe.write(data)


def encode_what_is_asked() -> None:
    """The second process: a job through stdin, its encoded rows through stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    job, out = pickle.load(sys.stdin.buffer), sys.stdout.buffer
    try:
        try:
            for rows in encode_rows(job):
                _send(out, rows)
        except ExchangeError as problem:
            _send(out, problem)
        out.write(_SIZE.pack(0))
        out.flush()
    except BrokenPipeError:
        os._exit(1)
