"""What is asked: prompts, suites, trials and the plan, as frozen values without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """A call of a tool as a model wrote it. `arguments` is its text, JSON or not; `id` ties a tool's answer to it."""

    name: str
    arguments: str
    id: str | None = None


Role = Literal["system", "developer", "user", "assistant", "tool"]
"""Who speaks. `developer` is what newer APIs call `system`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One chat message; an empty `content` is a real, different prompt from an absent message.

    `tool_calls` stand in an assistant's message, `tool_call_id` in a tool's: which call it answers. `parts` go on the
    wire in place of `content`, which then holds what is text in them, a line for each.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    parts: tuple[Mapping[str, Any], ...] = ()
    reasoning_content: str | None = None
    """Of an assistant's message: what it thought before it said so."""
    name: str | None = None
    """Who speaks, where several have the same role."""
    returned: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Of an answer that goes back to the model: its reasoning, in the field and the form in which it came."""

    @property
    def has_more_than_text(self) -> bool:
        """Whether a part of it is an image or anything else than text."""
        return any(part.get("type") != "text" for part in self.parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractorSpec:
    """Which extractor reads the answer, with its arguments (a JSON field's name, a pattern)."""

    name: str
    args: Mapping[str, str] = field(default_factory=dict)


SuiteName = Literal["quick", "standard", "deep", "hosted-quick", "hosted", "marathon", "conversations"]
"""How much is asked. Of a small model on this machine `quick`, part of `standard`, and `deep`: every prompt there is.
Of hosted models, which answer at length, `hosted-quick`, part of `hosted`; `marathon` asks for very long texts.
`conversations` gives the model its own answers back, round by round."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptedTurn:
    """What is said after an answer: the results of the tools that it called, and what the user then says.

    `only_without_calls`: the user speaks only where the answer called no tool.
    """

    text: str
    only_without_calls: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """Which round of which conversation a prompt asks. The model's own answers to the rounds before it go back to it.

    `turns` are what is said after each of these answers, `results` what each tool gives whenever it is called.
    """

    conversation: str
    number: int
    turns: tuple[ScriptedTurn, ...] = ()
    results: Mapping[str, str] = field(default_factory=dict)
    history: str | None = None
    """In an analysis: the digest of the answers that were given back. Only answers to the same ones are compared."""
    way: int = 1
    """In an analysis: which of the histories that this round was asked with, in the order in which they were met."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """One question of a suite. `max_tokens` None means the provider's own limit applies.

    `tools` and `tool_choice` go on the wire as they stand here, in the form of the Chat Completions API.
    """

    id: str
    messages: tuple[Message, ...]
    family: str
    extractor: ExtractorSpec | None = None
    expected: str | None = None
    max_tokens: int | None = None
    tags: tuple[str, ...] = ()
    suite: SuiteName = "deep"
    """The smallest suite that asks it; every larger one asks it too."""
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    margin: float | None = None
    """Of a prompt found by a search: logits between its reference's two best tokens where they are closest."""
    request: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the request's body, laid over the provider's own."""
    cluster: str | None = None
    """Prompts of one template, one generator's kind or one `variants:` group: in intervals they count together."""
    body: Mapping[str, Any] | None = None
    """A whole request body that is sent as it is; `messages` and `tools` are then read out of it."""
    round: Round | None = None
    """Of a conversation: which round this is. `messages` are then what is scripted of it, up to this round."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """The prompts of a run and the SHA-256 over their exact messages and parameters."""

    prompts: tuple[Prompt, ...]
    digest: str
    name: SuiteName | None = None
    """None: prompts picked in some other way (one file, a tag, a limit, another tool's records)."""
    version: int | None = None
    """Of the frozen suite: under one name and version it never changes. None: it was not frozen."""
    remarks: tuple[str, ...] = ()
    """What makes a right answer change with day, place or reader, by file and line."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Trial:
    """The primary key everywhere. `repeat` counts from 0; a retry never makes a new repeat."""

    provider: str
    prompt: str
    condition: str
    repeat: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """The sampling fields that go on the wire. None means: leave the field out of the request."""

    temperature: float | None
    top_p: float | None
    seed: int | None
    max_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """Everything an engine needs to ask one trial once. `stream` None: as the provider's own settings say."""

    trial: Trial
    messages: tuple[Message, ...]
    sampling: Sampling
    stream: bool | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the body that prompt and condition lay over the provider's."""
    body: Mapping[str, Any] | None = None
    """The body itself, where a prompt brings a whole one."""
    script: tuple[Message, ...] = ()
    """Of a round of a conversation: its messages without what was answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedTrial:
    """A trial with its block: all trials of one block ask the same prompt at about the same time.

    `prompt_tokens` is an upper estimate; `reasoning_tokens` of `max_tokens` are there for reasoning.
    """

    trial: Trial
    block: int
    max_tokens: int
    prompt_tokens: int
    reasoning_tokens: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderEstimate:
    """Upper bounds for one provider; tokens are estimated at 3 characters each, cost in USD."""

    provider: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    reasoning_tokens: int = 0
    """How many of the completion tokens reasoning may take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FamilyEstimate:
    """The same upper bounds for the prompts of one family, over all providers, conditions and repeats.

    `cost_usd` is that of the providers with a price; None where there is none.
    """

    family: str
    prompts: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """Prompts that a provider is not asked, because its context cannot hold them."""

    provider: str
    context: int
    prompts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A configured provider that takes no part in this run, and why."""

    provider: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What will be asked, in order. The digest covers order, prompts and sampling."""

    trials: tuple[PlannedTrial, ...]
    seed: int
    digest: str
    estimates: tuple[ProviderEstimate, ...]
    skipped: tuple[Skipped, ...]
    families: tuple[FamilyEstimate, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
