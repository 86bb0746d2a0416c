"""How hard a model is asked to think, and what room that is given: `reasoning:` of providers and conditions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tempzero.config.request_fields import RequestFields
from tempzero.config.strict_model import StrictModel

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Returned = Literal["never", "with_calls", "always"]


class ReasoningChoice(StrictModel):
    """How hard to think. What is not given stays as it is."""

    effort: Effort | None = None
    """`none` switches reasoning off; `minimal`, `low`, `medium`, `high`, `xhigh` and `max` ask for more and more of it.
    null: nothing is sent, so that the endpoint does as it does by default."""
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    """Tokens that reasoning may take. Every limit of an answer is sent that much larger, for hosts count reasoning and
    answer together; plan, limits of cost and dry run count them. Nothing is added under effort `none`."""


class Reasoning(ReasoningChoice):
    """How hard a provider's model is asked to think, and in which words."""

    sends: dict[Effort, RequestFields] = Field(default={})
    """The request fields that an effort is sent as, where they are others than `reasoning_effort`, e.g.
    `{none: {thinking: {type: disabled}}, high: {thinking: {type: enabled}}}`. Of `serve:` and `local:` they are
    `chat_template_kwargs`, `enable_thinking` and `reasoning_effort` in it."""
    returned: Returned = "never"
    """Of conversations: whether the reasoning of an answer goes back to the endpoint with the answer, in the field and
    the form in which it came. `with_calls`: of all that was answered to a user's turn in which a tool was called;
    `always`: with every answer; `never`: it is dropped, as most templates do by themselves."""

    @property
    def allowance(self) -> int:
        """Tokens that are added to the limit of an answer."""
        return 0 if self.effort == "none" else self.max_tokens or 0

    def changed_by(self, choice: ReasoningChoice | None) -> Reasoning:
        """The same under a condition that chooses otherwise."""
        given = {} if choice is None else choice.model_dump(exclude_none=True)
        return self.model_copy(update=given) if given else self
