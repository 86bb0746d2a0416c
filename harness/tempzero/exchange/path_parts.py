"""A record file's path in, what its parts say out: name=value, name_value and name0.5 parts, and the words beside them.

Whoever keeps a file for each setting writes the setting into its name, or into that of its folder. A number counts
where it stands alone or behind a word that says so (run3, part-2); behind any other it belongs to what the file is of
(fp16, llama-3).
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
_GLUED = re.compile(rf"([A-Za-z_]*[A-Za-z])({_NUMBER})")
_LAST_WORD = re.compile(r"[A-Za-z]+$")
_COUNTING = re.compile(r"[0-9]+|[0-9a-fA-F]*[0-9][0-9a-fA-F]{5,}|[0-9]{4}-?[0-9]{2}-?[0-9]{2}(T[0-9:]+Z?)?|[A-Za-z]")
# Behind these a number counts.
_COUNTER = re.compile(
    r"(run|rep|repeat|repetition|replicate|trial|epoch|iter|iteration|attempt|try|round|sample|draw|seed|pass|part|pt|"
    r"shard|chunk|split|fold|rank|worker|job|day|night|week|hour|session|file|log|output|out|result|res|response|reply|"
    r"answer|generation|gen|completion|record|row|data|page|number|num|no|copy|set|idx|index|id|of|x|n|i|k|r|s|"
    r"csv|tsv|jsonl|json|parquet|txt|md)s?",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?<![0-9])(19|20)[0-9]{2}([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12][0-9]|3[01])"
    r"([T_ -]?[0-9]{2}[-:_h]?[0-9]{2}([-:_m]?[0-9]{2})?Z?)?(?![0-9])"
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SHORT_HASH = re.compile(r"(?=.*[0-9])[0-9a-fA-F]{4,}")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,5}")
ALONE = "number"
"""The part of a number before which no word stands."""
_ENDING = re.compile(r"\.(csv|tsv|jsonl|ndjson|json|parquet|eval|txt|md|log)$", re.IGNORECASE)
_SEPARATORS = re.compile(r"[_\-\s,;+()\[\]]+|(?<=[A-Za-z])[.](?=[A-Za-z0-9])")

# Of these the value follows behind a separator: temperature_0.5, top_p_0.9, prompt-short.
SETTING = re.compile(
    r"(temperature|temp|top_?[pk]|min_?p|max_?(new_?|completion_?|output_?)?tokens|model|system|quant(ization)?|"
    r"precision|dtype|batch_?size|decoding|sampling|method|"
    r"(prompt|template|mode|variant|config|setting|condition|experiment|version|shots?|effort|reasoning|language|lang)s?)",
    re.IGNORECASE,
)
# What else a glued number may be of: t0.7 is a temperature, run3 is a run.
_GLUED_SETTING = re.compile(r"(t|p|topp|topk|temp|temperature|shots?|maxtokens|fp|bf|int|bs)", re.IGNORECASE)
WORDS = "words"
"""The part under which all words of a path stand that belong to no name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PathPart:
    """One part. `explicit` was written name=value; `found_by` is the expression that finds the value again.

    `counting`: a number that may only count, where it stands alone.
    """

    name: str
    value: str
    setting: bool
    explicit: bool
    found_by: str
    counting: bool = False


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
        written, value = match.groups()
        name = _find_setting_name(written)
        yield PathPart(
            name=name or written, value=value, setting=name is not None, explicit=True,
            found_by=f"{where}~{written}.({_value_pattern(value)})",
        )  # fmt: skip
    rest = _DATE.sub(" ", _UUID.sub(" ", _EXPLICIT.sub(" ", text)))
    tokens, before = [t for t in _SEPARATORS.split(rest) if t], ""
    while tokens:
        taken, part = _read_tokens(tokens, before, where)
        if part is not None:
            yield part
        before = (_LAST_WORD.search(tokens[taken - 1]) or [tokens[taken - 1]])[0]
        del tokens[:taken]


def _find_setting_name(written: str) -> str | None:
    """`temperature` of `gpt_temperature`: what stands before "=" may begin with other words."""
    words = re.split(r"[_.-]", written)
    names = ("_".join(words[at:]) for at in range(len(words)))
    return next((n for n in names if SETTING.fullmatch(n) or _GLUED_SETTING.fullmatch(n)), None)


def _read_tokens(tokens: list[str], before: str, where: str) -> tuple[int, PathPart | str | None]:
    """How many of the tokens belong together, and what they are; None where they only count."""
    if _COUNTER.fullmatch(before) and _SHORT_HASH.fullmatch(tokens[0]):
        return 1, None  # run_ab12
    for length in (3, 2, 1):  # max_new_tokens 64; top_p 0.9, max_tokens 64; temperature 0.5
        name = "_".join(tokens[:length])
        if len(tokens) > length and SETTING.fullmatch(name):
            value = (_NUMBER_BEFORE_ENDING.match(tokens[length]) or [tokens[length]])[0]
            found_by = f"{where}~{'[_.-]'.join(tokens[:length])}[_.-]({_value_pattern(value)})"
            return length + 1, PathPart(name=name, value=value, setting=True, explicit=False, found_by=found_by)
        found = _read_glued(name, where) if len(tokens) >= length else None
        if found is not None and (found.setting or length == 1):
            return length, found
    if _WHOLE_NUMBER.fullmatch(tokens[0]) and not _COUNTER.fullmatch(before):
        found_by = f"{where}~{before}[_.-]([0-9]+)" if before else f"{where}~([0-9]+)"
        return 1, PathPart(
            name=before or ALONE, value=tokens[0], setting=False, explicit=False, found_by=found_by, counting=not before
        )
    counts = _COUNTING.fullmatch(tokens[0]) or _GLUED.fullmatch(tokens[0])  # 07, b; run3
    return 1, None if counts else tokens[0]


def _read_glued(text: str, where: str) -> PathPart | None:
    """max_tokens64, t0.7, fp16, llama3; None of run3, which counts, and of what is nothing of the kind."""
    glued = _GLUED.fullmatch(text)
    if glued is None:
        return None
    name, value = glued.groups()
    setting = bool(_GLUED_SETTING.fullmatch(name) or SETTING.fullmatch(name))
    if not setting and _COUNTER.fullmatch(name) and "." not in value:
        return None
    found_by = f"{where}~{name.replace('_', '[_.-]')}({_value_pattern(value)})"
    return PathPart(name=name, value=value, setting=setting, explicit=False, found_by=found_by)


def _value_pattern(value: str) -> str:
    return _NUMBER if re.fullmatch(_NUMBER, value) else "[^_/]+"
