"""The output of `promptfoo eval --output results.json`: one JSON document with a list of results."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tempzero.errors import ExchangeError
from tempzero.exchange import table_reading
from tempzero.exchange.formats.format import Format, RowReader, Sample
from tempzero.exchange.sources import RecordFile
from tempzero.exchange.table_reading import Row

_RESULT_KEYS = re.compile(rb'"(promptIdx|evalId|failureReason|namedScores)"\s*:')
_REQUEST_FAILED = 2  # promptfoo's failureReason of a request that failed; 1 is a failed assertion


def _recognises_promptfoo(sample: Sample) -> bool:
    return sample.file.kind == "json" and b'"results"' in sample.head and _RESULT_KEYS.search(sample.head) is not None


def _promptfoo_row_reader(_files: Sequence[RecordFile], _inputs: Path | None) -> RowReader:
    return _read_promptfoo_rows


def _read_promptfoo_rows(file: RecordFile) -> Iterator[Row]:
    for number, result in enumerate(_find_result_list(file), start=1):
        if not isinstance(result, dict):
            raise ExchangeError(f"{file.name}: result {number} is not an object")
        yield Row({**result, **_promptfoo_cells(result)}, number)


def _find_result_list(file: RecordFile) -> Sequence[Any]:
    """`results` is the list itself in old versions, and an object around it in newer ones."""
    document = table_reading.read_json_document(file)
    found = document.get("results") if isinstance(document, dict) else None
    inside = found.get("results") if isinstance(found, dict) else found
    if not isinstance(inside, list):
        raise ExchangeError(f"{file.name}: has no list at results.results, where promptfoo puts its results")
    return inside


def _promptfoo_cells(result: Mapping[str, Any]) -> Mapping[str, Any]:
    response = _object_or_empty(result.get("response"))
    usage = _object_or_empty(response.get("tokenUsage") or result.get("tokenUsage"))
    provider, prompt = result.get("provider"), result.get("prompt")
    name = provider.get("label") or provider.get("id") if isinstance(provider, dict) else provider
    error = response.get("error") or (result.get("error") if result.get("failureReason") == _REQUEST_FAILED else None)
    if error is None and not response:
        error = result.get("error") or "no response"
    return {
        "@provider": name,
        "@model": provider.get("id") if isinstance(provider, dict) else provider,
        "@prompt": prompt.get("raw") if isinstance(prompt, dict) else prompt,
        "@text": response.get("output"),
        "@error": error,
        "@cached": response.get("cached"),
        "@finish_reason": response.get("finishReason"),
        "@prompt_tokens": usage.get("prompt"),
        "@completion_tokens": usage.get("completion"),
        "@expected": _expected_answer(_object_or_empty(result.get("testCase"))),
    }


def _expected_answer(case: Mapping[str, Any]) -> str | None:
    """What the first assertion of equality asks for."""
    assertions = case.get("assert")
    for assertion in assertions if isinstance(assertions, list) else []:
        if isinstance(assertion, dict) and assertion.get("type") == "equals":
            value = assertion.get("value")
            return value if isinstance(value, str) and "{{" not in value else None
    return None


def _object_or_empty(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


PROMPTFOO = Format(
    name="promptfoo",
    about="output of promptfoo eval, JSON",
    recognises=_recognises_promptfoo,
    rows=_promptfoo_row_reader,
    fields={
        "provider": "@provider",
        "model": "@model",
        "prompt": "@prompt",
        "text": "@text[]",
        "error": "@error",
        "cached": "@cached",
        "finish_reason": "@finish_reason",
        "prompt_tokens": "@prompt_tokens",
        "completion_tokens": "@completion_tokens",
        "expected": "@expected",
        "latency_ms": "latencyMs",
    },
)
