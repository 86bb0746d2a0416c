"""One provider's repeats in, whether they vary as sampling with independent draws would make them, out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tempzero import stats
from tempzero.attribute.reader_tables import Floats, ReaderTable, ResponseLane
from tempzero.types.concluded import Estimate

# Sampled repeats agree with each other about as rarely as with the greedy text.
_SURPLUS = 0.15


RepeatJudgement = Literal["vary", "same"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeats:
    """`agree`: chance that two repeats are the same; `greedy`: share of responses without a miss.

    `vary`: repeats differ as independent draws do; `same`: they agree far beyond that; None: cannot be said.
    """

    agree: Estimate
    greedy: float
    judgement: RepeatJudgement | None


def compare_repeats(table: ReaderTable, lane: ResponseLane) -> Repeats:
    """Agreement of a provider's repeats against what independent draws would leave of it.

    If every response missed the greedy text independently, two would agree little more often than both are
    greedy; a wrong but reproducible computation repeats its misses.
    """
    prompts = len(table.prompts)
    number = np.bincount(lane.prompt, minlength=prompts)
    pairs = np.zeros(prompts)
    keys, times = np.unique(np.stack([lane.prompt, lane.sequence]), axis=1, return_counts=True)
    np.add.at(pairs, keys[0], times * (times - 1))
    agree = np.divide(pairs, number * (number - 1), out=np.full(prompts, np.nan), where=number > 1)
    clean = (table.tokens.summed(table.tokens.missed)[lane.sequence] == 0).astype(np.float64)
    greedy = np.divide(np.bincount(lane.prompt, clean, prompts), number, out=np.full(prompts, np.nan), where=number > 0)
    measured = ~np.isnan(agree)
    return Repeats(
        agree=stats.share_over_prompts(agree[measured]),
        greedy=float(np.nanmean(greedy)) if lane.prompt.size else 0.0,
        judgement=_judge_repeats(agree[measured], greedy[measured]),
    )


def _judge_repeats(agree: Floats, greedy: Floats) -> Literal["vary", "same"] | None:
    strayed = greedy < 1  # only prompts on which something was missed can tell
    if strayed.sum() < 3:
        return None
    surplus = stats.mean_over_prompts(agree[strayed] - np.square(greedy[strayed]), bounds=(-1.0, 1.0))
    if surplus.low is None or surplus.high is None or surplus.value is None:
        return None
    if surplus.low > _SURPLUS:
        return "same"
    # Two draws that both miss may still miss alike; that is rare in longer texts.
    return "vary" if surplus.high < 2 * _SURPLUS else None
