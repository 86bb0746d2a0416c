"""providers.yaml: what is accepted, and how each mistake is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tempzero import config
from tempzero.errors import ConfigError

ROOT = Path(__file__).parents[2]
KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"


def refused(tmp_path: Path, text: str) -> list[str]:
    """The lines with which a providers.yaml is refused."""
    file = tmp_path / "providers.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        config.load_config(file)
    return [line.removeprefix(str(file)) for line in str(error.value).splitlines()]


def test_the_shipped_file_is_valid_and_needs_no_key_for_its_local_endpoints() -> None:
    """A fresh clone runs without editing anything."""
    shipped = config.load_config(ROOT / "providers.yaml")
    ready = [p for p in shipped.providers if not p.variables() and p.enabled]
    assert len([p for p in ready if p.serve]) >= 3
    assert [p.name for p in ready if p.local] == ["cpu-reference"]
    assert all(p.api_key_env for p in shipped.providers if p.base_url)


def test_a_rule_that_no_finding_has_cannot_be_ignored() -> None:
    """A misspelt name under gates.ignore would let the finding fail the run all the same."""
    entry = {"name": "a", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
    with pytest.raises(ConfigError, match=r"gates\.ignore\[0\]: .*'identity_changed'"):
        config.parse_config(
            {"version": 1, "providers": [entry], "gates": {"ignore": ["identity_chnaged"]}}, source="test"
        )


def test_every_mistake_in_a_file_is_said_at_once_with_line_path_and_remedy(tmp_path: Path) -> None:
    """One look at the terminal is enough to mend the whole file."""
    lines = refused(
        tmp_path,
        f"""version: 1
providers:
  - name: a
    base_url: https://example.com/v1
    model: m
    temprature: 0
    api_key_env: {KEY}
  - name: a
    base_url: https://example.com/v1
    model: m
    repeats: "3"
""",
    )
    assert len(lines) == 4
    assert any(x.startswith(':6: providers[0].temprature: unknown key; did you mean "temperature"?') for x in lines)
    assert any(x.startswith(":7: providers[0].api_key_env:") and "NAME" in x for x in lines)
    assert any(x.startswith(':8: providers[1].name: "a" is taken by providers[0]') for x in lines)
    assert any(x.startswith(":11: providers[1].repeats:") and "integer" in x for x in lines)


@pytest.mark.parametrize(
    "entry",
    [
        f"api_key_env: {KEY}",
        f"extra_headers: {{Authorization: Bearer {KEY}}}",
        f"extra_headers: {{X-Thing: {KEY}}}",
        f"request: {{api_key: {KEY}}}",
        f"base_url: https://user:{KEY}@example.com/v1",
        f"base_url: https://example.com/v1?key={KEY}",
    ],
)
def test_a_pasted_key_is_refused_and_never_echoed(tmp_path: Path, entry: str) -> None:
    """The complaint about a leaked key must not leak it further."""
    base = "" if entry.startswith("base_url") else "base_url: https://example.com/v1\n    "
    lines = refused(tmp_path, f"version: 1\nproviders:\n  - name: a\n    model: m\n    {base}{entry}\n")
    assert lines
    assert KEY not in "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version: 1\nversion: 1\nproviders: []", 'version: key "version" is given twice'),
        ("version: 2\nproviders: [{name: a, serve: {weights: w}}]", "version: input should be 1"),
        ("version: 1\nproviders: []", "providers: tuple should have at least 1 item"),
        ("- a", "expected a mapping"),
        ("a: [", "not YAML: line 1"),
        ("version: 1\nproviders: [{name: a}]", "exactly one of base_url, serve, local, replay"),
        ("version: 1\nproviders: [{name: a, base_url: 'https://x/v1'}]", "model is needed"),
        (
            "version: 1\nrun: {reference: model-b1}\nproviders: [{name: model-b2, serve: {weights: w}}]",
            'run.reference: no provider is called "model-b1"; did you mean "model-b2"?',
        ),
        ("version: 1\nproviders: [{name: 'a b', serve: {weights: w}}]", "providers[0].name: string should match"),
    ],
)
def test_a_broken_file_is_refused_with_what_would_be_right(tmp_path: Path, text: str, expected: str) -> None:
    """Bad input never reaches a provider."""
    assert any(expected in line for line in refused(tmp_path, text))


def test_a_null_temperature_is_omitted_and_an_absent_one_is_inherited() -> None:
    """`temperature: null` and no `temperature` at all are different wishes."""
    entry = {"base_url": "https://example.com/v1", "model": "m"}
    parsed = config.parse_config(
        {"version": 1, "providers": [{"name": "a", "temperature": None, **entry}, {"name": "b", **entry}]}, source="t"
    )
    assert parsed.provider("a").sampling().temperature is None
    assert parsed.provider("b").sampling().temperature == 0


def test_a_resolved_configuration_survives_the_manifest() -> None:
    """A run is read back with the values it was made with, whatever today's defaults are."""
    shipped = config.load_config(ROOT / "providers.yaml")
    assert config.parse_config(json.loads(json.dumps(shipped.model_dump(mode="json"))), source="m") == shipped


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"conditions": [{"name": "x"}, {"name": "x"}]}, r'conditions\[1\].name: "x" is taken'),
        ({"conditions": [{"name": "x", "providers": ["aa"]}]}, 'no provider is called "aa"; did you mean "a"'),
        ({"conditions": [{"name": "x", "concurency": 2}]}, 'did you mean "concurrency"'),
        ({"providers": [{"name": "a", "base_url": "http://x/v1", "model": "m", "may_drop": ["sed"]}]}, "may_drop: sed"),
    ],
)
def test_conditions_and_droppable_fields_must_make_sense(change: dict[str, object], expected: str) -> None:
    """A condition that asks nobody, or a field that nothing drops, would go unnoticed for a whole run."""
    plain = {"version": 1, "providers": [{"name": "a", "base_url": "http://x/v1", "model": "m"}]}
    with pytest.raises(ConfigError, match=expected):
        config.parse_config(plain | change, source="t")


def test_a_server_of_our_own_has_the_time_a_cpu_needs() -> None:
    """A long prompt takes minutes on a CPU; the deadlines of a network would throw away what was nearly done."""
    entries = [
        {"name": "s", "serve": {"weights": "w"}},
        {"name": "own", "serve": {"weights": "w"}, "timeouts": {"total_s": 9}},
        {"name": "h", "base_url": "http://x/v1", "model": "m"},
    ]
    defaults = {"timeouts": {"first_byte_s": 20, "total_s": 50}}
    weights = {"w": {"source": "path:/w.gguf"}}
    settings = config.parse_config(
        {"version": 1, "defaults": defaults, "weights": weights, "providers": entries}, source="t"
    )
    served, own, hosted = (p.timeouts for p in settings.providers)
    assert served.first_byte_s >= 1200
    assert served.total_s >= served.first_byte_s
    assert own.total_s == 9
    assert (hosted.first_byte_s, hosted.total_s) == (20, 50)
    again = config.parse_config(settings.model_dump(mode="json", exclude_none=True), source="manifest")
    assert [p.timeouts for p in again.providers] == [served, own, hosted]


def test_a_served_provider_is_told_whether_to_use_its_cache() -> None:
    """A hosted one has no such field: for it only the order of the repeats differs."""
    entries = [{"name": "s", "serve": {"weights": "w"}}, {"name": "h", "base_url": "http://x/v1", "model": "m"}]
    conditions = [{"name": "cold", "cache": "cold"}, {"name": "warm", "cache": "warm"}]
    settings = config.parse_config({"version": 1, "providers": entries, "conditions": conditions}, source="t")
    served, hosted = settings.providers
    bodies = [[settings.fields_under(p, c) for c in settings.conditions] for p in (served, hosted)]
    assert bodies == [[{"cache_prompt": False}, {"cache_prompt": True}], [{}, {}]]
