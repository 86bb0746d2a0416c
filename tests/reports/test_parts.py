"""What a report shows of the parts of answers, of the models that answered, and of what was odd."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from reports import synthetic
from tempzero.reports import csv_tables, html, markdown, summary
from tempzero.reports.lookup import Subject, View
from tempzero.reports.sections import build_sections


@pytest.fixture(scope="module")
def view() -> View:
    return View(synthetic.analysis(), synthetic.verdict())


@pytest.fixture(scope="module")
def text(view: View) -> str:
    """report.md with its cells set apart by one blank, and nothing escaped."""
    shown = markdown.render_markdown(build_sections(view), run_id="r", created_at="c")
    return re.sub(r" +", " ", shown.replace("\\", ""))


def rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_tables.render_tables(synthetic.analysis())[name])))


def test_the_models_that_answered_stand_there_by_name(text: str) -> None:
    """With their counts, and what each name is to the one asked for; who gives none is said to give none."""
    assert "| hosted-example | smollm2-135m | other-8b | another model | 70 | 2 |" in text
    assert "smollm2-135m-2024-10-31 | another name for it | 72 |" in text
    assert "no name |" in text
    assert [r["standing"] for r in rows("served.csv")] == ["other", "", "alias"]


def test_what_was_odd_is_counted_and_weighed(text: str) -> None:
    """The heaviest first, in the words of the one table of flags."""
    order = [
        text.index(words) for words in ("answered as another model than", "cut answers at the limit", "without [DONE]")
    ]
    assert order == sorted(order)
    assert "70 of 75 | finding |" in text
    assert "72 of 75 | normal service |" in text
    assert [r["severity"] for r in rows("flags.csv")] == ["note", "finding", "remark"]


def test_coverage_is_said_in_trials(text: str) -> None:
    """A reader sees how much was cut beside how much was answered."""
    assert "| hosted-example | 72 of 72, 22 of them cut at the limit |" in text


def test_each_part_has_its_row_and_no_pair_of_providers_two(text: str, view: View) -> None:
    """Figures by part stand beside the whole, and never in its place."""
    assert "| reasoning | 0.20 [0.08, 0.32], n=24 |" in text
    assert len({(f.left, f.right) for f in view.figures("cross") if f.metric == "cross_emr"}) == len(
        [f for f in view.figures("cross") if f.metric == "cross_emr"]
    )
    whole = view.figure("repeat", "emr", Subject(provider="hosted-example", condition=synthetic.CONDITION))
    assert whole is not None
    assert whole.estimate.value == pytest.approx(0.4111)


def test_agreement_without_the_reasoning_says_so(view: View, text: str) -> None:
    """A figure of what both show never stands there like one of whole answers: in tables, heat map and CSV."""
    assert "reasoning left out" in text
    page = html.render_html(build_sections(view), run_id="r", created_at="c")
    assert ">reasoning left out</text>" in page
    spoken = [r for r in rows("cross.csv") if r["part"] == "spoken"]
    assert {frozenset((r["left"], r["right"])) for r in spoken} == {frozenset(("hosted-example", "llama-q4_0"))}


def test_figures_by_family_stand_in_tables_alone() -> None:
    """They are several times as many as the others: a summary of five hundred endpoints would be megabytes of them."""
    analysis = synthetic.analysis()
    of_family = next(f for f in analysis.figures if f.family)
    found = json.loads(summary.render_summary(analysis, synthetic.verdict()))["figures"]
    assert len(found) == sum(f.family is None for f in analysis.figures)
    assert of_family.family in {row["family"] for row in rows(f"{of_family.kind}.csv")}


def test_the_summary_holds_all_of_it() -> None:
    """For whoever reads it by program."""
    found = json.loads(summary.render_summary(synthetic.analysis(), synthetic.verdict()))
    assert {f["part"] for f in found["figures"]} == {"whole", "spoken", "reasoning", "text"}
    assert [f["flag"] for f in found["flags"]] == ["no_done", "model_mismatch", "limit_unsaid"]
    assert found["served"][0]["served_model"] == "other-8b"
    assert {o["provider"]: o["answered"] for o in found["outcomes"]}["hosted-example"] == 72
