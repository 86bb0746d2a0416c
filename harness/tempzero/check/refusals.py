"""A refusal in, the same provider asked in the way that it takes out, and what to write so that a run asks it so."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tempzero.config import Provider
from tempzero.engines.hosted.fault_catalogue import PERMANENT_FAULTS
from tempzero.engines.hosted.remedies import Remedy, find_remedy, suggest_base_url
from tempzero.types.recorded import Exchange, Outcome, OutcomeKind

REFUSED_FIELD: tuple[OutcomeKind, ...] = ("unsupported_param", "param_renamed", "bad_request")
"""Refusals that speak of a field, or may do so."""
_LIMIT_NAMES = ("max_tokens", "max_completion_tokens")
_LARGEST_LEAST = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldChange:
    """Another way to ask. `field` is the provider's own name of what was refused; `at_least`: only the limit changes.

    `words` say what was refused and how it is asked instead; `permission` is the line that lets a run do so.
    """

    provider: Provider
    field: str
    words: str
    permission: str
    permitted: bool
    renames: bool = False
    at_least: int | None = None


def find_field_change(provider: Provider, said: Outcome, max_tokens: int) -> FieldChange | None:
    """How to ask after that refusal; None where it speaks of nothing that can be changed."""
    remedy = find_remedy(said)
    if remedy is not None and remedy.at_least is not None:
        return _raise_limit(provider, remedy) if max_tokens < remedy.at_least <= _LARGEST_LEAST else None
    if said.kind not in REFUSED_FIELD:
        return None
    sent = provider.parameter_names.max_tokens
    if remedy is not None and remedy.rename_to not in (None, sent):
        return _rename_limit(provider, str(remedy.rename_to))
    if said.kind == "unsupported_param" and remedy is not None and remedy.field == sent and sent in _LIMIT_NAMES:
        return _rename_limit(provider, _LIMIT_NAMES[1 - _LIMIT_NAMES.index(sent)])
    return _drop_field(provider, said)


def explain_refusal(provider: Provider, exchange: Exchange) -> str | None:
    """Why asking a provider would be in vain, with what to write; None where a run may have better luck."""
    said = exchange.outcome
    remedy, change = find_remedy(said), find_field_change(provider, said, provider.max_tokens)
    if change is not None and change.at_least is None:
        return f"{said.kind}: {said.detail}; {change.words}: write {change.permission}"
    if said.kind == "role_refused":
        return None  # it refuses the prompts that have such a message, and no others
    if said.kind in PERMANENT_FAULTS or (said.kind == "unsupported_param" and not _speaks_of_limit(provider, said)):
        url = f"; asked: {exchange.request.url}" if said.kind == "wrong_url" else ""
        likelier = suggest_base_url(exchange.request.url) if said.kind == "wrong_url" else None
        words = f"try base_url: {likelier}" if likelier else remedy.words if remedy else ""
        return f"{said.kind}: {said.detail}{url}" + (f"; {words}" if words else "")
    return None


def explain_no_answer(provider: Provider, exchange: Exchange) -> str:
    """Why an exchange brought no answer, with what to write where anything helps."""
    said = exchange.outcome
    known = explain_refusal(provider, exchange) or explain_wrong_page(exchange)
    remedy = find_remedy(said)
    return known or f"{said.kind}: {said.detail}" + (f"; {remedy.words}" if remedy else "")


def explain_wrong_page(exchange: Exchange) -> str | None:
    """A web page for an answer under an address that looks wrong: then the address is what is wrong."""
    likelier = suggest_base_url(exchange.request.url)
    if exchange.outcome.kind != "not_json" or likelier is None:
        return None
    return f"wrong_url: {exchange.outcome.detail}; asked: {exchange.request.url}; try base_url: {likelier}"


def _raise_limit(provider: Provider, remedy: Remedy) -> FieldChange:
    least = remedy.at_least or 1
    return FieldChange(
        provider=provider,
        field="max_tokens",
        words=f"it takes no limit {'that its reasoning uses up' if remedy.spent else f'below {least} tokens'}",
        permission=f"max_tokens: {least}",
        permitted=provider.max_tokens >= least,
        at_least=least,
    )


def _rename_limit(provider: Provider, name: str) -> FieldChange:
    return FieldChange(
        provider=provider.with_limit_named(name),
        field="max_tokens",
        words=f"it wants {name} in place of {provider.parameter_names.max_tokens}",
        permission=f"parameter_names: {{max_tokens: {name}}}, or may_rename: [max_tokens]",
        permitted="max_tokens" in provider.may_rename,
        renames=True,
    )


def _drop_field(provider: Provider, said: Outcome) -> FieldChange | None:
    """The field that it speaks of, those that may be left out first; the model and the messages cannot be."""
    sampled = [name for name in ("temperature", "top_p", "seed") if getattr(provider, name) is not None]
    candidates = sorted([*sampled, *provider.fields], key=lambda name: name not in provider.may_drop)
    for name in candidates:
        wire_name = provider.parameter_names.seed if name == "seed" else name
        if re.search(rf"(?<![a-z_]){re.escape(wire_name)}(?![a-z_])", said.detail):
            own = f", or {name}: null" if name in sampled else ""
            return FieldChange(
                provider=provider.without(name),
                field=name,
                words=f"it refuses {name}",
                permission=f"may_drop: [{name}]{own}",
                permitted=name in provider.may_drop,
            )
    return None


def _speaks_of_limit(provider: Provider, said: Outcome) -> bool:
    return any(name in said.detail for name in (*_LIMIT_NAMES, provider.parameter_names.max_tokens))
