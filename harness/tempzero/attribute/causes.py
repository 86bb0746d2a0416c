"""Nothing in, what may be said of why a provider's tokens are not the reference's, out: the causes and their rules."""

from __future__ import annotations

from tempzero.attribute.fits import Fits
from tempzero.types.concluded import Estimate
from tempzero.types.vocabulary import Cause, CauseName, Metric, Rule

# Causes by which decoding is greedy.
_GREEDY: tuple[CauseName, ...] = ("faithful", "coarser", "other_prompt", "positions", "post_processed")
# The order of those that accuse is that of their findings.
CAUSES = (
    Cause(name="faithful", words="Computes what the reference computes, up to honest rounding"),
    Cause(name="post_processed", words="The text is edited after the model wrote it", rule="cause_post_processed"),
    Cause(name="cut_short", words="Responses are cut short", rule="cause_cut_short"),
    Cause(name="mixture", words="A share of the responses comes from something else", rule="cause_mixture"),
    Cause(name="penalty", words="A penalty or ban changes which token is chosen", rule="cause_penalty"),
    Cause(name="other_prompt", words="The model is given another prompt than was sent", rule="cause_other_prompt"),
    Cause(name="other_model", words="Another model", rule="cause_other_model"),
    Cause(name="sampled", words="Not greedy: it samples at a temperature", rule="cause_sampled"),
    Cause(name="positions", words="Positions are computed with another base", rule="cause_positions"),
    Cause(name="coarser", words="Coarser weights or cache", rule="cause_coarser"),
    Cause(name="not_faithful", words="More than rounding, cause open", rule="cause_not_faithful"),
    Cause(name="unknown", words="Cannot be decided"),
)
CAUSE_RULES = tuple(
    Rule(
        name=cause.rule,
        words=cause.words,
        shown_by="one suspect alone explains every token and the unchanged reference does not, or texts are equal",
    )
    for cause in CAUSES
    if cause.rule is not None
)

EFFECTIVE_TEMPERATURE = Metric(
    name="effective_temperature",
    unit="temperature",
    kinds=("scored",),
    title="Effective temperature",
    definition="The temperature at which sampling makes the tokens likeliest; 0 where greedy decoding, rounding "
    "included, explains them. Not given where something else than decoding does.",
    source="maximum likelihood, interval clustered by prompt",
    absent="another cause explains the tokens",
)


def effective_temperature(fits: Fits, cause: CauseName) -> Estimate | None:
    """0 where the choice is greedy; None where something else than decoding explains the tokens."""
    fitted = fits.temperature
    if cause in _GREEDY:
        return Estimate(value=0.0, low=0.0, high=fitted.high, n=fits.prompts, method=fitted.method)
    if cause == "sampled":
        return fitted
    return None
