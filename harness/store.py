"""Attempts in, a run folder out, and back: append-only, hash-chained, readable after any crash.

Format history of results/<run>/ (`Manifest.format`):
 1  manifest.json + records.jsonl. Each line of records.jsonl is one `Record` as JSON; its `previous`
    is the SHA-256 of the line before it (the first line: of the plan digest). A finished run may hold
    records.jsonl.gz instead: the same bytes, compressed.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from harness import config as configuration
from harness.errors import RunFolderError
from harness.types import Attempt, Manifest, Outcome, Record, RecordView, Session, Times, Trial

try:
    import fcntl
except ImportError:  # Windows has no flock; there a second writer is not noticed.
    fcntl = None  # type: ignore[assignment]

FORMAT = 1
MANIFEST = "manifest.json"
RECORDS = "records.jsonl"
COMPRESSED = "records.jsonl.gz"

_encode = msgspec.json.Encoder().encode
_decode_record = msgspec.json.Decoder(Record).decode


# A record line without its bytes: msgspec skips what a type does not name, so reading a
# million of them neither builds nor keeps the bodies.
@dataclass(frozen=True, kw_only=True, slots=True)
class _LeanRequest:
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _LeanExchange:
    request: _LeanRequest
    times: Times
    outcome: Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class _LeanAttempt:
    trial: Trial
    number: int
    block: int
    exchange: _LeanExchange


@dataclass(frozen=True, kw_only=True, slots=True)
class _LeanRecord:
    attempt: _LeanAttempt


T = TypeVar("T")

_decode_lean = msgspec.json.Decoder(_LeanRecord).decode


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """What a run folder already holds: where a resumed run goes on."""

    attempts: dict[Trial, int]
    complete: frozenset[Trial]


class Run:
    """A run folder opened for reading. Open it with `open_run`."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.config = configuration.parse(manifest.config, source=str(path / MANIFEST))

    def records(self) -> Iterator[Record]:
        """Every record with its exact bytes, in order. Raises RunFolderError on a damaged line."""
        for number, line in _whole_lines(self.path / RECORDS):
            yield _decoded(_decode_record, line, self.path, number)

    def views(self) -> Iterator[RecordView]:
        """Every record without its bytes, in order: fast and small. Raises RunFolderError."""
        for number, line in _whole_lines(self.path / RECORDS):
            attempt = _decoded(_decode_lean, line, self.path, number).attempt
            yield RecordView(
                trial=attempt.trial,
                number=attempt.number,
                block=attempt.block,
                request_sha256=attempt.exchange.request.sha256,
                times=attempt.exchange.times,
                outcome=attempt.exchange.outcome,
            )

    def lines(self) -> Iterator[bytes]:
        """Every record's line as it stands in the file, without its newline, in order: for passing evidence on."""
        return (line for _, line in _whole_lines(self.path / RECORDS))

    def progress(self) -> Progress:
        """Attempts so far by trial, and the trials that have an answer (whole or cut)."""
        attempts: dict[Trial, int] = {}
        complete = set()
        for view in self.views():
            attempts[view.trial] = max(view.number, attempts.get(view.trial, 0))
            if view.outcome.status in ("valid", "censored"):
                complete.add(view.trial)
        return Progress(attempts=attempts, complete=frozenset(complete))

    def verify(self) -> str:
        """Check the hash chain from the plan digest to the last line; give the last line's hash.

        Raises RunFolderError naming the first line that was changed, removed or moved, and
        when fewer or other records are there than the last finished session left behind.
        """
        previous = _genesis(self.manifest)
        heads = {0: previous}
        for number, line in _whole_lines(self.path / RECORDS):
            record = _decoded(_decode_record, line, self.path, number)
            if record.previous != previous or record.seq != number - 1:
                raise RunFolderError(
                    f"{self.path / RECORDS}:{number}: the hash chain breaks here: this line or the one before it "
                    "was changed, removed or moved after it was written"
                )
            _check_bytes(record, self.path, number)
            previous = hashlib.sha256(line).hexdigest()
            heads[number] = previous
        for session in self.manifest.sessions:
            if session.head is not None and heads.get(session.records) != session.head:
                raise RunFolderError(
                    f"{self.path / RECORDS}: the session that ended {session.ended_at} left {session.records} records; "
                    "they are not all there any more, or not the same"
                )
        return previous


def open_run(path: Path) -> Run:
    """Open results/<run>. Raises RunFolderError when it is not a run folder or of another format."""
    file = path / MANIFEST
    try:
        data = file.read_bytes()
    except OSError:
        raise RunFolderError(f"{path}: not a run folder: it has no {MANIFEST}") from None
    try:
        version = msgspec.json.decode(data, type=dict[str, Any]).get("format")
        if version != FORMAT:
            raise RunFolderError(f"{file}: written in format {version}; this tempzero reads format {FORMAT}")
        return Run(path, msgspec.json.decode(data, type=Manifest))
    except msgspec.MsgspecError as error:
        raise RunFolderError(f"{file}: damaged: {error}") from None


def create_run(results: Path, manifest: Manifest) -> Path:
    """Make results/<run_id>/ with its manifest and an empty records.jsonl; give its path.

    Raises RunFolderError when the folder is there already or cannot be written.
    """
    path = results / manifest.run_id
    try:
        path.mkdir(parents=True)
        _write_manifest(path, manifest)
        (path / RECORDS).touch()
    except FileExistsError:
        raise RunFolderError(f"{path}: is there already; wait a second or choose another --name") from None
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written: {error.strerror}") from None
    return path


class RunWriter:
    """The one writer of a run folder; get it from `writing`."""

    def __init__(self, file: IO[bytes], seq: int, head: str) -> None:
        self._file = file
        self.seq = seq
        self.head = head

    def append(self, attempt: Attempt) -> Record:
        """Write one attempt as the chain's next line and hand it to the operating system.

        When this returns the line survives a kill of this process; `writing` also syncs the
        file to the disk when the session ends. Raises RunFolderError when the disk is full.
        """
        return self._write(attempt, flush=True)

    def append_many(self, attempts: Iterable[Attempt]) -> int:
        """Write attempts that can be had again (an import) as the chain's next lines; give their number.

        Unlike `append` this hands lines on when a buffer is full, which is many times faster; a
        kill loses the last of them. Raises RunFolderError when the disk is full.
        """
        first = self.seq
        for attempt in attempts:
            self._write(attempt, flush=False)
        try:
            self._file.flush()
        except OSError as error:
            raise RunFolderError(f"{self._file.name}: cannot be written: {error.strerror}") from None
        return self.seq - first

    def _write(self, attempt: Attempt, *, flush: bool) -> Record:
        record = Record(seq=self.seq, previous=self.head, attempt=attempt)
        line = _encode(record)
        try:
            self._file.write(line + b"\n")
            if flush:
                self._file.flush()
        except OSError as error:
            raise RunFolderError(f"{self._file.name}: cannot be written: {error.strerror}") from None
        self.seq += 1
        self.head = hashlib.sha256(line).hexdigest()
        return record


@contextmanager
def writing(path: Path, *, now: str) -> Iterator[RunWriter]:
    """Append to a run folder, alone. A torn last line is moved into the manifest first.

    `now` is the session's start (ISO 8601); its end is stamped by `finish_session`. Raises
    RunFolderError when another process is writing to the folder or the chain does not hold.
    """
    file_path = path / RECORDS
    if not file_path.exists() and (path / COMPRESSED).exists():
        raise RunFolderError(f"{path}: is compressed; `gunzip {path / COMPRESSED}` before adding to it")
    with file_path.open("r+b") as file:
        _lock(file, path)
        torn = _cut_torn_tail(file)
        run = open_run(path)
        head = run.verify()
        file.seek(0, os.SEEK_END)
        seq = sum(1 for _ in _whole_lines(file_path))
        session = Session(started_at=now, ended_at=None, records=seq, head=None, torn_tail=torn)
        manifest = replace(run.manifest, sessions=(*run.manifest.sessions, session))
        _write_manifest(path, manifest)
        writer = RunWriter(file, seq, head)
        try:
            yield writer
        finally:
            os.fsync(file.fileno())


def finish_session(path: Path, writer: RunWriter, *, now: str) -> None:
    """Stamp the last session's end, count and head into the manifest: the chain's own seal."""
    manifest = open_run(path).manifest
    last = replace(manifest.sessions[-1], ended_at=now, records=writer.seq, head=writer.head)
    _write_manifest(path, replace(manifest, sessions=(*manifest.sessions[:-1], last)))


def compress(path: Path) -> int:
    """Put records.jsonl.gz in place of records.jsonl; give the bytes saved. What is read from the run stays the same.

    Raises RunFolderError where the run is being written to, or its chain does not hold: damage is not packed away.
    """
    plain, packed = path / RECORDS, path / COMPRESSED
    if not plain.exists():
        return 0
    with plain.open("rb") as file:
        _lock(file, path)
        open_run(path).verify()
        data = file.read()
        write_atomically(packed, gzip.compress(data, mtime=0))
        if gzip.decompress(packed.read_bytes()) != data:
            packed.unlink()
            raise RunFolderError(f"{packed}: was not written as it should be; records.jsonl is kept")
        saved = len(data) - packed.stat().st_size
    plain.unlink()
    return saved


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` at `path` so that a reader sees the old file or the new one, never half."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _write_manifest(path: Path, manifest: Manifest) -> None:
    write_atomically(path / MANIFEST, msgspec.json.format(_encode(manifest), indent=2) + b"\n")


def _genesis(manifest: Manifest) -> str:
    return hashlib.sha256(manifest.plan_digest.encode()).hexdigest()


def _whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, bytes without newline); a torn last line is left out."""
    packed = path.with_name(COMPRESSED)
    try:
        # The plain file goes before a packed one: a kill between packing and removing leaves both.
        with gzip.open(packed) if packed.exists() and not path.exists() else path.open("rb", 1 << 20) as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield number, line[:-1]
    except FileNotFoundError:
        raise RunFolderError(f"{path}: missing; without it the run folder holds no evidence") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RunFolderError(f"{packed}: damaged ({error}); restore it from a copy") from None


def _decoded(decode: Callable[[bytes], T], line: bytes, path: Path, number: int) -> T:
    try:
        return decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RunFolderError(
            f"{path / RECORDS}:{number}: damaged line ({error}); restore it from a copy, "
            "or remove it and what follows and `run --resume`"
        ) from None


def _check_bytes(record: Record, path: Path, number: int) -> None:
    """The bodies inside a line must have the hashes that stand beside them."""
    request, response = record.attempt.exchange.request, record.attempt.exchange.response
    bodies = [("request", request.body.encode(), request.sha256)]
    if response is not None:
        raw = base64.b64decode(response.body_base64) if response.body is None else response.body.encode()  # type: ignore[arg-type]
        bodies.append(("response", raw, response.sha256))
    for what, raw, expected in bodies:
        if hashlib.sha256(raw).hexdigest() != expected:
            raise RunFolderError(f"{path / RECORDS}:{number}: the {what} body does not have the hash recorded with it")


def _lock(file: IO[bytes], path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RunFolderError(f"{path}: another tempzero is writing to this run; wait for it or stop it") from None


def _cut_torn_tail(file: IO[bytes]) -> str | None:
    """Remove what a kill left of an unfinished last line, and give it back as text."""
    data_end = file.seek(0, os.SEEK_END)
    position, tail = data_end, b""
    while position > 0 and b"\n" not in tail:
        step = min(1 << 16, position)
        position -= step
        file.seek(position)
        tail = file.read(step) + tail
    torn = tail[tail.rfind(b"\n") + 1 :]
    if not torn:
        return None
    file.truncate(data_end - len(torn))
    return torn.decode(errors="backslashreplace")
