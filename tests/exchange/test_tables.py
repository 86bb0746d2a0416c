"""Rows come out exactly as they stand in the file, or the file is refused with its line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tempzero.errors import ExchangeError
from tempzero.exchange import table_reading
from tempzero.exchange.sources import FileKind, RecordFile


def file(tmp_path: Path, data: bytes | str, kind: FileKind = "csv") -> RecordFile:
    path = tmp_path / f"x.{kind}"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return RecordFile(name=path.name, path=path, kind=kind, sha256="")


def cells(tmp_path: Path, data: bytes | str, kind: FileKind = "csv", at: str = "") -> list[dict[str, Any]]:
    return [dict(row.cells) for row in table_reading.read_rows(file(tmp_path, data, kind), at=at)]


def test_csv_cells_are_exact(tmp_path: Path) -> None:
    """Line ends, NULs, quotes and spaces within a cell are part of the model's text."""
    data = b'\xef\xbb\xbfa,b\r\n"x\r\ny\nz","  say ""hi"" \x00 "\r\n\r\n=1+1,\xe2\x80\xa8\r\n'
    assert cells(tmp_path, data) == [
        {"a": "x\r\ny\nz", "b": '  say "hi" \x00 '},
        {"a": "=1+1", "b": "\u2028"},
    ]


def test_csv_rows_know_their_line(tmp_path: Path) -> None:
    """A complaint must lead to the place in the file."""
    rows = list(table_reading.read_rows(file(tmp_path, 'a,b\n1,"x\ny"\n3,4\n')))
    assert [row.line for row in rows] == [3, 4]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"a,b\n1,2\n3\n", r"x\.csv:3: 1 cells, but the header names 2"),
        (b"a,b\n1,2,3\n", r"x\.csv:2: 3 cells, but the header names 2"),
        (b"a,a\n1,2\n", r'x\.csv:1: two columns are called "a"'),
        (b"a,b\n1,caf\xe9\n", r"x\.csv:2: invalid UTF-8 \(byte 0xe9\)"),
        (b'a,b\n1,"open\n', r"x\.csv:2: not CSV that can be read exactly"),
        (b"\xff\xfea\x00,", r"x\.csv: damaged UTF-16"),
    ],
)
def test_csv_that_is_not_exact_is_refused(tmp_path: Path, data: bytes, complaint: str) -> None:
    """Guessing at a broken row would put text into the wrong column."""
    with pytest.raises(ExchangeError, match=complaint):
        cells(tmp_path, data)


def test_invalid_utf8_far_into_a_file_is_found_by_line(tmp_path: Path) -> None:
    """The decoder reads ahead in blocks; the line still has to be right."""
    data = b"a,b\n" + b"1,fine\n" * 50_000 + b"1,\xff\n"
    with pytest.raises(ExchangeError, match=r"x\.csv:50002: invalid UTF-8 \(byte 0xff\)"):
        cells(tmp_path, data)


def test_a_huge_cell_is_read(tmp_path: Path) -> None:
    """The csv module's own limit of 128 KB is below what a model may answer."""
    assert len(cells(tmp_path, "a,b\n1," + "x" * 1_000_000 + "\n")[0]["b"]) == 1_000_000


def test_other_delimiters_are_seen(tmp_path: Path) -> None:
    """Spreadsheets of other countries write semicolons; .tsv means tabs."""
    assert cells(tmp_path, "a;b\n1,5;2\n") == [{"a": "1,5", "b": "2"}]
    assert cells(tmp_path, "a\tb\n1\t2\n", "tsv") == [{"a": "1", "b": "2"}]


def test_jsonl_is_split_at_newlines_only(tmp_path: Path) -> None:
    """U+2028 and the like are text; blank lines are nothing."""
    data = '\ufeff{"a": "x\u2028y\x85"}\n\n{"a": NaN}\n'.encode()
    assert cells(tmp_path, data, "jsonl") == [{"a": "x\u2028y\x85"}, {"a": "NaN"}]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b'{"a": 1}\n{"a": \n', r"x\.jsonl:2: not JSON"),
        (b'{"a": 1}\n[1]\n', r"x\.jsonl:2: a JSON list where an object"),
        (b'{"a": "\xff"}\n', r"x\.jsonl:1: invalid UTF-8 \(byte 0xff\)"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", r"x\.jsonl:1: not JSON that can be read"),
        (b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}\n", r"x\.jsonl:1: .*nested deeper than 200"),
        (b'{"a": ' + b"9" * 5000 + b"}\n", r"x\.jsonl:1: not JSON that can be read"),
    ],
)
def test_hostile_jsonl_is_refused_by_line(tmp_path: Path, data: bytes, complaint: str) -> None:
    """Nothing in a foreign file may end in a traceback."""
    with pytest.raises(ExchangeError, match=complaint):
        cells(tmp_path, data, "jsonl")


def test_a_document_gives_the_list_it_holds(tmp_path: Path) -> None:
    """Lists, lists inside one object, objects by key, and a list that is named."""
    rows = [{"a": 1}, {"a": 2}]
    assert cells(tmp_path, json.dumps(rows), "json") == rows
    beside = {"version": 1, "data": rows, "by": {"model": "m"}}
    assert cells(tmp_path, json.dumps(beside), "json") == [{"version": 1, "by": {"model": "m"}, **r} for r in rows]
    assert cells(tmp_path, json.dumps({"x": {"a": 1}}), "json") == [{"@key": "x", "a": 1}]
    assert cells(tmp_path, json.dumps(["x", "y"]), "json") == [{"value": "x"}, {"value": "y"}]
    assert cells(tmp_path, json.dumps({"q": ["x", "y"]}), "json") == [{"@key": "q", "value": ["x", "y"]}]
    assert cells(tmp_path, json.dumps({"q": "x", "r": "y"}), "json")[1] == {"@key": "r", "value": "y"}
    assert cells(tmp_path, '"x"\n', "jsonl") == [{"value": "x"}]
    two = json.dumps({"one": {"rows": rows}, "items": [{"b": 1}], "more": [{"c": 1}]})
    assert cells(tmp_path, two, "json", at="one.rows") == [{"items": [{"b": 1}], "more": [{"c": 1}], **r} for r in rows]
    with pytest.raises(ExchangeError, match=r"lists at items, more: say which, e\.g\. --map rows=items"):
        cells(tmp_path, two, "json")
    with pytest.raises(ExchangeError, match=r'has no list at "one\.other"'):
        cells(tmp_path, two, "json", at="one.other")


def test_canonical_json_has_one_form() -> None:
    """The recorded row must hash the same however its keys were ordered, and always be JSON."""
    assert table_reading.foreign_to_canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'
    assert table_reading.foreign_to_canonical_json({"x": float("nan"), "y": b"\xff"}) == '{"x":"nan","y":"\\\\xff"}'
    assert table_reading.foreign_to_canonical_json({"x": "\ud800"}) == '{"x":"\\ud800"}'


def test_parquet_rows_come_out_typed(tmp_path: Path) -> None:
    """Parquet is what data sets are published in."""
    arrow = pytest.importorskip("pyarrow", reason="needs the extra parquet")
    import pyarrow.parquet as parquet

    parquet.write_table(arrow.table({"a": ["x", None], "n": [1, 2]}), tmp_path / "x.parquet")
    found = [
        dict(row.cells)
        for row in table_reading.read_rows(table_reading.record_file_at(tmp_path / "x.parquet", "parquet"))
    ]
    assert found == [{"a": "x", "n": 1}, {"a": None, "n": 2}]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(ExchangeError, match=r"bad\.parquet: not Parquet that can be read"):
        list(table_reading.read_rows(table_reading.record_file_at(tmp_path / "bad.parquet", "parquet")))


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy stands in the message."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExchangeError, match=r"pip install 'tempzero\[parquet\]'"):
        cells(tmp_path, b"PAR1", "parquet")
