"""A configuration and a direction pack in, who is asked for first tokens' log-probabilities of which prompts, out.

Whoever asks them (a run beside its own prompts, a night, `tempzero fingerprint`) starts this as any run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tempzero.check import MOST_LOGPROBS, SMALLEST_LIMIT, CheckExchange, Preflight, TopLogprobs, find_top_logprobs
from tempzero.collect.session import PreparedRun
from tempzero.config import Provider, Setting
from tempzero.engines.event_loop import run_coroutine
from tempzero.errors import UsageError
from tempzero.plan import NOT_CHOSEN, build_plan, choose_providers
from tempzero.precision.packs import DirectionPack, PackPrompt, load_pack
from tempzero.precision.shipped_packs import find_shipped_pack
from tempzero.suites import digest_prompts
from tempzero.types.asked import Prompt, Skipped, Suite

RUN_NAME = "fingerprint"


@dataclass(frozen=True, kw_only=True, slots=True)
class FingerprintPlan:
    """Who is asked how; nothing is spent yet, but for a request or a few of each hosted provider: `flights`."""

    pack: DirectionPack
    prepared: PreparedRun
    ways: Mapping[str, TopLogprobs]
    flights: tuple[Preflight, ...] = ()

    @property
    def asked(self) -> tuple[str, ...]:
        """Those that give log-probabilities."""
        return tuple(name for name, way in self.ways.items() if way.given)

    def list_gaps(self) -> list[str]:
        """A line for whoever is not asked by circumstance; what was asked for needs no telling."""
        skipped = (s for s in self.prepared.plan.skipped if s.reason != NOT_CHOSEN)
        return [f"skipped: {one.provider}: {one.reason}" for one in skipped]


def choose_configured_pack(setting: Setting, models: Sequence[str]) -> DirectionPack | None:
    """The pack that `run.direction_pack` names, else the one that is shipped for one of these models, if any."""
    named = setting.config.run.direction_pack
    return find_shipped_pack(models) if named is None else load_pack(setting.root / named)


def plan_fingerprint(
    setting: Setting,
    pack: DirectionPack,
    *,
    only: Sequence[str] = (),
    prompts: int | None = None,
    name: str = RUN_NAME,
) -> FingerprintPlan:
    """A run of this name: a request for each prompt of the pack to every provider of its model that gives some.

    `prompts`: at most so many, spread over the pack. Raises UsageError where nobody is left, EngineError.
    """
    chosen, skipped = choose_providers(setting, only)
    planned = run_coroutine(find_who_gives(setting, pack, chosen, skipped=skipped, prompts=prompts, name=name))
    if not planned.asked:
        reasons = (f"{s.provider}: {s.reason}" for s in planned.prepared.plan.skipped)
        raise UsageError(f"no provider is left to ask: {'; '.join(reasons)}")
    return planned


async def find_who_gives(
    setting: Setting,
    pack: DirectionPack,
    chosen: Sequence[Provider],
    *,
    skipped: Sequence[Skipped] = (),
    prompts: int | None = None,
    name: str = RUN_NAME,
) -> FingerprintPlan:
    """The same of these providers, hosted ones asked how many they give; perhaps nobody is left. Raises EngineError.

    llama.cpp's server, which we start ourselves, gives all that any host gives.
    """
    fitting = [p for p in chosen if _explain_misfit(p, pack) is None]
    hosted, opening = [p for p in fitting if p.base_url is not None], _choose_opening(pack)
    found = await asyncio.gather(*[find_top_logprobs(p, opening, setting.environ) for p in hosted])
    told = dict(zip((p.name for p in hosted), found, strict=True))
    ways = {p.name: told.get(p.name, _every_logprob()) for p in fitting}
    flights = tuple(_to_preflight(p, told[p.name]) for p in hosted)
    return replace(_lay_out(setting, pack, chosen, ways, skipped, prompts, name), flights=flights)


def estimate_first_tokens(
    setting: Setting, chosen: Sequence[Provider], *, skipped: Sequence[Skipped] = ()
) -> FingerprintPlan | None:
    """What a run of these providers would ask besides at most: as if each of the pack's model gave log-probabilities.

    None where `run.fingerprint` is 0, where there is no pack, or nobody of its model.
    """
    prompts = setting.config.run.fingerprint
    pack = choose_configured_pack(setting, [p.claimed_model for p in chosen]) if prompts else None
    ways = {p.name: _every_logprob(p) for p in chosen if pack is not None and _explain_misfit(p, pack) is None}
    return _lay_out(setting, pack, chosen, ways, skipped, prompts, RUN_NAME) if pack is not None and ways else None


def build_pack_suite(pack: DirectionPack, prompts: int | None, *, max_tokens: int = 1) -> Suite:
    """The pack's prompts, or so many of them, as a suite to ask."""
    step = 1 if prompts is None else max(1, len(pack.prompts) // prompts)
    kept = [_to_prompt(p, max_tokens) for p in pack.prompts[::step]][:prompts]
    return Suite(prompts=tuple(kept), digest=digest_prompts(kept))


def _lay_out(
    setting: Setting,
    pack: DirectionPack,
    chosen: Sequence[Provider],
    ways: Mapping[str, TopLogprobs],
    skipped: Sequence[Skipped],
    prompts: int | None,
    name: str,
) -> FingerprintPlan:
    misfits = [Skipped(provider=p.name, reason=why) for p in chosen if (why := _explain_misfit(p, pack)) is not None]
    giving = {name: way for name, way in ways.items() if way.given}
    asked = {p.name: _ask_logprobs(p, giving[p.name]) for p in chosen if p.name in giving}
    limit = max((pack.answer_tokens, *(ways[p].max_tokens for p in asked)))
    suite = build_pack_suite(pack, prompts, max_tokens=limit)
    config = setting.config.model_copy(
        update={
            "run": setting.config.run.model_copy(update={"name": name, "sessions": 1}),
            "providers": tuple(asked.get(p.name, p) for p in setting.config.providers),
            "conditions": (),
            "score": setting.config.score.model_copy(update={"enabled": False}),
        }
    )
    plan = build_plan(config, suite, skipped=(*skipped, *misfits, *_list_mute(ways)))
    prepared = PreparedRun(setting=replace(setting, config=config), suite=suite, plan=plan)
    return FingerprintPlan(pack=pack, prepared=prepared, ways=ways)


def _list_mute(ways: Mapping[str, TopLogprobs]) -> list[Skipped]:
    return [
        Skipped(provider=name, reason=f"no log-probabilities: {way.word}")
        for name, way in ways.items()
        if not way.given
    ]


def _to_prompt(one: PackPrompt, max_tokens: int) -> Prompt:
    return Prompt(id=one.id, messages=one.messages, family=RUN_NAME, max_tokens=max_tokens)


def _explain_misfit(provider: Provider, pack: DirectionPack) -> str | None:
    """Why the pack says nothing of it, whatever it gives."""
    if provider.base_url is None and provider.serve is None:
        return "gives no log-probabilities: it is no endpoint"
    if provider.claimed_model != pack.model:
        return f"the pack is of {pack.model}, this one claims {provider.claimed_model}"
    return None


def _choose_opening(pack: DirectionPack) -> str:
    """The prompt whose answer may begin in the most ways: one that is sure of its first token tells nobody's."""
    first = pack.logprobs[pack.rows.places == 0, 0]
    return pack.prompts[int(first.argmin())].messages[-1].content


def _every_logprob(provider: Provider | None = None) -> TopLogprobs:
    """What is asked for at most: some hosts refuse so few tokens as are needed."""
    limit = SMALLEST_LIMIT if provider is not None and provider.base_url is not None else 1
    return TopLogprobs(asked=MOST_LOGPROBS, given=MOST_LOGPROBS, max_tokens=limit)


def _to_preflight(provider: Provider, way: TopLogprobs) -> Preflight:
    looked = (CheckExchange(provider=provider.name, what="top_logprobs", exchange=e) for e in way.exchanges)
    return Preflight(provider=provider, changes=(), refused=None, looked=tuple(looked))


def _ask_logprobs(provider: Provider, way: TopLogprobs) -> Provider:
    warm = {"temperature": 1.0, "top_p": 1.0} if way.whose == "sampled" else {}
    asked = {"logprobs": True, "top_logprobs": way.asked}
    return provider.model_copy(update={"request": {**provider.request, **asked}, "repeats": 1, "stream": False, **warm})
