"""providers.yaml in, a resolved Config out; whatever is wrong is said with file, line and path.

whole_config      WrittenConfig, as a file has it, and Config, resolved; the JSON schema
provider_models   ProviderEntry, as a file has it, and Provider, resolved
request_fields    fields of request bodies: how they merge, and which are refused
reasoning         `reasoning:` of providers and conditions
request_settings  how requests are made: `defaults:`, and each provider's own
access_ways       `serve:`, `local:`, `replay:`, `imported:`, and the `weights:` they use
run_models        `conditions:`, `run:`, `gates:`
score_models      `score:`
night_models      `nightly:`, `notify:`
loading           a file or a manifest's values -> Config
price_list        prices that the extra `prices` knows, where a file gives none
setting           Config with its folder and environment
problems          the wording of what is wrong
yaml_lines        YAML with line numbers
variables         names of environment variables
strict_model      the base of every model
shipped           what travels with the package; which configuration a command takes
starter           what `tempzero init` writes
catalogue         open models and their hosts: what `tempzero init --model` writes
env_file          a `.env` file
"""

from __future__ import annotations

from tempzero.config.access_ways import DefaultSampling, Imported, Local, Replay, Serve, Weights
from tempzero.config.loading import load_config, parse_config, refuse_unknown_providers
from tempzero.config.night_models import Deep, ExitRule, Nightly, Notify, Webhook
from tempzero.config.problems import PASTED_KEY, find_key_places
from tempzero.config.provider_models import Claims, ParameterNames, Price, Provider, ProviderEntry
from tempzero.config.reasoning import Effort, Reasoning, ReasoningChoice, Returned
from tempzero.config.request_fields import OWN_FIELDS, find_field_problems, join_fields, merge_fields
from tempzero.config.request_settings import Backoff, BreakerSettings, Defaults, RequestSettings, Timeouts
from tempzero.config.run_models import DEFAULT_CONDITION, Condition, Gates, RunSection
from tempzero.config.score_models import PromptVariant, ScoreSection
from tempzero.config.setting import Setting
from tempzero.config.variables import expand_all_variables, expand_variables
from tempzero.config.whole_config import SCHEMA_FILE, Config, WrittenConfig, build_config_schema
from tempzero.config.yaml_lines import read_yaml

__all__ = [
    "DEFAULT_CONDITION",
    "OWN_FIELDS",
    "PASTED_KEY",
    "SCHEMA_FILE",
    "Backoff",
    "BreakerSettings",
    "Claims",
    "Condition",
    "Config",
    "Deep",
    "DefaultSampling",
    "Defaults",
    "Effort",
    "ExitRule",
    "Gates",
    "Imported",
    "Local",
    "Nightly",
    "Notify",
    "ParameterNames",
    "Price",
    "PromptVariant",
    "Provider",
    "ProviderEntry",
    "Reasoning",
    "ReasoningChoice",
    "Replay",
    "RequestSettings",
    "Returned",
    "RunSection",
    "ScoreSection",
    "Serve",
    "Setting",
    "Timeouts",
    "Webhook",
    "Weights",
    "WrittenConfig",
    "build_config_schema",
    "expand_all_variables",
    "expand_variables",
    "find_field_problems",
    "find_key_places",
    "join_fields",
    "load_config",
    "merge_fields",
    "parse_config",
    "read_yaml",
    "refuse_unknown_providers",
]
