"""Tallies in, the trials that prove a statement out, and the words statements share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tempzero import stats
from tempzero.analysis.pair_figures import Comparison
from tempzero.analysis.part_counts import CENSORED, NOT_SAID, Identity
from tempzero.analysis.self_comparison import Halves
from tempzero.analysis.tallies import CountedTexts, Tally
from tempzero.analysis.texts import ANSWER_PARTS, ComparedTexts, Texts
from tempzero.config import DEFAULT_CONDITION
from tempzero.metrics.agreement import Ints, commonest_outputs
from tempzero.metrics.cuts import were_cut_alike
from tempzero.metrics.divergence import common_prefix_lengths
from tempzero.types.asked import Prompt, Trial
from tempzero.types.concluded import Divergence, Estimate, FlagCount, ServedModel
from tempzero.types.vocabulary import PartName

# Trials shown with a finding; its message gives the total.
MOST_EVIDENCE = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What findings, examples and notes are drawn from."""

    prompts: Sequence[Prompt]
    identities: Sequence[Identity]
    finish_reasons: Sequence[str]
    flags: tuple[FlagCount, ...]
    served: tuple[ServedModel, ...]
    texts: Texts
    tallies: Sequence[Tally]
    comparisons: Sequence[Comparison]
    conditions: Sequence[Comparison]
    halves: Sequence[Halves]
    references: Sequence[str]
    alpha: float
    # Of that chance, what each kind of findings may spend to accuse an honest provider.
    budget: Mapping[stats.Family, float]


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


def find_visible_differences(left: CountedTexts, right: CountedTexts, texts: ComparedTexts) -> tuple[Ints, Ints]:
    """Prompts on which the two sides' commonest texts part, and the characters at which they do.

    A cut text that the other one begins with shows no difference, unless both were cut after the same tokens.
    """
    a, b = commonest_outputs(left.raw), commonest_outputs(right.raw)
    prompts = np.flatnonzero((a != NOT_SAID) & (b != NOT_SAID) & (a != b))
    a, b = a[prompts], b[prompts]
    at = common_prefix_lengths([texts.text[i] for i in a.tolist()], [texts.text[i] for i in b.tolist()])
    unseen = (texts.cut[a] & (at == texts.length[a])) | (texts.cut[b] & (at == texts.length[b]))
    unseen &= ~were_cut_alike(a, b, texts.cut, texts.limit)
    return prompts[~unseen], at[~unseen]


def find_compared_differences(comparison: Comparison, texts: Texts) -> tuple[Ints, Ints]:
    """The same of what a comparison compares."""
    pair = comparison.pair
    basis = pair.basis
    return find_visible_differences(pair.left.by_part(basis), pair.right.by_part(basis), texts.by_part(basis))


def pick_commonest_rows(comparison: Comparison, prompt: int) -> tuple[int, int]:
    """On each side the row of the earliest trial that gave the side's commonest text, among what is compared."""
    pair, basis = comparison.pair, comparison.pair.basis
    left, right = (
        t.first_row(prompt, int(commonest_outputs(t.by_part(basis).raw)[prompt]), basis)
        for t in (pair.left, pair.right)
    )
    return left, right


def pick_commonest_trials(comparison: Comparison, prompt: int, prompts: Sequence[Prompt]) -> tuple[Trial, Trial]:
    """On each side the earliest trial that gave the side's commonest text, among what is compared."""
    left, right = pick_commonest_rows(comparison, prompt)
    return comparison.pair.left.trial(left, prompts), comparison.pair.right.trial(right, prompts)


def show_difference(
    left: tuple[Tally, int], right: tuple[Tally, int], case: Case, *, without_reasoning: bool = False
) -> Divergence:
    """Two rows whose answers differ: the first part in which they do, and its first different character."""
    trials = [tally.trial(row, case.prompts) for tally, row in (left, right)]
    answers = [int(tally.lane.text[row]) for tally, row in (left, right)]
    part, texts = _find_different_part(answers[0], answers[1], case.texts, without_reasoning=without_reasoning)
    return Divergence(
        prompt=trials[0].prompt,
        left=trials[0],
        right=trials[1],
        left_text=texts[0],
        right_text=texts[1],
        at_char=int(common_prefix_lengths(texts[:1], texts[1:])[0]),
        part=part,
    )


def _find_different_part(
    left: int, right: int, texts: Texts, *, without_reasoning: bool
) -> tuple[PartName, tuple[str, str]]:
    """The first part that differs visibly, else the first that differs at all."""
    if not texts.parts:
        return "text", (texts.text[left], texts.text[right])
    found: list[tuple[bool, PartName, tuple[str, str]]] = []
    for name in ANSWER_PARTS:
        part = texts.parts.get(name)
        if part is None or (without_reasoning and name == "reasoning"):
            continue
        a, b = int(part.of_answer[left]), int(part.of_answer[right])
        if a != b and NOT_SAID not in (a, b):
            begins = (part.cut[a] and part.text[b].startswith(part.text[a])) or (
                part.cut[b] and part.text[a].startswith(part.text[b])
            )
            found.append((bool(begins), name, (part.text[a], part.text[b])))
    if not found:
        return "text", (texts.answer_text[left], texts.answer_text[right])
    _, name, shown = min(found, key=lambda f: f[0])
    return name, shown


_PART_WORDS: Mapping[PartName, str] = {
    "reasoning": "the reasoning",
    "text": "the text",
    "calls": "the tool calls",
    "refusal": "the refusal",
}


def name_part(part: PartName) -> str:
    """A part of the answers in running text."""
    return _PART_WORDS.get(part, "the answer")


def describe_parts(differing: Mapping[PartName, int]) -> str:
    """`the reasoning on 13, the text on 2`, by how many prompts each part differs on; nothing where none is named."""
    return ", ".join(f"{name_part(name)} on {number}" for name, number in differing.items() if number)


def pick_answered_trials(left: Tally, right: Tally, prompt: int, prompts: Sequence[Prompt]) -> tuple[Trial, ...]:
    """On each side the first trial that was answered."""
    found = []
    for tally in (left, right):
        rows = np.arange(tally.starts[prompt], tally.starts[prompt + 1])
        found += [tally.trial(r, prompts) for r in rows[tally.lane.status[rows] <= CENSORED][:1].tolist()]
    return tuple(found)
