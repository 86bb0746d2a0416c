"""A record file's path in, what its parts say out: name=value, name_value and name0.5 parts, and the words beside them.

Whoever keeps a file for each setting writes the setting into its name, or into that of its folder. Plain numbers count
runs; a number with a decimal point does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

_NUMBER = r"[0-9]+(?:[.][0-9]+)?"
_NUMBER_BEFORE_ENDING = re.compile(rf"{_NUMBER}(?=[.][A-Za-z])")
_EXPLICIT = re.compile(r"([A-Za-z][A-Za-z0-9]*(?:[_.-][A-Za-z][A-Za-z0-9]*)*)=([^=,;&/_\s]+)")
_GLUED = re.compile(rf"([A-Za-z]+)({_NUMBER})")
_COUNTING = re.compile(r"[0-9]+|[0-9a-fA-F]*[0-9][0-9a-fA-F]{5,}|[0-9]{4}-?[0-9]{2}-?[0-9]{2}(T[0-9:]+Z?)?|[A-Za-z]")
_ENDING = re.compile(r"\.(csv|tsv|jsonl|ndjson|json|parquet|eval|txt|md|log)$", re.IGNORECASE)
_SEPARATORS = re.compile(r"[_\-\s,;+()\[\]]+|(?<=[A-Za-z])[.](?=[A-Za-z0-9])")

# Of these the value follows behind a separator: temperature_0.5, top_p_0.9, prompt-short.
SETTING = re.compile(
    r"(temperature|temp|top_?[pk]|min_?p|max_?(new_?|completion_?)?tokens|model|system|quant(ization)?|precision|dtype|"
    r"(prompt|template|mode|variant|config|setting|condition|experiment|version|shots?|effort|reasoning|language|lang)s?)",
    re.IGNORECASE,
)
# What else a glued number may be of: t0.7 is a temperature, run3 is a run.
_GLUED_SETTING = re.compile(r"(t|p|topp|topk|temp|temperature|shots?)", re.IGNORECASE)
WORDS = "words"
"""The part under which all words of a path stand that belong to no name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PathPart:
    """One part. `explicit` was written name=value; `found_by` is the expression that finds the value again."""

    name: str
    value: str
    setting: bool
    explicit: bool
    found_by: str


@lru_cache(maxsize=4096)
def find_path_parts(path: str) -> Mapping[str, PathPart]:
    """The parts of a path by name; of a name that stands there twice the last one."""
    pure = PurePosixPath(path)
    ending = _ENDING.search(pure.name)
    stem, where = (pure.name[: ending.start()], "@stem") if ending else (pure.name, "@file")
    levels = [(level, "@folder" if at == len(pure.parts) - 2 else "@path") for at, level in enumerate(pure.parts[:-1])]
    found: dict[str, PathPart] = {}
    words: list[str] = []
    for text, level in (*levels, (stem, where)):
        for part in _find_parts(text, level):
            if isinstance(part, str):
                words.append(part)
            else:
                found[part.name.lower()] = part
    if words:
        whole = where if len(pure.parts) == 1 else "@path"
        found[WORDS] = PathPart(name=WORDS, value=" ".join(words), setting=False, explicit=False, found_by=whole)
    return found


def _find_parts(text: str, where: str) -> Iterator[PathPart | str]:
    for match in _EXPLICIT.finditer(text):
        name, value = match.groups()
        yield PathPart(
            name=name, value=value, setting=bool(SETTING.fullmatch(name) or _GLUED_SETTING.fullmatch(name)),
            explicit=True, found_by=f"{where}~{name}.({_value_pattern(value)})",
        )  # fmt: skip
    rest = _EXPLICIT.sub(" ", text)
    tokens = [t for t in _SEPARATORS.split(rest) if t]
    while tokens:
        taken, part = _read_tokens(tokens, where)
        if part is not None:
            yield part
        del tokens[:taken]


def _read_tokens(tokens: list[str], where: str) -> tuple[int, PathPart | str | None]:
    """How many of the tokens belong together, and what they are; None where they only count."""
    for length in (2, 1):  # top_p 0.9, max_tokens 64; temperature 0.5
        name = "_".join(tokens[:length])
        if len(tokens) > length and SETTING.fullmatch(name):
            value = (_NUMBER_BEFORE_ENDING.match(tokens[length]) or [tokens[length]])[0]
            found_by = f"{where}~{'[_.-]'.join(tokens[:length])}[_.-]({_value_pattern(value)})"
            return length + 1, PathPart(name=name, value=value, setting=True, explicit=False, found_by=found_by)
    glued = _GLUED.fullmatch(tokens[0])
    if glued is not None:
        name, value = glued.groups()
        setting = bool(_GLUED_SETTING.fullmatch(name))
        if not setting and "." not in value:
            return 1, None  # run3, part2: a count
        found_by = f"{where}~{name}({_value_pattern(value)})"
        return 1, PathPart(name=name, value=value, setting=setting, explicit=False, found_by=found_by)
    return 1, None if _COUNTING.fullmatch(tokens[0]) else tokens[0]


def _value_pattern(value: str) -> str:
    return _NUMBER if re.fullmatch(_NUMBER, value) else "[^_/]+"
