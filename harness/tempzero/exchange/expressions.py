"""What a user wrote for a column in, a function from a row's cells to its value out.

model                     the column of that name
meta.model                inside a nested object, or inside JSON text in the cell `meta`
choices[0].message        an item of a list
responses[*]  answer_*    each item, or each column that fits: one repeat after the other (`text` only;
                          the same `*` in other fields is the same item; `@match` is what it stood for, and of
                          *_run_* everything from the first star to the last)
answers[]                 a whole list or object, as JSON: one answer (`text` only)
task+rubric_id            several, joined by ":"
@file @stem @folder @path @line @key     the file's name, the name without ending, its folder,
                          its path inside the source, the row's line, the row's key in a JSON object
@content                  the whole file, where each is one answer
@list                     with rows=*: the name of the list that the row stands in
@stem~^(.+)_run           what the group of a regular expression finds in a value
"""

from __future__ import annotations

import ast
import difflib
import fnmatch
import io
import json
import re
import tokenize
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

import regex  # type: ignore[import-untyped]

from tempzero.errors import ExchangeError
from tempzero.exchange.table_reading import foreign_to_canonical_json

Cells = Mapping[str, Any]
Getter = Callable[[Cells], Any]

_PATH_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+|\*)\]")
# Processor time for one cell; honest patterns take millionths.
_SEARCH_SECONDS = 2
_MATCH = "@match"
# Behind a path: the list or object that stands there is one answer, as it is.
_WHOLE = "[]"
_ROW_FIELDS = (_MATCH, "@line", "@key", "@list", "@content")
JOINT = ":"


@dataclass(frozen=True, kw_only=True, slots=True)
class Expression:
    """One field's source: a constant, or one or more paths joined by ":", with an optional pattern to find in it."""

    written: str
    paths: tuple[str, ...] = ()
    constant: str | None = None
    pattern: str | None = None

    @property
    def starred(self) -> bool:
        return any("*" in path for path in self.paths)

    @property
    def columns(self) -> frozenset[str]:
        """The top-level columns it may touch."""
        return frozenset(name for path in self.paths for name in (path, _top_column(path)))

    @property
    def taken(self) -> frozenset[str]:
        """The very paths whose values it uses up."""
        return frozenset(path.removesuffix(_WHOLE) if not path.endswith("[*][]") else path for path in self.paths)


def constant_expression(value: str) -> Expression:
    return Expression(written=value, constant=value)


def parse_expression(written: str) -> Expression:
    """Raises ExchangeError for a pattern that is no regular expression."""
    text, tilde, pattern = written.partition("~")
    if tilde:
        try:
            regex.compile(pattern)
        except regex.error as problem:
            raise ExchangeError(f'"{written}": not a regular expression behind "~": {problem}') from None
    paths = tuple(part.strip() for part in text.split("+") if part.strip())
    if not paths:
        raise ExchangeError(f'"{written}": names no column')
    return Expression(written=written, paths=paths, pattern=pattern if tilde else None)


@dataclass(frozen=True, kw_only=True, slots=True)
class FilePlace:
    """What a file gives to its rows, and the columns it is known to have (None: rows name their own).

    `around` is the folder that holds the source: the folder of files that lie at its top.
    """

    name: str
    around: str
    columns: tuple[str, ...] | None

    def constants(self) -> dict[str, str]:
        path = PurePosixPath(self.name)
        stem = path.name.removesuffix(path.suffix)
        return {"@file": path.name, "@stem": stem, "@folder": path.parent.name or self.around, "@path": self.name}


def bind_expression(expression: Expression, field: str, place: FilePlace) -> Getter:
    """A getter for the rows of one file. Raises ExchangeError when the file cannot have the column."""
    if expression.constant is not None:
        value = expression.constant
        return lambda cells: value
    if expression.written in (place.columns or ()):
        return lambda cells: cells[expression.written]
    getters = [_bind_path(path, field, place, whole=expression.written) for path in expression.paths]
    found = getters[0] if len(getters) == 1 else _joining_getter(getters)
    return found if expression.pattern is None else _searching_getter(found, expression)


def find_star_matches(expression: Expression, cells: Cells, *, taken: Collection[str] = ()) -> list[str]:
    """What the `*` of an expression stands for in this row, in the row's order; never for the columns `taken`."""
    path = next(p for p in expression.paths if "*" in p)
    head = _top_column(path)
    if "*" in head:
        before, after = head[: head.index("*")], head[head.rindex("*") + 1 :]
        fitting = [c for c in cells if fnmatch.fnmatchcase(c, head) and not c.startswith("@") and c not in taken]
        return [c[len(before) : len(c) - len(after)] for c in fitting]
    value = _walk_steps(cells, _split_path(path.partition("[*]")[0]))
    value = parse_nested_cell(value) if isinstance(value, str) else value
    return [str(i) for i in range(len(value))] if isinstance(value, list) else []


def as_label(value: Any) -> str:
    """A value as a part of a key."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    return "" if value is None else str(value)


def suggest_name(word: str, known: Collection[str]) -> str:
    """What was likely meant, or what there is."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f'; did you mean "{near[0]}"?'
    shown = [f'"{name}"' if not name or "," in name else name for name in list(known)[:30]]
    return f"; there are {', '.join(shown)}{', ...' if len(known) > 30 else ''}"


def quote_for_shell(text: str) -> str:
    """As it may stand on a command line."""
    return text if re.fullmatch(r"[\w@%+=:,./-]+", text) else "'" + text.replace("'", "'\\''") + "'"


def walk_path(cells: Cells, path: str) -> Any:
    """What stands at a path without a star, None where nothing does."""
    return _cell_or_walk(cells, path)


def _bind_path(path: str, field: str, place: FilePlace, *, whole: str) -> Getter:
    if path.endswith(_WHOLE) and path not in (place.columns or ()):
        inner = _bind_path(path.removesuffix(_WHOLE), field, place, whole=whole)
        return lambda cells: _as_whole(inner(cells))
    constants = place.constants()
    if path in constants:
        value = constants[path]
        return lambda cells: value
    if "*" in path:
        _refuse_unmatched_star(path, field, place, whole)
        return lambda cells: _cell_or_walk(cells, _fill_star(path, str(cells.get(_MATCH, ""))))
    if path.startswith("@") and place.columns is not None and path not in {*place.columns, *_ROW_FIELDS}:
        raise ExchangeError(
            f'{place.name}: {field}={whole}: no "{path}"{suggest_name(path, [*constants, *_ROW_FIELDS])}'
        )
    head = _top_column(path)
    if place.columns is not None and not path.startswith("@"):
        if path in place.columns:
            return lambda cells: cells[path]
        if head not in place.columns:
            raise ExchangeError(f'{place.name}: {field}={whole}: no column "{head}"{suggest_name(head, place.columns)}')
    steps = _split_path(path)
    if len(steps) == 1 and steps[0] == path:
        return lambda cells: cells.get(path)
    return lambda cells: cells[path] if path in cells else _walk_steps(cells, steps)


def _as_whole(value: Any) -> Any:
    return foreign_to_canonical_json(value) if isinstance(value, dict | list) else value


def _fill_star(path: str, match: str) -> str:
    """The path with what its star stood for; of a column with several stars, all between the outer ones."""
    head = _top_column(path)
    if "*" in head:
        return head[: head.index("*")] + match + head[head.rindex("*") + 1 :] + path[len(head) :]
    return path.replace("*", match, 1)


def _refuse_unmatched_star(path: str, field: str, place: FilePlace, whole: str) -> None:
    head = _top_column(path)
    if place.columns is not None and not any(fnmatch.fnmatchcase(c, head) for c in place.columns):
        raise ExchangeError(f"{place.name}: {field}={whole}: no column fits{suggest_name(head, place.columns)}")


def _cell_or_walk(cells: Cells, path: str) -> Any:
    return cells[path] if path in cells else _walk_steps(cells, _split_path(path))


def _walk_steps(value: Any, steps: Sequence[str | int]) -> Any:
    for step in steps:
        if isinstance(value, str):
            value = parse_nested_cell(value)
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is None:
            return None
    return value


@lru_cache(maxsize=512)
def parse_nested_cell(text: str) -> Any:
    """JSON text in a cell as its value, or a list or dictionary as Python writes it; nothing else has an inside."""
    if text[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _parse_python_literal(text)


def _parse_python_literal(text: str) -> Any:
    """What a data frame writes for a cell with a list. Of two texts without a comma between, nobody knows the ends."""
    try:
        kinds = [t.type for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type != tokenize.NL]
        if any(one == other == tokenize.STRING for one, other in pairwise(kinds)):
            return None
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, tokenize.TokenError):
        return None


@lru_cache(maxsize=512)
def _split_path(path: str) -> tuple[str | int, ...]:
    return tuple(int(index) if index.isdigit() else name or index for name, index in _PATH_STEP.findall(path))


def _top_column(path: str) -> str:
    return re.split(r"[.\[]", path, maxsplit=1)[0]


def _joining_getter(getters: Sequence[Getter]) -> Getter:
    def get(cells: Cells) -> str | None:
        parts = [getter(cells) for getter in getters]
        return None if all(part is None for part in parts) else JOINT.join(as_label(part) for part in parts)

    return get


def _searching_getter(getter: Getter, expression: Expression) -> Getter:
    pattern = regex.compile(expression.pattern)

    def get(cells: Cells) -> str | None:
        value = getter(cells)
        label = None if value is None else as_label(value)
        try:
            found = None if label is None else pattern.search(label, timeout=_SEARCH_SECONDS)
        except TimeoutError:
            raise ExchangeError(
                f'"{expression.written}": searching one cell took {_SEARCH_SECONDS} s of processor time; repetitions '
                "of repetitions, as in (a+)+ or (a|aa)+, try every way to divide a text: write it without them"
            ) from None
        if found is None:
            return None
        words: str = found.group(1) if pattern.groups else found.group()
        return words

    return get
