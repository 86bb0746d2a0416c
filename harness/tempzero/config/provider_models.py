"""Who serves: a ProviderEntry as it is written in providers.yaml, and the Provider that it comes to."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tempzero.config.access_ways import Imported, Local, Replay, Serve
from tempzero.config.reasoning import Effort, Reasoning
from tempzero.config.request_fields import RequestFields, join_fields
from tempzero.config.request_settings import (
    SERVED_TIMEOUTS,
    Backoff,
    BreakerSettings,
    Defaults,
    RequestSettings,
    Temperature,
    Timeouts,
    TopP,
)
from tempzero.config.strict_model import Name, Positive, StrictModel
from tempzero.config.variables import (
    SECRET_REMEDY,
    find_all_placeholders,
    find_literal_secrets,
    find_placeholders,
    is_variable_name,
)
from tempzero.types.asked import Prompt, Sampling
from tempzero.types.recorded import Completion

# Sampling fields that may be left out of requests; null says so.
_DROPPABLE = ("temperature", "top_p", "seed")


class Price(StrictModel):
    """List price in USD per million tokens."""

    input_per_mtok: Annotated[float, Field(ge=0)]
    """USD for a million tokens of prompts; 0 for an endpoint that costs nothing."""
    output_per_mtok: Annotated[float, Field(ge=0)]
    """USD for a million tokens of answers, reasoning included."""
    source: str | None = None
    """Where it says so; written by tempzero where a kept price list was asked."""
    as_of: str | None = None
    """Of which day the price is, e.g. 2026-11-23."""

    def cost(self, prompt_tokens: float, output_tokens: float) -> float:
        """USD: (prompt_tokens x input_per_mtok + output_tokens x output_per_mtok) / 1,000,000."""
        return (prompt_tokens * self.input_per_mtok + output_tokens * self.output_per_mtok) / 1e6

    def cost_of_answer(self, answer: Completion) -> float:
        """USD for an answer as its provider counted it, reasoning included; what it did not count costs nothing."""
        return self.cost(answer.prompt_tokens or 0, answer.output_tokens or 0)


class Claims(StrictModel):
    """What the provider says it serves. Recorded and compared, never believed."""

    model: str | None = None
    """The open weights it claims to serve. Providers are compared only where this agrees."""
    precision: str | None = None
    """In which precision it says it serves them, in its own words, e.g. bf16 or fp8; null: it does not say.
    Weights that are served as declared are no finding, coarser ones are; who declares nothing is held to 16 bits."""
    source: str | None = None
    """Where it says so, e.g. the address of a page."""
    as_of: str | None = None
    """When that was read there, e.g. 2026-11-23."""


class ParameterNames(StrictModel):
    """What this provider calls a sampling field, where it differs from OpenAI's name."""

    max_tokens: str = "max_tokens"
    """The field that limits an answer's tokens, e.g. max_completion_tokens."""
    seed: str = "seed"
    """The field of the sampler's seed, e.g. random_seed."""


class ProviderFields(StrictModel):
    """What is a provider's own and never inherited."""

    name: Name
    """What it is called in this file, the records and the report. Letters, digits and `._@:+-`; 100 at most."""
    base_url: str | None = None
    """An OpenAI-compatible root, up to and including /v1. `${VARIABLE}` is read from the environment."""
    serve: Serve | None = None
    """Start a llama.cpp server on this machine and ask that."""
    local: Local | None = None
    """Run the model inside this process: what a reference is."""
    replay: Replay | None = None
    """Answer from a recorded run: nobody is asked, nothing is spent."""
    pack: str | None = None
    """Answer from this reference pack (see `tempzero pack make`), and judge others by it: no model is needed. Seen from
    where tempzero is called, e.g. gpt-oss-120b.pack.json."""
    imported: Imported | None = None
    """Written by `tempzero import`: the answers were recorded by another tool."""
    model: str | None = None
    """The model id sent in requests; needed with base_url. Else null stands for the name of the weights, of a
    pack for the model it is of, and of a replayed or imported provider for its own name."""
    api_key_env: str | None = None
    """The NAME of the environment variable that holds the key; never the key."""
    reads: Literal["vllm", "sglang", "echo", "llama_server"] | None = None
    """This endpoint tells the log-probabilities of given tokens, so it can be a reference: as a `vllm` or `sglang`
    server does; by completions with `echo` and `logprobs`, as some hosts and llama-cpp-python do (`echo`, which needs
    `tokenizer:`); or as llama.cpp's own `llama_server` does, a request for each token."""
    reads_also_at: tuple[str, ...] = ()
    """Further base URLs at which the same model reads along, e.g. of other machines: at each of them `concurrency`
    responses are read at once. They are not asked anything else."""
    reads_at_once: Positive | None = None
    """So many tokens are told in one request at most, for servers that are short of memory. `sglang`: 1024 unless this
    says otherwise, longer responses in parts. `vllm` tells whole texts with their prompts: of a longer one each token
    is read by itself. null: as much as the server takes. What is read is the same."""
    tokenizer: str | None = None
    """The folder with the tokenizer of the model that `reads:` (tokenizer.json and its chat template, as Hugging Face
    lays them out), in place of the server's own /tokenize. `reads: echo` and readings by hand-over (`tempzero score
    --plan`) need it."""
    request: RequestFields = Field(default={})
    """Further fields of every request's JSON body, e.g. an aggregator's choice of upstream or `response_format`. They
    are laid over those that tempzero sends: mappings key by key, null leaves a field out, anything else takes its
    place. A prompt's own `request:` is laid over these, and a condition's over both."""
    extra_headers: dict[str, str] = Field(default={})
    """Further headers of every request. A secret is never written out: `${VARIABLE}` is read from the environment when
    it is sent, and cut out of whatever comes back."""
    reasoning: Reasoning = Reasoning()
    """How hard the model is asked to think, and for how many tokens of that there is room."""
    parameter_names: ParameterNames = ParameterNames()
    """Other names for sampling fields, e.g. `{max_tokens: max_completion_tokens}`."""
    stream: bool = False
    """Ask for the answer as an event stream. Its text is the same; the time of its first token becomes known."""
    rpm: Annotated[float, Field(gt=0)] | None = None
    """Requests per minute at most."""
    context: Positive | None = None
    """Tokens that prompt and answer may have together, of a base_url; longer prompts are not asked."""
    tpm: Annotated[float, Field(gt=0)] | None = None
    """Tokens per minute at most, those of prompts and of answers together."""
    may_drop: tuple[str, ...] = ()
    """Fields that may be left out of requests where the provider refuses them: temperature, top_p, seed, a key of
    `request`, or one that an effort is sent as. Without this a refused field is never dropped."""
    may_rename: tuple[Literal["max_tokens"], ...] = ()
    """Fields that may go by another name where the provider refuses the usual one: `max_tokens`, as
    max_completion_tokens. Without this a field has the name that `parameter_names` says."""
    price: Price | None = None
    """List price; without it no cost is told, and a limit on the cost is refused."""
    accepts_models: tuple[str, ...] = ()
    """Other names under which the model asked for may answer; `*` stands for any text. Its dated snapshot needs none.
    A response that names yet another model is a finding."""
    claims: Claims = Claims()
    """What it says it serves: who claims the same model is compared with each other."""
    pinned: bool = True
    """False for an aggregator that may choose another upstream for each request."""
    group: str | None = None
    """Providers of one group share a resource and take turns; local ones share this machine."""
    enabled: bool = True
    """false: asked only where the command line names it."""
    demo: bool = False
    """true: a demonstration on this machine, left out where a hosted provider with a key is asked. `run --local` or its
    name on the command line asks it all the same."""

    @property
    def engine(self) -> str:
        """The module under engines/ that asks this provider; `imported` for one that nobody asks."""
        if self.local is not None:
            return self.local.engine
        if self.imported is not None:
            return "imported"
        if self.pack is not None:
            return "packed"
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

    def variables(self) -> tuple[str, ...]:
        """Names of the environment variables this provider cannot be asked without."""
        names = [self.api_key_env] if self.api_key_env else []
        for url in (self.base_url or "", *self.reads_also_at):
            names += find_placeholders(url)
        return tuple(dict.fromkeys(names + find_all_placeholders([self.extra_headers, self.request])))

    @field_validator("api_key_env")
    @classmethod
    def _names_a_variable(cls, value: str | None) -> str | None:
        if value is not None and not is_variable_name(value):
            raise ValueError(
                "this is not the name of an environment variable (a pasted key?); "
                "write the variable's NAME, e.g. OPENROUTER_API_KEY, and put the key into the environment"
            )
        return value

    @field_validator("base_url")
    @classmethod
    def _is_a_root(cls, value: str | None) -> str | None:
        return None if value is None else _require_root(value)

    @field_validator("reads_also_at")
    @classmethod
    def _are_roots(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_require_root(value) for value in values)

    @field_validator("extra_headers")
    @classmethod
    def _carries_no_secret(cls, value: dict[str, str]) -> dict[str, str]:
        for at in find_literal_secrets(value):
            raise ValueError(f'header "{at[0]}" {SECRET_REMEDY}')
        return value

    @model_validator(mode="after")
    def _is_reached_one_way(self) -> Self:
        ways = [w for w in ("base_url", "serve", "local", "replay", "pack", "imported") if getattr(self, w) is not None]
        if len(ways) != 1:
            found = " and ".join(ways) if ways else "none of them"
            raise ValueError(f"exactly one of base_url, serve, local, replay, pack is needed; found {found}")
        if self.base_url is not None and self.model is None:
            raise ValueError("model is needed: the id that this endpoint knows the model by")
        if self.context is not None and self.base_url is None:
            raise ValueError("context: is for a base_url; write it inside serve: or local:")
        strange = [name for name in self.request if name != "chat_template_kwargs"]
        if self.local is not None and strange:
            raise ValueError(f"request: a model in this process takes chat_template_kwargs only; found {strange[0]}")
        if self.reads is not None and self.base_url is None:
            raise ValueError("reads: is for a base_url; models in this process are read without it")
        if self.reads_also_at and self.reads is None:
            raise ValueError("reads_also_at: goes with `reads:`, which says how these are asked")
        if self.reads == "echo" and self.tokenizer is None:
            raise ValueError(
                "reads: echo tells tokens by their letters, so it needs tokenizer: the folder with the model's "
                "tokenizer.json and chat template"
            )
        if self.reads_at_once is not None and self.reads not in ("vllm", "sglang"):
            raise ValueError("reads_at_once: goes with `reads: vllm` or `reads: sglang`; others tell one text or token")
        sent = {name for fields in self.reasoning.sends.values() for name in fields} | {"reasoning_effort"}
        if self.tokenizer is not None and self.reads is None:
            raise ValueError("tokenizer: goes with `reads:`: nobody else needs it")
        unknown = [field for field in self.may_drop if field not in (*_DROPPABLE, *self.request, *sent)]
        if unknown:
            raise ValueError(
                f"may_drop: {', '.join(unknown)} is no field that can be left out; write temperature, top_p, seed, "
                "or a key of request"
            )
        return self


def _require_root(value: str) -> str:
    """The URL without a slash at its end. Raises ValueError for what is none, or names a user."""
    if not re.match(r"^https?://[^\s/@?#]+(/[^\s?#]*)?$", value):
        raise ValueError(
            "not a usable base URL; write http(s)://host[:port]/path without user, query or fragment, "
            "e.g. https://openrouter.ai/api/v1"
        )
    return value.rstrip("/")


class ProviderEntry(ProviderFields):
    """Who serves. Exactly one of base_url, serve, local, replay, pack and imported says how it is reached.

    What stands here goes before `defaults:`. A key that is not given is inherited from there.
    """

    temperature: Temperature | None = None
    """Sampling temperature, 0 to 2. null: not sent, for models that refuse it. Not given: as in `defaults:`."""
    top_p: TopP | None = None
    """Sample only from the likeliest tokens that together have this probability. null: not sent. Not given: as in
    `defaults:`."""
    seed: int | None = None
    """The sampler's seed. null: not sent, for endpoints that refuse one. Not given: as in `defaults:`."""
    max_tokens: Positive | None = None
    """Tokens of an answer at most; a prompt's own `max_tokens` goes before this. null: as in `defaults:`."""
    repeats: Positive | None = None
    """How often each prompt is asked. null: as in `defaults:`."""
    concurrency: Positive | None = None
    """Requests in flight at most. null: as in `defaults:`."""
    attempts: Positive | None = None
    """Attempts a trial may take in all, the first one included. null: as in `defaults:`."""
    timeouts: Timeouts | None = None
    """Deadlines of one attempt, in place of all of those in `defaults:`. null: those, and of a `serve:` entry half an
    hour to the first byte and an hour in all."""
    backoff: Backoff | None = None
    """How long to wait before a trial is asked again, in place of all of `defaults.backoff`. null: that."""
    breaker: BreakerSettings | None = None
    """When it is left alone, in place of all of `defaults.breaker`. null: that."""

    def resolve(self, defaults: Defaults) -> Provider:
        """The provider that this entry comes to: every inherited value written out."""
        inherited = {name: getattr(defaults, name) for name in RequestSettings.model_fields}
        if self.serve is not None:
            inherited["timeouts"] = SERVED_TIMEOUTS
        given = {name: getattr(self, name) for name in inherited if self._gives(name)}
        own = {name: getattr(self, name) for name in ProviderFields.model_fields}
        own["model"] = self.model or self._usual_model()
        if self.imported is not None and "max_tokens" in self.model_fields_set and self.max_tokens is None:
            own["imported"] = self.imported.model_copy(update={"max_tokens_known": False})
        return Provider(**(own | inherited | given))

    def _gives(self, name: str) -> bool:
        """Whether this entry says something of its own: null does so only where a field can be left out."""
        return getattr(self, name) is not None or (name in _DROPPABLE and name in self.model_fields_set)

    def _usual_model(self) -> str:
        source = self.serve or self.local
        return source.weights if source is not None else self.name


class Provider(RequestSettings, ProviderFields):
    """Who serves, resolved: every value that can be inherited is there. null in a sampling field: it is not sent."""

    model: str
    """The model id sent in requests; where none is sent, the name of the weights, else the provider's own."""

    @property
    def claimed_model(self) -> str:
        """The weights this provider claims to serve: the key within which it is compared."""
        return self.claims.model or self.model

    @property
    def known_max_tokens(self) -> int | None:
        """The limit of an answer's tokens; None where another tool recorded the answers and not their limit."""
        return None if self.imported is not None and not self.imported.max_tokens_known else self.max_tokens

    def limit_of(self, prompt: Prompt | None = None) -> int:
        """The limit that a request carries: of the answer, the prompt's own before the provider's, and of reasoning.

        A whole body's own limit is what it is.
        """
        if prompt is None or prompt.max_tokens is None:
            return self.max_tokens + self.reasoning.allowance
        return prompt.max_tokens + (self.reasoning.allowance if prompt.body is None else 0)

    def sampling(self, max_tokens: int | None = None) -> Sampling:
        """The sampling fields of a request with that limit; None: its limit where no prompt has one."""
        limit = self.limit_of() if max_tokens is None else max_tokens
        return Sampling(temperature=self.temperature, top_p=self.top_p, seed=self.seed, max_tokens=limit)

    @property
    def fields(self) -> dict[str, Any]:
        """What its requests hold besides what tempzero sends: `request:`, over it what an effort is sent as."""
        return join_fields(self.request, self.effort_fields(self.reasoning.effort))

    def effort_fields(self, effort: Effort | None) -> dict[str, Any]:
        """The fields in which it is asked to think so hard; none where nothing is asked."""
        if effort is None:
            return {}
        own = self.reasoning.sends.get(effort)
        if own is not None:
            return own
        if self.serve is None and self.local is None:
            return {"reasoning_effort": effort}
        switch = {"enable_thinking": effort != "none"}
        return {"chat_template_kwargs": switch if effort == "none" else {**switch, "reasoning_effort": effort}}

    def without(self, field: str) -> Provider:
        """The same provider, asked without one of the fields in `may_drop`."""
        if field in _DROPPABLE:
            return self.model_copy(update={field: None})
        kept = {name: value for name, value in self.request.items() if name != field}
        asks = field in self.effort_fields(self.reasoning.effort)
        reasoning = self.reasoning.model_copy(update={"effort": None}) if asks else self.reasoning
        return self.model_copy(update={"request": kept, "reasoning": reasoning})

    def with_limit_named(self, name: str) -> Provider:
        """The same provider, its limit of tokens sent under that name."""
        return self.model_copy(update={"parameter_names": self.parameter_names.model_copy(update={"max_tokens": name})})
