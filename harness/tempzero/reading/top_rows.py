"""A model and tokens in, the best tokens at each place out: what was read once is kept in a book."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, takewhile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tempzero.canonical_json import to_canonical_json

# How many of the best tokens are kept of each place. Assumed to be enough for penalties, which lower the best ones: a
# token from below the 32nd would come to the top only where all of these are lowered further than it lies below them.
KEPT = 32
_KEY_BYTES = 16
_WRITTEN_TOGETHER, _HELD_AT_MOST = 5_000, 200_000
_FORMAT = 1  # part of a book's name: raise it when the same place would be kept otherwise


@dataclass(frozen=True, kw_only=True, slots=True)
class TopRows:
    """The best tokens at each place of a response, the best first, with their logits: a row for each place."""

    ids: NDArray[np.int32]
    logits: NDArray[np.float32]


class LogitsSource(Protocol):
    """A model whose distributions are seen: see `engines.in_process.InProcessEngine.logits`."""

    def logits(self, token_ids: Sequence[int], start: int) -> Iterator[NDArray[np.float32]]: ...


class AdvancingModel(LogitsSource, Protocol):
    """A model that can go on by a token: see `engines.local.in_process.Model`."""

    def describe(self) -> Mapping[str, Any]: ...
    def logits_after(self, token_ids: Sequence[int]) -> NDArray[np.float32]: ...
    def advance(self, token_ids: Sequence[int]) -> NDArray[np.float32]: ...


class SteppedModel:
    """Reads what stands before `start` in one pass and then a token at a time, as a host does that writes.

    Coarser weights round otherwise in a pass over many tokens than in one over a single token. What a host of that
    very form wrote is only then its first choice to the last token, and told from honest rounding of the same size.
    """

    def __init__(self, model: AdvancingModel) -> None:
        self._model = model
        self._prompt: tuple[int, ...] = ()
        self._written: list[int] = []

    def describe(self) -> Mapping[str, Any]:
        return {**self._model.describe(), "tokens_at_a_time": 1}

    def logits(self, token_ids: Sequence[int], start: int) -> Iterator[NDArray[np.float32]]:
        """Rows as `LogitsSource.logits` gives them."""
        self._prompt, self._written = tuple(token_ids[:start]), []
        yield self._model.logits_after(token_ids[:start])[None]
        yield from self.go_on(token_ids[start:])

    def stands_behind(self, prompt: Sequence[int], ids: Sequence[int]) -> bool:
        """Whether these were the last steps, so that it can go on from there."""
        return self._prompt == tuple(prompt) and self._written == list(ids)

    def go_on(self, token_ids: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        """A row behind each of these tokens, which follow the last ones."""
        for token in token_ids:
            self._written.append(token)
            yield self._model.advance([token])[None]


class RowSource(Protocol):
    """Whoever can say which tokens are best at each place of a response."""

    @property
    def read_tokens(self) -> int:
        """How many tokens were computed."""

    def find_rows(self, prompt: Sequence[int], ids: Sequence[int], *, ended: bool) -> TopRows:
        """A row for each token of `ids` behind the prompt, one more where the response ended. Raises EngineError."""

    def find_known_rows(self, prompt: Sequence[int], ids: Sequence[int]) -> TopRows:
        """The first of these rows, as far as they are known without computing anything."""


class RowBook:
    """Rows by the place they stand at, in a file that outlasts the run; what cannot be written is forgotten.

    A place is the whole of what stands before it, so a row is right for ever for the same model: `identity` says
    which one. A night that brings texts that were read before costs nothing.
    """

    def __init__(self, folder: Path | None, identity: Mapping[str, Any]) -> None:
        """`folder` None: kept in memory only."""
        digest = hashlib.sha256(to_canonical_json([_FORMAT, KEPT, dict(identity)]).encode()).digest()
        self._genesis = digest[:_KEY_BYTES]
        self._held: dict[bytes, bytes] = {}
        self._new: list[tuple[bytes, bytes]] = []
        self._file = None if folder is None else _open_book_file(folder, digest.hex()[:16])

    def place_keys(self, prompt: Sequence[int], ids: Sequence[int]) -> list[bytes]:
        """A key for the place behind the prompt, and one for the place behind each token."""
        key = hashlib.blake2b(self._genesis + np.asarray(prompt, np.int32).tobytes(), digest_size=_KEY_BYTES).digest()
        keys = [key]
        for token in ids:
            key = hashlib.blake2b(key + struct.pack("<i", token), digest_size=_KEY_BYTES).digest()
            keys.append(key)
        return keys

    def look_up(self, keys: Sequence[bytes]) -> list[bytes | None]:
        missing = [k for k in keys if k not in self._held]
        if missing and self._file is not None:
            for at in range(0, len(missing), 500):
                part = missing[at : at + 500]
                marks = ",".join("?" * len(part))
                with contextlib.suppress(sqlite3.Error):
                    self._held.update(self._file.execute(f"SELECT place, row FROM rows WHERE place IN ({marks})", part))
        return [self._held.get(k) for k in keys]

    def enter_row(self, key: bytes, row: NDArray[np.float32]) -> bytes:
        """Keep the best of one distribution."""
        kept = min(KEPT, row.size)
        best = np.argpartition(row, -kept)[-kept:]
        best = best[np.argsort(-row[best], kind="stable")]
        data = best.astype(np.int32).tobytes() + row[best].astype(np.float32).tobytes()
        if key not in self._held:
            self._held[key] = data
            self._new.append((key, data))
            if len(self._new) >= _WRITTEN_TOGETHER:
                self._write_new()
        return data

    def close(self) -> None:
        """Write what is new. A disk that is full costs a reading next time, and nothing else."""
        self._write_new()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write_new(self) -> None:
        """In one short transaction, so that others who read with the same model wait for milliseconds."""
        if self._file is not None:
            with contextlib.suppress(sqlite3.Error), self._file:
                self._file.executemany("INSERT OR IGNORE INTO rows VALUES (?, ?)", self._new)
            if len(self._held) > _HELD_AT_MOST:
                self._held.clear()
        self._new.clear()


class BookedModel:
    """A model with its book: only places that the book does not know are computed."""

    def __init__(self, model: LogitsSource, book: RowBook) -> None:
        self._model, self._book = model, book
        self._prompt: tuple[int, ...] = ()  # what the model has read last, and need not read again
        self.read_tokens = 0

    def find_rows(self, prompt: Sequence[int], ids: Sequence[int], *, ended: bool) -> TopRows:
        wanted = len(ids) + ended
        keys = self._book.place_keys(prompt, ids)[:wanted]
        rows = self._book.look_up(keys)
        known = next((i for i, row in enumerate(rows) if row is None), wanted)
        if known < wanted:
            for at, row in self._compute_rows(prompt, ids[: wanted - 1], known):
                rows[at] = self._book.enter_row(keys[at], row)
        return _join_rows(rows)

    def _compute_rows(
        self, prompt: Sequence[int], ids: Sequence[int], known: int
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The rows from `known` on. What stands behind the prompt is read from there, as one who writes would."""
        model = self._model
        if isinstance(model, SteppedModel) and known and model.stands_behind(prompt, ids[: known - 1]):
            self.read_tokens += len(ids) - known + 1
            yield from enumerate(chain.from_iterable(model.go_on(ids[known - 1 :])), start=known)
            return
        self.read_tokens += len(ids) + (1 if self._prompt == tuple(prompt) else len(prompt))
        self._prompt = () if isinstance(model, SteppedModel) else tuple(prompt)
        for at, row in enumerate(chain.from_iterable(model.logits((*prompt, *ids), len(prompt)))):
            if at >= known:
                yield at, row

    def find_known_rows(self, prompt: Sequence[int], ids: Sequence[int]) -> TopRows:
        """The first rows, as far as the book has them."""
        rows = self._book.look_up(self._book.place_keys(prompt, ids)[: len(ids)])
        return _join_rows(list(takewhile(lambda row: row is not None, rows)))

    def watch_rows(
        self, rows: Iterable[NDArray[np.float32]], prompt: Sequence[int], ids: Sequence[int]
    ) -> Iterator[NDArray[np.float32]]:
        """Enter rows that somebody else reads, as they pass."""
        self._prompt = ()
        for key, row in zip(self._book.place_keys(prompt, ids), rows, strict=False):
            self._book.enter_row(key, row)
            yield row


def _join_rows(found: Sequence[bytes | None]) -> TopRows:
    rows = [row for row in found if row is not None]
    if not rows:
        return TopRows(ids=np.empty((0, 1), np.int32), logits=np.empty((0, 1), np.float32))
    half = len(rows[0]) // 2
    return TopRows(
        ids=np.stack([np.frombuffer(row[:half], np.int32) for row in rows]),
        logits=np.stack([np.frombuffer(row[half:], np.float32) for row in rows]),
    )


def _open_book_file(folder: Path, name: str) -> sqlite3.Connection | None:
    """None where there is no room for it, or what lies there is no book: then everything is read anew."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = sqlite3.connect(folder / f"{name}.sqlite", timeout=30)
        file.execute("CREATE TABLE IF NOT EXISTS rows (place BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID")
    except (OSError, sqlite3.Error):
        return None
    return file
