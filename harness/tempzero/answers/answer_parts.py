"""A completion in, its answer by parts, and the texts by which answers are compared, out.

An answer has parts: reasoning, text, calls of tools, refusal. Empty is a value of a part. Whether reasoning is *shown*
at all is another question than whether it is equal: a host that hides it is told apart in words, not by a comparison.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tempzero.answers.chat_messages import call_line
from tempzero.types.recorded import Completion

REASONING_MARK = "\x1e<reasoning>"
"""Stands before the reasoning in the text of a whole answer; nothing that a model writes looks so by accident."""
END_OF_REASONING_MARK = "\x1e</reasoning>"
REFUSAL_MARK = "\x1e<refusal>"
_MARKS = re.compile(r"\x1e</?(?:reasoning>|refusal>|[a-z]*$)")
"""A mark, or what a text that ends within one has of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerParts:
    """What came back, by part. `reasoning` and `refusal` None: not shown, which for a comparison is as if empty.

    `calls` are the calls of tools, a line each, by name and canonical arguments (ids, which servers draw at random,
    are left out); empty where nothing was called.
    """

    reasoning: str | None
    text: str
    calls: str
    refusal: str | None


def split_answer(completion: Completion, *, cut: bool = False) -> AnswerParts:
    """A completion's parts; of one that was cut its last part ends as `end_at_cut` has it.

    A reasoning of nothing but blanks is what templates leave of one that was switched off: none is shown.
    """
    thought = completion.reasoning_text
    parts = AnswerParts(
        reasoning=thought if thought and thought.strip() else None,
        text=completion.text,
        calls="\n".join(call_line(call) for call in completion.tool_calls),
        refusal=completion.refusal,
    )
    if cut and parts.text and not (parts.calls or parts.refusal):
        return replace(parts, text=end_at_cut(parts.text))
    if cut and parts.reasoning and not to_spoken_text(parts):
        return replace(parts, reasoning=end_at_cut(parts.reasoning))
    return parts


def trim_thinking_blanks(parts: AnswerParts, *, cut: bool = False) -> AnswerParts:
    """The parts without the blanks beside think tags: some hosts leave them where they cut, some take them away.

    Between a host that does and one that does not they would be the only difference of every answer.
    """
    if not parts.reasoning:
        return parts
    open_ended = cut and not to_spoken_text(parts)
    reasoning = parts.reasoning.lstrip() if open_ended else parts.reasoning.strip()
    return replace(parts, reasoning=reasoning, text=parts.text.lstrip())


def end_at_cut(text: str) -> str:
    """A text that was cut, as far as it goes: half a character at its end is none."""
    return text.rstrip("\ufffd")


def to_spoken_text(parts: AnswerParts) -> str:
    """All of an answer but its reasoning, as one text: the text, the calls, the refusal."""
    refusal = f"{REFUSAL_MARK}{parts.refusal}" if parts.refusal else ""
    return "\n".join(filter(None, (parts.text, parts.calls, refusal)))


def to_whole_text(parts: AnswerParts) -> str:
    """All of an answer as one text: two are equal exactly where all their parts are. Text alone stands as it is."""
    spoken = to_spoken_text(parts)
    return f"{REASONING_MARK}{parts.reasoning}{END_OF_REASONING_MARK}{spoken}" if parts.reasoning else spoken


def to_begun_text(parts: AnswerParts) -> str:
    """The same of an answer that was cut: it ends where it was cut, so that it begins what it might have become."""
    if parts.reasoning and not to_spoken_text(parts):
        return f"{REASONING_MARK}{parts.reasoning}"
    return to_whole_text(parts)


def count_own_chars(text: str) -> int:
    """How many characters of the text of a whole answer, or of a beginning of it, a model wrote: without the marks."""
    return len(_MARKS.sub("", text))
