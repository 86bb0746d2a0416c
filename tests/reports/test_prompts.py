"""Prompt by prompt: every wording, every distinct answer, who gave it how often, how it differs, how it was read."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

from reports import synthetic
from tempzero.reports import html
from tempzero.reports.answer_strip import Strip
from tempzero.reports.document import PromptItem, PromptList
from tempzero.reports.lookup import View
from tempzero.reports.sections.prompt_by_prompt import build_prompts_section
from tempzero.types.concluded import Analysis, AnswerCount, DistinctAnswer


def _items(analysis: Analysis) -> dict[str, PromptItem]:
    strip, block = build_prompts_section(View(analysis, synthetic.verdict())).blocks
    assert isinstance(strip, Strip)
    assert isinstance(block, PromptList)
    return {item.name: item for item in block.items}


def _given(*given: tuple[str, int], text: str) -> DistinctAnswer:
    return replace(
        synthetic.analysis().answers[2],
        prompt="code-01",
        text=text,
        cut=False,
        given=tuple(AnswerCount(provider=p, condition=synthetic.CONDITION, count=n) for p, n in given),
    )


def test_every_wording_and_every_distinct_text_stands_in_the_page() -> None:
    """A reader needs no other file to see what was asked and what came back, nor a script to read it."""
    analysis = synthetic.analysis()
    section = build_prompts_section(View(analysis, synthetic.verdict()))
    page = unescape(re.sub("<[^>]+>", "", html.render_html((section,), run_id="r", created_at="c")))
    for asked in analysis.asked:
        assert all(part.text in page for part in asked.parts)
    assert all(answer.text in page for answer in analysis.answers if answer.prompt.startswith("code"))
    assert "Let me think." in page


def test_answers_are_counted_by_who_gave_them() -> None:
    """A is the commonest of all; who gave it alone, who another one, who several and who none is seen at a glance."""
    answers = (
        _given(("cpu-f32", 3), ("llama-f16", 3), ("llama-f16-batched", 2), text="One."),
        _given(("llama-q8_0", 3), ("llama-f16-batched", 1), text="Two."),
    )
    item = _items(replace(synthetic.analysis(), answers=answers))["code-01"]
    marks = {mark.who: (mark.text, mark.state) for mark in item.marks}
    assert marks["cpu-f32"] == marks["llama-f16"] == ("A", "same")
    assert marks["llama-q8_0"] == ("B", "other")
    assert marks["llama-f16-batched"] == ("A+1", "mixed")
    assert marks["hosted-example"] == ("–", "none")
    assert [answer.given for answer in item.answers] == [
        "cpu-f32 ×3, llama-f16 ×3, llama-f16-batched ×2",
        "llama-q8_0 ×3, llama-f16-batched ×1",
    ]


def test_a_long_answer_is_shown_by_its_difference_and_nothing_is_lost() -> None:
    """What it shares with A stands in A only, by place and length, so that the page stays small."""
    base = "".join(f"Sentence number {i}. " for i in range(200))
    other = base.replace("number 100", "no 100")
    answers = (_given(("cpu-f32", 3), text=base), _given(("llama-f16", 3), text=other))
    parts = _items(replace(synthetic.analysis(), answers=answers))["code-01"].answers[1].parts
    pieces = parts[-1].pieces
    assert sum(len(piece.text) for piece in pieces) < 600
    shown = [base[p.start : p.start + p.skipped] if p.skipped else p.text for p in pieces if p.kind != "gone"]
    assert "".join(shown) == other
    assert [p.text for p in pieces if p.kind == "new"] == ["no"]


def test_tokens_are_coloured_where_the_reference_read_them() -> None:
    """Each token that the reference would not have said has its margin, and the text stays what it was."""
    item = _items(synthetic.analysis())["arithmetic-01"]
    parts = [answer.parts[-1] for answer in item.answers]
    assert any(piece.level for piece in parts[0].pieces)
    assert "".join(piece.text for piece in parts[0].pieces) == synthetic.analysis().answers[0].text
    marked = [piece for piece in parts[0].pieces if piece.level]
    assert all("margin" in piece.hint for piece in marked)
    assert "tokens not the reference's choice" in item.answers[0].notes


def test_a_reasoning_is_folded_and_compared_by_itself() -> None:
    """It is long and not the answer; where it is the same as A's nothing of it is marked."""
    item = _items(synthetic.analysis())["trivia-01"]
    assert [(part.name, part.folded) for part in item.answers[1].parts] == [("Reasoning", True), ("", False)]


def test_what_has_no_room_is_said_to_be_elsewhere() -> None:
    """A prompt whose texts are not kept is counted, and the file named that has it."""
    analysis = synthetic.analysis()
    strip, block = build_prompts_section(View(replace(analysis, asked=analysis.asked[:20]), synthetic.verdict())).blocks
    assert isinstance(strip, Strip)
    assert isinstance(block, PromptList)
    assert block.more.startswith("4 more prompts")
    assert "tables/prompts.csv" in block.more
