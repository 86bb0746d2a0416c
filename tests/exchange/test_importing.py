"""A foreign table becomes an ordinary run, whole or not at all; what would make a figure false is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from exchanging import MAP, keys_and_texts, refused, row, take_in, views, write_csv, write_jsonl
from making import chain_file, make_setting
from tempzero import cli, records
from tempzero.analysis import analyse
from tempzero.errors import ExchangeError, RunFolderError
from tempzero.nightly.baseline import make_baselines
from tempzero.types.asked import Message
from tempzero.verdict import gate

# --- what comes out --------------------------------------------------------------------------


def test_an_import_is_an_ordinary_run(tmp_path: Path) -> None:
    """Every later verb works on it: the chain holds, the analysis and the verdict come out."""
    rows = [
        row(m, f"q{q}", f"text {q}", run=r, gt=f"text {q}", fin="stop", secs=0.5)
        for q in range(6)
        for r in (1, 2)
        for m in ("a", "b")
    ]
    source = write_csv(tmp_path / "x.csv", rows)
    run = take_in(source, f"{MAP},repeat=run,expected=gt,finish_reason=fin,latency_s=secs", extractor="answer_line")
    assert run.verify()
    analysis = analyse(run)
    assert analysis.records == 24
    found = {(f.metric, f.left): f.estimate.value for f in analysis.figures if f.family is None and f.right is None}
    assert found["emr", "a"] == 1.0
    assert found["coverage", "b"] == 1.0
    assert found["latency_s", "a"] == 0.5
    assert gate.judge(analysis, run.config.gates).outcome == "pass"


def test_providers_are_compared_with_each_other(tmp_path: Path) -> None:
    """Without a claimed model they are taken to claim the same one."""
    rows = [row(m, f"q{q}", f"{m} {q}", run=r) for q in range(12) for r in (0, 1, 2) for m in ("a", "b")]
    run = take_in(write_csv(tmp_path / "x.csv", rows), f"{MAP},repeat=run")
    assert {f.rule for f in analyse(run).findings} == {"differs"}


def test_the_row_is_kept_whole(tmp_path: Path) -> None:
    """What no field uses today may be evidence tomorrow; the prompt stands in the request."""
    source = write_csv(tmp_path / "x.csv", [row(answer=" =1+1\r\n\x00é ", note="kept", gt="")])
    record = next(iter(take_in(source, MAP).records()))
    exchange = record.attempt.exchange
    assert exchange.response is not None
    assert json.loads(exchange.response.body or "") == {
        "model": "a",
        "answer": " =1+1\r\n\x00é ",
        "note": "kept",
        "gt": "",
    }
    assert json.loads(exchange.request.body) == {"messages": [{"role": "user", "content": "q0"}]}
    assert exchange.outcome.completion is not None
    assert exchange.outcome.completion.text == " =1+1\r\n\x00é "


def test_nothing_is_invented(tmp_path: Path) -> None:
    """What the table does not say stays unknown: no date, no seconds, no temperature."""
    run = take_in(write_csv(tmp_path / "x.csv", [row()]), MAP)
    view, provider = views(run)[0], run.config.providers[0]
    assert (view.times.started_at, view.times.end_s, view.times.in_flight) == ("", None, 0)
    assert (provider.temperature, provider.top_p, provider.seed, provider.known_max_tokens) == (None,) * 4
    assert view.outcome.completion is not None
    assert view.outcome.completion.finish_reason is None


def test_settings_and_dates_are_taken_over(tmp_path: Path) -> None:
    """What it does say stands where an own run has it."""
    rows = [row(t=0.1, when="2026-01-02T03:04:05Z", n=7, m="m-1", limit=50)]
    maps = f"{MAP},temperature=t,date=when,prompt_tokens=n,served_model=m,max_tokens=limit,claims:=open-model"
    run = take_in(write_jsonl(tmp_path / "x.jsonl", rows), maps)
    view, provider = views(run)[0], run.config.providers[0]
    assert (provider.temperature, provider.max_tokens, provider.claimed_model) == (0.1, 50, "open-model")
    assert view.times.started_at == "2026-01-02T03:04:05+00:00"
    assert view.outcome.completion is not None
    assert (view.outcome.completion.prompt_tokens, view.outcome.completion.served_model) == (7, "m-1")
    assert provider.imported is not None
    assert (provider.imported.source, provider.imported.format, provider.engine) == ("x.jsonl", "table", "imported")


def test_names_fit_into_a_run(tmp_path: Path) -> None:
    """A model's name may hold what a file name may not; two names never become one."""
    rows = [row("openai/gpt-4"), row("openai gpt-4"), row("日本")]
    run = take_in(write_csv(tmp_path / "x.csv", rows), MAP)
    names = [p.name for p in run.config.providers]
    assert names[0] == "openai-gpt-4"
    assert names[1].startswith("openai-gpt-4-")
    assert names[2].startswith("name-")
    assert [p.model for p in run.config.providers] == ["openai/gpt-4", "openai gpt-4", "日本"]


def test_a_chat_prompt_becomes_messages(tmp_path: Path) -> None:
    """The system message is part of what was asked."""
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    for prompt in (chat, json.dumps(chat)):
        run = take_in(write_jsonl(tmp_path / "x.jsonl", [{**row(), "question": prompt}]), MAP)
        assert run.manifest.suite.prompts[0].messages == (
            Message(role="system", content="s"),
            Message(role="user", content="u"),
        )


def test_prompts_are_the_same_in_every_import(tmp_path: Path) -> None:
    """Two imports of the same questions can be compared."""
    one = take_in(write_csv(tmp_path / "x.csv", [row("a", "q0"), row("a", "q1")]), MAP)
    two = take_in(write_jsonl(tmp_path / "y.jsonl", [row("b", "q1", "no"), row("b", "q0", "no")]), MAP)
    assert one.manifest.suite.digest == two.manifest.suite.digest


# --- repeats and conditions ------------------------------------------------------------------


def test_rows_without_a_repeat_are_numbered_in_order(tmp_path: Path) -> None:
    """Files come in natural order, rows as they stand."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for number, text in ((2, "second"), (10, "third"), (1, "first")):
        write_csv(folder / f"run-{number}.csv", [row(answer=text)])
    assert list(keys_and_texts(take_in(folder, MAP)).values()) == ["first", "second", "third"]


def test_repeats_keep_their_order_and_their_gaps(tmp_path: Path) -> None:
    """Repeats may be counted from 1, named, or be missing for one question."""
    rows = [row("a", q, f"{q} {r}", run=r) for q, runs in (("q0", (12, 1, 3)), ("q1", (1, 12))) for r in runs]
    found = take_in(write_csv(tmp_path / "x.csv", rows), f"{MAP},repeat=run")
    by_text = {text: key[3] for key, text in keys_and_texts(found).items()}
    assert by_text == {"q0 1": 0, "q0 3": 1, "q0 12": 2, "q1 1": 0, "q1 12": 2}


def test_conditions_are_kept_apart(tmp_path: Path) -> None:
    """Answers at different temperatures are not repeats of each other."""
    rows = [row(answer=f"{t}", run=0, cfg=json.dumps({"t": t}), task="x") for t in (0.0, 0.7)]
    run = take_in(write_csv(tmp_path / "x.csv", rows), f"{MAP},repeat=run,condition=task+cfg.t")
    assert {v.trial.condition for v in views(run)} == {"x:0", "x:0.7"}


def test_one_row_may_hold_all_repeats(tmp_path: Path) -> None:
    """Beside each other in columns, or in a list; each record keeps its own answer only."""
    wide = write_csv(tmp_path / "wide.csv", [{"model": "a", "question": "q", "out_1": "x", "out_2": "y"}])
    run = take_in(wide, "provider=model,prompt=question,text=out_*")
    assert list(keys_and_texts(run).values()) == ["x", "y"]
    bodies = [json.loads(r.attempt.exchange.response.body or "") for r in run.records() if r.attempt.exchange.response]
    assert bodies == [{"model": "a", "out_1": "x", "@match": "1"}, {"model": "a", "out_2": "y", "@match": "2"}]

    rows = [{"q": "q", "by": {"m": "a"}, "answers": [{"t": "x", "n": 3}, {"t": "y", "n": 4}]}]
    deep = write_jsonl(tmp_path / "deep.jsonl", rows)
    run = take_in(deep, "provider=by.m,prompt=q,text=answers[*].t,completion_tokens=answers[*].n")
    tokens = [v.outcome.completion.completion_tokens for v in views(run) if v.outcome.completion]
    assert (list(keys_and_texts(run).values()), tokens) == (["x", "y"], [3, 4])

    assert "text=put_*: no column fits" in refused(wide, "provider=model,prompt=question,text=put_*")
    assert "text=replies[*]: no row has a value there" in refused(deep, "provider=by.m,prompt=q,text=replies[*]")


def test_a_map_of_questions_to_answers(tmp_path: Path) -> None:
    """The simplest file that anybody writes: a question, and what was answered each time."""
    (tmp_path / "x.json").write_text(json.dumps({"q0": ["a", "b"], "q1": ["c"]}))
    run = take_in(tmp_path / "x.json", "provider:=ours,prompt=@key,text=value[*]")
    texts = {p.id: p.messages[0].content for p in run.manifest.suite.prompts}
    assert {(texts[k[1]], k[3]): t for k, t in keys_and_texts(run).items()} == {
        ("q0", 0): "a",
        ("q0", 1): "b",
        ("q1", 0): "c",
    }
    record = next(iter(run.records()))
    assert record.attempt.exchange.response is not None
    assert json.loads(record.attempt.exchange.response.body or "") == {"@match": "0", "value": ["a"]}


def test_rows_can_be_chosen(tmp_path: Path) -> None:
    """Event logs hold more than answers, tables more than one split."""
    rows = [{"spec": {}}, row(type="sampling", split="test"), row("b", type="sampling", split="dev"), {"type": "match"}]
    source = write_jsonl(tmp_path / "x.jsonl", rows)
    found = keys_and_texts(take_in(source, MAP, where=["type=sampl*", "split!=dev"]))
    assert [key[0] for key in found] == ["a"]
    assert refused(source, MAP, where=["type=x"]) == "there are no rows to import with type=x"
    with pytest.raises(ExchangeError, match="--where x: write column=value"):
        take_in(source, MAP, where=["x"])


def test_columns_of_providers(tmp_path: Path) -> None:
    """What the star stands for may be who answered."""
    source = write_csv(tmp_path / "x.csv", [{"question": "q", "by_gpt": "x", "by_claude": "y"}])
    found = keys_and_texts(take_in(source, "provider=@match,prompt=question,text=by_*"))
    assert {key[0]: text for key, text in found.items()} == {"gpt": "x", "claude": "y"}


def test_a_file_for_each_provider(tmp_path: Path) -> None:
    """Often only the file's name says who answered."""
    folder = tmp_path / "results_of_may"
    folder.mkdir()
    for name in ("gpt-4_run1", "gpt-4_run2", "claude_run1"):
        write_csv(folder / f"{name}.csv", [{"question": "q", "answer": name}])
    maps = "provider=@stem~^(.+)_run,repeat=@stem~run([0-9]+),prompt=question,text=answer"
    found = keys_and_texts(take_in(folder, maps))
    assert {(k[0], k[3]): text for k, text in found.items()} == {
        ("gpt-4", 0): "gpt-4_run1",
        ("gpt-4", 1): "gpt-4_run2",
        ("claude", 0): "claude_run1",
    }
    one = take_in(folder, "provider=@folder,repeat=@file,prompt=question,text=answer")
    assert {v.trial.provider for v in views(one)} == {"results_of_may"}


# --- what is no answer -----------------------------------------------------------------------


def test_failures_refusals_and_silence_are_counted_apart(tmp_path: Path) -> None:
    """The import says how many; failures and silence lower coverage, and none of the three agrees with anything."""
    texts = ["fine", "", "LLM Error", "I'm sorry, but I can't help with that.", "fine"]
    rows = [row("a", f"q{q}", text, run=r) for q in range(3) for r, text in enumerate(texts)]
    notes: list[str] = []
    run = take_in(write_csv(tmp_path / "x.csv", rows), f"{MAP},repeat=run", notes=notes)
    assert "3 of 15 rows are empty: imported as missing, not as answers" in notes
    assert "3 of 15 rows are failures: imported as missing, not as answers" in notes
    assert "3 of 15 rows are refusals by their wording: imported as cut, not as whole answers" in notes
    assert set(notes[1:]) <= set(run.manifest.notes)
    found = {f.metric: f.estimate.value for f in analyse(run).figures if f.family is None and f.k is None}
    assert found["coverage"] == pytest.approx(0.6)
    assert found["whole_share"] == pytest.approx(0.4)
    assert found["emr"] == 1.0


def test_refusals_only_are_no_consistency(tmp_path: Path) -> None:
    """Equal refusals, however many, give no agreement figure at all."""
    rows = [row("a", f"q{q}", "I'm sorry, but I can't help with that.", run=r) for q in range(10) for r in range(5)]
    analysis = analyse(take_in(write_csv(tmp_path / "x.csv", rows), f"{MAP},repeat=run"))
    emr = next(f for f in analysis.figures if f.metric == "emr" and f.family is None)
    assert emr.estimate.value is None


def test_cached_answers_are_left_out(tmp_path: Path) -> None:
    """A replayed answer agrees with its original by construction."""
    rows = [row("a", "q", "x", run=r, hit=hit) for r, hit in enumerate(("no", "yes", "no"))]
    run = take_in(write_csv(tmp_path / "x.csv", rows), f"{MAP},repeat=run,cached=hit")
    assert [v.outcome.status for v in views(run)] == ["valid", "excluded", "valid"]


def test_a_retry_fills_its_trial(tmp_path: Path) -> None:
    """A failed row and a later answer of the same repeat are two attempts of one trial."""
    rows = [row(answer="", err="429", run=0), row(answer="x", err="", run=0)]
    run = take_in(write_csv(tmp_path / "x.csv", rows), f"{MAP},repeat=run,error=err")
    assert [(v.number, v.outcome.status, v.outcome.kind) for v in views(run)] == [
        (1, "missing", "rate_limited"),
        (2, "valid", "complete"),
    ]


def test_a_wrong_error_column_is_noticed(tmp_path: Path) -> None:
    """When everything failed, the mapping did."""
    source = write_csv(tmp_path / "x.csv", [row(outcome="passed the test")] * 1)
    assert "no row holds an answer: 1 failed; is error=outcome the right column?" in refused(
        source, f"{MAP},error=outcome"
    )


# --- what is refused -------------------------------------------------------------------------


def test_a_duplicate_row_is_refused(tmp_path: Path) -> None:
    """It would count as one more repeat that agrees perfectly."""
    source = write_csv(tmp_path / "x.csv", [row(run=0), row(run=1), row(run=0)])
    assert refused(source, f"{MAP},repeat=run") == (
        "x.csv:4: the same row as x.csv:2: a duplicate would count as an answer of its own"
    )


def test_several_conditions_under_one_key_are_refused(tmp_path: Path) -> None:
    """The columns that tell them apart are named."""
    rows = [row(run=0, task="x", temp=0.0), row(answer="no", run=0, task="x", temp=0.7)]
    line = refused(write_csv(tmp_path / "x.csv", rows), f"{MAP},repeat=run").splitlines()[0]
    assert line.startswith(
        "x.csv:3: several conditions under one key: provider, prompt, condition and repeat are those of"
    )
    assert "differs in temp, answer" in line
    assert "condition=temp" in line


def test_a_cause_is_said_once(tmp_path: Path) -> None:
    """A million lines of complaint help nobody; how many rows have a cause is counted."""
    rows = [row(answer=str(i), run=0, n=i) for i in range(40)]
    rows += [row(question="q1", answer="x", run=0, n=0)] * 2
    lines = refused(write_csv(tmp_path / "x.csv", rows), f"{MAP},repeat=run").splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("x.csv:3: several conditions under one key")
    assert lines[0].endswith("(and 38 more rows like it)")
    assert lines[1].startswith("x.csv:43: the same row as x.csv:42")
    many = [row(answer=str(i), run=0, n=i) for i in range(400)]
    lines = refused(write_csv(tmp_path / "y.csv", many), f"{MAP},repeat=run").splitlines()
    assert lines[1:] == ["... and 349 more rows whose keys have an answer already"]


@pytest.mark.parametrize("column", ["temperature", "system_prompt", "model_version"])
def test_a_setting_that_nobody_mapped_is_noticed(tmp_path: Path, column: str) -> None:
    """Numbered in order, answers at two temperatures would pass for repeats."""
    rows = [row("a", f"q{q}", str(v), **{column: v}) for q in range(3) for v in (0.0, 0.7)]
    line = refused(write_csv(tmp_path / "x.csv", rows), MAP)
    assert f'column "{column}" has 2 values (0.0, 0.7) for one question of one provider' in line
    numbered = [{**r, "run": i} for i, r in enumerate(rows)]
    assert f'column "{column}" has' in refused(write_csv(tmp_path / "y.csv", numbered), f"{MAP},repeat=run")


def test_a_crossed_factor_is_noticed_whatever_its_name(tmp_path: Path) -> None:
    """Every question has every value equally often: that was planned, hence a condition."""
    rows = [
        row("a", f"q{q}", f"{v}{r}", weather=v, score=r) for q in range(4) for v in ("sun", "rain") for r in range(2)
    ]
    line = refused(write_csv(tmp_path / "x.csv", rows), MAP)
    assert 'column "weather" has 2 values (rain, sun)' in line
    assert "condition=weather" in line


def test_outcomes_are_no_factors(tmp_path: Path) -> None:
    """Scores, dates and ids differ between repeats, and that is no other way of asking."""
    rows = [
        row("a", f"q{q}", f"{r}", score=int(r == q), when=f"2026-01-0{1 + q}T00:00:0{r}", uid=f"{q}{r}", run=r)
        for q in range(4)
        for r in range(3)
    ]
    notes: list[str] = []
    run = take_in(write_csv(tmp_path / "x.csv", rows), MAP, notes=notes)
    assert len(views(run)) == 12
    assert any('the column "run" seems to number the repeats' in note for note in notes)


def test_mapped_settings_must_agree_within_a_condition(tmp_path: Path) -> None:
    """Two temperatures under one provider and condition are two conditions."""
    rows = [row("a", f"q{q}", "x", run=q, t=t) for q, t in enumerate((0, 0, 0.7))]
    line = refused(write_csv(tmp_path / "x.csv", rows), f"{MAP},repeat=run,temperature=t")
    assert line.startswith("x.csv:4: several conditions under one key: temperature is 0.7, but 0.0 at x.csv:2")


def test_one_id_for_two_questions_is_refused(tmp_path: Path) -> None:
    """Question 1 of one task is not question 1 of another."""
    rows = [row("a", "text A", qid=1, task="x", gt="1"), row("a", "text B", qid=1, task="y", gt="2")]
    source = write_csv(tmp_path / "x.csv", rows)
    lines = refused(source, f"{MAP},id=qid,expected=gt")
    assert 'the id "1" stands for another text than at x.csv:2' in lines
    assert 'the prompt "1" has expected "2", but "1" at x.csv:2' in lines
    assert len(take_in(source, f"{MAP},id=task+qid,expected=gt").manifest.suite.prompts) == 2


def test_the_same_response_twice_is_refused(tmp_path: Path) -> None:
    """A response id occurs once, or the row was copied."""
    rows = [row(run=r, rid="id-1") for r in (0, 1)]
    assert 'the response id "id-1" has occurred before' in refused(
        write_csv(tmp_path / "x.csv", rows), f"{MAP},repeat=run,response_id=rid"
    )


def test_the_same_file_twice_is_refused(tmp_path: Path) -> None:
    """A backup copy beside the file would double every repeat."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("a.csv", "copy of a.csv"):
        write_csv(folder / name, [row()])
    assert "copy of a.csv: is a.csv byte for byte" in refused(folder, MAP)
    assert len(views(take_in(folder, f"{MAP},repeat=@path"))) == 2


def test_a_mapping_that_finds_nothing_is_refused(tmp_path: Path) -> None:
    """A misspelt key of a JSON row has no header to be checked against."""
    source = write_jsonl(tmp_path / "x.jsonl", [row(run=1)])
    assert refused(source, f"{MAP},condition=modl_config") == "condition=modl_config: no row has a value there"
    assert "text=answr: no row has a value there" in refused(source, "provider=model,prompt=question,text=answr")


def test_rows_without_a_key_are_refused(tmp_path: Path) -> None:
    """By file and line."""
    source = write_jsonl(tmp_path / "x.jsonl", [row(), {"question": "q", "answer": "x"}])
    assert refused(source, MAP).startswith("x.jsonl:2: no provider")
    source = write_jsonl(tmp_path / "y.jsonl", [row(), {"model": "a", "answer": "x"}])
    assert refused(source, MAP).startswith("y.jsonl:2: has no prompt or id")
    source = write_jsonl(tmp_path / "z.jsonl", [row(run=1), row()])
    assert refused(source, f"{MAP},repeat=run").startswith("z.jsonl:2: has no repeat")
    source = write_jsonl(tmp_path / "s.jsonl", [row(question="\ud800")])
    assert "surrogate" in refused(source, MAP)
    source = write_jsonl(tmp_path / "l.jsonl", [{**row(), "answer": ["x", "y"]}])
    assert "the text is a JSON list of 2" in refused(source, MAP)


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    """Nothing is not a run."""
    (tmp_path / "x.csv").write_text("model,question,answer\n")
    assert refused(tmp_path / "x.csv", MAP) == "there are no rows to import"


def test_a_damaged_row_far_down_leaves_nothing_behind(tmp_path: Path) -> None:
    """The whole source is read before anything is written."""
    source = write_jsonl(tmp_path / "x.jsonl", [row(question=f"q{i}") for i in range(500)])
    source.write_text(source.read_text() + "{broken\n")
    assert refused(source, MAP).startswith("x.jsonl:501: not JSON")


def test_a_stopped_import_leaves_no_run_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the rows would make a run like any other, with other figures."""
    from tempzero import exchange
    from tempzero.exchange import importing

    def stop(phase: str, rows: int) -> None:
        if (phase, rows) == ("writing", 5):
            raise KeyboardInterrupt

    monkeypatch.setattr(importing, "_PROGRESS_ROWS", 1)
    source = write_csv(tmp_path / "x.csv", [row(question=f"q{i}") for i in range(9)])
    recipe = exchange.recipe_from_options(maps=[MAP])
    with pytest.raises(KeyboardInterrupt):
        exchange.import_records(source, results=tmp_path / "results", recipe=recipe, progress=stop)
    assert list((tmp_path / "results").iterdir()) == []


def test_halves_of_characters_survive_in_the_row(tmp_path: Path) -> None:
    """Evidence is kept even where it is no text; it must not break the chain."""
    source = write_jsonl(tmp_path / "x.jsonl", [row(answer="bad \ud800"), row(question="q1", note="\udfff")])
    run = take_in(source, MAP)
    assert run.verify()
    assert [v.outcome.status for v in views(run)] == ["missing", "valid"]


def test_without_a_mapping_the_columns_are_shown(tmp_path: Path) -> None:
    """A first guess is offered, and never applied unasked."""
    source = write_csv(tmp_path / "x.csv", [row(run=1)])
    line = refused(source)
    assert "Columns: model, question, answer, run" in line
    assert line.endswith("perhaps --map provider=model,prompt=question,text=answer,repeat=run")


# --- censored sampling -----------------------------------------------------------------------


def test_stopping_at_the_first_divergence_is_noted(tmp_path: Path) -> None:
    """TARr of such data is 1.0 and false; the survivors are what can be said."""
    counts = (4, 1, 2, 1, 3, 1)
    rows = [row("a", f"q{q}", "same", run=r) for q, n in enumerate(counts) for r in range(n)]
    rows.sort(key=lambda r: -r["run"])  # the order of the files of an archive is anybody's guess
    notes: list[str] = []
    run = take_in(write_csv(tmp_path / "x.csv", rows), f"{MAP},repeat=run", notes=notes)
    note = next(n for n in run.manifest.notes if n.startswith("sampling: censored"))
    assert "a: 5 of 6 prompts have fewer than 4 repeats" in note
    assert note.endswith("6 of 6 after 1, 3 of 6 after 2, 2 of 6 after 3, 1 of 6 after 4")
    assert note in notes


# --- the command line ------------------------------------------------------------------------


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run's path on stdout, notes on stderr; a refusal is exit code 2 and one line each."""
    source = write_csv(tmp_path / "x.csv", [row(run=0), row(run=1)])
    arguments = ["import", str(source), "--map", f"{MAP},repeat=run", "--results", str(tmp_path / "r"), "--name", "n"]
    assert cli.main(arguments) == 0
    out, err = capsys.readouterr()
    path = Path(out.strip())
    assert path.name.endswith("-n")
    assert err == "imported: 2 rows, 1 provider, 1 prompt, 1 condition\n"
    assert cli.main(["verify", str(path)]) == 0
    assert cli.main(["export", str(path), str(tmp_path / "out.jsonl")]) == 0
    assert (tmp_path / "out.jsonl").exists()
    capsys.readouterr()

    duplicate = write_csv(tmp_path / "y.csv", [row(run=0), row(run=0)])
    assert cli.main(["import", str(duplicate), *arguments[2:]]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_an_edited_import_does_not_verify(tmp_path: Path) -> None:
    """The chain protects foreign records like our own."""
    run = take_in(write_csv(tmp_path / "x.csv", [row(run=0), row(run=1)]), f"{MAP},repeat=run")
    file = chain_file(run.path)
    file.write_bytes(file.read_bytes().replace(b"yes", b"yea", 1))
    with pytest.raises(RunFolderError, match="does not have the hash"):
        records.open_run(run.path).verify()


def test_an_import_can_be_a_baseline_though_nobody_knows_its_limit_of_tokens(tmp_path: Path) -> None:
    """`tempzero baseline set` on such a run was a crash, not a baseline."""
    run = take_in(
        write_csv(tmp_path / "x.csv", [row(question=f"q{i}", run=r) for i in range(6) for r in (1, 2)]),
        f"{MAP},repeat=run",
    )
    (made,) = make_baselines([run], now="2026-01-02T03:04:05+00:00")
    assert made.floor.value == 1.0


def test_nobody_can_be_asked_through_an_import(tmp_path: Path) -> None:
    """A run that is continued or planned anew skips imported providers, and says so."""
    from tempzero import plan

    run = take_in(write_csv(tmp_path / "x.csv", [row()]), MAP)
    chosen, skipped = plan.choose_providers(make_setting(run.config))
    assert chosen == ()
    assert skipped[0].reason == "imported: its answers were recorded by another tool"
