"""What a store is known to hold of a local folder, from its file and back into it.

Beside the folders of one place lies `.store/FOLDER.json`: for each file its tag in the store, and what it was here when
it was put or fetched. An entry without a tag is a file whose first put was begun and has not been acknowledged.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tempzero.records.files import write_atomically
from tempzero.records.store.bucket import StoredObject

STATE_FOLDER = ".store"


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownFile:
    """One file: what its bytes were, and which file of this machine they were read from; and what stands in the store.

    Not `acknowledged`: these bytes were sent and nobody said that they came; the tag is still that of those before.
    """

    sha256: str
    size: int
    modified_ns: int
    acknowledged: bool
    stored: StoredObject | None


class _StateFile(msgspec.Struct, frozen=True, kw_only=True):
    files: dict[str, KnownFile] = {}
    token: str = ""


class KnownFiles:
    """What is known of one folder; every change is on file before the next."""

    def __init__(self, folder: Path) -> None:
        self._file = folder.parent / STATE_FOLDER / f"{folder.name}.json"
        self._state = _StateFile()
        if self._file.is_file():
            with contextlib.suppress(msgspec.MsgspecError):  # else every file is compared with the store's
                self._state = msgspec.json.decode(self._file.read_bytes(), type=_StateFile)
        self._files = dict(self._state.files)
        self._lock = threading.Lock()

    @property
    def token(self) -> str:
        """What this folder's lease was taken with, last."""
        return self._state.token

    def get(self, name: str) -> KnownFile | None:
        """What is known of a file."""
        return self._files.get(name)

    def names(self) -> list[str]:
        """Every file that the store is known to hold."""
        return [name for name, one in self._files.items() if one.stored is not None]

    def remember(self, name: str, known: KnownFile) -> None:
        """Keep this of a file."""
        with self._lock:
            self._files[name] = known
            self._save()

    def forget(self, name: str) -> None:
        """The store holds it no more."""
        with self._lock:
            if self._files.pop(name, None) is not None:
                self._save()

    def keep_token(self, token: str) -> None:
        """Keep what the lease is taken with."""
        with self._lock:
            self._state = _StateFile(token=token)
            self._save()

    def remove(self) -> None:
        """Nothing is known any more."""
        self._file.unlink(missing_ok=True)

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        state = _StateFile(files=self._files, token=self._state.token)
        write_atomically(self._file, msgspec.json.encode(state), lasting=False)
