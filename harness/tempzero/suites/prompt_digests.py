"""Prompts in, the digest of what is asked of a model out: two suites with the same digest ask the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from tempzero.answers.chat_messages import is_plain_message, wire_message
from tempzero.canonical_json import to_canonical_json, to_spaced_canonical_json
from tempzero.extractors import EXTRACTORS
from tempzero.types.asked import Message, Prompt, Round


def digest_prompts(prompts: Iterable[Prompt]) -> str:
    """SHA-256 over the exact messages and parameters of these prompts, in whatever order they come.

    Tags, margins, templates, and which suites ask it, do not count. The version of a prompt's extractor does: it
    decides what an answer is.
    """
    values = [_prompt_identity(prompt) for prompt in sorted(prompts, key=lambda prompt: prompt.id)]
    return hashlib.sha256(to_canonical_json(values).encode()).hexdigest()


def _prompt_identity(prompt: Prompt) -> dict[str, Any]:
    spec = prompt.extractor
    # As texts: the order of a tool's keys is part of what the model sees, and sorting must not hide it.
    offered = {"tools": json.dumps(prompt.tools), "tool_choice": json.dumps(prompt.tool_choice)} if prompt.tools else {}
    # Likewise: in a JSON schema the order of properties is part of what is asked for.
    added = {name: json.dumps(value) for name in ("request", "body") if (value := getattr(prompt, name))}
    return {
        **offered,
        **added,
        "id": prompt.id,
        "messages": [_message_identity(message) for message in prompt.messages],
        "family": prompt.family,
        "extractor": spec and [spec.name, EXTRACTORS[spec.name].version, dict(spec.args)],
        "expected": prompt.expected,
        "max_tokens": prompt.max_tokens,
        **({} if prompt.round is None else {"round": _round_identity(prompt.round)}),
    }


def _round_identity(place: Round) -> list[Any]:
    return [place.conversation, place.number, [asdict(turn) for turn in place.turns], dict(place.results)]


def _message_identity(message: Message) -> list[Any]:
    plain = [message.role, message.content]
    return plain if is_plain_message(message) else [*plain, to_spaced_canonical_json(wire_message(message))]
