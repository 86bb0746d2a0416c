"""A response that is to be JSON in, whether it fits the suite's schema out: `valid` or `invalid`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from tempzero.answers.chat_messages import refuse_constant, refuse_duplicate_keys
from tempzero.extractors.extractor import Args, Extractor

VALID, INVALID = "valid", "invalid"

_FENCED = re.compile(
    r"\s*(?P<fence>`{3,}|~{3,})[ \t]*(?:json5?|jsonc)?[ \t]*\n(?P<inside>.*?)\n?[ \t]*(?P=fence)\s*",
    re.DOTALL | re.IGNORECASE,
)


def _read_json_validity(text: str, args: Args) -> str | None:
    """The whole response must be the JSON value, bare or in one code fence: what stands around it breaks the form."""
    fenced = _FENCED.fullmatch(text)
    inside = (fenced["inside"] if fenced else text).strip()
    if inside[:1] not in ("{", "["):
        return None
    try:
        value = json.loads(inside, object_pairs_hook=refuse_duplicate_keys, parse_constant=refuse_constant)
        return VALID if _build_validator(args["schema"]).is_valid(value) else INVALID
    except (ValueError, RecursionError):
        return INVALID


def find_schema_problem(schema: Mapping[str, Any]) -> str | None:
    """What is wrong with a JSON schema (draft 2020-12), in one line; None where nothing is."""
    # Loaded when needed: most runs read no JSON against a schema.
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as problem:
        at = ".".join(str(step) for step in problem.absolute_path)
        return f"{at or 'schema'}: {problem.message}"[:200]
    remote = [target for target in _find_schema_refs(schema) if not target.startswith("#")]
    return f"$ref: {remote[0]}: only references within the schema (#/...) are followed" if remote else None


def fits_schema(value: Any, schema: str) -> bool:
    """Whether a JSON value is one that a schema, given as JSON, allows. The schema was looked over before."""
    return bool(_build_validator(schema).is_valid(value))


@lru_cache(maxsize=256)
def _build_validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    nothing_else: Registry[Any] = Registry()  # no schema is fetched from anywhere
    return Draft202012Validator(json.loads(schema), registry=nothing_else)


def _find_schema_refs(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [v for k, v in value.items() if k in ("$ref", "$dynamicRef") and isinstance(v, str)]
        return own + [target for inner in value.values() for target in _find_schema_refs(inner)]
    return [target for inner in value for target in _find_schema_refs(inner)] if isinstance(value, list) else []


def _check_json_schema_args(args: Args) -> None:
    problem = find_schema_problem(json.loads(args["schema"]))
    if problem:
        raise ValueError(f"schema is no JSON schema: {problem}")


def _can_state_json_validity(expected: str, _args: Args) -> bool:
    return expected in (VALID, INVALID)


JSON_SCHEMA = Extractor(
    name="json_schema",
    version=1,
    reader=_read_json_validity,
    can_state=_can_state_json_validity,
    parameters=("schema",),
    structured={"schema": dict},
    check=_check_json_schema_args,
)
