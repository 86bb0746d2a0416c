"""Run files of llm-stability: one CSV for each repeat of a task; columns model, model_config, task, run, response."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from tempzero.exchange.formats.format import Format, RowReader, Sample, read_complete_rows
from tempzero.exchange.sources import RecordFile
from tempzero.exchange.table_reading import Row

_COLUMNS = frozenset({"model", "model_config", "task", "task_config", "rubric_id", "prompt", "run", "response"})
# What the tool stores as the response when a request fails.
_FAILURE = "LLM Error"
_UNSET, _ANY = object(), object()
# `rubric_counter` is the number of the question, no setting.
_DEFAULTS = {
    "temperature": 0.0,
    "seed": 12,
    "top_p_k": 0.0,
    "prompt_type": "v2",
    "shots": 0,
    "rubric_counter": _ANY,
}


def _recognises_llm_stability(sample: Sample) -> bool:
    return sample.columns >= _COLUMNS


def _llm_stability_row_reader(_files: Sequence[RecordFile], _inputs: Path | None) -> RowReader:
    return _read_llm_stability_rows


def _read_llm_stability_rows(file: RecordFile) -> Iterator[Row]:
    for row in read_complete_rows(file, _COLUMNS):
        cells = dict(row.cells)
        cells["@condition"] = _condition_from_settings(
            str(cells["task"]), str(cells["task_config"]), str(cells["model_config"])
        )
        cells["@error"] = _FAILURE if cells["response"] == _FAILURE else None
        yield Row(cells, row.line)


@lru_cache(maxsize=4096)
def _condition_from_settings(task: str, task_config: str, model_config: str) -> str:
    """What an experiment was set to, where that is not the tool's default."""
    settings = {**_parse_settings(task_config), **_parse_settings(model_config)}
    told = (f"{name}={value}" for name, value in settings.items() if _DEFAULTS.get(name, _UNSET) not in (value, _ANY))
    return " ".join([task, *told])


def _parse_settings(text: str) -> Mapping[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    return value if isinstance(value, dict) else {"config": value}


LLM_STABILITY = Format(
    name="llm-stability",
    about="run files of llm-stability, CSV",
    recognises=_recognises_llm_stability,
    rows=_llm_stability_row_reader,
    fields={
        "provider": "model",
        "claims": "model",
        "model": "model",
        "condition": "@condition",
        "id": "task+task_config.prompt_type+task_config.shots+rubric_id",
        "prompt": "prompt",
        "family": "task",
        "repeat": "run",
        "text": "response",
        "error": "@error",
        "expected": "gt",
        "temperature": "model_config.temperature",
        "date": "date",
    },
)
