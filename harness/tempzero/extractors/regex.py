"""A response in, what the one group of a suite's own pattern captured out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from tempzero.extractors.extractor import Args, Extractor, is_same_text

_MAX_CHARS = 20_000
"""Only the end of a longer text is searched: the time a pattern can take stays bounded."""
_MAX_PATTERN_CHARS = 500

_UNBOUNDED = re.compile(r"(?:[*+]|\{\d*,\})")
# "(?:, *\d+)+" is harmless: each round starts with a mark that nothing else in the group can match.
_SEPARATOR = re.compile(r"\((?:\?:)?\\?([,;:|/&#])(?![*?{])")
_MATCHES_MARKS = re.compile(r"(?<!\\)\.|\\[SWD]|\[\^|\(\?[^:]")
_NOT_CAPTURING = re.compile(r"\(\?(?!P<)")
_GROUP_NAME = re.compile(r"\(\?P<\w+>|\(")
# Parts whose meaning depends on what stands around the group.
_CONTEXT = re.compile(r"\(\?(?:[=!]|<[=!])|\\[1-9bBAZ]|\(\?P=|[\^$]")


def _read_regex_group(text: str, args: Args) -> str | None:
    pattern = _compile_pattern(args["pattern"])
    start = max(0, len(text) - _MAX_CHARS)
    found = {match[1].strip() for match in pattern.finditer(text, start) if match[1] and match[1].strip()}
    return found.pop() if len(found) == 1 else None


@lru_cache(maxsize=256)
def _compile_pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _check_regex_args(args: Args) -> None:
    pattern = args["pattern"]
    if len(pattern) > _MAX_PATTERN_CHARS:
        raise ValueError(f"pattern is longer than {_MAX_PATTERN_CHARS} characters")
    try:
        groups = re.compile(pattern).groups
    except (re.error, OverflowError, RecursionError) as problem:
        raise ValueError(f"pattern is not a regular expression: {problem}") from None
    if groups != 1:
        raise ValueError(
            f"pattern must have exactly one group, which captures the answer; it has {groups} "
            "(write (?:...) for a group that captures nothing)"
        )
    if any(_has_nested_repeat(pattern, start, end) for start, end in _group_spans(pattern)):
        raise ValueError(
            "pattern repeats a group that repeats inside, which can take for ever; write it without nesting"
        )


def _has_nested_repeat(pattern: str, start: int, end: int) -> bool:
    inside = pattern[start : end - 1]
    if not _UNBOUNDED.match(pattern, end) or not _UNBOUNDED.search(_drop_literals(inside)):
        return False
    separator = _SEPARATOR.match(inside)
    return separator is None or separator[1] in inside[separator.end() :] or bool(_MATCHES_MARKS.search(inside))


def _drop_literals(part: str) -> str:
    """The pattern without escapes and character classes, whose stars and plusses repeat nothing."""
    return re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "x", part, flags=re.DOTALL)


def _group_spans(pattern: str) -> Iterator[tuple[int, int]]:
    """Where each group, capturing or not, starts and ends."""
    opened: list[int] = []
    for match in re.finditer(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[()]", pattern, flags=re.DOTALL):
        if match.group() == "(":
            opened.append(match.start())
        elif match.group() == ")" and opened:
            yield opened.pop(), match.end()


def _can_state_regex(expected: str, args: Args) -> bool:
    """Whether the group could capture the expected answer; True where that cannot be told."""
    pattern = args["pattern"]
    for start, end in _group_spans(pattern):
        if _NOT_CAPTURING.match(pattern, start):
            continue
        inside = _GROUP_NAME.sub("", pattern[start : end - 1], count=1)
        if _CONTEXT.search(inside):
            return True
        return re.compile(inside, re.compile(pattern).flags).fullmatch(expected) is not None
    return True


REGEX = Extractor(
    name="regex",
    version=1,
    reader=_read_regex_group,
    can_state=_can_state_regex,
    parameters=("pattern",),
    check=_check_regex_args,
    same=is_same_text,
)
