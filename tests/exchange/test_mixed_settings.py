"""Answers asked in different ways, or about different things, never pass for repeats: what varies is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from exchanging import MAP, emr, keys_and_texts, ready, refused, row, take_in, views, write_csv, write_jsonl
from tempzero.analysis import analyse
from tempzero.exchange.path_parts import WORDS, find_path_parts

Row = dict[str, Any]


def two_temperatures(add: Callable[[float], Row]) -> list[Row]:
    """Three repeats of six questions at 0, which agree, and three at 1, which do not; `add` says how it is written."""
    rows = []
    for q in range(6):
        rows += [row(question=f"q{q}", answer=f"same {q}", **add(0.0)) for _ in range(3)]
        rows += [row(question=f"q{q}", answer=f"x{q}{r}", **add(1.0)) for r in range(3)]
    return rows


NESTED: dict[str, tuple[Callable[[float], Row], str]] = {
    "an object": (lambda t: {"params": {"temperature": t, "max_tokens": 64}}, "params.temperature"),
    "two levels": (lambda t: {"config": {"sampling": {"top_p": t}}}, "config.sampling.top_p"),
    "a list of objects": (lambda t: {"calls": [{"name": "chat", "temperature": t}]}, "calls[0].temperature"),
    "JSON text": (lambda t: {"request": json.dumps({"messages": [], "temperature": t})}, "request.temperature"),
    "a word": (lambda t: {"meta": {"prompt_version": f"v{t:.0f}"}}, "meta.prompt_version"),
}


@pytest.mark.parametrize("name", NESTED)
def test_a_setting_inside_a_cell_is_noticed(name: str, tmp_path: Path) -> None:
    """At two temperatures a provider is two things, wherever that is written; the ways on are ready."""
    add, path = NESTED[name]
    source = write_jsonl(tmp_path / "x.jsonl", two_temperatures(add))
    line = refused(source, MAP)
    assert line.count("\n") == 0
    assert f'column "{path}" has 2 values' in line
    run = take_in(source, MAP, ready(line, "--map"))
    conditions = sorted({v.trial.condition for v in views(run)})
    assert [emr(run, c) for c in conditions] == [1.0, 0.0]
    assert emr(take_in(source, MAP, where=[ready(line, "--where")])) == 1.0


def test_a_setting_inside_a_cell_of_a_csv_is_noticed(tmp_path: Path) -> None:
    """A data frame writes an object as text."""
    source = write_csv(tmp_path / "x.csv", two_temperatures(lambda t: {"params": {"temperature": t}}))
    assert 'column "params.temperature" has 2 values (0.0, 1.0)' in refused(source, MAP)


def test_a_setting_beside_each_item_of_a_list_is_noticed(tmp_path: Path) -> None:
    """The items are repeats of one another only where they were asked alike."""
    runs = [{"text": f"x{r}", "temperature": r % 2} for r in range(4)]
    source = write_jsonl(tmp_path / "x.jsonl", [{"model": "m", "question": f"q{q}", "runs": runs} for q in range(3)])
    line = refused(source, "provider=model,prompt=question,text=runs[*].text")
    assert 'column "runs[*].temperature" has 2 values (0, 1)' in line
    run = take_in(source, "provider=model,prompt=question,text=runs[*].text", ready(line, "--map"))
    assert {v.trial.condition for v in views(run)} == {"0", "1"}


def test_settings_that_count_the_repeats_are_noticed(tmp_path: Path) -> None:
    """Whoever numbers repeats by temperature has one answer of each, and no repeat at all."""
    source = write_jsonl(tmp_path / "x.jsonl", [row(answer=str(t), temperature=t) for t in (0.0, 0.5, 1.0)])
    assert 'column "temperature" has 3 values' in refused(source, f"{MAP},repeat=temperature")


def test_what_differs_between_rows_of_one_key_is_named_inside_objects(tmp_path: Path) -> None:
    """With repeats numbered in the table, two settings collide; the very value is named."""
    rows = [row(run=0, params={"temperature": t, "n": 1}) for t in (0.0, 1.0)]
    line = refused(write_jsonl(tmp_path / "x.jsonl", rows), f"{MAP},repeat=run").splitlines()[0]
    assert "it differs in params.temperature;" in line


def test_measures_inside_cells_are_no_settings(tmp_path: Path) -> None:
    """Usage, ids and times differ between repeats."""
    rows = [
        row(
            question=f"q{q}",
            usage={"completion_tokens": r, "cached_tokens": int(r > 0)},
            response={"id": f"{q}{r}", "created": r, "choices": [{"index": 0, "finish_reason": "stop"}]},
        )
        for q in range(4)
        for r in range(2)
    ]
    assert len(views(take_in(write_jsonl(tmp_path / "x.jsonl", rows), MAP))) == 8


def test_columns_may_be_said_to_be_no_way_of_asking(tmp_path: Path) -> None:
    """The importer may know better; then it stands in the run."""
    source = write_jsonl(tmp_path / "x.jsonl", two_temperatures(lambda t: {"params": {"temperature": t}}))
    run = take_in(source, MAP, "ignore=params.temperature")
    assert emr(run) == 0.2
    assert "not looked at, as the importer said: params.temperature" in run.manifest.notes
    (tmp_path / "map.yaml").write_text("ignore: [params.temperature]\n")
    assert emr(take_in(source, MAP, mapping=tmp_path / "map.yaml")) == 0.2


# --- another input ---------------------------------------------------------------------------


def inputs(**columns: Callable[[int], Any]) -> list[Row]:
    """One instruction for twelve inputs, each answered three times alike; `columns` say which input it was."""
    return [
        row(question="Summarise.", answer=f"of {n}", run_id=f"{n}_{r}", **{c: of(n) for c, of in columns.items()})
        for n in range(12)
        for r in range(3)
    ]


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"input_text": lambda n: f"text {n}", "input_hash": lambda n: f"h{n}"}, "input_text"),
        ({"data": lambda n: {"passage": f"text {n}"}}, "data.passage"),
        ({"article_id": lambda n: n}, "article_id"),
        ({"stimulus": lambda n: f"s{n}"}, "stimulus"),
    ],
)
def test_another_input_under_one_key_is_noticed(
    columns: dict[str, Callable[[int], Any]], named: str, tmp_path: Path
) -> None:
    """One instruction with many inputs is many questions; columns that say the same are one line."""
    source = write_jsonl(tmp_path / "x.jsonl", inputs(**columns))
    line = refused(source, MAP)
    assert line.count("\n") == 0
    assert f'column "{named}" has 12 values' in line
    assert emr(take_in(source, MAP, f"id=question+{named}")) == 1.0


def test_another_input_is_noticed_where_repeats_are_numbered(tmp_path: Path) -> None:
    """An identifier of its own for each row makes repeats of them all."""
    source = write_jsonl(tmp_path / "x.jsonl", inputs(context=lambda n: f"text {n}"))
    line = refused(source, f"{MAP},repeat=run_id")
    assert line.startswith('several questions under one key: column "context" has 12 values')
    assert emr(take_in(source, MAP, "repeat=run_id", ready(line, "--map"))) == 1.0


# --- what stands in names --------------------------------------------------------------------


def files(folder: Path, *names: str) -> Path:
    """A file for each name; those with temperature 0 in it hold answers that agree."""
    for at, name in enumerate(names):
        cold = "1" not in name.split("run")[0]
        rows = [row(question=f"q{q}", answer=f"a{q}" if cold else f"a{q}{at}", id=f"{at}{q}") for q in range(6)]
        write_jsonl(folder / name, rows)
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ("gpt_temperature_{}_run_1.jsonl", "gpt_temperature_{}_run_2.jsonl"),
        ("temperature={}/run1.jsonl", "temperature={}/run2.jsonl"),
        ("temp{}-run1.jsonl", "temp{}-run2.jsonl"),
        ("out/T={}/run_1/answers.jsonl", "out/T={}/run_2/answers.jsonl"),
        ("gpt.top_p_{}_run_1", "gpt.top_p_{}_run_2"),
    ],
    ids=["name_value", "folder name=value", "glued", "folders above", "no ending"],
)
def test_a_setting_in_the_names_of_files_is_noticed(names: tuple[str, str], tmp_path: Path) -> None:
    """A file for each setting holds no column that says so."""
    folder = files(tmp_path / "in", *(name.format(t) for t in ("0", "1") for name in names))
    line = refused(folder, MAP, only=["*"])
    assert "the names of the files differ in" in line
    run = take_in(folder, MAP, ready(line, "--map"), only=["*"])
    assert [emr(run, c) for c in sorted({v.trial.condition for v in views(run)})] == [1.0, 0.0]
    assert len(views(take_in(folder, MAP, where=[ready(line, "--where")], only=["*"]))) == 12
    assert "the names of the files differ in" in refused(folder, MAP, "repeat=@path", only=["*"])


def test_words_in_the_names_of_files_are_noticed(tmp_path: Path) -> None:
    """Two hosts of one model, a file each: they are no repeats of one another."""
    folder = files(tmp_path / "in", "groq.jsonl", "together.jsonl")
    line = refused(folder, MAP)
    assert "the names of the files differ: 2 values (groq, together)" in line
    assert {v.trial.condition for v in views(take_in(folder, MAP, ready(line, "--map")))} == {"groq", "together"}
    assert len(keys_and_texts(take_in(folder, "provider=@stem,prompt=question,text=answer"))) == 12


@pytest.mark.parametrize(
    "names",
    [
        "x_fp16.jsonl x_int8.jsonl",
        "q4/x.jsonl q8/x.jsonl",
        "gpt-4-0613.jsonl gpt-4-1106.jsonl",
        "llama2_run1.jsonl llama3_run1.jsonl",
        "run1-h100.jsonl run2-a100.jsonl",
        "batch1.jsonl batch32.jsonl",
        "max_tokens64.jsonl max_tokens128.jsonl",
        "max_new_tokens_64.jsonl max_new_tokens_65.jsonl",
        "64/x.jsonl 128/x.jsonl",
        "v1/x.jsonl v2/x.jsonl",
    ],
)
def test_a_number_that_belongs_to_a_name_counts_no_repeats(names: str, tmp_path: Path) -> None:
    """A precision, a model's version, a card or a batch size; the way on is ready, also where they are repeats."""
    folder = files(tmp_path / "in", *names.split())
    lines = refused(folder, MAP).splitlines()
    assert len(lines) == 1
    assert "the names of the files differ" in lines[0]
    assert len({v.trial.condition for v in views(take_in(folder, MAP, ready(lines[0], "--map")))}) == 2


def test_settings_are_known_by_any_spelling(tmp_path: Path) -> None:
    """As some APIs spell them; where the table numbers the repeats, nothing but a name tells a setting."""
    for number, name in enumerate(("maxOutputTokens", "params/topP", "Model-Version", "config:top k", "decoding")):
        rows = [{**row(question=f"q{q}", answer=f"{r}", run=r), name: r // 2} for q in range(6) for r in range(4)]
        assert f'column "{name}" has 2 values' in refused(
            write_jsonl(tmp_path / f"{number}.jsonl", rows), MAP, "repeat=run"
        )


@pytest.mark.parametrize(
    "names",
    [
        *("run-1.csv run-10.csv", "2026-07-14.csv 2026-07-15.csv", "a.csv b.csv", "1.csv 2.csv", "1.csv 3.csv"),
        *("gpt-4_run_3.csv gpt-4_run_9.csv", "run3-x.csv run70-x.csv", "x.2026-07-14.csv x.2026-08-01.csv"),
        *("20260714T1200.csv 20260801T0915.csv", "answers_1.csv answers_64.csv", "seed42.csv seed1234.csv"),
        *(
            "run_ab12.csv run_cd34.csv",
            "3f2a9c11-d0aa-4e2b-9c11-aabbccddeeff.csv 9f2a9c11-d0ab-4e2b-9c12-aabbccddee00.csv",
        ),
    ],
)
def test_names_that_count_are_repeats(names: str, tmp_path: Path) -> None:
    """Numbers, days and letters tell repeats apart, and nothing else."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, name in enumerate(names.split()):
        write_csv(folder / name, [row(answer=str(number))])
    assert list(keys_and_texts(take_in(folder, MAP)).values()) == ["0", "1"]


def test_shards_of_one_run_are_no_repeats(tmp_path: Path) -> None:
    """Names that differ between questions only mix nothing."""
    folder = tmp_path / "in"
    for name, question in (("algebra", "q0"), ("history", "q1")):
        write_jsonl(folder / f"{name}.jsonl", [row(question=question)] * 1)
    assert len(views(take_in(folder, MAP))) == 2


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("gpt_temperature_0.5_run_1.jsonl", {"temperature": "0.5", WORDS: "gpt run"}),
        ("gpt_temperature=0.5/run3.jsonl", {"temperature": "0.5"}),
        ("max_new_tokens_64-max_tokens32.csv", {"max_new_tokens": "64", "max_tokens": "32"}),
        ("llama-3_fp16/2026_07_14/7.csv", {WORDS: "llama", "llama": "3", "fp": "16", "number": "7"}),
        ("T=0.7,style=formal/run3.csv", {"t": "0.7", "style": "formal"}),
        ("max_tokens_64-top_p_0.9.json", {"max_tokens": "64", "top_p": "0.9"}),
        ("t0.2/seed12/x.csv", {"t": "0.2"}),
        ("run_temperature_0.log_2", {"temperature": "0", WORDS: "run"}),
        ("2026-07-14/3f2a9c11d0.json", {}),
        ("20260714T120501Z/x.json.2", {WORDS: "json"}),
        ("0.7/out.csv", {WORDS: "0.7 out"}),
    ],
)
def test_the_parts_of_a_path(path: str, found: dict[str, str]) -> None:
    """name=value, name_value and name0.5; plain numbers, days and hashes count."""
    assert {name: part.value for name, part in find_path_parts(path).items()} == found


# --- where texts were cut --------------------------------------------------------------------


def cut_rows(**more: Any) -> list[Row]:
    return [
        row(question=f"q{q}", answer=" I" if r < 5 else " It", run=r, finish="length", **more)
        for q in range(8)
        for r in range(10)
    ]


@pytest.mark.parametrize(
    ("more", "offered"),
    [
        ({"max_tokens": 1}, "max_tokens=max_tokens"),
        ({"usage": {"completion_tokens": 1}}, "completion_tokens=usage.completion_tokens"),
        ({"params": {"max_new_tokens": 1}}, "max_tokens=params.max_new_tokens"),
    ],
)
def test_cut_answers_need_their_limit_where_it_is_recorded(more: Row, offered: str, tmp_path: Path) -> None:
    """One token each, " I" and " It": without the limit the longer one would count as the other's continuation."""
    source = write_jsonl(tmp_path / "x.jsonl", cut_rows(**more))
    line = refused(source, f"{MAP},repeat=run,finish_reason=finish")
    assert f"--map {offered}" in line
    assert emr(take_in(source, f"{MAP},repeat=run,finish_reason=finish", offered)) == pytest.approx(4 / 9)


@pytest.mark.parametrize("counted", [False, True])
def test_a_limit_for_each_condition_is_known(counted: bool, tmp_path: Path) -> None:
    """The same texts under two limits: under each of them they were all cut after the same number of tokens."""
    rows = [{**r, "limit": limit, "said": limit} for limit in (1, 2) for r in cut_rows()]
    maps = f"{MAP},repeat=run,finish_reason=finish,max_tokens=limit,condition=limit"
    run = take_in(write_jsonl(tmp_path / "x.jsonl", rows), maps + (",completion_tokens=said" if counted else ""))
    assert [emr(run, condition) for condition in ("1", "2")] == [pytest.approx(4 / 9)] * 2


def test_a_text_that_was_cut_under_two_limits_is_one_text(tmp_path: Path) -> None:
    """Two providers, one text, another limit each: nothing differs, and nothing is said to."""
    rows = [
        row(model, f"q{q}", " It", run=r, finish="length", limit=limit)
        for model, limit in (("a", 1), ("b", 2))
        for q in range(8)
        for r in range(5)
    ]
    source = write_jsonl(tmp_path / "x.jsonl", rows)
    analysis = analyse(take_in(source, f"{MAP},repeat=run,finish_reason=finish,max_tokens=limit"))
    values = {f.metric: f.estimate.value for f in analysis.figures if f.right is not None and f.family is None}
    assert values["cross_emr"] == 1.0
    assert values["excess_divergence"] == 0.0


def test_a_limit_that_nobody_recorded_is_not_asked_for(tmp_path: Path) -> None:
    """Then a beginning is all that was seen."""
    run = take_in(write_jsonl(tmp_path / "x.jsonl", cut_rows()), f"{MAP},repeat=run,finish_reason=finish")
    assert emr(run) == 1.0


# --- lists and objects -----------------------------------------------------------------------


def test_a_list_may_be_one_answer_or_several(tmp_path: Path) -> None:
    """Which of the two only its owner knows; both ways are offered, and say what they do."""
    lines = ["roses", "are", "red"]
    source = write_jsonl(tmp_path / "x.jsonl", [row(question=f"q{q // 5}", answer=lines) for q in range(30)])
    line = refused(source, MAP)
    assert "is it one answer? then --map text=answer[]" in line
    assert "a repeat? then --map text=answer[*]" in line
    run = take_in(source, MAP, "text=answer[]")
    assert emr(run) == 1.0
    assert set(keys_and_texts(run).values()) == {'["roses","are","red"]'}
    assert emr(take_in(source, MAP, "text=answer[*]")) == pytest.approx((3 * 5 * 4) / (15 * 14))


def test_a_list_of_objects_may_be_one_answer(tmp_path: Path) -> None:
    """Calls of tools, say: their items are steps of one answer, and [*] over them names their fields."""
    calls = [{"name": "search", "args": {"q": "a"}}, {"name": "open", "args": {"id": 1}}]
    source = write_jsonl(tmp_path / "x.jsonl", [row(question=f"q{q // 5}", answer=calls) for q in range(30)])
    line = refused(source, MAP, "text=answer[*]")
    assert "the text is a JSON object with name, args" in line
    assert "--map text=answer[]" in line
    assert emr(take_in(source, MAP, "text=answer[]")) == 1.0


@pytest.mark.parametrize(
    ("answer", "maps", "right"),
    [
        ({"code": "print(0)", "seconds": None}, "text=answer", "text=answer.code"),
        ([{"code": "print(0)", "seconds": None}], "text=answer[*]", "text=answer[*].code"),
        ({"out": {"seconds": None, "said": "x"}}, "text=answer.out", "text=answer.out.said"),
    ],
)
def test_an_object_is_no_text_unless_that_is_said(answer: Any, maps: str, right: str, tmp_path: Path) -> None:
    """Seconds beside the code would make every answer another one."""
    rows = []
    for number in range(30):
        written = json.dumps(answer).replace("null", str(number))
        rows.append(row(question=f"q{number // 5}", answer=json.loads(written)))
    source = write_jsonl(tmp_path / "x.jsonl", rows)
    line = refused(source, MAP, maps)
    assert "the text is a JSON object with" in line
    assert "seconds" in line
    assert f"--map {right}" in line
    assert emr(take_in(source, MAP, right)) == 1.0
    assert emr(take_in(source, MAP, f"{maps}[]")) == 0.0


@pytest.mark.parametrize("blank", [" ", "\n", "\t\t"])
def test_white_space_is_compared_as_any_text(blank: str, tmp_path: Path) -> None:
    """Half of the answers are blank and half are not: that is divergence, not silence."""
    rows = [row(question=f"q{q}", answer=blank if r < 5 else " It", run=r) for q in range(6) for r in range(10)]
    for source in (write_csv(tmp_path / "x.csv", rows), write_jsonl(tmp_path / "x.jsonl", rows)):
        assert emr(take_in(source, f"{MAP},repeat=run")) == pytest.approx(4 / 9)
