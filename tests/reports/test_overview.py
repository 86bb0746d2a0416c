"""The run's one picture: who is in it, in which order, and that it is legible without colours or an SVG viewer."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from reports import synthetic
from tempzero.reports import write_reports
from tempzero.reports.html import render_overview_svg
from tempzero.reports.lookup import View
from tempzero.reports.overview_chart import Overview
from tempzero.reports.overview_png import draw_overview_png
from tempzero.reports.sections.run_overview import MAX_ROWS, lay_out_overview
from tempzero.types.concluded import Camps, Level, ProviderVerdict, Verdict


@pytest.fixture
def overview() -> Overview:
    """The picture of the synthetic run."""
    return lay_out_overview(View(synthetic.analysis(), synthetic.verdict()))


def test_every_judged_provider_has_a_row_with_its_outcome(overview: Overview) -> None:
    """Nobody who was judged is missing from the first thing that a reader sees, and nobody has another's outcome."""
    judged = {p.provider: p.outcome for p in synthetic.verdict().providers}
    shown = {row.full_name.removesuffix(" (reference)"): row.outcome for row in overview.rows}
    assert shown == judged


def test_the_reference_comes_first_then_the_best(overview: Overview) -> None:
    """Who looks for a provider to take reads from the top: passes before doubts before findings, same before other."""
    assert overview.rows[0].full_name == f"{synthetic.REFERENCE} (reference)"
    ranks = [("pass", "inconclusive", "finding").index(row.outcome) for row in overview.rows[1:]]
    assert ranks == sorted(ranks)
    same = [r.tracks[1].dot.x for r in overview.rows[1:] if r.outcome == "finding" and r.tracks[1].dot is not None]
    assert same == sorted(same, reverse=True)


def test_a_dot_lies_where_its_figure_says(overview: Overview) -> None:
    """The picture shows the table's figures: the share of the way along its track, the interval around it."""
    own, against = synthetic.LOCAL["llama-q8_0"]
    row = next(r for r in overview.rows if r.full_name == "llama-q8_0")
    for track, share in zip(row.tracks, (own, against), strict=True):
        assert track.dot is not None
        assert track.dot.low is not None
        assert track.dot.high is not None
        assert (track.dot.x - track.left) / (track.right - track.left) == pytest.approx(share, abs=0.01)
        assert track.dot.low <= track.dot.x <= track.dot.high


def test_what_was_not_measured_has_no_dot(overview: Overview) -> None:
    """A provider that was down has no agreement, not one of 0 or 1."""
    row = next(r for r in overview.rows if r.full_name == synthetic.DOWN)
    assert [track.dot for track in row.tracks] == [None, None]
    assert row.speed == ""


def test_of_very_many_providers_the_findings_stay() -> None:
    """With five hundred endpoints the picture keeps its size, and the odd ones are in it."""
    one = synthetic.analysis()
    names = [f"host-{i:03}" for i in range(500)]
    template = next(f for f in one.figures if f.left == "llama-f16" and f.kind == "repeat" and f.metric == "emr")
    facts = next(p for p in one.providers if p.name == "llama-f16")
    many = replace(
        one,
        providers=tuple(replace(facts, name=n) for n in names),
        references=(),
        figures=tuple(replace(template, left=n) for n in names),
    )
    odd = {"host-007", "host-400", "host-499"}
    verdict = Verdict(
        outcome="finding",
        providers=tuple(
            ProviderVerdict(provider=n, outcome="finding" if n in odd else "pass", reasons=()) for n in names
        ),
    )
    drawn = lay_out_overview(View(many, verdict))
    assert len(drawn.rows) == MAX_ROWS
    assert odd <= {row.full_name for row in drawn.rows}
    assert drawn.more == f"and {500 - MAX_ROWS} more rows in the tables"


def test_the_drawing_is_one_well_formed_file_even_of_hostile_names() -> None:
    """A provider's name can neither end the drawing nor bring in a script."""
    drawn = lay_out_overview(View(synthetic.hostile_analysis(), synthetic.hostile_verdict()))
    root = ElementTree.fromstring(render_overview_svg(drawn))
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "style", "rect", "text", "g", "title", "path", "circle"}
    assert all(not name.rpartition("}")[2].startswith("on") for e in root.iter() for name in e.attrib)
    assert draw_overview_png(drawn).startswith(b"\x89PNG")


def test_the_picture_says_how_each_stands() -> None:
    """A pass that rests on rounding says so, the odd one and the camps are named, and nothing is said of the lonely."""
    one = synthetic.analysis()
    level = Level(
        provider="llama-f16",
        condition=synthetic.CONDITION,
        reference=synthetic.REFERENCE,
        name="rounding",
        message="",
        prompts=24,
        differ=1,
    )
    camps = Camps(
        claimed_model=synthetic.MODEL,
        condition=synthetic.CONDITION,
        camps=(("llama-q8_0", "llama-f16-batched", "llama-f16"), ("hosted-example",), ("llama-q4_0",)),
        odd=("llama-q4_0",),
        pairs=10,
        alpha=0.01,
    )
    drawn = lay_out_overview(View(replace(one, levels=(level,), camps=(camps,)), synthetic.verdict()))
    standing = {row.full_name: (row.standing, row.brief_standing) for row in drawn.rows}
    assert standing["llama-f16"] == ("same up to 16-bit rounding", "16-bit rounding")
    assert standing["llama-q8_0"] == ("in camp 1 of 3, with 3 of the 5 endpoints", "camp 1 of 3")
    assert standing["llama-q4_0"] == ("the odd one of 5", "odd one of 5")
    assert standing[synthetic.OTHER_MODEL] == ("", "")


def test_outcomes_are_told_apart_without_colour(overview: Overview) -> None:
    """In a grey print and for the colour-blind each outcome has a shape and a word of its own."""
    root = ElementTree.fromstring(render_overview_svg(overview))
    shapes = {
        mark.get("class", "").split()[1]: (mark.tag, (mark.get("d") or "").count("l"))
        for mark in root.iter()
        if mark.get("class", "").startswith("mark ")
    }
    assert len(set(shapes.values())) == len(shapes) == 3
    assert {row.outcome for row in overview.rows} == {"pass", "inconclusive", "finding"}


def test_the_png_is_the_same_picture_each_time(overview: Overview) -> None:
    """Same run folder, same bytes; three pixels a unit, so that it is sharp on a telephone."""
    first = draw_overview_png(overview)
    assert first == draw_overview_png(overview)
    assert Image.open(BytesIO(first)).size == (3 * overview.width, 3 * overview.height)


def test_reports_lead_with_the_picture(tmp_path: Path) -> None:
    """The picture stands before any sentence of the verdict, in the page, in the Markdown and as files to pass on."""
    write_reports(synthetic.analysis(), synthetic.verdict(), tmp_path)
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    assert page.index('class="overview"') < page.index('class="headline')
    assert text.index("](overview.svg)") < text.index("Finding: the data support")
    assert (tmp_path / "overview.svg").read_text().startswith("<svg")
    assert (tmp_path / "overview.png").stat().st_size > 5_000
