"""A baseline, the nights before and tonight's answers in, a Decision out. Pure: same files, same decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from tempzero import stats
from tempzero.config import Gates, Nightly
from tempzero.nightly.history.compared_measures import compare_measures, count_comparable_answers
from tempzero.nightly.history.night_events import find_events
from tempzero.nightly.history.nights import (
    Baseline,
    Basis,
    Decision,
    Depth,
    Night,
    NightEntry,
    NightEvent,
    Side,
    State,
    TellingPrompt,
    TextCounts,
    find_common_basis,
)
from tempzero.types.concluded import Estimate

CALM_P, CALM_NIGHTS = 0.05, 2
MOST_TELLING_PROMPTS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class PastNight:
    """An earlier night of one provider."""

    night: str
    depth: Depth
    entry: NightEntry


def past_nights(nights: Iterable[Night], provider: str, before: str) -> tuple[PastNight, ...]:
    """A provider's earlier nights, in order."""
    found = ((n, n.entry(provider)) for n in nights if n.night < before)
    return tuple(PastNight(night=n.night, depth=n.depth, entry=entry) for n, entry in found if entry is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tonight:
    """What is to be decided on. `stopped` says why the provider was not asked to the end, where it was not."""

    night: str
    depth: Depth
    side: Side
    stopped: str = ""


def decide_tonight(
    tonight: Tonight, baseline: Baseline | None, before: Sequence[PastNight], rules: Nightly, gates: Gates
) -> Decision:
    """Hold tonight against the baseline and all nights since it that were not found changed."""
    side = tonight.side
    answered = side.answered / side.planned if side.planned else 0.0
    if answered < gates.min_coverage:
        share = f"{side.answered} of {side.planned} calls were answered; {gates.min_coverage:.0%} are needed"
        share += f" ({tonight.stopped})" if tonight.stopped else ""
        return _decide_without_data(baseline, before, share)
    if baseline is None:
        reason = "no baseline of these prompts: `tempzero baseline set RUN` makes one of a run"
        events = _tonights_events(tonight, before)
        return Decision(state="no baseline", tested=False, reason=reason, baseline=None, events=events)
    held = [p for p in before if p.entry.decision.baseline == baseline.key]
    comparable = _find_comparable(side, baseline, held, rules.time_blocks)
    basis = find_common_basis([side, *comparable.sides()])
    tables, questions = _contingency_tables(side.texts_by(basis), comparable.pool(basis))
    if len(tables) < gates.min_prompts:
        return Decision(
            state="no baseline",
            tested=False,
            reason=f"{len(tables)} prompts can be held against the baseline; {gates.min_prompts} are needed "
            "(same words, same settings, same time of day)",
            baseline=baseline.key,
            events=_tonights_events(tonight, before, baseline),
        )
    return _decide_by_test(tonight, baseline, (held, before), (comparable, tables, questions), rules)


def _decide_by_test(
    tonight: Tonight,
    baseline: Baseline,
    earlier: tuple[Sequence[PastNight], Sequence[PastNight]],
    compared: tuple[_Comparable, list[NDArray[np.int64]], list[str]],
    rules: Nightly,
) -> Decision:
    held, before = earlier
    side = tonight.side
    comparable, tables, questions = compared
    test = stats.drift_test(tables, tolerance=rules.tolerance)
    known = [p for p in held if p.entry.decision.tested]
    last = known[-1].entry.decision if known else None
    alarm_at = stats.alarm_threshold(rules.false_alarms_per_year)
    found = stats.AccumulatedEvidence(bets=last.bets) if last and last.bets else stats.AccumulatedEvidence()
    was_changed = last is not None and last.state == "changed"
    windows = () if was_changed else _window_p_values(side, comparable, _nights_since_reset(known), rules.tolerance)
    found = found.add_night(test.p_value, windows)
    state, calm, since, until = _next_state(tonight.night, test.p_value, windows, found.value >= alarm_at, last, known)
    if was_changed and state == "ok":
        found = stats.AccumulatedEvidence()
    excess = stats.divergence_over_prompts(_without_nan(test.by_prompt))
    telling = _most_telling_prompts(test.by_prompt, questions, baseline, side) if state == "changed" else ()
    return Decision(
        state=state,
        tested=True,
        reason=_explain_state(state, was_changed, side, baseline),
        baseline=baseline.key,
        p_value=test.p_value,
        windows=windows,
        excess=excess,
        match=_match_baseline(side, baseline),
        floor=baseline.floor,
        bets=found.bets,
        evidence=found.value,
        alarm_at=alarm_at,
        calm=calm,
        since=since,
        until=until,
        telling=telling,
        events=_tonights_events(tonight, before, baseline),
        lines=compare_measures(side, baseline, rules.tolerance),
    )


def _next_state(
    night: str,
    p_value: float,
    windows: Sequence[float],
    alarmed: bool,
    last: Decision | None,
    known: Sequence[PastNight],
) -> tuple[State, int, str | None, str | None]:
    """The state, the calm nights so far, and of a change the first night and the last one before it."""
    if last is not None and last.state == "changed":
        calm = last.calm + 1 if p_value > CALM_P else 0
        return ("ok", 0, None, None) if calm >= CALM_NIGHTS else ("changed", calm, last.since, last.until)
    if not alarmed:
        return "ok", 0, None, None
    run = _nights_since_reset(known)
    p_values = [p.entry.decision.p_value or 1.0 for p in run] + [p_value]
    names = [p.night for p in run] + [night]
    first = stats.change_point(p_values, windows)
    return "changed", 0, names[first], names[first - 1] if first else None


def _nights_since_reset(known: Sequence[PastNight]) -> list[PastNight]:
    """The nights since the evidence last began anew."""
    starts = [i for i, p in enumerate(known) if p.entry.decision.state == "changed"]
    return list(known[starts[-1] + 1 :]) if starts else list(known)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Comparable:
    """What tonight may be held against: same settings, same block of the day, not of changed nights."""

    baseline: tuple[Side, ...]
    nights: tuple[PastNight, ...]

    def sides(self, without: int = 0) -> list[Side]:
        """All of it, `without` so many last nights."""
        return [*self.baseline, *(p.entry.side for p in self.nights[: len(self.nights) - without])]

    def pool(self, basis: Basis, without: int = 0) -> dict[str, Counter[str]]:
        """All answers, `without` those of so many last nights."""
        return _pool_texts(self.sides(without), basis)


def _find_comparable(side: Side, baseline: Baseline, held: Sequence[PastNight], blocks: int) -> _Comparable:
    left_out = {n for p in held for n in _changed_nights(p, held)}

    def fits(one: Side) -> bool:
        return one.settings == side.settings and _time_block(one, blocks) == _time_block(side, blocks)

    return _Comparable(
        baseline=tuple(one for one in baseline.sides if fits(one)),
        nights=tuple(p for p in held if p.entry.decision.tested and p.night not in left_out and fits(p.entry.side)),
    )


def _window_p_values(
    side: Side, comparable: _Comparable, fresh: Sequence[PastNight], tolerance: float
) -> tuple[float, ...]:
    """p-values of tonight together with the nights just before it; `fresh` are those since the evidence began anew."""
    usable = {p.night for p in fresh}
    found = []
    for nights in stats.WINDOWS:
        last = comparable.nights[len(comparable.nights) - nights + 1 :] if len(comparable.nights) >= nights - 1 else ()
        if len(last) < nights - 1 or any(p.night not in usable for p in last):
            break
        together = [*(p.entry.side for p in last), side]
        basis = find_common_basis([*together, *comparable.sides(nights - 1)])
        tables, _ = _contingency_tables(_pool_texts(together, basis), comparable.pool(basis, nights - 1))
        found.append(stats.drift_test(tables, tolerance=tolerance).p_value)
    return tuple(found)


def _pool_texts(sides: Iterable[Side], basis: Basis) -> dict[str, Counter[str]]:
    pool: dict[str, Counter[str]] = {}
    for one in sides:
        for question, texts in one.texts_by(basis).items():
            pool.setdefault(question, Counter()).update(texts)
    return pool


def _changed_nights(found: PastNight, held: Sequence[PastNight]) -> list[str]:
    decision = found.entry.decision
    if decision.state != "changed" or decision.since is None:
        return []
    return [p.night for p in held if decision.since <= p.night <= found.night]


def _time_block(side: Side, blocks: int) -> int:
    if blocks == 1 or not side.started_at:
        return 0
    return datetime.fromisoformat(side.started_at).hour * blocks // 24


def _contingency_tables(
    tonight: TextCounts, pool: Mapping[str, Mapping[str, int]]
) -> tuple[list[NDArray[np.int64]], list[str]]:
    """A 2 x K table for each question that both sides answered twice or more."""
    tables, questions = [], []
    for name in sorted(tonight.keys() & pool.keys()):
        ours, theirs = tonight[name], pool[name]
        if sum(ours.values()) >= 2 and sum(theirs.values()) >= 2:
            texts = sorted(ours.keys() | theirs.keys())
            rows = [[row.get(t, 0) for t in texts] for row in (ours, theirs)]
            tables.append(np.array(rows, dtype=np.int64))
            questions.append(name)
    return tables, questions


def _match_baseline(side: Side, baseline: Baseline) -> Estimate:
    """Cross-EMR with the baseline itself, which stays what it was however many nights follow."""
    basis = find_common_basis([side, *baseline.sides])
    pool = _pool_texts(baseline.sides, basis)
    shares = [
        sum(number * pool[q].get(text, 0) for text, number in texts.items()) / (sum(texts.values()) * pool[q].total())
        for q, texts in side.texts_by(basis).items()
        if q in pool
    ]
    return stats.share_over_prompts(np.array(shares, dtype=np.float64))


def _most_telling_prompts(
    by_prompt: Sequence[float], questions: Sequence[str], baseline: Baseline, side: Side
) -> tuple[TellingPrompt, ...]:
    known = [(d, q) for d, q in zip(by_prompt, questions, strict=True) if d > 0]
    shown = {q: text for one in baseline.sides for q, text in one.shown.items()}
    return tuple(
        TellingPrompt(prompt=q.rpartition("#")[0], excess=d, before=shown.get(q, ""), now=side.shown.get(q, ""))
        for d, q in sorted(known, key=lambda found: (-found[0], found[1]))[:MOST_TELLING_PROMPTS]
    )


def _decide_without_data(baseline: Baseline | None, before: Sequence[PastNight], share: str) -> Decision:
    """An outage leaves the evidence as it was; it is neither a change nor an agreement."""
    missing = 1 + (before[-1].entry.decision.missing if before else 0)
    key = baseline.key if baseline else None
    long = f"; night {missing} in a row" if missing > 1 else ""
    return Decision(state="no data", tested=False, reason=share + long, baseline=key, missing=missing)


def _tonights_events(
    tonight: Tonight, before: Sequence[PastNight], baseline: Baseline | None = None
) -> tuple[NightEvent, ...]:
    with_data = [p for p in before if p.entry.decision.missing == 0]
    alike = [p.entry.side for p in with_data if p.depth == tonight.depth]
    if not alike and baseline is not None:
        alike = list(baseline.sides)
    return find_events(tonight.side, alike, [p.entry.side for p in with_data] or alike)


def _explain_state(state: State, was_changed: bool, side: Side, baseline: Baseline) -> str:
    if state == "changed":
        return "its answers are no longer those of its baseline"
    back = "its answers are those of its baseline again" if was_changed else "no change found"
    before, now = count_comparable_answers([side]), count_comparable_answers(baseline.sides)
    by = ""
    if find_common_basis([side, *baseline.sides]) == "spoken":
        by = "; only one of the two shows reasoning, so they are compared by the rest"
    return f"{back} ({before} answers tonight, {now} in the baseline{by})"


def _without_nan(values: Sequence[float]) -> NDArray[np.float64]:
    found = np.array(values, dtype=np.float64)
    return found[~np.isnan(found)]
