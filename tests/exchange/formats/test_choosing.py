"""A format is taken by itself only where it is unmistakable."""

from __future__ import annotations

from pathlib import Path

import pytest
from exchanging import MAP, row, take_in, views, write_csv, write_jsonl
from tempzero.errors import ExchangeError
from tempzero.exchange import FORMATS

BATCH = {"id": "x", "custom_id": "c", "response": None, "error": {"code": "x"}}
VERIFIER = {"data_index": 1, "request": {}, "response": {}, "status": "failed", "last_run_at": "", "hash": "h"}


def test_two_formats_at_once_are_refused(tmp_path: Path) -> None:
    """The user says which one is meant."""
    write_jsonl(tmp_path / "a.jsonl", [BATCH])
    write_jsonl(tmp_path / "b.jsonl", [VERIFIER])
    with pytest.raises(ExchangeError, match="holds vendor-verifier and openai-batch; choose one with --format"):
        take_in(tmp_path)


def test_a_named_format_must_fit(tmp_path: Path) -> None:
    """A wrong name is no empty run."""
    write_csv(tmp_path / "x.csv", [row()])
    with pytest.raises(ExchangeError, match="holds no records of --format promptfoo"):
        take_in(tmp_path / "x.csv", form="promptfoo")
    with pytest.raises(ExchangeError, match=r'there is none called "promptfo"; did you mean "promptfoo"\?'):
        take_in(tmp_path / "x.csv", form="promptfo")


def test_a_whole_mapping_needs_no_format(tmp_path: Path) -> None:
    """Who maps everything by hand is not overruled by what a file looks like."""
    write_jsonl(tmp_path / "x.jsonl", [{**BATCH, **row()}])
    assert views(take_in(tmp_path / "x.jsonl", MAP))[0].trial.provider == "a"


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_what_it_reads(name: str) -> None:
    """The name on the command line is the format's own, and its mapping is sound."""
    found = FORMATS[name]
    assert found.name == name
    assert found.about
    assert found.recipe(exported_here=False).checked().format == name
    assert found.recipe(exported_here=True).checked().as_is


def test_a_later_row_of_another_shape_is_refused(tmp_path: Path) -> None:
    """The first row told the format; the others have to keep to it."""
    write_jsonl(tmp_path / "x.jsonl", [BATCH, {"id": "y"}])
    with pytest.raises(ExchangeError, match=r"x\.jsonl:2: has no custom_id, error, response, which every row"):
        take_in(tmp_path / "x.jsonl")
