"""What a user writes for a column finds the value that is meant, or a line says what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tempzero.errors import ExchangeError
from tempzero.exchange import expressions, recipe
from tempzero.exchange.expressions import FilePlace

CELLS: dict[str, Any] = {
    "model": "gpt",
    "meta": {"model": "inner", "list": [{"text": "first"}, {"text": "second"}]},
    "config": '{"temperature": 0.0, "seed": 12}',
    "a.b": "dotted",
    "answer_1": "one",
    "answer_2": "two",
}


def value(written: str, cells: dict[str, Any] = CELLS, columns: tuple[str, ...] | None = None) -> Any:
    place = FilePlace(name="runs/gpt-4/out_run3.csv", around="top", columns=columns)
    return expressions.bind_expression(expressions.parse_expression(written), "text", place)(cells)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("model", "gpt"),
        ("meta.model", "inner"),
        ("meta.list[1].text", "second"),
        ("meta.list[9].text", None),
        ("config.temperature", 0.0),
        ("a.b", "dotted"),
        ("model+config.seed", "gpt:12"),
        ("nothing", None),
        ("nothing+nowhere", None),
        ("@file", "out_run3.csv"),
        ("@stem", "out_run3"),
        ("@folder", "gpt-4"),
        ("@path", "runs/gpt-4/out_run3.csv"),
        ("@stem~run([0-9]+)", "3"),
        ("model~^x", None),
    ],
)
def test_an_expression_finds_its_value(written: str, found: object) -> None:
    """Columns, paths into objects and JSON text, the file's name, joined parts, and a pattern within."""
    assert value(written) == found


def test_a_column_may_be_called_anything() -> None:
    """A name that looks like a path or a sum is taken as it is when the table has it."""
    assert value("a.b", {"a.b": 1}, ("a.b",)) == 1
    assert value("x+y", {"x+y": 2}, ("x+y",)) == 2


def test_a_star_stands_for_each_item_or_column() -> None:
    """Repeats often stand beside each other in one row."""
    assert expressions.find_star_matches(expressions.parse_expression("answer_*"), CELLS) == ["1", "2"]
    assert expressions.find_star_matches(expressions.parse_expression("meta.list[*].text"), CELLS) == ["0", "1"]
    assert value("meta.list[*].text", {**CELLS, "@match": "1"}) == "second"
    assert value("answer_*", {**CELLS, "@match": "2"}) == "two"


def test_a_wrong_column_is_named_with_the_likely_one() -> None:
    """A typing error must not import a column of nothing."""
    with pytest.raises(ExchangeError, match=r'no column "modle"; did you mean "model"\?'):
        value("modle", columns=("model", "answer"))
    with pytest.raises(ExchangeError, match=r'no column "zzz"; there are model, answer'):
        value("zzz", columns=("model", "answer"))


def test_the_command_line_and_a_file_say_the_same(tmp_path: Path) -> None:
    """What was tried on the command line can be kept."""
    path = tmp_path / "map.yaml"
    path.write_text(
        "format: lm-eval\nrows: data.items\nonly: ['*.jsonl']\nas_is: true\nreference: ours\n"
        "extractor: {name: regex, args: {pattern: '(yes|no)'}}\n"
        "map:\n  provider: {value: gpt-4}\n  text: response\n  condition: [config.temperature, task]\n  id: qid\n"
    )
    written = ["provider:=gpt-4,text=response", "condition=config.temperature+task,id=qid,rows=data.items"]
    one = recipe.recipe_from_options(mapping=path)
    two = recipe.recipe_from_options(
        maps=written,
        form="lm-eval",
        only=["*.jsonl"],
        extractor="regex",
        arguments=["pattern=(yes|no)"],
        reference="ours",
        as_is=True,
    )
    assert one == two
    assert one.fields["provider"].constant == "gpt-4"
    assert recipe.recipe_from_options(mapping=path, maps=["text=other"]).fields["text"].written == "other"


def test_a_comma_may_stand_in_a_constant_or_pattern() -> None:
    """Only a piece with an equals sign begins a new field."""
    found = recipe.recipe_from_maps(["provider:=a, b", "id=@stem~(x{1,2}),text=t"])
    assert found.fields["provider"].constant == "a, b"
    assert found.fields["id"].pattern == "(x{1,2})"
    assert found.fields["text"].written == "t"


@pytest.mark.parametrize(
    ("maps", "complaint"),
    [
        (["providr=model"], 'no field is called "providr"; did you mean "provider"'),
        (["model"], "write field=column, or field:=constant"),
        (["text=a~("], "not a regular expression"),
        (["text="], "names no column"),
    ],
)
def test_a_wrong_mapping_is_said_at_once(maps: list[str], complaint: str) -> None:
    """Before any file is opened."""
    with pytest.raises(ExchangeError, match=complaint):
        recipe.recipe_from_maps(maps)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("mapp: {}", 'unknown key "mapp"; did you mean "map"'),
        ("map: {txt: a}", 'no field is called "txt"; did you mean "text"'),
        ("map: {text: {valu: 1}}", "map.text: write a column"),
        ("map: 7", "expected field: column lines"),
        ("only: 7", "only: expected globs"),
        ("format: 7", "format: expected text"),
        ("extractor: [regex]", "extractor: write its name"),
        ("- a", "expected a mapping"),
    ],
)
def test_a_wrong_mapping_file_is_said_at_once(tmp_path: Path, text: str, complaint: str) -> None:
    """Its path stands in front."""
    path = tmp_path / "map.yaml"
    path.write_text(text)
    with pytest.raises(ExchangeError, match=complaint):
        recipe.recipe_from_file(path)


@pytest.mark.parametrize(
    ("name", "arguments", "complaint"),
    [
        ("regx", [], 'none called "regx"; did you mean "regex"'),
        ("regex", [], r"needs --extractor-arg pattern="),
        ("regex", ["pattern=no group"], "exactly one group"),
        ("yes_no", ["pattern=x"], 'yes_no takes no "pattern"'),
    ],
)
def test_a_wrong_extractor_is_said_at_once(name: str, arguments: list[str], complaint: str) -> None:
    """An extractor is part of the measurement; it must be the one that was meant."""
    with pytest.raises(ExchangeError, match=complaint):
        recipe.recipe_from_options(extractor=name, arguments=arguments)


@pytest.mark.parametrize(
    ("maps", "complaint"),
    [
        ("text=a,prompt=q", "does not say provider"),
        ("provider=m,prompt=q", "does not say text"),
        ("provider=m,text=a", r"does not say prompt \(or id\)"),
        ("provider=m*,text=a,prompt=q", r'"\*" works in text only'),
    ],
)
def test_what_a_mapping_must_say(maps: str, complaint: str) -> None:
    """Without these three there is nothing to compare."""
    with pytest.raises(ExchangeError, match=complaint):
        recipe.recipe_from_maps([maps]).checked()
