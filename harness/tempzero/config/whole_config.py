"""A whole configuration: WrittenConfig as providers.yaml has it, and the Config that it comes to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from tempzero.config.access_ways import Weights
from tempzero.config.night_models import Nightly, Notify
from tempzero.config.problems import suggest_known
from tempzero.config.provider_models import Provider, ProviderEntry, ProviderFields
from tempzero.config.request_fields import join_fields
from tempzero.config.request_settings import Defaults
from tempzero.config.run_models import DEFAULT_CONDITION, Condition, Gates, RunSection
from tempzero.config.score_models import ScoreSection
from tempzero.config.strict_model import StrictModel

SCHEMA_FILE = Path(__file__).with_name("providers.schema.json")


class ConfigSections(StrictModel):
    """What a configuration holds, whether its providers are as written or resolved."""

    version: Literal[1]
    """The version of this file's format: `1`."""
    defaults: Defaults = Defaults()
    """Values every provider starts from."""
    weights: dict[str, Weights] = Field(default={})
    """Model files by a name of your choice, for `serve:` and `local:` entries."""
    providers: Annotated[tuple[ProviderFields, ...], Field(min_length=1)]
    """Who is asked; one at least, each with a name of its own."""
    conditions: tuple[Condition, ...] = ()
    """The same prompts are asked under each of these; empty: once, as the providers' own settings say."""
    run: RunSection = RunSection()
    """What `tempzero run` does: which prompts, which reference, where to."""
    score: ScoreSection = ScoreSection()
    """Whether and how references read the responses, token by token."""
    gates: Gates = Gates()
    """Thresholds: which figures fail a provider, and how much data a verdict needs."""
    nightly: Nightly = Nightly()
    """The job of every night: what it asks, what it may spend, what it calls a change."""
    notify: Notify = Notify()
    """Webhooks and files that tell when a provider's state changes."""

    @model_validator(mode="after")
    def _references_exist(self) -> Self:
        names = [p.name for p in self.providers]
        for reference in self.run.references:
            if reference not in names:
                raise ValueError(f'run.reference: no provider is called "{reference}"{suggest_known(reference, names)}')
        return self

    @model_validator(mode="after")
    def _endpoint_forms_exist(self) -> Self:
        names = [p.name for p in self.providers]
        for endpoint in (*self.score.honest_endpoints, *self.score.coarser_endpoints):
            if endpoint not in names:
                raise ValueError(f'score.forms: no provider is called "{endpoint}"{suggest_known(endpoint, names)}')
        readers = {p.name for p in self.providers if p.reads is not None}
        for endpoint in self.score.coarser_endpoints:
            if endpoint not in readers:
                raise ValueError(f"score.forms: coarser:{endpoint} is to read, so its entry needs `reads:`")
        return self

    @model_validator(mode="after")
    def _conditions_make_sense(self) -> Self:
        names = [p.name for p in self.providers]
        for index, condition in enumerate(self.conditions):
            if condition.name in [c.name for c in self.conditions[:index]]:
                raise ValueError(f'conditions[{index}].name: "{condition.name}" is taken; names must differ')
            for name in condition.providers:
                if name not in names:
                    raise ValueError(
                        f'conditions[{index}].providers: no provider is called "{name}"{suggest_known(name, names)}'
                    )
        return self


class WrittenConfig(ConfigSections):
    """Who is asked, and how: the form of providers.yaml."""

    model_config = ConfigDict(title="providers.yaml")

    providers: Annotated[tuple[ProviderEntry, ...], Field(min_length=1)]
    """Who is asked; one at least, each with a name of its own."""

    def resolve(self) -> Config:
        """The configuration that this file comes to: every inherited value written into each provider."""
        sections = {name: getattr(self, name) for name in ConfigSections.model_fields}
        return Config(**(sections | {"providers": tuple(p.resolve(self.defaults) for p in self.providers)}))


class Config(ConfigSections):
    """A whole configuration, resolved: every provider carries its inherited values."""

    providers: Annotated[tuple[Provider, ...], Field(min_length=1)]
    """Who is asked; one at least, each with a name of its own."""

    def asked_under(self) -> tuple[Condition, ...]:
        """Every condition there is; without `conditions:` the one that changes nothing."""
        return self.conditions or (Condition(name=DEFAULT_CONDITION),)

    def under(self, provider: Provider, condition: Condition) -> Provider | None:
        """The provider as it is asked under a condition; None where it is not asked so."""
        if condition.providers and provider.name not in condition.providers:
            return None
        changed: dict[str, Any] = {
            key: value for key in ("concurrency", "repeats") if (value := getattr(condition, key)) is not None
        }
        if condition.reasoning is not None:
            changed["reasoning"] = provider.reasoning.changed_by(condition.reasoning)
        return provider.model_copy(update=changed) if changed else provider

    def fields_under(self, provider: Provider, condition: Condition) -> dict[str, Any]:
        """What a condition adds to the provider's request bodies, over what prompts say themselves."""
        told = condition.cache is not None and provider.serve is not None
        cache = {"cache_prompt": condition.cache == "warm"} if told else {}
        return join_fields(cache, self.question_under(provider, condition))

    def question_under(self, provider: Provider, condition: Condition) -> dict[str, Any]:
        """The part of it that makes another question: who is asked otherwise may answer otherwise."""
        effort = condition.reasoning.effort if condition.reasoning is not None else None
        return join_fields(provider.effort_fields(effort), condition.request)

    def provider(self, name: str) -> Provider:
        """The provider of that name; KeyError if there is none."""
        for candidate in self.providers:
            if candidate.name == name:
                return candidate
        raise KeyError(name)


def build_config_schema() -> str:
    """The JSON schema of providers.yaml, as shipped in providers.schema.json."""
    return json.dumps(WrittenConfig.model_json_schema(), indent=2, sort_keys=True) + "\n"
