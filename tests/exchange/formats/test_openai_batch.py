"""Output files of OpenAI's Batch API, with and without the input file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from exchanging import keys_and_texts, take_in, views, write_jsonl
from tempzero.errors import ExchangeError


def output(
    custom_id: str, text: str | None, *, status: int = 200, error: Any = None, model: str = "gpt-4o-2024-08-06"
) -> dict[str, Any]:
    body: dict[str, Any] = {"error": {"message": "Rate limit reached", "code": "rate_limit"}}
    if text is not None:
        body = {
            "id": f"chatcmpl-{custom_id}",
            "model": model,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 2},
        }
    response = None if error else {"status_code": status, "request_id": "r", "body": body}
    return {"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": response, "error": error}


def request(custom_id: str, question: str) -> dict[str, Any]:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 9}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


OUTPUT = [output("r-2", "b"), output("r-1", "a"), output("r-3", None, status=429)]
INPUT = [request("r-1", "same"), request("r-2", "same"), request("r-3", "other")]


@pytest.mark.parametrize("beside", [True, False])
def test_the_input_file_tells_the_questions(tmp_path: Path, beside: bool) -> None:
    """Requests with the same messages are repeats, whatever their ids."""
    write_jsonl(tmp_path / "out" / "batch_output.jsonl", OUTPUT)
    inputs = write_jsonl(tmp_path / ("out" if beside else "in") / "batch_input.jsonl", INPUT)
    run = take_in(tmp_path / "out", inputs=None if beside else inputs)
    texts = {p.id: p.messages[0].content for p in run.manifest.suite.prompts}
    found = {(k[0], texts[k[1]], k[3]): text for k, text in keys_and_texts(run).items()}
    assert found == {("gpt-4o", "same", 0): "b", ("gpt-4o", "same", 1): "a", ("gpt-4o", "other", 0): None}
    assert (run.config.providers[0].temperature, run.config.providers[0].max_tokens) == (0.0, 9)
    assert [v.outcome.kind for v in views(run)] == ["complete", "complete", "rate_limited"]


def test_without_it_the_ids_are_the_questions(tmp_path: Path) -> None:
    """Several output files of the same requests are repeats."""
    for number in (1, 2):
        rows = [
            {**output("q1", f"a{number}"), "id": number},
            output("q2", None, error={"code": "batch_expired", "message": "x"}),
        ]
        rows[0]["response"]["body"]["id"] = f"chatcmpl-{number}"
        write_jsonl(tmp_path / f"out_{number}.jsonl", rows)
    found = keys_and_texts(take_in(tmp_path))
    assert {(k[0], k[1], k[3]): text for k, text in found.items()} == {
        ("gpt-4o-2024-08-06", "q1", 0): "a1",
        ("gpt-4o-2024-08-06", "q1", 1): "a2",
        ("gpt-4o-2024-08-06", "q2", 0): None,
        ("gpt-4o-2024-08-06", "q2", 1): None,
    }


def test_an_input_file_of_another_batch_is_noticed(tmp_path: Path) -> None:
    """Else answers would stand under questions that nobody asked."""
    write_jsonl(tmp_path / "output.jsonl", OUTPUT)
    inputs = write_jsonl(tmp_path / "in" / "input.jsonl", INPUT[:1])
    with pytest.raises(ExchangeError, match=r'output\.jsonl:1: custom_id "r-2" does not occur in the input file'):
        take_in(tmp_path / "output.jsonl", inputs=inputs)
    with pytest.raises(ExchangeError, match=r"nowhere\.jsonl: no such file"):
        take_in(tmp_path / "output.jsonl", inputs=tmp_path / "nowhere.jsonl")
