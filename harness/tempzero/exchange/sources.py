"""A path in (a file, pipe, folder, zip or tar archive), its record files out; what is unsafe or no record is left out.

Everything inside an archive is hostile: names that lead outside are refused, links are not
followed, and what unpacks to far more than it weighs is not unpacked to the end.
"""

from __future__ import annotations

import bz2
import fnmatch
import gzip
import hashlib
import lzma
import os
import re
import select
import shutil
import stat
import struct
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from tempzero.errors import ExchangeError

FileKind = Literal["csv", "tsv", "jsonl", "json", "parquet", "eval", "text", ""]
"""How a file is read; nothing: not as records."""
TEXT_TABLES: tuple[FileKind, ...] = ("csv", "tsv")
TABLES: tuple[FileKind, ...] = (*TEXT_TABLES, "jsonl", "parquet")

_KIND_BY_ENDING: Mapping[str, FileKind] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".eval": "eval",
}
_TAR = re.compile(r"\.(tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
_ARCHIVE = re.compile(r"\.(tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz)|zip|7z|rar)$", re.IGNORECASE)

_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")

# An archive may unpack to this much in any case, and to that multiple of its own size.
_FREE_BYTES = 1 << 30
_MOST_TIMES = 200
_MOST_FILES = 100_000
_CHUNK = 1 << 20
# A pipe that nobody writes into ends the import after this long; what comes through it may fill the disk up to here.
_PIPE_WAIT_S = 60.0
_LEAST_FREE_BYTES = 1 << 30
_TOLD_EVERY = 64 << 20
_MOST_NAMED = 3
# Files that hold one answer each, where the mapping says that the text is @content.
_TEXT_ENDINGS = frozenset({".md", ".markdown", ".txt", ".text", ""})

Progress = Callable[[str, int], None]
"""Hears what is going on, and how far: megabytes while unpacking, else rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordFile:
    """One file that may hold records: its name inside the source (POSIX), where it lies now, and its kind."""

    name: str
    path: Path
    kind: FileKind
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The record files of what is imported, in natural order of their names, and what was left out.

    `around` is the folder that files at the top lie in: the imported one, or the one that holds the file.
    """

    name: str
    around: str
    files: tuple[RecordFile, ...]
    sha256: str
    notices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _FoundFile:
    name: str
    path: Path
    packed: str = ""

    def fits(self, only: Sequence[str]) -> bool:
        """Whether a glob fits its name, with or without the ending that says how it is compressed."""
        return not only or any(fnmatch.fnmatchcase(n, p) for n in (self.name, self.packed) if n for p in only)


@contextmanager
def open_source(
    path: Path, *, only: Sequence[str] = (), as_texts: bool = False, tell: Progress = lambda what, amount: None
) -> Iterator[Source]:
    """The source at `path`, unpacked into a temporary folder where needed.

    `only` are globs over the names inside (`runs/*/*.csv`); empty takes all whose ending says that they are tables.
    What a glob names is looked at, whatever its ending. With `as_texts` each file is one text. Raises ExchangeError
    for what is missing, damaged or hostile.
    """
    with tempfile.TemporaryDirectory(prefix="tempzero-import-") as folder:
        left_out: Counter[str] = Counter()
        piped = _is_pipe(path)
        opened = _copy_pipe(path, Path(folder), tell) if piped else path
        found = list(_find_files(opened, Path(folder), left_out, only, tell))
        chosen = sorted((f for f in found if f.fits(only)), key=lambda f: natural_sort_key(f.name))
        if not chosen:
            raise ExchangeError(_explain_no_files(path, found, only, left_out))
        alone = len(found) == 1 and opened.is_file()
        if as_texts:
            records, others = _make_text_files(chosen, only)
        else:
            records, others = _make_record_files(chosen, named=alone or bool(only), alone=alone)
        if not records:
            left_out.update({why: len(names) for why, names in others.items()})
            raise ExchangeError(_explain_no_files(path, found, only, left_out))
        notices = (
            *(f"left out: {n} files ({why})" for why, n in sorted(left_out.items()) if n),
            *(f"left out: {name_some(names)} ({why})" for why, names in sorted(others.items())),
        )
        whole = path.absolute() if piped else path.resolve()
        around = whole.name if opened.is_dir() else whole.parent.name
        yield Source(
            name=whole.name, around=around, files=records, sha256=_digest_record_files(records), notices=notices
        )


def natural_sort_key(name: str) -> list[tuple[int, int, str]]:
    """A sort key that puts run-2 before run-10."""
    return [(0, int(p), p) if p.isascii() and p.isdigit() else (1, 0, p) for p in re.split(r"(\d{1,18})", name) if p]


def name_some(names: Sequence[str]) -> str:
    """Files by name; of many the first few, and how many more there are."""
    shown = ", ".join(names[:_MOST_NAMED])
    return f"{shown} and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else shown


def _is_pipe(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except OSError:
        return False


def _copy_pipe(path: Path, folder: Path, tell: Progress) -> Path:
    """What comes through a named pipe (or `<(...)`), in a file: it is read more than once."""
    below = folder / "pipe"
    below.mkdir()
    copy = below / (path.name if path.suffix else f"{path.name}.txt" if path.name.isdigit() else path.name)
    size, told, patience = 0, 0, time.monotonic() + _PIPE_WAIT_S
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with copy.open("wb") as file:
            while True:
                select.select([pipe], [], [], 1.0)
                try:
                    chunk = os.read(pipe, _CHUNK)
                except BlockingIOError:  # somebody holds its other end, and has not written yet
                    chunk = None
                if chunk:
                    size += file.write(chunk)
                elif chunk == b"" and size:
                    return copy
                elif not size:
                    if time.monotonic() > patience:
                        raise ExchangeError(f"{path}: nothing came through this pipe in {_PIPE_WAIT_S:.0f} s")
                    time.sleep(0.05)
                if size - told >= _TOLD_EVERY:
                    told = size
                    tell("receiving", size >> 20)
                    _require_room(path, folder)
    finally:
        os.close(pipe)


def _require_room(path: Path, folder: Path) -> None:
    if shutil.disk_usage(folder).free < _LEAST_FREE_BYTES:
        raise ExchangeError(f"{path}: fills the disk that {folder} is on; set TMPDIR to a larger one")


def _find_files(
    path: Path, folder: Path, left_out: Counter[str], only: Sequence[str], tell: Progress
) -> Iterator[_FoundFile]:
    if path.is_dir():
        yield from _files_in_folder(path, folder, left_out, only, tell)
    elif not path.exists():
        raise ExchangeError(f"{path}: no such file or folder")
    elif not path.is_file():
        raise ExchangeError(f"{path}: is no file, folder or pipe")
    elif _TAR.search(path.name):
        yield from _files_in_tar(path, folder, left_out, only, tell)
    elif path.suffix.lower() == ".zip":
        yield from _files_in_zip(path, folder, left_out, only, tell)
    elif path.suffix.lower() in _COMPRESSED:
        yield _decompress_file(_Unpacker(path, folder, tell), path, path.name)
    else:
        yield _FoundFile(name=path.name, path=path)


def _files_in_folder(
    path: Path, folder: Path, left_out: Counter[str], only: Sequence[str], tell: Progress
) -> Iterator[_FoundFile]:
    inside = path.resolve()
    for number, file in enumerate(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        why = _reason_to_leave_out(name)
        if file.is_symlink() and not file.resolve().is_relative_to(inside):
            why = "links that lead outside the folder"
        if why:
            left_out[why] += file.is_file() or file.is_symlink()
        elif file.is_file() and file.suffix.lower() in _COMPRESSED:
            packed = _FoundFile(name=name[: -len(file.suffix)], path=file, packed=name)
            if packed.fits(only):
                below = folder / f"compressed{number}"
                below.mkdir()
                packed = _decompress_file(_Unpacker(file, below, tell), file, name)
            yield packed
        elif file.is_file():
            yield _FoundFile(name=name, path=file)
        elif not file.is_dir():
            left_out["pipes and devices"] += 1


def _reason_to_leave_out(name: str) -> str:
    """Why a file is no record by its name alone; empty when it may be one."""
    parts = PurePosixPath(name).parts
    if "__MACOSX" in parts or any(p.startswith("._") for p in parts):
        return "resource forks that macOS puts beside the real files"
    if any(p.startswith(".") for p in parts):
        return "hidden files"
    if _ARCHIVE.search(name):
        return "archives within"
    return ""


class _Unpacker:
    """Copies members into files of our own naming, and stops at what a harmless archive would not exceed."""

    def __init__(self, archive: Path, folder: Path, tell: Progress) -> None:
        self._archive, self._folder, self._tell = archive, folder, tell
        self._limit = max(_FREE_BYTES, _MOST_TIMES * archive.stat().st_size)
        self._bytes = self._files = 0

    def put(self, name: str, data: Any) -> _FoundFile:
        self._files += 1
        if self._files > _MOST_FILES:
            raise ExchangeError(
                f"{self._archive}: holds more than {_MOST_FILES} files; import a part of it with --only"
            )
        path = self._folder / f"{self._files:06d}"
        with path.open("wb") as file:
            while chunk := data.read(_CHUNK):
                self._bytes += len(chunk)
                if self._bytes > self._limit:
                    raise ExchangeError(
                        f'{self._archive}: unpacks to more than {self._limit >> 20} MB (at "{name}"), as a '
                        "decompression bomb does; if it is harmless, unpack it yourself and import the folder"
                    )
                file.write(chunk)
                if self._bytes % _TOLD_EVERY < len(chunk):
                    self._tell("unpacking", self._bytes >> 20)
        return _FoundFile(name=name, path=path)

    def put_wanted(self, name: str, data: Any, only: Sequence[str]) -> _FoundFile:
        """A member of an archive that a glob fits, unpacked where it is compressed itself. Of others only the name."""
        ending = PurePosixPath(name).suffix.lower()
        plain = name[: -len(ending)] if ending in _COMPRESSED else name
        found = _FoundFile(name=plain, path=self._folder / "not-unpacked", packed=name if plain != name else "")
        if not found.fits(only):
            return found
        put = self.put(name, data)
        if plain == name:
            return put
        with wrap_archive_errors(name), _open_compressed(put.path, ending) as inner:
            unpacked = self.put(plain, inner)
        put.path.unlink()
        return _FoundFile(name=plain, path=unpacked.path, packed=name)


# What the standard library raises over an archive whose bytes are damaged or forged.
_ARCHIVE_ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    KeyError,
    ValueError,
)


@contextmanager
def wrap_archive_errors(name: object) -> Iterator[None]:
    """Whatever is wrong with an archive becomes one ExchangeError that names it."""
    try:
        yield
    except _ARCHIVE_ERRORS as problem:
        raise ExchangeError(f"{name}: damaged archive: {' '.join(str(problem).split())[:200]}") from None
    except NotImplementedError as problem:
        raise ExchangeError(
            f"{name}: {problem}; unpack it with another tool and import the folder "
            "(an Inspect log: `inspect log convert --to json`)"
        ) from None
    except RuntimeError as problem:  # zipfile says so of a member with a password
        raise ExchangeError(f"{name}: {problem}") from None
    except OSError as problem:
        raise ExchangeError(f"{name}: cannot be read: {problem.strerror or problem}") from None


def _files_in_tar(
    path: Path, folder: Path, left_out: Counter[str], only: Sequence[str], tell: Progress
) -> Iterator[_FoundFile]:
    unpacker = _Unpacker(path, folder, tell)
    with wrap_archive_errors(path), tarfile.open(path) as archive:
        for member in archive:
            _refuse_outside_path(path, member.name)
            why = _reason_to_leave_out(member.name) or (
                "" if member.isfile() or member.isdir() else "links and devices"
            )
            if why:
                left_out[why] += not member.isdir()
                continue
            data = archive.extractfile(member)
            if data is not None:
                yield unpacker.put_wanted(member.name, data, only)


def _files_in_zip(
    path: Path, folder: Path, left_out: Counter[str], only: Sequence[str], tell: Progress
) -> Iterator[_FoundFile]:
    unpacker = _Unpacker(path, folder, tell)
    with wrap_archive_errors(path), zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            _refuse_outside_path(path, member.filename)
            if member.is_dir():
                continue
            why = _reason_to_leave_out(member.filename)
            if why:
                left_out[why] += 1
                continue
            with archive.open(member) as data:
                yield unpacker.put_wanted(member.filename, data, only)


def _decompress_file(unpacker: _Unpacker, path: Path, name: str) -> _FoundFile:
    """A single compressed file under its name without the ending."""
    ending = path.suffix.lower()
    with wrap_archive_errors(path), _open_compressed(path, ending) as data:
        found = unpacker.put(name[: -len(ending)], data)
    return _FoundFile(name=found.name, path=found.path, packed=name)


def _open_compressed(path: Path, ending: str) -> Any:
    opening: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    if ending in opening:
        return opening[ending](path)
    try:
        import pyarrow  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        raise ExchangeError(
            f"{path}: zstd needs pyarrow, which is not installed; unpack it first, or pip install 'tempzero[parquet]'"
        ) from None
    return pyarrow.CompressedInputStream(str(path), "zstd")


def _refuse_outside_path(path: Path, name: str) -> None:
    inside = PurePosixPath(name.replace("\\", "/"))
    if inside.is_absolute() or ".." in inside.parts or re.match(r"[A-Za-z]:", name):
        raise ExchangeError(f'{path}: its member "{name}" would lie outside the archive; nothing of it is read')


_OtherFiles = Mapping[str, Sequence[str]]
"""Names of files that are left out, by why."""
_NO_TABLE = "not a table"
_NO_TEXT = "no text"


def _make_record_files(
    found: Iterable[_FoundFile], *, named: bool, alone: bool
) -> tuple[tuple[RecordFile, ...], _OtherFiles]:
    """The tables; a file whose ending says nothing is looked at where it was named."""
    others: defaultdict[str, list[str]] = defaultdict(list)
    records = []
    for file in found:
        kind = _KIND_BY_ENDING.get(PurePosixPath(file.name).suffix.lower(), "")
        if not kind and named:
            kind = _sniff_kind(file.path)
            if not kind and alone:
                raise ExchangeError(
                    f"{file.name}: is no text (a spreadsheet, a database?); save it as CSV, JSONL or Parquet"
                )
        if kind:
            records.append(_make_record_file(file, kind))
        else:
            others[_NO_TEXT if named else _NO_TABLE].append(file.name)
    return tuple(records), others


def _make_text_files(found: Sequence[_FoundFile], only: Sequence[str]) -> tuple[tuple[RecordFile, ...], _OtherFiles]:
    """One answer a file: all that a glob names, else those whose ending is that of a text."""
    texts = [f for f in found if only or PurePosixPath(f.name).suffix.lower() in _TEXT_ENDINGS] or found
    others: defaultdict[str, list[str]] = defaultdict(list)
    for file in found:
        if file not in texts:
            others["not a text; --only names others"].append(file.name)
        elif not _sniff_kind(file.path):
            others[_NO_TEXT].append(file.name)
    records = tuple(_make_record_file(f, "text") for f in texts if f.name not in others[_NO_TEXT])
    return records, {why: names for why, names in others.items() if names}


def _make_record_file(found: _FoundFile, kind: FileKind) -> RecordFile:
    digest = hashlib.sha256()
    with wrap_archive_errors(found.path), found.path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return RecordFile(name=found.name, path=found.path, kind=kind, sha256=digest.hexdigest())


def _sniff_kind(path: Path) -> FileKind:
    """The kind of a file whose name does not say it; empty where it is no text."""
    with wrap_archive_errors(path), path.open("rb") as file:
        head = file.read(4096)
    if head.startswith(b"PAR1"):
        return "parquet"
    if b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return ""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"["):
        return "json"
    if start.startswith(b"{"):
        return "jsonl" if start.split(b"\n")[0].rstrip().endswith(b"}") else "json"
    return "tsv" if b"\t" in start.split(b"\n")[0] else "csv"


def _digest_record_files(files: Iterable[RecordFile]) -> str:
    """Of one file its own hash; of several, the hash over their names and hashes."""
    several = list(files)
    if len(several) == 1:
        return several[0].sha256
    lines = "".join(f"{f.sha256}  {f.name}\n" for f in several)
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()


def _glob_for_endings(names: Sequence[str]) -> str:
    """A glob that all the names fit: `*.log_*` for x.log_1 and x.log_2."""
    suffixes = sorted({PurePosixPath(name).suffix for name in names})
    first, last = suffixes[0], suffixes[-1]
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return f"*{first}" if first == last else f"*{first[:shared]}*" if shared > 1 else "*"


def _explain_no_files(path: Path, found: Sequence[_FoundFile], only: Sequence[str], left_out: Counter[str]) -> str:
    known = ", ".join(_KIND_BY_ENDING)
    if found and only:
        fitting = [f.name for f in found if f.fits(only)]
        if fitting:
            return f"{path}: what fits --only {' '.join(only)} is no table: {name_some(fitting)}"
        there = name_some(sorted((f.packed or f.name for f in found), key=natural_sort_key))
        return f"{path}: no file fits --only {' '.join(only)}; there are {there}"
    beside = "".join(f"; left out {n} ({why})" for why, n in sorted(left_out.items()) if n)
    names = sorted((f.name for f in found), key=natural_sort_key)
    if not names:
        return f"{path}: holds no file that can be imported ({known}){beside}"
    return (
        f"{path}: holds no file that can be imported ({known}){beside}; there are {name_some(names)}. Where they are "
        f"tables say --only '{_glob_for_endings(names)}', and where each is one answer "
        "--map text=@content,provider=@folder,id=@stem"
    )
