"""Result files of K2-Vendor-Verifier and MiniMax-Provider-Verifier: one JSONL for each vendor and pass.

A file is one pass over the questions: several files of one vendor (`loop_01/`, `loop_02/` ...) are its repeats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from tempzero.exchange import table_reading
from tempzero.exchange.formats.chat_completion import completion_cells
from tempzero.exchange.formats.format import OWN_KEY, Format, RowReader, Sample
from tempzero.exchange.sources import RecordFile
from tempzero.exchange.table_reading import Row

_RESULT_COLUMNS = frozenset({"data_index", "request", "response", "status", "last_run_at", "hash"})


def _recognises_vendor_verifier(sample: Sample) -> bool:
    return sample.file.kind == "jsonl" and sample.columns >= _RESULT_COLUMNS


def _vendor_verifier_row_reader(_files: Sequence[RecordFile], _inputs: Path | None) -> RowReader:
    return _read_vendor_verifier_rows


def _read_vendor_verifier_rows(file: RecordFile) -> Iterator[Row]:
    path = PurePosixPath(file.name)
    stem = path.stem.removesuffix("results").rstrip("_-.")
    for row in table_reading.read_rows(file):
        request = row.cells.get("request")
        asked = request if isinstance(request, dict) else {}
        cells = {**row.cells, **completion_cells(row.cells.get("response"))}
        cells["@provider"] = row.cells.get("provider") or stem or path.parent.name or asked.get("model")
        cells["@prompt"] = asked.get("messages") or asked.get("prompt")
        if row.cells.get("status") not in (None, "success"):
            cells["@error"] = cells["@error"] or row.cells.get("status")
        yield Row(cells, row.line)


VENDOR_VERIFIER = Format(
    name="vendor-verifier",
    about="results of K2-Vendor-Verifier or MiniMax-Provider-Verifier, JSONL",
    recognises=_recognises_vendor_verifier,
    rows=_vendor_verifier_row_reader,
    fields={
        "provider": "@provider",
        "model": "request.model",
        "id": "data_index",
        "prompt": "@prompt",
        "repeat": "@path",
        "text": "@text",
        "error": "@error",
        "refusal": "@refusal",
        "reasoning": "@reasoning",
        "finish_reason": "@finish_reason",
        "served_model": "@served_model",
        "fingerprint": "@fingerprint",
        "response_id": "@response_id",
        "prompt_tokens": "@prompt_tokens",
        "completion_tokens": "@completion_tokens",
        "reasoning_tokens": "@reasoning_tokens",
        "total_tokens": "@total_tokens",
        "temperature": "request.temperature",
        "max_tokens": "request.max_tokens",
        "date": "last_run_at",
        "latency_ms": "duration_ms",
        "request": "request",
    },
    own=OWN_KEY,
)
