"""An instruction that nobody sent is added: the commonest ones, as a system message, before one, by a question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tempzero.reading.suspects.suspect import AskedPrompt, RequestSuspect
from tempzero.types.asked import Message

INSTRUCTIONS = (
    "You are a helpful assistant.",
    "You are a helpful, respectful and honest assistant.",
    "Be concise.",
    "Answer concisely.",
    "Keep your answers short.",
    "Think step by step.",
    "Respond in English.",
    "Do not use markdown.",
)


def replace_system(text: str) -> Callable[[AskedPrompt], Sequence[int]]:
    """A system message in, prompts that have it in place of their own out."""

    def change(asked: AskedPrompt) -> Sequence[int]:
        rest = [m for m in asked.messages if m.role != "system"]
        return asked.render([Message(role="system", content=text), *rest])

    return change


def _put_before_system(text: str) -> Callable[[AskedPrompt], Sequence[int]]:
    """Where a system message was sent the instruction stands in front of it."""

    def change(asked: AskedPrompt) -> Sequence[int]:
        first = asked.messages[0]
        if first.role != "system":
            return asked.render([Message(role="system", content=text), *asked.messages])
        return asked.render([replace(first, content=f"{text}\n{first.content}"), *asked.messages[1:]])

    return change


def _put_behind_question(text: str, joint: str) -> Callable[[AskedPrompt], Sequence[int]]:
    def change(asked: AskedPrompt) -> Sequence[int]:
        last = asked.messages[-1]
        if last.role != "user":
            return asked.ids
        return asked.render([*asked.messages[:-1], replace(last, content=f"{last.content}{joint}{text}")])

    return change


def _put_before_question(text: str, joint: str) -> Callable[[AskedPrompt], Sequence[int]]:
    def change(asked: AskedPrompt) -> Sequence[int]:
        last = asked.messages[-1]
        if last.role != "user":
            return asked.ids
        return asked.render([*asked.messages[:-1], replace(last, content=f"{text}{joint}{last.content}")])

    return change


def _suggest_places(text: str) -> tuple[RequestSuspect, ...]:
    places = (
        ("system", "in place of the system message", replace_system(text)),
        ("before-system", "before the system message", _put_before_system(text)),
        ("behind", "behind the question", _put_behind_question(text, " ")),
        ("behind-paragraph", "in a paragraph behind the question", _put_behind_question(text, "\n\n")),
        ("before", "before the question", _put_before_question(text, "\n\n")),
    )
    return tuple(
        RequestSuspect(
            name=f"{place}: {text}",
            family=f"instruction: {text}",
            words=f'an instruction is added {where}: "{text}"',
            change=change,
            loud=True,
        )
        for place, where, change in places
    )


HIDDEN_INSTRUCTIONS = tuple(suspect for text in INSTRUCTIONS for suspect in _suggest_places(text))
