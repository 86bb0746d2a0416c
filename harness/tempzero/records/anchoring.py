"""A run folder's files in, lists of their hashes out, in the form of `sha256sum`; and whether they still have them.

The hash of the list of what was collected is the run's root: one line that stands for every byte.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tempzero.errors import RunFolderError
from tempzero.records.files import write_atomically
from tempzero.records.layout import (
    DIRECTION_PACK,
    FIRST_TOKENS,
    JUDGEMENTS,
    MANIFEST,
    PACKED,
    PREFLIGHT,
    RECORDS,
    REPORT_LIST,
    ROOT_LIST,
    SCORES,
    ChainName,
    list_parts,
    unwritable_error,
)


def write_root(folder: Path, known: Mapping[Path, str] | None = None) -> str:
    """List what was collected, give the root; `known` are hashes of parts. Raises RunFolderError."""
    within = f"{FIRST_TOKENS}/{ROOT_LIST}"
    names = (MANIFEST, *_name_parts(folder, RECORDS), PREFLIGHT, DIRECTION_PACK, within)
    return _write_list(folder, ROOT_LIST, names, known or {})


def find_root(folder: Path) -> str | None:
    """The root of a run whose collecting came to an end."""
    file = folder / ROOT_LIST
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def list_record_hashes(folder: Path) -> dict[str, str]:
    """The parts of the records and their hashes, as the list of what was collected has them; empty without one."""
    file = folder / ROOT_LIST
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())}
    return {n: digest for n, digest in listed.items() if n.startswith(f"{RECORDS}/") or n == f"{RECORDS}.jsonl"}


def check_listed_parts(folder: Path) -> None:
    """Whether the records are those that were listed when collecting came to its end. Raises RunFolderError."""
    listed, found = list_record_hashes(folder), tuple(_name_parts(folder, RECORDS))
    for name in dict.fromkeys((*listed, *found)):
        if name not in found or _hash_file(folder / name) != listed.get(name):
            raise RunFolderError(f"{folder / name}: is not what {ROOT_LIST} has the hash of; restore it from a copy")


@contextlib.contextmanager
def hash_parts_beside(folder: Path) -> Iterator[Callable[[], dict[Path, str]]]:
    """Hash the parts of the records while they are read for something else, from the disk only once.

    What it gives waits until all are hashed.
    """
    pool = ThreadPoolExecutor(max_workers=1)
    pending = {folder / name: pool.submit(_hash_file, folder / name) for name in _name_parts(folder, RECORDS)}
    try:
        yield lambda: {part: digest for part, one in pending.items() if (digest := one.result()) is not None}
    finally:
        pool.shutdown(cancel_futures=True)


def list_report_files(folder: Path, written: Iterable[Path], known: Mapping[Path, str] | None = None) -> None:
    """List the reports of a run and what they were made of; `known` are hashes of parts."""
    made_of = [MANIFEST] if (folder / MANIFEST).is_file() else []
    for chain in (RECORDS, SCORES, JUDGEMENTS) if made_of else ():
        made_of += _name_parts(folder, chain)
    made_of += [f"{FIRST_TOKENS}/{ROOT_LIST}"] if made_of else []
    _write_list(
        folder, REPORT_LIST, (*made_of, *(path.relative_to(folder).as_posix() for path in written)), known or {}
    )


def check_lists(folder: Path) -> None:
    """Whether every listed file is what it was. Raises RunFolderError, naming the first that is not."""
    for listing, remedy in ((ROOT_LIST, "restore it from a copy"), (REPORT_LIST, "`tempzero report` writes it anew")):
        file = folder / listing
        if not file.is_file():
            continue
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            digest, _, name = line.partition("  ")
            if "/../" in f"/{name}" or name.startswith("/") or _hash_file(folder / name) != digest:
                raise RunFolderError(f"{folder / name}: is not what {listing} has the hash of; {remedy}")


def _name_parts(folder: Path, chain: ChainName) -> Iterator[str]:
    """The parts as lists name them: a packed one as what is in it."""
    for part in list_parts(folder, chain):
        yield part.relative_to(folder).as_posix().removesuffix(PACKED)


def _write_list(folder: Path, listing: str, names: Iterable[str], known: Mapping[Path, str]) -> str:
    hashes = {name: known.get(folder / name) or _hash_file(folder / name) for name in names}
    found = {name: digest for name, digest in hashes.items() if digest is not None}
    data = "".join(f"{digest}  {name}\n" for name, digest in found.items()).encode()
    try:
        write_atomically(folder / listing, data)
    except OSError as error:
        raise unwritable_error(folder / listing, error) from None
    return hashlib.sha256(data).hexdigest()


def _hash_file(path: Path) -> str | None:
    """Of its bytes; a packed part has the hash of what is in it."""
    packed = path.with_name(path.name + PACKED)
    digest = hashlib.sha256()
    try:
        with gzip.open(packed) if packed.exists() and not path.exists() else path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except (OSError, ValueError, EOFError, zlib.error):  # a folder, a name that no file can have, damaged packing
        return None
    return digest.hexdigest()
