"""Config and prompts in, a Plan out: trials in matched blocks, a seeded order, a digest, an estimate."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from tempzero.canonical_json import to_ascii_canonical_json
from tempzero.config import Condition, Config, Provider, Setting, refuse_unknown_providers
from tempzero.types.asked import (
    FamilyEstimate,
    LeftOut,
    Message,
    Plan,
    PlannedTrial,
    Prompt,
    ProviderEstimate,
    Skipped,
    Suite,
    Trial,
)

NOT_CHOSEN = "not among those that the command line names"
DEMO = "a demonstration, and a hosted provider with a key is asked; --local asks it"
Where = Literal["hosted", "local"]
"""Which providers a command asks: hosted ones, or those on this machine."""

# English runs at about four characters a token; three keeps the estimate an upper one for most text.
_CHARS_PER_TOKEN = 3
_TEMPLATE_TOKENS_PER_MESSAGE = 8
# What a large picture comes to at most hosts that say so.
_TOKENS_OF_IMAGE = 2_000
# Hardly any text runs longer a token: what does not fit by this count does not fit.
_MOST_CHARS_PER_TOKEN = 5


def choose_providers(
    setting: Setting, only: Collection[str] = (), *, where: Where | None = None
) -> tuple[tuple[Provider, ...], tuple[Skipped, ...]]:
    """The providers that take part, and those that do not with the reason.

    `only` are names from the command line; empty means all. `where`: only hosted ones, or only those on this machine;
    None: all, but for a demonstration where a hosted provider with a key is asked. A pack that the others are judged by
    takes part with whoever does, for nobody is asked for it. Raises UsageError for an unknown name.
    """
    refuse_unknown_providers(setting.config, only)
    reasons: dict[str, str | None] = {}
    ready = [p for p in setting.config.providers if _reason_to_skip(p, setting.environ, only) is None]
    has_key = where is None and not only and any(p.base_url and p.api_key_env for p in ready)
    for provider in setting.config.providers:
        reason = _reason_to_skip(provider, setting.environ, only)
        if reason is None and where is not None and (provider.base_url is not None) != (where == "hosted"):
            reason = NOT_CHOSEN
        elif reason is None and provider.demo and has_key:
            reason = DEMO
        reasons[provider.name] = reason
    if None in reasons.values():
        reasons |= dict.fromkeys((n for n in _list_judging_packs(setting.config) if reasons[n] == NOT_CHOSEN), None)
    return (
        tuple(p for p in setting.config.providers if reasons[p.name] is None),
        tuple(Skipped(provider=name, reason=reason) for name, reason in reasons.items() if reason is not None),
    )


def _list_judging_packs(config: Config) -> list[str]:
    judging = {*config.run.references, *config.score.honest_endpoints}
    return [p.name for p in config.providers if p.pack is not None and p.enabled and p.name in judging]


def build_plan(config: Config, suite: Suite, *, skipped: Sequence[Skipped] = ()) -> Plan:
    """Lay out every trial of every provider that is not skipped. Pure: same input, same plan.

    A block is one prompt asked of every provider once under each condition. The repeats of a
    prompt are as far apart as the run is long, so that a slow change of the provider shows as
    divergence (under a condition with a warm cache they follow one another); the order of prompts
    within a repeat and of providers within a block is drawn from the seed.
    """
    left_out = {s.provider for s in skipped}
    providers = [p for p in config.providers if p.name not in left_out]
    lanes = [
        _PlanLane(provider, condition)
        for condition in config.asked_under()
        for p in providers
        if (provider := config.under(p, condition)) is not None
    ]
    order = random.Random(config.run.seed)
    trials: list[PlannedTrial] = []
    block = 0
    for round_ in range(max((lane.repeats for lane in lanes), default=0)):
        for prompt in _sort_rounds(order.sample(suite.prompts, len(suite.prompts))):
            for lane in order.sample(lanes, len(lanes)):
                if fits_context(lane.provider, prompt):
                    trials += [_plan_trial(lane, prompt, repeat, block) for repeat in lane.repeats_in(round_)]
            block += 1
    return Plan(
        trials=tuple(trials),
        seed=config.run.seed,
        digest=_digest_plan(config, providers, suite, trials),
        estimates=tuple(_estimate_provider(p, [t for t in trials if t.trial.provider == p.name]) for p in providers),
        skipped=tuple(skipped),
        families=_estimate_families(providers, suite, trials),
        left_out=_find_oversized_prompts(providers, suite),
    )


def _sort_rounds(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The same with the rounds of each conversation in their order, at the places that were drawn for them."""
    rounds: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        if prompt.round is not None:
            rounds.setdefault(prompt.round.conversation, []).append(prompt)
    if not rounds:
        return list(prompts)
    waiting = {
        name: iter(sorted(own, key=lambda one: one.round.number if one.round else 0)) for name, own in rounds.items()
    }
    return [prompt if prompt.round is None else next(waiting[prompt.round.conversation]) for prompt in prompts]


def fits_context(provider: Provider, prompt: Prompt) -> bool:
    """Whether the provider's context could hold prompt and answer, as far as it is known.

    Only what is surely too long is left out. Where it is close the provider is asked, and says itself that it is
    too long: that answer is recorded, and costs nothing.
    """
    if provider.context_tokens is None:
        return True
    characters = sum(len(message.content) for message in prompt.messages)
    tokens = characters // _MOST_CHARS_PER_TOKEN + provider.limit_of(prompt)
    return tokens <= provider.context_tokens


def _find_oversized_prompts(providers: Sequence[Provider], suite: Suite) -> tuple[LeftOut, ...]:
    found = []
    for provider in providers:
        names = tuple(prompt.id for prompt in suite.prompts if not fits_context(provider, prompt))
        if names and provider.context_tokens is not None:
            found.append(LeftOut(provider=provider.name, context=provider.context_tokens, prompts=names))
    return tuple(found)


class _PlanLane:
    """A provider under one condition."""

    def __init__(self, provider: Provider, condition: Condition) -> None:
        self.provider, self.condition, self.repeats = provider, condition, provider.repeats

    def repeats_in(self, round_: int) -> range:
        """Which repeats of a prompt a round asks: one, or with a warm cache all of them in the first round."""
        if self.condition.cache == "warm":
            return range(self.repeats if round_ == 0 else 0)
        return range(round_, min(round_ + 1, self.repeats))


def _reason_to_skip(provider: Provider, environ: Mapping[str, str], only: Collection[str]) -> str | None:
    if only and provider.name not in only:
        return NOT_CHOSEN
    if provider.imported is not None:
        return "imported: its answers were recorded by another tool"
    if not provider.enabled and provider.name not in only:
        return "enabled: false"
    unset = [v for v in provider.variables() if not environ.get(v)]
    return f"environment variable {' and '.join(unset)} not set" if unset else None


def _plan_trial(lane: _PlanLane, prompt: Prompt, repeat: int, block: int) -> PlannedTrial:
    trial = Trial(provider=lane.provider.name, prompt=prompt.id, condition=lane.condition.name, repeat=repeat)
    return PlannedTrial(
        trial=trial,
        block=block,
        max_tokens=lane.provider.limit_of(prompt),
        prompt_tokens=_estimate_prompt_tokens(prompt) + _estimate_returned_tokens(lane.provider, prompt),
        reasoning_tokens=lane.provider.reasoning.allowance if prompt.body is None else 0,
    )


def _digest_plan(config: Config, providers: Sequence[Provider], suite: Suite, trials: Sequence[PlannedTrial]) -> str:
    content: dict[str, Any] = {
        "suite": suite.digest,
        "providers": [
            {
                "name": p.name,
                "model": _sent_model(p),
                "body": p.fields,
                "stream": p.stream,
                "sampling": asdict(p.sampling()),
            }
            for p in providers
        ],
        "trials": [(t.block, t.trial.provider, t.trial.prompt, t.trial.repeat, t.max_tokens) for t in trials],
    }
    if config.run.sessions > 1:
        content["sessions"] = config.run.sessions
    if config.conditions:
        content["conditions"] = [_describe_condition(c) for c in config.conditions]
        content["under"] = [t.trial.condition for t in trials]
    return hashlib.sha256(to_ascii_canonical_json(content).encode()).hexdigest()


def _describe_condition(condition: Condition) -> dict[str, Any]:
    """Its values; what came with later versions only where it is used, so that older plans keep their digest."""
    unused = {name for name in ("request", "reasoning") if not getattr(condition, name)}
    return condition.model_dump(mode="json", exclude=unused)


def _sent_model(provider: Provider) -> str | None:
    """Nothing is sent to a recorded run, so that one without a model of its own has none in the digest."""
    return None if provider.replay is not None and provider.model == provider.name else provider.model


def _estimate_provider(provider: Provider, trials: Sequence[PlannedTrial]) -> ProviderEstimate:
    return ProviderEstimate(
        provider=provider.name,
        calls=len(trials),
        prompt_tokens=sum(t.prompt_tokens for t in trials),
        completion_tokens=sum(t.max_tokens for t in trials),
        cost_usd=_planned_cost_usd(provider, trials),
        reasoning_tokens=sum(t.reasoning_tokens for t in trials),
    )


def _planned_cost_usd(provider: Provider, trials: Iterable[PlannedTrial]) -> float | None:
    price = provider.price
    return None if price is None else sum(price.cost(t.prompt_tokens, t.max_tokens) for t in trials)


def _estimate_families(
    providers: Sequence[Provider], suite: Suite, trials: Sequence[PlannedTrial]
) -> tuple[FamilyEstimate, ...]:
    family_of = {prompt.id: prompt.family for prompt in suite.prompts}
    own: dict[str, list[PlannedTrial]] = {prompt.family: [] for prompt in suite.prompts}
    for trial in trials:
        own[family_of[trial.trial.prompt]].append(trial)
    return tuple(_estimate_family(name, providers, suite, own[name]) for name in sorted(own))


def _estimate_family(
    name: str, providers: Sequence[Provider], suite: Suite, trials: Sequence[PlannedTrial]
) -> FamilyEstimate:
    costs = [_planned_cost_usd(p, (t for t in trials if t.trial.provider == p.name)) for p in providers]
    priced = [cost for cost in costs if cost is not None]
    return FamilyEstimate(
        family=name,
        prompts=sum(prompt.family == name for prompt in suite.prompts),
        calls=len(trials),
        prompt_tokens=sum(t.prompt_tokens for t in trials),
        completion_tokens=sum(t.max_tokens for t in trials),
        cost_usd=sum(priced) if priced else None,
    )


def _estimate_prompt_tokens(prompt: Prompt) -> int:
    added = [value for value in (prompt.tools, prompt.request) if value]
    offered = sum(len(json.dumps(value, ensure_ascii=False)) for value in added)
    return sum(_estimate_message_tokens(m) for m in prompt.messages) + -(-offered // _CHARS_PER_TOKEN)


def _estimate_returned_tokens(provider: Provider, prompt: Prompt) -> int:
    """Of a round: what the answers before it and the results of their calls add at most."""
    if prompt.round is None:
        return 0
    results = sum(len(result) for result in prompt.round.results.values())
    each = provider.limit_of(prompt) + -(-results // _CHARS_PER_TOKEN) + 2 * _TEMPLATE_TOKENS_PER_MESSAGE
    return len(prompt.round.turns) * each


def _estimate_message_tokens(message: Message) -> int:
    told = len(message.content) + len(message.reasoning_content or "")
    images = len([part for part in message.parts if part.get("type") != "text"])
    return -(-told // _CHARS_PER_TOKEN) + _TEMPLATE_TOKENS_PER_MESSAGE + images * _TOKENS_OF_IMAGE
