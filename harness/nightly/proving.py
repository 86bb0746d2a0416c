"""A changed provider's runs in, an evidence bundle out: tonight's records beside the baseline's."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness import claims, store
from harness.errors import RunFolderError, UsageError
from harness.history import Baseline
from harness.store import Run
from harness.types import Attempt, Manifest

EVIDENCE = "evidence"


def prove(
    results: Path, night: str, tonight: Run, baseline: Baseline, *, environ: Mapping[str, str]
) -> tuple[Path | None, str]:
    """The bundle's path, or None and why there is none. Written once; a night decided again finds it there."""
    path = results / "history" / EVIDENCE / f"{night}-{baseline.provider}.zip"
    if path.is_file():
        return path, ""
    try:
        runs = [store.open_run(results / side.run) for side in baseline.sides]
        with tempfile.TemporaryDirectory(prefix="tempzero-") as folder:
            joined = _joined(Path(folder), night, tonight, runs, baseline.provider)
            accusation = claims.Accusation(
                rule="differs", subject=f"{baseline.provider}@{night}", others=(f"{baseline.provider}@baseline",)
            )
            bundle = claims.make(joined, accusation, environ=environ)
    except (UsageError, RunFolderError) as reason:
        return None, f"no evidence bundle: {reason}"
    path.parent.mkdir(parents=True, exist_ok=True)
    store.write_atomically(path, bundle.packed())
    return path, ""


def _joined(folder: Path, night: str, tonight: Run, runs: Sequence[Run], provider: str) -> Run:
    """A run folder in which one provider stands twice, under two names, with its records as they were received."""
    newest, entry = tonight.manifest, tonight.config.provider(provider)
    names = (f"{provider}@{night}", f"{provider}@baseline")
    repeats = (entry.repeats or 1, sum(run.config.provider(provider).repeats or 1 for run in runs))
    providers = [
        entry.model_copy(update={"name": name, "repeats": number}).model_dump(mode="json")
        for name, number in zip(names, repeats, strict=True)
    ]
    config = {**tonight.config.model_dump(mode="json"), "providers": providers}
    config["run"] = {**config["run"], "reference": None}
    manifest: Manifest = replace(
        newest,
        run_id=f"{newest.run_id}-against-baseline",
        config=config,
        skipped=(),
        engines={name: newest.engines.get(provider, {}) for name in names},
        sessions=(),
        notes=(f"joined from {', '.join(r.manifest.run_id for r in (*runs, tonight))}",),
    )
    path = store.create_run(folder, manifest)
    prompts = {p.id for p in newest.suite.prompts}
    with store.writing(path, now=newest.created_at) as writer:
        writer.append_many(_renamed(runs, provider, names[1], prompts))
        writer.append_many(_renamed([tonight], provider, names[0], prompts))
        store.finish_session(path, writer, now=newest.created_at)
    return store.open_run(path)


def _renamed(runs: Sequence[Run], provider: str, name: str, prompts: set[str]) -> Iterator[Attempt]:
    """Repeats of several runs are counted on, so that no two trials share a key."""
    offset = 0
    for run in runs:
        for record in run.records():
            trial = record.attempt.trial
            if trial.provider == provider and trial.prompt in prompts:
                renamed = replace(trial, provider=name, repeat=trial.repeat + offset)
                yield replace(record.attempt, trial=renamed)
        offset += run.config.provider(provider).repeats or 1
