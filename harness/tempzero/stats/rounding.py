"""Choices and the gaps they were made at in, whether rounding of a given size explains them out: an e-value, a scale.

A computation that rounds turns a choice where the change of the gap exceeds it. With changes of normal distribution
and standard deviation s, a token whose rival is a gap g away is missed with probability F(-g / s), F the normal
distribution function, whatever the text: so the tokens themselves say how many misses are to be expected, and no share
of misses needs to be guessed. One token in a thousand may be missed by anything else (a text cut into other tokens, a
rare kernel).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tempzero.stats.profile import profile_maximum
from tempzero.types.concluded import Estimate

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]

STRAY_SHARE = 1e-3
"""How many of an honest computation's tokens may be missed by something else than rounding."""
PROMPT_CAP = 4.0
"""What one prompt may add to the evidence, in nats: one odd prompt accuses nobody."""
LARGER_SCALES = (1.5, 2.0, 3.0, 5.0, 8.0)
"""Alternatives: rounding this many times the size that is allowed."""
MORE_STRAYS = (0.005, 0.02, 0.1, 0.4)
"""Alternatives: this share of tokens from elsewhere."""
ODD_SHARES = (0.2, 1.0)
"""Alternatives: of this share of the responses the above is true, the others being honest."""
SCALES = tuple(float(s) for s in np.geomspace(0.002, 20.0, 37))


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadChoices:
    """The tokens of some responses. `gap`: between the reference's two best; `margin`: of the token given, 0: the best.

    `response` numbers each token's response from 0, `prompt` gives each response's prompt, `times` how often it came.
    """

    gap: _Floats
    margin: _Floats
    response: _Ints
    prompt: _Ints
    times: _Ints

    @property
    def missed(self) -> int:
        return int(np.count_nonzero(self.margin > 0))


def expected_misses(choices: ReadChoices, scale: float) -> float:
    """How many tokens rounding of this scale would miss."""
    return float(special.ndtr(-choices.gap / scale).sum())


def rounding_evidence(choices: ReadChoices, scale: float) -> float:
    """Log of the evidence that the misses are more than rounding of at most `scale` makes.

    An e-value (Vovk and Wang 2021): the mean over alternatives of likelihood ratios. Where rounding is at most as
    large it exceeds e^x with a probability of at most e^-x. The ratio of a prompt is the mean of its responses', so
    that asking more often adds nothing, and capped.
    """
    if not choices.prompt.size:
        return 0.0
    honest = _log_likelihoods(choices, scale, STRAY_SHARE)
    ratios = [_log_likelihoods(choices, scale * k, STRAY_SHARE) - honest for k in LARGER_SCALES]
    ratios += [_log_likelihoods(choices, scale, share) - honest for share in MORE_STRAYS]
    _, prompt = np.unique(choices.prompt, return_inverse=True)
    asked, weight = np.bincount(prompt, choices.times), np.log(choices.times)
    logs = []
    for share in ODD_SHARES:
        for ratio in ratios:
            mixed = ratio if share == 1 else np.logaddexp(math.log1p(-share), math.log(share) + ratio)
            by_prompt = np.full(asked.size, -np.inf)
            np.logaddexp.at(by_prompt, prompt, mixed + weight)
            logs.append(float(np.minimum(by_prompt - np.log(asked), PROMPT_CAP).sum()))
    return float(special.logsumexp(logs)) - math.log(len(logs))


def rounding_scale(choices: ReadChoices) -> Estimate:
    """The scale that makes the choices likeliest, with a profile interval as wide as prompts differ."""
    if not choices.prompt.size:
        return Estimate(value=None, low=None, high=None, n=0, method="maximum likelihood")
    rows = _rows_by_prompt(choices)
    estimate = profile_maximum(SCALES, rows)
    return estimate if choices.missed else replace(estimate, value=0.0, low=0.0 if estimate.low is not None else None)


def tokens_to_exclude(choices: ReadChoices, scale: float) -> int | None:
    """About how many tokens like these would show that rounding is smaller than `scale`; None where they would not.

    By how far the likelihood has fallen there, which grows with the tokens; 2.5 nats are about what an interval needs.
    """
    if not choices.gap.size:
        return None
    rows = _rows_by_prompt(choices).sum(axis=0)
    best = int(rows.argmax())
    if SCALES[best] >= scale:
        return None
    at = float(np.interp(math.log(scale), np.log(SCALES), rows))
    fallen = float(rows[best]) - at
    return math.ceil(choices.gap.size * max(1.0, _NEEDED_FALL / fallen)) if fallen > 0 else None


_NEEDED_FALL = 2.5


def _rows_by_prompt(choices: ReadChoices) -> _Floats:
    """A row for each prompt: its mean response's log-likelihood at each of SCALES."""
    _, prompt = np.unique(choices.prompt, return_inverse=True)
    rows = np.zeros((int(prompt.max()) + 1, len(SCALES)))
    for column, scale in enumerate(SCALES):
        rows[:, column] = np.bincount(prompt, choices.times * _log_likelihoods(choices, scale, STRAY_SHARE))
    return np.asarray(rows / np.bincount(prompt, choices.times)[:, None])


def _log_likelihoods(choices: ReadChoices, scale: float, stray: float) -> _Floats:
    """Of each response."""
    missed = choices.margin > 0
    distance = np.where(missed, -choices.margin, -choices.gap)
    turned = stray + (1 - stray) * special.ndtr(distance / scale)
    logs = np.where(missed, np.log(turned), np.log1p(-turned))
    return np.bincount(choices.response, logs, minlength=choices.prompt.size).astype(np.float64)
