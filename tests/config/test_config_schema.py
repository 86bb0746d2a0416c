"""The JSON schema: what an editor shows beside every key of providers.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tempzero.config import SCHEMA_FILE, Config, WrittenConfig, build_config_schema

MODELS = pytest.mark.parametrize("model", [WrittenConfig, Config], ids=lambda m: m.__name__)


def keys(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key that the schema knows, as `Section.key`, with what it says of it."""
    for name, section in [(schema["title"], schema), *schema["$defs"].items()]:
        for key, said in section.get("properties", {}).items():
            yield f"{name}.{key}", said


def fixed_values(said: dict[str, Any]) -> Iterator[str]:
    """The values of which a key's value must be one, however deep they stand in a union or a list."""
    yield from (str(value) for value in said.get("enum", ()) if value is not None)
    if "const" in said:
        yield str(said["const"])
    for inner in [*said.get("anyOf", ()), *said.get("prefixItems", ()), *filter(None, [said.get("items")])]:
        yield from fixed_values(inner)


def test_the_shipped_json_schema_is_the_one_the_code_enforces() -> None:
    """Editors complete what the parser accepts, no more and no less."""
    assert SCHEMA_FILE.read_text() == build_config_schema()


@MODELS
def test_every_key_says_what_it_is(model: type[WrittenConfig | Config]) -> None:
    """Nobody has to read code to learn what a key does, in which unit, and what its absence means."""
    found = dict(keys(model.model_json_schema()))
    assert len(found) > 150
    assert [name for name, said in found.items() if len(said.get("description", "")) < 15] == []


@MODELS
def test_every_value_of_a_choice_is_named_where_it_is_described(model: type[WrittenConfig | Config]) -> None:
    """A list of bare words does not say which one to take."""
    found = {name: (said["description"], list(fixed_values(said))) for name, said in keys(model.model_json_schema())}
    assert found["Local.engine"][1] == ["llama_cpp", "transformers"]  # or the search for values has gone blind
    assert found["Condition.cache"][1] == ["cold", "warm"]
    missing = {name: [v for v in values if v not in text.split("`")] for name, (text, values) in found.items()}
    assert {name: values for name, values in missing.items() if values} == {}


@MODELS
def test_every_section_says_what_it_is(model: type[WrittenConfig | Config]) -> None:
    """The heading over a section's keys is part of its description."""
    schema = model.model_json_schema()
    assert [name for name, section in schema["$defs"].items() if not section.get("description")] == []
    assert schema["description"]
