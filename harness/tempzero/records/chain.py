"""Values in, lines that each name the hash of the one before out, and back: records, scores and judgements alike.

A chain starts from the run's manifest, so that it cannot be moved to another run, nor the manifest replaced. A line is
whole or not there: what a kill or a full disk leaves of one is cut off, and nothing is ever written behind half a line.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Generic, Protocol, Self, TypeVar

import msgspec

from tempzero.canonical_json import to_ascii_canonical_json
from tempzero.errors import RunFolderError
from tempzero.records.files import sync_file
from tempzero.records.layout import (
    JUDGEMENTS,
    RECORDS,
    SCORES,
    completing_command,
    missing_records_error,
    unwritable_error,
)
from tempzero.types.recorded import Attempt, Record
from tempzero.types.scored import Judgement, ScoreLine

# Lines that can be had again are handed on in pieces of this size: larger ones only cost more of memory.
_BUFFER_BYTES = 1 << 20
_PIECES_WAITING = 16

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
    """What chains differ in: the file's name, how a value becomes a line (seq, previous), and how one is read back.

    `envelope` is what stands around an encoded value in its line, where values may come encoded.
    """

    file_name: str
    link: Callable[[Value, int, str], Line]
    decode: Callable[[bytes], Line]
    envelope: tuple[bytes, bytes] = (b"", b"")


RECORD_CHAIN: ChainKind[Attempt, Record] = ChainKind(
    file_name=RECORDS,
    link=lambda attempt, seq, previous: Record(seq=seq, previous=previous, attempt=attempt),
    decode=msgspec.json.Decoder(Record).decode,
    envelope=(b'{"seq":%d,"previous":"%b","attempt":', b"}"),
)
SCORE_CHAIN: ChainKind[ScoreLine, ScoreLine] = ChainKind(
    file_name=SCORES,
    link=lambda line, seq, previous: replace(line, seq=seq, previous=previous),
    decode=msgspec.json.Decoder(ScoreLine).decode,
)
JUDGEMENT_CHAIN: ChainKind[Judgement, Judgement] = ChainKind(
    file_name=JUDGEMENTS,
    link=lambda judgement, seq, previous: replace(judgement, seq=seq, previous=previous),
    decode=msgspec.json.Decoder(Judgement).decode,
)


class ChainWriter(Generic[Value, Line]):
    """The one writer of a chain, from its last line on. `torn_tail` is what was cut off when it was opened.

    `seq` and `head` are the next line's number and the last line's hash, of lines that are with the operating system.
    `file_hash` is that of the whole file, where it came out of the writing.
    """

    def __init__(
        self, file: IO[bytes], kind: ChainKind[Value, Line], *, seq: int, head: str, torn_tail: str | None = None
    ) -> None:
        self._file, self._kind = file, kind
        self.seq, self.head, self.torn_tail = seq, head, torn_tail
        self.file_hash: str | None = None

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
        with _HashedBeside() as whole:
            for seq, parts in enumerate(values, start=first):
                data = line % (seq, head, *parts)
                waiting.append(data)
                size += len(data)
                head = sha256(data).hexdigest().encode()
                if size > _BUFFER_BYTES:
                    whole.add(self._hand_on_lines(waiting, head))
                    size = 0
            whole.add(self._hand_on_lines(waiting, head))
        if first == 0:
            self.file_hash = whole.digest.hexdigest()
        return self.seq - first

    def _hand_on_lines(self, lines: list[bytes], head: bytes) -> bytes:
        """Hand on finished lines, of which `head` is the last one's hash, forget them, and give their bytes."""
        seq = self.seq + len(lines)
        lines.append(b"")
        data = b"\n".join(lines)
        self._hand_on(data, seq=seq, head=head.decode())
        lines.clear()
        return data

    def sync(self) -> None:
        """Force everything appended so far to the disk. May be called from another thread. Raises RunFolderError."""
        try:
            sync_file(self._file)
        except OSError as error:
            raise unwritable_error(Path(self._file.name), error) from None

    def _hand_on(self, lines: bytes | bytearray, *, seq: int, head: str) -> None:
        """Write these lines, after which the chain stands there, or none of them: readers meet whole lines only."""
        end, written = self._file.seek(0, os.SEEK_END), 0
        try:
            with memoryview(lines) as left:
                while written < len(left):
                    written += self._file.write(left[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise unwritable_error(Path(self._file.name), error) from None
        self.seq, self.head, self.file_hash = seq, head, None


class _HashedBeside:
    """Bytes in, their hash out: worked out by another thread, while this one goes on."""

    def __init__(self) -> None:
        self.digest = sha256()
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._pending = deque[Future[None]]()

    def __enter__(self) -> Self:
        return self

    def add(self, data: bytes) -> None:
        """Hash this too; wait where much is waiting already."""
        self._pending.append(self._pool.submit(self.digest.update, data))
        if len(self._pending) > _PIECES_WAITING:
            self._pending.popleft().result()

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


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


def read_whole_lines(folder: Path, file_name: str) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, bytes without newline); a torn last line is left out.

    A file that is not there has no lines, but for the records. Raises RunFolderError.
    """
    path = folder / file_name
    packed = path.with_name(f"{file_name}.gz")
    try:
        # The plain file goes before a packed one: a kill between packing and removing leaves both.
        with gzip.open(packed) if packed.exists() and not path.exists() else path.open("rb", 1 << 20) as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield number, line[:-1]
    except FileNotFoundError:
        if file_name == RECORDS:
            raise missing_records_error(folder) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RunFolderError(f"{packed}: damaged ({error}); restore it from a copy") from None


def decode_line(decode: Callable[[bytes], Decoded], line: bytes, path: Path, number: int) -> Decoded:
    """The value of a line. Raises RunFolderError, naming it, where there is none in it."""
    try:
        return decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RunFolderError(
            f"{path}:{number}: damaged line ({error}); restore it from a copy, "
            f"or remove it and what follows and `{completing_command(path.name)}`"
        ) from None


def read_chain(folder: Path, kind: ChainKind[Value, Line]) -> Iterator[Line]:
    """Every line's value, in order; the chain itself is not looked at. Raises RunFolderError."""
    for number, line in read_whole_lines(folder, kind.file_name):
        yield decode_line(kind.decode, line, folder / kind.file_name, number)


def follow_chain(folder: Path, kind: ChainKind[Value, Line], genesis: str) -> Iterator[tuple[str, Line]]:
    """Every line's hash and value, in order. Raises RunFolderError where the chain breaks, naming the line."""
    path, previous = folder / kind.file_name, genesis
    for number, data in read_whole_lines(folder, kind.file_name):
        line = decode_line(kind.decode, data, path, number)
        if line.previous != previous or line.seq != number - 1:
            raise RunFolderError(
                f"{path}:{number}: the hash chain breaks here: this line or the one before it "
                "was changed, removed or moved after it was written"
            )
        previous = hash_line(data)
        yield previous, line


def find_chain_end(folder: Path, file_name: str, genesis: str) -> tuple[int, str]:
    """Where a chain that holds goes on: the next line's number, and the last line's hash."""
    last = deque(read_whole_lines(folder, file_name), maxlen=1)
    return (last[0][0], hash_line(last[0][1])) if last else (0, genesis)


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
