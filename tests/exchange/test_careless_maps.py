"""Tables and mappings of which a careless reading gives a false figure: refused with a way on, or said in a note."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from exchanging import MAP, emr, ready, refused, row, take_in, write_csv, write_jsonl
from tempzero.exchange import expressions

Row = dict[str, Any]


def noted(source: Path, *maps: str) -> list[str]:
    notes: list[str] = []
    take_in(source, *maps, notes=notes)
    return notes


def table(path: Path, rows: list[Row]) -> Path:
    return (write_csv if path.suffix == ".csv" else write_jsonl)(path, rows)


BOTH = pytest.mark.parametrize("name", ["x.csv", "x.jsonl"])


# --- the wrong column ------------------------------------------------------------------------


@BOTH
def test_a_question_is_not_its_own_answer(name: str, tmp_path: Path) -> None:
    """Repeats of a column that holds the question agree perfectly."""
    source = table(tmp_path / name, [row(question=f"q{q}", answer=f"{q}{r}") for q in range(5) for r in range(3)])
    line = refused(source, "provider=model,prompt=question,text=question")
    assert line == "text=question: every answer is its own question, word for word; which column holds the answers?"


@BOTH
@pytest.mark.parametrize("blank", ["", " ", "nan", "None", "<NA>"])
def test_rows_that_do_not_say_what_was_asked_are_no_repeats(blank: str, name: str, tmp_path: Path) -> None:
    """An empty cell, as data frames write it, is no question; with an id beside it there is one."""
    rows = [row(question=blank if q == 3 else f"q{q}", answer=f"a{r}", task=q) for q in range(4) for r in range(2)]
    source = table(tmp_path / name, rows)
    line = refused(source, MAP)
    assert "has no prompt or id" in line
    assert "would count as repeats of one question" in line
    assert emr(take_in(source, MAP, "id=task")) == 0.0
    assert emr(take_in(source, MAP, where=[f"question!={blank}"])) == 0.0


@BOTH
def test_answers_that_were_cut_when_they_were_recorded_are_noted(name: str, tmp_path: Path) -> None:
    """A tool that keeps the first eighty characters hides what differs behind them."""
    whole = [row(question=f"q{q}", answer=f"{q} {'word ' * 41}{r}") for q in range(6) for r in range(3)]
    short = [{**r, "answer": r["answer"][:80]} for r in whole]
    note = next(n for n in noted(table(tmp_path / name, short), MAP) if "cut when they were recorded" in n)
    assert note.startswith("18 answers, 6 different ones among them, have 80 characters each")
    dotted = [{**r, "answer": f"{r['answer'][:100]}..."} for r in whole]
    assert any("cut when" in n for n in noted(table(tmp_path / name, dotted), MAP))
    one = [{**r, "answer": "x" * 80} for r in whole]
    for honest in (whole, one):
        assert not any("cut when" in n for n in noted(table(tmp_path / name, honest), MAP))


@BOTH
@pytest.mark.parametrize("other", ["run_mean", "run_time", "run_"])
def test_a_measure_beside_numbered_answers_is_no_answer(other: str, name: str, tmp_path: Path) -> None:
    """A star takes every column that fits, and the mean of ten answers would be an eleventh."""
    rows = [{"model": "m", "question": f"q{q}", "run_1": "a", "run_2": "a", other: f"{q}"} for q in range(5)]
    source, maps = table(tmp_path / name, rows), "provider=model,prompt=question,text=run_*"
    line = refused(source, maps)
    assert f"run_2, {other} for repeats of one answer" in line
    assert emr(take_in(source, maps, ready(line, "--map"))) == 1.0
    words = [{"model": "m", "question": f"q{q}", "run_a": "a", "run_b": "b"} for q in range(5)]
    assert emr(take_in(table(tmp_path / f"words-{name}", words), maps)) == 0.0


IDENTITIES: dict[str, Any] = {
    "id": lambda q, r: f"chatcmpl-{q}{r}f00",
    "latency": lambda q, r: 1.234567 + q + r / 100,
    "usage.created_at": lambda q, r: f"2026-07-14T10:{q:02}:{r:02}.123456Z",
}


@BOTH
@pytest.mark.parametrize("column", IDENTITIES)
def test_a_row_that_stands_there_twice_is_no_repeat(column: str, name: str, tmp_path: Path) -> None:
    """A file that was appended to itself agrees with itself; a time or an identifier gives it away."""
    once = [
        {**row(question=f"q{q}", answer=f"a{r}"), column: IDENTITIES[column](q, r)} for q in range(12) for r in range(2)
    ]
    line = refused(table(tmp_path / name, once * 2), MAP)
    assert line.startswith(f'24 rows stand there twice, with one "{column}"')
    assert emr(take_in(tmp_path / name, MAP, ready(line, "--map"))) == pytest.approx(1 / 3)
    assert emr(take_in(table(tmp_path / f"once-{name}", once), MAP)) == 0.0


@BOTH
def test_what_repeats_share_tells_no_calls_apart(name: str, tmp_path: Path) -> None:
    """The question's own identifier, that of a session, a time in whole seconds: rows that share them are repeats."""
    rows = [
        {**row(question=f"q{q}", answer="a"), "task_id": f"task-{q:08}", "session_id": "s-20260714", "seconds": 3}
        for q in range(12)
        for _ in range(4)
    ]
    assert emr(take_in(table(tmp_path / name, rows), MAP)) == 1.0


@BOTH
@pytest.mark.parametrize(
    ("column", "value", "plain", "field"),
    [
        ("finish_reason", "length", "stop", "finish_reason"),
        ("meta.stopReason", "MAX_TOKENS", "STOP", "finish_reason"),
        ("done_reason", "content_filter", "stop", "finish_reason"),
        ("cached", "True", "False", "cached"),
        ("cacheHit", "yes", "no", "cached"),
    ],
)
def test_a_column_that_says_of_answers_that_they_are_none_is_not_passed_over(
    column: str, value: str, plain: str, field: str, name: str, tmp_path: Path
) -> None:
    """What a cache gave back agrees with itself, and a cut text is known up to its cut only."""
    rows = [{**row(question=f"q{q}", answer="a"), column: value if r else plain} for q in range(6) for r in range(3)]
    source = table(tmp_path / name, rows)
    line = refused(source, MAP) if field == "cached" else next(n for n in noted(source, MAP) if column in n)
    assert line.startswith(f'the column "{column}" says of answers: {value}')
    outcomes = {v.outcome.status for v in take_in(source, MAP, ready(line, "--map")).views()}
    assert outcomes == {"valid", "censored" if field == "finish_reason" else "excluded"}
    assert emr(take_in(source, MAP, f"ignore={column}")) == 1.0
    same = [{**r, column: plain} for r in rows]
    assert emr(take_in(table(tmp_path / f"plain-{name}", same), MAP)) == 1.0


# --- an ambiguous record ---------------------------------------------------------------------

TWICE = '{"model": "m", "question": "q", "answer": "a", "answer": "b"}'
INSIDE = '{"model": "m", "question": "q", "answer": {"text": "a", "text": "b"}}'


@pytest.mark.parametrize("written", [TWICE, INSIDE], ids=["top", "inside"])
@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
def test_a_key_with_two_values_is_refused(name: str, written: str, tmp_path: Path) -> None:
    """Readers differ on which of the two they take, so the figure would depend on the reader."""
    source = tmp_path / name
    source.write_text(f"{written}\n" if name == "x.jsonl" else f"[{written}]")
    assert "stands twice in one object, with different values" in refused(source, MAP)


def test_a_key_twice_with_one_value_is_harmless(tmp_path: Path) -> None:
    """Some writers do so, and nothing depends on it."""
    source = tmp_path / "x.jsonl"
    source.write_text('{"model": "m", "question": "q", "question": "q", "answer": "a"}\n' * 2)
    assert emr(take_in(source, MAP)) == 1.0


# --- how it was asked ------------------------------------------------------------------------


def asked(question: int, **settings: Any) -> Row:
    return {"model": "m", "messages": [{"role": "user", "content": f"q{question}"}], **settings}


SETTINGS: list[Row] = [
    {"top_p": 0.5},
    {"tools": [{"type": "function", "function": {"name": "f"}}]},
    {"response_format": {"type": "json_object"}},
    {"reasoning_effort": "high"},
    {"extra_body": {"provider": {"order": ["x"]}}},
]


@pytest.mark.parametrize("more", SETTINGS, ids=lambda s: next(iter(s)))
@pytest.mark.parametrize("name", ["x.csv", "x.jsonl"])
def test_requests_that_differ_in_a_setting_are_noticed(more: Row, name: str, tmp_path: Path) -> None:
    """Whatever a recorded request holds besides the question is a way of asking, under any name."""
    rows = [
        row(question=f"q{q}", answer=f"a{q}{r // 2}", request=json.dumps(asked(q, **(more if r > 1 else {}))))
        for q in range(6)
        for r in range(4)
    ]
    source = table(tmp_path / name, rows)
    line = refused(source, MAP, "request=request")
    assert f'"request.{next(iter(more))}' in line
    offered = ready(line, "--map")
    run = take_in(source, MAP, "request=request", offered)
    assert [emr(run, c) for c in sorted({v.trial.condition for v in run.views()})] == [1.0, 1.0]


@BOTH
def test_repeats_with_seeds_of_their_own_are_not_compared_silently(name: str, tmp_path: Path) -> None:
    """Another seed is another request; who wants the repeats compared leaves it out, and is told so."""
    rows = [row(question=f"q{q}", answer=f"a{r}", seed=r) for q in range(6) for r in range(3)]
    source = table(tmp_path / name, rows)
    assert any("repeats of 6 of 6 prompts" in n and "seed=seed" in n for n in noted(source, MAP, "seed=seed"))
    assert not any("repeats of" in n for n in noted(source, MAP))
    assert emr(take_in(source, MAP)) == 0.0


def batch(folder: Path, **settings: Any) -> Path:
    """Output and input of OpenAI's Batch API; two of four repeats were asked with these settings."""
    out, put = [], []
    for number in range(24):
        question, repeat = divmod(number, 4)
        body = {"id": f"r{number}", "model": "m", "choices": [{"message": {"content": f"a{repeat // 2}"}}]}
        out.append({"custom_id": f"{number}", "response": {"status_code": 200, "body": body}, "error": None})
        more = settings if repeat > 1 else {}
        put.append({"custom_id": f"{number}", "method": "POST", "url": "/v1", "body": asked(question, **more)})
    write_jsonl(folder / "out.jsonl", out)
    write_jsonl(folder / "in.jsonl", put)
    return folder


@pytest.mark.parametrize("more", SETTINGS, ids=lambda s: next(iter(s)))
def test_a_batch_with_two_ways_of_asking_is_noticed(more: Row, tmp_path: Path) -> None:
    """A built-in format knows its request whole."""
    source = batch(tmp_path / "in", **more)
    assert f'"@request.{next(iter(more))}' in refused(source)
    assert any("repeats of 6 of 6 prompts" in n for n in noted(batch(tmp_path / "plain", user="someone")))


def inspect_log(*, log: str = "e1", answer: str = "a", **more: Any) -> Row:
    said = {"model": "m", "choices": [{"message": {"content": answer}, "stop_reason": "stop"}]}
    return {
        "version": 2,
        "status": "success",
        "eval": {"model": "openai/m", "task": "t", "eval_id": log, **more},
        "samples": [
            {"id": q, "epoch": e, "input": f"q{q}", "target": "a", "output": said} for q in range(4) for e in (1, 2)
        ],
    }


def write_eval(path: Path, log: Row) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", json.dumps({k: v for k, v in log.items() if k != "samples"}))
        for sample in log["samples"]:
            archive.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"model_base_url": "http://other/v1"}, "@settings.model_base_url"),
        ({"model_generate_config": {"reasoning_effort": "high"}}, "@settings.reasoning_effort"),
        ({"model_args": {"quantization": "fp8"}}, "@settings.model_args.quantization"),
    ],
)
def test_logs_of_inspect_that_were_asked_otherwise_are_noticed(more: Row, named: str, tmp_path: Path) -> None:
    """Two hosts under one model's name, or two ways of generating, are not repeats of one another."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps(inspect_log()))
    write_eval(folder / "b.eval", inspect_log(log="e2", answer="b", **more))
    line = refused(folder)
    assert f'"{named}"' in line
    run = take_in(folder, ready(line, "--map"))
    assert [emr(run, c) for c in sorted({v.trial.condition for v in run.views()})] == [1.0, 1.0]


def test_a_log_of_inspect_in_both_its_forms_is_taken_once(tmp_path: Path) -> None:
    """Old logs name no sample, but the log has a name: the same answers twice would agree perfectly."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps(inspect_log()))
    write_eval(folder / "a.eval", inspect_log())
    assert "has occurred before" in refused(folder)


# --- the user's own patterns -----------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("maps", ["provider=model,prompt=question~(a|aa)+$,text=answer", MAP])
def test_a_pattern_that_would_never_end_is_refused(
    maps: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slip in an expression, or a cell that somebody wrote against it, must not look like a long import."""
    monkeypatch.setattr(expressions, "_SEARCH_SECONDS", 0.05)
    source = table(tmp_path / name, [row(question="a" * 60 + "b", answer="yes")])
    where = [] if maps != MAP else ["question~(a|aa)+$=a"]
    line = refused(source, maps, where=where)
    assert line.startswith('"question~(a|aa)+$": searching one cell took 0.05 s of processor time; ')
