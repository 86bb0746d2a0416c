"""What a 2xx body is worth: a completion only where there is one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import completion_value
from tempzero.engines.hosted.fault_catalogue import Break, Reply
from tempzero.engines.hosted.response_reading import classify_reply
from tempzero.types.recorded import Completion, Outcome


def reading(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None, **fields: Any) -> Outcome:
    shown = {"content-type": "application/json", **(headers or {})}
    return classify_reply(
        Reply(**{"asked_model": "m", "status": status, "headers": shown, "body": body, "broken": None, **fields})
    )


def answered(text: str | None = "yes", **fields: Any) -> Outcome:
    return reading(json.dumps(completion_value(text, **fields)).encode())


def completed(text: str | None = "yes", **fields: Any) -> Completion:
    completion = answered(text, **fields).completion
    assert completion is not None
    return completion


# --- never an answer out of rubbish ----------------------------------------------------------

RUBBISH = {
    "empty": (b"", "empty_body", "yes"),
    "blank": (b"\n\n \n", "empty_body", "yes"),
    "HTML": (b"<html>Bad gateway</html>", "not_json", "yes"),
    "HTML said to be JSON": (b"<!DOCTYPE html>", "not_json", "yes"),
    "an event stream without an answer": (b'data: {"choices":[]}\n\n', "truncated_stream", "yes"),
    "half an object": (b'{"choices":[{"index":0,"message":{"content":"ye', "not_json", "yes"),
    "nested without end": (b"[" * 100_000, "not_json", "yes"),
    "a list": (b"[]", "schema", "never"),
    "a text": (b'"yes"', "schema", "never"),
    "no choices": (b'{"id":"x"}', "no_choices", "once"),
    "null choices": (b'{"choices":null}', "no_choices", "once"),
    "empty choices": (b'{"choices":[]}', "no_choices", "once"),
    "choices of another type": (b'{"choices":{"0":{}}}', "schema", "never"),
    "a choice of another type": (b'{"choices":["yes"]}', "schema", "never"),
    "a message without content": (b'{"choices":[{"message":{},"finish_reason":"stop"}]}', "schema", "never"),
    "a choice without a message": (b'{"choices":[{"text":"yes"}]}', "schema", "never"),
    "content of another type": (b'{"choices":[{"message":{"content":42}}]}', "schema", "never"),
    "content of unknown parts": (b'{"choices":[{"message":{"content":[{"text":1}]}}]}', "schema", "never"),
    "text that is not UTF-8": (b'{"choices":[{"message":{"content":"\xff"}}]}', "encoding", "never"),
    "half a character": (b'{"choices":[{"message":{"content":"\\ud83d"}}]}', "encoding", "never"),
    "NUL in the text": (b'{"choices":[{"message":{"content":"a\\u0000"}}]}', "encoding", "never"),
    "an error": (b'{"error":{"code":400,"message":"no"}}', "inband_error", "never"),
    "an error to wait for": (b'{"error":{"code":429,"message":"slow down"}}', "inband_error", "yes"),
    "an error by its words": (b'{"error":{"message":"upstream overloaded"}}', "inband_error", "yes"),
    "an error of money": (b'{"error":{"code":"insufficient_quota"}}', "inband_error", "never"),
    "an error as text": (b'{"error":"something"}', "inband_error", "once"),
    "an error in vLLM's shape": (b'{"object":"error","message":"no","code":500}', "inband_error", "yes"),
    "an error in Cloudflare's shape": (
        b'{"success":false,"errors":[{"code":1,"message":"no"}]}',
        "inband_error",
        "once",
    ),
    "an error beside an answer": (
        b'{"error":{"message":"x"},"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}]}',
        "inband_error",
        "once",
    ),
    "an error in the choice": (
        b'{"choices":[{"message":{"content":"ye"},"finish_reason":"error","error":{"code":502}}]}',
        "inband_error",
        "yes",
    ),
    "a choice that ended in error": (
        b'{"choices":[{"message":{"content":"ye"},"finish_reason":"error"}]}',
        "inband_error",
        "once",
    ),
}


@pytest.mark.parametrize("name", RUBBISH)
def test_rubbish_is_missing_with_its_class(name: str) -> None:
    """Every one of these is a success to some client library."""
    body, kind, retry = RUBBISH[name]
    outcome = reading(body)
    assert (outcome.status, outcome.kind, outcome.retry) == ("missing", kind, retry)
    assert outcome.completion is None


def test_compressed_bytes_are_named_as_such() -> None:
    """Asked for plain bytes, a provider that compresses must not look like one that sends garbage."""
    outcome = reading(b"\x1f\x8b\x08\x00", headers={"content-encoding": "gzip"})
    assert (outcome.kind, outcome.retry) == ("encoding", "once")
    assert "gzip" in outcome.detail


def test_a_body_that_broke_off_is_no_answer_even_if_it_parses() -> None:
    """What stands there may be a prefix."""
    whole = json.dumps(completion_value()).encode()
    outcome = reading(whole, broken=Break(kind="interrupted", detail="broke off"))
    assert (outcome.status, outcome.kind, outcome.retry) == ("missing", "interrupted", "yes")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
# Where the hostile value is put: at the top, in the choice, in the message, in the usage.
PLACES = [
    *((0, name) for name in ("choices", "id", "model", "usage", "provider", "error", "object", "success", "x_groq")),
    *((1, name) for name in ("message", "finish_reason", "index", "token_ids", "logprobs", "error", "usage")),
    *((2, name) for name in ("content", "reasoning", "refusal", "tool_calls")),
    *((3, name) for name in ("prompt_tokens", "completion_tokens", "prompt_tokens_details")),
]


@settings(max_examples=150, deadline=None)
@given(place=st.sampled_from(PLACES), hostile=JSON, status=st.sampled_from([200, 200, 429]))
def test_no_json_makes_reading_fail(place: tuple[int, str], hostile: Any, status: int) -> None:
    """A hostile provider may spoil its own row, never the run: whatever it sends can be recorded."""
    value = completion_value(provider="x")
    targets = [value, value["choices"][0], value["choices"][0]["message"], value["usage"]]
    targets[place[0]][place[1]] = hostile
    outcome = reading(json.dumps(value).encode(), status=status)
    assert outcome.status in ("valid", "censored", "missing", "excluded")
    assert msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome) == outcome


@settings(max_examples=100, deadline=None)
@given(
    body=st.binary(max_size=60),
    status=st.integers(100, 599),
    stated=st.text(max_size=20),
    date=st.text(max_size=20),
)
def test_no_bytes_and_no_headers_make_reading_fail(body: bytes, status: int, stated: str, date: str) -> None:
    """The same for what is not JSON at all, and for Retry-After."""
    outcome = reading(body, status=status, headers={"retry-after": stated, "date": date, "retry-after-ms": date})
    assert outcome.status == "missing"
    assert outcome.completion is None


# --- what kind of answer ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "status", "kind"),
    [
        ({}, "valid", "complete"),
        ({"text": "", "finish_reason": "stop"}, "valid", "empty"),
        ({"text": None, "finish_reason": "stop"}, "valid", "empty"),
        ({"finish_reason": "length"}, "censored", "length"),
        ({"finish_reason": "max_tokens"}, "censored", "length"),
        ({"text": None, "finish_reason": "length", "message": {"reasoning": "hm"}}, "censored", "length"),
        ({"finish_reason": "content_filter"}, "censored", "content_filter"),
        ({"text": None, "message": {"refusal": "I cannot"}}, "censored", "content_filter"),
    ],
)
def test_complete_empty_and_cut_answers_are_told_apart(fields: dict[str, Any], status: str, kind: str) -> None:
    """Only complete texts may be compared; an empty answer is an answer, a filtered one is not."""
    outcome = answered(**fields)
    assert (outcome.status, outcome.kind, outcome.retry) == (status, kind, "never")
    assert outcome.completion is not None


@pytest.mark.parametrize(
    ("finish_reason", "flags"),
    [
        ("stop", ()),
        (None, ("finish_reason_missing",)),
        ("", ("finish_reason_missing",)),
        ("banana", ("finish_reason_unknown",)),
    ],
)
def test_a_finish_reason_nobody_knows_is_kept_and_flagged(finish_reason: str | None, flags: tuple[str, ...]) -> None:
    """Null stays null: inventing "stop" would hide a difference between providers."""
    outcome = answered(finish_reason=finish_reason)
    assert (outcome.status, outcome.flags) == ("valid", flags)
    assert outcome.completion is not None
    assert outcome.completion.finish_reason == finish_reason


def test_an_unasked_tool_call_is_flagged() -> None:
    """It is an answer like any other."""
    outcome = answered(None, finish_reason="tool_calls", message={"tool_calls": [{"function": {"name": "f"}}]})
    assert (outcome.status, outcome.kind) == ("valid", "complete")
    assert outcome.flags == ("unexpected_tool_call",)


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": "4", "reasoning": "2+2"}, "4", "2+2"),
        ({"content": "4", "reasoning_content": "2+2"}, "4", "2+2"),
        ({"content": "<think>2+2</think>\n\n4"}, "\n\n4", "2+2"),
        ({"content": "\n<think></think>4"}, "4", ""),
        ({"content": "4 <think>2+2</think>"}, "4 <think>2+2</think>", None),
        ({"content": "4", "reasoning": ""}, "4", None),
        ({"content": "4", "reasoning": {"odd": 1}}, "4", None),
    ],
)
def test_reasoning_is_kept_apart_from_the_answer(message: dict[str, Any], text: str, reasoning: str | None) -> None:
    """Two providers that spell reasoning differently still give the same answer."""
    completion = completed(message=message)
    assert (completion.text, completion.reasoning_text) == (text, reasoning)


def test_a_thought_cut_by_the_limit_is_no_answer_text() -> None:
    """The budget went into thinking: reasoning without an answer, censored."""
    outcome = answered("<think>let me see", finish_reason="length")
    assert outcome.status == "censored"
    assert outcome.completion is not None
    assert (outcome.completion.text, outcome.completion.reasoning_text) == ("", "let me see")


def test_a_thought_never_closed_stays_what_it_is() -> None:
    """Nobody can tell the answer from the thought; the text is left alone and flagged."""
    outcome = answered("<think>let me see", finish_reason="stop")
    assert outcome.flags == ("think_block_open",)
    assert outcome.completion is not None
    assert outcome.completion.text == "<think>let me see"


def test_text_parts_are_joined() -> None:
    """Some servers answer with a list of parts."""
    outcome = answered(message={"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]})
    assert outcome.flags == ("content_parts",)
    assert outcome.completion is not None
    assert outcome.completion.text == "ab"


def test_of_several_choices_the_first_by_index_counts() -> None:
    """Choices may come in any order."""
    value = completion_value("second", choice={"index": 1})
    value["choices"].append(completion_value("first")["choices"][0])
    outcome = reading(json.dumps(value).encode())
    assert outcome.flags == ("several_choices",)
    assert outcome.completion is not None
    assert outcome.completion.text == "first"


def test_text_is_kept_to_the_last_character() -> None:
    """Raw comparison: no strip, no normalisation, no lost line separators."""
    text = " \u2028e\u0301\r\n\u0085🙂\ufeff "
    assert completed(text).text == text


# --- who answered, and what it cost ----------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "flags"),
    [
        ({"model": "M"}, ()),
        ({"model": "another"}, ("model_mismatch",)),
        ({"model": None}, ("model_missing",)),
        ({"usage": None}, ("usage_missing",)),
        ({"usage": {"prompt_tokens": "11", "completion_tokens": -1}}, ("usage_implausible",)),
        ({"usage": {"prompt_tokens": 10**30, "completion_tokens": 1}}, ("usage_implausible",)),
        ({"id": "\ud800"}, ("metadata_encoding",)),
    ],
)
def test_odd_metadata_is_flagged_and_does_not_cost_the_answer(fields: dict[str, Any], flags: tuple[str, ...]) -> None:
    """The text is sound; what is said about it is not, and no count is made up."""
    outcome = answered(**fields)
    assert (outcome.status, outcome.flags) == ("valid", flags)


@pytest.mark.parametrize(
    ("asked", "served"), [("llama:cerebras", "llama"), ("org/Llama", "llama"), ("org/llama:free", "org/llama")]
)
def test_a_routers_spelling_is_the_same_model(asked: str, served: str) -> None:
    """A suffix or folder of the id is how it was routed, not another model."""
    body = json.dumps(completion_value(model=served)).encode()
    assert reading(body, asked_model=asked).flags == ()


def test_counts_are_found_where_providers_put_them() -> None:
    """Cached and reasoning tokens have more than one name, usage more than one place."""
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    whole = completed(usage=usage)
    assert (whole.prompt_tokens, whole.completion_tokens, whole.cached_tokens, whole.reasoning_tokens) == (5, 3, 4, 2)
    assert completed(usage={"prompt_tokens": 5, "prompt_cache_hit_tokens": 4}).cached_tokens == 4
    assert completed(usage=None, choice={"usage": usage}).prompt_tokens == 5
    assert completed(usage=None, x_groq={"usage": usage}).prompt_tokens == 5


@pytest.mark.parametrize(
    "fields",
    [
        {"choice": {"token_ids": [1, 2]}},
        {"choice": {"tokens": [1, 2]}},
        {"choice": {"logprobs": {"token_ids": [1, 2]}}},
        {"x_groq": {"debug": {"output_token_ids": [1, 2]}}},
        {"__verbose": {"tokens": [1, 2]}},
    ],
)
def test_token_ids_are_found_where_providers_put_them(fields: dict[str, Any]) -> None:
    """Exact ids spare a re-tokenisation that is not unique."""
    assert completed(**fields).token_ids == (1, 2)


@pytest.mark.parametrize("odd", [[], ["a"], [True], [-1], [2**40], "12", {"0": 1}, [1.5]])
def test_what_is_no_list_of_ids_is_none(odd: Any) -> None:
    """Half understood ids would be worse than none."""
    assert completed(choice={"token_ids": odd}).token_ids is None


@pytest.mark.parametrize(
    "headers",
    [
        {"x-openrouter-cache-status": "HIT"},
        {"cf-aig-cache-status": "HIT"},
        {"x-portkey-cache-status": "SEMANTIC HIT"},
        {"x-cache": "Hit from cloudfront"},
        {"age": "12"},
        {"x-litellm-semantic-similarity": "0.99"},
    ],
)
def test_a_replayed_answer_is_excluded(headers: dict[str, str]) -> None:
    """A response cache makes every repeat identical: counted, it would prove a determinism that is not there."""
    outcome = reading(json.dumps(completion_value()).encode(), headers=headers)
    assert (outcome.status, outcome.kind, outcome.retry) == ("excluded", "cached", "once")


def test_a_text_that_cost_no_token_is_a_replayed_one() -> None:
    """One router gives its cache away by nothing but its counters."""
    outcome = answered(usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})
    assert outcome.kind == "cached"


@pytest.mark.parametrize("headers", [{"cf-cache-status": "DYNAMIC"}, {"x-cache": "Miss from cloudfront"}, {"age": "0"}])
def test_a_cache_that_was_asked_in_vain_changes_nothing(headers: dict[str, str]) -> None:
    """Nearly every hosted answer passes some cache."""
    assert reading(json.dumps(completion_value()).encode(), headers=headers).status == "valid"
