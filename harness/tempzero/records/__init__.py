"""Attempts and scores in, a run folder out, and back: append-only, hash-chained, readable after any crash.

What is promised, and how it is held:
- A record handed over by `append` survives the kill of this process: the line is with the operating system.
- A record that `sync` has returned for survives a power cut: the file has been forced to the disk. A run syncs
  several times a second, beside the asking, and shows an answer as had only then.
- The files themselves and the manifest survive one too: their folder is synced after each is made or replaced.
- A line is whole or not there: what a kill or a full disk leaves of one is cut off, and kept in the manifest.
- One writer at a time. Any later change, removal or move of a line breaks the chain, and `verify` says where.

Format history of results/<run>/ (`Manifest.format`):
 1  manifest.json + records.jsonl. Each line of records.jsonl is one `Record` as JSON; its `previous`
    is the SHA-256 of the line before it (the first line: of the plan digest). Where responses were
    read by a reference, scores.jsonl holds one `ScoreLine` a line, chained in the same way; each names
    the record it was read from by the hash of its line. judged.jsonl holds what answers came to that had to be
    tried out (`Judgement`), chained likewise; it may be removed and made again. preflight.jsonl has a line
    for each exchange of the check before the run, not chained.
    A finished run may hold records.jsonl.gz instead of records.jsonl: the same bytes, compressed.
"""

from __future__ import annotations

import base64
import contextlib
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

from tempzero import config
from tempzero.errors import RunFolderError
from tempzero.types.asked import Trial
from tempzero.types.recorded import (
    Attempt,
    Ending,
    Exchange,
    Manifest,
    Outcome,
    Record,
    RecordView,
    Seal,
    Session,
    Times,
)
from tempzero.types.scored import Judgement, Reading, ScoreLine

try:
    import fcntl
except ImportError:  # Windows has no flock; there a second writer is not noticed.
    fcntl = None  # type: ignore[assignment]

RUN_FORMAT = 1
MANIFEST = "manifest.json"
RECORDS = "records.jsonl"
SCORES = "scores.jsonl"
JUDGEMENTS = "judged.jsonl"
PREFLIGHT = "preflight.jsonl"
# Lines that can be had again are handed on in pieces of this size.
_BUFFER_BYTES = 1 << 20
COMPRESSED_RECORDS = "records.jsonl.gz"

_encode_value = msgspec.json.Encoder().encode
_decode_record = msgspec.json.Decoder(Record).decode
_decode_score = msgspec.json.Decoder(ScoreLine).decode
_decode_judged = msgspec.json.Decoder(Judgement).decode


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
class RunProgress:
    """What a run folder already holds: where a resumed run goes on."""

    attempts: dict[Trial, int]
    complete: frozenset[Trial]


class Run:
    """A run folder opened for reading. Open it with `open_run`."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.config = config.parse_config(manifest.config, source=str(path / MANIFEST))

    def records(self) -> Iterator[Record]:
        """Every record with its exact bytes, in order. Raises RunFolderError on a damaged line."""
        for number, line in _read_whole_lines(self.path / RECORDS):
            yield _decode_line(_decode_record, line, self.path / RECORDS, number)

    def views(self) -> Iterator[RecordView]:
        """Every record without its bytes, in order: fast and small. Raises RunFolderError."""
        for number, line in _read_whole_lines(self.path / RECORDS):
            yield _to_record_view(_decode_line(_decode_lean, line, self.path / RECORDS, number).attempt)

    def hashed_views(self) -> Iterator[tuple[str, RecordView]]:
        """Every record without its bytes, after the SHA-256 of its line, by which scores name it."""
        for number, line in _read_whole_lines(self.path / RECORDS):
            view = _to_record_view(_decode_line(_decode_lean, line, self.path / RECORDS, number).attempt)
            yield hashlib.sha256(line).hexdigest(), view

    def score_lines(self) -> Iterator[ScoreLine]:
        """Every line of scores.jsonl, in order; none where nothing was scored. Raises RunFolderError."""
        if (self.path / SCORES).exists():
            for number, line in _read_whole_lines(self.path / SCORES):
                yield _decode_line(_decode_score, line, self.path / SCORES, number)

    def judgements(self) -> Iterator[Judgement]:
        """Every line of judged.jsonl, in order; none where nothing had to be tried out. Raises RunFolderError."""
        if (self.path / JUDGEMENTS).exists():
            for number, line in _read_whole_lines(self.path / JUDGEMENTS):
                yield _decode_line(_decode_judged, line, self.path / JUDGEMENTS, number)

    def reading(self) -> Reading:
        """What references read of this run: all lines of scores.jsonl, sorted by kind."""
        lines = list(self.score_lines())
        return Reading(
            readers=tuple(one.reader for one in lines if one.reader is not None),
            scored=tuple(one.scored for one in lines if one.scored is not None),
            unread=tuple(one.unread for one in lines if one.unread is not None),
            forms=tuple(one.form for one in lines if one.form is not None),
            variants=tuple(one.variant for one in lines if one.variant is not None),
        )

    def lines(self) -> Iterator[bytes]:
        """Every record's line as it stands in the file, without its newline, in order: for passing evidence on."""
        return (line for _, line in _read_whole_lines(self.path / RECORDS))

    def preflights(self) -> int:
        """Requests of the checks before its sessions."""
        path = self.path / PREFLIGHT
        if not path.is_file():
            return 0
        with path.open("rb") as lines:
            return sum(1 for _ in lines)

    def progress(self) -> RunProgress:
        """Attempts so far by trial, and the trials that have an answer (whole or cut)."""
        attempts: dict[Trial, int] = {}
        complete = set()
        for view in self.views():
            attempts[view.trial] = max(view.number, attempts.get(view.trial, 0))
            if view.outcome.status in ("valid", "censored"):
                complete.add(view.trial)
        return RunProgress(attempts=attempts, complete=frozenset(complete))

    def verify(self) -> str:
        """Check the hash chain from the plan digest to the last line; give the last line's hash.

        Raises RunFolderError naming the first line that was changed, removed or moved, and
        when fewer or other records are there than the last finished session left behind.
        """
        heads = {0: _genesis_hash(self.manifest)}
        for number, line in _read_whole_lines(self.path / RECORDS):
            record = _decode_line(_decode_record, line, self.path / RECORDS, number)
            _check_chain_link(record, heads[number - 1], self.path / RECORDS, number)
            _check_body_hashes(record, self.path, number)
            heads[number] = hashlib.sha256(line).hexdigest()
        for session in self.manifest.sessions:
            if session.head is not None and heads.get(session.records) != session.head:
                raise RunFolderError(
                    f"{self.path / RECORDS}: the session that ended {session.ended_at} left {session.records} records; "
                    "they are not all there any more, or not the same"
                )
        self._verify_scores(set(heads.values()))
        previous = heads[0]
        for number, line in _read_whole_lines(self.path / JUDGEMENTS) if (self.path / JUDGEMENTS).exists() else ():
            _check_chain_link(
                _decode_line(_decode_judged, line, self.path / JUDGEMENTS, number),
                previous,
                self.path / JUDGEMENTS,
                number,
            )
            previous = hashlib.sha256(line).hexdigest()
        return heads[len(heads) - 1]

    def _verify_scores(self, records: set[str]) -> None:
        """Check the chain of scores.jsonl, and that what was read is still recorded."""
        path, seal = self.path / SCORES, self.manifest.scores
        heads = {0: _genesis_hash(self.manifest)}
        for number, line in _read_whole_lines(path) if path.exists() else ():
            score = _decode_line(_decode_score, line, path, number)
            _check_chain_link(score, heads[number - 1], path, number)
            read = score.scored or score.unread
            if read is not None and read.record_sha256 not in records:
                raise RunFolderError(f"{path}:{number}: no line of {RECORDS} has the hash {read.record_sha256[:12]}...")
            heads[number] = hashlib.sha256(line).hexdigest()
        if seal is not None and heads.get(seal.lines) != seal.head:
            raise RunFolderError(
                f"{path}: the last scoring left {seal.lines} lines; they are not all there any more, or not the same"
            )


def open_run(path: Path) -> Run:
    """Open results/<run>. Raises RunFolderError when it is not a run folder or of another format."""
    file = path / MANIFEST
    try:
        data = file.read_bytes()
    except OSError:
        raise RunFolderError(f"{path}: not a run folder: it has no {MANIFEST}") from None
    try:
        version = msgspec.json.decode(data, type=dict[str, Any]).get("format")
        if version != RUN_FORMAT:
            raise RunFolderError(f"{file}: written in format {version}; this tempzero reads format {RUN_FORMAT}")
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
        (path / RECORDS).touch()
        _write_manifest(path, manifest)  # last: a folder that has one is whole
        _sync_folder(path)
        _sync_folder(results)
    except FileExistsError:
        raise RunFolderError(f"{path}: is there already; wait a second or choose another --name") from None
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written: {error.strerror}") from None
    return path


class RunWriter:
    """The one writer of a run folder; get it from `writing`."""

    def __init__(self, file: IO[bytes], seq: int, head: str) -> None:
        self._file = file
        self._buffer = bytearray()
        self.seq = seq
        self.head = head

    def append(self, attempt: Attempt) -> Record:
        """Write one attempt as the chain's next line and hand it to the operating system.

        When this returns the line survives a kill of this process; after the next `sync` it survives
        a power cut. Raises RunFolderError when the disk is full, and leaves no half line then.
        """
        record = self._add(attempt)
        self._flush()
        return record

    def append_many(self, attempts: Iterable[Attempt]) -> int:
        """Write attempts that can be had again (an import) as the chain's next lines; give their number.

        Unlike `append` this hands lines on when a buffer is full, which is many times faster; a
        kill loses the last of them. Raises RunFolderError when the disk is full.
        """
        first = self.seq
        for attempt in attempts:
            self._add(attempt)
            if len(self._buffer) > _BUFFER_BYTES:
                self._flush()
        self._flush()
        return self.seq - first

    def sync(self) -> None:
        """Force everything appended so far to the disk. May be called from another thread. Raises RunFolderError."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _unwritable_error(Path(self._file.name), error) from None

    def _add(self, attempt: Attempt) -> Record:
        record = Record(seq=self.seq, previous=self.head, attempt=attempt)
        line = _encode_value(record)
        self._buffer += line + b"\n"
        self.seq += 1
        self.head = hashlib.sha256(line).hexdigest()
        return record

    def _flush(self) -> None:
        """Hand the buffer on, or cut off what got there of it: whoever reads the file meets whole lines."""
        end = self._file.seek(0, os.SEEK_END)
        try:
            while self._buffer:
                del self._buffer[: self._file.write(self._buffer)]
        except OSError as error:
            self._buffer.clear()
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise _unwritable_error(Path(self._file.name), error) from None


def _write_chained_line(file: IO[bytes], line: ScoreLine | Judgement) -> str:
    """Hand a line to the system; the hash that the next one names as its previous."""
    data = _encode_value(line)
    try:
        file.write(data + b"\n")
        file.flush()
    except OSError as error:
        raise RunFolderError(f"{file.name}: cannot be written: {error.strerror}") from None
    return hashlib.sha256(data).hexdigest()


class ScoreWriter:
    """The one writer of a run folder's scores; get it from `scoring`."""

    def __init__(self, file: IO[bytes], seq: int, head: str) -> None:
        self._file, self.seq, self.head = file, seq, head

    def append(self, line: ScoreLine) -> None:
        """Write a line as the chain's next one (`seq` and `previous` are set here) and hand it to the system."""
        self.head = _write_chained_line(self._file, replace(line, seq=self.seq, previous=self.head))
        self.seq += 1


@contextmanager
def open_score_writer(path: Path) -> Iterator[ScoreWriter]:
    """Append to a run folder's scores, alone; a torn last line is dropped, since it can be had again.

    Raises RunFolderError when another process is writing, or records or scores do not hold.
    """
    file_path = path / SCORES
    try:
        file = file_path.open("a+b")
    except OSError as error:
        raise RunFolderError(f"{file_path}: cannot be written: {error.strerror}") from None
    with file:
        _lock_run_folder(file, path)
        _cut_torn_tail(file)
        run = open_run(path)
        run.verify()
        seq, head = 0, _genesis_hash(run.manifest)
        for number, line in _read_whole_lines(file_path):
            seq, head = number, hashlib.sha256(line).hexdigest()
        writer = ScoreWriter(file, seq, head)
        try:
            yield writer
        finally:
            os.fsync(file.fileno())
            manifest = open_run(path).manifest
            _write_manifest(path, replace(manifest, scores=Seal(lines=writer.seq, head=writer.head)))


class JudgementWriter:
    """The one writer of a run folder's judgements; get it from `judging`."""

    def __init__(self, file: IO[bytes], seq: int, head: str) -> None:
        self._file, self._seq, self._head = file, seq, head

    def append(self, judgement: Judgement) -> None:
        """Write a line as the chain's next one (`seq` and `previous` are set here). Raises RunFolderError."""
        self._head = _write_chained_line(self._file, replace(judgement, seq=self._seq, previous=self._head))
        self._seq += 1


@contextmanager
def open_judgement_writer(path: Path) -> Iterator[JudgementWriter]:
    """Append to a run folder's judgements, alone; a torn last line is dropped. Raises RunFolderError."""
    file_path = path / JUDGEMENTS
    try:
        file = file_path.open("a+b")
    except OSError as error:
        raise RunFolderError(f"{file_path}: cannot be written: {error.strerror}") from None
    with file:
        _lock_run_folder(file, path)
        _cut_torn_tail(file)
        run = open_run(path)
        run.verify()
        seq, head = 0, _genesis_hash(run.manifest)
        for number, line in _read_whole_lines(file_path):
            seq, head = number, hashlib.sha256(line).hexdigest()
        try:
            yield JudgementWriter(file, seq, head)
        finally:
            os.fsync(file.fileno())


@contextmanager
def open_run_writer(path: Path, *, now: str) -> Iterator[RunWriter]:
    """Append to a run folder, alone. A torn last line is moved into the manifest first.

    `now` is the session's start (ISO 8601); its end is stamped by `finish_session`. Raises
    RunFolderError when another process is writing to the folder or the chain does not hold.
    """
    file_path = path / RECORDS
    if not file_path.exists() and (path / COMPRESSED_RECORDS).exists():
        raise RunFolderError(f"{path}: is compressed; `gunzip {path / COMPRESSED_RECORDS}` before adding to it")
    if not file_path.exists():
        open_run(path)  # says what is wrong where this is no run folder at all
    try:
        opened = file_path.open("r+b", buffering=0)
    except FileNotFoundError:
        raise _missing_records_error(file_path) from None
    except OSError as error:
        raise _unwritable_error(file_path, error) from None
    with opened as file:
        _lock_run_folder(file, path)
        torn = _cut_torn_tail(file)
        run = open_run(path)
        head = run.verify()
        file.seek(0, os.SEEK_END)
        seq = sum(1 for _ in _read_whole_lines(file_path))
        session = Session(started_at=now, ended_at=None, records=seq, head=None, torn_tail=torn)
        manifest = replace(run.manifest, sessions=(*run.manifest.sessions, session))
        _write_manifest(path, manifest)
        writer = RunWriter(file, seq, head)
        try:
            yield writer
        finally:
            with contextlib.suppress(OSError):  # a disk that fails now has failed before, and that error is on its way
                os.fsync(file.fileno())


def finish_session(
    path: Path, writer: RunWriter, *, now: str, endings: Iterable[Ending] = (), notes: Iterable[str] = ()
) -> None:
    """Stamp the last session's end, count and head into the manifest: the chain's own seal.

    `endings` say why trials were left unasked; `notes` are added to those that the manifest holds.
    """
    writer.sync()
    manifest = open_run(path).manifest
    last = replace(manifest.sessions[-1], ended_at=now, records=writer.seq, head=writer.head, endings=tuple(endings))
    said = dict.fromkeys((*manifest.notes, *notes))
    _write_manifest(path, replace(manifest, sessions=(*manifest.sessions[:-1], last), notes=tuple(said)))


def record_preflight(path: Path, exchanges: Iterable[tuple[str, str, Exchange]]) -> None:
    """Add a line for each (provider, what was looked at, exchange) to preflight.jsonl. Raises RunFolderError."""
    lines = [_encode_value({"provider": p, "looked_at": what, "exchange": e}) + b"\n" for p, what, e in exchanges]
    if not lines:
        return
    try:
        with (path / PREFLIGHT).open("ab") as file:
            file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path)
    except OSError as error:
        raise _unwritable_error(path / PREFLIGHT, error) from None


def compress_run(path: Path) -> int:
    """Put records.jsonl.gz in place of records.jsonl; give the bytes saved. What is read from the run stays the same.

    Raises RunFolderError where the run is being written to, or its chain does not hold: damage is not packed away.
    """
    plain, packed = path / RECORDS, path / COMPRESSED_RECORDS
    if not plain.exists():
        return 0
    with plain.open("rb") as file:
        _lock_run_folder(file, path)
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
    """Put `data` at `path` so that a reader sees the old file or the new one, never half, power cuts included."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    """Force the names in a folder to the disk; a system that has no such thing is left alone."""
    with contextlib.suppress(OSError):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _unwritable_error(file: Path, error: OSError) -> RunFolderError:
    return RunFolderError(
        f"{file}: cannot be written: {error.strerror}; what was recorded before is kept, "
        f"and `tempzero run --resume {file.parent}` goes on once it can be"
    )


def _missing_records_error(path: Path) -> RunFolderError:
    return RunFolderError(f"{path}: missing; without it the run folder holds no evidence")


def _write_manifest(path: Path, manifest: Manifest) -> None:
    try:
        write_atomically(path / MANIFEST, msgspec.json.format(_encode_value(manifest), indent=2) + b"\n")
    except OSError as error:
        raise _unwritable_error(path / MANIFEST, error) from None


def _genesis_hash(manifest: Manifest) -> str:
    return hashlib.sha256(manifest.plan_digest.encode()).hexdigest()


def _read_whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, bytes without newline); a torn last line is left out."""
    packed = path.with_name(COMPRESSED_RECORDS)
    try:
        # The plain file goes before a packed one: a kill between packing and removing leaves both.
        with gzip.open(packed) if packed.exists() and not path.exists() else path.open("rb", 1 << 20) as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield number, line[:-1]
    except FileNotFoundError:
        raise _missing_records_error(path) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RunFolderError(f"{packed}: damaged ({error}); restore it from a copy") from None


def _to_record_view(attempt: _LeanAttempt) -> RecordView:
    return RecordView(
        trial=attempt.trial,
        number=attempt.number,
        block=attempt.block,
        request_sha256=attempt.exchange.request.sha256,
        times=attempt.exchange.times,
        outcome=attempt.exchange.outcome,
    )


def _decode_line(decode: Callable[[bytes], T], line: bytes, path: Path, number: int) -> T:
    try:
        return decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        again = {RECORDS: "`run --resume`", JUDGEMENTS: "`tempzero report`"}.get(path.name, "`tempzero score`")
        raise RunFolderError(
            f"{path}:{number}: damaged line ({error}); restore it from a copy, "
            f"or remove it and what follows and {again}"
        ) from None


def _check_chain_link(line: Record | ScoreLine | Judgement, previous: str, path: Path, number: int) -> None:
    if line.previous != previous or line.seq != number - 1:
        raise RunFolderError(
            f"{path}:{number}: the hash chain breaks here: this line or the one before it "
            "was changed, removed or moved after it was written"
        )


def _check_body_hashes(record: Record, path: Path, number: int) -> None:
    """The bodies inside a line must have the hashes that stand beside them."""
    request, response = record.attempt.exchange.request, record.attempt.exchange.response
    bodies = [("request", request.body.encode(), request.sha256)]
    if response is not None:
        raw = base64.b64decode(response.body_base64) if response.body is None else response.body.encode()  # type: ignore[arg-type]
        bodies.append(("response", raw, response.sha256))
    for what, raw, expected in bodies:
        if hashlib.sha256(raw).hexdigest() != expected:
            raise RunFolderError(f"{path / RECORDS}:{number}: the {what} body does not have the hash recorded with it")


def _lock_run_folder(file: IO[bytes], path: Path) -> None:
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
