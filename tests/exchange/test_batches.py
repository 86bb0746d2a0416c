"""Large tables are read many rows at a time; what comes out, and what is refused, is what row-by-row reading gives."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from exchanging import MAP, refused, row, take_in, write_csv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making import chain_bytes
from tempzero import records
from tempzero.errors import ExchangeError
from tempzero.exchange import column_reading, encoding_process, importing, plain_tables, table_reading
from tempzero.exchange.answer_columns import UnfitForBatchesError
from tempzero.exchange.column_reading import ColumnReader, DoubtfulReadingError
from tempzero.exchange.row_encoding import EncodingJob
from tempzero.exchange.table_reading import foreign_to_canonical_json, read_column_names, record_file_at
from tempzero.records import Run
from tempzero.records.encoded_parts import make_row_encoder

Row = dict[str, Any]


@pytest.fixture
def by_row(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Reads row by row from there on."""

    def refuse(*_: object, **__: object) -> None:
        raise UnfitForBatchesError

    return lambda: monkeypatch.setattr(importing, "PlainTable", refuse)


@pytest.fixture
def in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading row by row is a failure from there on."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("was read row by row")

    monkeypatch.setattr(importing, "_survey_answers", fail)


def content(run: Run) -> tuple[bytes, dict[str, Any]]:
    """The records without their chain, which begins with the manifest, and the manifest but for its times."""
    manifest = json.loads((run.path / records.MANIFEST).read_bytes())
    for key in ("run_id", "created_at", "sessions", "config"):
        manifest.pop(key)
    written = chain_bytes(run.path)
    return re.sub(rb'"previous":"[0-9a-f]{64}",', b"", written), manifest


DICE = random.Random(7)


def noisy(number: int = 240) -> list[Row]:
    """Retries, failures, refusals, cut and cached answers, in an order that nobody sorted."""
    rows = []
    for repeat in range(4):
        for question in range(number // 12):
            for model in ("openai/gpt 4", "claude", "日本"):
                said = DICE.choice(
                    ["yes", "no", "", " ", "None", 'a "quoted" \\ text\r\n\x01é', "LLM Error", "I must decline."]
                )
                if DICE.random() < 0.1:
                    rows.append(made(model, question, repeat, "", "429 Too Many Requests"))
                rows.append(made(model, question, repeat, said, ""))
    return rows


def made(model: str, question: int, repeat: int, said: str, error: str) -> Row:
    return {
        "model": model,
        "task": f"t{question % 2}",
        "qid": question,
        "question": f"What is {question}?",
        "run": f"r{repeat}",
        "text": said,
        "err": error,
        "fin": DICE.choice(["stop", "stop", "length"]),
        "hit": DICE.choice(["", "", "", "yes"]),
        "gt": f"{question}",
        "n": DICE.randint(1, 9),
        "limit": 50,
        "when": f"2026-01-02T03:04:{DICE.randint(10, 59)}Z",
        "ms": DICE.choice(["", "12.5"]),
        "note, odd": '{"a": 1}',
    }


MAPS: dict[str, tuple[str, dict[str, Any]]] = {
    "repeats named": (
        "provider=model,id=task+qid,prompt=question,repeat=run~r(.+),text=text,error=err,finish_reason=fin,cached=hit,"
        "expected=gt,completion_tokens=n,max_tokens=limit,date=when,latency_ms=ms,family=task",
        {"extractor": "number"},
    ),
    "conditions": (
        "provider=model,prompt=question,condition=task+limit,repeat=run,text=text,error=err,finish_reason=fin,"
        "completion_tokens=n",
        {},
    ),
    "constants": (
        "provider:=ours,id=model+qid,repeat=run,text=text,error=err,model:=m-1,claims=@stem,temperature:=0",
        {},
    ),
    "chosen rows": (
        "provider=model,prompt=question,repeat=run,text=text,error=err",
        {"where": ["model=c*", "err!=429*"]},
    ),
    "as they are": ("provider=model,prompt=question,repeat=run,text=text,error=err", {"as_is": True}),
}


@pytest.mark.parametrize("name", MAPS)
def test_batches_write_the_very_bytes_of_rows(
    name: str, tmp_path: Path, by_row: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records and manifest are the same to the last byte, so that no figure depends on how they were read."""
    monkeypatch.setattr(plain_tables, "_BATCH_ROWS", 7)
    maps, options = MAPS[name]
    folder = tmp_path / "in"
    folder.mkdir()
    source = write_csv(folder / "answers.csv", noisy())
    one = take_in(source, maps, **options)
    assert one.verify()
    written = chain_bytes(one.path)
    assert f"{hashlib.sha256(written).hexdigest()}  records/part-00001.jsonl\n" in (one.path / "run.sha256").read_text()
    by_row()
    assert content(one) == content(take_in(source, maps, **options))


def test_rows_that_are_numbered_in_order_are_numbered_alike(
    tmp_path: Path, by_row: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over several files, and batches that end in the middle of a question."""
    monkeypatch.setattr(plain_tables, "_BATCH_ROWS", 3)
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (1, 2, 10):
        rows = [row(m, f"q{q}", f"{m}{q}{number}{r}") for q in range(5) for r in range(2) for m in "ab"]
        write_csv(folder / f"run-{number}.csv", rows)
    one = take_in(folder, MAP)
    by_row()
    assert content(one) == content(take_in(folder, MAP))


TEXTS = st.text(st.sampled_from('ab "\\,\n\r\t\x00\x7f\u2028é日😀'), max_size=5)
# Whole answers: parts within the text, parts in columns of their own, and what stands for no part.
ANSWERS = st.one_of(
    TEXTS,
    st.sampled_from(
        ["", " ", "\n", "None", "1", "LLM Error", "I must decline.", "\x1ahere\x1a", "Error code: 429 - x"]
    ),
    st.sampled_from(
        ["<think>so</think>yes", "<think>so", "a</think>b", " [THINK][/THINK]", "◁think▷", "<think> [/THINK]"]
    ),
    st.sampled_from(
        ['\x1e{"name":"f","arguments":{"a":1}}', 'ok\n\x1e{"name":"f","arguments":{}}', "\x1e{}", "a\n\x1e"]
    ),
)
REASONING = st.sampled_from(
    ["", "", "because", " ", "\x1ahere\x1a", '[{"type":"thinking","thinking":"hm"}]', "<think>x"]
)
COUNTS = st.sampled_from(["", "0", "1", "7", "7.0", "-1", "many", "1e400"])
TABLES = st.lists(
    st.fixed_dictionaries(
        {
            "model": st.sampled_from(["a", "a", "a", "b", "b", "b", "b", ""]),
            "question": st.sampled_from(["q", "q", "q", "r", "r", "r", "r", ""]),
            "run": st.sampled_from(["1", "2", "10", ""]),
            "answer": ANSWERS,
            "thoughts": REASONING,
            "declined": st.sampled_from(["", "", "", "no", "true", "I will not.", "\x1ahere\x1a"]),
            "finish": st.sampled_from(["stop", "stop", "", "length", "content_filter", "error", "tool_calls", "STOP "]),
            "hit": st.sampled_from(["", "", "", "yes"]),
            "err": st.sampled_from(["", "", "", "timeout", "\x1ahere\x1a"]),
            "gt": st.sampled_from(["1", "1", "1", "None", ""]),
            "temperature": st.sampled_from(["0", "0", "0", "0", "1"]),
            "limit": st.sampled_from(["7", "7", "7", "7", "8"]),
            "asked": COUNTS,
            "said": COUNTS,
            "thought": COUNTS,
            "all": COUNTS,
            "meta": st.sampled_from(["", '{"served": "m", "seconds": 1}', '{"served": "\\ud800"}', "[1]", "{"]),
            "@odd": st.sampled_from(["", "x"]),
        }
    ),
    min_size=1,
    max_size=12,
)
MORE_MAPS = (
    "repeat=run",
    "temperature=temperature",
    "max_tokens=limit",
    "error=err",
    "expected=gt",
    "reasoning=thoughts",
    "refusal=declined",
    "cached=hit",
    "finish_reason=finish",
    "prompt_tokens=asked,completion_tokens=said",
    "reasoning_tokens=thought,total_tokens=all",
    "served_model=meta.served,latency_s=meta.seconds",
    "reasoning=meta.served",
    "condition=temperature+limit",
    "id=question+gt",
    "ignore=temperature+limit+thoughts+@odd",
    "seed=asked",
)


def make_sound(rows: list[Row]) -> list[Row]:
    """The same without what is refused: most tables are sound, and what is refused says little of what is written."""
    first = {"answer": "yes", "thoughts": "x", "said": 1, "asked": 1, "thought": 1, "all": 1, "declined": "no"}
    first |= {"finish": "stop", "meta": '{"served": "m", "seconds": 1}', "gt": 1, "hit": "", "err": ""}
    same = {"gt": "1", "temperature": "0", "limit": "7", "@odd": "x"}
    whole = [{**row, **same, "model": row["model"] or "a", "question": row["question"] or "q"} for row in rows]
    return [{**row, "run": number} for number, row in enumerate([{**whole[0], **first}, *whole])]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.one_of(TABLES, TABLES.map(make_sound)), more=st.sets(st.sampled_from(MORE_MAPS)), raw=st.booleans())
def test_whatever_a_table_holds_both_ways_say_the_same(
    rows: list[Row], more: set[str], raw: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same run with the same notes, or the same refusal in the same words, of answers with all their parts."""
    source = write_csv(tmp_path_factory.mktemp("any") / "x.csv", rows)

    def outcome() -> object:
        notes: list[str] = []
        try:
            return content(take_in(source, MAP, *sorted(more), as_is=raw, notes=notes)), notes
        except ExchangeError as problem:
            return str(problem)

    one = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing, "PlainTable", _refuse)
        assert one == outcome()


def _refuse(*_: object, **__: object) -> None:
    raise UnfitForBatchesError


def test_a_plain_table_needs_no_reading_row_by_row(tmp_path: Path, in_batches: None) -> None:
    """Otherwise the tests above would compare one way with itself."""
    assert len(list(take_in(write_csv(tmp_path / "x.csv", noisy()), MAPS["repeats named"][0]).views())) > 200


def test_every_character_is_written_as_json_writes_it() -> None:
    """A row is put into JSON, and that into JSON again, by other means than elsewhere: no character may differ."""
    encode = make_row_encoder(("a", "b"))
    for start in range(0, 0x11000, 0x400):
        text = "".join(chr(c) for c in range(start, start + 0x400) if not 0xD800 <= c < 0xE000)
        assert encode([(text, "x", "beyond")]) == foreign_to_canonical_json({"a": text, "b": "x"}).encode() + b"\n"
    odd = make_row_encoder(('quoted "name"', "line\nend"))
    assert json.loads(odd([("x", "y")])) == {'quoted "name"': "x", "line\nend": "y"}


def test_a_source_that_changes_while_it_is_imported_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read twice, and what was surveyed must be what is written."""
    source = write_csv(tmp_path / "x.csv", [row(question=f"q{q}") for q in range(5)])
    survey = plain_tables.PlainTable.survey

    def change(self: plain_tables.PlainTable, *arguments: Any) -> object:
        found = survey(self, *arguments)
        write_csv(source, [row(question=f"q{q}", answer="longer") for q in range(5)])
        return found

    monkeypatch.setattr(plain_tables.PlainTable, "survey", change)
    assert refused(source, MAP) == "x.csv: was changed while it was imported; import it again"


# --- another process -------------------------------------------------------------------------


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_tables, "is_worth_a_process", lambda size: True)


def test_another_process_encodes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes write the very bytes of one."""
    source = write_csv(tmp_path / "x.csv", noisy(2400))
    alone = take_in(source, MAPS["repeats named"][0])
    monkeypatch.setattr(plain_tables, "is_worth_a_process", lambda size: True)
    together = take_in(source, MAPS["repeats named"][0])
    assert content(alone) == content(together)


@pytest.mark.usefixtures("helped")
@pytest.mark.parametrize(
    ("meanwhile", "said"),
    [
        ({"answer": "longer"}, "x.csv: was changed while it was imported; import it again"),
        ({"reply": "yes"}, 'no column "answer"'),
    ],
)
def test_two_processes_that_read_different_files_write_nothing(
    meanwhile: Row, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one reads the source at a time of its own: what it found must be what was surveyed."""
    questions = [f"q{q}" for q in range(5)]
    source = write_csv(tmp_path / "x.csv", [row(question=q) for q in questions])

    class Elsewhen(encoding_process.EncodingProcess):
        def __init__(self, job: EncodingJob) -> None:
            as_it_was = source.read_bytes()
            write_csv(source, [{"model": "a", "question": q, **meanwhile} for q in questions])
            super().__init__(job)
            with self._results as pipe:
                self._results = io.BytesIO(pipe.read())
            source.write_bytes(as_it_was)

    monkeypatch.setattr(plain_tables, "EncodingProcess", Elsewhen)
    assert said in refused(source, MAP)


def test_long_rows_come_in_small_batches(tmp_path: Path) -> None:
    """Memory holds a few megabytes of a table at a time, whether its answers are words or books."""
    rows = [row(question=f"q{q}", answer="x" * 200_000) for q in range(200)]
    reader = ColumnReader(
        record_file_at(write_csv(tmp_path / "x.csv", rows), "csv"), ("model", "question", "answer"), by_duckdb=False
    )
    sizes = [len(batch) for batch in reader.read_batches(("answer",), 500)]
    assert sum(sizes) == 200
    assert max(sizes[1:]) <= 20


@pytest.mark.usefixtures("helped")
def test_the_end_of_the_other_process_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed leaves no half of an import."""
    monkeypatch.setattr(encoding_process, "__name__", "tempzero.no_such_module")
    source = write_csv(tmp_path / "x.csv", [row(question=f"q{q}") for q in range(5)])
    assert "the process that encodes what is imported has ended" in refused(source, MAP)


# --- DuckDB ----------------------------------------------------------------------------------


@pytest.fixture
def by_duckdb(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("duckdb", reason="the extra `scale` is not installed")
    monkeypatch.setattr(column_reading, "_LEAST_BYTES", 0)


def both_readings(path: Path) -> tuple[object, object]:
    """What the csv module reads, and what DuckDB does; None where either leaves it alone."""
    file = record_file_at(path, "csv")
    try:
        header = read_column_names(file) or ()
        plain: object = [tuple(cells) for cells in table_reading.read_csv_cells(file)]
    except ExchangeError:
        return None, None
    reader = ColumnReader(file, header, by_duckdb=True)
    if not reader.by_duckdb:
        return plain, None
    try:
        found = [cells[: len(header)] for b in reader.read_batches(header, 4) for cells in b]
        reader.require_alike()
    except DoubtfulReadingError:
        return plain, None
    return plain, found


PIECES = [
    "a",
    "b c",
    '"',
    '""',
    ",",
    "\n",
    "\r\n",
    "\r",
    "é",
    "\x00",
    "\t",
    " ",
    "\\",
    "'",
    "#",
    "NULL",
    "",
    "\ufeff",
    ";",
]


@pytest.mark.usefixtures("by_duckdb")
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cells=st.lists(st.lists(st.sampled_from(PIECES), max_size=9), min_size=1, max_size=6),
    quoted=st.booleans(),
    windows=st.booleans(),
)
def test_duckdb_reads_what_the_csv_module_reads_or_is_not_believed(
    cells: list[list[str]], quoted: bool, windows: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Quotes in the middle, blanks before quotes, bare line ends: what is read otherwise is found out."""
    path = tmp_path_factory.mktemp("any") / "x.csv"
    out = io.StringIO()
    if quoted:
        rows = [["one", "two"], *(["".join(c[:4]), "".join(c[4:])] for c in cells)]
        csv.writer(out, lineterminator="\r\n" if windows else "\n").writerows(rows)
    else:
        out.write("one,two\n" + "\n".join("".join(c) for c in cells))
    path.write_bytes(out.getvalue().encode())
    plain, found = both_readings(path)
    assert found is None or found == plain


@pytest.mark.usefixtures("by_duckdb")
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_ordinary_table_is_believed(end: str, tmp_path: Path) -> None:
    """Else nothing would be gained."""
    path = tmp_path / "x.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator=end)
        writer.writerow(["one", "two, too"])
        writer.writerows([f'say "{n}"', f"a,\n{n}, é"] for n in range(3000))
    plain, found = both_readings(path)
    assert found == plain
    assert found


@pytest.mark.usefixtures("by_duckdb")
def test_a_table_that_duckdb_reads_otherwise_is_read_by_the_csv_module(tmp_path: Path) -> None:
    """A blank before quotes is part of a cell that begins with it."""
    source = tmp_path / "x.csv"
    source.write_text('model,question,answer\na,q, ""\na,r,yes\n')
    assert both_readings(source) == ([("a", "q", ' ""'), ("a", "r", "yes")], None)
    texts = [v.outcome.completion.text for v in take_in(source, MAP).views() if v.outcome.completion]
    assert texts == [' ""', "yes"]


@pytest.mark.usefixtures("by_duckdb")
def test_an_import_by_duckdb_writes_the_same(tmp_path: Path, by_row: Callable[[], None]) -> None:
    """To the last byte."""
    source = write_csv(tmp_path / "x.csv", noisy(2400))
    one = take_in(source, MAPS["repeats named"][0])
    by_row()
    assert content(one) == content(take_in(source, MAPS["repeats named"][0]))


def test_without_duckdb_the_csv_module_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra makes it faster, and nothing else."""
    monkeypatch.setattr(column_reading, "_LEAST_BYTES", 0)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert len(list(take_in(write_csv(tmp_path / "x.csv", noisy()), MAPS["conditions"][0]).views())) > 200
