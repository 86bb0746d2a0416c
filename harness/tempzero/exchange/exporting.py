"""A run folder in, its records for other tools out: a tidy table, or the format of another tool where it fits."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tempzero.answers.chat_messages import read_request_messages, to_answer_text, wire_call
from tempzero.canonical_json import to_canonical_json
from tempzero.errors import ExchangeError
from tempzero.exchange import table_reading
from tempzero.exchange.formats.format import OWN_COLUMN
from tempzero.exchange.formats.openai_batch import key_to_custom_id
from tempzero.exchange.formats.tidy import TIDY_COLUMNS, guard_formula, state_finish_reason
from tempzero.records import Run
from tempzero.types.asked import Prompt
from tempzero.types.recorded import ANSWERED, Completion, Outcome, Record

_PARQUET_ROWS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class _PromptedRecord:
    """A record with the prompt it answers."""

    record: Record
    prompt: Prompt


def export_run(run: Run, path: Path, *, form: str) -> tuple[Path, ...]:
    """Write a run's records to `path` in a form of EXPORTS; give the files written.

    Raises ExchangeError for an unknown form, something that is there already, or a missing package.
    """
    writer = EXPORTS.get(form)
    if writer is None:
        raise ExchangeError(f'--format: cannot export "{form}"; known: {", ".join(EXPORTS)}')
    if path.exists() and (path.is_file() or any(path.iterdir())):
        raise ExchangeError(f"{path}: is there already; choose another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return writer(run, path)
    except OSError as problem:
        raise ExchangeError(f"{path}: cannot be written: {problem.strerror or problem}") from None


def _records_with_prompts(run: Run) -> Iterator[_PromptedRecord]:
    prompts = {p.id: p for p in run.manifest.suite.prompts}
    for record in run.records():
        prompt = prompts[record.attempt.trial.prompt]
        if prompt.round is not None:  # with the answers that went back: they are part of what was asked
            prompt = replace(prompt, messages=read_request_messages(record.attempt.exchange.request.body))
        yield _PromptedRecord(record=record, prompt=prompt)


# --- the tidy table --------------------------------------------------------------------------


def _tidy_rows(run: Run) -> Iterator[dict[str, Any]]:
    for line in _records_with_prompts(run):
        attempt, provider = line.record.attempt, run.config.provider(line.record.attempt.trial.provider)
        ended, times, trial = attempt.exchange.outcome, attempt.exchange.times, attempt.trial
        said = ended.completion
        values = (
            *(provider.name, provider.model, provider.claimed_model, trial.prompt, line.prompt.family, trial.condition),
            *(trial.repeat, attempt.number, ended.status, ended.kind, ended.detail or None),
            *((to_answer_text(said), said.reasoning_text, said.refusal) if said else (None,) * 3),
            *(line.prompt.expected, _messages_json(line.prompt)),
            *((said.finish_reason, said.served_model, said.backend, said.fingerprint) if said else (None,) * 4),
            *((said.response_id, *_list_token_counts(said)) if said else (None,) * 5),
            *(times.started_at or None, times.end_s, provider.temperature, provider.top_p, provider.known_max_tokens),
            attempt.exchange.request.sha256,
        )
        yield dict(zip(TIDY_COLUMNS, values, strict=True))


def _list_token_counts(said: Completion) -> tuple[int | None, ...]:
    return said.prompt_tokens, said.completion_tokens, said.reasoning_tokens, said.total_tokens


def _messages_json(prompt: Prompt) -> str | None:
    """The chat as JSON; None where only the prompt's id is known."""
    chat = [{"role": m.role, "content": m.content} for m in prompt.messages]
    return json.dumps(chat, ensure_ascii=False) if chat else None


def _export_csv(run: Run, path: Path) -> tuple[Path, ...]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(TIDY_COLUMNS)
        for row in _tidy_rows(run):
            writer.writerow(["" if v is None else guard_formula(v) if isinstance(v, str) else v for v in row.values()])
    return (path,)


def _export_jsonl(run: Run, path: Path) -> tuple[Path, ...]:
    _write_json_lines(path, _tidy_rows(run))
    return (path,)


def _export_parquet(run: Run, path: Path) -> tuple[Path, ...]:
    arrow, parquet = table_reading.load_parquet_library(reading="--format parquet")
    whole, real = (
        {"repeat", "attempt", "max_tokens", *(f"{of}_tokens" for of in ("prompt", "completion", "reasoning", "total"))},
        {"latency_s", "temperature", "top_p"},
    )
    schema = arrow.schema(
        [(c, arrow.int64() if c in whole else arrow.float64() if c in real else arrow.string()) for c in TIDY_COLUMNS]
    )
    with parquet.ParquetWriter(str(path), schema) as writer:
        for rows in _batch_rows(_tidy_rows(run)):
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
    return (path,)


def _batch_rows(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _PARQUET_ROWS:
            yield batch
            batch = []
    yield batch


# --- other tools' formats --------------------------------------------------------------------


def _own_key_fields(line: _PromptedRecord, run: Run) -> dict[str, Any]:
    """A trial's key, and what else figures rest on and these formats have no field for, so that all comes back."""
    trial, ended = line.record.attempt.trial, line.record.attempt.exchange.outcome
    said = ended.completion
    return {
        "provider": trial.provider,
        "claims": run.config.provider(trial.provider).claimed_model,
        "prompt": trial.prompt,
        "condition": trial.condition,
        "repeat": trial.repeat,
        "family": line.prompt.family,
        "cached": ended.status == "excluded",
        "finish_reason": _exported_finish_reason(line),
        "served_model": said.served_model if said else None,
        "backend": said.backend if said else None,
        "fingerprint": said.fingerprint if said else None,
        "prompt_tokens": said.prompt_tokens if said else None,
        "completion_tokens": said.completion_tokens if said else None,
        "reasoning_tokens": said.reasoning_tokens if said else None,
        "total_tokens": said.total_tokens if said else None,
    }


def _build_chat_completion(line: _PromptedRecord, run: Run) -> dict[str, Any] | None:
    """The response in the shape of Chat Completions; None where nothing came back."""
    ended = line.record.attempt.exchange.outcome
    said = ended.completion
    if said is None:
        return None
    message: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": _exported_refusal(ended)}
    if said.tool_calls:
        message["tool_calls"] = [wire_call(call) for call in said.tool_calls]
    if said.reasoning_text is not None:
        message["reasoning_content"] = said.reasoning_text
    return {
        "id": said.response_id,
        "object": "chat.completion",
        "model": said.served_model or run.config.provider(line.record.attempt.trial.provider).model,
        "system_fingerprint": said.fingerprint,
        "choices": [{"index": 0, "finish_reason": _exported_finish_reason(line), "message": message}],
        "usage": _exported_usage(said),
    }


def _exported_usage(said: Completion) -> dict[str, Any]:
    usage: dict[str, Any] = {"prompt_tokens": said.prompt_tokens, "completion_tokens": said.completion_tokens}
    if said.total_tokens is not None:
        usage["total_tokens"] = said.total_tokens
    if said.reasoning_tokens is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": said.reasoning_tokens}
    return usage


def _exported_refusal(ended: Outcome) -> str | None:
    """The words of a refusal; of an answer that was filtered without any, the kind of ending, which marks it."""
    if ended.completion is not None and ended.completion.refusal:
        return ended.completion.refusal
    return ended.kind if ended.status == "censored" and ended.kind != "length" else None


def _exported_finish_reason(line: _PromptedRecord) -> str | None:
    ended = line.record.attempt.exchange.outcome
    return state_finish_reason(ended.kind, ended.completion.finish_reason if ended.completion else None)


def _export_openai_batch(run: Run, path: Path) -> tuple[Path, ...]:
    def rows() -> Iterator[dict[str, Any]]:
        for line in _records_with_prompts(run):
            trial, body = line.record.attempt.trial, _build_chat_completion(line, run)
            ended = line.record.attempt.exchange.outcome
            yield {
                "id": f"batch_req_{line.record.seq}",
                "custom_id": key_to_custom_id(trial.provider, trial.prompt, trial.condition, trial.repeat),
                "response": None if body is None else {"status_code": 200, "request_id": None, "body": body},
                "error": {"code": ended.kind, "message": ended.detail} if body is None else None,
                OWN_COLUMN: _own_key_fields(line, run),
            }

    _write_json_lines(path, rows())
    return (path,)


def _export_vendor_verifier(run: Run, path: Path) -> tuple[Path, ...]:
    """One file for each provider, as these tools write them."""
    numbers = {p.id: i for i, p in enumerate(run.manifest.suite.prompts, start=1)}
    return _export_folder(
        path,
        run,
        lambda line: f"{line.record.attempt.trial.provider}_results.jsonl",
        lambda line: _vendor_verifier_row(line, run, numbers),
    )


def _vendor_verifier_row(line: _PromptedRecord, run: Run, numbers: Mapping[str, int]) -> dict[str, Any]:
    exchange, trial = line.record.attempt.exchange, line.record.attempt.trial
    body, seconds = _build_chat_completion(line, run), exchange.times.end_s
    asked = {
        "model": run.config.provider(trial.provider).model,
        "messages": [{"role": m.role, "content": m.content} for m in line.prompt.messages],
    }
    return {
        "data_index": numbers[trial.prompt],
        "request": asked,
        "response": body or {"error": exchange.outcome.detail or exchange.outcome.kind},
        "status": "failed" if body is None else "success",
        "finish_reason": _exported_finish_reason(line),
        "tool_calls_valid": None,
        "last_run_at": exchange.times.started_at or None,
        "duration_ms": None if seconds is None else round(seconds * 1000),
        "hash": hashlib.sha256(to_canonical_json(asked).encode()).hexdigest()[:32],
        OWN_COLUMN: _own_key_fields(line, run),
    }


def _export_lm_eval(run: Run, path: Path) -> tuple[Path, ...]:
    """<provider>/samples_<family>.jsonl, a line for each response: missing ones have no form there."""
    numbers = {p.id: i for i, p in enumerate(run.manifest.suite.prompts)}
    return _export_folder(path, run, _lm_eval_file_name, lambda line: _lm_eval_row(line, run, numbers))


def _lm_eval_file_name(line: _PromptedRecord) -> str:
    family = "".join(c if c.isalnum() or c in "-." else "_" for c in line.prompt.family)
    return f"{line.record.attempt.trial.provider}/samples_{family}.jsonl"


def _lm_eval_row(line: _PromptedRecord, run: Run, numbers: Mapping[str, int]) -> dict[str, Any] | None:
    ended = line.record.attempt.exchange.outcome
    said = ended.completion
    if ended.status not in ANSWERED or said is None:
        return None
    text = to_answer_text(said)
    provider = run.config.provider(line.record.attempt.trial.provider)
    asked = _messages_json(line.prompt) if len(line.prompt.messages) != 1 else line.prompt.messages[0].content
    settings = {"temperature": provider.temperature, "max_gen_toks": provider.known_max_tokens}
    key = _own_key_fields(line, run)
    return {
        "doc_id": numbers[line.prompt.id],
        "doc": {"id": line.prompt.id},
        "target": line.prompt.expected or "",
        "arguments": {"gen_args_0": {"arg_0": asked, "arg_1": settings}},
        "resps": [[text]],
        "filtered_resps": [text],
        "filter": "none",
        "metrics": [],
        OWN_COLUMN: {
            **key,
            "repeats": [key["repeat"]],
            "reasoning": said.reasoning_text,
            "refusal": _exported_refusal(ended),
        },
    }


def _export_folder(
    path: Path,
    run: Run,
    name: Callable[[_PromptedRecord], str],
    row: Callable[[_PromptedRecord], dict[str, Any] | None],
) -> tuple[Path, ...]:
    """Lines sorted into files below `path`; a run has few providers and families, so all stay open."""
    files: dict[str, Any] = {}
    try:
        for line in _records_with_prompts(run):
            value = row(line)
            if value is None:
                continue
            target = path / name(line)
            if name(line) not in files:
                target.parent.mkdir(parents=True, exist_ok=True)
                files[name(line)] = target.open("w", encoding="utf-8")
            files[name(line)].write(json.dumps(value) + "\n")
    finally:
        for file in files.values():
            file.close()
    return tuple(path / n for n in sorted(files))


def _write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


EXPORTS: Mapping[str, Callable[[Run, Path], tuple[Path, ...]]] = {
    "csv": _export_csv,
    "jsonl": _export_jsonl,
    "parquet": _export_parquet,
    "lm-eval": _export_lm_eval,
    "openai-batch": _export_openai_batch,
    "vendor-verifier": _export_vendor_verifier,
}
