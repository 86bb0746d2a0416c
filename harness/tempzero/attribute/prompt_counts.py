"""One provider's responses in, how its prompt tokens differ from the reference's count out."""

from __future__ import annotations

from dataclasses import dataclass

from tempzero.attribute.reader_tables import ResponseLane


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenOffset:
    """How many more prompt tokens the provider counts than the reference, on the prompts where both did."""

    low: int
    high: int
    differ: int
    prompts: int

    def describe(self) -> str:
        """Empty where the counts agree."""
        if not self.differ:
            return ""
        by = f"{self.low:+d}" if self.low == self.high else f"{self.low:+d} to {self.high:+d}"
        return f"; its prompt_tokens differ from the reference's on {self.differ} of {self.prompts} prompts, by {by}"


def measure_token_offset(lane: ResponseLane) -> TokenOffset | None:
    """None where the provider did not say how many prompt tokens it read."""
    found: dict[int, int] = {}
    for prompt, answer, scored in zip(lane.prompt.tolist(), lane.answers, lane.scored, strict=True):
        if answer is not None and answer.prompt_tokens is not None:
            found.setdefault(prompt, answer.prompt_tokens - scored.prompt_tokens)
    if not found:
        return None
    values = found.values()
    return TokenOffset(low=min(values), high=max(values), differ=sum(v != 0 for v in values), prompts=len(values))
