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
from dataclasses import replace
from typing import IO, Any

from tempzero.errors import ExchangeError
from tempzero.exchange.column_reading import DoubtfulReadingError
from tempzero.exchange.row_encoding import EncodedRows, EncodingJob, encode_rows
from tempzero.records.files import widen_pipe

# What stands before each result: the sizes of its parts, of which the texts of rows go as they are.
_SIZES = struct.Struct("<QQQ")
# A pipe that holds a batch: neither side waits for the other within one.
_PIPE_BYTES = 1 << 20
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
        widen_pipe(self._results, _PIPE_BYTES)
        with contextlib.suppress(BrokenPipeError):  # that it has ended is noticed where its rows are read
            self._process.stdin.write(pickle.dumps(job))
            self._process.stdin.close()

    def require_alike(self) -> None:
        """What the job's method of that name raises; to be called once, before its rows are taken."""
        found = None
        with contextlib.suppress(ExchangeError):  # is said where its rows are taken
            found = self._receive()
        if found is not None:
            raise found

    def encode_rows(self) -> Iterator[EncodedRows]:
        """What the function of that name gives. Raises ExchangeError as that does."""
        while (found := self._receive()) is not None:
            if isinstance(found, ExchangeError):
                raise found
            yield found

    def _receive(self) -> Any:
        """The next result: whether all is read alike, then rows or what prevents them, then None."""
        size, *sizes = _SIZES.unpack(_read_exactly(self._results, _SIZES.size))
        found = pickle.loads(_read_exactly(self._results, size))
        if isinstance(found, EncodedRows):
            responses, texts = (_read_exactly(self._results, part) for part in sizes)
            return replace(found, responses=responses, texts=texts)
        return found

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


def _send(pipe: IO[bytes], result: EncodedRows | Exception | None) -> None:
    """The large parts of a result are written as they stand: pickling would copy them twice."""
    parts = (result.responses, result.texts) if isinstance(result, EncodedRows) else (b"", b"")
    small = replace(result, responses=b"", texts=b"") if isinstance(result, EncodedRows) else result
    data = pickle.dumps(small, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(_SIZES.pack(len(data), *map(len, parts)))
    for part in (data, *parts):
        pipe.write(part)


def encode_what_is_asked() -> None:
    """The second process: a job through stdin; whether it is read alike and its encoded rows through stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    job, out = pickle.load(sys.stdin.buffer), sys.stdout.buffer
    try:
        for result in _work(job):
            _send(out, result)
        out.flush()
    except BrokenPipeError:
        os._exit(1)


def _work(job: EncodingJob) -> Iterator[EncodedRows | Exception | None]:
    try:
        with contextlib.suppress(ExchangeError):  # is said again where the rows are encoded
            job.require_alike()
    except DoubtfulReadingError as doubt:
        yield doubt
        return
    yield None
    try:
        yield from encode_rows(job)
    except ExchangeError as problem:
        yield problem
    yield None
