"""Result files of the vendor verifiers of Moonshot and MiniMax."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from exchanging import keys_and_texts, take_in, views, write_jsonl


def result(
    index: int, text: str | None, *, calls: Any = None, provider: str | None = None, **more: Any
) -> dict[str, Any]:
    message = {"content": text, "role": "assistant", "refusal": None, "tool_calls": calls, "reasoning_content": "hm"}
    finish = "tool_calls" if calls else "stop"
    body = {
        "id": f"r{index}{text}{more.pop('unique', '')}",
        "object": "chat.completion",
        "model": "kimi-k2-0905",
        "choices": [{"index": 0, "finish_reason": finish, "message": message}],
        "usage": {"prompt_tokens": 152, "completion_tokens": 20},
        "system_fingerprint": "fp",
    }
    found = {
        "data_index": index,
        "request": {
            "model": "kimi-k2",
            "messages": [{"role": "user", "content": f"question {index}"}],
            "temperature": 0,
        },
        "response": body,
        "status": "success",
        "finish_reason": finish,
        "tool_calls_valid": None,
        "last_run_at": "2026-09-23T15:17:41.617291",
        "duration_ms": 8393,
        "hash": "348d97ed6826703193455c1f4fb2e888",
    }
    return {**found, **({} if provider is None else {"provider": provider}), **more}


def test_a_file_is_a_vendor_and_a_pass(tmp_path: Path) -> None:
    """Vendors by file name, repeats by loop folder; the request is kept word for word."""
    for loop in ("loop_01", "loop_02"):
        for vendor in ("official", "other"):
            rows = [result(i, f"{vendor} {loop} {i}", provider="") for i in (1, 2)]
            write_jsonl(tmp_path / "out" / loop / vendor / f"{vendor}_results.jsonl", rows)
            (tmp_path / "out" / loop / vendor / f"{vendor}_summary.json").write_text("{}")
    run = take_in(tmp_path / "out")
    assert keys_and_texts(run)["official", "1", "default", 1] == "official loop_02 1"
    assert len(keys_and_texts(run)) == 8
    assert {p.claimed_model for p in run.config.providers} == {"imported"}
    record = next(iter(run.records()))
    assert json.loads(record.attempt.exchange.request.body)["messages"] == [{"role": "user", "content": "question 1"}]
    assert record.attempt.exchange.times.end_s == 8.393
    assert record.attempt.exchange.times.started_at == "2026-09-23T15:17:41.617291"
    said = record.attempt.exchange.outcome.completion
    assert said is not None
    assert (said.served_model, said.fingerprint, said.prompt_tokens, said.reasoning_text) == (
        "kimi-k2-0905",
        "fp",
        152,
        "hm",
    )


def test_the_vendor_may_stand_in_the_row_or_the_folder(tmp_path: Path) -> None:
    """An aggregator's rows name the upstream; the default file name names nobody."""
    write_jsonl(tmp_path / "moonshot" / "results.jsonl", [result(1, "a"), result(2, "b", provider="DeepInfra")])
    assert {v.trial.provider for v in views(take_in(tmp_path))} == {"moonshot", "DeepInfra"}


def test_failed_rows_and_their_second_try_are_one_trial(tmp_path: Path) -> None:
    """The incremental mode appends the new try to the same file."""
    failed = result(1, None, status="failed", response={"error": "Error code: 429 - rate limit"}, finish_reason=None)
    write_jsonl(tmp_path / "a_results.jsonl", [failed, result(1, "fine"), {**failed, "data_index": 2}])
    found = views(take_in(tmp_path / "a_results.jsonl"))
    assert [(v.trial.prompt, v.number, v.outcome.status, v.outcome.kind) for v in found] == [
        ("1", 1, "missing", "rate_limited"),
        ("1", 2, "valid", "complete"),
        ("2", 1, "missing", "rate_limited"),
    ]


@pytest.mark.parametrize(
    "message",
    [
        {"content": "four", "reasoning_content": "hm"},
        {"content": "four", "reasoning": "hm"},
        {"content": "four", "reasoning_details": [{"type": "reasoning.text", "text": "h"}, {"summary": "m"}]},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "four"},
            ]
        },
        {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "four"}]},
        {"content": "<think>hm</think>four"},
    ],
    ids=["reasoning_content", "reasoning", "details", "parts of parts", "parts", "think tags"],
)
def test_reasoning_is_found_wherever_it_stands(message: dict[str, Any], tmp_path: Path) -> None:
    """A part that is not read is a part that is not compared, and a list of parts is no silence."""
    row = result(1, "x")
    row["response"]["choices"][0]["message"] = {"role": "assistant", **message}
    row["response"]["usage"] |= {"total_tokens": 180, "completion_tokens_details": {"reasoning_tokens": 8}}
    write_jsonl(tmp_path / "a_results.jsonl", [row])
    said = views(take_in(tmp_path / "a_results.jsonl"))[0].outcome.completion
    assert said is not None
    assert (said.text, said.reasoning_text) == ("four", "hm")
    assert (said.reasoning_tokens, said.total_tokens) == (8, 180)


def test_a_refusal_in_parts_of_the_content_is_one(tmp_path: Path) -> None:
    """What a model refuses with is part of its answer, in a field of its own or within the content."""
    row = result(1, "x")
    content = [{"type": "refusal", "refusal": "I won't"}]
    row["response"]["choices"][0]["message"] = {"role": "assistant", "content": content}
    write_jsonl(tmp_path / "a_results.jsonl", [row, result(2, "fine")])
    outcome = views(take_in(tmp_path / "a_results.jsonl"))[0].outcome
    assert outcome.completion is not None
    assert (outcome.status, outcome.completion.text, outcome.completion.refusal) == ("censored", "", "I won't")


def test_tool_calls_are_compared_without_their_random_ids(tmp_path: Path) -> None:
    """Two vendors that call the same tool with the same arguments agree."""
    texts = []
    for number, arguments in enumerate(('{"city": "Paris", "day": 1}', '{"day":1,"city":"Paris"}')):
        call = {"id": f"random-{number}", "type": "function", "function": {"name": "weather", "arguments": arguments}}
        write_jsonl(tmp_path / f"v{number}" / "results.jsonl", [result(1, "", calls=[call], unique=number)])
        texts += list(keys_and_texts(take_in(tmp_path / f"v{number}")).values())
    assert texts == ['\x1e{"name":"weather","arguments":{"city":"Paris","day":1}}'] * 2
