"""A Config in, a finished run folder out: engines started, the plan collected, recorded and read by its references."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import platform
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import plan as planning
from harness import store, suites, weights
from harness.collect import collect
from harness.config import Config, Local, Provider, Serve, Weights
from harness.engines import Engine, open_engine, open_local, open_model, open_reader
from harness.errors import EngineError, RunFolderError, UsageError, WeightsError
from harness.score import ByEndpoint, ByLogits, Scorer
from harness.serve import Served, serving
from harness.types import Attempt, Manifest, Plan, Suite

_VERSIONS_OF = ("tempzero", "openai", "httpx2", "numpy", "pandas", "scipy", "xllamacpp", "gguf", "jinja2")


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A run that is planned and not yet paid for."""

    config: Config
    suite: Suite
    plan: Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Watcher:
    """Who is told what while a run goes on: lines for a log, and every attempt as it is recorded."""

    say: Callable[[str], None]
    begin: Callable[[Plan, int], None]
    attempt: Callable[[Attempt], None]
    read: Callable[[str, int, int], None]
    """A reference, how many of the waiting responses it has read, and how many there are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """Where the run is, and whether it was stopped before the plan's end."""

    path: Path
    interrupted: bool


def prepare(
    config: Config,
    root: Path,
    *,
    environ: Mapping[str, str],
    only: Sequence[str] = (),
    prompts: Path | None = None,
    tags: Sequence[str] | None = None,
    repeats: int | None = None,
    limit: int | None = None,
) -> Prepared:
    """Load the prompts and lay out the plan; nothing is started, spent or written.

    `root` is the folder of providers.yaml; the other arguments go before the configuration
    (`tags` empty: all prompts; `limit`: prompts at most). Raises SuiteError and UsageError.
    """
    if repeats is not None:
        changed = tuple(p.model_copy(update={"repeats": repeats}) for p in config.providers)
        config = config.model_copy(update={"providers": changed})
    suite = _narrowed(
        suites.load(prompts or root / config.run.prompts), config.run.tags if tags is None else tags, limit
    )
    chosen, skipped = planning.choose(config, environ, only)
    if not chosen:
        raise UsageError("no provider is left to ask: " + "; ".join(f"{s.provider}: {s.reason}" for s in skipped))
    return Prepared(config=config, suite=suite, plan=planning.build(config, suite, skipped=skipped))


def _narrowed(suite: Suite, tags: Sequence[str], limit: int | None) -> Suite:
    """The prompts that carry one of the tags (no tags: all), thinned out evenly to `limit`."""
    kept = [p for p in suite.prompts if not tags or set(tags) & set(p.tags)]
    if not kept:
        known = sorted({tag for p in suite.prompts for tag in p.tags})
        raise UsageError(f"no prompt carries the tag {' or '.join(tags)}; tags in use: {', '.join(known) or 'none'}")
    if limit is not None:
        kept = kept[:: max(1, -(-len(kept) // limit))][:limit]
    return suite if len(kept) == len(suite.prompts) else Suite(prompts=tuple(kept), digest=suites.digest(kept))


def start(prepared: Prepared, results: Path, *, environ: Mapping[str, str], watcher: Watcher) -> Collected:
    """Collect a new run under `results`. Raises EngineError, WeightsError, RunFolderError."""
    return asyncio.run(_start(prepared, results, environ, watcher))


def resume(path: Path, *, environ: Mapping[str, str], watcher: Watcher) -> Collected:
    """Ask what an interrupted run has not had answered yet, exactly as it was planned then."""
    run = store.open_run(path)
    manifest = run.manifest
    plan = planning.build(run.config, manifest.suite, skipped=manifest.skipped)
    if plan.digest != manifest.plan_digest:
        raise RunFolderError(
            f"{path}: this tempzero lays the plan out differently; finish the run with the version that began it"
        )
    prepared = Prepared(config=run.config, suite=manifest.suite, plan=plan)
    unset = [v for p in _asked(prepared) for v in p.variables() if not environ.get(v)]
    if unset:
        raise UsageError(f"{path}: the run was begun with {', '.join(unset)} set; set it to go on")
    return asyncio.run(_resume(prepared, path, environ, watcher))


def score(path: Path, *, environ: Mapping[str, str], watcher: Watcher) -> tuple[str, ...]:
    """Let every reference that can read the responses; what was read before is not read again.

    A reference can that runs in this process, or whose endpoint `reads`.

    Gives the names of the references that read. Raises EngineError, WeightsError, RunFolderError, and
    UsageError where a reference must not judge.
    """
    run = store.open_run(path)
    skipped = {s.provider for s in run.manifest.skipped}
    readers = [run.config.provider(name) for name in run.config.run.references if name not in skipped]
    readers = [p for p in readers if p.local is not None or p.reads is not None]
    with store.scoring(path) as writer:
        for provider in readers:
            if provider.local is not None:
                _read_here(run, provider, provider.local, writer, watcher)
            else:
                _read_through(run, provider, environ, writer, watcher)
    return tuple(p.name for p in readers)


def _read_through(
    run: store.Run, provider: Provider, environ: Mapping[str, str], writer: store.ScoreWriter, watcher: Watcher
) -> None:
    reader = open_reader(provider, environ=environ)
    try:
        scorer = Scorer(run, provider.name, ByEndpoint(reader), writer.append)
        scorer.read_responses(lambda done, of: watcher.read(provider.name, done, of))
        scorer.read_variants(run.config.score)
    finally:
        asyncio.run(reader.aclose())


def _read_here(run: store.Run, provider: Provider, local: Local, writer: store.ScoreWriter, watcher: Watcher) -> None:
    settings = run.config.score
    engine = open_local(provider, _weights(run.config, local, watcher.say))
    try:
        scorer = Scorer(run, provider.name, ByLogits(engine), writer.append)
        scorer.read_responses(lambda done, of: watcher.read(provider.name, done, of))
        for form in settings.forms if scorer.form_sample(settings) else ():
            try:
                changed, honest = _form(local, form)
                model = open_model(changed, _weights(run.config, changed, watcher.say))
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
        asyncio.run(engine.aclose())


def _form(local: Local, form: str) -> tuple[Local, bool]:
    """The settings of another form of a reference, and whether it is a faithful way to compute the same weights."""
    name, _, value = form.partition("=")
    if local.engine != "llama_cpp" and name not in ("threads", "batch"):
        raise EngineError(f"only llama_cpp has this form, not {local.engine}")
    if name in ("threads", "batch"):
        return local.model_copy(update={name: int(value)}), True
    if name == "flash_attention":
        return local.model_copy(update={"flash_attention": True}), True
    if name == "cache":
        honest = value in ("f16", "bf16")
        # llama.cpp keeps coarse values only with flash attention.
        kept = {"cache_type_k": value, "cache_type_v": value, "flash_attention": not honest}
        return local.model_copy(update=kept), honest
    if name == "weights":
        return local.model_copy(update={"weights": value, "precision": "as_is"}), False
    return local.model_copy(update={"precision": name}), name in ("f16", "bf16")


async def _start(prepared: Prepared, results: Path, environ: Mapping[str, str], watcher: Watcher) -> Collected:
    async with _engines(prepared, environ, watcher.say) as (engines, served):
        path = store.create_run(results, _manifest(prepared, engines, served))
        return await _collect(prepared, path, engines, watcher)


async def _resume(prepared: Prepared, path: Path, environ: Mapping[str, str], watcher: Watcher) -> Collected:
    async with _engines(prepared, environ, watcher.say) as (engines, _):
        return await _collect(prepared, path, engines, watcher)


async def _collect(prepared: Prepared, path: Path, engines: Mapping[str, Engine], watcher: Watcher) -> Collected:
    stop = asyncio.Event()
    with _stop_on_signals(stop), store.writing(path, now=_now()) as writer:
        progress = store.open_run(path).progress()
        watcher.begin(prepared.plan, len(progress.complete))
        await collect(
            prepared.plan,
            config=prepared.config,
            suite=prepared.suite,
            engines=engines,
            attempts=progress.attempts,
            complete=progress.complete,
            write=lambda attempt: (writer.append(attempt), None)[1],
            progress=watcher.attempt,
            stop=stop,
        )
        store.finish_session(path, writer, now=_now())
    return Collected(path=path, interrupted=stop.is_set())


@contextlib.asynccontextmanager
async def _engines(
    prepared: Prepared, environ: Mapping[str, str], say: Callable[[str], None]
) -> AsyncIterator[tuple[dict[str, Engine], dict[str, Served]]]:
    """Every engine of the plan, started; all of them stopped at the end, whatever happens."""
    async with contextlib.AsyncExitStack() as stack:
        engines: dict[str, Engine] = {}
        served: dict[str, Served] = {}
        for provider in _asked(prepared):
            spec = provider.serve or provider.local
            file = None
            if spec is not None:
                file = await asyncio.to_thread(_weights, prepared.config, spec, say)
            base_url = None
            if provider.serve is not None and file is not None:
                served[provider.name] = await stack.enter_async_context(serving(provider, file))
                base_url = served[provider.name].base_url
            engine = await asyncio.to_thread(open_engine, provider, environ=environ, weights=file, base_url=base_url)
            stack.push_async_callback(engine.aclose)
            engines[provider.name] = engine
            say(f"ready: {provider.name}")
        yield engines, served


def _weights(config: Config, spec: Serve | Local, say: Callable[[str], None]) -> weights.LocalWeights:
    source = config.weights.get(spec.weights) or Weights(source=spec.weights)
    return weights.obtain(source, precision=spec.precision, say=say)


def _asked(prepared: Prepared) -> list[Provider]:
    skipped = {s.provider for s in prepared.plan.skipped}
    return [p for p in prepared.config.providers if p.name not in skipped]


def _manifest(prepared: Prepared, engines: Mapping[str, Engine], served: Mapping[str, Served]) -> Manifest:
    now = datetime.now(UTC)
    described: dict[str, dict[str, Any]] = {name: dict(engine.describe()) for name, engine in engines.items()}
    for name, server in served.items():
        described[name]["server"] = dict(server.description)
    return Manifest(
        format=store.FORMAT,
        run_id=f"{now:%Y%m%dT%H%M%SZ}-{prepared.config.run.name}",
        created_at=now.isoformat(timespec="seconds"),
        config=prepared.config.model_dump(mode="json"),
        suite=prepared.suite,
        plan_digest=prepared.plan.digest,
        plan_seed=prepared.plan.seed,
        skipped=prepared.plan.skipped,
        versions=_versions(),
        host=_host(),
        engines=described,
    )


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _VERSIONS_OF:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    commit = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"],
        capture_output=True,
        text=True,
        check=False,
    )
    if commit.returncode == 0:
        versions["git"] = commit.stdout.strip()
    return versions


def _host() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {"system": platform.platform(), "cpu": model, "cores": os.cpu_count()}


@contextlib.contextmanager
def _stop_on_signals(stop: asyncio.Event) -> Any:
    """The first Ctrl-C (or SIGTERM) ends the run cleanly; a second one is not waited for."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def interrupted() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    handled = (signal.SIGINT, signal.SIGTERM)
    with contextlib.suppress(NotImplementedError):  # Windows loops take no handlers: KeyboardInterrupt ends the run
        for number in handled:
            loop.add_signal_handler(number, interrupted)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError):
            for number in handled:
                loop.remove_signal_handler(number)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
