"""A folder under the spool in, the same in its place in the store out, and the other way round.

Evidence (manifest, records, scores, seals, nights, baselines) is put on the condition that nobody else has changed it;
what is made of it (reports, tables, pages) is just put. Nothing is removed from a store but what `prune` and `baseline
clear` remove, a list of hashes that is to be written anew, and a file that a packed one stands in for.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from functools import partial
from pathlib import Path, PurePosixPath

from tempzero.config.store_address import StoreAddress, describe_place, find_store_address
from tempzero.errors import StoreError
from tempzero.records.files import lock_file
from tempzero.records.layout import (
    FIRST_TOKENS,
    JUDGEMENTS,
    MANIFEST,
    PACKED,
    RECORDS,
    REPORT_LIST,
    ROOT_LIST,
    SCORES,
    SCORES_SEAL,
)
from tempzero.records.store.bucket import Bucket, ChangedError, StoredObject, describe_waiting
from tempzero.records.store.known_files import STATE_FOLDER, KnownFile, KnownFiles
from tempzero.records.store.lease import LEASE, RENEW_S, take_lease

_TICK_S = 2.0
_OPEN_PART_EVERY_S = 30.0
_OPEN_PART_BYTES = 8 << 20
_TRY_AGAIN_S = 15.0
_AT_ONCE = 8
# Made anew by a command from what is evidence: whoever puts it last is right.
_DERIVED = re.compile(r"(^|/)(summary\.json|badge\.json|report\..*|index\.html|fingerprint\.json|overview\..*|.*\.md)$")
_DERIVED_FOLDERS = frozenset({"tables", "charts", "page", "facts", "texts"})
# Where these are missing here, the ones in the store speak of what is no more.
_REMADE = (ROOT_LIST, REPORT_LIST)
# Put after everything that they speak of.
_LAST = (MANIFEST, SCORES_SEAL, ROOT_LIST, REPORT_LIST)
_CHAIN = re.compile(r"(records|scores|judged)\b.*\.jsonl$|preflight\.jsonl$")
_RECORDS = re.compile(rf"(^|/){RECORDS}[/.]")
# What this process is writing to.
_HELD: set[Path] = set()
_OVERVIEW = frozenset({MANIFEST, "summary.json", "fingerprint.json"})
_FACTS = re.compile(rf"({re.escape(MANIFEST)}|{re.escape(ROOT_LIST)}|(facts|texts)/.*)")


def is_stored(folder: Path) -> bool:
    """Whether a folder stands for a place in a store."""
    return find_store_address(folder) is not None


def require_store(folder: Path) -> None:
    """Raise StoreError where the store that a folder stands for cannot be reached: before anything is spent."""
    address = find_store_address(folder)
    if address is not None:
        Bucket(address).require_reachable()


def fetch_folder(folder: Path, *, only: Collection[str] | None = None) -> None:
    """Bring a folder in step with its place in the store; what is only here, or further here, stays.

    Raises StoreError where the two went different ways.
    """
    folder = _find_whole_run(folder)
    address = find_store_address(folder)
    if address is None:
        return
    bucket = Bucket(address)
    _fetch_objects(folder, bucket, bucket.list_objects(), _is_any if only is None else only.__contains__)


def fetch_run(folder: Path) -> None:
    """The same of a run; where the store has none at that place nothing is fetched, however much lies below it."""
    folder = _find_whole_run(folder)
    address = find_store_address(folder)
    if address is None:
        return
    bucket = Bucket(address)
    listed = bucket.list_objects()
    if MANIFEST in listed:
        _fetch_objects(folder, bucket, listed, _is_any)


def fetch_facts(place: Path) -> None:
    """Fetch what can be asked of a run, or of every run in a folder, without its records: its facts, if it has any."""
    address = find_store_address(place)
    if address is None:
        return
    bucket = Bucket(address)
    listed = bucket.list_objects()
    found = ((place, bucket, listed),) if MANIFEST in listed else _list_runs_of(place, "*")
    for folder, inside, names in found:
        _fetch_objects(folder, inside, names, lambda name: _FACTS.fullmatch(name) is not None)


def fetch_overview(results: Path, *, reports: bool = False, whole: bool = False) -> None:
    """Fetch what a list of runs is made from: of every run its manifest and summary (with its report; or all)."""
    wanted = {*_OVERVIEW, "report.html"} if reports else _OVERVIEW
    for folder, bucket, listed in _list_runs_of(results, "*"):
        _fetch_objects(folder, bucket, listed, _is_any if whole else wanted.__contains__)


def fetch_runs(results: Path, pattern: str) -> None:
    """Fetch every run whose name fits a pattern, whole."""
    for folder, bucket, listed in _list_runs_of(results, pattern):
        _fetch_objects(folder, bucket, listed, _is_any)


def put_folder(folder: Path, *, closed: bool = True) -> int:
    """Put what has changed of a folder; give the number of files. Raises StoreError, which says what waits.

    Not `closed`: it is being written to, and a part that still grows is put now and then only. What is evidence of a
    run that another process of this machine is writing to is left to that one, which knows what it has put.
    """
    folder = _find_whole_run(folder)
    address = find_store_address(folder)
    if address is None or not folder.is_dir():
        return 0
    with _telling_disk_errors(folder):
        return _put_changed(folder, Bucket(address), closed=closed)


def _put_changed(folder: Path, bucket: Bucket, *, closed: bool) -> int:
    known = KnownFiles(folder)
    names = _list_files(folder)
    due = [name for name in names if _is_changed(folder, name, known)]
    if not closed:
        due = [name for name in due if _is_due(folder, name, names, known)]
    if folder not in _HELD and _is_being_written(folder):
        due, closed = [name for name in due if _is_derived(name)], False
    done: set[str] = set()
    try:
        for name in (one for one in due if not _is_derived(one)):
            _put_evidence(folder, name, bucket, known)
            done.add(name)
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            made = [name for name in due if _is_derived(name)]
            done.update(pool.map(partial(_put_derived, folder, bucket=bucket, known=known), made))
        if closed:
            _remove_replaced(names, bucket, known)
    except ChangedError:
        raise
    except StoreError as error:
        waiting = describe_waiting(name for name in due if name not in done)
        raise StoreError(
            f"{error}; {waiting}: all of it is kept in {folder}, and `tempzero report {describe_place(folder)}` puts "
            "it once it can be"
        ) from None
    return len(due)


def put_runs(results: Path) -> int:
    """Put what waits of every run that is here; give the number of files. Raises StoreError."""
    if not is_stored(results) or not results.is_dir():
        return 0
    return sum(put_folder(folder) for folder in sorted(results.iterdir()) if (folder / MANIFEST).is_file())


def put_page(file: Path) -> None:
    """Put one file that stands beside the runs. Raises StoreError."""
    address = find_store_address(file.parent)
    if address is not None:
        Bucket(address).put_object(file.name, file.read_bytes(), "anything")


def remove_file(file: Path) -> None:
    """Remove one file from its folder's place in the store; what is here is left. Raises StoreError."""
    address = find_store_address(file.parent)
    if address is not None:
        Bucket(address).remove_objects([file.name])
        KnownFiles(file.parent).forget(file.name)


def remove_folder(folder: Path) -> int:
    """Remove a folder from its place in the store, and give its bytes; what is here is left. Raises StoreError."""
    address = find_store_address(folder)
    if address is None:
        return 0
    bucket = Bucket(address)
    listed = bucket.list_objects()
    # The manifest goes first: without it the rest is no run.
    bucket.remove_objects(sorted(listed, key=lambda name: name != MANIFEST))
    KnownFiles(folder).remove()
    return sum(stored.size for stored in listed.values())


@contextlib.contextmanager
def hold_writing(folder: Path, say: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """While a run is being written to: no other machine writes to it, and what is closed is put as it closes.

    Raises StoreError where another machine writes to it, or the store cannot be reached. Once this is held, nothing
    that happens to the store ends the run: what was not put is said, tried again, and kept here.
    """
    folder = _find_whole_run(folder)
    address = find_store_address(folder)
    if address is None or folder in _HELD:
        yield
        return
    lease = take_lease(folder, Bucket(address), say)
    putting = _Putting(folder, lease.renew, say)
    _HELD.add(folder)
    putting.start()
    try:
        yield
    finally:
        putting.finish()
        _HELD.discard(folder)
        with contextlib.suppress(StoreError):  # then it is given up in ten minutes
            lease.release()


class _Putting(threading.Thread):
    """Beside the asking: what has closed is put, and the lease kept."""

    def __init__(self, folder: Path, renew: Callable[[], None], say: Callable[[str], None]) -> None:
        super().__init__(name=f"put {folder.name}", daemon=True)
        self._folder, self._renew, self._say = folder, renew, say
        self._over = threading.Event()
        self._failed = self._lost = False
        self._renewed = time.monotonic()

    def run(self) -> None:
        while not self._over.wait(_TRY_AGAIN_S if self._failed else _TICK_S) and not self._lost:
            self._put_once(closed=False)

    def finish(self) -> None:
        """Put the rest; what cannot be is said."""
        self._over.set()
        self.join()
        if not self._lost:
            self._put_once(closed=True)

    def _put_once(self, *, closed: bool) -> None:
        try:
            if time.monotonic() - self._renewed > RENEW_S:
                self._renew()
                self._renewed = time.monotonic()
            put_folder(self._folder, closed=closed)
            self._failed = False
        except ChangedError as error:
            self._lost = True
            self._say(f"{error}; nothing more is put, and all of it is kept in {self._folder}")
        except StoreError as error:
            if not self._failed or closed:
                self._say(f"{error}{'' if closed else '; the run goes on'}")
            self._failed = True


@contextlib.contextmanager
def _telling_disk_errors(folder: Path) -> Iterator[None]:
    """A full disk here, or a name in the store that no file can have, is no other than an error of the store."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{describe_place(folder)}: {folder} cannot be read or written: {error.strerror or type(error).__name__}"
        ) from None


def _find_whole_run(folder: Path) -> Path:
    """A run folder that lies inside another goes with that."""
    inside = folder.name == FIRST_TOKENS and (folder.parent / MANIFEST).is_file()
    return folder.parent if inside else folder


def _list_runs_of(results: Path, pattern: str) -> Iterator[tuple[Path, Bucket, dict[str, StoredObject]]]:
    """Every run in the store, with its own bucket and objects."""
    address = find_store_address(results)
    if address is None:
        return
    runs: dict[str, dict[str, StoredObject]] = {}
    for name, stored in Bucket(address).list_objects().items():
        run, _, inside = name.partition("/")
        if inside:
            runs.setdefault(run, {})[inside] = stored
    for run, listed in sorted(runs.items()):
        if MANIFEST in listed and fnmatch(run, pattern):
            yield (
                results / run,
                Bucket(StoreAddress(scheme=address.scheme, parts=(*address.parts, run))),
                listed,
            )


def _is_any(name: str) -> bool:
    return True


def _fetch_objects(
    folder: Path, bucket: Bucket, listed: dict[str, StoredObject], is_wanted: Callable[[str], bool]
) -> None:
    known = KnownFiles(folder)
    wanted = [n for n in listed if n != LEASE and not _is_hidden(n) and is_wanted(n)]
    news = [n for n in wanted if not _holds_object(folder, n, listed[n], known)]
    with _telling_disk_errors(folder), ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        for _ in pool.map(partial(_fetch_object, folder, bucket=bucket, known=known), news):
            pass


def _holds_object(folder: Path, name: str, stored: StoredObject, known: KnownFiles) -> bool:
    """Whether what stands in the store is here, or something that came later."""
    of = known.get(name)
    same = of is not None and of.stored is not None and (of.stored.tag, of.stored.size) == (stored.tag, stored.size)
    return same and (folder / name).is_file()


def _fetch_object(folder: Path, name: str, *, bucket: Bucket, known: KnownFiles) -> None:
    here, before = folder / name, known.get(name)
    here.parent.mkdir(parents=True, exist_ok=True)
    beside = here.with_name(f".{here.name}.{os.getpid()}-{threading.get_native_id()}.tmp")
    try:
        try:
            digest, stored = bucket.save_object(name, beside)
        except FileNotFoundError:
            return  # removed since it was listed
        if here.is_file() and not _is_newer(folder, name, beside, digest, before):
            if _hash_bytes(here.read_bytes()) == digest:
                _confirm(folder, name, digest, stored, known)
            else:  # here it has gone on: what must still stand in the store when that is put is what was just found
                known.remember(
                    name, KnownFile(sha256=digest, size=-1, modified_ns=-1, acknowledged=False, stored=stored)
                )
            return
        beside.replace(here)
        _confirm(folder, name, digest, stored, known)
    finally:
        beside.unlink(missing_ok=True)


def _confirm(folder: Path, name: str, digest: str, stored: StoredObject, known: KnownFiles) -> None:
    """What is here now is what stands in the store."""
    known.remember(name, _describe_file((folder / name).stat(), digest, stored, acknowledged=True))


def _describe_file(stat: os.stat_result, digest: str, stored: StoredObject | None, *, acknowledged: bool) -> KnownFile:
    return KnownFile(
        sha256=digest, size=stat.st_size, modified_ns=stat.st_mtime_ns, acknowledged=acknowledged, stored=stored
    )


def _is_newer(folder: Path, name: str, fetched: Path, digest: str, before: KnownFile | None) -> bool:
    """Whether what was fetched takes the place of what is here. Raises StoreError where neither goes on from the other.

    It does not where it is what this machine has put and has gone on from.
    """
    here = folder / name
    if before is not None and before.sha256 == digest:
        return False
    stat = here.stat()
    if before is not None and before.acknowledged and _has_stat(stat, before):
        return True  # nothing has happened to it here
    if _is_derived(name) or _hash_bytes(here.read_bytes()) == digest:
        return True
    if _CHAIN.search(name):
        ours, theirs = here.read_bytes(), fetched.read_bytes()
        if ours.startswith(theirs):
            return False
        if theirs.startswith(ours):
            return True
    raise ChangedError(_tell_two_ways(folder, name))


def _tell_two_ways(folder: Path, name: str) -> str:
    return (
        f"{describe_place(folder)}/{name}: was changed there by another machine, and here too: what only this machine "
        f"has is kept in {folder}; move that folder away to take the store's"
    )


def _put_evidence(folder: Path, name: str, bucket: Bucket, known: KnownFiles) -> None:
    try:
        data, stat = _read_whole(folder / name)
    except FileNotFoundError:
        return  # taken away since it was listed
    if not data:
        return  # a part without a line is none yet, and may be none again; of other files it is what a power cut left
    digest, before = _hash_bytes(data), known.get(name)
    _require_goes_on(folder, name, data, before)
    expected = before.stored if before is not None else None
    if before is not None and before.acknowledged and before.sha256 == digest:
        known.remember(name, _describe_file(stat, digest, expected, acknowledged=True))
        return
    known.remember(name, _describe_file(stat, digest, expected, acknowledged=False))
    for _ in range(2):
        try:
            stored = bucket.put_object(name, data, expected)
        except ChangedError:
            found = bucket.get_object(name)
            if found is None:
                expected = None
                continue
            there, expected = _hash_bytes(found[0]), found[1]
            if there != digest:
                earlier = before is not None and there == before.sha256
                if not earlier and not (_CHAIN.search(name) and data.startswith(found[0])):
                    raise ChangedError(_tell_two_ways(folder, name)) from None
                continue
            stored = found[1]  # ours: it came, and only the answer was lost
        known.remember(name, _describe_file(stat, digest, stored, acknowledged=True))
        return
    raise ChangedError(_tell_two_ways(folder, name))


def _require_goes_on(folder: Path, name: str, data: bytes, before: KnownFile | None) -> None:
    """Records only ever grow: what was damaged or cut here takes no line from the store. Raises StoreError."""
    if before is None or not before.acknowledged or before.stored is None or not _RECORDS.search(name):
        return
    if _hash_bytes(data[: before.stored.size]) != before.sha256:
        raise StoreError(
            f"{describe_place(folder)}/{name}: here it does not hold any more what stands in the store, which is left "
            f"as it is; move {folder} away to take the store's"
        )


def _put_derived(folder: Path, name: str, *, bucket: Bucket, known: KnownFiles) -> str:
    try:
        data, stat = _read_whole(folder / name)
    except FileNotFoundError:
        return name  # made anew, at this very moment
    digest, before = _hash_bytes(data), known.get(name)
    same = before is not None and before.acknowledged and before.sha256 == digest
    stored = before.stored if before is not None and same else bucket.put_object(name, data, "anything")
    known.remember(name, _describe_file(stat, digest, stored, acknowledged=True))
    return name


def _is_being_written(folder: Path) -> bool:
    for chain in (RECORDS, SCORES, JUDGEMENTS):
        try:
            with (folder / chain / ".lock").open() as lock:
                if not lock_file(lock):
                    return True
        except OSError:
            continue  # no such chain, or a disk without locks
    return False


def _remove_replaced(names: Sequence[str], bucket: Bucket, known: KnownFiles) -> None:
    """Remove lists of hashes that were taken back, and files that a packed one stands in for.

    None where records are missing that the store is known to hold: this copy was removed, and fetched again in part.
    """
    here = set(names)
    gone = [name for name in known.names() if name not in here]
    packed = [name for name in gone if f"{name}{PACKED}" in here]
    if MANIFEST not in here or any(_RECORDS.search(name) and name not in packed for name in gone):
        return
    for name in (*packed, *(name for name in gone if name in _REMADE)):
        bucket.remove_objects([name])
        known.forget(name)


def _list_files(folder: Path) -> list[str]:
    """What belongs to the store of a folder, in the order in which it is put."""
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted((n for n in found if not _is_hidden(n)), key=_rank_file)


def _rank_file(name: str) -> tuple[int, str]:
    last = PurePosixPath(name).name
    return (_LAST.index(last) + 1 if last in _LAST else 0, name)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/")) or STATE_FOLDER in name


def _is_derived(name: str) -> bool:
    if name == REPORT_LIST:
        return True
    return _DERIVED.search(name) is not None or not _DERIVED_FOLDERS.isdisjoint(PurePosixPath(name).parts[:-1])


def _is_changed(folder: Path, name: str, known: KnownFiles) -> bool:
    of = known.get(name)
    try:
        return of is None or not of.acknowledged or not _has_stat((folder / name).stat(), of)
    except FileNotFoundError:
        return False


def _is_due(folder: Path, name: str, names: Collection[str], known: KnownFiles) -> bool:
    """Whether a changed file is put now, while the run is being written to: a part that still grows has its time."""
    if not _is_open_part(name, names):
        return True
    of = known.get(name)
    if of is None or of.stored is None:
        return True
    try:
        size = (folder / name).stat().st_size
    except FileNotFoundError:
        return False
    wait_s = _OPEN_PART_EVERY_S * max(1.0, size / _OPEN_PART_BYTES)
    return time.time_ns() - of.modified_ns > wait_s * 1e9


def _is_open_part(name: str, names: Collection[str]) -> bool:
    """Whether a chain may still grow: it is its last part, or in one part."""
    place = PurePosixPath(name)
    if not _CHAIN.search(name):
        return False
    return all(PurePosixPath(n).parent != place.parent or n <= name or not _CHAIN.search(n) for n in names) or (
        place.parent == PurePosixPath(".")
    )


def _has_stat(stat: os.stat_result, known: KnownFile) -> bool:
    return (stat.st_size, stat.st_mtime_ns) == (known.size, known.modified_ns)


def _read_whole(file: Path) -> tuple[bytes, os.stat_result]:
    """A file's bytes and what it was before they were read; of a chain only whole lines."""
    stat = file.stat()
    data = file.read_bytes()
    if _CHAIN.search(file.as_posix()):
        data = data[: data.rfind(b"\n") + 1]
    return data, stat


def _hash_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
