"""What goes out comes back in: the same keys and the same texts, in every form."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evidence import attempt, run_of
from exchanging import MAP, keys_and_texts, row, take_in, views, write_jsonl
from making import make_attempt, make_config, make_run, make_suite, make_trial
from tempzero import exchange, records, suites
from tempzero.answer_parts import split_answer
from tempzero.errors import ExchangeError
from tempzero.records import Run
from tempzero.types.asked import Trial
from tempzero.types.recorded import Attempt

TEXTS = [
    "plain",
    "=1+1",
    "'=quoted",
    "'",
    "-5",
    "@cmd",
    "\ttab",
    "line\r\nline\n",
    " \x00 ",
    "é日\u2028😀",
    '"q", x',
    "None",
]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two providers, awkward texts, an outage and an own run's names."""
    settings, suite = make_config(("a", "b"), repeats=len(TEXTS)), make_suite(2)
    attempts = [
        make_attempt(make_trial(provider, f"p{prompt}", repeat), text)
        for provider in ("a", "b")
        for prompt in range(2)
        for repeat, text in enumerate(TEXTS)
        if (provider, prompt, repeat) != ("b", 1, 3)
    ]
    attempts.append(make_attempt(make_trial("b", "p1", 3), None, kind="rate_limited"))
    attempts.append(make_attempt(Trial(provider="b", prompt="p1", condition="under load", repeat=0), "loaded"))
    return records.open_run(make_run(tmp_path / "own", settings, suite, attempts))


def there_and_back(run: Run, form: str, path: Path) -> Run:
    exchange.export_run(run, path, form=form)
    return take_in(path)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "openai-batch", "vendor-verifier", "lm-eval"])
def test_there_and_back(run: Run, tmp_path: Path, form: str) -> None:
    """An exported file is recognised, and holds the same keys with the same texts."""
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    ending = {"csv": ".csv", "parquet": ".parquet", "lm-eval": "", "vendor-verifier": ""}.get(form, ".jsonl")
    back = there_and_back(run, form, tmp_path / f"out{ending}")
    expected = keys_and_texts(run)
    if form == "lm-eval":  # has no way to say that an answer is missing
        expected = {key: text for key, text in expected.items() if text is not None}
    assert keys_and_texts(back) == expected
    assert back.verify()
    assert {p.claimed_model for p in back.config.providers} == {"m"}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "openai-batch", "vendor-verifier", "lm-eval"])
def test_every_part_of_an_answer_comes_back(tmp_path: Path, form: str) -> None:
    """Reasoning, empty answers and refusals are compared: an export that dropped one would make two answers equal."""
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    given = [
        attempt("a", "p0", 0, "one", reasoning="let me see\n  ..."),
        attempt("a", "p0", 1, "", reasoning="let me", kind="length"),
        attempt("a", "p0", 2, "", kind="empty"),
        attempt("a", "p0", 3, "", refusal="I  won't.\nNever.", kind="content_filter"),
        attempt("a", "p1", 0, "half", kind="content_filter"),
        attempt("a", "p1", 1, "", kind="length"),
        _without_finish_reason(attempt("a", "p1", 2, "", kind="empty")),
    ]
    run = run_of(tmp_path / "own", [_with_id(made) for made in given])
    ending = {"csv": ".csv", "parquet": ".parquet", "lm-eval": "", "vendor-verifier": ""}.get(form, ".jsonl")
    back = there_and_back(run, form, tmp_path / f"out{ending}")
    assert parts_by_trial(back) == parts_by_trial(run)


def parts_by_trial(run: Run) -> dict[Trial, Any]:
    found = ((v.trial, v.outcome) for v in views(run))
    return {trial: (o.status, o.kind, o.completion and split_answer(o.completion)) for trial, o in found}


def _without_finish_reason(made: Attempt) -> Attempt:
    outcome = made.exchange.outcome
    assert outcome.completion is not None
    said = replace(outcome.completion, finish_reason=None)
    return replace(made, exchange=replace(made.exchange, outcome=replace(outcome, completion=said)))


def _with_id(made: Attempt) -> Attempt:
    """With an id that no other answer has: the same one twice is refused."""
    outcome = made.exchange.outcome
    assert outcome.completion is not None
    said = replace(outcome.completion, response_id=f"{made.trial.prompt}-{made.trial.repeat}")
    return replace(made, exchange=replace(made.exchange, outcome=replace(outcome, completion=said)))


def test_a_tidy_table_of_an_older_version_is_still_one(run: Run, tmp_path: Path) -> None:
    """Columns were added since; what a table without them says of the rest is as true as it was."""
    path = tmp_path / "new.jsonl"
    exchange.export_run(run, path, form="jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    later = ("refusal", "reasoning_tokens", "total_tokens")
    old = write_jsonl(tmp_path / "old.jsonl", [{k: v for k, v in row.items() if k not in later} for row in rows])
    notes: list[str] = []
    assert keys_and_texts(take_in(old, notes=notes)) == keys_and_texts(run)
    assert any(note.startswith("format: tempzero") for note in notes)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_the_tidy_table_keeps_outcomes_and_settings(run: Run, tmp_path: Path, form: str) -> None:
    """Failures stay failures, with their kind; the claimed model and sampling come along."""
    back = there_and_back(run, form, tmp_path / f"out.{form}")
    ended = {v.trial: (v.outcome.status, v.outcome.kind) for v in views(run)}
    assert {v.trial: (v.outcome.status, v.outcome.kind) for v in views(back)} == ended
    for name in ("a", "b"):
        ours, theirs = run.config.provider(name), back.config.provider(name)
        assert (theirs.claimed_model, theirs.temperature, theirs.top_p) == (
            ours.claimed_model,
            ours.temperature,
            ours.top_p,
        )
    assert back.manifest.suite.digest == suites.digest_prompts(run.manifest.suite.prompts)


def test_cut_and_cached_answers_stay_so(tmp_path: Path) -> None:
    """What was no whole answer must not become one on the way."""
    rows = [
        row(answer=t, run=i, fin=f, hit=h)
        for i, (t, f, h) in enumerate(
            [("cut", "length", ""), ("filtered", "content_filter", ""), ("again", "stop", "yes"), ("fine", "stop", "")]
        )
    ]
    run = take_in(write_jsonl(tmp_path / "x.jsonl", rows), f"{MAP},repeat=run,finish_reason=fin,cached=hit")
    back = there_and_back(run, "csv", tmp_path / "out.csv")
    expected = [("censored", "length"), ("censored", "content_filter"), ("excluded", "cached"), ("valid", "complete")]
    assert [(v.outcome.status, v.outcome.kind) for v in views(back)] == expected


def test_no_cell_of_the_csv_is_a_formula(run: Run, tmp_path: Path) -> None:
    """A model's answer must not run in somebody's spreadsheet."""
    exchange.export_run(run, tmp_path / "out.csv", form="csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        cells = [cell for line in csv.reader(file) for cell in line]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert "'=1+1" in cells


def test_other_tools_find_their_own_fields(run: Run, tmp_path: Path) -> None:
    """The outward formats have the fields that these tools write and read."""
    (batch,) = exchange.export_run(run, tmp_path / "b.jsonl", form="openai-batch")
    line = json.loads(batch.read_text().splitlines()[0])
    assert line["response"]["body"]["choices"][0]["message"]["content"] == "plain"
    assert (line["response"]["status_code"], line["error"]) == (200, None)
    failed = next(item for item in map(json.loads, batch.read_text().splitlines()) if item["error"])
    assert (failed["response"], failed["error"]["code"]) == (None, "rate_limited")

    files = exchange.export_run(run, tmp_path / "vendors", form="vendor-verifier")
    assert [f.name for f in files] == ["a_results.jsonl", "b_results.jsonl"]
    line = json.loads(files[0].read_text().splitlines()[0])
    assert line["request"] == {"model": "m", "messages": [{"role": "user", "content": "question 0"}]}
    assert (line["data_index"], line["status"], line["duration_ms"]) == (1, "success", 200)

    files = exchange.export_run(run, tmp_path / "samples", form="lm-eval")
    assert [str(f.relative_to(tmp_path / "samples")) for f in files] == ["a/samples_test.jsonl", "b/samples_test.jsonl"]
    line = json.loads(files[0].read_text().splitlines()[0])
    assert line["arguments"]["gen_args_0"]["arg_0"] == "question 0"
    assert (line["doc_id"], line["resps"], line["target"]) == (0, [["plain"]], "")


def test_an_export_overwrites_nothing(run: Run, tmp_path: Path) -> None:
    """A file that is there may be the only copy of something."""
    (tmp_path / "out.csv").write_text("mine")
    with pytest.raises(ExchangeError, match="is there already"):
        exchange.export_run(run, tmp_path / "out.csv", form="csv")
    with pytest.raises(ExchangeError, match='cannot export "xlsx"; known: csv, jsonl'):
        exchange.export_run(run, tmp_path / "out.xlsx", form="xlsx")
    assert (tmp_path / "out.csv").read_text() == "mine"


def test_parquet_without_pyarrow_names_the_extra(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy stands in the message, and no half file is left."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExchangeError, match=r"pip install 'tempzero\[parquet\]'"):
        exchange.export_run(run, tmp_path / "out.parquet", form="parquet")
    assert not (tmp_path / "out.parquet").exists()
