"""Values in, lines that each name the hash of the one before out, and back: records, scores and judgements alike.

A chain starts from the run's manifest, so that it cannot be moved to another run, nor the manifest replaced, and goes
on from part to part. A line is whole or not there: what a kill or a full disk leaves of one is cut off, and nothing is
ever written behind half a line.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Generic, Protocol, TypeVar

import msgspec

from tempzero.canonical_json import to_ascii_canonical_json
from tempzero.errors import RunFolderError
from tempzero.records.files import sync_file, sync_folder
from tempzero.records.layout import (
    JUDGEMENTS,
    PACKED,
    PART_BYTES,
    RECORDS,
    SCORES,
    ChainName,
    completing_command,
    list_parts,
    name_part,
    unwritable_error,
)
from tempzero.types.recorded import Attempt, Record
from tempzero.types.scored import Judgement, ScoreLine

# Lines that can be had again are handed on in pieces of this size: larger ones only cost more of memory.
_BUFFER_BYTES = 1 << 20
_PIECES_WAITING = 16
# So many full parts may wait for the disk while the next is written.
_PARTS_CLOSING = 4
_HASHED_BESIDE_BYTES = 1 << 15

# Of a line that is none.
_DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

encode_value = msgspec.json.Encoder().encode


class ChainedLine(Protocol):
    """What every line of a chain holds besides its own."""

    @property
    def seq(self) -> int:
        """Its place, from 0."""

    @property
    def previous(self) -> str:
        """The hash of the line before it; of the first line, the chain's genesis hash."""


Value = TypeVar("Value")
Line = TypeVar("Line", bound=ChainedLine)
Decoded = TypeVar("Decoded")


@dataclass(frozen=True, kw_only=True, slots=True)
class ChainKind(Generic[Value, Line]):
    """What chains differ in: the name, how a value becomes a line (seq, previous), and how one is read back.

    `envelope` is what stands around an encoded value in its line, where values may come encoded.
    """

    name: ChainName
    link: Callable[[Value, int, str], Line]
    decode: Callable[[bytes], Line]
    envelope: tuple[bytes, bytes] = (b"", b"")


RECORD_CHAIN: ChainKind[Attempt, Record] = ChainKind(
    name=RECORDS,
    link=lambda attempt, seq, previous: Record(seq=seq, previous=previous, attempt=attempt),
    decode=msgspec.json.Decoder(Record).decode,
    envelope=(b'{"seq":%d,"previous":"%b","attempt":', b"}"),
)
SCORE_CHAIN: ChainKind[ScoreLine, ScoreLine] = ChainKind(
    name=SCORES,
    link=lambda line, seq, previous: replace(line, seq=seq, previous=previous),
    decode=msgspec.json.Decoder(ScoreLine).decode,
)
JUDGEMENT_CHAIN: ChainKind[Judgement, Judgement] = ChainKind(
    name=JUDGEMENTS,
    link=lambda judgement, seq, previous: replace(judgement, seq=seq, previous=previous),
    decode=msgspec.json.Decoder(Judgement).decode,
)


class ChainWriter(Generic[Value, Line]):
    """The one writer of a chain, from its last line on. `torn_tail` is what was cut off when it was opened.

    It begins a part of its own with its first line, and another whenever one holds `part_bytes`; `on_turn` is called
    with each that is closed while `append` goes on. `seq` and `head` are the next line's number and the last line's
    hash, of lines that are with the operating system; `part_hashes` are those of the parts that it closed.
    """

    def __init__(
        self,
        folder: Path,
        kind: ChainKind[Value, Line],
        *,
        seq: int,
        head: str,
        next_part: int = 1,
        torn_tail: str | None = None,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._folder, self._kind = folder, kind
        self.seq, self.head, self.torn_tail = seq, head, torn_tail
        self._next_part, self._part_bytes = next_part, part_bytes
        self._part: _OpenPart | None = None
        self._turning = threading.Lock()
        self.part_hashes: dict[Path, str] = {}
        self.on_turn: Callable[[Path], None] = lambda part: None
        self._close_part: Callable[[_OpenPart], None] = self._close_and_tell

    def append(self, value: Value) -> Line:
        """Write one value as the chain's next line and hand it to the operating system.

        When this returns the line survives a kill of this process; after the next `sync` it survives
        a power cut. Raises RunFolderError when the disk is full, and leaves no half line then.
        """
        line = self._kind.link(value, self.seq, self.head)
        data = encode_value(line)
        self._hand_on(data + b"\n", seq=self.seq + 1, head=hash_line(data))
        return line

    def append_many(self, values: Iterable[Value]) -> int:
        """Write values that can be had again (an import) as the chain's next lines; give their number.

        Unlike `append` this hands lines on when a buffer is full, which is many times faster; a
        kill loses the last of them. Raises RunFolderError when the disk is full.
        """
        first = seq = self.seq
        head, waiting = self.head, bytearray()
        with self._closing_beside():
            for value in values:
                data = encode_value(self._kind.link(value, seq, head))
                waiting += data + b"\n"
                seq, head = seq + 1, hash_line(data)
                if len(waiting) > _BUFFER_BYTES:
                    self._hand_on(waiting, seq=seq, head=head)
                    waiting.clear()
            self._hand_on(waiting, seq=seq, head=head)
        return self.seq - first

    def append_encoded(self, form: bytes, values: Iterable[Iterable[Any]]) -> int:
        """The same for values whose parts are encoded already (see `encoded_parts`), several times as fast.

        `form` is a value with a place for each of its parts, as `bytes %` fills them in.
        """
        first, head, waiting, size = self.seq, self.head.encode(), list[bytes](), 0
        before, behind = self._kind.envelope
        line = before + form + behind
        with self._closing_beside():
            for seq, parts in enumerate(values, start=first):
                data = line % (seq, head, *parts)
                waiting.append(data)
                size += len(data)
                head = sha256(data).hexdigest().encode()
                if size > _BUFFER_BYTES:
                    self._hand_on_lines(waiting, head)
                    size = 0
            self._hand_on_lines(waiting, head)
        return self.seq - first

    def _hand_on_lines(self, lines: list[bytes], head: bytes) -> None:
        """Hand on finished lines, of which `head` is the last one's hash, and forget them."""
        seq = self.seq + len(lines)
        lines.append(b"")
        self._hand_on(b"\n".join(lines), seq=seq, head=head.decode())
        lines.clear()

    def sync(self) -> None:
        """Force everything appended so far to the disk. May be called from another thread. Raises RunFolderError."""
        with self._turning:
            if self._part is not None:
                self._part.sync()

    def close(self) -> None:
        """Close the part that is open, all of it on the disk; what is appended later begins another.

        Raises RunFolderError.
        """
        with self._turning:
            part, self._part = self._part, None
            if part is not None:
                self.part_hashes |= part.close()

    def _hand_on(self, lines: bytes | bytearray, *, seq: int, head: str) -> None:
        """Write these lines, after which the chain stands there, or none of them: readers meet whole lines only."""
        if not lines:
            return
        part = self._part
        if part is None or part.size >= self._part_bytes:
            part = self._turn_part()
        part.write(lines)
        self.seq, self.head = seq, head

    def _turn_part(self) -> _OpenPart:
        """Close the part that is open, if one is, and begin the next."""
        if self._part is not None:
            self._close_part(self._part)
        begun = _OpenPart(name_part(self._folder, self._kind.name, self._next_part))
        self._next_part += 1
        with self._turning:
            self._part = begun
        return begun

    def _close_and_tell(self, full: _OpenPart) -> None:
        self.close()
        self.on_turn(full.path)

    @contextlib.contextmanager
    def _closing_beside(self) -> Iterator[None]:
        """Full parts are closed by another thread, and nobody is told: of what can be had again no line is promised.

        All of them are on the disk when it is left.
        """
        closing = deque[Future[dict[Path, str]]]()

        def close(full: _OpenPart) -> None:
            with self._turning:
                self._part = None
            closing.append(pool.submit(full.close))
            if len(closing) > _PARTS_CLOSING:
                self.part_hashes |= closing.popleft().result()

        with ThreadPoolExecutor(max_workers=1) as pool:
            self._close_part = close
            try:
                yield
            finally:
                self._close_part = self._close_and_tell
        for closed in closing:
            self.part_hashes |= closed.result()


class _OpenPart:
    """Lines in, a new file that holds them and its hash out."""

    def __init__(self, path: Path) -> None:
        self.path, self.size = path, 0
        try:
            path.parent.mkdir(exist_ok=True)
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise unwritable_error(path, error) from None
        sync_folder(path.parent)
        self._hash = _HashedBeside()

    def write(self, lines: bytes | bytearray) -> None:
        """All of them or none. Raises RunFolderError."""
        written = 0
        try:
            with memoryview(lines) as left:
                while written < len(left):
                    written += self._file.write(left[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self.size)
            self._file.seek(self.size)
            raise unwritable_error(self.path, error) from None
        self.size += written
        self._hash.add(bytes(lines))

    def sync(self) -> None:
        """To the disk. Raises RunFolderError."""
        try:
            sync_file(self._file)
        except OSError as error:
            raise unwritable_error(self.path, error) from None

    def close(self) -> dict[Path, str]:
        """Its hash, by its path; a part that nothing came into is taken away. Raises RunFolderError."""
        digest = self._hash.finish()
        with self._file:
            if self.size == 0:
                self.path.unlink(missing_ok=True)
                return {}
            self.sync()
        return {self.path: digest}


class _HashedBeside:
    """Bytes in, their hash out: that of large pieces is worked out by another thread, while this one goes on."""

    def __init__(self) -> None:
        self._digest = sha256()
        self._pool: ThreadPoolExecutor | None = None
        self._pending = deque[Future[None]]()

    def add(self, data: bytes) -> None:
        """Hash this too; wait where much is waiting already."""
        if len(data) < _HASHED_BESIDE_BYTES:
            self._wait(0)
            self._digest.update(data)
            return
        self._pool = self._pool or ThreadPoolExecutor(max_workers=1)
        self._pending.append(self._pool.submit(self._digest.update, data))
        self._wait(_PIECES_WAITING)

    def finish(self) -> str:
        """The hash of all."""
        self._wait(0)
        if self._pool is not None:
            self._pool.shutdown()
        return self._digest.hexdigest()

    def _wait(self, most: int) -> None:
        while len(self._pending) > most:
            self._pending.popleft().result()


@dataclass(frozen=True, kw_only=True, slots=True)
class FollowedLine(Generic[Line]):
    """A line of a chain that holds up to it: its value, its hash, and where it stands."""

    line: Line
    head: str
    place: str


# What a manifest gains while a run goes on.
_LATER_KEYS = ("sessions", "scores", "notes")


def genesis_hash(manifest: Mapping[str, Any]) -> str:
    """What the first line of every chain of a run names as the line before it: the manifest as the run began."""
    if manifest.get("format") == 1:
        return sha256(str(manifest.get("plan_digest")).encode()).hexdigest()
    opening = {name: value for name, value in manifest.items() if name not in _LATER_KEYS}
    return sha256(to_ascii_canonical_json(opening).encode()).hexdigest()


def hash_line(line: bytes) -> str:
    """By what the next line, or another chain, names this one (without its newline)."""
    return sha256(line).hexdigest()


def read_part(part: Path) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, bytes without newline) of one part; a torn last line is left out. Raises RunFolderError."""
    try:
        with gzip.open(part) if part.suffix == PACKED else part.open("rb", 1 << 20) as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield number, line[:-1]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RunFolderError(f"{part}: damaged ({error}); restore it from a copy") from None


def decode_line(decode: Callable[[bytes], Decoded], line: bytes, path: Path, number: int) -> Decoded:
    """The value of a line. Raises RunFolderError, naming it, where there is none in it."""
    try:
        return decode(line)
    except _DECODE_ERRORS as error:
        raise _damaged_line_error(path, number, error) from None


def _damaged_line_error(path: Path, number: int, error: Exception) -> RunFolderError:
    return RunFolderError(
        f"{path}:{number}: damaged line ({error}); restore it from a copy, "
        f"or remove it and what follows and `{completing_command(path)}`"
    )


def read_values(part: Path, decode: Callable[[bytes], Decoded]) -> Iterator[Decoded]:
    """The value of every line of one part, in order. Raises RunFolderError."""
    for number, line in read_part(part):
        try:
            value = decode(line)
        except _DECODE_ERRORS as error:
            raise _damaged_line_error(part, number, error) from None
        yield value


def read_chain(folder: Path, kind: ChainKind[Value, Line]) -> Iterator[Line]:
    """Every line's value, in order; the chain itself is not looked at. Raises RunFolderError."""
    for part in list_parts(folder, kind.name):
        yield from read_values(part, kind.decode)


def follow_chain(folder: Path, kind: ChainKind[Value, Line], genesis: str) -> Iterator[FollowedLine[Line]]:
    """Every line, in order. Raises RunFolderError where the chain breaks, naming the line."""
    previous, seq = genesis, 0
    for part in list_parts(folder, kind.name):
        for number, data in read_part(part):
            line, place = decode_line(kind.decode, data, part, number), f"{part}:{number}"
            if line.previous != previous or line.seq != seq:
                raise RunFolderError(
                    f"{place}: the hash chain breaks here: this line or the one before it "
                    "was changed, removed or moved after it was written"
                )
            previous, seq = hash_line(data), seq + 1
            yield FollowedLine(line=line, head=previous, place=place)


def find_chain_end(folder: Path, kind: ChainKind[Value, Line], genesis: str) -> tuple[int, str]:
    """Where a chain that holds goes on: the next line's number, and the last line's hash."""
    for part in reversed(list_parts(folder, kind.name)):
        last = deque(read_part(part), maxlen=1)
        if last:
            number, data = last[0]
            return decode_line(kind.decode, data, part, number).seq + 1, hash_line(data)
    return 0, genesis


def cut_torn_tail(file: IO[bytes]) -> str | None:
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
