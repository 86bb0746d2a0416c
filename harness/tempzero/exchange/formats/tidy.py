"""The tidy table that `tempzero export` writes (CSV, JSONL or Parquet): one row for each attempt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tempzero.exchange.formats.format import Format, RowReader, Sample, read_complete_rows
from tempzero.exchange.sources import RecordFile
from tempzero.exchange.table_reading import Row

TIDY_COLUMNS = (
    "provider",
    "model",
    "claims",
    "prompt_id",
    "family",
    "condition",
    "repeat",
    "attempt",
    "status",
    "kind",
    "detail",
    "text",
    "reasoning",
    "refusal",
    "expected",
    "prompt",
    "finish_reason",
    "served_model",
    "backend",
    "fingerprint",
    "response_id",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "total_tokens",
    "started_at",
    "latency_s",
    "temperature",
    "top_p",
    "max_tokens",
    "request_sha256",
)
# Tables of before lack these: nothing is known of them there.
_LATER_COLUMNS = ("refusal", "reasoning_tokens", "total_tokens")
_ALL_COLUMNS = frozenset(TIDY_COLUMNS) - {*_LATER_COLUMNS}
# A text that a spreadsheet would take for a formula (or that begins with this mark) gets this mark in CSV.
FORMULA_MARK = "'"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", FORMULA_MARK)


def guard_formula(text: str) -> str:
    """A text as it stands in the CSV: no spreadsheet takes it for a formula."""
    return f"{FORMULA_MARK}{text}" if text.startswith(_FORMULA) else text


def unguard_formula(text: str) -> str:
    """The text that `guarded` was given."""
    return text[1:] if text.startswith(FORMULA_MARK) and text[1:].startswith(_FORMULA) else text


def state_finish_reason(kind: str, stated: str | None) -> str | None:
    """The finish reason by which an answer's ending is known again: empty and cut ones may have come without."""
    return "length" if kind == "length" else stated or ("stop" if kind == "empty" else None)


def _recognises_tidy(sample: Sample) -> bool:
    return sample.columns >= _ALL_COLUMNS


def _tidy_row_reader(_files: Sequence[RecordFile], _inputs: Path | None) -> RowReader:
    return _read_tidy_rows


def _read_tidy_rows(file: RecordFile) -> Iterator[Row]:
    for row in read_complete_rows(file, _ALL_COLUMNS):
        cells = {**dict.fromkeys(_LATER_COLUMNS), **row.cells}
        if file.kind == "csv":
            cells = {k: v and unguard_formula(v) for k, v in cells.items()}
        status, said = cells["status"], f"{cells['kind']}: {cells['detail'] or ''}"
        cells["@error"] = said if status == "missing" else None
        cells["@refusal"] = cells["refusal"] or (said if status == "censored" and cells["kind"] != "length" else None)
        cells["@finish_reason"] = state_finish_reason(cells["kind"], cells["finish_reason"])
        cells["@cached"] = "cached" if status == "excluded" else None
        yield Row(cells, row.line)


TIDY = Format(
    name="tempzero",
    about="the tidy table of `tempzero export`",
    recognises=_recognises_tidy,
    rows=_tidy_row_reader,
    as_is=True,
    fields={
        "provider": "provider",
        "model": "model",
        "claims": "claims",
        "id": "prompt_id",
        "prompt": "prompt",
        "family": "family",
        "condition": "condition",
        "repeat": "repeat",
        "text": "text",
        "reasoning": "reasoning",
        "expected": "expected",
        "error": "@error",
        "refusal": "@refusal",
        "cached": "@cached",
        "finish_reason": "@finish_reason",
        "served_model": "served_model",
        "backend": "backend",
        "fingerprint": "fingerprint",
        "response_id": "response_id",
        "prompt_tokens": "prompt_tokens",
        "completion_tokens": "completion_tokens",
        "reasoning_tokens": "reasoning_tokens",
        "total_tokens": "total_tokens",
        "date": "started_at",
        "latency_s": "latency_s",
        "temperature": "temperature",
        "top_p": "top_p",
        "max_tokens": "max_tokens",
    },
)
