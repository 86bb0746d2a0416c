"""The token that begins a prompt stands twice or not at all: a template and a tokenizer that both add it, or none."""

from __future__ import annotations

from collections.abc import Sequence

from tempzero.reading.suspects.suspect import AskedPrompt, RequestSuspect


def _double_start(asked: AskedPrompt) -> Sequence[int]:
    return (asked.ids[0], *asked.ids) if asked.is_control(asked.ids[0]) else asked.ids


def _drop_start(asked: AskedPrompt) -> Sequence[int]:
    return asked.ids[1:] if asked.is_control(asked.ids[0]) and len(asked.ids) > 1 else asked.ids


START_TOKEN = (
    RequestSuspect(
        name="start-token-twice",
        family="start token twice",
        words="the token that begins a prompt stands there twice",
        change=_double_start,
    ),
    RequestSuspect(
        name="no-start-token",
        family="no start token",
        words="the token that begins a prompt is missing",
        change=_drop_start,
    ),
)
