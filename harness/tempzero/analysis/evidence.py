"""Tallies in, the trials that prove a statement out, and the words statements share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tempzero.analysis.observations import CENSORED, NOT_SAID, Identity
from tempzero.analysis.pair_figures import Comparison
from tempzero.analysis.self_comparison import Halves
from tempzero.analysis.tallies import Tally
from tempzero.analysis.texts import Texts
from tempzero.config import DEFAULT_CONDITION
from tempzero.metrics.agreement import Ints, commonest_outputs
from tempzero.metrics.divergence import common_prefix_lengths
from tempzero.types.asked import Prompt, Trial
from tempzero.types.concluded import Estimate

# Trials shown with a finding; its message gives the total.
MOST_EVIDENCE = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What findings, examples and notes are drawn from."""

    prompts: Sequence[Prompt]
    identities: Sequence[Identity]
    texts: Texts
    tallies: Sequence[Tally]
    comparisons: Sequence[Comparison]
    halves: Sequence[Halves]
    references: Sequence[str]
    alpha: float


def take_evidence(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """The first EVIDENCE trials, without drawing more of them than that."""
    return tuple(t for _, t in zip(range(MOST_EVIDENCE), trials, strict=False))


def describe_estimate(estimate: Estimate) -> str:
    """An estimate in words: value, interval if there is one, and the number of prompts."""
    if estimate.value is None:
        return "not measured"
    interval = "" if estimate.low is None else f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return f"{estimate.value:.3f}{interval}, n={estimate.n}"


def condition_suffix(condition: str) -> str:
    """Names the condition unless it is the plain one."""
    return "" if condition == DEFAULT_CONDITION else f" (condition {condition})"


def load_suffix(tally: Tally) -> str:
    """The most requests this client had under way at once; nothing where that was not recorded."""
    most = tally.lane.most_in_flight
    return f", with up to {most} in flight" if most else ""


def find_different_repeats(tally: Tally, prompt: int, prompts: Sequence[Prompt]) -> tuple[Trial, ...]:
    """Two repeats of one request, answered under one identity, whose texts visibly differ."""
    rows = np.arange(tally.starts[prompt], tally.starts[prompt + 1])
    text, segment = tally.lane.text, tally.lane.segment
    # A cut text may count as one of several that it begins; the ones it may count as do differ.
    rows = rows[(text[rows] != NOT_SAID) & (text[rows] == tally.output[rows])]
    for first in rows.tolist():
        differ = rows[(segment[rows] == segment[first]) & (text[rows] != text[first])]
        if differ.size:
            return tally.trial(first, prompts), tally.trial(int(differ[0]), prompts)
    return ()


def find_different_bits(tally: Tally, prompt: int, prompts: Sequence[Prompt]) -> tuple[Trial, ...]:
    """A prompt's first repeat, and the first one whose logits or token ids are others."""
    rows = np.arange(tally.starts[prompt], tally.starts[prompt + 1])
    rows = rows[(tally.lane.status[rows] <= CENSORED) & (tally.lane.bits[rows] != NOT_SAID)]
    differ = rows[tally.lane.bits[rows] != tally.lane.bits[rows[0]]]
    return tally.trial(int(rows[0]), prompts), tally.trial(int(differ[0]), prompts)


def find_visible_differences(left: Tally, right: Tally, texts: Texts) -> tuple[Ints, Ints]:
    """Prompts on which the two sides' commonest texts part, and the characters at which they do.

    A cut text that the other one begins with shows no difference.
    """
    a, b = commonest_outputs(left.raw), commonest_outputs(right.raw)
    prompts = np.flatnonzero((a != NOT_SAID) & (b != NOT_SAID) & (a != b))
    a, b = a[prompts], b[prompts]
    at = common_prefix_lengths([texts.text[i] for i in a.tolist()], [texts.text[i] for i in b.tolist()])
    unseen = (texts.cut[a] & (at == texts.length[a])) | (texts.cut[b] & (at == texts.length[b]))
    return prompts[~unseen], at[~unseen]


def pick_commonest_trials(left: Tally, right: Tally, prompt: int, prompts: Sequence[Prompt]) -> tuple[Trial, Trial]:
    """On each side the earliest trial that gave the side's commonest text."""
    rows = [t.first_row(prompt, int(commonest_outputs(t.raw)[prompt])) for t in (left, right)]
    return left.trial(rows[0], prompts), right.trial(rows[1], prompts)


def pick_answered_trials(left: Tally, right: Tally, prompt: int, prompts: Sequence[Prompt]) -> tuple[Trial, ...]:
    """On each side the first trial that was answered."""
    found = []
    for tally in (left, right):
        rows = np.arange(tally.starts[prompt], tally.starts[prompt + 1])
        found += [tally.trial(r, prompts) for r in rows[tally.lane.status[rows] <= CENSORED][:1].tolist()]
    return tuple(found)
