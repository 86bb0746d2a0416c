"""A run folder in, every response read by the references that can, token by token, into its scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tempzero import records
from tempzero.collect.watcher import Watcher
from tempzero.config import Local, Provider
from tempzero.engines import apply_form, open_local_engine, open_model, open_reader
from tempzero.engines.event_loop import run_coroutine
from tempzero.engines.local import weights
from tempzero.errors import EngineError, WeightsError
from tempzero.reading.scorer import EndpointReference, LogitsReference, Scorer


def score_run(path: Path, *, environ: Mapping[str, str], watcher: Watcher) -> tuple[str, ...]:
    """Let every reference that can read the responses; what was read before is not read again.

    A reference can that runs in this process, or whose endpoint `reads`.

    Gives the names of the references that read. Raises EngineError, WeightsError, RunFolderError, and
    UsageError where a reference must not judge.
    """
    run = records.open_run(path)
    skipped = {s.provider for s in run.manifest.skipped}
    readers = [run.config.provider(name) for name in run.config.run.references if name not in skipped]
    readers = [p for p in readers if p.local is not None or p.reads is not None]
    with records.open_score_writer(path) as writer:
        for provider in readers:
            if provider.local is not None:
                _read_in_process(run, provider, provider.local, writer, watcher)
            else:
                _read_through_endpoint(run, provider, environ, writer, watcher)
    return tuple(p.name for p in readers)


def _read_through_endpoint(
    run: records.Run, provider: Provider, environ: Mapping[str, str], writer: records.ScoreWriter, watcher: Watcher
) -> None:
    reader = open_reader(provider, environ=environ)
    try:
        scorer = Scorer(run, provider.name, EndpointReference(reader), writer.append)
        scorer.read_responses(lambda done, of: watcher.read(provider.name, done, of))
        scorer.read_variants(run.config.score)
    finally:
        run_coroutine(reader.aclose())


def _read_in_process(
    run: records.Run, provider: Provider, local: Local, writer: records.ScoreWriter, watcher: Watcher
) -> None:
    settings = run.config.score
    engine = open_local_engine(provider, weights.obtain_weights_for(run.config, local, say=watcher.say))
    try:
        scorer = Scorer(run, provider.name, LogitsReference(engine), writer.append)
        scorer.read_responses(lambda done, of: watcher.read(provider.name, done, of))
        for form in settings.own_forms if scorer.sample_for_forms(settings) else ():
            try:
                changed, honest = apply_form(local, form)
                model = open_model(changed, weights.obtain_weights_for(run.config, changed, say=watcher.say))
            except (EngineError, WeightsError) as problem:
                watcher.say(f"{provider.name}: not read by the form {form}: {problem}")
                continue
            try:
                watcher.say(f"{provider.name}: reading as {form}")
                scorer.read_form(form, engine, model, honest=honest, settings=settings)
            finally:
                model.close()
        scorer.read_variants(settings)
    finally:
        run_coroutine(engine.aclose())
