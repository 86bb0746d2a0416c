"""Nights of a model that thinks: its reasoning is compared like any other output, and told apart where it is hidden."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import msgspec
from evidence import attempt, run_of
from tempzero.analysis import analyse
from tempzero.config import Gates, Nightly
from tempzero.nightly.baseline import make_baselines
from tempzero.nightly.history import Baseline, Decision, Side, Tonight, condense_run, decide_tonight
from tempzero.records import Run
from tempzero.types.concluded import Estimate, Figure
from tempzero.types.recorded import Attempt
from tempzero.types.vocabulary import PartName

PROMPTS, REPEATS = 8, 4


def thinking(thought: str | None, text: str = "four") -> list[Attempt]:
    return [
        attempt("a", f"p{i}", r, text, reasoning=thought and f"{thought} {i}")
        for i in range(PROMPTS)
        for r in range(REPEATS)
    ]


def run_with(folder: Path, given: Iterable[Attempt]) -> Run:
    return run_of(folder, given, prompts=PROMPTS)


def side_of(run: Run) -> Side:
    return next(side for side in condense_run(run, analyse(run)) if side.provider == "a")


def baseline_of(run: Run) -> Baseline:
    (made,) = make_baselines([run], only=["a"], now="2026-01-02T03:04:05+00:00")
    return made


def decided(side: Side, baseline: Baseline) -> Decision:
    tonight = Tonight(night="2026-01-03", depth="nightly", side=side)
    return decide_tonight(tonight, baseline, (), Nightly(), Gates())


def test_other_reasoning_is_a_change(tmp_path: Path) -> None:
    """The same short text behind another line of thought is another model: a night that compares texts is blind."""
    before = run_with(tmp_path / "before", thinking("let me see"))
    after = run_with(tmp_path / "after", thinking("well now"))
    found = decided(side_of(after), baseline_of(before))
    assert (found.state, found.excess and found.excess.value) == ("changed", 1.0)
    assert found.events == ()
    assert found.telling[0].before == "let me see 0\nfour"
    assert decided(side_of(before), baseline_of(before)).state == "ok"


def test_reasoning_that_is_no_longer_shown_is_an_event_of_its_own(tmp_path: Path) -> None:
    """What both nights show is compared; that one of them hides the rest is said in plain words, and told."""
    shown = run_with(tmp_path / "shown", thinking("let me see"))
    hidden = run_with(tmp_path / "hidden", thinking(None))
    for now, before, words in (
        (hidden, shown, ("shown in 32 of 32 answers", "shown in 0 of 32 answers")),
        (shown, hidden, ("shown in 0 of 32 answers", "shown in 32 of 32 answers")),
    ):
        found = decided(side_of(now), baseline_of(before))
        assert (found.state, found.excess and found.excess.value) == ("ok", 0.0)
        assert "only one of the two shows reasoning, so they are compared by the rest" in found.reason
        (event,) = found.events
        assert (event.what, event.telling, event.before, event.now) == ("reasoning", True, *words)
    other = decided(side_of(run_with(tmp_path / "other", thinking(None, "five"))), baseline_of(shown))
    assert other.state == "changed", "hiding the reasoning hides no other change"


def test_a_baseline_of_before_holds_texts_only_and_raises_no_alarm(tmp_path: Path) -> None:
    """Files of an older version knew nothing of reasoning; an update of the tool is no change of the provider."""
    thoughtful, plain = (run_with(tmp_path / name, thinking(t)) for name, t in (("now", "let me see"), ("old", None)))
    old = baseline_of(plain)
    stored = msgspec.to_builtins(replace(old, sides=tuple(replace(s, reasoned=None) for s in old.sides)))
    for side in stored["sides"]:
        del side["reasoned"], side["spoken"]
    found = decided(side_of(thoughtful), msgspec.convert(stored, Baseline))
    assert (found.state, found.events) == ("ok", ())


def test_an_empty_answer_is_one_of_the_answers_of_a_night(tmp_path: Path) -> None:
    """A provider that falls silent where it used to speak has changed."""
    before = run_with(tmp_path / "before", thinking(None))
    silent = [attempt("a", f"p{i}", r, "", kind="empty") for i in range(PROMPTS) for r in range(REPEATS)]
    assert decided(side_of(run_with(tmp_path / "after", silent)), baseline_of(before)).state == "changed"


def test_a_part_is_held_against_the_same_part_of_before(tmp_path: Path) -> None:
    """Agreement of the reasoning beside that of whole answers: the mean of the two is the usual value of neither."""
    run = run_with(tmp_path, thinking("let me see"))

    def agreeing(whole: float, reasoning: float) -> Side:
        values: dict[PartName, float] = {"whole": whole, "reasoning": reasoning}
        figures = tuple(
            Figure(
                kind="reference",
                metric="cross_emr",
                left="a",
                right="ref",
                condition="default",
                family=None,
                k=None,
                unit="share",
                part=part,
                estimate=Estimate(value=value, low=0.0, high=1.0, n=PROMPTS, method="by hand"),
            )
            for part, value in values.items()
        )
        return replace(side_of(run), figures=figures)

    before = replace(baseline_of(run), sides=(agreeing(0.75, 0.25),))
    told = {line.measure: line.before for line in decided(agreeing(1.0, 1.0), before).lines}
    assert told["reference: cross_emr (ref)"] == 0.75
    assert told["reference: cross_emr, the reasoning (ref)"] == 0.25
