"""An honest host is told from forms that would have missed what it did not; else it is said what would tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from tempzero.attribute import ReportedAnswer, attribute_reading
from tempzero.attribute.alike_forms import describe_alike_forms
from tempzero.types.scored import FormReading, Reading, ScoredResponse, SuspectReading

from attribute import simulated
from attribute.simulated import REFERENCE, World, greedy, read_suspect, read_unchanged, rounding

WORLD = World(seed=11, length=30)
PROMPTS = 14


def _answer_all(provider: str, scale: float) -> list[ScoredResponse]:
    found = []
    for prompt in range(PROMPTS):
        tokens, rows = WORLD.answer(rounding(scale) if scale else greedy, prompt, 1)
        found.append(simulated.scored(WORLD, provider, prompt, 0, tokens, rows))
    return found


def _form_that_misses(places: int) -> list[FormReading]:
    """A form of an honest host's size of rounding that misses so many of the reference's own tokens."""
    read = simulated.form(WORLD, "q8_0", False, greedy, range(PROMPTS), 0.1)
    return [replace(one, margin=(0.1 if i < places else 0.0, *one.margin[1:])) for i, one in enumerate(read)]


def _say(run: Sequence[ScoredResponse], forms: Sequence[FormReading], *suspects: SuspectReading) -> str:
    own = _answer_all(REFERENCE, 0.0)
    lines = (read_unchanged(run), *suspects)
    reading = Reading(readers=(simulated.READER,), scored=(*own, *run), forms=tuple(forms), suspects=lines)
    answers: dict[object, ReportedAnswer] = {}
    found = attribute_reading(reading, answers, [f"p{i}" for i in range(PROMPTS)], ())  # type: ignore[arg-type]
    (diagnosis,) = found.reading.diagnoses
    (judgement,) = found.judgements
    assert diagnosis.cause == "faithful"
    assert ("cannot be told" in diagnosis.message) == bool(judgement.alike)
    assert (diagnosis.strength == "shown") != bool(judgement.alike)
    return diagnosis.message


@pytest.mark.parametrize(("missed", "alike"), [(0, True), (4, True), (5, False), (12, False)])
def test_tokens_that_a_form_would_have_missed_tell_a_host_from_it(missed: int, alike: bool) -> None:
    """A host that gave every token of the reference is not of a form that misses five of these tokens."""
    said = _say(_answer_all("x", 0.0), _form_that_misses(missed))
    assert ("cannot be told from q8_0" in said) == alike


def test_how_many_tokens_would_tell_is_said() -> None:
    """Four of 434 tokens were the form's misses: five in a row would do, so a quarter more of the same."""
    assert "about 550 tokens would tell" in _say(_answer_all("x", 0.0), _form_that_misses(4))


def test_a_form_that_read_the_hosts_own_tokens_is_compared_on_them() -> None:
    """A host that rounds as much as a form does is told from it by which tokens it turned."""
    run = _answer_all("x", 0.1)
    worse = read_suspect(run, "q8_0", "weights", lambda one, i: one.scores.margin[i] if one.scores else 0.0)
    elsewhere = [replace(a, missed=(*a.missed, a.tokens * 2 + 1), margin=(*a.margin, 0.1)) for a in worse.answers]
    assert "cannot be told" not in _say(run, [], replace(worse, answers=tuple(elsewhere)))
    assert "cannot be told from q8_0" in _say(run, [], worse)


def test_a_pass_says_whose_tokens_it_turned() -> None:
    """A host of a coarse form rounds no more than an honest one, and yet turns just the tokens that the form does."""
    own = _answer_all(REFERENCE, 0.0)
    run = _answer_all("x", 0.35)
    q8_0 = read_suspect(run, "q8_0", "weights", lambda one, i: 0.0)
    lines = (read_unchanged(run), q8_0)
    reading = Reading(readers=(simulated.READER,), scored=(*own, *run), forms=(), suspects=lines)
    found = attribute_reading(reading, {}, [f"p{i}" for i in range(PROMPTS)], ())
    (diagnosis,), (judgement,) = found.reading.diagnoses, found.judgements
    assert (diagnosis.cause, diagnosis.strength) == ("coarser", "shown")
    assert describe_alike_forms(judgement.alike) == "; which tokens it turned speaks for q8_0"
