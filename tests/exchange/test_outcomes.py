"""What is no answer never passes for one; what is an answer is not taken for a failure."""

from __future__ import annotations

from typing import Any

import pytest
from tempzero.exchange.foreign_answers import (
    ForeignAnswer,
    parse_messages,
    parse_number,
    parse_remark,
    parse_timestamp,
    parse_whole_number,
)
from tempzero.exchange.outcomes import build_outcome, classify_ending
from tempzero.types.asked import Message


def answer(text: str | None = "yes", **fields: Any) -> ForeignAnswer:
    return ForeignAnswer(file="x.csv", line=2, cells={}, match=None, provider="a", text=text, **fields)


def ended(text: str | None = "yes", *, as_is: bool = False, **fields: Any) -> tuple[str, str]:
    found = classify_ending(answer(text, **fields), as_is=as_is)
    return found.status, found.kind


FAILURES = [
    "LLM Error",
    "No response",
    "nan",
    "None",
    " NaN\n",
    "<NA>",
    "[ERROR]",
    "Error code: 429 - {'error': {'message': 'Rate limit reached'}}",
    "429 Client Error: Too Many Requests for url: https://api.example/v1",
    "openai.RateLimitError: Error code: 429",
    "litellm.exceptions.Timeout: timed out",
    "requests.exceptions.ConnectionError: ('Connection aborted.')",
    "API Error: overloaded",
    "Error: rate limit exceeded",
    "Traceback (most recent call last):\n  File x",
    "APIConnectionError: Connection error.",
]
ANSWERS = [
    "none",
    "error",
    "No response is possible here, because the premise is false.",
    "HTTP 404 means that the page was not found.",
    "Error handling in Go is explicit: functions return an error value.",
    "An error occurred in 1912 when the ship hit the ice.",
    "The API error rate is 5 %.",
    "Timeout is set with the option --timeout.",
    "0",
    "-",
]
REFUSALS = [
    "I'm sorry, but I can't assist with that.",
    "I’m sorry, I cannot help with that request.",
    "I cannot provide instructions for that.",
    "I'm unable to help with that.",
    "Sorry, but I can't do that.",
    "I must decline.",
    "I apologize, but I cannot fulfill this request.",
]
NO_REFUSALS = [
    "I'm sorry to hear that. Here is what you can do: rest, and drink water.",
    "I can't believe it is not butter, said the man.",
    "I cannot tell a lie: it was me who cut the tree.",
    "Sorry is the hardest word.",
    "I will not be at home at 5, so the answer is 7.",
    "I'm sorry, but I can't see the picture. " + "Still, from your words it is an oak. " * 20,
]


@pytest.mark.parametrize("text", FAILURES)
def test_a_failure_in_the_place_of_an_answer_is_missing(text: str) -> None:
    """A stored failure agrees with itself perfectly, and would make an endpoint look deterministic."""
    assert ended(text)[0] == "missing"
    assert ended(text, as_is=True) == ("valid", "complete")


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_no_whole_answer(text: str) -> None:
    """Fifty equal refusals are not consistency."""
    assert ended(text) == ("censored", "refusal")
    assert ended(text, as_is=True) == ("valid", "complete")


@pytest.mark.parametrize("text", [*ANSWERS, *NO_REFUSALS])
def test_an_answer_that_speaks_of_errors_is_an_answer(text: str) -> None:
    """Models are asked about errors, and may be polite."""
    assert ended(text) == ("valid", "complete")


def test_an_expected_none_is_an_answer() -> None:
    """Where "None" is the right answer it is not taken for a gap."""
    assert ended("None", expected="None") == ("valid", "complete")
    assert ended("None", expected="7")[0] == "missing"


@pytest.mark.parametrize("text", [" ", "\n", "  \n\t"])
def test_white_space_is_an_answer(text: str) -> None:
    """A model that says one blank has said it; a live run compares it too."""
    assert ended(text) == ("valid", "complete")
    assert ended(text, finish_reason="length") == ("censored", "length")


@pytest.mark.parametrize("text", [None, ""])
def test_silence_is_missing(text: str | None) -> None:
    """Two silences never agree, not even as they are."""
    assert ended(text) == ("missing", "empty")
    assert ended(text, as_is=True) == ("missing", "empty")


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"error": "429 Too Many Requests"}, ("missing", "rate_limited")),
        ({"error": "server: HTTP 500"}, ("missing", "server")),
        ({"error": "request timed out"}, ("missing", "timeout")),
        ({"error": "whatever"}, ("missing", "failed")),
        ({"finish_reason": "error"}, ("missing", "failed")),
        ({"finish_reason": "length"}, ("censored", "length")),
        ({"finish_reason": "MAX_TOKENS"}, ("censored", "length")),
        ({"finish_reason": "content_filter"}, ("censored", "content_filter")),
        ({"refusal": "I won't"}, ("censored", "content_filter")),
        ({"cached": "true"}, ("excluded", "cached")),
        ({"finish_reason": "stop"}, ("valid", "complete")),
    ],
)
def test_what_columns_say_counts(fields: dict[str, Any], end: tuple[str, str]) -> None:
    """A column that says how it ended goes before any guess by wording, `--as-is` or not."""
    assert ended("some text", **fields) == end
    assert ended("some text", as_is=True, **fields) == end


def test_half_a_character_is_no_text() -> None:
    """JSON can hold what no UTF-8 file can; it must neither crash nor be repaired in silence."""
    assert ended("broken \ud800") == ("missing", "encoding")
    found = build_outcome(answer("fine", finish_reason="sto\udfffp"), as_is=False)
    assert found.completion is not None
    assert found.completion.finish_reason is None


def test_a_refusal_in_words_of_its_own_is_kept() -> None:
    """OpenAI puts the refusing words beside the content; they are what the model said."""
    words = "I  won't.\n" + "Never. " * 100
    found = build_outcome(answer(None, refusal=words), as_is=False)
    assert found.completion is not None
    assert (found.completion.text, found.completion.refusal) == ("", words)
    assert "\n" not in found.detail
    assert len(found.detail) <= 300


@pytest.mark.parametrize("mark", ["true", "1", "Refused", "content_filter", "content_filter: no detail", "yes"])
def test_a_mark_of_a_refusal_is_none_of_its_words(mark: str) -> None:
    """A column that only says that there was one would make all refusals the same answer."""
    found = build_outcome(answer("I won't", refusal=mark), as_is=False)
    assert found.completion is not None
    assert (found.kind, found.completion.text, found.completion.refusal) == ("content_filter", "I won't", None)


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"finish_reason": "stop"}, ("valid", "empty")),
        ({"finish_reason": "length"}, ("censored", "length")),
        ({"reasoning": "hm"}, ("valid", "empty")),
        ({"reasoning": "hm", "finish_reason": "length"}, ("censored", "length")),
        ({"finish_reason": "error"}, ("missing", "failed")),
    ],
)
def test_an_empty_text_that_ended_is_an_answer(fields: dict[str, Any], end: tuple[str, str]) -> None:
    """Empty is a value where the response says that it ended there, or shows what was thought; a bare gap is none."""
    assert ended("", **fields) == end
    assert ended(None, **fields) == end


def test_an_answer_is_taken_in_by_its_parts() -> None:
    """Reasoning, text and calls that stand in one cell are compared by part like those of our own runs."""
    call = '\x1e{"name":"f","arguments":{"a":1}}'
    said = build_outcome(answer(f"<think>hm</think>I look.\n{call}"), as_is=False).completion
    assert said is not None
    assert (said.reasoning_text, said.text) == ("hm", "I look.")
    assert [(c.name, c.arguments) for c in said.tool_calls] == [("f", '{"a":1}')]
    odd = build_outcome(answer("a\n\x1enot a call"), as_is=False).completion
    assert odd is not None
    assert (odd.text, odd.tool_calls) == ("a\n\x1enot a call", ())
    cut = build_outcome(answer("<think>let me", finish_reason="length"), as_is=False).completion
    assert cut is not None
    assert (cut.reasoning_text, cut.text) == ("let me", "")


@pytest.mark.parametrize(
    "value", [None, "", "None", "nan", False, 0, "0", "false", "ok", "Success", [], {}, "200", 200]
)
def test_words_for_nothing_say_nothing(value: Any) -> None:
    """A column of errors is full of such words where all went well."""
    assert parse_remark(value) is None


def test_values_get_their_types() -> None:
    """Tables write numbers as text, and gaps as anything."""
    assert (parse_number("4.5"), parse_number("nan"), parse_number(""), parse_number(True), parse_number("x")) == (
        4.5,
        None,
        None,
        None,
        None,
    )
    assert (
        parse_whole_number("12"),
        parse_whole_number("12.0"),
        parse_whole_number(12.5),
        parse_whole_number(-1),
        parse_whole_number("1e300"),
    ) == (12, 12, None, None, None)


@pytest.mark.parametrize(
    ("written", "iso"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02 03:04:05.123456", "2026-01-02T03:04:05.123456"),
        ("2024-12-20_19-52-06", "2024-12-20T19:52:06"),
        (1767323045, "2026-01-02T03:04:05+00:00"),
        ("1767323045000", "2026-01-02T03:04:05+00:00"),
        ("07/02/2023, 21:28:40", ""),
        ("20230716", ""),
        ("2026-13-45T00:00:00", ""),
        ({"a": 1}, ""),
        (None, ""),
    ],
)
def test_a_date_in_doubt_is_no_date(written: Any, iso: str) -> None:
    """07/02 is February for some and July for others; nothing is invented."""
    assert parse_timestamp(written) == iso


def test_a_prompt_is_chat_or_words() -> None:
    """A JSON list of messages is a chat; anything else is what the user said."""
    chat = (
        '[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}]'
    )
    assert parse_messages(chat) == (Message(role="system", content="Be brief."), Message(role="user", content="Hi"))
    for text in (
        "Hi",
        "[1, 2]",
        "[not json",
        '[{"role": "tool", "content": "x"}]',
        "[" * 100_000,
        '[{"role":"user","content":"\\udc00"}]',
    ):
        assert parse_messages(text) == (Message(role="user", content=text),)
    assert parse_messages(None) == ()
