"""A model's name or an aggregator's saved listing in, a providers.yaml with every host that is known for it out.

The catalogue (`models.yaml` beside this) is data with sources and days, and nothing of it was asked of the hosts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from tempzero.config import read_yaml
from tempzero.config.problems import describe_errors, suggest_known
from tempzero.config.strict_model import StrictModel
from tempzero.errors import ConfigError, UsageError

CATALOGUE_FILE = Path(__file__).with_name("models.yaml")
_CONFIG_FILE = "providers.yaml"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._@:+-]+")
_MOST_ENDPOINTS = 200


class Host(StrictModel):
    """Where a host is, whose key it takes, and what its requests need."""

    base_url: str
    api_key_env: str
    source: str
    as_of: str
    precision: str | None = None
    entry: Mapping[str, Any] = Field(default={})


class ModelAtHost(StrictModel):
    """What a host calls a model and asks for it; prices in USD for a million tokens."""

    model: str
    precision: str | None = None
    input_per_mtok: Annotated[float, Field(ge=0)] | None = None
    output_per_mtok: Annotated[float, Field(ge=0)] | None = None
    source: str | None = None
    as_of: str | None = None
    note: str | None = None


class KnownModel(StrictModel):
    """A model, the room that its thinking needs, and who says that it serves it."""

    reasoning_tokens: int | None = None
    hosts: Mapping[str, ModelAtHost]


class PriceSource(StrictModel):
    """Where prices are from, and of which day."""

    source: str
    as_of: str


class Catalogue(StrictModel):
    """All of it."""

    version: int
    prices: PriceSource
    hosts: Mapping[str, Host]
    models: Mapping[str, KnownModel]


@cache
def read_catalogue() -> Catalogue:
    """The catalogue that comes with tempzero. Raises ConfigError."""
    value, lines = read_yaml(CATALOGUE_FILE, ConfigError)
    try:
        return Catalogue.model_validate_json(json.dumps(value))
    except ValidationError as error:
        said = describe_errors(error.errors(), value, str(CATALOGUE_FILE), lines, Catalogue)
        raise ConfigError("\n".join(said)) from None


def write_model_config(model: str, folder: Path, environ: Mapping[str, str]) -> tuple[Path, list[str]]:
    """Write providers.yaml for a model; the file, and the hosts whose keys are set. Raises UsageError."""
    catalogue = read_catalogue()
    names = {name.casefold(): name for name in catalogue.models}
    if model.casefold() not in names:
        known = suggest_known(model, list(catalogue.models))
        raise UsageError(
            f'--model: the catalogue knows no "{model}"{known} (a file of your own can name any model: `tempzero init`)'
        )
    name = names[model.casefold()]
    known_model = catalogue.models[name]
    entries, ready = [], []
    for host_name, at in known_model.hosts.items():
        host = catalogue.hosts[host_name]
        entry = _compose_entry(name, host_name, host, at, known_model, catalogue.prices)
        unset = [variable for variable in _find_variables(host) if not environ.get(variable)]
        ready += [] if unset else [host_name]
        state = f"{' and '.join(unset)} not set: skipped" if unset else "its key is set"
        entries.append((entry, f"{at.source or host.source}, {at.as_of or host.as_of}; {state}", at.note))
    path = _save_config(folder, _compose_file(name, f"--model {name}", entries))
    return path, ready


def write_listing_config(listing: Path, folder: Path) -> tuple[Path, int]:
    """Write providers.yaml for every endpoint of a saved answer of OpenRouter's /models/AUTHOR/SLUG/endpoints.

    Gives the file and the number of endpoints. Raises UsageError for a file that is none.
    """
    model, endpoints = _read_listing(listing)
    entries = []
    taken: set[str] = set()
    for number, endpoint in enumerate(endpoints):
        entry = _compose_route(model, endpoint, listing, f"{listing}: data.endpoints[{number}]")
        while entry["name"] in taken:
            entry["name"] += "+"
        taken.add(entry["name"])
        entries.append((entry, f"{listing.name}", None))
    name = _NOT_IN_NAMES.sub("-", model.split("/")[-1]).strip("-") or "model"
    path = _save_config(folder, _compose_file(name, f"--from-openrouter {listing.name}", entries))
    return path, len(entries)


def _find_variables(host: Host) -> list[str]:
    return [host.api_key_env, *re.findall(r"\$\{(\w+)\}", host.base_url)]


def _compose_entry(
    model: str, name: str, host: Host, at: ModelAtHost, known: KnownModel, prices: PriceSource
) -> dict[str, Any]:
    """The provider's entry. What a host refuses now and then may be dropped or renamed, and is said when it is."""
    claims = {"model": model, "precision": at.precision or host.precision}
    entry: dict[str, Any] = {
        "name": name,
        "base_url": host.base_url,
        "model": at.model,
        "api_key_env": host.api_key_env,
    }
    entry["claims"] = {key: value for key, value in claims.items() if value is not None}
    if at.input_per_mtok is not None and at.output_per_mtok is not None:
        amounts = {"input_per_mtok": at.input_per_mtok, "output_per_mtok": at.output_per_mtok}
        entry["price"] = {**amounts, "source": prices.source, "as_of": prices.as_of}
    entry.update(host.entry)
    if known.reasoning_tokens is not None:
        entry["reasoning"] = {"max_tokens": known.reasoning_tokens, **entry.pop("reasoning", {})}
    if "seed" not in entry:
        entry["may_drop"] = ["seed"]
    entry["may_rename"] = ["max_tokens"]
    return entry


def _compose_file(name: str, command: str, entries: Sequence[tuple[Mapping[str, Any], str, str | None]]) -> str:
    head = f"""# Written by `tempzero init {command}`.
# Nothing in it was asked of the hosts: addresses, ids, prices and habits are from the sources beside them, of the day
# they say. `tempzero check` asks each host a few tokens and says what is not so. A host whose variable is not set is
# skipped.
version: 1

run:
  name: {json.dumps(name)}
  prompts: builtin     # without `suite:` hosted-quick: 20 prompts, up to 512 tokens an answer; `--suite hosted` asks 80

defaults: {{temperature: 0, top_p: 1, seed: 7, max_tokens: 512, repeats: 2, timeouts: {{total_s: 600}}}}

providers:
"""
    return head + "\n".join(_write_entry(*entry) for entry in entries)


def _write_entry(entry: Mapping[str, Any], source: str, note: str | None) -> str:
    text = yaml.safe_dump(dict(entry), sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)
    first, *rest = text.splitlines()
    said = f"{source}; {note}" if note else source
    lines = [f"  - {first}   # {_NOT_PRINTABLE.sub(' ', said)}", *(f"    {line}" for line in rest)]
    return "\n".join(lines) + "\n"


_NOT_PRINTABLE = re.compile(r"[^ -~]+")


def _save_config(folder: Path, text: str) -> Path:
    path = folder / _CONFIG_FILE
    if path.exists():
        raise UsageError(f"{path}: is there already; init never overwrites, name an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _read_listing(path: Path) -> tuple[str, list[Mapping[str, Any]]]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise UsageError(f"{path}: cannot be read as JSON: {problem}") from None
    data = value.get("data") if isinstance(value, dict) else None
    model = data.get("id") if isinstance(data, dict) else None
    endpoints = data.get("endpoints") if isinstance(data, dict) else None
    if not isinstance(model, str) or not model.isascii() or not isinstance(endpoints, list) or not endpoints:
        raise UsageError(
            f"{path}: expected what https://openrouter.ai/api/v1/models/AUTHOR/SLUG/endpoints answers: "
            '{"data": {"id": ..., "endpoints": [...]}}'
        )
    return model, [one if isinstance(one, dict) else {} for one in endpoints[:_MOST_ENDPOINTS]]


def _compose_route(model: str, endpoint: Mapping[str, Any], listing: Path, where: str) -> dict[str, Any]:
    """One endpoint as a provider, pinned by its whole tag: a bare slug would match several of its own."""
    tag = endpoint.get("tag")
    if not isinstance(tag, str) or not tag or not tag.isascii() or not tag.isprintable():
        raise UsageError(f"{where}.tag: expected the endpoint's slug, e.g. deepinfra/fp4; found {tag!r:.40}")
    offered = endpoint.get("supported_parameters")
    supported = offered if isinstance(offered, list) else ["temperature", "top_p", "seed", "reasoning"]
    precision, context = endpoint.get("quantization"), endpoint.get("context_length")
    claims: dict[str, Any] = {"model": model.split("/")[-1]}
    if isinstance(precision, str) and precision.isascii() and precision.isprintable() and precision != "unknown":
        claims |= {"precision": precision, "source": listing.name}
    entry: dict[str, Any] = {
        "name": f"openrouter-{_NOT_IN_NAMES.sub('-', tag)}"[:90],
        "base_url": "https://openrouter.ai/api/v1",
        "model": model,
        "api_key_env": "OPENROUTER_API_KEY",
        "claims": claims,
        "request": {"provider": {"only": [tag], "allow_fallbacks": False, "require_parameters": True}},
        "extra_headers": {"X-OpenRouter-Cache": "false"},
    }
    price = _read_price(endpoint.get("pricing"))
    if price is not None:
        entry["price"] = {**price, "source": listing.name}
    if type(context) is int and context > 0:
        entry["context"] = context
    entry.update({name: None for name in ("temperature", "top_p", "seed") if name not in supported})
    if "reasoning" in supported:
        efforts = {effort: {"reasoning": {"effort": effort}} for effort in ("low", "medium", "high")}
        entry["reasoning"] = {
            "max_tokens": 4096,
            "returned": "always",
            "sends": {"none": {"reasoning": {"enabled": False}}, **efforts},
        }
    return entry


def _read_price(pricing: Any) -> dict[str, float] | None:
    """USD for a million tokens, of prices for one token written as texts."""
    try:
        amounts = [float(pricing[key]) * 1e6 for key in ("prompt", "completion")]
    except (TypeError, ValueError, KeyError):
        return None
    if not all(0 <= amount < 1e6 for amount in amounts):
        return None
    return {"input_per_mtok": round(amounts[0], 6), "output_per_mtok": round(amounts[1], 6)}
