"""One provider's fits in, whether a share of its responses comes from something else out, and which they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from tempzero import stats
from tempzero.attribute.fits import Fits, uneven_log_likelihood
from tempzero.attribute.reader_tables import Floats
from tempzero.types.concluded import Estimate

_MIXTURE_SHARES = np.unique(np.concatenate([np.geomspace(0.002, 0.2, 24), 1 - np.geomspace(0.01, 0.8, 16)]))
SUSPICIOUS = 0.95
# The mixture must beat one cause for all responses by this many nats, and by so many without its best prompt.
GAIN, GAIN_WITHOUT_BEST = 7.0, 3.0
MOST = 0.85


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixture:
    """`share` of the responses fits `kind` at `size` better than honest rounding; `posterior` for each response.

    `gain` is how much better in nats than the best single cause; `shown` whether the rule is met.
    """

    share: Estimate
    kind: Literal["rounded", "sampled"]
    size: float
    posterior: Floats
    gain: float
    shown: bool


def fit_mixture(fits: Fits) -> Mixture:
    """Fit the honest form for most responses, and for the rest whatever scale or temperature fits best."""
    others = np.hstack([fits.rounded[:, fits.floor + 1 :], fits.sampled])
    gains = others - fits.honest[:, None]
    profile = np.stack([_mixture_gains(gains, s).sum(axis=0) for s in _MIXTURE_SHARES], axis=1)
    best, at = (int(i) for i in np.unravel_index(profile.argmax(), profile.shape))
    share = float(_MIXTURE_SHARES[at])
    mixed = _mixture_gains(gains[:, best], share)
    better = fits.sum_by_prompt(mixed) - fits.sum_by_prompt(_best_single_cause(fits) - fits.honest)
    estimate = stats.profile_maximum(
        tuple(_MIXTURE_SHARES.tolist()),
        fits.sum_by_prompt(np.stack([_mixture_gains(gains[:, best], s) for s in _MIXTURE_SHARES], axis=1)),
    )
    posterior = special.expit(gains[:, best] + math.log(share / (1 - share)))
    rounding = len(fits.noises) - fits.floor - 1
    found = estimate.high is not None and estimate.high < MOST and _is_spread_over_prompts(fits, posterior)
    return Mixture(
        share=estimate,
        kind="rounded" if best < rounding else "sampled",
        size=fits.noises[fits.floor + 1 + best] if best < rounding else fits.temperatures[best - rounding],
        posterior=np.asarray(posterior),
        gain=float(better.sum()),
        shown=bool(found and better.sum() >= GAIN and better.sum() - better.max() >= GAIN_WITHOUT_BEST),
    )


def _best_single_cause(fits: Fits) -> Floats:
    """The likelihood of each response under the best single cause, allowed to vary from one to the next."""
    one = uneven_log_likelihood(fits.rounded, fits.best_scale)
    other = uneven_log_likelihood(fits.sampled, fits.best_temperature)
    return one if one.sum() >= other.sum() else other


def _is_spread_over_prompts(fits: Fits, posterior: Floats) -> bool:
    """Whether there are suspicious responses on at least two prompts, and unsuspicious ones."""
    suspicious = posterior >= SUSPICIOUS
    return np.unique(fits.prompt[suspicious]).size >= 2 and bool((posterior < 0.5).any())


def _mixture_gains(gains: Floats, share: float) -> Floats:
    return np.logaddexp(math.log1p(-share), math.log(share) + gains)
