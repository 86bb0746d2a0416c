"""What stands where in a foreign table: `--map`, a mapping file or a built-in format in, a Recipe out."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tempzero.config import read_yaml
from tempzero.errors import ExchangeError, SuiteError
from tempzero.exchange.expressions import Expression, as_label, constant_expression, parse_expression, suggest_name
from tempzero.types.asked import ExtractorSpec

FIELDS: Mapping[str, str] = {
    "provider": "who was asked (needed)",
    "prompt": "the question: text, or chat messages as JSON (this or id is needed)",
    "id": "the question's name, where it has one",
    "text": "the answer (needed)",
    "repeat": "which repetition of the question; without it, rows are numbered in their order",
    "condition": "what else was varied: answers are compared within one condition only",
    "expected": "the right answer",
    "family": "the kind of question",
    "model": "the model id that was asked for",
    "claims": "the model that the provider says it serves; providers are compared where it agrees",
    "error": "why there is no answer; empty, false or a word of success where there is one",
    "refusal": "whether the provider refused, or the words it refused with, which are part of the answer",
    "cached": "whether the answer came from a cache",
    "reasoning": "the model's reasoning, where it is apart: part of the answer",
    "finish_reason": "why the answer ended",
    "served_model": "the model the response names",
    "backend": "the machine or upstream the response names",
    "fingerprint": "the system fingerprint",
    "response_id": "the response's id",
    "prompt_tokens": "tokens of the question",
    "completion_tokens": "tokens of the answer",
    "reasoning_tokens": "tokens of its reasoning",
    "total_tokens": "tokens of question and answer",
    "date": "when it was asked",
    "latency_s": "seconds until the answer",
    "latency_ms": "the same in milliseconds",
    "temperature": "sampling temperature",
    "top_p": "nucleus sampling",
    "seed": "the sampling seed",
    "max_tokens": "the limit of the answer",
    "request": "the whole request as JSON, where it was recorded",
}
# Fields that a different value of makes another request, hence another condition.
SAMPLING_FIELDS = ("temperature", "top_p", "max_tokens", "model")
_REQUIRED_FIELDS = ("provider", "text")


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFilter:
    """Which rows count: those whose value fits a glob, or does not."""

    written: str
    expression: Expression
    glob: str
    fitting: bool

    def fits(self, value: Any) -> bool:
        return fnmatch.fnmatchcase(as_label(value), self.glob) is self.fitting


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How rows are read. `fields` maps a name of FIELDS to its source; `rows_at` is a list's path inside JSON.

    `ignored` are columns that may vary under one key, on the importer's word that they are no other way of asking.
    `as_is` takes every text that is not empty for an answer: no error texts, no refusals are looked for.
    """

    fields: Mapping[str, Expression]
    format: str | None = None
    rows_at: str = ""
    only: tuple[str, ...] = ()
    where: tuple[RowFilter, ...] = ()
    ignored: tuple[str, ...] = ()
    extractor: ExtractorSpec | None = None
    reference: str | None = None
    as_is: bool = False

    def checked(self) -> Recipe:
        """The same; ExchangeError names what is needed and missing."""
        missing = [name for name in _REQUIRED_FIELDS if name not in self.fields]
        if "prompt" not in self.fields and "id" not in self.fields:
            missing.append("prompt (or id)")
        if missing:
            raise ExchangeError(f"the mapping does not say {' nor '.join(missing)}: {_MAP_EXAMPLE}")
        starred = [name for name, e in self.fields.items() if e.starred]
        if starred and "text" not in starred:
            raise ExchangeError(f'{starred[0]}={self.fields[starred[0]].written}: "*" works in text only')
        return self


_MAP_EXAMPLE = "e.g. --map provider=model,prompt=question,repeat=run,text=response"


def recipe_from_maps(maps: Sequence[str]) -> Recipe:
    """`provider=model,text=response` and `provider:=gpt-4` in; commas and repeated options do the same."""
    fields: dict[str, Expression] = {}
    rows_at, ignored = "", list[str]()
    for piece in _split_maps(maps):
        name, _, written = piece.partition("=")
        if name.strip() == "rows":
            rows_at = written.strip()
        elif name.strip() == "ignore":
            ignored += [column.strip() for column in written.split("+") if column.strip()]
        elif name.endswith(":"):
            fields[_require_known_field(name[:-1].strip(), "--map")] = constant_expression(written)
        else:
            fields[_require_known_field(name.strip(), "--map")] = parse_expression(written.strip())
    return Recipe(fields=fields, rows_at=rows_at, ignored=tuple(ignored))


def parse_fields(fields: Mapping[str, str]) -> dict[str, Expression]:
    """Field: column, as built-in formats write it."""
    return {_require_known_field(name, "format"): parse_expression(written) for name, written in fields.items()}


def _split_maps(maps: Sequence[str]) -> list[str]:
    """Split at commas; a piece without "=" belongs to the one before (a pattern, or a constant with a comma)."""
    found: list[str] = []
    for text in maps:
        for number, piece in enumerate(text.split(",")):
            if "=" in piece or (number == 0 and piece):
                found.append(piece)
            elif found and number:
                found[-1] += "," + piece
    for piece in found:
        if "=" not in piece:
            raise ExchangeError(f"--map {piece}: write field=column, or field:=constant; {_MAP_EXAMPLE}")
    return found


def _require_known_field(name: str, where: str) -> str:
    if name not in FIELDS:
        raise ExchangeError(f'{where}: no field is called "{name}"{suggest_name(name, FIELDS)}')
    return name


_FILE_KEYS = ("format", "map", "rows", "only", "where", "ignore", "extractor", "reference", "as_is")


def recipe_from_file(path: Path) -> Recipe:
    """A mapping file: `map:` with field: column (a list joins several, `{value: x}` is a constant), and options."""
    value, _ = read_yaml(path, ExchangeError)
    if not isinstance(value, dict):
        raise ExchangeError(f"{path}: expected a mapping with the keys {', '.join(_FILE_KEYS)}")
    for key in value:
        if key not in _FILE_KEYS:
            raise ExchangeError(f'{path}: unknown key "{key}"{suggest_name(str(key), _FILE_KEYS)}')
    fields = {
        _require_known_field(str(k), f"{path}: map"): _read_map_value(path, str(k), v)
        for k, v in _read_map_section(path, value).items()
    }
    return Recipe(
        fields=fields,
        format=_read_text_option(path, value, "format"),
        rows_at=_read_text_option(path, value, "rows") or "",
        only=tuple(_read_text_list(path, value.get("only", ()), "only: expected globs, e.g. runs/*/*.csv")),
        where=tuple(
            _parse_row_filter(w) for w in _read_text_list(path, value.get("where", ()), "where: expected column=value")
        ),
        ignored=tuple(_read_text_list(path, value.get("ignore", ()), "ignore: expected columns")),
        extractor=None
        if (spec := _read_extractor_option(path, value.get("extractor"))) is None
        else check_extractor(spec),
        reference=_read_text_option(path, value, "reference"),
        as_is=value.get("as_is", False) is True,
    )


def recipe_from_options(
    *,
    maps: Sequence[str] = (),
    mapping: Path | None = None,
    form: str | None = None,
    only: Sequence[str] = (),
    where: Sequence[str] = (),
    extractor: str | None = None,
    arguments: Sequence[str] = (),
    reference: str | None = None,
    as_is: bool = False,
) -> Recipe:
    """The command line's options as one Recipe; they go before what the mapping file says."""
    spec = None
    if extractor is not None:
        pairs = [argument.partition("=") for argument in arguments]
        spec = check_extractor(ExtractorSpec(name=extractor, args={name: value for name, _, value in pairs}))
    given = Recipe(
        fields={},
        format=form,
        only=tuple(only),
        where=tuple(_parse_row_filter(w) for w in where),
        extractor=spec,
        reference=reference,
        as_is=as_is,
    )
    return merge_recipes(
        Recipe(fields={}) if mapping is None else recipe_from_file(mapping), recipe_from_maps(maps), given
    )


def _parse_row_filter(written: str) -> RowFilter:
    """`split=test` or `status!=failed*` in."""
    column, equals, glob = written.partition("=")
    if not equals or not column.strip("! "):
        raise ExchangeError(f"--where {written}: write column=value or column!=value; * stands for anything")
    fitting = not column.endswith("!")
    return RowFilter(written=written, expression=parse_expression(column.removesuffix("!")), glob=glob, fitting=fitting)


def merge_recipes(first: Recipe, *others: Recipe) -> Recipe:
    """What the later ones say goes before what the earlier ones say."""
    for other in others:
        first = replace(
            first,
            fields={**first.fields, **other.fields},
            format=other.format or first.format,
            rows_at=other.rows_at or first.rows_at,
            only=other.only or first.only,
            where=(*first.where, *other.where),
            ignored=(*first.ignored, *other.ignored),
            extractor=other.extractor or first.extractor,
            reference=other.reference or first.reference,
            as_is=other.as_is or first.as_is,
        )
    return first


def check_extractor(spec: ExtractorSpec) -> ExtractorSpec:
    """The same; ExchangeError for an extractor or argument that there is not."""
    from tempzero.extractors import EXTRACTORS

    extractor = EXTRACTORS.get(spec.name)
    if extractor is None:
        raise ExchangeError(f'--extractor: there is none called "{spec.name}"{suggest_name(spec.name, EXTRACTORS)}')
    for name in spec.args:
        if name not in extractor.parameters:
            raise ExchangeError(
                f'--extractor-arg: {spec.name} takes no "{name}"{suggest_name(name, extractor.parameters)}'
            )
    missing = [name for name in extractor.parameters if name not in spec.args]
    if missing:
        raise ExchangeError(f"--extractor {spec.name} needs --extractor-arg {missing[0]}=...")
    try:
        extractor.check(spec.args)
    except (ValueError, SuiteError) as problem:
        raise ExchangeError(f"--extractor {spec.name}: {problem}") from None
    return spec


def _read_map_section(path: Path, value: Mapping[str, Any]) -> Mapping[str, Any]:
    fields = value.get("map", {})
    if not isinstance(fields, dict):
        raise ExchangeError(f"{path}: map: expected field: column lines")
    return fields


def _read_map_value(path: Path, name: str, value: Any) -> Expression:
    if isinstance(value, dict) and set(value) == {"value"}:
        return constant_expression(str(value["value"]))
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        return parse_expression("+".join(value))
    if isinstance(value, str) and value:
        return parse_expression(value)
    raise ExchangeError(f"{path}: map.{name}: write a column, a list of columns, or {{value: constant}}")


def _read_text_option(path: Path, value: Mapping[str, Any], key: str) -> str | None:
    found = value.get(key)
    if found is not None and not isinstance(found, str):
        raise ExchangeError(f"{path}: {key}: expected text")
    return found


def _read_text_list(path: Path, value: Any, right: str) -> list[str]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list | tuple) or not all(isinstance(v, str) for v in found):
        raise ExchangeError(f"{path}: {right}")
    return list(found)


def _read_extractor_option(path: Path, value: Any) -> ExtractorSpec | None:
    if value is None:
        return None
    if isinstance(value, str):
        return ExtractorSpec(name=value)
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        args = value.get("args", {})
        if isinstance(args, dict):
            return ExtractorSpec(name=value["name"], args={str(k): str(v) for k, v in args.items()})
    raise ExchangeError(f"{path}: extractor: write its name, or {{name: regex, args: {{pattern: ...}}}}")
