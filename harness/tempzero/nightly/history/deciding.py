"""A baseline, the nights before and tonight's answers in, a Decision out. Pure: same files, same decision."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from tempzero import stats
from tempzero.config import Gates, Nightly
from tempzero.nightly.history.compared_measures import compare_measures, count_comparable_answers
from tempzero.nightly.history.known_states import (
    KnownState,
    PastNight,
    StateEvidence,
    count_texts,
    find_known_states,
    name_known_state,
    weigh_against_state,
)
from tempzero.nightly.history.night_events import find_events
from tempzero.nightly.history.nights import (
    CHANGED_STATES,
    Baseline,
    Basis,
    Decision,
    Depth,
    NightEvent,
    Side,
    TellingPrompt,
    find_common_basis,
)
from tempzero.types.concluded import Estimate, LevelName

MOST_TELLING_PROMPTS = 10
# Tonight's texts against the reference: an honest host that rounds otherwise, and no accusation.
SAME_LEVELS: frozenset[LevelName | None] = frozenset({"identical", "rounding"})
# Spans of nights after an alarm that may show that it is over, and the e-value of a change that forbids saying so.
CLEARING_SPANS, FORBIDDING = (5, 7, 10, 14, 21, 28), 20.0


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
    """Hold tonight against the baseline and every state that has become known since."""
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
    events = _tonights_events(tonight, before, baseline)
    watch = _Watch(tonight, baseline, before, rules)
    if len(watch.questions) < gates.min_prompts:
        return Decision(
            state="no baseline",
            tested=False,
            reason=f"{len(watch.questions)} prompts can be held against the baseline; {gates.min_prompts} are needed "
            "(same words, same settings, same time of day)",
            baseline=baseline.key,
            events=events,
        )
    return replace(watch.decide(), events=events)


class _Watch:
    """One provider tonight: the states known so far, and what tonight is under each of them."""

    def __init__(self, tonight: Tonight, baseline: Baseline, before: Sequence[PastNight], rules: Nightly) -> None:
        self.tonight, self.baseline, self.rules = tonight, baseline, rules
        self.alarm_at = stats.alarm_threshold(rules.false_alarms_per_year)
        held = [p for p in before if p.entry.decision.baseline == baseline.key and p.entry.decision.tested]
        self.held = held
        self.last = held[-1].entry.decision if held else None
        self.states = find_known_states(baseline.sides, held, self._fits, rules.tolerance)
        sides = [tonight.side, *(side for state in self.states for side in state.pool)]
        self.basis: Basis = find_common_basis(sides)
        self.questions = self._comparable_questions()

    def _fits(self, one: Side) -> bool:
        """Whether it may be held against tonight: same settings, same block of the day."""
        side, blocks = self.tonight.side, self.rules.time_blocks
        return one.settings == side.settings and _time_block(one, blocks) == _time_block(side, blocks)

    def _comparable_questions(self) -> list[str]:
        """Those that tonight and the baseline answered twice or more each."""
        known: dict[str, int] = {}
        for state in self.states:
            for one in state.base if state.opened is None else ():
                for question, texts in one.texts_by(self.basis).items():
                    known[question] = known.get(question, 0) + sum(texts.values())
        ours = self.tonight.side.texts_by(self.basis)
        return sorted(q for q, texts in ours.items() if sum(texts.values()) >= 2 and known.get(q, 0) >= 2)

    @property
    def home(self) -> tuple[str, ...]:
        """Names of the states that are no news."""
        own = tuple(state.name for state in self.states if state.opened is None)
        return tuple(dict.fromkeys((*own, *(self.last.home if self.last else ()))))

    def weigh(self, state: KnownState) -> StateEvidence:
        """Tonight, with the last nights of that state, against it."""
        one = self.tonight
        return weigh_against_state(one.night, one.side, state, self.questions, self.basis, self.rules.tolerance)

    def decide(self) -> Decision:
        """The state of tonight, with the figures behind it."""
        found = [self.weigh(state) for state in self.states]
        lowest = min(found, key=lambda one: one.value)
        if lowest.value >= self.alarm_at:
            return self._alarm(lowest)
        fitting = [one for one in found if one.value < self.alarm_at]
        own = max(fitting, key=lambda one: one.match)
        settled = len(found) > 1 and len(fitting) == 1
        was_changed = self.last is not None and self.last.state in CHANGED_STATES
        if was_changed:
            return self._go_on(own, settled)
        return self._stay_quiet(own, settled)

    def _alarm(self, against: StateEvidence) -> Decision:
        opened = sum(bool(p.entry.decision.window) for p in self.held)
        groups = sum(state.opened is None for state in self.states)
        window = against.window
        until = [p.night for p in self.held if p.night < window[0]]
        side, home = self.tonight.side, self.home
        name = name_known_state(groups + opened)
        same = _is_same_computation(side, self.baseline.sides)
        return replace(
            self._figures(against),
            state="other computation" if same else "changed",
            reason=_explain_alarm(side, same, len(self.states)),
            home=(*home, name) if same else home,
            known_state=name,
            window=window,
            since=window[0],
            until=until[-1] if until else None,
        )

    def _stay_quiet(self, own: StateEvidence, settled: bool) -> Decision:
        """No change was under way: a known state it is, or it is what it was."""
        name, home = own.state.name, self.home
        if name in home or not settled:
            name = name if name in home else home[0]
            return replace(self._quiet(own, home), known_state=name, settled=settled)
        home = (*home, name)
        return replace(self._quiet(own, home), known_state=name, settled=True)

    def _quiet(self, own: StateEvidence, home: tuple[str, ...]) -> Decision:
        several = [s for s in self.states if s.name in home]
        if all(s.opened is None for s in several):
            return replace(self._figures(own), state="ok", reason=self._describe_quiet("no change found"), home=home)
        met = ", ".join(f"{s.name} {s.met + (s is own.state)} nights" for s in several)
        reason = f"one of several known states, none of them new: {met}; tonight {own.state.name}"
        return replace(self._figures(own), state="known state", reason=reason, home=home)

    def _go_on(self, own: StateEvidence, settled: bool) -> Decision:
        """A change was under way: still seen, not seen tonight, over, or one of two states that take turns."""
        last, name, home = self.last, own.state.name, self.home
        assert last is not None
        since = [p for p in self.held if last.since is not None and p.night >= last.since]
        went_home = any(p.entry.decision.settled and p.entry.decision.known_state in home for p in since)
        if settled and name not in home and went_home:
            return replace(self._quiet(own, (*home, name)), known_state=name, settled=True)
        after = [p for p in since if not (p.entry.decision.window or _in_window(p.night, since))]
        lost, margin = self._match_lost(after)
        if lost < margin:
            back = replace(self._quiet(own, home), known_state=name, settled=settled, lost=lost, margin=margin)
            return replace(
                back, reason=self._describe_quiet(f"as before again: it lost less than {margin:.3f} of its match")
            )
        seen = own if name in home else self._weigh_consecutive(since)
        changed = seen.value >= self.alarm_at
        words = "its answers are no longer those of its baseline" if changed else _NOT_SEEN
        return replace(
            self._figures(seen),
            state="changed" if changed else "not seen",
            reason=words,
            known_state=name,
            settled=settled,
            since=last.since,
            until=last.until,
            lost=lost if math.isfinite(lost) else None,
            margin=margin if math.isfinite(lost) else None,
        )

    def _weigh_consecutive(self, since: Sequence[PastNight]) -> StateEvidence:
        """The nights since the change, whatever state they were taken for, against the baseline's own."""
        nights = tuple(p for p in since if self._fits(p.entry.side))
        own = [state for state in self.states if state.opened is None]
        found = [self.weigh(replace(state, nights=(*state.nights[: state.joined], *nights))) for state in own]
        return min(found, key=lambda one: one.value)

    def _match_lost(self, after: Sequence[PastNight]) -> tuple[float, float]:
        """Upper bound of the match lost over the spans that end tonight, the lowest, and what it must stay below.

        Infinite where too few nights have passed, or where the last of them still tell of a change.
        """
        sides = [*(p.entry.side for p in after if self._fits(p.entry.side)), self.tonight.side]
        homes = [state for state in self.states if state.name in self.home]
        bounds = [(math.inf, 0.0)]
        for nights in CLEARING_SPANS:
            if nights <= len(sides):
                bounds += [
                    _bound_loss(sides[-nights:], state.pool, self.questions, self.basis, self.rules) for state in homes
                ]
        return min(bounds, key=lambda one: one[0] - one[1])

    def _figures(self, shown: StateEvidence) -> Decision:
        side, baseline, test = self.tonight.side, self.baseline, shown.test
        alarms = shown.value >= self.alarm_at
        named = sorted(
            (q for q, e in shown.telling.items() if e >= math.log(stats.TELLING_PROMPT)),
            key=lambda q: -shown.telling[q],
        )
        return Decision(
            state="ok",
            tested=True,
            reason="",
            baseline=baseline.key,
            p_value=test.p_value,
            excess=stats.divergence_over_prompts(_without_nan(test.by_prompt)),
            match=_match_baseline(side, baseline),
            floor=baseline.floor,
            evidence=shown.value,
            alarm_at=self.alarm_at,
            spread=shown.spread,
            home=self.home,
            changed_prompts=tuple(q.rpartition("#")[0] for q in named) if alarms else (),
            telling=_most_telling_prompts(shown, self.questions, baseline, side) if alarms else (),
            lines=compare_measures(side, baseline, self.rules.tolerance),
        )

    def _describe_quiet(self, words: str) -> str:
        side, sides = self.tonight.side, self.baseline.sides
        before, now = count_comparable_answers([side]), count_comparable_answers(sides)
        by = ""
        if find_common_basis([side, *sides]) == "spoken":
            by = "; only one of the two shows reasoning, so they are compared by the rest"
        return f"{words} ({before} answers tonight, {now} in the baseline{by})"


def _is_same_computation(side: Side, baseline: Sequence[Side]) -> bool:
    """Whether rounding explains that tonight's answers are new: all are the reference's, or all coarse as declared."""
    if side.level == "declared":
        return all(one.level == "declared" for one in baseline)
    return side.level in SAME_LEVELS and all(one.level not in ("beyond", "declared") for one in baseline)


_NOT_SEEN = "too little speaks for a change tonight, and too little for its being over"


def _explain_alarm(side: Side, same: bool, states: int) -> str:
    """What is new, and what reading says of it, with the figures."""
    figures = f" ({side.level_words})" if side.level_words else ""
    if same:
        return f"other texts than before, and the reference finds no more than rounding in them{figures}"
    known = "" if states == 1 else f", nor of any of the {states} states that are known"
    changed = f"its answers are no longer those of its baseline{known}"
    if side.level == "beyond":
        return f"{changed}; they differ from the reference by more than rounding{figures}"
    if side.level in SAME_LEVELS:
        return f"{changed}; they are the reference's up to rounding, which those of the baseline were not{figures}"
    if side.level == "declared":
        return f"{changed}; they are rounded as it declares, which those of the baseline were not{figures}"
    unknown = f"{changed}; whether by more than rounding is not known"
    if side.level == "undecided":
        return f"{unknown}{figures}"
    return f"{unknown}: let the reference read them (`tempzero score`)"


def _in_window(night: str, since: Iterable[PastNight]) -> bool:
    return any(night in p.entry.decision.window for p in since)


def _bound_loss(
    sides: Sequence[Side], pool: Sequence[Side], questions: Sequence[str], basis: Basis, rules: Nightly
) -> tuple[float, float]:
    counted = count_texts([*sides, *pool], basis, questions).counts
    nights, both = counted[: len(sides)], counted[len(sides) :].sum(axis=0)
    number = both.sum(axis=1)
    known = number > 1
    own = (both * (both - 1)).sum(axis=1)[known] / (number * (number - 1))[known]
    margin = rules.tolerance * float(own.mean()) if known.any() else 0.0
    batch = nights.sum(axis=0)
    odds = np.array([stats.odds_tolerated(len(nights), len(pool), 0.0)])
    evidence = stats.weigh_windows(batch[None], (batch + both)[None], odds).total[0]
    if evidence >= math.log(FORBIDDING):
        return math.inf, margin
    return float(stats.upper_loss(stats.loss_of_match(nights, both))), margin


def _time_block(side: Side, blocks: int) -> int:
    if blocks == 1 or not side.started_at:
        return 0
    return datetime.fromisoformat(side.started_at).hour * blocks // 24


def _match_baseline(side: Side, baseline: Baseline) -> Estimate:
    """Cross-EMR with the baseline itself, which stays what it was however many nights follow."""
    basis = find_common_basis([side, *baseline.sides])
    counted = count_texts([side, *baseline.sides], basis)
    ours, pool = counted.counts[0], counted.counts[1:].sum(axis=0)
    known = pool.sum(axis=1) > 0
    shares = (ours * pool).sum(axis=1)[known] / (ours.sum(axis=1) * pool.sum(axis=1))[known]
    return stats.share_over_prompts(shares)


def _most_telling_prompts(
    shown: StateEvidence, questions: Sequence[str], baseline: Baseline, side: Side
) -> tuple[TellingPrompt, ...]:
    """By what each prompt says alone, the window's nights together; then by tonight's excess divergence."""
    excess = dict(zip(questions, shown.test.by_prompt, strict=True))
    known = [(-shown.telling.get(q, 0.0), -d, q) for q, d in excess.items() if d > 0 or q in shown.telling]
    texts = {q: text for one in baseline.sides for q, text in one.shown.items()}
    return tuple(
        TellingPrompt(prompt=q.rpartition("#")[0], excess=-d, before=texts.get(q, ""), now=side.shown.get(q, ""))
        for _, d, q in sorted(known)[:MOST_TELLING_PROMPTS]
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


def _without_nan(values: Sequence[float]) -> NDArray[np.float64]:
    found = np.array(values, dtype=np.float64)
    return found[~np.isnan(found)]
