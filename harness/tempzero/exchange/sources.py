"""A path in (a file, a folder, a zip or tar archive), its record files out; what is unsafe or no record is left out.

Everything inside an archive is hostile: names that lead outside are refused, links are not
followed, and what unpacks to far more than it weighs is not unpacked to the end.
"""

from __future__ import annotations

import bz2
import fnmatch
import gzip
import hashlib
import lzma
import re
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from tempzero.errors import ExchangeError

FileKind = Literal["csv", "tsv", "jsonl", "json", "parquet", "eval", ""]
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


@contextmanager
def open_source(path: Path, *, only: Sequence[str] = ()) -> Iterator[Source]:
    """The source at `path`, unpacked into a temporary folder where needed.

    `only` are globs over the names inside (`runs/*/*.csv`); empty takes all. Raises ExchangeError
    for what is missing, damaged or hostile.
    """
    with tempfile.TemporaryDirectory(prefix="tempzero-import-") as folder:
        left_out: Counter[str] = Counter()
        found = list(_find_files(path, Path(folder), left_out))
        chosen = sorted((f for f in found if _is_wanted(f.name, only)), key=lambda f: natural_sort_key(f.name))
        if not chosen:
            raise ExchangeError(_explain_no_files(path, found, only, left_out))
        alone = len(found) == 1 and path.is_file()
        files = tuple(_make_record_file(f, named=alone or _is_named_by_ending(f.name, only)) for f in chosen)
        records = tuple(f for f in files if f.kind)
        left_out["not a table"] += len(files) - len(records)
        if not records:
            raise ExchangeError(_explain_no_files(path, found, only, left_out))
        notices = tuple(f"left out: {n} files ({why})" for why, n in sorted(left_out.items()) if n)
        whole = path.resolve()
        around = whole.name if path.is_dir() else whole.parent.name
        yield Source(
            name=whole.name, around=around, files=records, sha256=_digest_record_files(records), notices=notices
        )


def natural_sort_key(name: str) -> list[tuple[int, int, str]]:
    """A sort key that puts run-2 before run-10."""
    return [(0, int(p), p) if p.isascii() and p.isdigit() else (1, 0, p) for p in re.split(r"(\d{1,18})", name) if p]


def _find_files(path: Path, folder: Path, left_out: Counter[str]) -> Iterator[_FoundFile]:
    if path.is_dir():
        yield from _files_in_folder(path, folder, left_out)
    elif not path.exists():
        raise ExchangeError(f"{path}: no such file or folder")
    elif _TAR.search(path.name):
        yield from _files_in_tar(path, folder, left_out)
    elif path.suffix.lower() == ".zip":
        yield from _files_in_zip(path, folder, left_out)
    elif path.suffix.lower() in _COMPRESSED:
        yield _decompress_file(_Unpacker(path, folder), path, path.name)
    else:
        yield _FoundFile(name=path.name, path=path)


def _files_in_folder(path: Path, folder: Path, left_out: Counter[str]) -> Iterator[_FoundFile]:
    inside = path.resolve()
    for number, file in enumerate(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        why = _reason_to_leave_out(name)
        if file.is_symlink() and not file.resolve().is_relative_to(inside):
            why = "links that lead outside the folder"
        if why:
            left_out[why] += file.is_file() or file.is_symlink()
        elif file.is_file() and file.suffix.lower() in _COMPRESSED:
            below = folder / f"compressed{number}"
            below.mkdir()
            yield _decompress_file(_Unpacker(file, below), file, name)
        elif file.is_file():
            yield _FoundFile(name=name, path=file)


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

    def __init__(self, archive: Path, folder: Path) -> None:
        self._archive, self._folder = archive, folder
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
        return _FoundFile(name=name, path=path)


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


def _files_in_tar(path: Path, folder: Path, left_out: Counter[str]) -> Iterator[_FoundFile]:
    unpacker = _Unpacker(path, folder)
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
                yield unpacker.put(member.name, data)


def _files_in_zip(path: Path, folder: Path, left_out: Counter[str]) -> Iterator[_FoundFile]:
    unpacker = _Unpacker(path, folder)
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
                yield unpacker.put(member.filename, data)


def _decompress_file(unpacker: _Unpacker, path: Path, name: str) -> _FoundFile:
    """A single compressed file under its name without the ending."""
    ending = path.suffix.lower()
    with wrap_archive_errors(path), _open_compressed(path, ending) as data:
        return unpacker.put(name[: -len(ending)], data)


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


def _is_wanted(name: str, only: Sequence[str]) -> bool:
    return not only or any(fnmatch.fnmatchcase(name, pattern) for pattern in only)


def _is_named_by_ending(name: str, only: Sequence[str]) -> bool:
    """Whether a glob names the file's very ending, as `*.txt` does: whoever writes that means a table."""
    ending = PurePosixPath(name).suffix
    return bool(ending) and any(pattern.endswith(ending) for pattern in only)


def _make_record_file(found: _FoundFile, *, named: bool) -> RecordFile:
    path, name = found.path, found.name
    kind = _KIND_BY_ENDING.get(PurePosixPath(name).suffix.lower(), "")
    with wrap_archive_errors(path):
        if not kind and named:
            kind = _sniff_kind(path)
        digest = hashlib.sha256()
        if kind:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
    return RecordFile(name=name, path=path, kind=kind, sha256=digest.hexdigest())


def _sniff_kind(path: Path) -> FileKind:
    """The kind of a file whose name does not say it."""
    with path.open("rb") as file:
        head = file.read(4096)
    if head.startswith(b"PAR1"):
        return "parquet"
    if b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ExchangeError(f"{path.name}: is no text (a spreadsheet, a database?); save it as CSV, JSONL or Parquet")
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


def _explain_no_files(path: Path, found: Sequence[_FoundFile], only: Sequence[str], left_out: Counter[str]) -> str:
    known = ", ".join(_KIND_BY_ENDING)
    if found and only:
        names = ", ".join(f.name for f in found[:3])
        return f"{path}: no file fits --only {' '.join(only)}; there are {names}{', ...' if len(found) > 3 else ''}"
    beside = "".join(f"; left out {n} ({why})" for why, n in sorted(left_out.items()) if n)
    return f"{path}: holds no file that can be imported ({known}){beside}"
