"""Endpoints with known faults get their cause, honest ones are not accused, and the reading does not mislead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from tempzero.attribute import Attribution, ReportedAnswer, attribute_reading
from tempzero.reading.rounding_floor import find_rounding_floor
from tempzero.types.asked import Trial
from tempzero.types.concluded import Diagnosis
from tempzero.types.scored import (
    FormReading,
    Reading,
    ScoredResponse,
    SuspectKind,
    SuspectReading,
)

from attribute import simulated
from attribute.simulated import (
    REFERENCE,
    World,
    foreign,
    greedy,
    read_suspect,
    read_unchanged,
    rounding,
    sampling,
)

WORLD = World(seed=3, length=50)
PROMPTS = 12
HONEST = 0.1
CHOICES = {
    "quieter": rounding(0.02),
    "honest": rounding(HONEST),
    "noisier": rounding(0.12),
    "coarser": rounding(1.2),
    "coarsest": rounding(3.0),
    "quantised": simulated.quantised(1.2),
    "temperature 0.5": sampling(0.5),
    "temperature 1.0": sampling(1.0),
    "other model": foreign(0.4),
}


@cache
def _calibration() -> tuple[list[ScoredResponse], list[FormReading]]:
    own = []
    for prompt in range(PROMPTS):
        tokens, rows = WORLD.answer(greedy, prompt, 0)
        own.append(simulated.scored(WORLD, REFERENCE, prompt, 0, tokens, rows))
    forms = simulated.form(WORLD, "f16", True, rounding(HONEST), range(PROMPTS), HONEST)
    return own, forms + simulated.form(WORLD, "q4_0", False, rounding(1.2), range(PROMPTS), 1.2)


@cache
def _responses(
    name: str, *, varies: bool = False, cut: int | None = None, also: tuple[str, tuple[int, ...]] | None = None
) -> tuple[ScoredResponse, ...]:
    """Two repeats a prompt; `also` answers the first repeat of some prompts in another way."""
    found = []
    for prompt in range(PROMPTS):
        one = also[0] if also and prompt in also[1] else name
        tokens, rows = WORLD.answer(CHOICES[one], prompt, 1, cut=cut)
        first = simulated.scored(WORLD, "x", prompt, 0, tokens, rows)
        found.append(first)
        if varies or one != name:
            tokens, rows = WORLD.answer(CHOICES[name], prompt, 2, cut=cut)
            found.append(simulated.scored(WORLD, "x", prompt, 1, tokens, rows))
        else:
            again = replace(first.trial, repeat=1)
            found.append(replace(first, trial=again, same_as=first.trial, scores=None, sums=None))
    return tuple(found)


def _all_right(one: ScoredResponse, place: int) -> float:
    return 0.0


def _few_wrong(one: ScoredResponse, place: int) -> float:
    return 0.1 if place % 7 == 0 else 0.0


def _all_wrong(one: ScoredResponse, place: int) -> float:
    return 5.0


def _judged(
    run: Sequence[ScoredResponse],
    *,
    forms: Sequence[FormReading] | None = None,
    suspects: Sequence[SuspectReading] = (),
    answers: dict[Trial, ReportedAnswer] | None = None,
    model: str = simulated.READER.claimed_model,
) -> Attribution:
    own, known = _calibration()
    reading = Reading(
        readers=(replace(simulated.READER, claimed_model=model),),
        scored=(*own, *run),
        forms=tuple(known if forms is None else forms),
        suspects=(read_unchanged(run), *suspects),
    )
    prompts = [f"p{i}" for i in range(PROMPTS)]
    return attribute_reading(reading, answers or {}, prompts, ())


def _main(found: Attribution) -> Diagnosis:
    return found.reading.diagnoses[0]


def _answer(response: ScoredResponse, **said: object) -> ReportedAnswer:
    given = {"text": "", "cut": False, "prompt_tokens": None, "completion_tokens": None, "max_tokens": None, **said}
    return ReportedAnswer(trial=response.trial, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["quieter", "honest", "noisier"])
def test_an_honest_endpoint_is_faithful(name: str) -> None:
    """16-bit arithmetic and other threads turn near-ties; that accuses nobody, and the temperature is 0."""
    found = _judged(_responses(name, varies=True))
    assert [(d.cause, d.strength) for d in found.reading.diagnoses] == [("faithful", "shown")]
    temperature = next(one for one in found.lone if one.metric.name == "effective_temperature")
    assert (temperature.estimate.value, temperature.estimate.low) == (0.0, 0.0)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_the_temperature_lies_in_its_interval(temperature: float) -> None:
    """Sampling is found, and its temperature with it."""
    found = _main(_judged(_responses(f"temperature {temperature:.1f}", varies=True)))
    assert (found.cause, found.strength) == ("sampled", "shown")
    assert found.estimate is not None
    assert found.estimate.low is not None
    assert found.estimate.low <= temperature <= (found.estimate.high or 0)


def test_what_one_suspect_alone_explains_is_its_cause() -> None:
    """Every token is the best one under it and under nothing else: no other evidence names a cause."""
    run = _responses("quantised")
    q4_0, q8_0 = (
        read_suspect(run, "q4_0", "weights", _few_wrong),
        read_suspect(run, "q8_0", "weights", _all_wrong, refuted=True),
    )
    found = _main(_judged(run, suspects=[q4_0, q8_0]))
    assert (found.cause, found.strength) == ("coarser", "shown")
    assert "q4_0" in found.message
    assert found.evidence


@pytest.mark.parametrize(
    ("kind", "cause"), [("request", "other_prompt"), ("sampler", "penalty"), ("positions", "positions")]
)
def test_a_cause_is_named_by_what_its_suspect_changes(kind: SuspectKind, cause: str) -> None:
    """Another prompt is no coarser arithmetic, however deterministic both are."""
    run = _responses("quantised")
    found = _main(_judged(run, suspects=[read_suspect(run, "this", kind, _all_right)]))
    assert (found.cause, found.strength) == (cause, "shown")


def test_equal_repeats_name_nothing() -> None:
    """They rule draws out and nothing in: what no suspect explains stays open, with how many were tried."""
    run = _responses("quantised")
    other = read_suspect(run, "q8_0", "weights", _all_wrong, refuted=True)
    unseen = read_suspect(run, "turns", "request", _all_right, touched=())
    found = _main(_judged(run, suspects=[other, unseen]))
    assert (found.cause, found.strength) == ("not_faithful", "shown")
    assert "none of the 1 suspects tried" in found.message
    assert "its repeats are the same" in found.message
    assert "cannot tell: turns" in found.message


def test_two_suspects_that_explain_the_same_are_not_told_apart() -> None:
    """Of one kind: one of them, likely. Of two kinds: open. Neither is a cause that is shown."""
    run = _responses("quantised")
    lower, nfkc = read_suspect(run, "lower", "request", _all_right), read_suspect(run, "nfkc", "request", _few_wrong)
    found = _main(_judged(run, suspects=[lower, nfkc]))
    assert (found.cause, found.strength) in (("other_prompt", "likely"), ("other_prompt", "shown"))
    same = _main(_judged(run, suspects=[lower, replace(lower, suspect="nfkc", family="nfkc")]))
    assert (same.cause, same.strength) == ("other_prompt", "likely")
    both = _main(_judged(run, suspects=[lower, read_suspect(run, "q4_0", "weights", _all_right)]))
    assert both.cause == "not_faithful"
    assert "it is lower" in both.message
    assert "it is q4_0" in both.message


def test_sizes_of_one_family_are_one_cause() -> None:
    """A penalty of .4 and one of .5 are estimates of the same thing."""
    run = _responses("quantised")
    sizes = [
        read_suspect(run, name, "sampler", _all_right, family="penalty") for name in ("presence-.4", "presence-.5")
    ]
    found = _main(_judged(run, suspects=sizes))
    assert (found.cause, found.strength) == ("penalty", "shown")
    assert "presence-.5" in found.message


def test_a_suspect_of_half_the_misses_is_no_cause() -> None:
    """It must explain every token, not only more of them than the unchanged reference."""
    run = _responses("quantised")
    half = read_suspect(run, "half", "request", lambda one, i: 3.0 if i % 2 else 0.0)
    assert _main(_judged(run, suspects=[half])).cause == "not_faithful"


def test_rounding_accuses_nobody_though_a_suspect_fits_as_well() -> None:
    """A similar prompt explains an honest host's near-ties and misses as many others: that is no evidence for it."""
    run = _responses("honest", varies=True)
    plain = read_unchanged(run)
    elsewhere = [replace(a, missed=tuple(at + 1 for at in a.missed)) for a in plain.answers]
    twice = replace(plain, suspect="start twice", kind="request", family="start twice", answers=tuple(elsewhere))
    found = _main(_judged(run, suspects=[twice]))
    assert found.cause == "faithful"


def test_prompt_tokens_that_differ_rule_coarser_weights_out_as_the_only_cause() -> None:
    """Whoever counts other prompts was given other prompts; of these the one must fit that is as long."""
    run = _responses("quantised")
    answers = {s.trial: _answer(s, prompt_tokens=47) for s in run}
    q4_0 = read_suspect(run, "q4_0", "weights", _all_right)
    found = _main(_judged(run, suspects=[q4_0], answers=answers))
    assert (found.cause, found.strength) == ("not_faithful", "shown")
    assert "prompt_tokens differ" in found.message
    longer = read_suspect(run, "longer", "request", _few_wrong, prompt_tokens=47)
    shorter = read_suspect(run, "shorter", "request", _all_right, prompt_tokens=31)
    found = _main(_judged(run, suspects=[q4_0, longer, shorter], answers=answers))
    assert (found.cause, found.strength) == ("other_prompt", "shown")
    assert "it is longer" in found.message


def test_what_its_prompt_tokens_rule_out_had_no_chance_to_be_named() -> None:
    """Nine tokens are few against fifty suspects, and enough for the one that is as long as the provider says."""
    run = _responses("quantised")
    plain = read_unchanged(run)
    odd = [f"p{i}" for i in range(2)]
    short = [
        replace(a, missed=a.missed[:4], margin=(5.0, 0.2, 0.2, 0.2)) for a in plain.answers if a.trial.prompt in odd
    ]
    others = [replace(a, missed=(), margin=()) for a in plain.answers if a.trial.prompt not in odd]
    plain = replace(plain, answers=(*short, *others))
    blanks = read_suspect(run, "blanks", "request", _all_right, touched=odd, prompt_tokens=33)
    rest = [
        read_suspect(run, f"other {i}", "request", _all_wrong, touched=odd, prompt_tokens=50 + i, refuted=True)
        for i in range(50)
    ]
    said = {s.trial: _answer(s, prompt_tokens=33 if s.trial.prompt in odd else 40) for s in run}
    found = _main(_judged(run, suspects=[blanks, *rest, plain], answers=said))
    assert (found.cause, found.strength) == ("other_prompt", "shown")
    found = _main(_judged(run, suspects=[blanks, *rest, plain]))
    assert (found.cause, found.strength) == ("not_faithful", "shown")


def test_a_prompt_of_another_length_is_not_called_faithful() -> None:
    """Its answers may not show it; what the provider counts does, and that is told without accusing."""
    run = _responses("honest")
    said = {s.trial: _answer(s, prompt_tokens=12 if s.trial.prompt == "p3" else 40) for s in run}
    found = _main(_judged(run, answers=said))
    assert (found.cause, found.strength) == ("other_prompt", "likely")
    assert "on 1 of 12 prompts, by -28" in found.message
    everywhere = {s.trial: _answer(s, prompt_tokens=41) for s in run}
    found = _main(_judged(run, answers=everywhere))
    assert (found.cause, found.strength) == ("faithful", "likely"), "one more on every prompt is a way of counting"


def test_some_prompts_only_are_said_to_be_so() -> None:
    """All repeats of some prompts are odd: one cause on these prompts, and no mixture."""
    odd = [f"p{i}" for i in (1, 4, 6, 9)]
    run = [s for p in range(PROMPTS) for s in _responses("quantised" if f"p{p}" in odd else "honest")]
    run = [s for s in run if (s.trial.prompt in odd) == (s in _responses("quantised"))]
    only = read_suspect(run, "cut", "request", lambda one, i: 0.0 if one.trial.prompt in odd else 5.0, refuted=False)
    found = _main(_judged(run, suspects=[only, read_suspect(run, "q8_0", "weights", _all_wrong, refuted=True)]))
    if found.cause == "other_prompt":
        assert found.strength == "shown"
    assert "mixture" not in found.cause


def test_a_mixture_needs_repeats_of_one_prompt_on_both_sides() -> None:
    """Some repeats come from coarser weights and others do not: both are named, with the odd responses."""
    bad = (1, 4, 6, 9)
    run = _responses("honest", also=("quantised", bad))
    odd = {f"p{i}" for i in bad}
    q4_0 = read_suspect(
        run,
        "q4_0",
        "weights",
        lambda one, i: 0.0 if one.trial.prompt in odd and one.trial.repeat == 0 else 5.0,
    )
    plain = [a for a in q4_0.answers if a.trial.prompt in odd and a.trial.repeat == 0]
    found = _main(_judged(run, suspects=[replace(q4_0, answers=tuple(plain), refuted=True)]))
    assert (found.cause, found.strength) == ("mixture", "shown")
    assert {(t.prompt, t.repeat) for t in found.evidence} <= {(p, 0) for p in odd}


def test_another_model_is_not_called_a_temperature() -> None:
    """Misses where the reference is certain are no sampling, however well some temperature fits the rest."""
    assert _main(_judged(_responses("other model"))).cause == "not_faithful"


def test_responses_that_end_too_soon_are_found() -> None:
    """An end that the reference would hardly have chosen is no rounding error: nothing else is wrong with them."""
    found = _judged(_responses("honest", cut=20)).reading.diagnoses
    assert [(d.cause, d.strength) for d in found] == [("cut_short", "shown")]


def test_a_smaller_limit_than_asked_for_is_found() -> None:
    """Cut at 32 tokens where 64 were asked for."""
    run = _responses("honest")
    said = {s.trial: _answer(s, cut=True, completion_tokens=32, max_tokens=64) for s in run}
    assert "cut_short" in {d.cause for d in _judged(run, answers=said).reading.diagnoses}
    whole = {s.trial: _answer(s, cut=True, completion_tokens=64, max_tokens=64) for s in run}
    assert "cut_short" not in {d.cause for d in _judged(run, answers=whole).reading.diagnoses}


def test_too_few_prompts_decide_nothing() -> None:
    """Four prompts accuse nobody, and say why."""
    run = [s for s in _responses("temperature 1.0", varies=True) if s.trial.prompt in ("p0", "p1", "p2", "p3")]
    found = _main(_judged(run))
    assert (found.cause, found.strength) == ("unknown", "undecided")
    assert "4 prompts" in found.message


def test_a_reader_of_the_most_likely_tokens_says_what_it_cannot() -> None:
    """Without sums over whole distributions there is a match rate, and no temperature."""
    run = [replace(s, sums=None) for s in _responses("temperature 1.0", varies=True)]
    found = _judged(run)
    assert _main(found).cause == "not_faithful"
    assert any(m.metric.name == "token_match_rate" and m.provider == "x" for m in found.measures)


def test_shared_scores_count_for_every_response_that_shares_them() -> None:
    """A repeat that names another's scores has the same figures as if they were written twice."""
    run = _responses("temperature 0.5")
    roots = {s.trial: s for s in run if s.scores is not None}
    written = [s if s.same_as is None else replace(roots[s.same_as], trial=s.trial) for s in run]
    for one, other in zip(_judged(run).measures, _judged(written).measures, strict=True):
        np.testing.assert_allclose(one.values, other.values)


def test_the_order_of_the_lines_does_not_matter() -> None:
    """Scores come in the order in which they were read; what they say does not depend on it."""
    run = _responses("temperature 0.5", varies=True)
    assert _judged(run).reading.diagnoses == _judged(run[::-1]).reading.diagnoses


def test_the_reference_is_never_diagnosed() -> None:
    """It cannot accuse itself; how well it agrees with itself stands in the floor."""
    found = _judged(_responses("honest"))
    assert {d.provider for d in found.reading.diagnoses} == {"x"}
    (floor,) = found.reading.floors
    assert (floor.own_tokens, floor.own_misses) == (PROMPTS * 51, 0)


def test_the_floor_is_that_of_honest_hosts_or_of_wider_forms() -> None:
    """Epsilon is half of what a gap may change by; a form's scale by likelihood is the one that it was made with."""
    (floor,) = _judged(_responses("honest")).reading.floors
    changes = [c for f in _calibration()[1] if f.honest for c in f.gap_change]
    hosts = find_rounding_floor(simulated.READER.claimed_model)
    assert floor.epsilon >= max(*changes, hosts.clear_margin) / 2
    assert floor.epsilon == pytest.approx(hosts.clear_margin / 2, rel=0.05)
    assert floor.tokens == len(changes)
    assert floor.scale is not None
    assert floor.scale.value == pytest.approx(HONEST, rel=0.15)
    coarse = next(f for f in floor.forms if f.form == "q4_0")
    assert coarse.scale.value == pytest.approx(1.2, rel=0.35)


def test_a_short_reading_of_an_honest_endpoint_is_not_called_more_than_rounding() -> None:
    """Of two hundred tokens chance turns twice as many as are usual now and then: a share of so few says nothing."""
    found = set()
    for draw in range(10):
        world = World(seed=100 + draw, length=20)
        asked = [(prompt, *world.answer(rounding(2 * HONEST, uneven=0), prompt, 1)) for prompt in range(10)]
        run = [simulated.scored(world, "x", prompt, 0, tokens, rows) for prompt, tokens, rows in asked]
        reading = Reading(readers=(simulated.READER,), scored=tuple(run), forms=(), suspects=(read_unchanged(run),))
        diagnoses = attribute_reading(reading, {}, [f"p{i}" for i in range(10)], ()).reading.diagnoses
        found |= {d.cause for d in diagnoses if d.provider == "x"}
    assert found == {"faithful"}
