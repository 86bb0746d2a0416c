"""Runs in, their records as the flat answers of a bundle out, with the bytes of each request and response as files."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tempzero.answers.answer_parts import split_answer
from tempzero.claims import byte_reading
from tempzero.claims.page_wording import write_curl_line
from tempzero.records import Run
from tempzero.types.asked import Trial
from tempzero.types.recorded import Record, WireResponse

# What stands for the HTTP method in records that another tool collected.
IMPORT_METHOD = "IMPORT"
# And in those of a model in this process, and of a pack.
LOCAL_METHOD = "LOCAL"
_LABEL_FIELDS = ("served_model", "backend", "fingerprint", "response_id", "finish_reason")
_TOKEN_COUNTS = ("prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimSide:
    """Who stands behind a letter: one provider in one run, or in several that are taken together."""

    letter: str
    provider: str
    runs: Sequence[Run]
    key_variable: str | None


@dataclass(kw_only=True, slots=True)
class ConditionAnswers:
    """The answers of all sides under one condition, and the files that hold their bytes.

    `trials` says which trial of which run an answer is, by its number.
    """

    lines: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    trials: dict[int, tuple[Run, Trial]] = field(default_factory=dict)


def gather_answers(sides: Iterable[ClaimSide], condition: str | None) -> dict[str, ConditionAnswers]:
    """By condition, all attempts of these providers: nothing is selected but the condition, if one is named."""
    found: dict[str, ConditionAnswers] = {}
    for side in sides:
        for run in side.runs:
            for line, record in zip(run.lines(), run.records(), strict=True):
                trial = record.attempt.trial
                if trial.provider == side.provider and condition in (None, trial.condition):
                    _append_answer(found.setdefault(trial.condition, ConditionAnswers()), side, run, line, record)
    return dict(sorted(found.items()))


def _append_answer(answers: ConditionAnswers, side: ClaimSide, run: Run, line: bytes, record: Record) -> None:
    number = len(answers.lines)
    exchange, trial = record.attempt.exchange, record.attempt.trial
    completion, outcome = exchange.outcome.completion, exchange.outcome
    parts = None if completion is None else split_answer(completion)
    request, response = exchange.request, exchange.response
    name = f"requests/{request.sha256[:16]}"
    answers.files[f"{name}.json"] = request.body.encode()
    body = None if response is None else f"responses/{number:06}.body"
    if response is not None and body is not None:
        answers.files[body] = response_bytes(response)
    answers.trials[number] = (run, trial)
    one = {
        "number": number,
        "side": side.letter,
        "run": run.manifest.run_id,
        "seq": record.seq,
        "record_sha256": hashlib.sha256(line).hexdigest(),
        "prompt": trial.prompt,
        "repeat": trial.repeat,
        "attempt": record.attempt.number,
        "block": record.attempt.block,
        "asked_at": exchange.times.started_at,
        "first_byte_s": exchange.times.first_byte_s,
        "end_s": exchange.times.end_s,
        "in_flight": exchange.times.in_flight,
        "method": request.method,
        "url": request.url,
        "request_headers": dict(request.headers),
        "request": f"{name}.json",
        "request_sha256": request.sha256,
        "response": body,
        "response_sha256": None if response is None else response.sha256,
        "status": None if response is None else response.status,
        "complete": None if response is None else response.complete,
        "headers": {} if response is None else _join_repeated_headers(response.headers),
        "outcome": f"{outcome.status}: {outcome.kind}",
        "detail": outcome.detail,
        "flags": list(outcome.flags),
        **{name: None if parts is None else getattr(parts, name) for name in byte_reading.PARTS},
        **{
            name: None if completion is None else getattr(completion, name) for name in (*_LABEL_FIELDS, *_TOKEN_COUNTS)
        },
        **(_read_own_labels(response) if request.method == LOCAL_METHOD and completion is not None else {}),
    }
    answers.lines.append(one)
    answers.files.setdefault(f"{name}.{side.letter}.curl.txt", write_curl_line(one, side.key_variable).encode())


def _read_own_labels(response: WireResponse | None) -> dict[str, Any]:
    """What the response of a model in this process, or of a pack, holds: what else is known stands in the manifest."""
    said = {} if response is None else json.loads(response_bytes(response))
    return {name: said.get(name) for name in (*_LABEL_FIELDS, *_TOKEN_COUNTS)}


def response_bytes(response: WireResponse) -> bytes:
    """The bytes of a recorded response."""
    return response.body.encode() if response.body is not None else base64.b64decode(response.body_base64 or "")


def _join_repeated_headers(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """A header that came more than once stands once, with all its values."""
    found: dict[str, str] = {}
    for name, value in headers:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
