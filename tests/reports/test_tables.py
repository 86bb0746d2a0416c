"""tables/*.csv open in a spreadsheet without running anything, and keep their numbers numbers."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import get_args

import pytest
from reports import synthetic
from tempzero.reports import csv_tables
from tempzero.types.vocabulary import KindName


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_one_table_for_each_kind_and_all_figures_in_them() -> None:
    """Every figure is in exactly the table of its kind; a kind without figures has its header."""
    analysis = synthetic.analysis()
    found = csv_tables.render_tables(analysis)
    for kind in get_args(KindName):
        assert len(_rows(found[f"{kind}.csv"])) == sum(f.kind == kind for f in analysis.figures)
    empty = csv_tables.render_tables(replace(analysis, figures=()))
    assert empty["speed.csv"] == "metric,left,right,condition,family,k,part,value,low,high,n,method,unit\n"


def test_numbers_stay_numbers_and_nothing_is_invented() -> None:
    """Negative numbers carry no quote; an undefined value is an empty cell, not 0 or 1."""
    found = csv_tables.render_tables(synthetic.analysis())
    difference = next(r for r in _rows(found["reference.csv"]) if r["metric"] == "length_difference_chars")
    assert (float(difference["value"]), float(difference["low"])) == (-12.4, -30.2)
    undefined = next(r for r in _rows(found["repeat.csv"]) if r["left"] == synthetic.DOWN)
    assert (undefined["value"], undefined["low"], undefined["n"]) == ("", "", "0")


@pytest.mark.parametrize("text", ["=cmd()", "+1+1", "@SUM(A1)", "-2+3", "  =1", "\t=1", "\n=1", "\r=1", "＝1", "－1+1"])
def test_a_text_never_acts_as_a_formula(text: str) -> None:
    """Whatever a model wrote, a spreadsheet shows it as text."""
    row = replace(synthetic.analysis().prompt_rows[0], modal_text=text, prompt=text, expected=text)
    cells = _rows(csv_tables.render_tables(replace(synthetic.analysis(), prompt_rows=(row,)))["prompts.csv"])[0]
    for name in ("modal_text", "prompt", "expected"):
        assert cells[name][0] in "'⟨", name


def test_an_answer_that_is_a_number_stays_as_it_is() -> None:
    """-5 is an answer, no formula."""
    row = replace(synthetic.analysis().prompt_rows[0], expected="-5")
    assert (
        _rows(csv_tables.render_tables(replace(synthetic.analysis(), prompt_rows=(row,)))["prompts.csv"])[0]["expected"]
        == "-5"
    )


def test_hostile_cells_keep_the_table_whole() -> None:
    """Quotes, line breaks, NUL and escapes neither add columns nor rows, and none of them is raw."""
    analysis = synthetic.hostile_analysis()
    found = csv_tables.render_tables(analysis)
    assert len(_rows(found["prompts.csv"])) == len(analysis.prompt_rows)
    assert len(_rows(found["findings.csv"])) == len(analysis.findings)
    for text in found.values():
        assert not any(ord(c) < 32 and c not in "\n\t" for c in text)
        assert "\u202e" not in text
        assert all(None not in row and None not in row.values() for row in _rows(text))


def test_a_long_text_is_cut_and_says_so() -> None:
    """A cell stays below what spreadsheets can hold."""
    row = replace(synthetic.analysis().prompt_rows[0], modal_text="y" * 100_000)
    cell = _rows(csv_tables.render_tables(replace(synthetic.analysis(), prompt_rows=(row,)))["prompts.csv"])[0][
        "modal_text"
    ]
    assert cell.endswith("… (+98000 characters)")
    assert len(cell) < 3000
