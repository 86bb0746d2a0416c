"""Turns of a conversation are lost or in another order: gateways that keep the last turn, or save tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tempzero.reading.suspects.suspect import AskedPrompt, RequestSuspect
from tempzero.types.asked import Message

Turns = list[Message]


def _change_turns(change: Callable[[Turns], Turns]) -> Callable[[AskedPrompt], Sequence[int]]:
    """The turns behind the system message, changed."""

    def render(asked: AskedPrompt) -> Sequence[int]:
        system = [m for m in asked.messages if m.role == "system"]
        turns = [m for m in asked.messages if m.role != "system"]
        changed = change(turns) if len(turns) > 1 else turns
        return asked.render([*system, *changed]) if changed and changed != turns else asked.ids

    return render


def _drop_answers(turns: Turns) -> Turns:
    return [m for m in turns if m.role == "user"]


def _swap_first(turns: Turns) -> Turns:
    return [*reversed(turns[:-1]), turns[-1]]


TURNS = (
    RequestSuspect(
        name="last-turn-only",
        family="turns dropped",
        words="only the last turn of a conversation reaches the model",
        change=_change_turns(lambda turns: turns[-1:]),
    ),
    RequestSuspect(
        name="first-turn-dropped",
        family="turns dropped",
        words="the first turn of a conversation does not reach the model",
        change=_change_turns(lambda turns: turns[1:]),
    ),
    RequestSuspect(
        name="two-turns-dropped",
        family="turns dropped",
        words="the first two turns of a conversation do not reach the model",
        change=_change_turns(lambda turns: turns[2:] if len(turns) > 2 else turns),
    ),
    RequestSuspect(
        name="answers-dropped",
        family="turns dropped",
        words="the assistant's turns of a conversation do not reach the model",
        change=_change_turns(_drop_answers),
    ),
    RequestSuspect(
        name="turns-reversed",
        family="turns reordered",
        words="the turns before the last one are in reverse order",
        change=_change_turns(_swap_first),
    ),
)
