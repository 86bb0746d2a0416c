"""Attempts as a Chat Completions endpoint leaves them, with all their bytes: what claims are made of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from making import make_config, make_run, make_suite, sha256
from tempzero import records
from tempzero.config import Config
from tempzero.types.asked import Trial
from tempzero.types.recorded import Attempt, Completion, Exchange, Outcome, Times, WireRequest, WireResponse

URL = "https://api.example.com/v1/chat/completions"
_ENDINGS = {
    "complete": ("valid", "stop"),
    "empty": ("valid", "stop"),
    "length": ("censored", "length"),
    "content_filter": ("censored", "content_filter"),
    "cached": ("excluded", "stop"),
}


def attempt(
    provider: str,
    prompt: str,
    repeat: int,
    text: str,
    *,
    reasoning: str | None = None,
    refusal: str | None = None,
    tokens: int = 5,
    kind: str = "complete",
    number: int = 1,
    model: str | None = "m",
    backend: str | None = None,
    fingerprint: str | None = "fp_1",
    fields: Mapping[str, Any] | None = None,
    messages: Any = None,
    headers: Iterable[tuple[str, str]] = (),
    url: str = URL,
) -> Attempt:
    """One exchange that ended as `kind` says after so many tokens.

    `fields` are sampling fields sent besides temperature 0; None removes one.
    """
    asked = messages or [{"role": "user", "content": f"question {prompt}"}]
    sent = {"model": "m", "messages": asked, "temperature": 0, "seed": 7, "max_tokens": 64, **(fields or {})}
    request = json.dumps({k: v for k, v in sent.items() if v is not None})
    status, finish = _ENDINGS[kind]
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if reasoning is not None:
        message["reasoning_content"] = reasoning
    if refusal is not None:
        message["refusal"] = refusal
    digits = re.findall(r"\d+", prompt)
    place = int(digits[-1]) if digits else 0
    response_id = f"chatcmpl-{provider}-{place}-{repeat}-{number}"
    said = {
        "id": response_id,
        "model": model,
        "provider": backend,
        "system_fingerprint": fingerprint,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 12, "completion_tokens": tokens},
    }
    response = json.dumps(said, ensure_ascii=False)
    completion = Completion(
        text=text,
        reasoning_text=reasoning,
        refusal=refusal,
        finish_reason=finish,
        served_model=model,
        backend=backend,
        fingerprint=fingerprint,
        response_id=response_id,
        prompt_tokens=12,
        completion_tokens=tokens,
    )
    exchange = Exchange(
        request=WireRequest(method="POST", url=url, headers=(), body=request, sha256=sha256(request)),
        response=WireResponse(
            status=200,
            headers=(("date", "Fri, 02 Jan 2026 03:04:05 GMT"), *headers),
            body=response,
            body_base64=None,
            sha256=sha256(response),
            size_bytes=len(response.encode()),
            complete=True,
        ),
        times=Times(
            started_at=f"2026-01-02T03:{4 + place:02}:{repeat:02}.000+00:00", first_byte_s=0.1, end_s=0.2, in_flight=1
        ),
        outcome=Outcome(status=status, kind=kind, completion=completion),  # type: ignore[arg-type]
    )
    trial = Trial(provider=provider, prompt=prompt, condition="default", repeat=repeat)
    return Attempt(trial=trial, number=number, block=repeat, exchange=exchange)


def answers(provider: str, texts: Mapping[str, Iterable[str]], **how: Any) -> list[Attempt]:
    """One attempt a repeat, for each prompt."""
    return [attempt(provider, p, repeat, text, **how) for p, all_ in texts.items() for repeat, text in enumerate(all_)]


def run_of(
    folder: Path,
    attempts: Iterable[Attempt],
    *,
    prompts: int | None = None,
    config: Config | None = None,
    run_id: str = "run",
    **provider: Any,
) -> records.Run:
    """A finished run of the providers a and b that holds those attempts, all that were planned of them; or, where the
    number of prompts is given, of so many with four repeats."""
    given = list(attempts)
    names = list(dict.fromkeys(a.trial.prompt for a in given))
    repeats = 1 + max((a.trial.repeat for a in given), default=3)
    settings = config or make_config(repeats=4 if prompts else repeats, **provider)
    suite = make_suite(prompts or len(names))
    if prompts is None:
        asked = tuple(replace(p, id=name) for p, name in zip(suite.prompts, names, strict=True))
        suite = replace(suite, prompts=asked)
    return records.open_run(make_run(folder, settings, suite, given, run_id))
