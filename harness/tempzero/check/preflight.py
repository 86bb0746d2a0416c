"""Hosted providers in, who would refuse every request and who is asked in another way out: one token each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tempzero.check.check_request import Probe, ask_probe
from tempzero.check.refusals import explain_refusal, explain_wrong_page, find_field_change
from tempzero.config import Provider
from tempzero.types.recorded import Exchange

_YES_PROMPT = "Reply with the single word yes."
_MOST_CHANGES = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckExchange:
    """One exchange of a check and what it was for."""

    provider: str
    what: str
    exchange: Exchange


@dataclass(frozen=True, kw_only=True, slots=True)
class Preflight:
    """The short form's result. `provider` is asked without what it refused and may be left out, and by the name it
    takes where that may be: a sentence of `changes` for each. `refused` says why asking it would be in vain."""

    provider: Provider
    changes: tuple[str, ...]
    refused: str | None
    looked: tuple[CheckExchange, ...]


async def preflight_providers(providers: Iterable[Provider], *, environ: Mapping[str, str]) -> tuple[Preflight, ...]:
    """Ask every hosted provider for one token: is the key good, does the endpoint answer, is the model there?

    Only what would befall every request counts against a provider; a passing fault is left to the run.
    """
    hosted = [p for p in providers if p.base_url is not None]
    return tuple(await asyncio.gather(*[_preflight_provider(p, environ) for p in hosted]))


async def _preflight_provider(provider: Provider, environ: Mapping[str, str]) -> Preflight:
    looked: list[CheckExchange] = []
    changes: list[str] = []
    limit = 1
    for _ in range(_MOST_CHANGES):
        probe = Probe(what="answer", prompt=_YES_PROMPT, max_tokens=limit)
        exchange = await ask_probe(provider, probe, environ)
        looked.append(CheckExchange(provider=provider.name, what="answer", exchange=exchange))
        change = find_field_change(provider, exchange.outcome, limit)
        if change is None:
            break
        if change.at_least is not None:
            limit = change.at_least  # of this token only: what a run asks for is in its prompts
            continue
        if not change.permitted:
            break
        provider = change.provider
        how = "asked so, as may_rename allows" if change.renames else "asked without, as may_drop allows"
        changes.append(f"{change.words}; {how}")
    refused = explain_refusal(provider, exchange) or explain_wrong_page(exchange)
    return Preflight(provider=provider, changes=tuple(changes), refused=refused, looked=tuple(looked))
