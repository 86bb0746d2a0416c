"""A Config in, a finished run folder out: the plan laid out, collected, recorded, read by its references, tried out.

prepare_run    what to ask -> the plan; nothing is spent
start_run      the plan -> a run folder with every attempt; resume_run goes on with one
complete_run   that folder -> the same, read by its references where configured, answers tried out
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tempzero import judgements, records, suites
from tempzero.check import Preflight, describe_no_answers, explain_no_answer, preflight_providers
from tempzero.collect import Limits
from tempzero.collect.run_manifest import build_run_manifest
from tempzero.collect.session import (
    CollectedRun,
    PreparedRun,
    collect_session,
    open_budget,
    open_engines,
    planned_providers,
)
from tempzero.collect.spending import count_spent_tokens
from tempzero.collect.watcher import Watcher
from tempzero.config import Config, Provider, Setting
from tempzero.config.price_list import add_listed_prices, describe_listed_prices
from tempzero.config.shipped import BUILTIN, find_prompts
from tempzero.config.store_address import describe_place
from tempzero.engines.event_loop import run_coroutine
from tempzero.errors import RunFolderError, UsageError
from tempzero.plan import NOT_CHOSEN, Where, build_plan, choose_providers
from tempzero.reading.run_reading import score_run
from tempzero.records import Run
from tempzero.types.asked import Prompt, Suite, SuiteName
from tempzero.types.recorded import Ending, Exchange
from tempzero.workflow.asked_beside import (
    SessionFrame,
    begin_first_tokens,
    describe_first_tokens,
    finish_first_tokens,
    plan_beside,
)

__all__ = [
    "CollectedRun",
    "Limits",
    "PreparedRun",
    "Watcher",
    "complete_run",
    "count_spent_usd",
    "describe_endings",
    "describe_gaps",
    "explain_silence",
    "has_answers",
    "prepare_run",
    "resume_run",
    "score_run",
    "start_run",
]

NO_LIMITS = Limits()
_BY_CHECK = "the check before the run: "


def prepare_run(
    setting: Setting,
    *,
    only: Sequence[str] = (),
    prompts: Sequence[Path] = (),
    suite: SuiteName | None = None,
    tags: Sequence[str] = (),
    repeats: int | None = None,
    limit: int | None = None,
    where: Where | None = None,
) -> PreparedRun:
    """Load the prompts and lay out the plan; nothing is started, spent or written.

    The other arguments go before the configuration (`tags`: only prompts with one of them; `limit`: prompts at
    most; `where`: only hosted providers, or only those on this machine). Raises SuiteError and UsageError.
    """
    if repeats is not None:
        changed = tuple(p.model_copy(update={"repeats": repeats}) for p in setting.config.providers)
        setting = replace(setting, config=setting.config.model_copy(update={"providers": changed}))
    priced = add_listed_prices(setting.config.providers)
    setting = replace(setting, config=setting.config.model_copy(update={"providers": priced}))
    config = setting.config
    chosen, skipped = choose_providers(setting, only, where=where)
    if not chosen:
        raise UsageError("no provider is left to ask: " + "; ".join(f"{s.provider}: {s.reason}" for s in skipped))
    # Prompts that were named on the command line are all meant, unless a suite is named beside them.
    size = suite or ("deep" if prompts else config.run.suite or _choose_suite(config, chosen))
    named = prompts or find_prompts(config.run.prompt_names, setting.root)
    asked = _narrow_suite(suites.load_suite(named, size), tags, limit)
    return PreparedRun(setting=setting, suite=asked, plan=build_plan(config, asked, skipped=skipped))


def _choose_suite(config: Config, chosen: Sequence[Provider]) -> SuiteName:
    """How much is asked where nobody says: of the shipped prompts little, in answers as long as these models give."""
    if BUILTIN not in config.run.prompt_names:
        return "deep"
    return "hosted-quick" if any(provider.base_url is not None for provider in chosen) else "quick"


def _narrow_suite(suite: Suite, tags: Sequence[str], limit: int | None) -> Suite:
    """The prompts that carry one of the tags (no tags: all), thinned out evenly to `limit`."""
    kept = [p for p in suite.prompts if not tags or set(tags) & set(p.tags)]
    if not kept:
        known = sorted({tag for p in suite.prompts for tag in p.tags})
        raise UsageError(f"no prompt carries the tag {' or '.join(tags)}; tags in use: {', '.join(known) or 'none'}")
    if limit is not None:
        kept = _thin_out(kept, limit)
    if len(kept) == len(suite.prompts):
        return suite
    return replace(suite, prompts=tuple(kept), digest=suites.digest_prompts(kept), name=None, version=None)


def _thin_out(prompts: Sequence[Prompt], limit: int) -> list[Prompt]:
    """At most `limit` prompts, spread evenly; of a conversation all rounds or none, and one whole if none else fits."""
    asked: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        asked.setdefault(prompt.id if prompt.round is None else prompt.round.conversation, []).append(prompt)
    groups = list(asked.values())
    kept = groups[:: max(1, -(-len(groups) // limit))][:limit]
    while len(kept) > 1 and sum(map(len, kept)) > limit:
        kept.pop()
    return [prompt for group in kept for prompt in group]


def start_run(
    prepared: PreparedRun,
    *,
    watcher: Watcher,
    limits: Limits = NO_LIMITS,
    check: bool = True,
    flights: Sequence[Preflight] = (),
    first_tokens: bool = False,
) -> CollectedRun:
    """Collect a new run in the setting's results folder. Raises EngineError, WeightsError, RunFolderError, UsageError.

    With `check` every hosted provider is asked for one token first; whoever would refuse every request is not
    asked, and where that leaves nobody but a reference, nothing is started. `flights` are looks that were taken
    before: they are recorded with it, and count. With `first_tokens` the log-probabilities that tell the form of the
    weights are asked for besides, where there is a direction pack (PackError where it is damaged).
    """
    _require_prices(limits, prepared)
    return run_coroutine(_start_session(prepared, watcher, limits, check, flights, first_tokens))


def resume_run(
    path: Path,
    *,
    environ: Mapping[str, str],
    watcher: Watcher,
    limits: Limits = NO_LIMITS,
    check: bool = True,
) -> CollectedRun:
    """Ask what an interrupted run has not had answered yet, exactly as it was planned then; nothing where all is."""
    prepared = _reopen_run(records.open_run(path), environ)
    if _is_answered(records.open_run(path), prepared):
        watcher.say(f"{path.name}: everything that it asks is answered")
        return CollectedRun(path=path, interrupted=False, endings=())
    unset = [v for p in planned_providers(prepared) for v in p.variables() if not environ.get(v)]
    if unset:
        raise UsageError(f"{path}: the run was begun with {', '.join(unset)} set; set it to go on")
    _require_prices(limits, prepared)
    return run_coroutine(_resume_session(prepared, path, watcher, limits, check))


def _is_answered(run: Run, prepared: PreparedRun) -> bool:
    """Whether a session more would ask nothing, but change the manifest, and with it the root that others may hold."""
    if run.root() is None or not {one.trial for one in prepared.plan.trials} <= run.progress().complete:
        return False
    within = run.first_tokens()
    return within is None or _is_answered(within, _reopen_run(within, prepared.setting.environ))


def _reopen_run(run: Run, environ: Mapping[str, str]) -> PreparedRun:
    """A run as it was planned. Its manifest has prompts and settings: nothing is looked for outside its folder."""
    manifest = run.manifest
    plan = build_plan(run.config, manifest.suite, skipped=manifest.skipped)
    if plan.digest != manifest.plan_digest:
        raise RunFolderError(
            f"{run.path}: this tempzero lays the plan out differently; finish the run with the version that began it"
        )
    setting = Setting(config=run.config, root=run.path, environ=environ)
    return PreparedRun(setting=setting, suite=manifest.suite, plan=plan)


def count_spent_usd(run: Run) -> float:
    """What the trials of a run have cost so far: as reported, and where nothing was, the most that it can have been."""
    plan = build_plan(run.config, run.manifest.suite, skipped=run.manifest.skipped)
    planned = {one.trial: one for one in plan.trials}
    prices = {p.name: p.price for p in run.config.providers}
    total = 0.0
    for record in run.records():
        price, trial = prices[record.attempt.trial.provider], planned.get(record.attempt.trial)
        if price is not None and trial is not None:
            spent = count_spent_tokens(trial, record.attempt.exchange)
            total += price.cost(spent.prompt_tokens, spent.output_tokens)
    return total


def complete_run(path: Path, *, environ: Mapping[str, str], watcher: Watcher, run_code: bool = False) -> Run:
    """What follows collecting: references read the responses where the run's configuration says so, and answers that
    must be tried out are, code only with `run_code`; what was read or tried out before is not again.

    Raises as `score_run` and `judgements.judge` do.
    """
    if records.open_run(path).config.score.enabled:
        score_run(path, environ=environ, watcher=watcher)
    judgements.judge(path, run_code=run_code, say=watcher.say)
    return records.open_run(path)


def describe_gaps(prepared: PreparedRun, *, briefly: bool = False) -> list[str]:
    """A line for whoever will not be asked, or not everything, by circumstance; what was asked for needs no telling.

    Prices that nobody wrote down are told, too. `briefly`: one line for all who are skipped.
    """
    skipped = [s for s in prepared.plan.skipped if s.reason != NOT_CHOSEN]
    lines = [f"skipped: {one.provider}: {one.reason}" for one in skipped]
    if briefly and len(lines) > 1:
        lines = [f"{len(lines)} skipped: {', '.join(s.provider for s in skipped)} (`--dry-run` says why)"]
    for one in prepared.plan.left_out:
        more = f" and {len(one.prompts) - 1} more" if len(one.prompts) > 1 else ""
        lines.append(
            f"left out: {one.provider}: {one.prompts[0]}{more}: longer than its context of {one.context} tokens"
        )
    return [*lines, *describe_listed_prices(tuple(planned_providers(prepared))), *prepared.suite.remarks]


def describe_endings(collected: CollectedRun) -> list[str]:
    """A line for whatever was left unasked, and how to go on."""
    lines = [f"stopped: {ending.provider or 'the run'}: {ending.reason}" for ending in collected.endings]
    if any(ending.provider is None for ending in collected.endings):
        lines.append(f"`tempzero run --resume {describe_place(collected.path)}` asks what is missing")
    return lines


def explain_silence(run: Run) -> list[str]:
    """Why nobody answered a run that asked, in a few lines; none where somebody did, or nobody was asked."""
    last: dict[str, Exchange] = {}
    for record in run.records():
        if record.attempt.exchange.outcome.completion is not None:
            return []
        last[record.attempt.trial.provider] = record.attempt.exchange
    reasons = {name: explain_no_answer(run.config.provider(name), exchange) for name, exchange in last.items()}
    for ending in (one for session in run.manifest.sessions for one in session.endings):
        if ending.provider is not None and ending.reason.startswith(_BY_CHECK):
            reasons.setdefault(ending.provider, ending.reason.removeprefix(_BY_CHECK))
    return describe_no_answers(reasons.items()) if last else []


def has_answers(run: Run) -> bool:
    """Whether anybody answered anything."""
    return any(view.outcome.completion is not None for view in run.views())


def _require_prices(limits: Limits, prepared: PreparedRun) -> None:
    """A limit on the cost means nothing where a price is missing."""
    unpriced = [p.name for p in planned_providers(prepared) if p.base_url is not None and p.price is None]
    if limits.max_cost_usd is not None and unpriced:
        raise UsageError(
            f"--max-cost: {', '.join(unpriced)} has no price; give "
            "`price: {input_per_mtok: ..., output_per_mtok: ...}` (0 for an endpoint that costs nothing), or install "
            "'tempzero[prices]', a list of known prices"
        )


async def _start_session(
    prepared: PreparedRun,
    watcher: Watcher,
    limits: Limits,
    check: bool,
    flights: Sequence[Preflight],
    first_tokens: bool,
) -> CollectedRun:
    began_s = asyncio.get_running_loop().time()
    looked = await _run_preflight(prepared, watcher.say) if check else ()
    prepared, notes = _change_refused_fields(prepared, looked)
    refused = _find_refused_providers(prepared, looked)
    somebody = len(refused) < len(planned_providers(prepared))
    for line in describe_gaps(prepared, briefly=True) if somebody else ():
        watcher.say(line)
    beside = await plan_beside(prepared, refused) if first_tokens and somebody else None
    for line in describe_first_tokens(beside) if beside is not None else ():
        watcher.say(line)
    flights = (*flights, *looked, *(beside.flights if beside is not None else ()))
    frame = SessionFrame(watcher=watcher, limits=limits, budget=open_budget(limits, flights), began_s=began_s)
    async with open_engines(prepared, watcher.say, without=[e.provider for e in refused]) as opened:
        results = prepared.setting.results
        path = records.create_run(results, build_run_manifest(prepared, opened.engines, opened.served, notes))
        if beside is not None and beside.asked:
            await begin_first_tokens(beside, path, opened)
        collected = await collect_session(
            prepared, path, opened, watcher, limits, flights, refused, budget=frame.budget
        )
        if beside is None or not beside.asked:
            return collected
        return await finish_first_tokens(collected, beside.prepared, opened, frame)


async def _resume_session(
    prepared: PreparedRun, path: Path, watcher: Watcher, limits: Limits, check: bool
) -> CollectedRun:
    began_s = asyncio.get_running_loop().time()
    flights = await _run_preflight(prepared, watcher.say) if check else ()
    refused = _find_refused_providers(prepared, flights)
    frame = SessionFrame(watcher=watcher, limits=limits, budget=open_budget(limits, flights), began_s=began_s)
    async with open_engines(prepared, watcher.say, without=[e.provider for e in refused]) as opened:
        collected = await collect_session(
            prepared, path, opened, watcher, limits, flights, refused, budget=frame.budget
        )
        within = records.open_run(path).first_tokens()
        if within is None:
            return collected
        return await finish_first_tokens(collected, _reopen_run(within, prepared.setting.environ), opened, frame)


async def _run_preflight(prepared: PreparedRun, say: Callable[[str], None]) -> tuple[Preflight, ...]:
    flights = await preflight_providers(planned_providers(prepared), environ=prepared.setting.environ)
    if flights and all(f.refused for f in flights) and not _others_are_compared(prepared, flights):
        for line in describe_no_answers((f.provider.name, f.refused) for f in flights if f.refused):
            say(line)
        return flights
    met = [flight.looked[-1].exchange.outcome for flight in flights]
    if all(said.status == "missing" for said in met) and not any(f.refused for f in flights):
        return flights  # if nobody answers the run either, that is said once, at its end
    for flight, last in zip(flights, met, strict=True):
        if last.status == "missing":
            what = "is not asked" if flight.refused else "is asked all the same"
            say(f"check: {flight.provider.name} {what}: {flight.refused or f'{last.kind}: {last.detail}'}")
    return flights


def _change_refused_fields(prepared: PreparedRun, flights: Sequence[Preflight]) -> tuple[PreparedRun, tuple[str, ...]]:
    """The plan without the fields that a provider refuses and `may_drop` lets go, or `may_rename` renames; notes."""
    changed = {f.provider.name: f.provider for f in flights if f.changes}
    if not changed:
        return prepared, ()
    providers = tuple(changed.get(p.name, p) for p in prepared.config.providers)
    config = prepared.config.model_copy(update={"providers": providers})
    plan = build_plan(config, prepared.suite, skipped=prepared.plan.skipped)
    notes = [f"{flight.provider.name}: {change}" for flight in flights for change in flight.changes]
    return replace(prepared, setting=replace(prepared.setting, config=config), plan=plan), tuple(notes)


def _find_refused_providers(prepared: PreparedRun, flights: Sequence[Preflight]) -> tuple[Ending, ...]:
    """Who is not asked and why; everybody, where the check leaves nobody but references."""
    found = [Ending(provider=f.provider.name, reason=f"{_BY_CHECK}{f.refused}") for f in flights if f.refused]
    names = {e.provider for e in found}
    left = [p.name for p in planned_providers(prepared) if p.name not in names]
    if found and not _others_are_compared(prepared, flights):
        reason = "the check before the run left nobody to compare, so nothing was asked"
        found += [Ending(provider=name, reason=reason) for name in left]
    return tuple(found)


def _others_are_compared(prepared: PreparedRun, flights: Sequence[Preflight]) -> bool:
    """Whether the check leaves anybody but references."""
    refused = {f.provider.name for f in flights if f.refused}
    left = {p.name for p in planned_providers(prepared)} - refused
    return bool(left - set(prepared.config.run.references))
