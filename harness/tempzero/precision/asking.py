"""A configuration and a direction pack in, a run folder with one-token requests and their log-probabilities out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tempzero.check import MOST_LOGPROBS, TopLogprobs, find_top_logprobs
from tempzero.collect.session import CollectedRun, PreparedRun
from tempzero.collect.watcher import Watcher
from tempzero.config import Provider, Setting
from tempzero.engines.event_loop import run_coroutine
from tempzero.errors import UsageError
from tempzero.plan import build_plan, choose_providers
from tempzero.precision.packs import DirectionPack, PackPrompt
from tempzero.suites import digest_prompts
from tempzero.types.asked import Prompt, Skipped, Suite
from tempzero.workflow.pipeline import NO_LIMITS, Limits, start_run

RUN_NAME = "fingerprint"


@dataclass(frozen=True, kw_only=True, slots=True)
class FingerprintPlan:
    """Who is asked how; nothing is spent yet, but for a request or a few of each hosted provider."""

    prepared: PreparedRun
    ways: Mapping[str, TopLogprobs]


def plan_fingerprint(
    setting: Setting, pack: DirectionPack, *, only: Sequence[str] = (), prompts: int | None = None
) -> FingerprintPlan:
    """Lay out a request for each prompt of the pack to every provider of its model that gives log-probabilities.

    `prompts`: at most so many, spread over the pack. Raises UsageError where nobody is left, EngineError.
    """
    chosen, skipped = choose_providers(setting, only)
    fitting, others = _sort_by_model(chosen, pack.model)
    ways = run_coroutine(_find_ways(fitting, pack, setting.environ))
    asked = [p for p in fitting if ways[p.name].given]
    silent = [Skipped(provider=p.name, reason=f"no log-probabilities: {ways[p.name].word}") for p in fitting]
    skipped = (*skipped, *others, *(s for s in silent if not ways[s.provider].given))
    if not asked:
        raise UsageError("no provider is left to ask: " + "; ".join(f"{s.provider}: {s.reason}" for s in skipped))
    limit = max(ways[p.name].max_tokens for p in asked)
    suite = build_pack_suite(pack, prompts, max_tokens=limit)
    changed = {p.name: _ask_logprobs(p, ways[p.name]) for p in asked}
    config = setting.config.model_copy(
        update={
            "providers": tuple(changed.get(p.name, p) for p in setting.config.providers),
            "conditions": (),
            "score": setting.config.score.model_copy(update={"enabled": False}),
        }
    )
    prepared = PreparedRun(
        setting=replace(setting, config=config), suite=suite, plan=build_plan(config, suite, skipped=skipped)
    )
    return FingerprintPlan(prepared=prepared, ways=ways)


def ask_fingerprint(
    planned: FingerprintPlan, *, watcher: Watcher, name: str = RUN_NAME, limits: Limits = NO_LIMITS
) -> CollectedRun:
    """Ask, and record as every run does, under this name. Raises EngineError, WeightsError, RunFolderError."""
    prepared, setting = planned.prepared, planned.prepared.setting
    run = setting.config.run.model_copy(update={"name": name})
    named = replace(setting, config=setting.config.model_copy(update={"run": run}))
    return start_run(replace(prepared, setting=named), watcher=watcher, limits=limits, check=False)


def build_pack_suite(pack: DirectionPack, prompts: int | None, *, max_tokens: int = 1) -> Suite:
    """The pack's prompts, or so many of them, as a suite to ask."""
    step = 1 if prompts is None else max(1, len(pack.prompts) // prompts)
    kept = [_to_prompt(p, max_tokens) for p in pack.prompts[::step]][:prompts]
    return Suite(prompts=tuple(kept), digest=digest_prompts(kept))


def _to_prompt(one: PackPrompt, max_tokens: int) -> Prompt:
    return Prompt(id=one.id, messages=one.messages, family=RUN_NAME, max_tokens=max_tokens)


def _sort_by_model(providers: Sequence[Provider], model: str) -> tuple[list[Provider], list[Skipped]]:
    fitting, others = [], []
    for provider in providers:
        if provider.base_url is None and provider.serve is None:
            others.append(Skipped(provider=provider.name, reason="gives no log-probabilities: it is no endpoint"))
        elif provider.claimed_model != model:
            reason = f"the pack is of {model}, this one claims {provider.claimed_model}"
            others.append(Skipped(provider=provider.name, reason=reason))
        else:
            fitting.append(provider)
    return fitting, others


async def _find_ways(
    providers: Sequence[Provider], pack: DirectionPack, environ: Mapping[str, str]
) -> dict[str, TopLogprobs]:
    """llama.cpp's server, which we start ourselves, gives all that any host gives; others are asked once."""
    prompt = pack.prompts[0].messages[-1].content
    return {
        p.name: await find_top_logprobs(p, prompt, environ)
        if p.base_url is not None
        else TopLogprobs(asked=MOST_LOGPROBS, given=MOST_LOGPROBS)
        for p in providers
    }


def _ask_logprobs(provider: Provider, way: TopLogprobs) -> Provider:
    warm = {"temperature": 1.0, "top_p": 1.0} if way.whose == "sampled" else {}
    asked = {"logprobs": True, "top_logprobs": way.asked}
    return provider.model_copy(update={"request": {**provider.request, **asked}, "repeats": 1, "stream": False, **warm})
