"""Fields of request bodies: how they are laid over each other, and which a file may not set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tempzero import config
from tempzero.config import Condition, Provider, merge_fields
from tempzero.errors import ConfigError

HOSTED = {"name": "a", "base_url": "http://x/v1", "model": "m"}
SERVED = {"name": "a", "serve": {"weights": "w"}}


def parsed(entry: dict[str, Any], **sections: Any) -> config.Config:
    return config.parse_config({"version": 1, "providers": [entry], **sections}, source="t")


def hosted(**fields: Any) -> Provider:
    return parsed({**HOSTED, **fields}).providers[0]


@pytest.mark.parametrize(
    ("below", "above", "result"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"x": 1}, "b": 1}, {"a": None}, {"b": 1}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": None}}, {"a": {"y": 2}}),
        ({"a": 1}, {"a": {"default": None}}, {"a": {"default": None}}),
        ({}, {"a": None}, {}),
    ],
)
def test_fields_are_laid_over_each_other_by_one_rule(below: Any, above: Any, result: Any) -> None:
    """A factor changes what it names and nothing beside it; a schema's own null, which is new, is no order to drop."""
    kept = repr(below)
    assert merge_fields(below, above) == result
    assert repr(below) == kept


@pytest.mark.parametrize("name", ["model", "messages", "stream", "stream_options", "tools", "n", "max_tokens"])
@pytest.mark.parametrize("where", ["provider", "condition", "effort"])
def test_a_field_that_the_record_depends_on_is_not_set_behind_its_back(name: str, where: str) -> None:
    """A limit that no plan knows of, or another model than the one named, would make the record untrue."""
    entry, sections = dict[str, Any](HOSTED), dict[str, Any]()
    if where == "provider":
        entry["request"] = {name: 1}
    elif where == "effort":
        entry["reasoning"] = {"sends": {"low": {name: 1}}}
    else:
        sections["conditions"] = [{"name": "c", "request": {name: 1}}]
    with pytest.raises(ConfigError, match=rf"(request|low): {name}: this field is"):
        parsed(entry, **sections)


def test_what_json_cannot_carry_is_refused_with_its_place(tmp_path: Path) -> None:
    """NaN would end a run with a crash after it had begun to cost."""
    file = tmp_path / "providers.yaml"
    entry = "  - {name: a, base_url: http://x/v1, model: m, request: {logit_bias: {5: .nan}, top_k: .inf}}"
    file.write_text(f"version: 1\nproviders:\n{entry}\n")
    with pytest.raises(ConfigError) as caught:
        config.load_config(file)
    assert "providers[0].request" in str(caught.value)
    assert "logit_bias.5: is no number that JSON can carry; top_k: is no number" in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "effort", "sent"),
    [
        (HOSTED, "high", {"reasoning_effort": "high"}),
        (HOSTED, "none", {"reasoning_effort": "none"}),
        (SERVED, "none", {"chat_template_kwargs": {"enable_thinking": False}}),
        (SERVED, "low", {"chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "low"}}),
        (
            {**HOSTED, "reasoning": {"sends": {"none": {"thinking": {"type": "disabled"}}}}},
            "none",
            {"thinking": {"type": "disabled"}},
        ),
    ],
)
def test_an_effort_is_sent_in_the_words_of_each_endpoint(entry: Any, effort: Any, sent: Any) -> None:
    """One factor, many dialects: the provider's entry says how it is called there, and the condition only how much."""
    settings = parsed(entry, conditions=[{"name": "c", "reasoning": {"effort": effort}}])
    provider, condition = settings.providers[0], settings.conditions[0]
    assert settings.fields_under(provider, condition) == sent
    own = parsed({**entry, "reasoning": {**entry.get("reasoning", {}), "effort": effort}}).providers[0]
    assert own.fields == sent


def test_room_for_reasoning_is_added_to_every_limit_and_to_none_without_it() -> None:
    """Hosts count reasoning and answer together: a limit of 64 tokens is spent before a thinking model says a word."""
    settings = parsed(
        {**HOSTED, "max_tokens": 64, "reasoning": {"effort": "high", "max_tokens": 4096}},
        conditions=[{"name": "on"}, {"name": "off", "reasoning": {"effort": "none"}}],
    )
    limits = [settings.under(settings.providers[0], c).limit_of() for c in settings.conditions]  # type: ignore[union-attr]
    assert limits == [64 + 4096, 64]


def test_a_condition_s_own_fields_stand_over_its_effort() -> None:
    """Who writes both means the exact one."""
    condition = Condition.model_validate(
        {"name": "c", "reasoning": {"effort": "low"}, "request": {"reasoning_effort": "medium", "temperature": 1}}
    )
    settings = parsed(HOSTED)
    assert settings.fields_under(settings.providers[0], condition) == {"reasoning_effort": "medium", "temperature": 1}


def test_a_model_in_this_process_takes_what_its_template_takes_and_nothing_else() -> None:
    """A field that is recorded as asked and never heeded would make a figure of nothing."""
    local = {"name": "a", "local": {"weights": "w"}}
    assert parsed({**local, "request": {"chat_template_kwargs": {"enable_thinking": False}}})
    with pytest.raises(ConfigError, match="takes chat_template_kwargs only; found logit_bias"):
        parsed({**local, "request": {"logit_bias": {"5": -100}}})
