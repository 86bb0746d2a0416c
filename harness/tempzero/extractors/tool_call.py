"""The calls of an answer in, one a line, out: `name({"key":"value"})` with canonical arguments, or `no call`."""

from __future__ import annotations

import re

from tempzero.answers.chat_messages import canonical_arguments, parse_calls
from tempzero.extractors.extractor import Args, Extractor

NO_CALL = "no call"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_STATED = re.compile(r"\s*([A-Za-z0-9_.-]{1,64})\s*(?:\((.*)\))?\s*", re.DOTALL)


def _read_tool_calls(text: str, _args: Args) -> str | None:
    calls = parse_calls(text)
    if not calls:
        # A call that the provider left in the text is none for whoever asked: nothing would be called.
        return NO_CALL if text.strip() else None
    spelled = []
    for call in calls:
        arguments = canonical_arguments(call.arguments)
        if arguments is None or not _NAME.fullmatch(call.name):
            return None
        spelled.append(f"{call.name}({arguments})")
    return "\n".join(spelled)


def expected_tool_names(expected: str) -> tuple[str, ...]:
    """The tools that an expected answer names."""
    return tuple(name for name, _ in _parse_calls(expected) or ())


def _parse_calls(answer: str) -> list[tuple[str, str | None]] | None:
    """Each call's name and canonical arguments (None: any); None where this is no list of calls."""
    calls = []
    for line in answer.strip().splitlines():
        match = _STATED.fullmatch(line)
        if match is None:
            return None
        arguments = None if match[2] is None else canonical_arguments(match[2])
        if match[2] is not None and arguments is None:
            return None
        calls.append((match[1], arguments))
    return calls


def _is_same_call_list(left: str, right: str) -> bool:
    """The same calls in the same order; a call that is expected by its name alone may have any arguments."""
    if left == right or NO_CALL in (left.strip(), right.strip()):
        return left.strip() == right.strip()
    one, other = _parse_calls(left), _parse_calls(right)
    if one is None or other is None or len(one) != len(other):
        return False
    return all(a[0] == b[0] and (None in (a[1], b[1]) or a[1] == b[1]) for a, b in zip(one, other, strict=True))


def _can_state_tool_calls(expected: str, _args: Args) -> bool:
    return expected == NO_CALL or bool(_parse_calls(expected))


TOOL_CALL = Extractor(
    name="tool_call", version=1, reader=_read_tool_calls, can_state=_can_state_tool_calls, same=_is_same_call_list
)
