"""Small whole values for tests: prompts, manifests, attempts and run folders without an engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tempzero import config, plan, records
from tempzero.config import Config, Setting
from tempzero.records import ChainName
from tempzero.types.asked import Message, Prompt, Suite, Trial
from tempzero.types.recorded import (
    Attempt,
    Completion,
    Exchange,
    FaultKind,
    Manifest,
    Outcome,
    Times,
    WireRequest,
    WireResponse,
)

NOW = "2026-01-02T03:04:05.000+00:00"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def make_config(names: Iterable[str] = ("a", "b"), repeats: int = 2, **provider: Any) -> Config:
    """Providers of those names, all claiming to serve one model."""
    entries = [
        {"name": n, "base_url": "http://127.0.0.1:9/v1", "model": "m", "repeats": repeats, **provider} for n in names
    ]
    return config.parse_config({"version": 1, "providers": entries}, source="test")


def make_setting(settings: Config, environ: Mapping[str, str] | None = None, root: Path = Path()) -> Setting:
    """A configuration in a folder and an environment, which is empty where none is given."""
    return Setting(config=settings, root=root, environ=environ or {})


def make_suite(count: int = 3) -> Suite:
    prompts = tuple(
        Prompt(id=f"p{i}", family="test", messages=(Message(role="user", content=f"question {i}"),))
        for i in range(count)
    )
    return Suite(prompts=prompts, digest=sha256(str(count)))


def make_manifest(settings: Config, suite: Suite, run_id: str = "run") -> Manifest:
    return Manifest(
        format=records.RUN_FORMAT,
        run_id=run_id,
        created_at=NOW,
        config=settings.model_dump(mode="json"),
        suite=suite,
        plan_digest=plan.build_plan(settings, suite).digest,
        plan_seed=settings.run.seed,
        skipped=(),
        versions={"python": "3"},
        host={"cpu": "test"},
        engines={},
    )


def make_attempt(trial: Trial, text: str | None = "yes", number: int = 1, kind: FaultKind = "server") -> Attempt:
    """A whole answer, or with `text=None` a missing one of that kind."""
    body = json.dumps({"prompt": trial.prompt})
    answer = json.dumps({"text": text})
    if text is None:
        outcome = Outcome(status="missing", kind=kind, retry="yes")
    else:
        outcome = Outcome(status="valid", kind="complete", completion=Completion(text=text, finish_reason="stop"))
    return Attempt(
        trial=trial,
        number=number,
        block=0,
        exchange=Exchange(
            request=WireRequest(method="POST", url="http://x/v1", headers=(), body=body, sha256=sha256(body)),
            response=WireResponse(
                status=200,
                headers=(),
                body=answer,
                body_base64=None,
                sha256=sha256(answer),
                size_bytes=len(answer),
                complete=True,
            ),
            times=Times(started_at=NOW, first_byte_s=0.1, end_s=0.2, in_flight=1),
            outcome=outcome,
        ),
    )


def make_trial(provider: str = "a", prompt: str = "p0", repeat: int = 0) -> Trial:
    return Trial(provider=provider, prompt=prompt, condition="default", repeat=repeat)


def chain_file(path: Path, chain: ChainName = "records") -> Path:
    """The file of a chain of a small run, which has one part."""
    (part,) = records.list_parts(path, chain)
    return part


def chain_bytes(path: Path, chain: ChainName = "records") -> bytes:
    """All lines of a chain, whatever parts they are in."""
    return b"".join(part.read_bytes() for part in records.list_parts(path, chain))


def make_run(folder: Path, settings: Config, suite: Suite, attempts: Iterable[Attempt], run_id: str = "run") -> Path:
    """A finished run folder that holds those attempts."""
    path = records.create_run(folder, make_manifest(settings, suite, run_id))
    with records.open_run_writer(path, now=NOW) as writer:
        for attempt in attempts:
            writer.append(attempt)
        records.finish_session(path, writer, now=NOW)
    return path
