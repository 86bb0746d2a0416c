"""The parts of an answer, from all the places where servers put them, whole and streamed alike."""

from __future__ import annotations

from typing import Any

import pytest
from loopback import completion_value
from replies import TOOLS, read_stream, read_whole, with_deltas
from tempzero.answers.answer_parts import AnswerParts, split_answer
from tempzero.types.recorded import Outcome

THINKING = {"type": "thinking", "thinking": "2+2"}
# A message as it comes whole, and its deltas; text "4" and reasoning "2+2" in each.
REASONED: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "reasoning_content (DeepSeek, vLLM)": (
        {"content": "4", "reasoning_content": "2+2"},
        [{"reasoning_content": "2+"}, {"reasoning_content": "2", "content": None}, {"content": "4"}],
    ),
    "reasoning (OpenRouter, Groq)": (
        {"content": "4", "reasoning": "2+2"},
        [{"reasoning": "2+", "content": ""}, {"reasoning": "2", "content": ""}, {"content": "4", "reasoning": None}],
    ),
    "reasoning_details": (
        {"content": "4", "reasoning_details": [{"type": "reasoning.text", "text": "2+2", "index": 0}]},
        [
            {"reasoning_details": [{"type": "reasoning.text", "text": "2+", "index": 0}]},
            {"reasoning_details": [{"type": "reasoning.text", "text": "2", "index": 0}]},
            {"content": "4"},
        ],
    ),
    "both, which say the same once": (
        {"content": "4", "reasoning": "2+2", "reasoning_details": [{"type": "reasoning.summary", "summary": "2+2"}]},
        [
            {"reasoning": "2+2", "reasoning_details": [{"type": "reasoning.summary", "summary": "2+2"}]},
            {"content": "4"},
        ],
    ),
    "several details, one of them encrypted": (
        {
            "content": "4",
            "reasoning_details": [
                {"type": "reasoning.encrypted", "data": "zzz", "index": 1},
                {"type": "reasoning.summary", "summary": "2+2", "index": 0},
            ],
        },
        [
            {"reasoning_details": [{"type": "reasoning.encrypted", "data": "zzz", "index": 1}]},
            {"reasoning_details": [{"type": "reasoning.summary", "summary": "2+2", "index": 0}]},
            {"content": "4"},
        ],
    ),
    "parts of the content (Mistral)": (
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "2+2"}]},
                {"type": "text", "text": "4"},
            ]
        },
        [
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "2+"}]}]},
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "2"}]}]},
            {"content": "4"},
        ],
    ),
    "parts with a plain text": (
        {"content": [THINKING, {"type": "text", "text": "4"}]},
        [{"content": [THINKING]}, {"content": [{"type": "text", "text": "4"}]}],
    ),
    "<think> in the text": (
        {"content": "<think>2+2</think>4"},
        [{"content": "<th"}, {"content": "ink>2+2</think"}, {"content": ">4"}],
    ),
    "a template that opens the block itself": (
        {"content": "2+2</think>4"},
        [{"content": "2+2</"}, {"content": "think>4"}],
    ),
    "<thought> in the text (Gemini)": (
        {"content": "<thought>2+2</thought>4"},
        [{"content": "<thought>2+2</thought>4"}],
    ),
    "[THINK] in the text": ({"content": "[THINK]2+2[/THINK]4"}, [{"content": "[THINK]2+2[/THINK]4"}]),
}


def parts_of(outcome: Outcome) -> AnswerParts:
    assert outcome.completion is not None, outcome
    return split_answer(outcome.completion)


@pytest.mark.parametrize("name", REASONED)
def test_reasoning_is_one_part_wherever_it_comes_in(name: str) -> None:
    """It is output like any other; left out, answers that think otherwise would count as equal."""
    message, deltas = REASONED[name]
    whole, streamed = read_whole(completion_value(None, message=message)), read_stream(with_deltas(*deltas))
    assert parts_of(whole) == AnswerParts(reasoning="2+2", text="4", calls="", refusal=None)
    assert parts_of(streamed) == parts_of(whole)
    assert set(streamed.flags) == set(whole.flags)


def test_encrypted_reasoning_alone_is_not_shown() -> None:
    """What nobody can read is no text; that there was some stands in the count of its tokens."""
    message = {"content": "4", "reasoning_details": [{"type": "reasoning.encrypted", "data": "zzz"}]}
    assert parts_of(read_whole(completion_value(None, message=message))).reasoning is None


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("4 <think>2+2</think>", ""),
        ("the mark </think> ends a block", "what does </think> do?"),
        ("a</think>b</think>", ""),
    ],
)
def test_marks_that_begin_nothing_stay_text(text: str, asked: str) -> None:
    """Where one speaks about them, or they come in disorder, nobody can tell the answer from the thought."""
    assert parts_of(read_whole(completion_value(text), asked_text=asked)).text == text


@pytest.mark.parametrize(
    ("message", "delta"),
    [
        ({"content": None, "refusal": "I cannot"}, {"refusal": "I cannot"}),
        ({"content": [{"type": "refusal", "refusal": "I cannot"}]},) * 2,
    ],
)
def test_a_refusal_is_a_part_of_its_own(message: dict[str, Any], delta: dict[str, Any]) -> None:
    """Two refusals in different words differ, and a refusal is no text."""
    for outcome in (read_whole(completion_value(None, message=message)), read_stream(with_deltas(delta))):
        assert (outcome.status, outcome.kind, outcome.detail) == ("censored", "content_filter", "I cannot")
        assert parts_of(outcome) == AnswerParts(reasoning=None, text="", calls="", refusal="I cannot")


@pytest.mark.parametrize("finish", ["content_filter", "stop"])
def test_an_answer_without_a_message_is_filtered(finish: str) -> None:
    """Azure sends the filter's results and no message; that is no malformed answer."""
    choice = {"message": None, "finish_reason": finish, "content_filter_results": {"hate": {"filtered": True}}}
    outcome = read_whole(completion_value(choice=choice))
    assert (outcome.status, outcome.kind, outcome.detail) == ("censored", "content_filter", f"{finish}, hate")
    choice["content_filter_results"] = {"hate": {"filtered": False}}
    assert (finish == "stop") == (read_whole(completion_value(choice=choice)).kind == "schema")


@pytest.mark.parametrize(
    ("text", "asked", "leaks"),
    [
        ("analysisThe user wants a yes.assistantfinalyes", "", True),
        ("analysis of the assistant's final words", "", False),
        ("yes<|im_end|>", "", True),
        ("<|channel|>analysis<|message|>hm<|end|>", "", True),
        ('<tool_call>{"name": "f"}</tool_call>', "", True),
        ('[TOOL_CALLS][{"name": "f"}]', "", True),
        ("<arg_key>city</arg_key>", "", True),
        ("<｜end▁of▁sentence｜>", "", True),
        ("yes</s>", "", True),
        ("<s>struck</s> out", "", False),
        ("a <| b |> c", "", False),
        ("<b>bold</b> [1] [INSTALL]", "", False),
        ("it ends with <|im_end|>", "what is <|im_end|> for?", False),
    ],
)
def test_a_mark_of_the_template_in_the_text_is_a_leak(text: str, asked: str, leaks: bool) -> None:
    """It tells that the host cuts its model's output in the wrong place; text that asks about it does not."""
    assert ("template_leak" in read_whole(completion_value(text), asked_text=asked).flags) == leaks


def call_pieces(*pieces: dict[str, Any]) -> list[tuple[str, str]]:
    outcome = read_stream(with_deltas(*({"tool_calls": [piece]} for piece in pieces), finish="tool_calls"), **TOOLS)
    assert outcome.completion is not None, outcome
    return [(call.name, call.arguments) for call in outcome.completion.tool_calls]


def piece(arguments: str, *, name: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"function": {"arguments": arguments, **({"name": name} if name else {})}, **fields}


@pytest.mark.parametrize(
    "pieces",
    [
        [piece("{", name="f", index=0, id="a"), piece("}", index=0), piece("{}", name="g", index=1, id="b")],
        [piece("{", name="f", id="a"), piece("}"), piece("{}", name="g", id="b")],
        [piece("{", name="f", id="a"), piece("}", id="a"), piece("{}", name="g", id="b")],
        [piece("{", name="f"), piece("}"), piece("{}", name="g")],
        [piece("{", name="f", index=0, id="a"), piece("}", index=0), piece("{}", name="g", index=0, id="b")],
    ],
)
def test_calls_are_told_apart_however_they_are_numbered(pieces: list[dict[str, Any]]) -> None:
    """Two calls joined to one would be arguments that nobody wrote."""
    assert call_pieces(*pieces) == [("f", "{}"), ("g", "{}")]
