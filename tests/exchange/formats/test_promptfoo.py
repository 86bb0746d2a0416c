"""The JSON that `promptfoo eval --output` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from exchanging import keys_and_texts, take_in, views
from tempzero.errors import ExchangeError


def result(provider: str, prompt: str, output: Any, **more: Any) -> dict[str, Any]:
    return {
        "promptIdx": 0,
        "testIdx": 0,
        "promptId": "f" * 64,
        "provider": {"id": provider, "label": ""},
        "prompt": {"raw": prompt, "label": "{{question}}"},
        "vars": {"question": prompt},
        "testCase": {"vars": {"question": prompt}, "assert": [{"type": "equals", "value": "Paris"}]},
        "response": {"output": output, "tokenUsage": {"total": 12, "prompt": 9, "completion": 3}, "cached": False},
        "success": True,
        "failureReason": 0,
        "score": 1,
        "latencyMs": 540,
        "namedScores": {},
        **more,
    }


def write(path: Path, results: list[dict[str, Any]], *, nested: bool = True) -> Path:
    summary: dict[str, Any] = {"version": 3, "timestamp": "2026-01-01T00:00:00Z", "results": results, "stats": {}}
    path.write_text(json.dumps({"evalId": "e", "results": summary if nested else results, "config": {}}))
    return path


@pytest.mark.parametrize("nested", [True, False])
def test_results_are_read(tmp_path: Path, nested: bool) -> None:
    """Repeats of a test have other indices; the prompt tells that they are the same."""
    results = [
        result("openai:gpt-4o", "Capital of France?", "Paris"),
        result("openai:gpt-4o", "Capital of France?", "Paris.", testIdx=1),
        result("openai:gpt-4o-mini", "Capital of France?", {"city": "Paris"}, promptIdx=1),
    ]
    run = take_in(write(tmp_path / "out.json", results, nested=nested))
    found = {(k[0], k[3]): text for k, text in keys_and_texts(run).items()}
    assert found == {
        ("openai:gpt-4o", 0): "Paris",
        ("openai:gpt-4o", 1): "Paris.",
        ("openai:gpt-4o-mini", 0): '{"city":"Paris"}',
    }
    assert run.manifest.suite.prompts[0].expected == "Paris"
    said = views(run)[0].outcome.completion
    assert said is not None
    assert (said.prompt_tokens, said.completion_tokens, views(run)[0].times.end_s) == (9, 3, 0.54)


def test_errors_and_caches_are_no_answers(tmp_path: Path) -> None:
    """A failed assertion is about a real answer; a failed request and a cached reply are not answers."""
    results = [
        result("p", "q0", "x"),
        result("p", "q1", "x", success=False, failureReason=1, error="Expected output to equal Paris"),
        result("p", "q2", None, response=None, success=False, failureReason=2, error="API error: 429 rate limit"),
        result("p", "q3", "x", response={"output": "x", "cached": True}),
        result("p", "q4", "x", response={"error": "timed out"}),
    ]
    run = take_in(write(tmp_path / "out.json", results))
    assert [(v.outcome.status, v.outcome.kind) for v in views(run)] == [
        ("valid", "complete"),
        ("valid", "complete"),
        ("missing", "rate_limited"),
        ("excluded", "cached"),
        ("missing", "timeout"),
    ]


def test_a_document_without_results_is_one_line(tmp_path: Path) -> None:
    """A table export has another shape."""
    (tmp_path / "out.json").write_text(json.dumps({"evalId": "e", "results": {"table": {}}}))
    with pytest.raises(ExchangeError, match=r"has no list at results\.results"):
        take_in(tmp_path / "out.json")
