"""A record file in, its rows out one after the other, each with its line; what cannot be read exactly is refused.

CSV and JSONL are streamed; a JSON document is read whole (up to a size). Nothing is repaired:
invalid UTF-8, a row of another width or broken JSON is an ExchangeError with file and line.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tempzero.canonical_json import to_canonical_json
from tempzero.errors import ExchangeError
from tempzero.exchange.sources import TEXT_TABLES, FileKind, RecordFile

MAX_CELL_CHARS = 64 << 20
MAX_LINE_BYTES = 64 << 20
# What is read whole needs some six times its size in memory.
MAX_DOCUMENT_BYTES = 256 << 20
# What stands around the rows of a document goes with each of them, up to this size.
_LARGEST_OUTER_CHARS = 20_000
_MOST_LEVELS = 200
VALUE_COLUMN = "value"
"""The column of a row that is a bare text and no object."""
CONTENT_COLUMN = "@content"
"""The column of a file that is one answer as it is."""
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Row:
    """Cells by column name. `line` counts from 1: the line a CSV row ends on, the item of a JSON list."""

    cells: Mapping[str, Any]
    line: int


class NoTableError(ExchangeError):
    """A file that is whole, but no table of records: among others it is left out."""


def read_rows(file: RecordFile, *, at: str = "") -> Iterator[Row]:
    """The rows of one file. Raises ExchangeError, NoTableError before the first row.

    `at` is the path of the list inside a JSON document, "." where the document itself is one record; of other files
    it is the list inside each row, whose items become rows with the row's other columns.
    """
    if file.kind == "json":
        return _read_json_rows(file, at)
    if file.kind == "text":
        return _read_text_file(file)
    readers: dict[FileKind, Callable[[RecordFile], Iterator[Row]]] = {
        "csv": _read_csv_rows,
        "tsv": _read_csv_rows,
        "jsonl": _read_jsonl_rows,
        "parquet": _read_parquet_rows,
    }
    if file.kind in readers:
        found = readers[file.kind](file)
        return _unfold_rows(file, found, at) if at else found
    raise ExchangeError(f"{file.name}: a .{file.kind} file is read by its own --format only")


def _unfold_rows(file: RecordFile, found: Iterable[Row], at: str) -> Iterator[Row]:
    """A row for each item of the list that stands at `at` in every row."""
    for row in found:
        value: Any = row.cells
        for step in at.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        if not isinstance(value, list):
            raise ExchangeError(f'{file.name}:{row.line}: has no list at "{at}"')
        outer = {name: cell for name, cell in row.cells.items() if name != at.partition(".")[0]}
        for item in value:
            yield Row({**outer, **(item if isinstance(item, Mapping) else {VALUE_COLUMN: item})}, row.line)


def _read_text_file(file: RecordFile) -> Iterator[Row]:
    """The one row of a file that is an answer as it stands, its last line end included."""
    if file.path.stat().st_size > MAX_CELL_CHARS:
        raise ExchangeError(f"{file.name}: a text of more than {MAX_CELL_CHARS >> 20} MB")
    yield Row({CONTENT_COLUMN: _decode_text(file, file.path.read_bytes())}, 1)


def read_column_names(file: RecordFile) -> tuple[str, ...] | None:
    """The column names that stand for a whole CSV file; None for kinds whose rows name their own."""
    if file.kind not in TEXT_TABLES:
        return None
    with _open_text(file) as text:
        return tuple(_read_csv_header(file, _make_csv_reader(file, text)))


def read_json_document(file: RecordFile) -> Any:
    """A whole JSON document. Raises ExchangeError for one that is broken, nested too deeply or too large."""
    size = file.path.stat().st_size
    if size > MAX_DOCUMENT_BYTES:
        raise ExchangeError(
            f"{file.name}: a JSON document of {size >> 20} MB; up to {MAX_DOCUMENT_BYTES >> 20} MB is read, "
            "turn it into JSONL (one object a line)"
        )
    data = file.path.read_bytes()
    try:
        return decode_foreign_json(_decode_text(file, data))
    except json.JSONDecodeError as problem:
        raise ExchangeError(f"{file.name}:{problem.lineno}: not JSON: {problem.msg}") from None
    except (ValueError, RecursionError) as problem:
        raise ExchangeError(f"{file.name}: not JSON that can be read: {_problem_in_one_line(problem)}") from None


def foreign_to_canonical_json(value: Any) -> str:
    """Canonical JSON of anything a table holds; what JSON has no form for (NaN, bytes, dates) as text."""
    try:
        return to_canonical_json(value)
    except (TypeError, ValueError):
        return to_canonical_json(_to_plain_json(value))


def _refuse_two_values(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; ValueError where a key stands there twice with another value: readers differ on which one counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if foreign_to_canonical_json(found[key]) != foreign_to_canonical_json(value):
                raise ValueError(f'the key "{key[:60]}" stands twice in one object, with different values')
    return found


# NaN and Infinity, which JSON does not have but some writers give, become those words.
_decode_json = json.JSONDecoder(parse_constant=str, object_pairs_hook=_refuse_two_values).decode


def decode_foreign_json(text: str) -> Any:
    """JSON of other tools. Raises ValueError or RecursionError for what is broken, ambiguous or nested too deeply."""
    return _require_shallow(_decode_json(text))


def is_sound_text(text: str) -> bool:
    """Whether the text is characters throughout: JSON can smuggle in halves of surrogate pairs."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _to_plain_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _to_plain_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain_json(v) for v in value]
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, float) and value - value != 0:
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


# --- CSV -------------------------------------------------------------------------------------


def _read_csv_rows(file: RecordFile) -> Iterator[Row]:
    with _open_text(file) as text:
        reader = _make_csv_reader(file, text)
        header = _read_csv_header(file, reader)
        for row in _whole_csv_rows(file, reader, len(header)):
            yield Row(dict(zip(header, row, strict=True)), reader.line_num)


def read_csv_cells(file: RecordFile) -> Iterator[list[str]]:
    """The cells of each row of a CSV file behind its header. Raises ExchangeError."""
    with _open_text(file) as text:
        reader = _make_csv_reader(file, text)
        width = len(_read_csv_header(file, reader))
        yield from _whole_csv_rows(file, reader, width)


def _whole_csv_rows(file: RecordFile, reader: Any, width: int) -> Iterator[list[str]]:
    for row in _iterate_csv(file, reader):
        if len(row) == width:
            yield row
        elif row:
            raise ExchangeError(f"{file.name}:{reader.line_num}: {len(row)} cells, but the header names {width}")


def _make_csv_reader(file: RecordFile, text: IO[str]) -> Any:
    csv.field_size_limit(MAX_CELL_CHARS)
    lines: Iterable[str] = text if file.path.stat().st_size < MAX_LINE_BYTES else _bounded_lines(file, text)
    return csv.reader(lines, strict=True, delimiter="\t" if file.kind == "tsv" else _sniff_delimiter(file))


def _bounded_lines(file: RecordFile, text: IO[str]) -> Iterator[str]:
    """Line by line, and never a line that memory would not hold."""
    number = 0
    while line := text.readline(MAX_LINE_BYTES):
        number += 1
        if len(line) >= MAX_LINE_BYTES:
            raise ExchangeError(_describe_long_line(file, number))
        yield line


def _describe_long_line(file: RecordFile, number: int) -> str:
    return f"{file.name}:{number}: a line of more than {MAX_LINE_BYTES >> 20} MB, which no answer is"


def _sniff_delimiter(file: RecordFile) -> str:
    """A comma, unless the first line has none but has another usual one."""
    with file.path.open("rb") as raw:
        first = raw.readline(1 << 16)
    return next((d for d in (",", ";", "\t", "|") if d.encode() in first), ",")


def _read_csv_header(file: RecordFile, reader: Iterator[list[str]]) -> list[str]:
    header = next(_iterate_csv(file, reader), [])
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ExchangeError(f'{file.name}:1: two columns are called "{twice[0]}"; rename one')
    return header


def _iterate_csv(file: RecordFile, reader: Any) -> Iterator[list[str]]:
    try:
        yield from reader
    except UnicodeDecodeError:
        raise ExchangeError(_locate_bad_utf8(file)) from None
    except csv.Error as problem:
        raise ExchangeError(f"{file.name}:{reader.line_num}: not CSV that can be read exactly: {problem}") from None


@contextmanager
def _open_text(file: RecordFile) -> Iterator[IO[str]]:
    """The file as text, line ends kept as they are, without a byte order mark."""
    with file.path.open("rb") as raw:
        encoding = "utf-16" if raw.read(2) in _UTF16_BOMS else "utf-8-sig"
        raw.seek(0)
        with io.TextIOWrapper(io.BufferedReader(raw, 1 << 20), encoding=encoding, newline="") as text:
            yield text


# --- JSON ------------------------------------------------------------------------------------


def _read_jsonl_rows(file: RecordFile) -> Iterator[Row]:
    for number, line in enumerate(_read_utf8_lines(file), start=1):
        if len(line) >= MAX_LINE_BYTES:
            raise ExchangeError(_describe_long_line(file, number))
        if not line.isspace():
            yield Row(_parse_json_object(file, number, line), number)


def _read_utf8_lines(file: RecordFile) -> Iterator[bytes]:
    """Lines in UTF-8, without a byte order mark, of a file in UTF-8 or UTF-16."""
    with file.path.open("rb", buffering=1 << 20) as raw:
        start = raw.read(2)
        raw.seek(len(_UTF8_BOM) if start + raw.read(1) == _UTF8_BOM else 0)
        if start not in _UTF16_BOMS:
            while line := raw.readline(MAX_LINE_BYTES):
                yield line
            return
    with _open_text(file) as text:
        try:
            while written := text.readline(MAX_LINE_BYTES):
                yield written.encode()
        except UnicodeDecodeError:
            raise ExchangeError(_locate_bad_utf8(file)) from None


def _parse_json_object(file: RecordFile, number: int, line: bytes) -> Mapping[str, Any]:
    try:
        value = _decode_json(line.decode("utf-8"))
        if line.count(b"{") + line.count(b"[") > _MOST_LEVELS:
            _require_shallow(value)
    except UnicodeDecodeError as problem:
        raise ExchangeError(_describe_bad_utf8(file, number, problem)) from None
    except json.JSONDecodeError as problem:
        hint = "; is it one document? then its name should end in .json" if number <= 2 else ""
        raise ExchangeError(f"{file.name}:{number}: not JSON: {problem.msg}{hint}") from None
    except (ValueError, RecursionError) as problem:
        raise ExchangeError(
            f"{file.name}:{number}: not JSON that can be read: {_problem_in_one_line(problem)}"
        ) from None
    if isinstance(value, str):
        return {VALUE_COLUMN: value}
    if not isinstance(value, dict):
        raise ExchangeError(
            f"{file.name}:{number}: a JSON {_json_type_name(value)} where an object with columns is needed"
        )
    return value


def _require_shallow(value: Any) -> Any:
    """The same; ValueError when it is nested so deeply that it could not be written again."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(_MOST_LEVELS):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return value
    raise ValueError(f"nested deeper than {_MOST_LEVELS} levels")


def _read_json_rows(file: RecordFile, at: str) -> Iterator[Row]:
    value, (path, star, rest) = read_json_document(file), at.partition("*")
    if at == "." and isinstance(value, dict):
        yield Row(value, 1)
        return
    document, steps = value, list(filter(None, path.split(".")))
    for step in steps:
        if not isinstance(value, dict) or step not in value:
            raise NoTableError(f'{file.name}: has no list at "{at}"')
        value = value[step]
    outer = _outer_fields(document, steps if steps or star else _find_list_names(document)[:1])
    if rest.replace(".*", "") or (star and not isinstance(value, dict)):
        raise ExchangeError(f'{file.name}: has no lists at "{at}"; "*" stands last, for the keys of an object')
    for _ in range(rest.count("*")):  # one level more: its lists are called by both names
        value = _flatten_one_level(file, value, at)
    if star:
        outer = {**outer, **{name: inside for name, inside in value.items() if _is_single_value(inside)}}
        value = {name: inside for name, inside in value.items() if name not in outer}
    for number, item in enumerate(_items_of_all_lists(file, value) if star else _items_of_list(file, value), start=1):
        if isinstance(item, list):
            raise ExchangeError(
                f"{file.name}: item {number} is a JSON list; an object with columns, or a text, is needed"
            )
        yield Row({**outer, **(item if isinstance(item, dict) else {VALUE_COLUMN: item})}, number)


def _outer_fields(document: Any, steps: Sequence[str]) -> dict[str, Any]:
    """What stands beside the list in its document, as columns of every row; the row's own go before them."""
    if not isinstance(document, dict) or not steps:
        return {}
    found = {name: inside for name, inside in document.items() if name != steps[0] and _is_small(inside)}
    if len(steps) > 1 and (inner := _outer_fields(document[steps[0]], steps[1:])):
        found[steps[0]] = inner
    return found


def _is_small(value: Any) -> bool:
    return _is_single_value(value) or len(foreign_to_canonical_json(value)) <= _LARGEST_OUTER_CHARS


def _is_single_value(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _flatten_one_level(file: RecordFile, value: Mapping[str, Any], at: str) -> dict[str, Any]:
    if not all(isinstance(inside, dict) for inside in value.values()):
        raise ExchangeError(f'{file.name}: has no lists at "{at}"; not every value on the way is an object')
    return {f"{outer}/{inner}": cell for outer, inside in value.items() for inner, cell in inside.items()}


def _items_of_all_lists(file: RecordFile, value: Mapping[str, Any]) -> Iterator[Any]:
    """The items of every list inside an object, each with its list's name as `@list`."""
    for name, inside in value.items():
        for item in _items_of_list(file, inside):
            yield {"@list": name, **(item if isinstance(item, dict) else {VALUE_COLUMN: item})}


def _items_of_list(file: RecordFile, value: Any) -> Iterable[Any]:
    """A list; an object of objects, of texts or of lists of texts (by `@key`); or the only list inside an object."""
    if isinstance(value, list):
        return value
    inner = list(value.values()) if isinstance(value, dict) else []
    if inner and all(isinstance(v, dict) for v in inner):
        return ({"@key": key, **cells} for key, cells in value.items())
    if inner and all(isinstance(v, str) or _is_text_list(v) for v in inner):
        return ({"@key": key, VALUE_COLUMN: cell} for key, cell in value.items())
    lists = _find_list_names(value)
    if len(lists) == 1:
        inside: Sequence[Any] = value[lists[0]]
        return inside
    hint = f"; it has lists at {', '.join(lists)}: say which, e.g. --map rows={lists[0]}" if lists else ""
    if lists:
        hint += ", or take all with --map rows=*, each row with its list's name as @list"
    elif inner:
        hint = "; where each file is one record, say --map rows=."
    raise NoTableError(f"{file.name}: a JSON {_json_type_name(value)}, not a list of records{hint}")


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _find_list_names(value: Any) -> list[str]:
    if not isinstance(value, dict):
        return []
    return [k for k, v in value.items() if isinstance(v, list) and v and isinstance(v[0], dict)]


# --- Parquet ---------------------------------------------------------------------------------


def _read_parquet_rows(file: RecordFile) -> Iterator[Row]:
    arrow, parquet = load_parquet_library(reading=file.name)
    number = 0
    try:
        table = parquet.ParquetFile(str(file.path))
        for batch in table.iter_batches(batch_size=1024):
            for cells in batch.to_pylist():
                number += 1
                yield Row(cells, number)
    except (arrow.ArrowException, OSError) as problem:
        raise ExchangeError(f"{file.name}: not Parquet that can be read: {_problem_in_one_line(problem)}") from None


def load_parquet_library(*, reading: str) -> tuple[Any, Any]:
    """pyarrow and pyarrow.parquet; ExchangeError that names the extra where they are not installed."""
    try:
        import pyarrow  # type: ignore[import-untyped,import-not-found,unused-ignore]
        import pyarrow.parquet  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        raise ExchangeError(
            f"{reading}: Parquet needs pyarrow, which is not installed; pip install 'tempzero[parquet]'"
        ) from None
    return pyarrow, pyarrow.parquet


# --- wording ---------------------------------------------------------------------------------


def _decode_text(file: RecordFile, data: bytes) -> str:
    try:
        return data.decode("utf-16" if data[:2] in _UTF16_BOMS else "utf-8-sig")
    except UnicodeDecodeError as problem:
        if data[:2] in _UTF16_BOMS:
            raise ExchangeError(_locate_bad_utf8(file)) from None
        raise ExchangeError(_describe_bad_utf8(file, data.count(b"\n", 0, problem.start) + 1, problem)) from None


def _locate_bad_utf8(file: RecordFile) -> str:
    """The text layer does not know its line, so the bytes are looked at again, piece by piece."""
    decoder, number = codecs.getincrementaldecoder("utf-8")(), 1
    with file.path.open("rb") as raw:
        if raw.read(2) in _UTF16_BOMS:
            return f"{file.name}: damaged UTF-16; save the file as UTF-8"
        raw.seek(0)
        while True:
            piece = raw.read(1 << 20)
            try:
                number += decoder.decode(piece, final=not piece).count("\n")
            except UnicodeDecodeError as problem:
                number += problem.object.count(b"\n", 0, problem.start)
                return _describe_bad_utf8(file, number, problem)
            if not piece:
                return f"{file.name}: is not UTF-8"


def _describe_bad_utf8(file: RecordFile, number: int, problem: UnicodeDecodeError) -> str:
    byte = problem.object[problem.start]
    return f"{file.name}:{number}: invalid UTF-8 (byte 0x{byte:02x}); save the file as UTF-8"


def _problem_in_one_line(problem: BaseException) -> str:
    return " ".join(str(problem).split())[:200]


def _json_type_name(value: Any) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "true/false", int: "number", float: "number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def read_first_row(file: RecordFile) -> Row | None:
    """The first row of a table, or None of an empty one: for telling formats apart."""
    return next(read_rows(file), None)


def record_file_at(path: Path, kind: FileKind) -> RecordFile:
    """A file that was named on its own, beside a source. Raises ExchangeError when it is not there."""
    if not path.is_file():
        raise ExchangeError(f"{path}: no such file")
    return RecordFile(name=path.name, path=path, kind=kind, sha256="")
