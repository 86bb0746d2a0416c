"""A response whose reasoning was given apart in, the texts that the model may have written for it out.

Hosts cut what a model wrote at its think tags and trim what is left, so that blanks beside the tags are not known. A
reference reads each way in which they can stand, and the likeliest is how this model writes: the same every time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tempzero.config import Config, Provider, join_fields
from tempzero.types.asked import Prompt

THINK, END_THINK = "<think>", "</think>"
TEMPLATE_VALUES = "chat_template_kwargs"


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenForm:
    """What stands before the reasoning and behind it."""

    before: str
    behind: str

    def join(self, reasoning: str, text: str) -> str:
        """All that was written. Without a text nothing is known to follow the reasoning: the answer was cut there."""
        return f"{self.before}{reasoning}{self.behind}{text}" if text else f"{self.before}{reasoning}"


def list_written_forms(prompt_end: str) -> tuple[WrittenForm, ...]:
    """The ways in which reasoning can stand, behind a prompt that ends so; the commonest first.

    A template that opens the thinking itself leaves the model to write what comes behind the tag.
    """
    if prompt_end.rstrip().endswith(THINK):
        before = ("",) if prompt_end.endswith("\n") else ("\n", "")
    else:
        before = (f"{THINK}\n", THINK)
    behind = (f"\n{END_THINK}\n\n", f"{END_THINK}\n\n", f"\n{END_THINK}\n", END_THINK)
    return tuple(WrittenForm(before=one, behind=other) for one in before for other in behind)


def find_template_values(config: Config, provider: Provider, condition: str, prompt: Prompt) -> dict[str, Any]:
    """What a request gave the chat template, by whichever of provider, prompt and condition: fields, or an effort."""
    asked = next((one for one in config.conditions if one.name == condition), None)
    over = {} if asked is None else config.question_under(provider, asked)
    fields = join_fields(provider.fields, prompt.body or prompt.request, over)
    given = fields.get(TEMPLATE_VALUES)
    if isinstance(given, Mapping):
        return dict(given)
    under = provider if asked is None else config.under(provider, asked) or provider
    effort = under.reasoning.effort
    return {} if effort is None else {"enable_thinking": effort != "none", "reasoning_effort": effort}
