"""Folders and files as they lie about: what a glob names is looked at, what is no table named, memory never filled."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
from exchanging import MAP, keys_and_texts, refused, row, take_in, views, write_csv, write_jsonl
from tempzero.exchange import sources, table_reading


def rows(run: int) -> list[dict[str, object]]:
    return [row(question=f"q{q}", answer=f"a{q}", run=run) for q in range(3)]


def lines(run: int) -> bytes:
    return "".join(json.dumps(r) + "\n" for r in rows(run)).encode()


def test_what_a_file_holds_commands_no_terminal(tmp_path: Path) -> None:
    """Names and values of hostile files stand in refusals and notes, their escape sequences made visible."""
    table = [{**row(temperature=f"\x1b]0;mine\x07\u202e{n}"), "x\x1b[2J": n} for n in (0, 1)]
    line = refused(write_jsonl(tmp_path / "x.jsonl", table), MAP)
    assert "\\x1b]0;mine\\x07\\u202e0" in line
    notes: list[str] = []
    folder = tmp_path / "in"
    write_jsonl(folder / "a.jsonl", [row()])
    (folder / "b\x1b[2J.json").write_text('{"runs": 2}')
    take_in(folder, MAP, notes=notes)
    assert any("b\\x1b[2J.json" in note for note in notes)
    assert all(sign.isprintable() for said in (line.replace("\n", ""), *notes) for sign in said)


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.json", "x.eval", "x.txt"])
@pytest.mark.parametrize("maps", [[MAP], []])
def test_an_empty_file_is_said_to_be_empty(name: str, maps: list[str], tmp_path: Path) -> None:
    """An exit code alone explains nothing."""
    (tmp_path / name).write_bytes(b"")
    assert name in refused(tmp_path / name, *maps)


# --- which files are looked at ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "glob"),
    [
        (("x.log_1", "x.log_2"), "*.log_*"),
        (("run-1.out", "run-2.out"), "run-*"),
        (("day.jsonl.2026-07-14", "day.jsonl.2026-07-15"), "day.jsonl.*"),
        (("one/answers", "two/answers"), "*/answers"),
    ],
)
def test_what_a_glob_names_is_looked_at(names: tuple[str, str], glob: str, tmp_path: Path) -> None:
    """An ending that says nothing is no obstacle, as with a single file; without a glob the way on is told."""
    folder = tmp_path / "in"
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(lines(number))
    assert "Where they are tables say --only '" in refused(folder, MAP)
    assert len(views(take_in(folder, f"{MAP},repeat=run", only=[glob]))) == 6


def test_an_offered_glob_fits(tmp_path: Path) -> None:
    """The very words of the refusal work."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"x.log_{number}").write_bytes(lines(number))
    offered = refused(folder, MAP).partition("--only '")[2].partition("'")[0]
    assert offered == "*.log_*"
    assert len(views(take_in(folder, f"{MAP},repeat=run", only=[offered]))) == 6


@pytest.mark.parametrize("glob", ["*.jsonl.gz", "*.jsonl", "run_[12]*"])
def test_both_names_of_a_compressed_file_fit(glob: str, tmp_path: Path) -> None:
    """As it lies there, and as it is called once it is unpacked."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"run_{number}.jsonl.gz").write_bytes(gzip.compress(lines(number)))
    (folder / "INDEX.json").write_text('{"runs": 2, "models": ["a"]}')
    assert len(views(take_in(folder, f"{MAP},repeat=run", only=[glob]))) == 6
    assert "there are INDEX.json, run_1.jsonl.gz, run_2.jsonl.gz" in refused(folder, MAP, only=["*.csv"])


@pytest.mark.parametrize("pack", ["zip", "tar"])
def test_compressed_files_inside_an_archive_are_unpacked(pack: str, tmp_path: Path) -> None:
    """By either name, like those in a folder."""
    (tmp_path / "run_1.jsonl.gz").write_bytes(gzip.compress(lines(1)))
    path = tmp_path / f"in.{pack}"
    if pack == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(tmp_path / "run_1.jsonl.gz", "run_1.jsonl.gz")
    else:
        with tarfile.open(path, "w") as archive:
            archive.add(tmp_path / "run_1.jsonl.gz", "run_1.jsonl.gz")
    assert len(views(take_in(path, f"{MAP},repeat=run", only=["*.jsonl.gz"]))) == 3
    assert len(views(take_in(path, f"{MAP},repeat=run"))) == 3


BESIDE = {
    "INDEX.json": ('{"total": 18, "models": ["m"]}', "a JSON object, not a list of records"),
    "manifest.json": (
        '[{"file": "run_1.jsonl", "size": 7}]',
        "has none of the columns that the mapping names, but file",
    ),
    "summary.csv": ("task,accuracy\nsums,0.5\n", "has none of the columns that the mapping names, but task, accuracy"),
    "config.jsonl": ('{"seed": 1}\n', "has none of the columns that the mapping names, but seed"),
    "version.json": ('"1.0"', "a JSON text, not a list of records"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_a_file_that_is_no_table_of_answers_is_named_and_left_out(name: str, tmp_path: Path) -> None:
    """An index beside the records stops nothing, and nobody wonders whether it was read."""
    folder = tmp_path / "in"
    folder.mkdir()
    content, reason = BESIDE[name]
    (folder / name).write_text(content)
    (folder / "run_1.jsonl").write_bytes(lines(1))
    notes: list[str] = []
    run = take_in(folder, MAP, notes=notes)
    assert len(views(run)) == 3
    assert any(note.startswith(f"left out: {name}: {reason}") for note in notes)
    assert any(note.startswith(f"left out: {name}") for note in run.manifest.notes)
    assert "Columns: model, question, answer, run" in refused(folder)


def test_files_that_are_no_tables_at_all_are_an_error_that_is_said_once(tmp_path: Path) -> None:
    """Of twenty files with one cause one line is enough."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.json").write_text('{"total": 18}')
    line = refused(folder, MAP)
    assert line.count("\n") == 0
    assert line.startswith("left out: 0.json, 1.json, 2.json and 17 more: a JSON object, not a list of records")


def test_a_table_that_lacks_one_column_is_still_an_error(tmp_path: Path) -> None:
    """Half of the columns are there, so it is a table of answers with something amiss: leaving it out would hide it."""
    folder = tmp_path / "in"
    folder.mkdir()
    write_csv(folder / "1.csv", [row()])
    write_csv(folder / "2.csv", [{"model": "a", "question": "q", "reply": "x"}])
    assert 'no column "answer"' in refused(folder, MAP)


def test_pictures_that_a_glob_names_are_left_out(tmp_path: Path) -> None:
    """What is no text is no table, and is named."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "plot.png").write_bytes(b"\x89PNG\x00\x00")
    (folder / "run_1.log").write_bytes(lines(1))
    notes: list[str] = []
    assert len(views(take_in(folder, MAP, only=["*"], notes=notes))) == 3
    assert "left out: plot.png (no text)" in notes
    assert "what fits --only *.png is no table: plot.png" in refused(folder, MAP, only=["*.png"])


def test_a_first_mapping_is_offered_with_settings_and_names(tmp_path: Path) -> None:
    """Who answered may stand in the names only; what else was varied goes into the key at once."""
    folder = tmp_path / "in"
    for name in ("gpt_temperature_0", "claude_temperature_0.7"):
        asked = {"question": "q", "answer": "x", "params": {"max_tokens": 9}}
        write_jsonl(folder / f"{name}.jsonl", [asked])
    offered = refused(folder).partition("perhaps --map ")[2]
    assert offered == (
        "'prompt=question,text=answer,max_tokens=params.max_tokens,provider=@stem,"
        "condition=@stem~temperature[_.-]([0-9]+(?:[.][0-9]+)?)'"
    )
    assert len(views(take_in(folder, offered.strip("'")))) == 2


# --- one answer a file -----------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".md", ".txt", ""])
def test_a_folder_with_an_answer_in_each_file(ending: str, tmp_path: Path) -> None:
    """Folders by model, files by question and run: the text is the file, to its last line end."""
    folder = tmp_path / "in"
    for model in ("gpt", "claude"):
        for question in ("poem", "sum"):
            for run in (1, 2):
                (folder / model).mkdir(parents=True, exist_ok=True)
                (folder / model / f"{question}_run{run}{ending}").write_text(f"{model} on {question}, \u00e9\n")
    (folder / "results.csv").write_text("a,b\n1,2\n")
    assert "--map text=@content,provider=@folder,id=@stem" in refused(folder / "gpt", MAP)
    notes: list[str] = []
    maps = "text=@content,provider=@folder,id=@stem~^(.+)_run,repeat=@stem~_run(.+)$"
    found = keys_and_texts(take_in(folder, maps, notes=notes))
    assert len(found) == 8
    assert found["gpt", "poem", "default", 1] == "gpt on poem, \u00e9\n"
    assert any(n.startswith("left out: results.csv") for n in notes)


def test_the_very_answer_is_kept_as_the_row(tmp_path: Path) -> None:
    """What was imported can be read again from the record."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "q1.md").write_text("# yes\n")
    run = take_in(folder, "text=@content,provider:=ours,id=@stem")
    exchange = next(iter(run.records())).attempt.exchange
    assert exchange.response is not None
    assert json.loads(exchange.response.body or "") == {"@content": "# yes\n"}


# --- what stands beside the rows -------------------------------------------------------------


def test_outer_fields_of_a_document_are_columns(tmp_path: Path) -> None:
    """A day's file says once who was asked, and when."""
    folder = tmp_path / "in"
    folder.mkdir()
    for day in ("2026-07-14", "2026-07-15"):
        tasks = [{"id": f"t{n}", "output": f"x{n}"} for n in range(6)]
        document = {"summary": {"provider": "groq", "date": day}, "tasks": tasks}
        (folder / f"{day}.json").write_text(json.dumps(document))
    found = keys_and_texts(
        take_in(folder, "rows=tasks,provider=summary.provider,id=id,text=output,repeat=summary.date")
    )
    assert sorted({(k[0], k[3]) for k in found}) == [("groq", 0), ("groq", 1)]
    single = folder / "2026-07-14.json"
    assert len(views(take_in(single, "provider=summary.provider,id=id,text=output"))) == 6


@pytest.mark.parametrize(
    ("document", "maps"),
    [
        ({"model": "m", "data": {"runs": [{"q": "a", "t": "x"}]}}, "rows=data.runs,provider=model,prompt=q,text=t"),
        (
            {"data": {"by": {"who": "m"}, "runs": [{"q": "a", "t": "x"}]}},
            "rows=data.runs,provider=data.by.who,prompt=q,text=t",
        ),
        ({"who": "m", "a": [{"t": "x"}], "b": [{"t": "y"}]}, "rows=*,provider=who,prompt=@list,text=t"),
        ({"who": "m", "all": {"a": {"t": "x"}, "b": {"t": "y"}}}, "rows=all,provider=who,prompt=@key,text=t"),
    ],
)
def test_outer_fields_at_any_level(document: object, maps: str, tmp_path: Path) -> None:
    """Whatever stands on the way to the rows can be named by its path."""
    source = tmp_path / "x.json"
    source.write_text(json.dumps(document))
    assert {v.trial.provider for v in views(take_in(source, maps))} == {"m"}


def test_a_rows_own_field_goes_before_an_outer_one(tmp_path: Path) -> None:
    """The nearer word counts; a large thing beside the rows does not go with each of them."""
    source = tmp_path / "x.json"
    large = [{"n": n} for n in range(10_000)]
    document = {"model": "outer", "log": large, "rows": [{"model": "inner", "q": "a", "t": "x"}]}
    source.write_text(json.dumps(document))
    run = take_in(source, "rows=rows,provider=model,prompt=q,text=t")
    assert {v.trial.provider for v in views(run)} == {"inner"}
    exchange = next(iter(run.records())).attempt.exchange
    assert exchange.response is not None
    assert "log" not in json.loads(exchange.response.body or "")


def test_outer_settings_that_vary_are_noticed(tmp_path: Path) -> None:
    """The header says at which temperature the day's answers were made."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, temperature in enumerate((0, 1)):
        document = {"config": {"temperature": temperature}, "rows": rows(number)}
        (folder / f"{number}.json").write_text(json.dumps(document))
    assert 'column "config.temperature" has 2 values (0, 1)' in refused(folder, f"rows=rows,{MAP}")


def test_an_inspect_log_can_be_mapped_by_hand(tmp_path: Path) -> None:
    """Its header stands beside the samples in both forms; a field that the built-in mapping leaves out can be named."""
    log = {"model": "openai/gpt", "created": "2026-07-14", "task": "sums"}
    samples = [{"id": n, "input": f"q{n}", "output": {"completion": f"x{n}"}} for n in range(3)]
    with zipfile.ZipFile(tmp_path / "x.eval", "w") as archive:
        archive.writestr("header.json", json.dumps({"version": 2, "status": "success", "eval": log}))
        for sample in samples:
            archive.writestr(f"samples/{sample['id']}_epoch_1.json", json.dumps(sample))
    (tmp_path / "x.json").write_text(json.dumps({"version": 2, "status": "success", "eval": log, "samples": samples}))
    maps = "provider=eval.model,condition=eval.created,prompt=input,text=output.completion"
    for name, extra in (("x.eval", ""), ("x.json", ",rows=samples")):
        found = keys_and_texts(take_in(tmp_path / name, maps + extra))
        assert [(k[0], k[2], text) for k, text in found.items()] == [
            ("openai-gpt", "2026-07-14", f"x{n}") for n in range(3)
        ]


# --- what must not fill memory, or wait for ever ---------------------------------------------


def test_rows_come_through_a_pipe(tmp_path: Path) -> None:
    """`<(zcat x.gz)` and a named pipe can be read once only; import reads twice."""
    pipe = tmp_path / "answers.jsonl"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(lines(1) * 1))
    writer.start()
    run = take_in(pipe, MAP)
    writer.join()
    assert len(views(run)) == 3


def test_a_pipe_that_nobody_writes_into_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a line that says what was waited for."""
    monkeypatch.setattr(sources, "_PIPE_WAIT_S", 0.2)
    os.mkfifo(tmp_path / "silent")
    assert "nothing came through this pipe" in refused(tmp_path / "silent", MAP)


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    """A device never ends."""
    assert (
        refused(Path("/dev/zero"), MAP) == "/dev/zero: is no file, folder or pipe"
        if os.path.exists("/dev/zero")
        else ""
    )


def test_a_pipe_in_a_folder_is_left_out(tmp_path: Path) -> None:
    """Nobody asked for it, and reading it might wait for ever."""
    folder = tmp_path / "in"
    write_jsonl(folder / "x.jsonl", rows(1))
    os.mkfifo(folder / "pipe.jsonl")
    notes: list[str] = []
    take_in(folder, MAP, notes=notes)
    assert "left out: 1 files (pipes and devices)" in notes


HUGE = """
import resource, sys
from pathlib import Path
from tempzero import exchange
from tempzero.errors import ExchangeError
from tempzero.exchange import table_reading
table_reading.MAX_LINE_BYTES, table_reading.MAX_DOCUMENT_BYTES = 6 << 20, 25 << 20  # a tenth, for a tenth of the time
pages = Path("/proc/self/statm")
held = int(pages.read_text().split()[0]) * resource.getpagesize() if pages.exists() else 1 << 30
resource.setrlimit(resource.RLIMIT_AS, (held + (100 << 20),) * 2)
recipe = exchange.recipe_from_options(maps=["provider=model,prompt=question,text=answer"])
for source in sys.argv[1:]:
    try:
        print(exchange.import_records(Path(source), results=Path(source).with_name("results"), recipe=recipe))
    except ExchangeError as problem:
        print(problem)
"""


def test_a_line_that_never_ends_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    """A gigabyte in one line weighs a megabyte when it is packed."""
    endless = {"x.jsonl": b'{"answer": "', "x.csv": b"model,question,answer\na,q,", "x.json": b'["'}
    letters = gzip.compress(b"x" * (1 << 20))
    for name, start in endless.items():  # a document may be longer than a line
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(start) + letters * (30 if name == "x.json" else 12))
    command = [sys.executable, "-c", HUGE, *(str(tmp_path / f"{name}.gz") for name in endless)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for name, said in zip(endless, done.stdout.splitlines(), strict=True):
        assert said.startswith(f"{name}:")
        assert "MB" in said


def test_a_csv_of_long_and_short_lines_is_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file may hold a line that is too long, lines are taken one by one; the rows are the same."""
    source = write_csv(tmp_path / "x.csv", [row(answer="one\r\ntwo\rthree\n"), row(question="q1", answer="x" * 60)])
    whole = keys_and_texts(take_in(source, MAP))
    monkeypatch.setattr(table_reading, "MAX_LINE_BYTES", 100)
    assert keys_and_texts(take_in(source, MAP)) == whole
    monkeypatch.setattr(table_reading, "MAX_LINE_BYTES", 30)
    assert refused(source, MAP).startswith("x.csv:6: a line of more than")


def test_unpacking_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large archive takes its time before the first row."""
    from tempzero import exchange

    monkeypatch.setattr(sources, "_TOLD_EVERY", 1)
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(lines(1)))
    told: list[str] = []
    recipe = exchange.recipe_from_options(maps=[MAP])
    exchange.import_records(path, results=tmp_path, recipe=recipe, progress=lambda what, amount: told.append(what))
    assert told[0] == "unpacking"
