"""A folder and its place in a store in, the right to write there out: one machine at a time, an object says which.

The object is made on the condition that there is none, so of two machines one is refused. It is written anew every
minute; a machine that has given no sign of life for ten minutes is taken to be gone.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from tempzero.config.store_address import find_store_address
from tempzero.errors import StoreError
from tempzero.records.store.bucket import Bucket, ChangedError, StoredObject
from tempzero.records.store.known_files import KnownFiles

LEASE = ".writer.json"
RENEW_S = 60.0
GONE_AFTER = timedelta(minutes=10)


class _Holder(msgspec.Struct, frozen=True, kw_only=True):
    token: str
    host: str
    process: int
    since: str


class Lease:
    """The right to write, while it lasts: `renew` says that this machine is still there, `release` gives it back."""

    def __init__(self, bucket: Bucket, data: bytes, stored: StoredObject) -> None:
        self._bucket, self._data, self._stored = bucket, data, stored
        self._lost = False

    def renew(self) -> None:
        """Raises StoreError; ChangedError where another machine has taken over."""
        try:
            self._stored = self._bucket.put_object(LEASE, self._data, self._stored)
        except ChangedError:
            found = self._bucket.get_object(LEASE)
            if found is None or found[0] != self._data:
                self._lost = True
                raise
            self._stored = found[1]  # ours: it came, and only the answer was lost

    def release(self) -> None:
        """Give it back, unless another machine has it. Raises StoreError."""
        found = None if self._lost else self._bucket.get_object(LEASE)
        if found is not None and found[0] == self._data:
            self._bucket.remove_objects([LEASE])


def take_lease(folder: Path, bucket: Bucket, say: Callable[[str], None]) -> Lease:
    """Take the right to write. Raises StoreError where another machine has it, or the store cannot be reached.

    What a killed process of this machine has left is taken at once: it has the token that this folder keeps.
    """
    known = KnownFiles(folder)
    token = known.token or secrets.token_hex(16)
    now = datetime.now(UTC).isoformat("T", "seconds")
    data = msgspec.json.encode(_Holder(token=token, host=socket.gethostname(), process=os.getpid(), since=now))
    if token != known.token:
        known.keep_token(token)
    expected: StoredObject | None = None
    for _ in range(3):
        try:
            return Lease(bucket, data, bucket.put_object(LEASE, data, expected))
        except ChangedError:
            found = bucket.get_object(LEASE)
        if found is None:
            expected = None
            continue
        held, expected = _read_holder(found[0]), found[1]
        if found[0] != data and not (held.token == token and _has_ended(held)):
            _require_gone(held, found[1], bucket, say)
    raise StoreError(f"{bucket.address.url}: another machine is beginning to write to it; nothing was done")


@contextlib.contextmanager
def hold_lease(folder: Path, say: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """Hold the right to write to a folder's place in a store; a folder that stands for none is left alone."""
    address = find_store_address(folder)
    if address is None:
        yield
        return
    lease = take_lease(folder, Bucket(address), say)
    over = threading.Event()
    renewing = threading.Thread(target=_keep_renewing, args=(lease, over), name=f"hold {folder.name}", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        over.set()
        renewing.join()
        with contextlib.suppress(StoreError):  # then it is given up in ten minutes
            lease.release()


def _keep_renewing(lease: Lease, over: threading.Event) -> None:
    """Until it is over, or another machine has taken over: then what is put later is refused."""
    while not over.wait(RENEW_S):
        try:
            lease.renew()
        except ChangedError:
            return
        except StoreError:
            continue  # tried again


def _require_gone(held: _Holder, stored: StoredObject, bucket: Bucket, say: Callable[[str], None]) -> None:
    seen = stored.modified or datetime.now(UTC)
    who = f"{held.host} (process {held.process})"
    if datetime.now(UTC) - seen < GONE_AFTER:
        raise StoreError(
            f"{bucket.address.url}: {who} is writing to it since {held.since}; wait for it or stop it. A machine that "
            f"is gone is given up at {(seen + GONE_AFTER).isoformat('T', 'seconds')}"
        )
    say(f"{bucket.address.url}: {who} gave its last sign of life at {seen.isoformat('T', 'seconds')}: taken over")


def _has_ended(held: _Holder) -> bool:
    """Whether the process that holds a lease was one of this machine, and is there no more."""
    if held.host != socket.gethostname():
        return False  # a home that several machines share
    if held.process <= 0:
        return True
    try:
        os.kill(held.process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return held.process == os.getpid()


def _read_holder(data: bytes) -> _Holder:
    try:
        return msgspec.json.decode(data, type=_Holder)
    except msgspec.MsgspecError:
        return _Holder(token="", host="somebody unknown", process=0, since="an unknown time")
