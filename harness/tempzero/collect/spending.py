"""A planned trial and what came of it in, the tokens it is taken to have cost out: never less than can be known."""

from __future__ import annotations

from dataclasses import dataclass

from tempzero.types.asked import PlannedTrial
from tempzero.types.recorded import Exchange, OutcomeKind

# Without a connection nothing was sent, so nothing can be charged.
_NEVER_CHARGED: tuple[OutcomeKind, ...] = ("network", "tls")


@dataclass(frozen=True, kw_only=True, slots=True)
class SpentTokens:
    """`reported`: as the provider counted them; else the most that they can have been."""

    prompt_tokens: int
    output_tokens: int
    reported: bool


def count_spent_tokens(planned: PlannedTrial, exchange: Exchange, extra_tokens: int = 0) -> SpentTokens:
    """As reported; nothing for a refusal; else the most: the plan's, and `extra_tokens` of reasoning billed apart."""
    completion = exchange.outcome.completion
    output_tokens = None if completion is None else completion.output_tokens
    refused = exchange.response is not None and exchange.response.status >= 400
    if refused or (exchange.response is None and exchange.outcome.kind in _NEVER_CHARGED):
        return SpentTokens(prompt_tokens=0, output_tokens=0, reported=False)
    if completion is None or completion.prompt_tokens is None or output_tokens is None:
        most = planned.max_tokens + extra_tokens
        return SpentTokens(prompt_tokens=planned.prompt_tokens, output_tokens=most, reported=False)
    return SpentTokens(prompt_tokens=completion.prompt_tokens, output_tokens=output_tokens, reported=True)
