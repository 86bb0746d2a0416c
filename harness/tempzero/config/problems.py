"""What is wrong with a configuration in; out, a line for each problem: file, line, path, what, what would be right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

FilePath = tuple[str | int, ...]
"""Where a value stands in a document: keys and indices from its top."""
FileLines = Mapping[FilePath, int]
"""The line, counted from 1, at which the value of each path stands."""

# How the keys of known providers begin; such text anywhere in the file is a pasted key.
PASTED_KEY = "this looks like a key; keys stay in the environment, name the variable in api_key_env"
_PASTED_KEY = re.compile(r"^(Bearer\s+)?(sk[-_]|gsk_|hf_|xai-|nvapi-|csk-|fw_|AIza|tgp_|r8_)[A-Za-z0-9_\-]{16,}$")


def describe_errors(
    errors: Sequence[Mapping[str, Any]], value: Any, source: str, lines: FileLines, model: type[BaseModel]
) -> list[str]:
    """A line for each error that pydantic found in `value`, a document that should have been a `model`."""
    # A list whose members are wrong is also called too short; the members' errors say it better.
    deep = [e for e in errors if not (e["type"] == "too_short" and _has_deeper_error(e["loc"], errors))]
    return [_describe_error(e, value, source, lines, model) for e in deep]


def find_duplicate_names(value: Mapping[str, Any], source: str, lines: FileLines) -> list[str]:
    """Looked for in the raw file, so that it is said together with whatever else is wrong."""
    providers = value.get("providers")
    names = [p.get("name") if isinstance(p, dict) else None for p in providers] if isinstance(providers, list) else []
    return [
        f"{format_location(source, lines, ('providers', index, 'name'))}: providers[{index}].name: "
        f'"{name}" is taken by providers[{names.index(name)}]; names must differ, they key every record'
        for index, name in enumerate(names)
        if name is not None and name in names[:index]
    ]


def find_pasted_keys(value: Any, source: str, lines: FileLines) -> list[str]:
    """Keys in places where no rule of their own refuses them; the text itself is never shown."""
    return [
        f"{format_location(source, lines, at)}: {format_path(at)}: {PASTED_KEY}"
        for at in find_key_places(value)
        if at[-1:] != ("api_key_env",)
    ]


def find_key_places(value: Any) -> list[FilePath]:
    """Where in a document a text stands that looks like a key."""
    return [at for at, text in _walk_texts(value, ()) if _PASTED_KEY.match(text)]


def suggest_known(word: str, known: Sequence[str]) -> str:
    """The end of a sentence about an unknown word: the one that was probably meant, else all there are."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; known here: {', '.join(sorted(known))}" if known else ""


def describe_type(value: Any) -> str:
    """What a value of a file is, in a user's words."""
    if isinstance(value, str):
        return "text (quoted?)"
    names = {dict: "a mapping", list: "a list", bool: "true/false", int: "a whole number", float: "a number"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)


def format_location(source: str, lines: FileLines, path: FilePath) -> str:
    """file:line of a path, or of the nearest thing around it that stands in the file."""
    line = next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), None)
    return f"{source}:{line}" if line else source


def format_path(at: FilePath) -> str:
    """E.g. providers[1].timeouts.total_s."""
    return "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in at).lstrip(".")


def _describe_error(error: Mapping[str, Any], value: Any, source: str, lines: FileLines, model: type[BaseModel]) -> str:
    at = _path_in_file(error["loc"], value)
    where = format_location(source, lines, at)
    path = format_path(at)
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = f"unknown key{suggest_known(str(at[-1]), _known_keys(model, at[:-1]))}"
    elif error["type"] == "missing":
        message = "this key is needed"
    elif error["type"].endswith(("_type", "_parsing", "literal_error", "_mismatch")) or error["type"] == "bool_type":
        message = f"{_lower_first(message)}; found {describe_type(error['input'])}"
    return f"{where}: {path}: {_lower_first(message)}" if path else f"{where}: {_lower_first(message)}"


def _walk_texts(value: Any, at: FilePath) -> Iterator[tuple[FilePath, str]]:
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk_texts(inner, (*at, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _walk_texts(inner, (*at, index))


def _has_deeper_error(loc: FilePath, errors: Sequence[Mapping[str, Any]]) -> bool:
    return any(len(e["loc"]) > len(loc) and e["loc"][: len(loc)] == loc for e in errors)


def _path_in_file(loc: FilePath, value: Any) -> FilePath:
    """pydantic's location without the names of union members, which are not in the file."""
    at: list[str | int] = []
    for step, last in ((s, i == len(loc) - 1) for i, s in enumerate(loc)):
        inside = (isinstance(value, dict) and step in value) or (
            isinstance(value, list) and isinstance(step, int) and step < len(value)
        )
        if inside:
            at.append(step)
            value = value[step]
        elif last and isinstance(value, dict):
            at.append(step)
    return tuple(at)


def _known_keys(model: type[BaseModel], at: FilePath) -> list[str]:
    inner: type[BaseModel] | None = model
    for step in at:
        if isinstance(step, str):
            known = inner.model_fields if inner is not None else {}
            inner = _find_model_class(known[step].annotation) if step in known else None
    return list(inner.model_fields) if inner is not None else []


def _find_model_class(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for a in get_args(annotation) if (m := _find_model_class(a))), None)


def _lower_first(message: str) -> str:
    return message[:1].lower() + message[1:] if message[1:2].islower() else message
