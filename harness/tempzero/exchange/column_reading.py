"""CSV files in, batches of rows with chosen columns out: by DuckDB (extra `scale`) where it reads a file exactly alike.

DuckDB reads faster, and on a second core. What it gives stands for the csv module's reading only where the cells of all
columns and what a CSV has between them come to the very size of the file; any doubt, and any error, leaves it to the
csv module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from tempzero.exchange import table_reading
from tempzero.exchange.sources import RecordFile

Cells = tuple[str, ...]
"""The cells of one row, in the order in which columns were asked for."""

# A longer line is left to the csv module: buffers are as large as several of them.
_LONGEST_LINE = 2 << 20
# Below this size starting another reader costs more than it saves.
_LEAST_BYTES = 16 << 20
_MEMORY = "256MB"
_CHUNK = 1 << 22
# The size of a batch follows the size of its rows, as some of them are.
_FIRST_ROWS = 50
_ROWS_MEASURED = 10
_BATCH_CHARS = 4 << 20
# SQL for the bytes of a cell, and for how many of them are quotes.
_SIZE = "strlen({0})"
_QUOTES = "CASE WHEN contains({0}, '\"') THEN strlen({0}) - strlen(replace({0}, '\"', '')) ELSE 0 END"
# Stands for "no value" in no file that anybody writes: an empty cell is an empty text.
_NO_NULL = "\x07no null\x07"


class DoubtfulReadingError(Exception):
    """DuckDB reads the file otherwise than the csv module, or perhaps so."""


class ColumnReader:
    """Reads batches of one file."""

    def __init__(self, file: RecordFile, header: Sequence[str], *, by_duckdb: bool) -> None:
        """`by_duckdb`: let DuckDB read it where it is installed and the file is a large and plain one."""
        self._file, self._header = file, tuple(header)
        self._duckdb = _load_duckdb() if by_duckdb and _is_plain_csv(file) else None

    @property
    def by_duckdb(self) -> bool:
        """Whether DuckDB reads this file."""
        return self._duckdb is not None

    def read_batches(self, columns: Sequence[str], size: int) -> Iterator[list[Cells]]:
        """All rows, so many at a time. Raises ExchangeError where the csv module refuses the file.

        Raises DoubtfulReadingError where DuckDB does; `require_alike` tells whether what it gives may be relied on.
        """
        if self._duckdb is None:
            return self._read_by_csv(columns, size)
        return self._read_by_duckdb(self._duckdb, columns, size)

    def _read_by_csv(self, columns: Sequence[str], size: int) -> Iterator[list[Cells]]:
        at = [self._header.index(name) for name in columns]
        rows = table_reading.read_csv_cells(self._file)
        pick: Any = itemgetter(*at) if len(at) > 1 else (lambda row: tuple(row[i] for i in at))
        some = min(size, _FIRST_ROWS)
        while batch := list(map(pick, islice(rows, some))):
            yield batch
            some = _choose_size(batch, len(columns), size)

    def _read_by_duckdb(self, duckdb: Any, columns: Sequence[str], size: int) -> Iterator[list[Cells]]:
        chosen = ", ".join(f"c{self._header.index(name)}" for name in columns) or "1"
        with closing(_connect(duckdb)) as connection:
            try:
                found = connection.execute(f"SELECT {chosen} FROM {self._table()}")
                some = min(size, _FIRST_ROWS)
                while batch := found.fetchmany(some):
                    yield batch
                    some = _choose_size(batch, len(columns), size)
            except duckdb.Error:
                raise DoubtfulReadingError from None

    def _table(self) -> str:
        """The file as DuckDB reads it: nothing guessed, nothing repaired, nothing trimmed."""
        columns = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(len(self._header)))
        path = str(self._file.path.absolute()).replace("'", "''")
        return (
            f"read_csv('{path}', columns={{{columns}}}, header=true, auto_detect=false, delim=',', quote='\"', "
            f"escape='\"', strict_mode=true, null_padding=false, ignore_errors=false, comment='', "
            f"nullstr='{_NO_NULL}', max_line_size={_LONGEST_LINE})"
        )

    def require_alike(self) -> None:
        """Raises DoubtfulReadingError unless cells, commas, quotes and line ends come to the file's very size."""
        if self._duckdb is not None:
            rows, cell_bytes, cell_quotes = self._measure_cells(self._duckdb)
            size, quotes = _measure_body(self._file.path)
            commas = rows * (len(self._header) - 1)
            # A quote inside a cell is one byte of it; every other one in the file is written around or before it.
            ends = size - cell_bytes - commas - (quotes - cell_quotes)
            if ends not in {rows, rows - 1, 2 * rows, 2 * rows - 2}:
                raise DoubtfulReadingError

    def _measure_cells(self, duckdb: Any) -> tuple[int, int, int]:
        """How many rows DuckDB finds, and how many bytes and quotes are in the cells of all columns."""
        every = [f"c{number}" for number in range(len(self._header))]
        sums = [f"coalesce(sum({' + '.join(sql.format(c) for c in every)}), 0)" for sql in (_SIZE, _QUOTES)]
        with closing(_connect(duckdb)) as connection:
            try:
                found = connection.execute(f"SELECT count(*), {', '.join(sums)} FROM {self._table()}").fetchone()
            except duckdb.Error:
                raise DoubtfulReadingError from None
        rows, cell_bytes, cell_quotes = map(int, found)
        return rows, cell_bytes, cell_quotes


def _choose_size(batch: Sequence[Cells], columns: int, most: int) -> int:
    """How many rows of this kind to read next: fewer where they are long, so that they stay in memory and in caches."""
    seen = batch[:: max(1, len(batch) // _ROWS_MEASURED)]
    chars = sum(len(cell) for row in seen for cell in row[:columns])
    return max(1, min(most, _BATCH_CHARS * len(seen) // max(chars, 1)))


def _is_plain_csv(file: RecordFile) -> bool:
    """A large file in UTF-8 with commas: what is rarer is left to the csv module."""
    if file.kind != "csv" or file.path.stat().st_size < _LEAST_BYTES:
        return False
    with file.path.open("rb") as raw:
        head = raw.read(1 << 16)
    return not head.startswith((b"\xff\xfe", b"\xfe\xff", b"\r", b"\n")) and b"," in head.split(b"\n")[0]


def _load_duckdb() -> Any:
    try:
        import duckdb  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        return None
    return duckdb


def _connect(duckdb: Any) -> Any:
    connection = duckdb.connect()
    connection.execute(
        f"SET memory_limit='{_MEMORY}'; SET preserve_insertion_order=true; SET enable_progress_bar=false"
    )
    return connection


def _measure_body(path: Path) -> tuple[int, int]:
    """The bytes behind the header's line, and how many of them are quotes."""
    with path.open("rb") as raw:
        header = _read_header_bytes(raw)
        raw.seek(len(header))
        size = quotes = 0
        while chunk := raw.read(_CHUNK):
            size, quotes = size + len(chunk), quotes + chunk.count(b'"')
    return size, quotes


def _read_header_bytes(raw: Any) -> bytes:
    """The first record of a CSV: to the first line end outside quotes."""
    found = b""
    while line := raw.readline(1 << 20):
        found += line
        if found.count(b'"') % 2 == 0:
            break
    return found
