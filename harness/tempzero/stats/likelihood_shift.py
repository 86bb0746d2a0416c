"""Log-probabilities of first tokens on two sides in, how far their means lie apart out, beside what relabelling gives.

The statistic of Chauvin, Le Merrer, Taiani and Tredan (Log Probability Tracking of LLM APIs, arXiv:2512.03816): the
mean, over the tokens that either side names, of the absolute difference of their mean log-probabilities; a token that
a response does not name counts with the least that it names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RELABELLINGS = 999

Likelihoods = Sequence[Mapping[str, float]]
"""The responses to one prompt: of each the log-probability of every token that it names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShiftTest:
    """`by_prompt` is the statistic, `usual` its mean over relabellings within the prompt, both in nats.

    `p_value` is (c + 1) / (B + 1) for the mean over prompts, B = 999.
    """

    by_prompt: NDArray[np.float64]
    usual: NDArray[np.float64]
    p_value: float


def likelihood_shift_test(left: Sequence[Likelihoods], right: Sequence[Likelihoods], *, seed: int = 0) -> ShiftTest:
    """Do the responses of two sides, prompt by prompt, differ more than their labels would by chance?"""
    rng = np.random.default_rng(seed)
    observed, drawn = np.zeros(len(left)), np.zeros((len(left), _RELABELLINGS))
    for j, (ours, theirs) in enumerate(zip(left, right, strict=True)):
        table = _fill_table([*ours, *theirs])
        observed[j] = _mean_shift(table, np.arange(len(ours))[None])[0]
        orders = rng.random((_RELABELLINGS, len(table))).argsort(axis=1)
        drawn[j] = _mean_shift(table, orders[:, : len(ours)])
    above = int((drawn.sum(axis=0) >= observed.sum() - 1e-12).sum())
    return ShiftTest(by_prompt=observed, usual=drawn.mean(axis=1), p_value=(above + 1) / (_RELABELLINGS + 1))


def _fill_table(responses: Likelihoods) -> NDArray[np.float64]:
    """Responses x tokens."""
    tokens = sorted({token for one in responses for token in one})
    least = [min(one.values()) for one in responses]
    return np.array([[one.get(t, low) for t in tokens] for one, low in zip(responses, least, strict=True)])


def _mean_shift(table: NDArray[np.float64], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """For each row of `chosen` responses: how far their mean lies from that of the others."""
    size, others = chosen.shape[1], len(table) - chosen.shape[1]
    ours = table[chosen].sum(axis=1)
    return np.asarray(np.abs(ours / size - (table.sum(axis=0) - ours) / others).mean(axis=1))
