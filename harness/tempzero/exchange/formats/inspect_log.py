"""Logs of Inspect: `.json`, one document, and `.eval`, a zip with one JSON file for each sample."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tempzero.errors import ExchangeError
from tempzero.exchange import tables
from tempzero.exchange.answers import plain_content
from tempzero.exchange.formats.chat import with_tool_calls
from tempzero.exchange.formats.format import Format, Rows, Sample
from tempzero.exchange.sources import RecordFile, unpacking
from tempzero.exchange.tables import Row, canonical

_HEADERS = ("header.json", "_journal/start.json", "start.json")
_MOST_BYTES = 1 << 28  # of one member; a sample of this size is no answer any more
_ATTACHMENT = "attachment://"


def _recognises(sample: Sample) -> bool:
    if sample.file.kind == "eval":
        return True
    wanted = (rb'"eval"\s*:\s*\{', rb'"status"\s*:', rb'"version"\s*:')
    return sample.file.kind == "json" and all(re.search(w, sample.head) for w in wanted)


def _rows(_files: Sequence[RecordFile], _inputs: Path | None) -> Rows:
    return _read


def _read(file: RecordFile) -> Iterator[Row]:
    log, samples = _zipped(file) if file.kind == "eval" else _document(file)
    if not isinstance(log, dict):
        raise ExchangeError(f"{file.name}: has no eval section, which every Inspect log begins with")
    settings = _object(log.get("model_generate_config"))
    for number, sample in enumerate(samples, start=1):
        if not isinstance(sample, dict):
            raise ExchangeError(f"{file.name}: sample {number} is not an object")
        yield Row({**_small(sample), **_cells(log, settings, sample)}, number)


def _document(file: RecordFile) -> tuple[Any, Iterator[Any]]:
    document = tables.document(file)
    value = document if isinstance(document, dict) else {}
    samples = value.get("samples")
    return value.get("eval"), iter(samples if isinstance(samples, list) else [])


def _zipped(file: RecordFile) -> tuple[Any, Iterator[Any]]:
    with _archive(file) as archive:
        names = archive.namelist()
        header = next((name for name in _HEADERS if name in names), None)
        log = _object(_member(file, archive, header)).get("eval") if header else None
    return log, _samples(file)


def _samples(file: RecordFile) -> Iterator[Any]:
    with _archive(file) as archive:
        for name in sorted(n for n in archive.namelist() if n.startswith("samples/") and n.endswith(".json")):
            yield _member(file, archive, name)


def _archive(file: RecordFile) -> zipfile.ZipFile:
    with unpacking(file.name):
        return zipfile.ZipFile(file.path)


def _member(file: RecordFile, archive: zipfile.ZipFile, name: str) -> Any:
    with unpacking(f"{file.name}: {name}"):
        if archive.getinfo(name).file_size > _MOST_BYTES:
            raise ExchangeError(f"{file.name}: {name} unpacks to more than {_MOST_BYTES >> 20} MB")
        with archive.open(name) as member:
            data = member.read(_MOST_BYTES)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as problem:
        raise ExchangeError(f"{file.name}: {name}: not JSON that can be read: {str(problem)[:200]}") from None


def _small(sample: Mapping[str, Any]) -> Mapping[str, Any]:
    """The sample without its transcript, which can be a hundred times larger than the rest."""
    large = ("events", "events_data", "attachments", "store", "messages", "timelines")
    return {k: v for k, v in sample.items() if k not in large}


def _cells(log: Mapping[str, Any], settings: Mapping[str, Any], sample: Mapping[str, Any]) -> Mapping[str, Any]:
    attached = _object(sample.get("attachments"))
    output = _object(sample.get("output"))
    choices = output.get("choices")
    choice = _object(choices[0]) if isinstance(choices, list) and choices else {}
    message, usage = _object(choice.get("message")), _object(output.get("usage"))
    error = _object(sample.get("error")).get("message") or output.get("error")
    target, model, task = sample.get("target"), str(log.get("model") or ""), log.get("task")
    return {
        "@provider": model,
        "@claims": model.partition("/")[2] or model,
        "@task": task,
        "@condition": canonical(log["task_args"]) if log.get("task_args") else None,
        "@id": f"{task}:{sample.get('id')}",
        "@prompt": _attached(sample.get("input"), attached),
        "@text": _text(message, output, attached),
        "@reasoning": _reasoning(message),
        "@error": error,
        "@finish_reason": choice.get("stop_reason"),
        "@served_model": output.get("model"),
        "@prompt_tokens": usage.get("input_tokens"),
        "@completion_tokens": usage.get("output_tokens"),
        "@latency_s": output.get("time"),
        "@expected": target if isinstance(target, str) else target[0] if isinstance(target, list) and target else None,
        "@temperature": settings.get("temperature"),
        "@top_p": settings.get("top_p"),
        "@max_tokens": settings.get("max_tokens"),
    }


def _text(message: Mapping[str, Any], output: Mapping[str, Any], attached: Mapping[str, Any]) -> str | None:
    content = message.get("content")
    if isinstance(content, list):
        content = [part for part in content if not (isinstance(part, dict) and part.get("type") == "reasoning")]
    text = plain_content(content)
    if text is None:
        completion = output.get("completion")
        text = completion if isinstance(completion, str) else None
    found = _attached(text, attached)
    calls = message.get("tool_calls")
    plain = [
        {"function": {"name": c.get("function"), "arguments": c.get("arguments")}}
        for c in calls or []
        if isinstance(c, dict)
    ]
    return with_tool_calls(found if isinstance(found, str) else None, plain)


def _reasoning(message: Mapping[str, Any]) -> str | None:
    content = message.get("content")
    parts = [p for p in content if isinstance(p, dict)] if isinstance(content, list) else []
    found = [str(p.get("reasoning") or "") for p in parts if p.get("type") == "reasoning"]
    return "\n".join(found) or None


def _attached(value: Any, attached: Mapping[str, Any]) -> Any:
    """Long texts stand apart, under their hash."""
    if isinstance(value, str):
        return attached.get(value.removeprefix(_ATTACHMENT), value) if value.startswith(_ATTACHMENT) else value
    if isinstance(value, list):
        return [_attached(item, attached) for item in value]
    if isinstance(value, dict):
        return {k: _attached(v, attached) for k, v in value.items()}
    return value


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


INSPECT = Format(
    name="inspect",
    about="logs of Inspect, .json or .eval",
    recognises=_recognises,
    rows=_rows,
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
        "response_id": "uuid",
        "prompt_tokens": "@prompt_tokens",
        "completion_tokens": "@completion_tokens",
        "temperature": "@temperature",
        "top_p": "@top_p",
        "max_tokens": "@max_tokens",
        "date": "started_at",
        "latency_s": "@latency_s",
    },
)
