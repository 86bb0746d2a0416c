"""A Config in, a finished run folder out: engines started, the plan collected, recorded and read by its references."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tempzero import records, suites
from tempzero.check import Preflight, preflight_providers
from tempzero.collect import Budget, Limits, collect_attempts
from tempzero.config import Config, Local, Provider, Setting
from tempzero.config.shipped import find_clone, find_prompts
from tempzero.engines import Engine, apply_form, open_engine, open_local_engine, open_model, open_reader
from tempzero.engines.hosted import clock
from tempzero.engines.local import weights
from tempzero.engines.local.serve import RunningServer, run_server
from tempzero.errors import EngineError, RunFolderError, UsageError, WeightsError
from tempzero.plan import build_plan, choose_providers
from tempzero.reading.scorer import EndpointReference, LogitsReference, Scorer
from tempzero.types.asked import Plan, Suite, SuiteName
from tempzero.types.recorded import CLOCK_SKEW, Attempt, Ending, Manifest

__all__ = ["CollectedRun", "Limits", "PreparedRun", "Watcher", "prepare_run", "resume_run", "start_run"]

NO_LIMITS = Limits()
# An answer is shown as had once it has been forced to the disk; so often at most.
_SYNC_EVERY_S = 0.2
_VERSIONED_PACKAGES = ("tempzero", "openai", "httpx2", "numpy", "pandas", "scipy", "xllamacpp", "gguf", "jinja2")


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedRun:
    """A run that is planned and not yet paid for: `setting` with what the command line changed in it."""

    setting: Setting
    suite: Suite
    plan: Plan

    @property
    def config(self) -> Config:
        """What is asked, as it was planned."""
        return self.setting.config


@dataclass(frozen=True, kw_only=True, slots=True)
class Watcher:
    """Who is told what while a run goes on: lines for a log, and every attempt as it is recorded."""

    say: Callable[[str], None]
    begin: Callable[[Plan, int], None]
    attempt: Callable[[Attempt], None]
    read: Callable[[str, int, int], None]
    """A reference, how many of the waiting responses it has read, and how many there are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectedRun:
    """Where the run is, whether somebody interrupted it, and why what was left unasked was."""

    path: Path
    interrupted: bool
    endings: tuple[Ending, ...]


def prepare_run(
    setting: Setting,
    *,
    only: Sequence[str] = (),
    prompts: Sequence[Path] = (),
    suite: SuiteName | None = None,
    tags: Sequence[str] = (),
    repeats: int | None = None,
    limit: int | None = None,
) -> PreparedRun:
    """Load the prompts and lay out the plan; nothing is started, spent or written.

    The other arguments go before the configuration (`tags`: only prompts with one of them; `limit`: prompts at
    most). Raises SuiteError and UsageError.
    """
    if repeats is not None:
        changed = tuple(p.model_copy(update={"repeats": repeats}) for p in setting.config.providers)
        setting = replace(setting, config=setting.config.model_copy(update={"providers": changed}))
    config = setting.config
    # Prompts that were named on the command line are all meant, unless a suite is named beside them.
    size = suite or ("deep" if prompts else config.run.suite)
    named = prompts or find_prompts(config.run.prompt_names, setting.root)
    asked = _narrow_suite(suites.load_suite(named, size), tags, limit)
    chosen, skipped = choose_providers(setting, only)
    if not chosen:
        raise UsageError("no provider is left to ask: " + "; ".join(f"{s.provider}: {s.reason}" for s in skipped))
    return PreparedRun(setting=setting, suite=asked, plan=build_plan(config, asked, skipped=skipped))


def _narrow_suite(suite: Suite, tags: Sequence[str], limit: int | None) -> Suite:
    """The prompts that carry one of the tags (no tags: all), thinned out evenly to `limit`."""
    kept = [p for p in suite.prompts if not tags or set(tags) & set(p.tags)]
    if not kept:
        known = sorted({tag for p in suite.prompts for tag in p.tags})
        raise UsageError(f"no prompt carries the tag {' or '.join(tags)}; tags in use: {', '.join(known) or 'none'}")
    if limit is not None:
        kept = kept[:: max(1, -(-len(kept) // limit))][:limit]
    if len(kept) == len(suite.prompts):
        return suite
    return replace(suite, prompts=tuple(kept), digest=suites.digest_prompts(kept), name=None, version=None)


def start_run(
    prepared: PreparedRun,
    *,
    watcher: Watcher,
    limits: Limits = NO_LIMITS,
    check: bool = True,
) -> CollectedRun:
    """Collect a new run in the setting's results folder. Raises EngineError, WeightsError, RunFolderError, UsageError.

    With `check` every hosted provider is asked for one token first; whoever would refuse every request is not
    asked, and where that leaves nobody but a reference, nothing is started.
    """
    _require_prices(limits, prepared)
    return asyncio.run(_start_session(prepared, watcher, limits, check))


def resume_run(
    path: Path,
    *,
    environ: Mapping[str, str],
    watcher: Watcher,
    limits: Limits = NO_LIMITS,
    check: bool = True,
) -> CollectedRun:
    """Ask what an interrupted run has not had answered yet, exactly as it was planned then."""
    run = records.open_run(path)
    manifest = run.manifest
    plan = build_plan(run.config, manifest.suite, skipped=manifest.skipped)
    if plan.digest != manifest.plan_digest:
        raise RunFolderError(
            f"{path}: this tempzero lays the plan out differently; finish the run with the version that began it"
        )
    # Prompts and settings are those of the manifest: nothing is looked for outside the run's folder any more.
    setting = Setting(config=run.config, root=path, environ=environ)
    prepared = PreparedRun(setting=setting, suite=manifest.suite, plan=plan)
    unset = [v for p in _planned_providers(prepared) for v in p.variables() if not environ.get(v)]
    if unset:
        raise UsageError(f"{path}: the run was begun with {', '.join(unset)} set; set it to go on")
    _require_prices(limits, prepared)
    return asyncio.run(_resume_session(prepared, path, watcher, limits, check))


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
        asyncio.run(reader.aclose())


def _read_in_process(
    run: records.Run, provider: Provider, local: Local, writer: records.ScoreWriter, watcher: Watcher
) -> None:
    settings = run.config.score
    engine = open_local_engine(provider, weights.obtain_weights_for(run.config, local, say=watcher.say))
    try:
        scorer = Scorer(run, provider.name, LogitsReference(engine), writer.append)
        scorer.read_responses(lambda done, of: watcher.read(provider.name, done, of))
        for form in settings.forms if scorer.sample_for_forms(settings) else ():
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
        asyncio.run(engine.aclose())


def _require_prices(limits: Limits, prepared: PreparedRun) -> None:
    """A limit on the cost means nothing where a price is missing."""
    unpriced = [p.name for p in _planned_providers(prepared) if p.base_url is not None and p.price is None]
    if limits.max_cost_usd is not None and unpriced:
        raise UsageError(
            f"--max-cost: {', '.join(unpriced)} has no price; give "
            "`price: {input_per_mtok: ..., output_per_mtok: ...}` (0 for an endpoint that costs nothing)"
        )


async def _start_session(prepared: PreparedRun, watcher: Watcher, limits: Limits, check: bool) -> CollectedRun:
    flights = await _run_preflight(prepared, watcher.say) if check else ()
    prepared, notes = _drop_refused_fields(prepared, flights)
    refused = _find_refused_providers(prepared, flights)
    async with _open_engines(prepared, watcher.say, without=[e.provider for e in refused]) as opened:
        results = prepared.setting.results
        path = records.create_run(results, _build_run_manifest(prepared, opened.engines, opened.served, notes))
        return await _collect_session(prepared, path, opened, watcher, limits, flights, refused)


async def _resume_session(
    prepared: PreparedRun, path: Path, watcher: Watcher, limits: Limits, check: bool
) -> CollectedRun:
    flights = await _run_preflight(prepared, watcher.say) if check else ()
    refused = _find_refused_providers(prepared, flights)
    async with _open_engines(prepared, watcher.say, without=[e.provider for e in refused]) as opened:
        return await _collect_session(prepared, path, opened, watcher, limits, flights, refused)


async def _run_preflight(prepared: PreparedRun, say: Callable[[str], None]) -> tuple[Preflight, ...]:
    flights = await preflight_providers(_planned_providers(prepared), environ=prepared.setting.environ)
    for flight in flights:
        last = flight.looked[-1].exchange.outcome
        if last.status == "missing":
            what = "is not asked" if flight.refused else "is asked all the same"
            say(f"check: {flight.provider.name} {what}: {last.kind}: {last.detail}")
    return flights


def _drop_refused_fields(prepared: PreparedRun, flights: Sequence[Preflight]) -> tuple[PreparedRun, tuple[str, ...]]:
    """The plan without the fields that a provider refuses and `may_drop` lets go, and a note on each."""
    changed = {f.provider.name: f.provider for f in flights if f.dropped}
    if not changed:
        return prepared, ()
    providers = tuple(changed.get(p.name, p) for p in prepared.config.providers)
    config = prepared.config.model_copy(update={"providers": providers})
    plan = build_plan(config, prepared.suite, skipped=prepared.plan.skipped)
    notes = [
        f"{f.provider.name}: it refuses {' and '.join(f.dropped)}; asked without, as may_drop allows"
        for f in flights
        if f.dropped
    ]
    return replace(prepared, setting=replace(prepared.setting, config=config), plan=plan), tuple(notes)


def _find_refused_providers(prepared: PreparedRun, flights: Sequence[Preflight]) -> tuple[Ending, ...]:
    """Who is not asked and why; everybody, where the check leaves nobody but references."""
    found = [
        Ending(provider=f.provider.name, reason=f"the check before the run: {f.refused}") for f in flights if f.refused
    ]
    names = {e.provider for e in found}
    left = [p.name for p in _planned_providers(prepared) if p.name not in names]
    if found and not set(left) - set(prepared.config.run.references):
        reason = "the check before the run left nobody to compare, so nothing was asked"
        found += [Ending(provider=name, reason=reason) for name in left]
    return tuple(found)


async def _collect_session(
    prepared: PreparedRun,
    path: Path,
    opened: _OpenedEngines,
    watcher: Watcher,
    limits: Limits,
    flights: Sequence[Preflight],
    refused: Sequence[Ending],
) -> CollectedRun:
    looked = [one for flight in flights for one in flight.looked]
    budget = Budget(limits, requests=len(looked), cost_usd=sum(_preflight_cost_usd(f) for f in flights))
    stopping, clocks = _StopSwitch(), _ClockSkews()
    with _stop_on_signals(stopping), records.open_run_writer(path, now=_session_timestamp()) as writer:
        records.record_preflight(path, [(one.provider, one.what, one.exchange) for one in looked])
        progress = records.open_run(path).progress()
        watcher.begin(prepared.plan, len(progress.complete))
        stopping.after(limits.max_minutes)
        async with _acknowledge_attempts(writer, watcher.attempt, stopping) as had:
            endings = await collect_attempts(
                prepared.plan,
                config=prepared.config,
                suite=prepared.suite,
                engines=opened.engines,
                attempts=progress.attempts,
                complete=progress.complete,
                write=lambda attempt: clocks.look(writer.append(attempt).attempt),
                progress=had,
                stop=stopping.event,
                budget=budget,
                without=[e.provider for e in refused if e.provider],
                renew=opened.renew,
            )
        endings = (*refused, *endings)
        if stopping.by_deadline:
            endings = (Ending(provider=None, reason=f"--max-minutes {limits.max_minutes:g} were over"), *endings)
        records.finish_session(path, writer, now=_session_timestamp(), endings=endings, notes=clocks.notes())
    return CollectedRun(path=path, interrupted=stopping.by_signal, endings=endings)


def _preflight_cost_usd(flight: Preflight) -> float:
    """What the check itself cost, as far as it was reported."""
    price, answers = flight.provider.price, [one.exchange.outcome.completion for one in flight.looked]
    if price is None:
        return 0.0
    return sum(price.cost(a.prompt_tokens or 0, a.completion_tokens or 0) for a in answers if a is not None)


class _ClockSkews:
    """Whose clock is far from this machine's."""

    def __init__(self) -> None:
        self._ahead_s: dict[str, float] = {}

    def look(self, attempt: Attempt) -> None:
        """Once a provider is enough."""
        if CLOCK_SKEW in attempt.exchange.outcome.flags and attempt.trial.provider not in self._ahead_s:
            self._ahead_s[attempt.trial.provider] = clock.clock_lead_s(attempt.exchange) or 0.0

    def notes(self) -> list[str]:
        """A line for each: nobody knows which of the two is right."""
        return [
            f"{name}: its clock is {abs(s):.0f} s {'ahead of' if s > 0 else 'behind'} this machine's; times of day in "
            "the records are this machine's, durations need neither"
            for name, s in self._ahead_s.items()
        ]


class _StopSwitch:
    """When and why collecting stops before its end."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.by_signal = self.by_deadline = False

    def after(self, minutes: float | None) -> None:
        """Stop at a deadline: what is then under way is cancelled."""
        if minutes is not None:
            asyncio.get_running_loop().call_later(60 * minutes, self._deadline)

    def _deadline(self) -> None:
        self.by_deadline = True
        self.event.set()


@contextlib.asynccontextmanager
async def _acknowledge_attempts(
    writer: records.RunWriter, show: Callable[[Attempt], None], stopping: _StopSwitch
) -> AsyncIterator[Callable[[Attempt], None]]:
    """Show an attempt once it is on the disk: one sync, in a thread, for all that were written meanwhile."""
    written: list[Attempt] = []
    news, over = asyncio.Event(), asyncio.Event()

    def had(attempt: Attempt) -> None:
        written.append(attempt)
        news.set()

    async def acknowledge() -> None:
        while not over.is_set() or written:
            if not over.is_set():
                await news.wait()
            news.clear()
            batch = written[:]
            written.clear()
            await asyncio.to_thread(writer.sync)
            for attempt in batch:
                show(attempt)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SYNC_EVERY_S):
                    await over.wait()

    working = asyncio.ensure_future(acknowledge())
    working.add_done_callback(lambda _: stopping.event.set())  # a disk that cannot be synced to ends the run
    try:
        yield had
    finally:
        over.set()
        news.set()
        await working


@dataclass(frozen=True, kw_only=True, slots=True)
class _OpenedEngines:
    """What answers: engines by provider (or `provider/condition`), local servers, and a way to open an engine anew."""

    engines: dict[str, Engine]
    served: dict[str, RunningServer]
    renew: Callable[[str], Engine]


@contextlib.asynccontextmanager
async def _open_engines(
    prepared: PreparedRun, say: Callable[[str], None], *, without: Sequence[str | None]
) -> AsyncIterator[_OpenedEngines]:
    """Every engine of the plan, started; all of them stopped at the end, whatever happens."""
    environ = prepared.setting.environ
    async with contextlib.AsyncExitStack() as stack:
        engines: dict[str, Engine] = {}
        served: dict[str, RunningServer] = {}

        def renew(name: str) -> Engine:
            """The engine of a hosted provider once more, its key read anew."""
            provider = prepared.config.provider(name.partition("/")[0])
            engine = open_engine(provider, environ=environ) if provider.base_url is not None else engines[name]
            stack.push_async_callback(engine.aclose)
            return engine

        for provider in (p for p in _planned_providers(prepared) if p.name not in without):
            spec = provider.serve or provider.local
            file = None
            if spec is not None:
                file = await asyncio.to_thread(weights.obtain_weights_for, prepared.config, spec, say=say)
            base_url = None
            if provider.serve is not None and file is not None:
                served[provider.name] = await stack.enter_async_context(run_server(provider, file))
                base_url = served[provider.name].base_url
            for name, entry in _list_engine_entries(prepared.config, provider):
                engine = await asyncio.to_thread(open_engine, entry, environ=environ, weights=file, base_url=base_url)
                stack.push_async_callback(engine.aclose)
                engines[name] = engine
            say(f"ready: {provider.name}")
        yield _OpenedEngines(engines=engines, served=served, renew=renew)


def _list_engine_entries(config: Config, provider: Provider) -> list[tuple[str, Provider]]:
    """The provider, and where a condition changes its request bodies, the provider under it as well."""
    found = [(provider.name, provider)]
    for condition in config.asked_under():
        under = config.under(provider, condition)
        if under is not None and under.extra_body != provider.extra_body:
            found.append((f"{provider.name}/{condition.name}", under))
    return found


def _planned_providers(prepared: PreparedRun) -> list[Provider]:
    skipped = {s.provider for s in prepared.plan.skipped}
    return [p for p in prepared.config.providers if p.name not in skipped]


def _build_run_manifest(
    prepared: PreparedRun, engines: Mapping[str, Engine], served: Mapping[str, RunningServer], notes: tuple[str, ...]
) -> Manifest:
    now = datetime.now(UTC)
    described: dict[str, dict[str, Any]] = {
        name: dict(engine.describe()) for name, engine in engines.items() if "/" not in name
    }
    for name, server in served.items():
        described[name]["server"] = dict(server.description)
    return Manifest(
        format=records.RUN_FORMAT,
        run_id=f"{now:%Y%m%dT%H%M%SZ}-{prepared.config.run.name}",
        created_at=now.isoformat(timespec="seconds"),
        config=prepared.config.model_dump(mode="json"),
        suite=prepared.suite,
        plan_digest=prepared.plan.digest,
        plan_seed=prepared.plan.seed,
        skipped=prepared.plan.skipped,
        versions=_installed_versions(),
        host=_describe_host(),
        engines=described,
        notes=(*prepared.suite.remarks, *notes),
    )


def _installed_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _VERSIONED_PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    # An installed package may lie inside a repository of its user's, whose commit says nothing about it.
    clone, git = find_clone(), shutil.which("git")
    if git is not None and clone is not None and (clone / ".git").exists():
        commit = subprocess.run(
            [git, "-C", str(clone), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            text=True,
            check=False,
        )
        if commit.returncode == 0:
            versions["git"] = commit.stdout.strip()
    return versions


def _describe_host() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {"system": platform.platform(), "cpu": model, "cores": os.cpu_count()}


@contextlib.contextmanager
def _stop_on_signals(stopping: _StopSwitch) -> Any:
    """The first Ctrl-C (or SIGTERM) ends the run cleanly; a second one is not waited for."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def interrupted() -> None:
        if stopping.by_signal and task is not None:
            task.cancel()
        stopping.by_signal = True
        stopping.event.set()

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


def _session_timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
