"""Decisions over many nights: replicas that take turns, changes that stay or end, and pools that are frozen."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tempzero import stats
from tempzero.config import Gates, Nightly
from tempzero.errors import RunFolderError
from tempzero.nightly import history
from tempzero.nightly.history import Baseline, Decision, Night, NightEntry, Side, Tonight
from tempzero.nightly.history.known_states import FULL, find_known_states, split_baseline
from tempzero.types.concluded import LevelName

PROMPTS = 20
LEVELS: tuple[LevelName, LevelName] = ("rounding", "beyond")


def side(texts: Sequence[str], *, settings: str = "s") -> Side:
    """One night: a text for each prompt, given three times."""
    return Side(
        provider="p",
        run="r",
        started_at="",
        ended_at="",
        settings=settings,
        planned=3 * PROMPTS,
        answered=3 * PROMPTS,
        texts={f"p{j}#0": {text: 3} for j, text in enumerate(texts)},
        answers={},
        values={},
        prompt_tokens={},
        refused=(),
        labels={},
        price=None,
        latency_s=None,
    )


def with_changed(prompts: int, text: str = "new") -> Side:
    return side([text] * prompts + ["usual"] * (PROMPTS - prompts))


class History:
    """Nights of one provider, decided one after the other."""

    def __init__(self, base: Iterable[Side] = (with_changed(0),) * 3) -> None:
        floor = stats.share_over_prompts(np.ones(PROMPTS))
        self.baseline = Baseline(
            format=history.FORMAT, provider="p", set_at="", suite_digest="d", floor=floor, sides=tuple(base)
        )
        self.nights: list[Night] = []

    def night(self, tonight: Side) -> Decision:
        label = f"2026-{len(self.nights) // 28 + 1:02}-{len(self.nights) % 28 + 1:02}"
        past = history.gather_past_nights(self.nights, label)["p"]
        asked = Tonight(night=label, depth="nightly", side=tonight)
        decision = history.decide_tonight(asked, self.baseline, past, Nightly(), Gates())
        entry = NightEntry(side=tonight, decision=decision)
        self.nights.append(Night(format=history.FORMAT, night=label, run="r", created_at="", entries=(entry,)))
        return decision

    def states(self, nights: Iterable[Side]) -> list[str]:
        return [self.night(one).state for one in nights]

    def told(self) -> list[tuple[str, str]]:
        return [(n.night, n.kind) for n in history.find_notices(self.nights, no_data_nights=2)]


def test_one_prompt_that_changed_for_good_is_found_and_named() -> None:
    """One near-tie that flips is chance; one prompt that stays another is a change, and it is said which."""
    watched = History()
    assert watched.states([with_changed(0)] * 30) == ["ok"] * 30
    found = [watched.night(with_changed(1)) for _ in range(3)]
    assert [one.state for one in found][-1] == "changed"
    alarm = next(one for one in found if one.alarms)
    assert alarm.changed_prompts == ("p0",)
    assert alarm.since == "2026-02-03"
    assert alarm.until == "2026-02-02"


def test_a_change_that_stays_is_never_cleared_and_never_joins_the_pool() -> None:
    """Changed nights that joined the pool used to make a change look like what it had always been."""
    watched = History()
    watched.states([with_changed(0)] * 10)
    states = watched.states([with_changed(2)] * 60)
    assert set(states[5:]) <= {"changed", "not seen"}
    past = history.gather_past_nights(watched.nights, "~")["p"]
    (first, second) = find_known_states(watched.baseline.sides, past, lambda _: True, 0.05)
    assert first.opened is None
    assert all(text == {"usual": 3} for one in first.pool for text in one.texts.values())
    assert len(second.pool) <= FULL
    assert [kind for _, kind in watched.told()] == ["changed"]


def test_a_change_that_went_back_is_cleared_after_five_nights_and_told() -> None:
    """An all-clear is earned by nights that match again, and a few are too few."""
    watched = History()
    watched.states([with_changed(0)] * 10)
    watched.states([with_changed(10)] * 5)
    states = watched.states([with_changed(0)] * 6)
    assert states == ["not seen"] * 4 + ["ok"] * 2
    assert [kind for _, kind in watched.told()] == ["changed", "ok again"]


def test_replicas_that_take_turns_alarm_once_and_a_third_text_alarms_again() -> None:
    """A provider with two builds behind one name used to alarm 28 times a year; a new one must still be seen."""
    watched = History()
    moods = [with_changed(6 * (night // 5 % 2)) for night in range(60)]
    states = watched.states(moods)
    alarms = [n.night for n in watched.nights for e in n.entries if e.decision.alarms]
    assert len(alarms) == 1
    assert set(states[-30:]) == {"known state"}
    kinds = [kind for _, kind in watched.told()]
    assert kinds.count("changed") == 1
    assert kinds.count("known state") == 1
    decision = watched.night(with_changed(6, "third"))
    assert decision.alarms
    assert decision.known_state == "C"


def test_a_known_state_that_comes_back_after_long_is_told() -> None:
    """A worse build that returns after two months is no new change, and still worth a message."""
    watched = History()
    watched.states([with_changed(0)] * 10 + [with_changed(10)] * 8 + [with_changed(0)] * 40)
    assert [kind for _, kind in watched.told()] == ["changed", "ok again"]
    decision = watched.night(with_changed(10))
    assert (decision.state, decision.alarms) == ("known state", False)
    watched.states([with_changed(10)] * 3 + [with_changed(0)] * 35)
    assert [kind for _, kind in watched.told()][2:] == ["known state"]
    watched.states([with_changed(10)] * 3)
    assert [kind for _, kind in watched.told()][2:] == ["known state"] * 2


def test_states_that_the_baseline_has_seen_are_no_news() -> None:
    """Whoever pools runs of both replicas has said that both are usual."""
    base = [with_changed(0), with_changed(8), with_changed(0), with_changed(8)]
    assert [len(group) for group in split_baseline(base, 0.05)] == [2, 2]
    assert [len(group) for group in split_baseline([with_changed(0)] * 4, 0.05)] == [4]
    watched = History(base)
    assert set(watched.states([with_changed(0), with_changed(8)] * 6)) == {"ok"}
    assert watched.night(with_changed(20, "other")).alarms


def test_an_honest_engine_in_the_place_of_another_accuses_nobody() -> None:
    """Another engine gives other texts; what the reference reads as rounding is told, and is no alarm."""
    honest, coarse = (replace(with_changed(9), level=level) for level in LEVELS)
    watched = History()
    watched.states([with_changed(0)] * 10)
    found = watched.night(honest)
    assert (found.state, found.alarms, found.known_state) == ("other computation", False, "B")
    assert watched.states([honest] * 5) == ["known state"] * 5
    assert [kind for _, kind in watched.told()] == ["other computation"]
    alarm = watched.night(replace(coarse, texts=with_changed(12, "coarse").texts))
    assert (alarm.state, alarm.alarms, alarm.known_state) == ("changed", True, "C")
    assert "more than rounding" in alarm.reason
    other = History([replace(with_changed(0), level="beyond")] * 3)
    other.states([with_changed(0)] * 10)
    assert other.night(honest).state == "changed", "a coarse baseline that became honest has changed"


@pytest.mark.parametrize(
    ("before", "tonight", "state"),
    [
        ("declared", "declared", "other computation"),
        ("rounding", "declared", "changed"),
        ("declared", "rounding", "changed"),
    ],
)
def test_weights_as_coarse_as_declared_are_no_change_only_where_they_were_before(
    before: LevelName, tonight: LevelName, state: str
) -> None:
    """A host that declares four bits and served sixteen until now has changed, though it may say so."""
    watched = History([replace(with_changed(0), level=before)] * 3)
    watched.states([with_changed(0)] * 10)
    found = watched.night(replace(with_changed(9), level=tonight))
    assert (found.state, found.alarms) == (state, state == "changed")


@pytest.mark.parametrize("state", ["ok", "changed"])
def test_nights_decided_by_an_older_version_are_read(state: history.State) -> None:
    """A history outlives an update; nights that were changed then are nobody's pool."""
    watched = History()
    watched.states([with_changed(0)] * 3)
    decision = Decision(state=state, tested=True, reason="", baseline=watched.baseline.key, since="2026-01-04")
    entry = NightEntry(side=with_changed(0 if state == "ok" else 20), decision=decision)
    watched.nights.append(Night(format=1, night="2026-01-04", run="r", created_at="", entries=(entry,)))
    assert watched.night(with_changed(0)).state == {"ok": "ok", "changed": "not seen"}[state]


def test_a_night_in_another_format_is_not_called_damaged(tmp_path: Path) -> None:
    """What an older build wrote is whole: who reads it is told which format it has, and what to do."""
    night = Night(format=history.FORMAT, night="2026-01-01", run="r", created_at="", entries=())
    file = history.write_night(tmp_path, night)
    assert history.read_nights(tmp_path) == (night,)
    older = json.loads(file.read_text()) | {"format": history.FORMAT - 1, "entries": "as it was then"}
    file.write_text(json.dumps(older))
    with pytest.raises(RunFolderError, match=r"written in format 1; this tempzero reads 2: move it away"):
        history.read_nights(tmp_path)
    file.write_text('{"format": 2, "night": 7}')
    with pytest.raises(RunFolderError, match="damaged"):
        history.read_nights(tmp_path)
