"""Facts: what DuckDB reads of Parquet is what was counted of the records, to the last digit."""

from __future__ import annotations

import csv
import io
import re
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


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_facts_give_the_figures_of_the_records(tmp_path: Path, seed: int) -> None:
    """Two paths to one report must not differ in a digit, whatever bytes models answer with."""
    run = make_mixed_run(tmp_path, part_bytes=20_000, seed=seed)
    assert make_facts(run)
    assert not make_facts(run)
    assert repr(analyse(run, count=partial(count_by_facts, run))) == repr(analyse(run))


def test_facts_are_enough_where_the_records_lie_elsewhere(mixed: Run) -> None:
    """Records that were moved to cheaper storage need not come back for a report: their hashes are listed."""
    make_facts(mixed)
    expected = [f for f in analyse(mixed).figures if f.metric == "emr"]
    limits = mixed.token_limits
    for part in mixed.parts():
        part.rename(part.with_suffix(".elsewhere"))
    assert limits([]) == {}
    plain = make_run(
        mixed.path.parent / "plain",
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


def test_facts_of_other_records_are_not_used(mixed: Run) -> None:
    """A run that went on, or was exchanged, is counted anew: stale facts would be another run's figures."""
    make_facts(mixed)
    with records.open_run_writer(mixed.path, now="2026-01-02T03:04:06.000+00:00") as writer:
        writer.append(make_attempt(make_trial("a", "p0", 3)))
        with pytest.raises(RunFolderError, match="has no facts of these records; `tempzero facts"):
            list(count_by_facts(mixed, None))  # type: ignore[arg-type]
        records.finish_session(mixed.path, writer, now="2026-01-02T03:04:07.000+00:00")
    run = records.open_run(mixed.path)
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
def test_damaged_facts_are_one_line_with_the_way_out(mixed: Run, name: str, old: bytes, new: bytes) -> None:
    """They may come from anybody: a number that stands for nothing is no crash and no figure."""
    make_facts(mixed)
    file = mixed.path / name
    assert old in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(old, new))
    with pytest.raises(RunFolderError, match=r"damaged \(.*\); remove .*facts and make it anew with `tempzero facts"):
        analyse(mixed, count=partial(count_by_facts, mixed))


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


def test_a_query_reads_facts_and_nothing_else(mixed: Run) -> None:
    """SQL from a colleague is not a way to the rest of the disk, and a typing mistake is one line."""
    make_facts(mixed)
    secret = mixed.path / "manifest.json"
    for sql in (f"SELECT * FROM read_text('{secret}')", f"COPY facts TO '{mixed.path / 'out.csv'}'", "SELEC 1"):
        with pytest.raises(UsageError, match="--sql: "):
            query_facts([mixed.path], sql)
    assert query_facts([mixed.path], "SELECT count(*) FROM facts")[1] == [(len(list(mixed.views())),)]


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
