"""Tables as people have them: one set of answers in many shapes gives one run, and what is ambiguous is refused."""

from __future__ import annotations

import bz2
import csv
import gzip
import importlib
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from exchanging import MAP, refused, take_in
from tempzero.records import Run

ROWS = [
    {"model": model, "question": question, "run": run, "answer": f"{model} says {number}, \u00e9"}
    for model in ("a", "b")
    for question, number in (("one?", 1), ("two?", 2))
    for run in (1, 2)
]


def content(run: Run) -> list[tuple[str, str, int, str]]:
    questions = {p.id: p.messages[-1].content for p in run.manifest.suite.prompts}
    found = []
    for view in run.views():
        assert view.outcome.completion is not None
        text = view.outcome.completion.text
        found.append((view.trial.provider, questions[view.trial.prompt], view.trial.repeat, text))
    return sorted(found)


EXPECTED = sorted((r["model"], r["question"], int(str(r["run"])) - 1, r["answer"]) for r in ROWS)


def table(delimiter: str = ",", end: str = "\n") -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(ROWS[0]), delimiter=delimiter, lineterminator=end)
    writer.writeheader()
    writer.writerows(ROWS)
    return out.getvalue()


def lines(end: str = "\n") -> str:
    return "".join(json.dumps(r, ensure_ascii=False) + end for r in ROWS)


def zstd(data: bytes) -> bytes:
    packed: bytes = pytest.importorskip("pyarrow", reason="needs the extra parquet").compress(
        data, codec="zstd", asbytes=True
    )
    return packed


FILES: dict[str, Callable[[], bytes]] = {
    "mark.csv": lambda: b"\xef\xbb\xbf" + table().encode(),
    "utf-16.csv": lambda: table().encode("utf-16"),
    "windows.csv": lambda: table(end="\r\n").encode(),
    "semicolon.csv": lambda: table(";").encode(),
    "bar.csv": lambda: table("|").encode(),
    "tab.tsv": lambda: table("\t").encode(),
    "tab.txt": lambda: table("\t").encode(),
    "x.csv.gz": lambda: gzip.compress(table().encode()),
    "x.csv.bz2": lambda: bz2.compress(table().encode()),
    "x.csv.xz": lambda: lzma.compress(table().encode()),
    "x.csv.zst": lambda: zstd(table().encode()),
    "blank.jsonl": lambda: ("\n\n" + lines("\r\n\r\n")).encode(),
    "mark.jsonl": lambda: b"\xef\xbb\xbf" + lines().encode(),
    "utf-16.jsonl": lambda: lines("\r\n").encode("utf-16"),
    "utf-16.json": lambda: json.dumps(ROWS, indent=1).encode("utf-16"),
}


@pytest.mark.parametrize("name", FILES)
def test_one_table_in_many_encodings(name: str, tmp_path: Path) -> None:
    """How a file was saved or packed changes nothing of what was answered."""
    (tmp_path / name).write_bytes(FILES[name]())
    assert content(take_in(tmp_path / name, f"{MAP},repeat=run")) == EXPECTED


def test_a_column_for_each_provider(tmp_path: Path) -> None:
    """The names stand over the answers; the question beside them is not one more provider."""
    source = tmp_path / "wide.csv"
    source.write_text("question,gpt-4,claude\none?,x,y\none?,x2,y\n")
    run = take_in(source, "provider=@match,prompt=question,text=*")
    assert content(run) == [
        ("claude", "one?", 0, "y"),
        ("claude", "one?", 1, "y"),
        ("gpt-4", "one?", 0, "x"),
        ("gpt-4", "one?", 1, "x2"),
    ]


def test_lists_by_provider_in_one_document(tmp_path: Path) -> None:
    """A dictionary of lists is taken whole when that is said; which list a row stood in is a column."""
    source = tmp_path / "by.json"
    source.write_text(json.dumps({m: [r for r in ROWS if r["model"] == m] for m in ("a", "b")}))
    assert "take all with --map rows=*" in refused(source, "provider=@list,prompt=question,text=answer")
    run = take_in(source, "rows=*,provider=@list,prompt=question,repeat=run,text=answer")
    assert content(run) == EXPECTED


def test_answers_by_provider_and_question(tmp_path: Path) -> None:
    """Two levels of names and a list of repeats: every level has its column."""
    nested: dict[str, dict[str, list[object]]] = {}
    for row in ROWS:
        nested.setdefault(str(row["model"]), {}).setdefault(str(row["question"]), []).append(row["answer"])
    source = tmp_path / "nested.json"
    source.write_text(json.dumps(nested))
    assert content(take_in(source, "rows=*,provider=@list,prompt=@key,text=value[*]")) == EXPECTED


def test_a_column_for_each_provider_and_repeat(tmp_path: Path) -> None:
    """Both stand in the column's name; two patterns take them apart again."""
    source = tmp_path / "wide.csv"
    columns = [f"{m}_run_{r}" for m in ("a", "b") for r in (1, 2)]
    with source.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "note", *columns])
        for question in ("one?", "two?"):
            writer.writerow([question, "x", *(r["answer"] for r in ROWS if r["question"] == question)])
    run = take_in(source, r"provider=@match~^(.+)_run,repeat=@match~_run_(.+)$,prompt=question,text=*_run_*")
    assert content(run) == EXPECTED


def lists() -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for row in ROWS:
        found.setdefault((str(row["model"]), str(row["question"])), []).append(str(row["answer"]))
    return found


@pytest.mark.parametrize("spell", [json.dumps, repr], ids=["JSON", "Python"])
def test_all_repeats_in_one_cell(spell: Callable[[object], str], tmp_path: Path) -> None:
    """A data frame with lists, saved as CSV, writes them as Python would."""
    source = tmp_path / "cells.csv"
    with source.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "question", "answers"])
        writer.writerows([model, question, spell(given)] for (model, question), given in lists().items())
    assert content(take_in(source, "provider=model,prompt=question,text=answers[*]")) == EXPECTED


def test_a_cell_whose_texts_have_no_comma_between_is_not_guessed_at(tmp_path: Path) -> None:
    """An array of numpy is written so; Python itself would join its two texts to one answer."""
    source = tmp_path / "cells.csv"
    source.write_text("model,question,answers\na,one?,\"['x' 'y']\"\n")
    assert "no row has a value there" in refused(source, "provider=model,prompt=question,text=answers[*]")


def test_a_list_of_providers_in_every_line(tmp_path: Path) -> None:
    """One line a question, inside it every model with all its repeats."""
    source = tmp_path / "nested.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for question in ("one?", "two?"):
            models = [{"name": m, "outputs": [{"text": t} for t in lists()[m, question]]} for m in ("a", "b")]
            file.write(json.dumps({"prompt": question, "models": models}) + "\n")
    run = take_in(source, "rows=models,provider=name,prompt=prompt,text=outputs[*].text")
    assert content(run) == EXPECTED
    assert 'has no list at "answers"' in refused(source, "rows=answers,provider=name,prompt=prompt,text=t")


def test_three_levels_of_names(tmp_path: Path) -> None:
    """Model, task, question: the outer two are one name with a stroke between."""
    deep: dict[str, dict[str, dict[str, object]]] = {}
    for (model, question), given in lists().items():
        deep.setdefault(model, {}).setdefault("sums", {})[question] = {"asked": question, "answers": given}
    source = tmp_path / "deep.json"
    source.write_text(json.dumps(deep))
    run = take_in(source, "rows=*.*,provider=@list~^[^/]+,condition=@list~/(.+),prompt=asked,text=answers[*]")
    assert content(run) == EXPECTED
    assert {view.trial.condition for view in run.views()} == {"sums"}


def test_a_file_for_each_record(tmp_path: Path) -> None:
    """Folders named by model and repeat, in them one small document for each question."""
    for number, row in enumerate(ROWS):
        folder = tmp_path / "out" / str(row["model"]) / f"run_{row['run']}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.json").write_text(json.dumps({"q": row["question"], "reply": {"text": row["answer"]}}))
    named = "provider=@path~^([^/]+)/,repeat=@path~run_([0-9]+),prompt=q,text=reply.text"
    assert "say --map rows=." in refused(tmp_path / "out", named)
    assert content(take_in(tmp_path / "out", f"rows=.,{named}")) == EXPECTED


def test_parquet_as_data_sets_are_published(tmp_path: Path) -> None:
    """A folder a model, files called test-00000-of-00001, categories, and a list of answers in a column."""
    arrow = pytest.importorskip("pyarrow", reason="needs the extra parquet")
    parquet = importlib.import_module("pyarrow.parquet")
    for model in ("a", "b"):
        own = {question: given for (name, question), given in lists().items() if name == model}
        table = arrow.table({"prompt": arrow.array(list(own)).dictionary_encode(), "completions": list(own.values())})
        (tmp_path / model).mkdir()
        parquet.write_table(table, tmp_path / model / "test-00000-of-00001.parquet")
    assert content(take_in(tmp_path, "provider=@folder,prompt=prompt,text=completions[*]")) == EXPECTED


def test_a_misspelt_place_and_a_file_that_is_no_text_are_told(tmp_path: Path) -> None:
    """One line that says what there is, or what to do."""
    (tmp_path / "x.csv").write_text(table())
    said = refused(tmp_path / "x.csv", "provider=@folders,prompt=question,text=answer")
    assert 'no "@folders"; did you mean "@folder"?' in said
    (tmp_path / "x.xlsx").write_bytes(b"PK\x03\x04\x14\x00\x06\x00")
    assert "save it as CSV" in refused(tmp_path / "x.xlsx", MAP)


@pytest.mark.parametrize("at", ["x*", "a.*.b", "*.a"])
def test_a_star_stands_last(at: str, tmp_path: Path) -> None:
    """What the star would stand for must not be guessed."""
    source = tmp_path / "by.json"
    source.write_text(json.dumps({"a": [{"q": "one?", "t": "x"}], "b": {"c": 1}}))
    assert "has no list" in refused(source, f"rows={at},provider=@list,prompt=q,text=t")


def test_a_file_of_text_lines_that_is_named_by_its_ending(tmp_path: Path) -> None:
    """A glob that ends as the file does says that it is a table; model and repeat may stand in its name."""
    for model, run in {(r["model"], r["run"]) for r in ROWS}:
        own = [json.dumps(r) + "\n" for r in ROWS if (r["model"], r["run"]) == (model, run)]
        (tmp_path / f"{model}_run{run}.txt").write_text("".join(own))
    (tmp_path / "notes.md").write_text("no table")
    named = "provider=@stem~^(.+)_run,repeat=@stem~_run(.+),prompt=question,text=answer"
    assert content(take_in(tmp_path, named, only=["*.txt"])) == EXPECTED


def test_damage_in_a_compressed_file_is_told(tmp_path: Path) -> None:
    """Half a download is one line, and no half of an import."""
    for name in ("x.csv.bz2", "x.csv.xz", "x.csv.zst"):
        (tmp_path / name).write_bytes(FILES[name]()[:-9])
        assert "x.csv" in refused(tmp_path / name, f"{MAP},repeat=run")
