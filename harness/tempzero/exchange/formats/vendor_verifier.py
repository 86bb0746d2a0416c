"""Result files of K2-Vendor-Verifier and MiniMax-Provider-Verifier: one JSONL for each vendor and pass.

A file is one pass over the questions: several files of one vendor (`loop_01/`, `loop_02/` ...) are its repeats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from tempzero.exchange import tables
from tempzero.exchange.formats.chat import completion_cells
from tempzero.exchange.formats.format import OWN_KEY, Format, Rows, Sample
from tempzero.exchange.sources import RecordFile
from tempzero.exchange.tables import Row

_KEYS = frozenset({"data_index", "request", "response", "status", "last_run_at", "hash"})


def _recognises(sample: Sample) -> bool:
    return sample.file.kind == "jsonl" and sample.columns >= _KEYS


def _rows(_files: Sequence[RecordFile], _inputs: Path | None) -> Rows:
    return _read


def _read(file: RecordFile) -> Iterator[Row]:
    path = PurePosixPath(file.name)
    stem = path.stem.removesuffix("results").rstrip("_-.")
    for row in tables.rows(file):
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
    recognises=_recognises,
    rows=_rows,
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
        "temperature": "request.temperature",
        "max_tokens": "request.max_tokens",
        "date": "last_run_at",
        "latency_ms": "duration_ms",
        "request": "request",
    },
    own=OWN_KEY,
)
