"""A prompt file (YAML, JSONL, CSV) in, its raw entries out, each knowing where in the file it stands."""

from __future__ import annotations

import csv
import difflib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from tempzero.config import read_yaml
from tempzero.errors import SuiteError

ASKED_BY_NAME = ("probes", "hosted", "marathon", "conversations")
"""Subfolders of a prompt folder that are not asked with it: by their own name only, or by that of a suite."""

_REQUEST_KEYS = ("tools", "tool_choice", "request")
_LINT_KEYS = ("variants", "template", "allow")
_ROUND_KEYS = ("rounds", "results")
_TEXT_KEYS = ("id", "prompt", "system", "messages", "expected")
_ANY_KEYS = ("family", "extractor", "max_tokens", "tags", "suite", "margin")
PROMPT_KEYS = (*_TEXT_KEYS, *_ANY_KEYS, *_REQUEST_KEYS, *_LINT_KEYS, *_ROUND_KEYS)
HEAD_KEYS = ("family", "extractor", "max_tokens", "tags", "suite", *_REQUEST_KEYS)
"""What a YAML file may say once for all its prompts; a prompt's own key goes before it."""
CSV_COLUMNS = tuple(key for key in PROMPT_KEYS if key not in ("messages", "allow", *_REQUEST_KEYS, *_ROUND_KEYS))

_PLAIN_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?")
_EXPECTED_SOURCE = re.compile(r"\bexpected[\"']?\s*:\s*([^\s,}#]+)")


class SuiteProblem(Exception):
    """Something wrong in a prompt file: complete lines, one for each problem."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a value stands: its file, its path in it (`prompts[3].expected`), and the lines of paths."""

    file: Path
    lines: Mapping[tuple[Any, ...], int]
    at: tuple[Any, ...] = ()

    def inside(self, *steps: Any) -> Place:
        """The place of something inside this one."""
        return replace(self, at=(*self.at, *steps))

    def location(self) -> str:
        """`file:line`."""
        line = self.line()
        return f"{self.file}:{line}" if line else str(self.file)

    def line(self) -> int | None:
        """The line, from 1, of this value or of the nearest one around it."""
        return next((self.lines[self.at[:n]] for n in range(len(self.at), -1, -1) if self.at[:n] in self.lines), None)

    def remark(self, what: str) -> str:
        """`file:line: path: what`."""
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.at).lstrip(".")
        return f"{self.location()}: {path}: {what}" if path else f"{self.location()}: {what}"

    def refuse(self, what: str) -> NoReturn:
        """Raise SuiteProblem: `file:line: path: what`."""
        raise SuiteProblem(self.remark(what))


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One prompt as written: its own values, before them those of the file's head."""

    own: Mapping[str, Any]
    head: Mapping[str, Any]
    place: Place
    head_place: Place
    generated: bool = False
    whole_request: bool = False
    """Its keys are fields of a request's body, and no prompt's."""

    def get(self, key: str) -> Any:
        """The value of a key, or None."""
        return self.own[key] if key in self.own else self.head.get(key)

    def place_of(self, key: str) -> Place:
        """Where the value of a key is written."""
        inherited = key not in self.own and key in self.head
        return self.head_place.inside(key) if inherited else self.place.inside(key)


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """An item of `generate:`: prompts that are made when they are read."""

    item: Any
    head: Mapping[str, Any]
    place: Place
    head_place: Place


def find_prompt_files(path: Path) -> list[Path]:
    """The prompt files a path stands for, in the order of their names; those in ASKED_BY_NAME are left out.

    Raises SuiteError.
    """
    if path.is_file():
        files = [path]
    elif path.is_dir():
        inside = [(file.relative_to(path), file) for file in path.rglob("*") if file.is_file()]
        shown = [
            (name, file)
            for name, file in inside
            if not any(part.startswith(".") for part in name.parts) and name.parts[0] not in ASKED_BY_NAME
        ]
        shown.sort(key=lambda pair: pair[0].as_posix())
        files = [file for name, file in shown if name.suffix not in (".md", ".lock")]
    else:
        raise SuiteError(
            f"{path}: no such file or folder; run.prompts names the prompts of a run, `builtin` the shipped ones"
        )
    strange = [file for file in files if file.suffix.lower() not in _READERS]
    if strange:
        raise SuiteError(
            "\n".join(f"{f}: not a prompt file; {_FILE_KINDS} (.md files are left alone)" for f in strange)
        )
    if not files:
        raise SuiteError(f"{path}: holds no prompt file; {_FILE_KINDS}")
    return files


def read_entries(file: Path) -> Iterator[Entry | Declaration | SuiteProblem]:
    """The prompts of one file, each as written or with what is wrong about its shape.

    Raises SuiteProblem where the file as a whole cannot be read.
    """
    return _READERS[file.suffix.lower()](file)


def require_known_keys(value: Any, known: Collection[str], place: Place) -> Mapping[str, Any]:
    """The value, if it is a mapping of known keys. Raises SuiteProblem."""
    if not isinstance(value, dict):
        place.refuse(f"expected a mapping; found {describe_value(value)}")
    for key in value:
        if key not in known:
            place.inside(str(key)).refuse(f"unknown key; {suggest_word(str(key), known)}")
    return value


def suggest_word(word: str, known: Collection[str]) -> str:
    """The known word that was probably meant, or all of them."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f'did you mean "{near[0]}"?' if near else f"known: {', '.join(known)}"


def describe_value(value: Any) -> str:
    """What a value is, in the words of someone who writes YAML."""
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true/false", int: "a number", type(None): "nothing"}
    return names.get(type(value), "a number" if isinstance(value, float | Decimal) else type(value).__name__)


def _entry_or_problem(make: Callable[..., Entry], *args: Any) -> Entry | SuiteProblem:
    """One bad entry does not hide what is wrong with the others."""
    try:
        return make(*args)
    except SuiteProblem as problem:
        return problem


# --- YAML ------------------------------------------------------------------------------------


def _read_yaml_entries(file: Path) -> Iterator[Entry | Declaration | SuiteProblem]:
    try:
        value, lines = read_yaml(file, SuiteError)
    except SuiteError as problem:
        raise SuiteProblem(str(problem)) from None
    top = Place(file=file, lines=lines)
    items: Any = value
    if isinstance(value, list):
        head, at = {}, top
    else:
        if not isinstance(value, dict):
            top.refuse(f"expected a mapping with prompts: or a list of prompts; found {describe_value(value)}")
        fields = require_known_keys(value, ("prompts", "generate", *HEAD_KEYS), top)
        head = {key: fields[key] for key in HEAD_KEYS if key in fields}
        items, at = fields.get("prompts", [] if "generate" in fields else None), top.inside("prompts")
        yield from _read_declarations(fields.get("generate", []), head, top)
    if not isinstance(items, list):
        at.refuse(f"expected a list of prompts; found {describe_value(items)}")
    source = file.read_text(encoding="utf-8").split("\n")
    for index, item in enumerate(items):
        yield _entry_or_problem(_parse_yaml_entry, item, head, at.inside(index), top, source)


def _read_declarations(items: Any, head: Mapping[str, Any], top: Place) -> Iterator[Declaration]:
    place = top.inside("generate")
    if not isinstance(items, list):
        place.refuse(
            f"expected a list such as [{{generator: arithmetic, seed: 1, count: 20}}]; found {describe_value(items)}"
        )
    for index, item in enumerate(items):
        yield Declaration(item=item, head=head, place=place.inside(index), head_place=top)


def _parse_yaml_entry(item: Any, head: Mapping[str, Any], place: Place, top: Place, source: list[str]) -> Entry:
    own = require_known_keys(item, PROMPT_KEYS, place)
    if "expected" in own:
        own = {**own, "expected": _number_as_written(own["expected"], place.inside("expected"), source)}
    return Entry(own=own, head=head, place=place, head_place=top)


def _number_as_written(value: Any, place: Place, source: list[str]) -> Any:
    """A number's text as the author wrote it: YAML itself would read 12:30 as 750, and 010 as 8."""
    if isinstance(value, bool):
        place.refuse('YAML reads a bare yes, no, on, off, true, false as true/false; put it in quotes, e.g. "yes"')
    if not isinstance(value, int | float):
        return value
    written = _EXPECTED_SOURCE.findall(source[(place.line() or 1) - 1])
    plain = [text for text in written if _PLAIN_NUMBER.fullmatch(text) and float(text) == value]
    if not plain:
        place.refuse(f"YAML reads this as the number {value}; put the answer in quotes")
    return plain[0]


# --- JSONL -----------------------------------------------------------------------------------


def _read_jsonl_entries(file: Path) -> Iterator[Entry | SuiteProblem]:
    for number, line in enumerate(_read_file_lines(file), start=1):
        if line.strip():
            yield _entry_or_problem(_parse_jsonl_entry, line, Place(file=file, lines={(): number}))


def _parse_jsonl_entry(line: str, place: Place) -> Entry:
    try:
        value = json.loads(
            line, parse_float=Decimal, parse_constant=_refuse_json_constant, object_pairs_hook=_require_unique_keys
        )
    except (ValueError, RecursionError) as problem:
        place.refuse(f"not JSON: {problem}; write one object a line")
    if isinstance(value, dict) and holds_whole_request(value):
        return Entry(own=value, head={}, place=place, head_place=place, whole_request=True)
    own = require_known_keys(value, PROMPT_KEYS, place)
    expected = own.get("expected")
    if isinstance(expected, int | Decimal) and not isinstance(expected, bool):
        own = {**own, "expected": str(expected)}
    return Entry(own=own, head={}, place=place, head_place=place)


def holds_whole_request(line: Mapping[str, Any]) -> bool:
    """Whether a line of a JSONL file is a request and no prompt: one with a body, or with messages and no family."""
    return isinstance(line.get("body"), dict) or ("messages" in line and "family" not in line)


def _refuse_json_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _require_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for index, (key, _) in enumerate(pairs):
        if any(key == other for other, _ in pairs[:index]):
            raise ValueError(f'key "{key}" is given twice')
    return dict(pairs)


# --- CSV -------------------------------------------------------------------------------------


def _read_csv_entries(file: Path) -> Iterator[Entry | SuiteProblem]:
    reader = csv.reader(_read_file_lines(file, keep_ends=True), strict=True)
    columns: list[str] = []
    started = 0
    try:
        for row in reader:
            place = Place(file=file, lines={(): started + 1})
            started = reader.line_num
            if not any(cell.strip() for cell in row):
                continue
            if columns:
                yield _entry_or_problem(_parse_csv_entry, row, columns, place)
            else:
                columns = _parse_csv_columns(row, place)
    except csv.Error as problem:
        Place(file=file, lines={(): started + 1}).refuse(f"not CSV: {problem}")


def _parse_csv_entry(row: list[str], columns: list[str], place: Place) -> Entry:
    if len(row) != len(columns):
        place.refuse(f"expected {len(columns)} cells, as in the first line; found {len(row)} (an unquoted comma?)")
    own = {key: _parse_csv_cell(key, cell, place) for key, cell in zip(columns, row, strict=True) if cell != ""}
    return Entry(own=own, head={}, place=place, head_place=place)


def _parse_csv_columns(row: list[str], place: Place) -> list[str]:
    columns = [cell.strip() for cell in row]
    require_known_keys(dict.fromkeys(columns), CSV_COLUMNS, place)
    if len(set(columns)) < len(columns):
        place.refuse("a column is given twice")
    return columns


def _parse_csv_cell(key: str, cell: str, place: Place) -> Any:
    """A cell's value: tags split at `;`, a whole number for max_tokens, an extractor's mapping as JSON."""
    if key == "tags":
        return [tag.strip() for tag in cell.split(";") if tag.strip()]
    if key == "max_tokens" and cell.strip().isdecimal():
        return int(cell)
    if key == "margin" and _PLAIN_NUMBER.fullmatch(cell.strip()):
        return float(cell)
    if key == "extractor" and cell.lstrip().startswith("{"):
        try:
            return json.loads(cell, object_pairs_hook=_require_unique_keys)
        except ValueError as problem:
            place.inside(key).refuse(f"not JSON: {problem}")
    return cell


def _read_file_lines(file: Path, keep_ends: bool = False) -> list[str]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise SuiteProblem(f"{file}: cannot be read as UTF-8: {problem}") from None
    # Not splitlines(): it would also cut at U+2028 and the like, which may stand in a prompt.
    lines = re.split(r"(?<=\n)", text)
    return lines if keep_ends else [line.rstrip("\r\n") for line in lines]


_READERS: Mapping[str, Callable[[Path], Iterator[Entry | Declaration | SuiteProblem]]] = {
    ".yaml": _read_yaml_entries,
    ".yml": _read_yaml_entries,
    ".jsonl": _read_jsonl_entries,
    ".csv": _read_csv_entries,
}
_FILE_KINDS = f"prompt files end in {', '.join(_READERS)}"


def parse_text(value: Any, place: Place) -> str:
    """The value as text that a request can carry. Raises SuiteProblem."""
    if not isinstance(value, str):
        place.refuse(f"expected text; found {describe_value(value)}" + ("" if value is None else " (put it in quotes)"))
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        place.refuse("holds half of a surrogate pair, which no request can carry; write the whole character")
    return value
