"""Two Runs and what they have in common in, what changed for each provider out: tests by prompt, and exact signals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from tempzero import stats
from tempzero.analysis.observations import observe_run
from tempzero.analysis.part_counts import CENSORED, NOT_SAID, Identity
from tempzero.analysis.tallies import CountedTexts, Tally, tally_lane
from tempzero.analysis.texts import Texts, study_texts
from tempzero.compare.comparability import CommonGround
from tempzero.metrics import agreement
from tempzero.metrics.agreement import Counts, Floats
from tempzero.metrics.answers import majority_vote
from tempzero.metrics.cuts import settle_cuts
from tempzero.records import Run
from tempzero.types.asked import Suite, Trial
from tempzero.types.concluded import Estimate
from tempzero.types.recorded import IDENTITY_LABELS, IdentityLabel, Outcome, RecordView, Times
from tempzero.types.scored import Judgement
from tempzero.types.vocabulary import PARTS, PartName

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

    what: IdentityLabel | Literal["prompt_tokens", "reasoning"]
    left: str
    right: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One provider under one condition: its agreement within and between the runs, tests and signals.

    Whole answers are compared, or (`basis` spoken) all but their reasoning, where only one of the runs ever shows any.
    `parts` has the agreement between the runs of each part that answers have; it is empty where they are nothing but
    text.
    """

    provider: str
    condition: str
    own_left: Estimate
    own_right: Estimate
    match: Estimate
    shifts: tuple[Shift, ...]
    signals: tuple[Signal, ...]
    basis: PartName = "whole"
    parts: Mapping[PartName, Estimate] = field(default_factory=dict)


def compare_providers(left: Run, right: Run, meeting: CommonGround, *, alpha: float) -> tuple[Change, ...]:
    """Test every provider that both runs asked. Raises RunFolderError for damaged records."""
    seen = observe_run(_JoinedRuns(left, right, meeting))
    texts, new = study_texts(seen)
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

    def parts(self) -> tuple[Path, ...]:
        """No file holds what the runs have in common."""
        return ()

    def judgements(self) -> Iterator[Judgement]:
        """Those of both runs."""
        return (judgement for run, _ in self._runs for judgement in run.judgements())

    def token_limits(self, requests: Collection[str]) -> dict[str, int]:
        """Those of both runs: equal bytes sent an equal limit."""
        return {request: limit for run, _ in self._runs for request, limit in run.token_limits(requests).items()}

    def views(self) -> Iterator[RecordView]:
        """The records of what the runs have in common."""
        prompts = {p.id for p in self._meeting.prompts}
        for run, side in self._runs:
            for view in run.views():
                if view.trial.provider in self._meeting.providers and view.trial.prompt in prompts:
                    yield _SidedView(
                        trial=replace(view.trial, provider=side + view.trial.provider),
                        number=view.number,
                        block=view.block,
                        request_sha256=view.request_sha256,
                        times=view.times,
                        outcome=view.outcome,
                    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _SidedView:
    """A record of one side, whose provider is named for it."""

    trial: Trial
    number: int
    block: int
    request_sha256: str
    times: Times
    outcome: Outcome


def _compare_tallies(
    left: Tally, right: Tally, texts: Texts, identities: Sequence[Identity], permutations: int
) -> Change:
    basis: PartName = "whole" if left.shows_reasoning == right.shows_reasoning else "spoken"
    ours, theirs = _settle_cuts_between(left, right, texts, basis)
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
        *_length_shift(left.by_part(basis), right.by_part(basis)),
    ]
    return Change(
        provider=left.name.removeprefix(_LEFT_PREFIX),
        condition=left.lane.condition,
        own_left=stats.share_over_prompts(_drop_nan(left.by_part(basis).emr)),
        own_right=stats.share_over_prompts(_drop_nan(right.by_part(basis).emr)),
        match=stats.share_over_prompts(_drop_nan(agreement.cross_match_rate(ours, theirs))),
        shifts=tuple(t for t in shifts if t.estimate.n),
        signals=tuple(_find_signals(left, right, identities)),
        basis=basis,
        parts=_match_by_part(left, right, texts, basis),
    )


def _settle_cuts_between(left: Tally, right: Tally, texts: Texts, part: PartName) -> tuple[Counts, Counts]:
    """Both sides counted, cut texts settled among both."""
    sides = [t.by_part(part).raw for t in (left, right)]
    compared = texts.by_part(part)
    settled = settle_cuts(sides, compared.longer, compared.limit)
    return agreement.relabel_counts(sides[0], settled), agreement.relabel_counts(sides[1], settled)


def _match_by_part(left: Tally, right: Tally, texts: Texts, basis: PartName) -> dict[PartName, Estimate]:
    """The agreement of each part, on the prompts to which either run has it."""
    used = {name for side in (left, right) for name, part in side.parts.items() if part.used.any()} - {"spoken"}
    found: dict[PartName, Estimate] = {}
    if used == {"text"}:
        return found
    for part in (p for p in PARTS if p in used and not (p == "reasoning" and basis == "spoken")):
        match = agreement.cross_match_rate(*_settle_cuts_between(left, right, texts, part))
        asked = left.parts[part].used | right.parts[part].used
        found[part] = stats.share_over_prompts(_drop_nan(np.where(asked, match, np.nan)))
    return found


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


def _length_shift(left: CountedTexts, right: CountedTexts) -> Iterable[Shift]:
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
    if _reasons(left) != _reasons(right):
        yield Signal(what="reasoning", left=_describe_reasoning(left), right=_describe_reasoning(right))


def _reasons(side: Tally) -> bool:
    """Whether any answer shows its reasoning, or counts tokens of one that it hides."""
    return side.shows_reasoning or bool(np.nansum(side.reasoning_tokens) > 0)


def _describe_reasoning(side: Tally) -> str:
    rows = agreement.pool_segments(side.shown)
    words = f"shown in {int(rows.count[rows.output == 1].sum())} of {int(rows.count.sum())} answers"
    counted = _drop_nan(side.reasoning_tokens)
    return words + (f", {counted.mean():.0f} tokens an answer" if counted.size else "")


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
