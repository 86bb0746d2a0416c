"""Rows of lanes in, part by part, those of one lane out at a time; what waits lies on the disk where it is much."""

from __future__ import annotations

import contextlib
import pickle
import tempfile
import weakref
from collections import defaultdict
from collections.abc import Iterator
from typing import IO, Any

from numpy.typing import NDArray

from tempzero.errors import UsageError

# Of rows that wait in memory: so many that a small run never touches the disk.
_MOST_BYTES = 32 << 20


class WaitingRows:
    """Keeps pieces of columns by lane. Its file has no name, and is gone with this process whatever ends it."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_MOST_BYTES)  # noqa: SIM115
        weakref.finalize(self, _close_unread, self._file)
        self._places: defaultdict[tuple[int, str], list[int]] = defaultdict(list)

    def put(self, lane: tuple[int, str], columns: dict[str, NDArray[Any]]) -> None:
        """The next rows of a lane. Raises UsageError where the disk has no room for them."""
        with _telling_no_room():
            self._places[lane].append(self._file.tell())
            pickle.dump(columns, self._file, protocol=pickle.HIGHEST_PROTOCOL)

    def take(self, lane: tuple[int, str]) -> Iterator[dict[str, NDArray[Any]]]:
        """A lane's pieces in the order in which they came, once; nothing is put after that. Raises UsageError."""
        for place in self._places.pop(lane, []):
            with _telling_no_room():
                self._file.seek(place)
                piece = pickle.load(self._file)
            yield piece


def _close_unread(file: IO[bytes]) -> None:
    """Nobody misses what a full disk did not take of it any more."""
    with contextlib.suppress(OSError):
        file.close()


@contextlib.contextmanager
def _telling_no_room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{tempfile.gettempdir()}: {error.strerror}; what is counted of a large run waits there, some forty bytes "
            "a response: let TMPDIR name a folder with more room"
        ) from None
