"""report.md shows hostile text as itself: no markup, no HTML, no links, no broken tables."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from reports import synthetic
from tempzero.reports import markdown
from tempzero.reports.lookup import View
from tempzero.reports.sections import build_sections
from tempzero.reports.visible import to_one_line

_PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
_MORE = (
    "_a_ __b__ snake_case_name",
    "1. one",
    "- [ ] task",
    "[ref]: http://e.example",
    "~~gone~~",
    "a]: b",
    "# h",
    "> q",
)


@cache
def _render(hostile: bool) -> str:
    analysis = synthetic.hostile_analysis() if hostile else synthetic.analysis()
    verdict = synthetic.hostile_verdict() if hostile else synthetic.verdict()
    view = View(analysis, verdict)
    return markdown.render_markdown(build_sections(view), run_id=analysis.run_id, created_at=analysis.created_at)


def _flat(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _flat(token.children or [])


@pytest.mark.parametrize("text", [*synthetic.HOSTILE, *_MORE])
def test_escaped_text_reads_as_itself(text: str) -> None:
    """A text, escaped and read by a Markdown parser, is one paragraph of exactly that text."""
    tokens = _PARSER.parse(markdown.escape_markdown(text))
    assert [t.type for t in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    shown = "".join(t.content for t in tokens[1].children or [])
    assert {t.type for t in tokens[1].children or []} <= {"text", "text_special", "softbreak"}
    assert shown == to_one_line(text).strip()


@pytest.mark.parametrize("text", synthetic.HOSTILE)
def test_code_shows_exactly_the_text(text: str) -> None:
    """Back-ticks in a text cannot end its code span or block."""
    inline = [t for t in _flat(_PARSER.parse(markdown.to_code_span(text))) if t.type == "code_inline"]
    assert [t.content for t in inline] == [to_one_line(text)]
    fences = [t for t in _PARSER.parse("\n".join(markdown.to_code_block(text))) if t.type == "fence"]
    assert len(fences) == 1
    assert "</" not in text or "</" in fences[0].content


def test_ordinary_figures_are_not_littered_with_backslashes() -> None:
    """The file is read as plain text too: names and figures look as they are."""
    text = _render(hostile=False)
    assert "0.41 [0.29, 0.53], n=24" in text
    assert "llama-q4_0" in text
    assert "llama-f16-batched" in text


@pytest.mark.parametrize("hostile", [False, True])
def test_only_our_own_structure_reaches_the_page(hostile: bool) -> None:
    """No HTML, no link and no image but the run's own comes out, and every table row has its header's cells."""
    tokens = list(_flat(_PARSER.parse(_render(hostile))))
    kinds = {t.type for t in tokens}
    assert not kinds & {"html_block", "html_inline", "link_open", "s_open", "hr", "blockquote_open"}
    assert [t.attrs["src"] for t in tokens if t.type == "image"] == ["overview.svg"]
    columns = width = 0
    for token in tokens:
        if token.type == "tr_open":
            width = 0
        elif token.type in ("th_open", "td_open"):
            width += 1
        elif token.type == "thead_close":
            columns = width
        elif token.type == "tr_close" and columns:
            assert width == columns
        elif token.type == "table_close":
            columns = 0


def test_hostile_text_adds_no_heading() -> None:
    """The outline of the page is ours alone: as many level-two headings as sections."""
    for hostile in (False, True):
        tokens = _PARSER.parse(_render(hostile))
        headings = [tokens[i + 1].content for i, t in enumerate(tokens) if t.type == "heading_open" and t.tag == "h2"]
        assert headings[:2] == ["Verdict", "How to read this"]
        assert headings[-1] == "What this report does not claim"
        built = build_sections(View(synthetic.analysis(), synthetic.verdict()))
        assert len(headings) == sum("markdown" in section.media for section in built)


def test_every_table_cell_of_a_pipe_name_stays_one_cell() -> None:
    """A name with pipes and line breaks fills one cell."""
    text = _render(hostile=True)
    row = next(line for line in text.splitlines() if line.startswith("| a \\| b"))
    assert "↵" in row
