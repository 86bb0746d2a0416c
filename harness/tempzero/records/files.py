"""Bytes and a path in, a file that outlasts a power cut out; locks and pipes: the one place of the package for them."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows has no flock; there a second writer is not noticed.
    fcntl = None  # type: ignore[assignment]


def write_atomically(path: Path, data: bytes, *, lasting: bool = True) -> None:
    """Put `data` at `path` so that a reader sees the old file or the new one, never half, power cuts included.

    Not `lasting`: what can be made again is not waited for until it is on the disk; a power cut may leave it empty.
    Raises OSError, also where a folder stands at `path`.
    """
    if path.is_dir():  # `/` and `.` have no name beside which something could be written
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(data)
            if lasting:
                sync_file(file)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    if lasting:
        sync_folder(path.parent)


def move_into_place(made: Path, path: Path) -> None:
    """Give what was made elsewhere on the same disk, a file or a folder, its name, power cuts included."""
    if made.is_dir():
        sync_folder(made)
    else:
        with made.open("rb") as file:
            sync_file(file)
    made.replace(path)
    sync_folder(path.parent)


def sync_file(file: IO[bytes]) -> None:
    """Force all that was written to an open file to the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Force the names in a folder to the disk; a system that has no such thing is left alone."""
    with contextlib.suppress(OSError):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def widen_pipe(pipe: IO[bytes], size: int) -> None:
    """Let a pipe hold so many bytes, so that neither end waits for the other as often; where the system allows it."""
    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, size)


def lock_file(file: IO[Any], *, wait: bool = False) -> bool:
    """Take an open file's lock, for as long as it is open and however this process ends. False: another has it.

    With `wait` only when it is had. Raises OSError where the disk knows no locks.
    """
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@contextlib.contextmanager
def hold_workshop(target: Path) -> Iterator[Path]:
    """One maker of `target` at a time, with an empty folder to make it in; the others wait and then find it made."""
    with target.with_suffix(".lock").open("w") as lock:
        lock_file(lock, wait=True)
        # Without locks two makers do the same work twice, each in a folder of its own: never harm.
        workshop = target.with_suffix(".part" if fcntl is not None else f".part-{os.getpid()}")
        shutil.rmtree(workshop, ignore_errors=True)  # of a maker that was killed
        workshop.mkdir()
        try:
            yield workshop
        finally:
            shutil.rmtree(workshop, ignore_errors=True)
