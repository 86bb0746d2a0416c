"""The outcome of a refused request in, what to write in providers.yaml for it out: each class has its own remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tempzero.engines.hosted.fault_catalogue import find_smallest_limit
from tempzero.types.recorded import Flag, Outcome

_SPENT_ON_REASONING: Flag = "limit_spent_on_reasoning"
_NEW_LIMIT_NAME = "max_completion_tokens"
# A field that a refusal speaks of stands in quotes, or is one of those that every request has.
_QUOTED_FIELD = re.compile(r"[`'\"]([a-z_]+(?:\.[a-z_]+)*)[`'\"]", re.IGNORECASE)
_COMMON_FIELD = re.compile(r"\b(temperature|top_p|seed|max_completion_tokens|max_tokens|stream_options|logprobs)\b")
_LEFT_OUT = ("temperature", "top_p", "seed")
_LARGEST_LIMIT = re.compile(
    r"max_?(?:completion_|output_|new_)?tokens.{0,80}?"
    r"(?:at most|<=|≤|maximum(?: value)?(?: (?:is|of))?|less than(?: or equal to)?|smaller than)[ :`']*\(?(\d{2,7})\b",
    re.IGNORECASE,
)
# How many tokens a host takes that says only that its reasoning has used up those of the limit.
_ROOM_TO_REASON = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Remedy:
    """`words` say what to write. `field` is the request's field that was refused, by its name on the wire.

    `rename_to`: what the host calls it. `at_least`: the smallest limit it takes, or a guess where its reasoning has
    `spent` the one that was asked for. `leave_out`: it can be left out.
    """

    words: str
    field: str | None = None
    rename_to: str | None = None
    at_least: int | None = None
    leave_out: bool = False
    spent: bool = False


def find_remedy(outcome: Outcome) -> Remedy | None:
    """What helps against a refusal; None where nothing in providers.yaml does, or nobody knows what."""
    said = outcome.detail
    if outcome.kind == "param_renamed":
        return Remedy(
            words=f"write parameter_names: {{max_tokens: {_NEW_LIMIT_NAME}}}",
            field="max_tokens",
            rename_to=_NEW_LIMIT_NAME,
        )
    if outcome.kind == "limit_too_small":
        least = find_smallest_limit(said)
        if least is None:
            words = "raise max_tokens: its reasoning used them up"
            return Remedy(words=words, field="max_tokens", at_least=_ROOM_TO_REASON, spent=True)
        return Remedy(words=f"write max_tokens: {least} or more", field="max_tokens", at_least=least)
    if outcome.kind == "role_refused":
        return Remedy(words="ask it prompts without messages of that role (system, as a rule) only")
    if outcome.kind == "unsupported_param":
        largest = _LARGEST_LIMIT.search(said)
        if largest is not None:
            return Remedy(words=f"write max_tokens: {largest[1]} or less")
        field = _find_field(said)
        if field in _LEFT_OUT:
            return Remedy(words=f"leave it out: {field}: null, or may_drop: [{field}]", field=field, leave_out=True)
        named = f"{field} " if field else ""
        return Remedy(words=f"leave the field {named}out, or name it in may_drop", field=field, leave_out=True)
    if outcome.kind == "wrong_url":
        return Remedy(words="base_url ends before /chat/completions, as a rule with /v1")
    if outcome.kind == "length" and _SPENT_ON_REASONING in outcome.flags:
        return Remedy(words="raise max_tokens: the limit was spent on reasoning", field="max_tokens")
    return None


def _find_field(said: str) -> str | None:
    common, quoted = _COMMON_FIELD.search(said), _QUOTED_FIELD.search(said)
    found = common or quoted
    return found[1] if found else None


def suggest_base_url(url: str) -> str | None:
    """A likelier `base_url` than the one under which this address was asked in vain; None where it looks right."""
    root = url.removesuffix("/chat/completions").rstrip("/")
    shorter = re.sub(r"(/chat)?/completions$", "", root)
    shorter = re.sub(r"(/v\d+)\1+$", r"\1", shorter)
    if shorter != root:
        return shorter
    return None if re.search(r"/v\d", root) else f"{root}/v1"
