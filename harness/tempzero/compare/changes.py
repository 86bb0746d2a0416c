"""Two Runs and what they have in common in, what changed for each provider out: tests by prompt, and exact signals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tempzero import stats
from tempzero.analysis.observations import CENSORED, NOT_SAID, Identity, observe_run
from tempzero.analysis.tallies import Tally, tally_lane
from tempzero.analysis.texts import Texts, study_texts
from tempzero.compare.comparability import CommonGround
from tempzero.metrics import agreement
from tempzero.metrics.agreement import Floats
from tempzero.metrics.answers import majority_vote
from tempzero.metrics.cuts import settle_cuts
from tempzero.records import Run
from tempzero.types.asked import Suite
from tempzero.types.concluded import Estimate
from tempzero.types.recorded import IDENTITY_LABELS, IdentityLabel, RecordView
from tempzero.types.scored import Judgement

ShiftName = Literal["texts", "answers", "length"]

# What stands before a provider's name while both runs are read as one; no name can begin so.
_LEFT_PREFIX, _RIGHT_PREFIX = "1 ", "2 "


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """One measure, tested on the prompts that both runs answered. `p_value` is after Holm over all of the comparison.

    `estimate`: of texts the excess divergence of the two runs, of answers the change of accuracy, of length that
    in characters; right minus left. `detectable` is the smallest excess that would have been found (power .8).
    """

    metric: ShiftName
    estimate: Estimate
    p_value: float
    method: str
    detectable: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Signal:
    """Something a response states of itself that is not the same in both runs: no test is needed."""

    what: IdentityLabel | Literal["prompt_tokens"]
    left: str
    right: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One provider under one condition: its agreement within and between the runs, tests and signals."""

    provider: str
    condition: str
    own_left: Estimate
    own_right: Estimate
    match: Estimate
    shifts: tuple[Shift, ...]
    signals: tuple[Signal, ...]


def compare_providers(left: Run, right: Run, meeting: CommonGround, *, alpha: float) -> tuple[Change, ...]:
    """Test every provider that both runs asked. Raises RunFolderError for damaged records."""
    seen = observe_run(_JoinedRuns(left, right, meeting))
    texts, new = study_texts(seen.texts, seen.prompts, seen.judged.answers)
    tallies = {}
    for lane in seen.lanes:
        text = lane.text.copy()
        text[text != NOT_SAID] = new[text[text != NOT_SAID]]
        counted = tally_lane(replace(lane, text=text), texts, seen.prompts)
        tallies[counted.name, lane.condition] = counted
    keys = sorted((name.removeprefix(_LEFT_PREFIX), c) for name, c in tallies if name.startswith(_LEFT_PREFIX))
    pairs = [(tallies[_LEFT_PREFIX + name, c], tallies[_RIGHT_PREFIX + name, c]) for name, c in keys]
    # After Holm's correction the smallest attainable p-value must stay well below alpha.
    permutations = max(999, math.ceil(12 * len(pairs) / alpha) - 1)
    compared = [_compare_tallies(one, other, texts, seen.identities, permutations) for one, other in pairs]
    corrected = iter(stats.holm([t.p_value for change in compared for t in change.shifts]))
    return tuple(
        replace(change, shifts=tuple(replace(t, p_value=next(corrected)) for t in change.shifts)) for change in compared
    )


class _JoinedRuns:
    """Two runs read as one (an `ObservedRun`), each provider once for each run: so one text has one number in both."""

    def __init__(self, left: Run, right: Run, meeting: CommonGround) -> None:
        self._runs = ((left, _LEFT_PREFIX), (right, _RIGHT_PREFIX))
        self._meeting = meeting
        self.path = left.path
        suite = Suite(prompts=meeting.prompts, digest="")
        self.manifest = replace(left.manifest, suite=suite, skipped=())
        providers = [
            run.config.provider(name).model_copy(update={"name": side + name})
            for run, side in self._runs
            for name in meeting.providers
        ]
        self.config = left.config.model_copy(update={"providers": tuple(providers)})

    def judgements(self) -> Iterator[Judgement]:
        """Those of both runs."""
        return (judgement for run, _ in self._runs for judgement in run.judgements())

    def views(self) -> Iterator[RecordView]:
        """The records of what the runs have in common."""
        prompts = {p.id for p in self._meeting.prompts}
        for run, side in self._runs:
            for view in run.views():
                if view.trial.provider in self._meeting.providers and view.trial.prompt in prompts:
                    yield replace(view, trial=replace(view.trial, provider=side + view.trial.provider))


def _compare_tallies(
    left: Tally, right: Tally, texts: Texts, identities: Sequence[Identity], permutations: int
) -> Change:
    settled = settle_cuts([left.raw, right.raw], texts.longer)
    ours, theirs = (agreement.relabel_counts(t.raw, settled) for t in (left, right))
    excess = agreement.excess_divergence(ours, theirs)
    tables = agreement.build_count_tables(ours, theirs)
    test = stats.one_hot_permutation(tables, permutations=permutations)
    shifts = [
        Shift(
            metric="texts",
            estimate=stats.divergence_over_prompts(_drop_nan(excess)),
            p_value=test.p_value,
            method=test.method,
            detectable=stats.minimum_detectable_divergence(tables),
        ),
        *_answer_shift(left, right),
        *_length_shift(left, right),
    ]
    return Change(
        provider=left.name.removeprefix(_LEFT_PREFIX),
        condition=left.lane.condition,
        own_left=stats.share_over_prompts(_drop_nan(left.emr)),
        own_right=stats.share_over_prompts(_drop_nan(right.emr)),
        match=stats.share_over_prompts(_drop_nan(agreement.cross_match_rate(ours, theirs))),
        shifts=tuple(t for t in shifts if t.estimate.n),
        signals=tuple(_find_signals(left, right, identities)),
    )


def _answer_shift(left: Tally, right: Tally) -> Iterable[Shift]:
    """Exact McNemar on the prompts that one run gets right by majority and the other does not."""
    ours, theirs = majority_vote(left.correct), majority_vote(right.correct)
    only_left, only_right = (int((ours > theirs).sum()), int((theirs > ours).sum()))
    yield Shift(
        metric="answers",
        estimate=stats.mean_over_prompts(_drop_nan(right.correct - left.correct), bounds=(-1, 1)),
        p_value=stats.mcnemar_exact(only_left, only_right),
        method=f"exact McNemar: {only_left} prompts right only on the left, {only_right} only on the right",
    )


def _length_shift(left: Tally, right: Tally) -> Iterable[Shift]:
    longer = _drop_nan(right.chars - left.chars)
    test = stats.sign_flip_test(longer)
    yield Shift(metric="length", estimate=stats.mean_over_prompts(longer), p_value=test.p_value, method=test.method)


def _find_signals(left: Tally, right: Tally, identities: Sequence[Identity]) -> Iterable[Signal]:
    """Labels that only one of the runs saw, and prompts whose tokens are counted differently."""
    if not all((t.lane.status <= CENSORED).any() for t in (left, right)):
        return
    for what in IDENTITY_LABELS:
        ours, theirs = (_count_labels(t, what, identities) for t in (left, right))
        if ours.keys() != theirs.keys():
            yield Signal(what=what, left=_format_label_counts(ours), right=_format_label_counts(theirs))
    one, other = (agreement.commonest_outputs(t.prompt_tokens) for t in (left, right))
    differ = np.flatnonzero((one != NOT_SAID) & (other != NOT_SAID) & (one != other))
    if differ.size:
        first = int(differ[0])
        more = f" (and {differ.size - 1} prompts more)" if differ.size > 1 else ""
        yield Signal(what="prompt_tokens", left=f"{one[first]}{more}", right=f"{other[first]}{more}")


def _count_labels(side: Tally, what: IdentityLabel, identities: Sequence[Identity]) -> Counter[str]:
    """How often each label came; silence is none of them."""
    rows = side.lane.identity[(side.lane.status <= CENSORED) & (side.lane.identity != NOT_SAID)]
    labels = (getattr(identities[i], what) for i in rows.tolist())
    return Counter(label for label in labels if label is not None)


def _format_label_counts(labels: Counter[str]) -> str:
    """The commonest labels, as text that cannot act on a screen: a provider may name itself anything."""
    shown = [f"{label[:80]!a} ({number})" for label, number in sorted(labels.items(), key=lambda x: (-x[1], x[0]))]
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "") or "not given"


def _drop_nan(values: Floats) -> Floats:
    return values[~np.isnan(values)]
