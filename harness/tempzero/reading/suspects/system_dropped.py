"""The system message does not reach the model, or not as one: hosts that know user turns only, proxies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tempzero.reading.suspects.suspect import AskedPrompt, RequestSuspect


def _drop_system(asked: AskedPrompt) -> Sequence[int]:
    rest = [m for m in asked.messages if m.role != "system"]
    return asked.render(rest) if rest and len(rest) < len(asked.messages) else asked.ids


def _merge_system(asked: AskedPrompt) -> Sequence[int]:
    """Some templates know no system turn: its text is put in front of the user's."""
    first, *rest = asked.messages
    if first.role != "system" or not rest:
        return asked.ids
    return asked.render([replace(rest[0], content=f"{first.content}\n\n{rest[0].content}"), *rest[1:]])


def _double_system(asked: AskedPrompt) -> Sequence[int]:
    """A host that puts an empty system turn first, in place of the template's own default."""
    first = asked.messages[0]
    if first.role == "system":
        return asked.ids
    return asked.render([replace(first, role="system", content=""), *asked.messages])


SYSTEM_DROPPED = (
    RequestSuspect(
        name="no-system-message",
        family="system message",
        words="the system message does not reach the model",
        change=_drop_system,
    ),
    RequestSuspect(
        name="system-as-user",
        family="system message as a user's",
        words="the system message is put in front of the user's",
        change=_merge_system,
    ),
    RequestSuspect(
        name="empty-system",
        family="empty system message",
        words="an empty system message is added where none was sent",
        change=_double_system,
    ),
)
