"""What speaks for another template or hidden prompt in: prompt tokens, variants that fit better; a judgement out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tempzero.attribute.fits import PROMPT_CAP
from tempzero.attribute.reader_tables import ResponseLane
from tempzero.types.scored import VariantReading

# Evidence for a variant, in nats of capped evidence over prompts, and the share of the misses that it explains.
MIN_VARIANT_EVIDENCE, MIN_VARIANT_SHARE = 9.0, 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenOffset:
    """How many more prompt tokens the provider counts than the reference, on the prompts where both did."""

    low: int
    high: int
    differ: int
    prompts: int

    @property
    def always(self) -> bool:
        """Another number on every prompt, by about the same: something is put before or around it."""
        return self.differ == self.prompts and self.prompts >= 2 and self.high - self.low <= 2


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


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantFit:
    """How much better the responses fit behind one variant of their prompts."""

    name: str
    evidence: float
    hits: int
    plain_hits: int
    tokens: int
    prompts: int

    @property
    def shown(self) -> bool:
        gain = self.hits - self.plain_hits
        return (
            self.evidence >= MIN_VARIANT_EVIDENCE
            and self.prompts >= 3
            and gain > 0
            and gain >= MIN_VARIANT_SHARE * (self.tokens - self.plain_hits)
        )


def fit_variants(reference: str, lane: ResponseLane, readings: Iterable[VariantReading]) -> tuple[VariantFit, ...]:
    """Every variant that was read for this provider, the best fitting first."""
    trials = set(lane.trials)
    by_name: dict[str, list[VariantReading]] = {}
    for one in readings:
        if one.reference == reference and one.trial in trials:
            by_name.setdefault(one.variant, []).append(one)
    fits = (_fit_variant(name, of) for name, of in sorted(by_name.items()))
    return tuple(sorted(fits, key=lambda f: (-f.evidence, f.name)))


def _fit_variant(name: str, readings: list[VariantReading]) -> VariantFit:
    gain: dict[str, float] = {}
    for one in readings:
        gain[one.trial.prompt] = gain.get(one.trial.prompt, 0.0) + one.logprob - one.plain_logprob
    return VariantFit(
        name=name,
        evidence=float(np.minimum(np.array(list(gain.values())), PROMPT_CAP).sum()),
        hits=sum(r.hits for r in readings),
        plain_hits=sum(r.plain_hits for r in readings),
        tokens=sum(r.tokens for r in readings),
        prompts=len(gain),
    )
