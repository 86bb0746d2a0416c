"""providers.yaml in, a resolved Config out; whatever is wrong is said at once."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tempzero.config.problems import (
    FileLines,
    describe_errors,
    describe_type,
    find_duplicate_names,
    find_pasted_keys,
)
from tempzero.config.whole_config import Config, WrittenConfig
from tempzero.config.yaml_lines import read_yaml
from tempzero.errors import ConfigError, UsageError

_PACK = "pack:"


def load_config(path: Path) -> Config:
    """Read and resolve providers.yaml.

    Raises ConfigError with one line for each problem: file, line, path, what, and what would be right.
    """
    value, lines = read_yaml(path, ConfigError)
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a mapping with version, providers, ...; found {describe_type(value)}")
    return parse_config(_open_packs(value), source=str(path), lines=lines)


def _open_packs(value: dict[str, Any]) -> dict[str, Any]:
    """The same, with an entry for each reference that is written as `pack:FILE`, and the model of each pack.

    What is not in the form of a configuration is left as it is, for its own message. Raises PackError.
    """
    run, providers = value.get("run"), value.get("providers")
    named = run.get("reference") if isinstance(run, dict) else None
    references = [named] if isinstance(named, str) else named if isinstance(named, list) else []
    files = {r: r.removeprefix(_PACK) for r in references if isinstance(r, str) and r.startswith(_PACK)}
    if not isinstance(providers, list) or not (files or any(isinstance(p, dict) and "pack" in p for p in providers)):
        return value
    from tempzero.packs.reference_pack import read_pack_model

    names = {reference: f"{_PACK}{_shorten_pack_name(file)}" for reference, file in files.items()}
    added = [{"name": names[reference], "pack": file} for reference, file in files.items()]
    filled = [
        {"model": read_pack_model(p["pack"]), "repeats": 1, **p}
        if isinstance(p, dict) and isinstance(p.get("pack"), str)
        else p
        for p in [*providers, *added]
    ]
    renamed = [names.get(r, r) if isinstance(r, str) else r for r in references]
    return {**value, "providers": filled, "run": {**(run or {}), "reference": renamed or None}}


def _shorten_pack_name(file: str) -> str:
    """The file's name without its endings, in the letters that names have."""
    stem = Path(file).name.removesuffix(".json").removesuffix(".pack")
    return re.sub(r"[^A-Za-z0-9._@+-]", "-", stem)[:90] or "pack"


def parse_config(value: Mapping[str, Any], *, source: str, lines: FileLines | None = None) -> Config:
    """JSON values in, a resolved Config out. Raises ConfigError.

    They come from a file, or from a manifest: what is resolved already comes to itself.
    """
    lines = lines or {}
    problems = find_duplicate_names(value, source, lines) + find_pasted_keys(value, source, lines)
    try:
        # Through JSON: strict mode takes a JSON array for a tuple, and refuses "3" for 3.
        written = WrittenConfig.model_validate_json(json.dumps(value))
    except ValidationError as error:
        problems += describe_errors(error.errors(), value, source, lines, WrittenConfig)
    except (TypeError, ValueError) as error:
        problems.append(f"{source}: holds a value that JSON has no form for ({error})")
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return written.resolve()


def refuse_unknown_providers(config: Config, names: Collection[str]) -> None:
    """Raise UsageError for a name on the command line that no provider has."""
    known = {p.name for p in config.providers}
    for name in names:
        if name not in known:
            raise UsageError(f'--providers: no provider is called "{name}"; known: {", ".join(sorted(known))}')
