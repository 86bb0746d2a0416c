"""Logs of Inspect: `.json`, one document, and `.eval`, a zip with one JSON file for each sample."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tempzero.errors import ExchangeError
from tempzero.exchange import table_reading
from tempzero.exchange.foreign_answers import answer_content, find_reasoning
from tempzero.exchange.formats.chat_completion import append_tool_calls
from tempzero.exchange.formats.format import Format, RowReader, Sample
from tempzero.exchange.sources import RecordFile, wrap_archive_errors
from tempzero.exchange.table_reading import Row, foreign_to_canonical_json

_HEADERS = ("header.json", "_journal/start.json", "start.json")
_MOST_MEMBER_BYTES = 1 << 28  # of one member; a sample of this size is no answer any more
# What says where and in which way it was asked; and what of the generation only says how calls are made.
_LOG_SETTINGS = ("model_base_url", "model_args", "solver", "solver_args", "task_version")
_CONNECTION_SETTINGS = frozenset(
    ("max_retries", "timeout", "attempt_timeout", "max_connections", "cache", "batch", "num_choices", "logprobs")
)
_ATTACHMENT = "attachment://"


def _recognises_inspect(sample: Sample) -> bool:
    if sample.file.kind == "eval":
        return True
    wanted = (rb'"eval"\s*:\s*\{', rb'"status"\s*:', rb'"version"\s*:')
    return sample.file.kind == "json" and all(re.search(w, sample.head) for w in wanted)


def _inspect_row_reader(_files: Sequence[RecordFile], _inputs: Path | None) -> RowReader:
    return _read_inspect_rows


def _read_inspect_rows(file: RecordFile) -> Iterator[Row]:
    log, samples = _read_eval_log(file) if file.kind == "eval" else _read_json_log(file)
    if not isinstance(log, dict):
        raise ExchangeError(f"{file.name}: has no eval section, which every Inspect log begins with")
    settings = _object_or_empty(log.get("model_generate_config"))
    for number, sample in enumerate(samples, start=1):
        if not isinstance(sample, dict):
            raise ExchangeError(f"{file.name}: sample {number} is not an object")
        yield Row({**_drop_transcript(sample), **_inspect_cells(log, settings, sample)}, number)


def read_eval_rows(file: RecordFile) -> Iterator[Row]:
    """The samples of an `.eval` file as they stand, beside them the log's header as in the `.json` form: by hand."""
    log, samples = _read_eval_log(file)
    for number, sample in enumerate(samples, start=1):
        if isinstance(sample, dict):
            yield Row({"eval": log, **_drop_transcript(sample)}, number)


def _read_json_log(file: RecordFile) -> tuple[Any, Iterator[Any]]:
    document = table_reading.read_json_document(file)
    value = document if isinstance(document, dict) else {}
    samples = value.get("samples")
    return value.get("eval"), iter(samples if isinstance(samples, list) else [])


def _read_eval_log(file: RecordFile) -> tuple[Any, Iterator[Any]]:
    with _open_eval_archive(file) as archive:
        names = archive.namelist()
        header = next((name for name in _HEADERS if name in names), None)
        log = _object_or_empty(_read_eval_member(file, archive, header)).get("eval") if header else None
    return log, _read_eval_samples(file)


def _read_eval_samples(file: RecordFile) -> Iterator[Any]:
    with _open_eval_archive(file) as archive:
        for name in sorted(n for n in archive.namelist() if n.startswith("samples/") and n.endswith(".json")):
            yield _read_eval_member(file, archive, name)


def _open_eval_archive(file: RecordFile) -> zipfile.ZipFile:
    with wrap_archive_errors(file.name):
        return zipfile.ZipFile(file.path)


def _read_eval_member(file: RecordFile, archive: zipfile.ZipFile, name: str) -> Any:
    with wrap_archive_errors(f"{file.name}: {name}"):
        if archive.getinfo(name).file_size > _MOST_MEMBER_BYTES:
            raise ExchangeError(f"{file.name}: {name} unpacks to more than {_MOST_MEMBER_BYTES >> 20} MB")
        with archive.open(name) as member:
            data = member.read(_MOST_MEMBER_BYTES)
    try:
        return table_reading.decode_foreign_json(data.decode())
    except (ValueError, RecursionError) as problem:
        shown = ascii(" ".join(str(problem).split())[:200])[1:-1]
        raise ExchangeError(f"{file.name}: {name}: not JSON that can be read: {shown}") from None


def _drop_transcript(sample: Mapping[str, Any]) -> Mapping[str, Any]:
    """The sample without its transcript, which can be a hundred times larger than the rest."""
    large = ("events", "events_data", "attachments", "store", "messages", "timelines")
    return {k: v for k, v in sample.items() if k not in large}


def _inspect_cells(log: Mapping[str, Any], settings: Mapping[str, Any], sample: Mapping[str, Any]) -> Mapping[str, Any]:
    attached = _object_or_empty(sample.get("attachments"))
    output = _object_or_empty(sample.get("output"))
    choices = output.get("choices")
    choice = _object_or_empty(choices[0]) if isinstance(choices, list) and choices else {}
    message, usage = _object_or_empty(choice.get("message")), _object_or_empty(output.get("usage"))
    error = _object_or_empty(sample.get("error")).get("message") or output.get("error")
    target, model, task = sample.get("target"), str(log.get("model") or ""), log.get("task")
    return {
        "@provider": model,
        "@claims": model.partition("/")[2] or model,
        "@task": task,
        "@condition": foreign_to_canonical_json(log["task_args"]) if log.get("task_args") else None,
        "@id": f"{task}:{sample.get('id')}",
        "@prompt": _resolve_attachments(sample.get("input"), attached),
        "@text": _sample_text(message, output, attached),
        "@reasoning": find_reasoning(message),
        "@error": error,
        "@finish_reason": choice.get("stop_reason"),
        "@served_model": output.get("model"),
        "@prompt_tokens": usage.get("input_tokens"),
        "@completion_tokens": usage.get("output_tokens"),
        "@reasoning_tokens": usage.get("reasoning_tokens"),
        "@total_tokens": usage.get("total_tokens"),
        "@latency_s": output.get("time"),
        "@expected": target if isinstance(target, str) else target[0] if isinstance(target, list) and target else None,
        "@settings": _inspect_settings(log, settings),
        "@response_id": sample.get("uuid") or _name_of_sample(log, sample),
        "@temperature": settings.get("temperature"),
        "@top_p": settings.get("top_p"),
        "@max_tokens": settings.get("max_tokens"),
    }


def _inspect_settings(log: Mapping[str, Any], settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """How it was asked, besides the task's own arguments, which are the condition."""
    asked = {name: value for name, value in settings.items() if name not in _CONNECTION_SETTINGS}
    return {**asked, **{name: log[name] for name in _LOG_SETTINGS if log.get(name)}}


def _name_of_sample(log: Mapping[str, Any], sample: Mapping[str, Any]) -> str | None:
    """In place of a uuid, which old logs lack: a log that lies there in both forms holds each answer twice."""
    of_log = log.get("eval_id") or log.get("run_id")
    return f"{of_log}/{sample.get('id')}/{sample.get('epoch')}" if of_log else None


def _sample_text(message: Mapping[str, Any], output: Mapping[str, Any], attached: Mapping[str, Any]) -> str | None:
    text = answer_content(message.get("content"))
    if text is None:
        completion = output.get("completion")
        text = completion if isinstance(completion, str) else None
    found = _resolve_attachments(text, attached)
    calls = message.get("tool_calls")
    plain = [
        {"function": {"name": c.get("function"), "arguments": c.get("arguments")}}
        for c in calls or []
        if isinstance(c, dict)
    ]
    return append_tool_calls(found if isinstance(found, str) else None, plain)


def _resolve_attachments(value: Any, attached: Mapping[str, Any]) -> Any:
    """Long texts stand apart, under their hash."""
    if isinstance(value, str):
        return attached.get(value.removeprefix(_ATTACHMENT), value) if value.startswith(_ATTACHMENT) else value
    if isinstance(value, list):
        return [_resolve_attachments(item, attached) for item in value]
    if isinstance(value, dict):
        return {k: _resolve_attachments(v, attached) for k, v in value.items()}
    return value


def _object_or_empty(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


INSPECT = Format(
    name="inspect",
    about="logs of Inspect, .json or .eval",
    recognises=_recognises_inspect,
    rows=_inspect_row_reader,
    fields={
        "provider": "@provider",
        "claims": "@claims",
        "model": "@provider",
        "id": "@id",
        "prompt": "@prompt",
        "family": "@task",
        "condition": "@condition",
        "text": "@text",
        "reasoning": "@reasoning",
        "error": "@error",
        "expected": "@expected",
        "finish_reason": "@finish_reason",
        "served_model": "@served_model",
        "response_id": "@response_id",
        "prompt_tokens": "@prompt_tokens",
        "completion_tokens": "@completion_tokens",
        "reasoning_tokens": "@reasoning_tokens",
        "total_tokens": "@total_tokens",
        "temperature": "@temperature",
        "top_p": "@top_p",
        "max_tokens": "@max_tokens",
        "date": "started_at",
        "latency_s": "@latency_s",
    },
)
