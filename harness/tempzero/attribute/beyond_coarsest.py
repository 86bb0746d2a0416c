"""One provider's margins and those of the reference's coarsest form in, whether they go far beyond it, out.

Coarser weights move every logit a little, so large margins are rare under them; another model has other opinions. What
no coarser form comes near is therefore no quantisation that anybody serves, as far as the coarsest form read is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tempzero import stats
from tempzero.attribute.noise import JoinedForm
from tempzero.attribute.reader_tables import Flags, Floats, Ints, ReaderTable, ResponseLane
from tempzero.attribute.token_likelihoods import locate_tokens
from tempzero.types.concluded import Estimate

# Margins as large as only this share of the coarsest form's tokens have; a form must have read some tokens to tell.
RARE, LEAST_TOKENS = 0.01, 100
# How many times as often as under the coarsest form, at its upper bound, large margins must surely come.
TIMES = 1.5


@dataclass(frozen=True, kw_only=True, slots=True)
class BeyondCoarsest:
    """`share` of a provider's tokens have a margin above `margin`, `of_form` of the coarsest form's at most.

    `misses` are the provider's, `form_misses` the form's share of missed tokens.
    """

    form: str
    margin: float
    share: Estimate
    of_form: float
    misses: Estimate
    form_misses: float

    @property
    def shown(self) -> bool:
        """Far more large margins than under the coarsest form, and more misses."""
        return self._surely_above(self.share, TIMES * self.of_form) and self._surely_above(
            self.misses, self.form_misses
        )

    @staticmethod
    def _surely_above(estimate: Estimate, limit: float) -> bool:
        return estimate.low is not None and estimate.low > limit


def compare_with_coarsest(table: ReaderTable, lane: ResponseLane, forms: Sequence[JoinedForm]) -> BeyondCoarsest | None:
    """None where no coarser form read enough, or none of them missed anything."""
    coarser = [f for f in forms if not f.honest and f.margin.size >= LEAST_TOKENS and f.misses.any()]
    if not coarser:
        return None
    coarsest = max(coarser, key=lambda f: float((f.margin > 0).mean()))
    margin = float(np.quantile(coarsest.margin, 1 - RARE, method="higher"))
    above = stats.exact_proportion(int((coarsest.margin > margin).sum()), coarsest.margin.size)
    places, prompt = locate_tokens(table, lane)
    margins = table.tokens.margin[places]
    return BeyondCoarsest(
        form=coarsest.name,
        margin=margin,
        share=_mean_token_share(margins > margin, prompt),
        of_form=above.high or 0.0,
        misses=_mean_token_share(margins > 0, prompt),
        form_misses=float((coarsest.margin > 0).mean()),
    )


def _mean_token_share(chosen: Flags, prompt: Ints) -> Estimate:
    """The mean over prompts of the share of chosen tokens."""
    _, cell = np.unique(prompt, return_inverse=True)
    values: Floats = np.bincount(cell, chosen) / np.bincount(cell)
    return stats.mean_over_prompts(values, bounds=(0.0, 1.0))
