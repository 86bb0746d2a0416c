"""Samples of lm-evaluation-harness (`--log_samples`): samples_<task>_<date>.jsonl in a folder for each model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from tempzero.errors import ExchangeError
from tempzero.exchange.formats.format import OWN_COLUMN, OWN_KEY, Format, RowReader, Sample, read_complete_rows
from tempzero.exchange.sources import RecordFile
from tempzero.exchange.table_reading import Row

_SAMPLE_COLUMNS = frozenset({"doc_id", "doc", "target", "arguments", "resps", "filtered_resps"})
_SAMPLE_FILE_STEM = re.compile(r"samples_(?P<task>.+?)(?:_(?P<date>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d)(?:[.,-]\d+)?)?$")


def _recognises_lm_eval(sample: Sample) -> bool:
    return sample.file.kind == "jsonl" and sample.columns >= _SAMPLE_COLUMNS


def _lm_eval_row_reader(_files: Sequence[RecordFile], _inputs: Path | None) -> RowReader:
    return _read_lm_eval_rows


def _read_lm_eval_rows(file: RecordFile) -> Iterator[Row]:
    """One row for each response; a document that stands there once for each filter is taken once."""
    named = _SAMPLE_FILE_STEM.match(PurePosixPath(file.name).stem)
    task, date = (named["task"], named["date"]) if named else (PurePosixPath(file.name).stem, None)
    filters: dict[str, Any] = {}
    for row in read_complete_rows(file, _SAMPLE_COLUMNS):
        document = json.dumps(row.cells["doc_id"])
        if filters.setdefault(document, row.cells.get("filter")) != row.cells.get("filter"):
            continue
        prompt, settings = _prompt_and_settings(file, row)
        ours = row.cells.get("tempzero")
        for number, text in enumerate(_sample_responses(file, row)):
            cells = {k: v for k, v in row.cells.items() if k not in ("resps", "filtered_resps", "arguments")}
            cells |= {"resps": [[text]], "arguments": settings, "@text": text, "@prompt": prompt, "@task": task}
            cells |= {
                "@settings": settings,
                "@temperature": settings.get("temperature"),
                "@max_tokens": settings.get("max_gen_toks"),
            }
            cells |= {"@id": f"{task}:{row.cells['doc_id']}", "@date": date, "@repeat": _repeat_number(ours, number)}
            yield Row(cells, row.line)


def _prompt_and_settings(file: RecordFile, row: Row) -> tuple[Any, Mapping[str, Any]]:
    """The prompt and the generation settings; a task that only scores given answers has none."""
    arguments = row.cells["arguments"]
    first = arguments.get("gen_args_0") if isinstance(arguments, dict) else arguments[0] if arguments else None
    parts = list(first.values()) if isinstance(first, dict) else list(first) if isinstance(first, list) else []
    if len(parts) < 2 or not isinstance(parts[1], dict):
        raise ExchangeError(
            f"{file.name}:{row.line}: this task scores given answers by their likelihood; it has no texts to compare "
            "(leave its file out with --only)"
        )
    return parts[0], parts[1]


def _sample_responses(file: RecordFile, row: Row) -> list[Any]:
    responses = row.cells["resps"]
    if not (isinstance(responses, list) and len(responses) == 1 and isinstance(responses[0], list)):
        raise ExchangeError(f"{file.name}:{row.line}: resps is not one list of texts")
    return responses[0]


def _repeat_number(ours: Any, number: int) -> int:
    """Which repeat a response is, where `tempzero export` wrote the sample: some may have had no text."""
    repeats = ours.get("repeats") if isinstance(ours, dict) else None
    return repeats[number] if isinstance(repeats, list) and number < len(repeats) else number


LM_EVAL = Format(
    name="lm-eval",
    about="samples of lm-evaluation-harness, JSONL",
    recognises=_recognises_lm_eval,
    rows=_lm_eval_row_reader,
    fields={
        "provider": "@folder",
        "claims": "@folder",
        "model": "@folder",
        "id": "@id",
        "prompt": "@prompt",
        "family": "@task",
        "text": "@text",
        "expected": "target",
        "temperature": "@temperature",
        "max_tokens": "@max_tokens",
        "date": "@date",
    },
    own={
        **OWN_KEY,
        "repeat": "@repeat",
        "reasoning": f"{OWN_COLUMN}.reasoning",
        "refusal": f"{OWN_COLUMN}.refusal",
    },
)
