"""Config and prompts in, a Plan out: trials in matched blocks, a seeded order, a digest, an estimate."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict

from harness.config import Config, Provider
from harness.errors import UsageError
from harness.types import Message, Plan, PlannedTrial, Prompt, ProviderEstimate, Skipped, Suite, Trial

CONDITION = "default"
NOT_CHOSEN = "not among --providers"

# English runs at about four characters a token; three keeps the estimate an upper one for most text.
_CHARS_PER_TOKEN = 3
_TEMPLATE_TOKENS_PER_MESSAGE = 8


def choose(
    config: Config, environ: Mapping[str, str], only: Collection[str] = ()
) -> tuple[tuple[Provider, ...], tuple[Skipped, ...]]:
    """The providers that take part, and those that do not with the reason.

    `only` are names from the command line; empty means all. Raises UsageError for an unknown name.
    """
    known = {p.name for p in config.providers}
    for name in only:
        if name not in known:
            raise UsageError(f'--providers: no provider is called "{name}"; known: {", ".join(sorted(known))}')
    chosen, skipped = [], []
    for provider in config.providers:
        reason = _reason_to_skip(provider, environ, only)
        if reason is None:
            chosen.append(provider)
        else:
            skipped.append(Skipped(provider=provider.name, reason=reason))
    return tuple(chosen), tuple(skipped)


def build(config: Config, suite: Suite, *, skipped: Sequence[Skipped] = ()) -> Plan:
    """Lay out every trial of every provider that is not skipped. Pure: same input, same plan.

    A block is one prompt asked of every provider once. The repeats of a prompt are as far
    apart as the run is long, so that a slow change of the provider shows as divergence;
    the order of prompts within a repeat and of providers within a block is drawn from the seed.
    """
    left_out = {s.provider for s in skipped}
    providers = [p for p in config.providers if p.name not in left_out]
    order = random.Random(config.run.seed)
    trials: list[PlannedTrial] = []
    block = 0
    for repeat in range(max((_repeats(p) for p in providers), default=0)):
        for prompt in order.sample(suite.prompts, len(suite.prompts)):
            asked = [p for p in order.sample(providers, len(providers)) if repeat < _repeats(p)]
            trials += [_planned(provider, prompt, repeat, block) for provider in asked]
            block += 1
    return Plan(
        trials=tuple(trials),
        seed=config.run.seed,
        digest=_digest(providers, suite, trials),
        estimates=tuple(_estimate(p, suite.prompts) for p in providers),
        skipped=tuple(skipped),
    )


def _reason_to_skip(provider: Provider, environ: Mapping[str, str], only: Collection[str]) -> str | None:
    if only and provider.name not in only:
        return NOT_CHOSEN
    if provider.imported is not None:
        return "imported: its answers were recorded by another tool"
    if not provider.enabled and provider.name not in only:
        return "enabled: false"
    unset = [v for v in provider.variables() if not environ.get(v)]
    return f"environment variable {' and '.join(unset)} not set" if unset else None


def _repeats(provider: Provider) -> int:
    assert provider.repeats is not None, "providers are resolved when they are loaded"
    return provider.repeats


def _planned(provider: Provider, prompt: Prompt, repeat: int, block: int) -> PlannedTrial:
    trial = Trial(provider=provider.name, prompt=prompt.id, condition=CONDITION, repeat=repeat)
    return PlannedTrial(trial=trial, block=block, max_tokens=provider.sampling(prompt.max_tokens).max_tokens)


def _digest(providers: Sequence[Provider], suite: Suite, trials: Sequence[PlannedTrial]) -> str:
    content = {
        "suite": suite.digest,
        "providers": [
            {"name": p.name, "model": p.model, "body": p.extra_body, "sampling": asdict(p.sampling())}
            for p in providers
        ],
        "trials": [(t.block, t.trial.provider, t.trial.prompt, t.trial.repeat, t.max_tokens) for t in trials],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _estimate(provider: Provider, prompts: Sequence[Prompt]) -> ProviderEstimate:
    repeats = _repeats(provider)
    prompt_tokens = repeats * sum(_tokens(m) for p in prompts for m in p.messages)
    completion_tokens = repeats * sum(provider.sampling(p.max_tokens).max_tokens for p in prompts)
    price, cost = provider.price, None
    if price is not None:
        cost = (prompt_tokens * price.input_per_mtok + completion_tokens * price.output_per_mtok) / 1e6
    return ProviderEstimate(
        provider=provider.name,
        calls=repeats * len(prompts),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cost_usd=cost,
    )


def _tokens(message: Message) -> int:
    return -(-len(message.content) // _CHARS_PER_TOKEN) + _TEMPLATE_TOKENS_PER_MESSAGE
