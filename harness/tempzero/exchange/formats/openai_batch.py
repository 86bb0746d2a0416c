"""Output files of OpenAI's Batch API, with the input file for the questions where it lies beside or is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

from tempzero.errors import ExchangeError
from tempzero.exchange import table_reading
from tempzero.exchange.formats.chat_completion import EMPTY_CELLS, completion_cells
from tempzero.exchange.formats.format import OWN_COLUMN, OWN_KEY, Format, RowReader, Sample, read_complete_rows
from tempzero.exchange.sources import RecordFile
from tempzero.exchange.table_reading import Row

_OUTPUT_COLUMNS = frozenset({"custom_id", "response", "error"})
_INPUT_COLUMNS = frozenset({"custom_id", "method", "url", "body"})


def _recognises_openai_batch(sample: Sample) -> bool:
    return sample.file.kind == "jsonl" and sample.columns >= _OUTPUT_COLUMNS and not sample.columns >= _INPUT_COLUMNS


def _is_batch_input(sample: Sample) -> bool:
    return sample.file.kind == "jsonl" and sample.columns >= _INPUT_COLUMNS


def _openai_batch_row_reader(files: Sequence[RecordFile], inputs: Path | None) -> RowReader:
    """Questions by custom_id, from the input files; without any, the custom_id itself is the question."""
    asked: dict[str, Any] = {}
    sources = [*files, *([table_reading.record_file_at(inputs, "jsonl")] if inputs is not None else [])]
    for file in sources:
        for row in table_reading.read_rows(file):
            if row.cells.keys() >= _INPUT_COLUMNS:
                asked[str(row.cells["custom_id"])] = row.cells["body"]

    def read(file: RecordFile) -> Iterator[Row]:
        # A failed request names no model; without the input file it is taken to be that of the others.
        models = (_openai_batch_cells(file, row, asked)["@model"] for row in read_complete_rows(file, _OUTPUT_COLUMNS))
        model = next((m for m in models if m), PurePosixPath(file.name).stem)
        for row in read_complete_rows(file, _OUTPUT_COLUMNS):
            cells = {**row.cells, **_openai_batch_cells(file, row, asked)}
            cells["@model"] = cells["@model"] or model
            yield Row(cells, row.line)

    return read


def _openai_batch_cells(file: RecordFile, row: Row, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(row.cells["custom_id"])
    if asked and name not in asked:
        raise ExchangeError(f'{file.name}:{row.line}: custom_id "{name}" does not occur in the input file')
    body = asked.get(name)
    request = body if isinstance(body, dict) else {}
    response = row.cells.get("response")
    answer = response if isinstance(response, dict) else {}
    status = answer.get("status_code")
    said = (
        completion_cells(answer.get("body"))
        if not row.cells.get("error")
        else {**EMPTY_CELLS, "@error": row.cells["error"]}
    )
    if isinstance(status, int) and status >= 400:
        said = {**said, "@error": f"{status} {said['@error'] or ''}"}
    return {
        **said,
        "@model": request.get("model") or said["@served_model"],
        "@prompt": request.get("messages") or request.get("prompt") if asked else None,
        "@id": None if asked else name,
        "@request": request or None,
        "@temperature": request.get("temperature"),
        "@max_tokens": request.get("max_completion_tokens") or request.get("max_tokens"),
        OWN_COLUMN: {**_exported_fields(row), **(parse_custom_id(name) or {})},
    }


def _exported_fields(row: Row) -> Mapping[str, Any]:
    own = row.cells.get(OWN_COLUMN)
    return own if isinstance(own, dict) else {}


def key_to_custom_id(provider: str, prompt: str, condition: str, repeat: int) -> str:
    """A custom_id that holds a trial's key."""
    return "/".join([OWN_COLUMN, *(quote(part, safe="") for part in (provider, condition, prompt, str(repeat)))])


def parse_custom_id(custom_id: str) -> Mapping[str, str] | None:
    """The key in a custom_id that `written_key` made, else None."""
    parts = custom_id.split("/")
    if len(parts) != 5 or parts[0] != OWN_COLUMN:
        return None
    provider, condition, prompt, repeat = map(unquote, parts[1:])
    return {"provider": provider, "condition": condition, "prompt": prompt, "repeat": repeat}


OPENAI_BATCH = Format(
    name="openai-batch",
    about="output of OpenAI's Batch API, JSONL",
    recognises=_recognises_openai_batch,
    beside=_is_batch_input,
    rows=_openai_batch_row_reader,
    fields={
        "provider": "@model",
        "claims": "@model",
        "model": "@model",
        "id": "@id",
        "prompt": "@prompt",
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
        "temperature": "@temperature",
        "max_tokens": "@max_tokens",
        "request": "@request",
    },
    own=OWN_KEY,
    exported_here=lambda sample: str(sample.row.get("custom_id")).startswith(f"{OWN_COLUMN}/"),
)
