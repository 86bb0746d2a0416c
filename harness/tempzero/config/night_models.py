"""What happens every night and who is told: `nightly:` and `notify:` of providers.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from tempzero.config.run_models import FIRST_TOKENS_ASKED
from tempzero.config.strict_model import OneOrMore, Positive, StrictModel, list_names
from tempzero.config.variables import is_variable_name
from tempzero.types.asked import SuiteName

ExitRule = Literal["on_change", "while_changed"]


class NightSettings(StrictModel):
    """What one kind of night asks, and what it may spend at most."""

    prompts: OneOrMore | None = None
    """Prompts as in `run.prompts`, e.g. `builtin/probes/border-64`; null: those of `run`."""
    suite: SuiteName | None = None
    """How many of them: `quick`, `standard` or `deep`, or of hosted models `hosted-quick`, `hosted` or `marathon`, or
    `conversations`; null: as `run` says, and all of them where `prompts` names others than `run`."""
    tags: tuple[str, ...] = ()
    """Only prompts with one of these tags; empty: whatever their tags."""
    repeats: Annotated[int, Field(ge=2)] | None = None
    """How often each prompt is asked, of every provider; null: as often as their own settings say."""
    max_cost_usd: Annotated[float, Field(ge=0)] | None = None
    """USD that one night may cost, however often it is called; every hosted provider then needs its price. null: no
    limit."""
    max_requests: Positive | None = None
    """Requests of one night, retries and the check before it included. null: no limit."""
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    """Minutes of collecting, from each call on. null: no limit."""

    @property
    def prompt_names(self) -> tuple[str, ...]:
        """What `prompts` names; empty: those of `run`."""
        return list_names(self.prompts)


class Deep(NightSettings):
    """A night now and then that asks more than the others; it has baselines of its own."""

    every_days: Annotated[int, Field(ge=2, le=90)] = 7
    """Days from one deep night to the next; one that was missed is made up for."""


class Nightly(NightSettings):
    """What `tempzero nightly` asks, what it calls a change, and when it speaks."""

    false_alarms_per_year: Annotated[float, Field(gt=0, le=12)] = 0.1
    """False alarms of each provider, at most, as long as it does not change; 0.1 is one in ten years."""
    tolerance: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """The share of its own agreement that a provider may lose before it counts as changed."""
    time_blocks: Annotated[int, Field(ge=1, le=24)] = 1
    """Blocks of a UTC day; a night is compared with nights of its own block only, where load depends on the hour."""
    no_data_nights: Positive = 2
    """Nights without data in a row after which that is said."""
    exit: ExitRule = "on_change"
    """When a night ends with exit code 1 and annotations: `on_change`, in the night of an alarm or of a telling event
    only; `while_changed`, as well on every night until the change is over or acknowledged (`baseline accept`)."""
    fingerprint: Annotated[int, Field(ge=0, le=1000)] = FIRST_TOKENS_ASKED
    """Prompts of a direction pack (`run.direction_pack`) that every night asks besides, for their first tokens, of
    providers of its model that give log-probabilities: a change of the weights' form shows in them
    (docs/fingerprint.md). 0: none."""
    deep: Deep | None = None
    """What a deep night asks; null: all nights are alike."""


class Webhook(StrictModel):
    """Where a change is told: an incoming webhook of Slack or Discord, or anything that takes JSON."""

    url_env: str
    """The NAME of the environment variable that holds the URL; such a URL is a secret."""
    form: Literal["auto", "json", "slack", "discord"] = "auto"
    """What is sent: plain `json`, or a message for `slack` or `discord`. `auto`: by the URL's host, and json where it
    is neither."""

    @field_validator("url_env")
    @classmethod
    def _names_a_variable(cls, value: str) -> str:
        if not is_variable_name(value):
            raise ValueError("this is not the name of an environment variable; write its NAME, e.g. SLACK_WEBHOOK_URL")
        return value


class Notify(StrictModel):
    """Who is told when a provider's state changes, and which files say so."""

    webhooks: tuple[Webhook, ...] = ()
    """Where changes are told."""
    apprise_env: tuple[str, ...] = ()
    """NAMES of environment variables that hold Apprise URLs; needs the extra `apprise`."""
    prometheus: str | None = None
    """A `.prom` file for node_exporter's textfile collector, relative to this file; null: none."""
    junit: str | None = None
    """A JUnit XML file, relative to this file; null: none."""

    @field_validator("apprise_env")
    @classmethod
    def _name_variables(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(is_variable_name(name) for name in value):
            raise ValueError("one is not the name of an environment variable; write NAMES, the URLs are secrets")
        return value
