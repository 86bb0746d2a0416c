"""Facts: what DuckDB reads of Parquet is what was counted of the records, to the last digit."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("duckdb", reason="needs the extra scale")

from answer_mixtures import NASTY, make_mixed_run
from making import make_attempt, make_config, make_run, make_suite, make_trial
from tempzero import records
from tempzero.analysis import analyse
from tempzero.analysis.run_facts import count_by_facts, make_facts, query_facts
from tempzero.cli import main
from tempzero.errors import RunFolderError, UsageError
from tempzero.records import Run


@pytest.fixture
def mixed(tmp_path: Path) -> Run:
    run = make_mixed_run(tmp_path, part_bytes=20_000)
    assert len(run.parts()) > 3
    return run


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """With its facts; nobody changes it."""
    run = make_mixed_run(tmp_path_factory.mktemp("made"), part_bytes=20_000)
    assert make_facts(run)
    return run


@pytest.fixture
def counted(made_once: Run, tmp_path: Path) -> Run:
    """A copy with its facts."""
    return records.open_run(shutil.copytree(made_once.path, tmp_path / made_once.path.name))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_facts_give_the_figures_of_the_records(tmp_path: Path, seed: int) -> None:
    """Two paths to one report must not differ in a digit, whatever bytes models answer with."""
    run = make_mixed_run(tmp_path, part_bytes=20_000, seed=seed)
    assert make_facts(run)
    assert not make_facts(run)
    assert repr(analyse(run, count=partial(count_by_facts, run))) == repr(analyse(run))


def test_facts_are_enough_where_the_records_lie_elsewhere(counted: Run) -> None:
    """Records that were moved to cheaper storage need not come back for a report: their hashes are listed."""
    expected = [f for f in analyse(counted).figures if f.metric == "emr"]
    limits = counted.token_limits
    for part in counted.parts():
        part.rename(part.with_suffix(".elsewhere"))
    assert limits([]) == {}
    plain = make_run(
        counted.path.parent / "plain",
        make_config(),
        make_suite(),
        [make_attempt(make_trial(name, f"p{p}", r)) for name in "ab" for p in range(3) for r in range(2)],
    )
    run = records.open_run(plain)
    make_facts(run)
    before = repr(analyse(run))
    for part in run.parts():
        part.unlink()
    assert repr(analyse(run, count=partial(count_by_facts, run))) == before
    assert expected


def test_facts_of_other_records_are_not_used(counted: Run) -> None:
    """A run that went on, or was exchanged, is counted anew: stale facts would be another run's figures."""
    with records.open_run_writer(counted.path, now="2026-01-02T03:04:06.000+00:00") as writer:
        writer.append(make_attempt(make_trial("a", "p0", 3)))
        with pytest.raises(RunFolderError, match="has no facts of these records; `tempzero facts"):
            list(count_by_facts(counted, None))  # type: ignore[arg-type]
        records.finish_session(counted.path, writer, now="2026-01-02T03:04:07.000+00:00")
    run = records.open_run(counted.path)
    assert make_facts(run)
    assert repr(analyse(run, count=partial(count_by_facts, run))) == repr(analyse(run))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("facts/part-00002.json", b'"records":', b'"records":9'),
        ("facts/part-00002.json", b'"conditions":["default"]', b'"conditions":[]'),
        ("facts/part-00001.parquet", b"PAR1", b"PAR0"),
        ("texts/part-00001.parquet", b"PAR1", b""),
    ],
)
def test_damaged_facts_are_one_line_with_the_way_out(counted: Run, name: str, old: bytes, new: bytes) -> None:
    """They may come from anybody: a number that stands for nothing is no crash and no figure."""
    file = counted.path / name
    assert old in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(old, new))
    with pytest.raises(RunFolderError, match=r"damaged \(.*\); remove .*facts and make it anew with `tempzero facts"):
        analyse(counted, count=partial(count_by_facts, counted))


def test_nasty_texts_come_back_letter_by_letter(tmp_path: Path) -> None:
    """Quotes, NUL, marks of direction and line ends of a model are data in Parquet and in SQL."""
    attempts = [make_attempt(make_trial("a", f"p{i}", r), text=text) for i, text in enumerate(NASTY) for r in range(2)]
    run = records.open_run(make_run(tmp_path, make_config(["a"]), make_suite(len(NASTY)), attempts))
    make_facts(run)
    _, rows = query_facts([run.path], "SELECT answer FROM texts ORDER BY prompt_number")
    assert tuple(text for (text,) in rows) == NASTY


def test_one_query_asks_all_nights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The history of a fleet is a question to a table, not a program."""
    for night, said in enumerate(["yes", "yes", "no"], start=1):
        attempts = [make_attempt(make_trial("a", "p0", r), text=said if r else "yes") for r in range(4)]
        make_run(tmp_path, make_config(["a"]), make_suite(1), attempts, run_id=f"night-{night}")
    sql = (
        "SELECT run, provider, avg(same) AS emr FROM (SELECT f.run, provider, f.prompt, "
        "sum(n * (n - 1)) / (sum(n) * (sum(n) - 1)) AS same FROM (SELECT f.run, provider, f.prompt, t.answer, "
        "count(*) AS n FROM facts f JOIN texts t USING (run, part, text) GROUP BY ALL) f GROUP BY ALL) "
        "GROUP BY ALL ORDER BY run"
    )
    assert main(["facts", str(tmp_path), "--sql", sql]) == 0
    shown = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert shown == [
        ["run", "provider", "emr"],
        ["night-1", "a", "1.0"],
        ["night-2", "a", "1.0"],
        ["night-3", "a", "0.5"],
    ]
    assert main(["report", str(tmp_path / "night-3"), "--facts"]) in (0, 1, 3)
    assert "EMR 0.500" in capsys.readouterr().out.replace("\n", " ")


def test_an_answer_in_the_csv_of_a_query_is_no_formula(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows are opened in a spreadsheet, and a model may have been told to write one."""
    make_run(tmp_path, make_config(["a"]), make_suite(1), [make_attempt(make_trial("a", "p0"), text='=HYPERLINK("x")')])
    assert main(["facts", str(tmp_path), "--sql", 'SELECT answer, 1 AS "=n" FROM texts']) == 0
    assert list(csv.reader(io.StringIO(capsys.readouterr().out))) == [["answer", "'=n"], ['\'=HYPERLINK("x")', "1"]]


def test_facts_of_a_run_that_went_on_are_not_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that is under way has facts of an earlier state: in a table of all nights they would be that night's."""
    for night in ("night-1", "night-2"):
        make_run(tmp_path, make_config(["a"]), make_suite(1), [make_attempt(make_trial("a", "p0"))], run_id=night)
    sql = "SELECT run FROM facts ORDER BY run"
    assert main(["facts", str(tmp_path), "--sql", sql]) == 0
    capsys.readouterr()
    with records.open_run_writer(tmp_path / "night-2", now="2026-01-02T03:04:06.000+00:00") as writer:
        writer.append(make_attempt(make_trial("a", "p0", 1)))
    assert main(["facts", str(tmp_path), "--sql", sql]) == 0
    shown = capsys.readouterr()
    assert shown.out == "run\nnight-1\n"
    assert "skipped: " in shown.err
    assert "night-2: was not collected to its end, so it has no hashes" in shown.err


def test_a_query_reads_facts_and_nothing_else(counted: Run) -> None:
    """SQL from a colleague is not a way to the rest of the disk, and a typing mistake is one line."""
    secret = counted.path / "manifest.json"
    for sql in (f"SELECT * FROM read_text('{secret}')", f"COPY facts TO '{counted.path / 'out.csv'}'", "SELEC 1"):
        with pytest.raises(UsageError, match="--sql: "):
            query_facts([counted.path], sql)
    assert query_facts([counted.path], "SELECT count(*) FROM facts")[1] == [(len(list(counted.views())),)]


def test_the_queries_of_the_manual_are_answered(tmp_path: Path) -> None:
    """Whoever copies one gets an answer, and a true one."""
    for night, said in enumerate(["yes", "no"], start=1):
        attempts = [make_attempt(make_trial("a", "p0", r), text=said if r else "yes") for r in range(4)]
        path = make_run(tmp_path, make_config(["a"]), make_suite(1), attempts, run_id=f"night-{night}")
        manifest = path / "manifest.json"
        manifest.write_text(manifest.read_text().replace("2026-01-02T", f"2026-01-0{night}T", 1))
        make_facts(records.open_run(path))
    manual = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
    agreement, new_answers = re.findall(r'--sql "(.*?)"\n', manual, re.DOTALL)
    runs = sorted(tmp_path.iterdir())
    assert [row[1:] for row in query_facts(runs, agreement)[1]] == [("a", 1.0, 1), ("a", 0.5, 1)]
    assert [row[1:] for row in query_facts(runs, new_answers)[1]] == [("a", 0.0), ("a", 0.75)]


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("facts", "repeat", "NULL"),
        ("facts", "repeat", "-7"),
        ("facts", "repeat", "'x'"),
        ("facts", "prompt_tokens", "9223372036854775807"),
        ("texts", "answer", "NULL"),
        ("texts", "prompt_number", "NULL"),
        ("texts", "whole", "NULL"),
        ("texts", "cut_by_provider", "'x'"),
    ],
)
def test_facts_of_another_kind_are_damaged_facts(counted: Run, table: str, column: str, value: str) -> None:
    """Parquet holds any type: what is no number or no text must end in the line that says so."""
    import duckdb

    file, made = counted.path / table / "part-00002.parquet", counted.path / "made.parquet"
    duckdb.execute(f"COPY (SELECT * REPLACE ({value} AS {column}) FROM '{file}') TO '{made}' (FORMAT parquet)")
    made.replace(file)
    with pytest.raises(RunFolderError, match=r"damaged \(.*\); remove .*facts and make it anew with `tempzero facts"):
        analyse(counted, count=partial(count_by_facts, counted))


@pytest.mark.parametrize(("name", "made"), [("limits", [[10**7, [5]]]), ("bits", [[10**7, "x", None]])])
def test_facts_about_nothing_are_damaged_facts(counted: Run, name: str, made: object) -> None:
    """The names beside the numbers may be anybody's, too."""
    file = counted.path / "facts" / "part-00002.json"
    file.write_text(json.dumps({**json.loads(file.read_bytes()), name: made}))
    with pytest.raises(RunFolderError, match=r"damaged \(.*\); remove"):
        analyse(counted, count=partial(count_by_facts, counted))


def test_facts_are_made_of_the_listed_records_alone(mixed: Run) -> None:
    """Facts stand for the hashes that are listed: of records that were exchanged they would be a lie."""
    part, whole = mixed.parts()[1], mixed.parts()[1].read_bytes()
    for changed in (whole.replace(b'"block":0', b'"block":1'), whole + whole):
        part.write_bytes(changed)
        with pytest.raises(RunFolderError, match=r"part-00002.jsonl: is not what run.sha256 has the hash of"):
            make_facts(mixed)
    part.write_bytes(whole)
    added = mixed.path / "records" / f"part-{len(mixed.parts()) + 1:05}.jsonl"
    added.write_bytes(whole)
    with pytest.raises(RunFolderError, match=rf"{added.name}: is not what run.sha256 has the hash of"):
        make_facts(mixed)


def test_a_query_writes_nothing(counted: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that may be read may be written to in DuckDB: what is not one SELECT is refused."""
    file = counted.path / "facts" / "part-00001.parquet"
    before = file.read_bytes()
    copy = f"COPY (SELECT 1) TO '{file}'"
    for sql in (copy, f"SELECT 1; {copy}", f"EXPLAIN ANALYZE {copy}", "CREATE TABLE x AS SELECT 1", " ", "-- nothing"):
        with pytest.raises(UsageError, match="--sql: is not one query; say a single SELECT"):
            query_facts([counted.path], sql)
    assert file.read_bytes() == before
    monkeypatch.chdir(counted.path)
    assert query_facts([Path()], "SELECT DISTINCT run FROM facts JOIN runs USING (run)")[1] == [(counted.path.name,)]
