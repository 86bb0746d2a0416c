"""Endpoints with known faults get their cause, honest ones are not accused, and the reading does not mislead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from tempzero.attribute import Attribution, ReportedAnswer, attribute_reading
from tempzero.reading.rounding_floor import find_rounding_floor
from tempzero.types.concluded import Diagnosis
from tempzero.types.scored import FormReading, Penalty, Reading, ScoredResponse, VariantReading

from attribute import simulated
from attribute.simulated import REFERENCE, World, foreign, greedy, penalised, rounding, sampling

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
    "coarser than any form": simulated.quantised(1.7),
    "far beyond": simulated.quantised(6.0),
    "temperature 0.5": sampling(0.5),
    "temperature 1.0": sampling(1.0),
    "penalty": penalised(1.15),
    "other model": foreign(0.4),
    "other prompt": foreign(0.9, fading=10),
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


def _judged(
    run: Sequence[ScoredResponse],
    *,
    forms: Sequence[FormReading] | None = None,
    variants: Sequence[VariantReading] = (),
    answers: dict[object, ReportedAnswer] | None = None,
    seeded: bool = False,
    model: str = simulated.READER.claimed_model,
) -> Attribution:
    own, known = _calibration()
    reading = Reading(
        readers=(replace(simulated.READER, claimed_model=model),),
        scored=(*own, *run),
        forms=tuple(known if forms is None else forms),
        variants=tuple(variants),
    )
    prompts = [f"p{i}" for i in range(PROMPTS)]
    return attribute_reading(reading, answers or {}, prompts, (), {"x"} if seeded else ())  # type: ignore[arg-type]


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


def test_coarser_weights_are_told_from_sampling_and_placed_among_the_forms() -> None:
    """A wrong but reproducible computation repeats its misses; its scale is that of the form that it is."""
    judged = _judged(_responses("coarser"))
    found, (floor,) = _main(judged), judged.reading.floors
    assert (found.cause, found.strength) == ("coarser", "shown")
    assert "as much of it as in q4_0" in found.message
    assert found.evidence
    assert found.estimate is not None
    form = next(f for f in floor.forms if f.form == "q4_0")
    assert found.estimate.value == pytest.approx(form.scale.value, rel=0.3)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_the_temperature_lies_in_its_interval(temperature: float) -> None:
    """Sampling is found, and its temperature with it."""
    found = _main(_judged(_responses(f"temperature {temperature:.1f}", varies=True)))
    assert (found.cause, found.strength) == ("sampled", "shown")
    assert found.estimate is not None
    assert found.estimate.low is not None
    assert found.estimate.low <= temperature <= (found.estimate.high or 0)


def test_sampling_with_a_fixed_seed_is_not_taken_for_coarser_weights() -> None:
    """Where a seed was sent, repeats that are the same say nothing, and a cause is not made up."""
    found = _main(_judged(_responses("temperature 0.5"), seeded=True))
    assert (found.cause, found.strength) != ("coarser", "shown")


def test_a_form_is_known_by_where_it_leaves_the_text() -> None:
    """Even where a seed was sent: who departs from the reference where q4_0 does, with its token, serves q4_0."""
    forms = [f for f in _calibration()[1] if f.honest]
    forms += simulated.form(WORLD, "q4_0", False, CHOICES["quantised"], range(PROMPTS), 1.2)
    found = _main(_judged(_responses("quantised"), forms=forms, seeded=True))
    assert (found.cause, found.strength) == ("coarser", "shown")
    assert "q4_0 leaves it" in found.message
    other = _main(_judged(_responses("temperature 0.5"), forms=forms, seeded=True))
    assert (other.cause, other.strength) != ("coarser", "shown")


def test_a_deviation_stands_where_its_cause_is_only_likely() -> None:
    """Where a seed was sent nothing tells a coarser form from sampling, but honest rounding stays ruled out."""
    found = _judged(_responses("quantised"), seeded=True).reading.diagnoses
    assert any((d.cause, d.strength) == ("not_faithful", "shown") for d in found)


def test_weights_somewhat_coarser_than_any_form_are_not_another_model() -> None:
    """A quantisation that was not read as a form is likely one; no proof, for another model may look like it."""
    found = _main(_judged(_responses("coarser than any form")))
    assert (found.cause, found.strength) == ("coarser", "likely")
    assert "another model" in found.message


def test_who_goes_far_beyond_the_coarsest_form_is_another_model() -> None:
    """Large margins that no coarse form comes near, repeated exactly: likely another model, and never its proof."""
    found = _main(_judged(_responses("far beyond")))
    assert found.cause == "other_model"
    assert "q4_0" in found.message or found.strength == "shown"


def test_a_penalty_is_found_with_its_strength() -> None:
    """Misses where the choice was already in the context, explained by one penalty better than by any other."""
    found = _main(_judged(_responses("penalty")))
    assert (found.cause, found.strength) == ("penalty", "shown")
    assert found.estimate is not None
    assert found.estimate.low is not None
    assert found.estimate.low <= 1.15 <= (found.estimate.high or 0)


def test_another_model_is_not_called_a_temperature() -> None:
    """Misses where the reference is certain are no sampling, however well some temperature fits the rest."""
    assert _main(_judged(_responses("other model"))).cause == "other_model"


def test_another_prompt_shows_in_the_first_tokens() -> None:
    """Misses that fade as the text takes over point to what stood before it."""
    found = _main(_judged(_responses("other prompt")))
    assert (found.cause, found.strength) == ("other_prompt", "shown")


def test_a_variant_that_fits_better_is_named() -> None:
    """The rendering behind which the responses are the first choice is the one that was used."""
    run = _responses("other prompt")
    variants = [
        VariantReading(
            reference=REFERENCE,
            variant=name,
            trial=s.trial,
            prompt_tokens=50,
            tokens=51,
            hits=hits,
            logprob=-5.0 if hits > 40 else -70.0,
            plain_hits=40,
            plain_logprob=-60.0,
        )
        for s in run
        for name, hits in (("no system message", 50), ("other", 30))
    ]
    found = _main(_judged(run, variants=variants))
    assert (found.cause, found.strength) == ("other_prompt", "shown")
    assert '"no system message"' in found.message


def test_a_bad_backend_is_found_with_its_share_and_its_responses() -> None:
    """Some responses from coarser weights: the share's interval holds the truth, and they are listed."""
    bad = (1, 4, 6, 9)
    found = _main(_judged(_responses("honest", also=("coarsest", bad))))
    assert (found.cause, found.strength) == ("mixture", "shown")
    assert found.estimate is not None
    assert found.estimate.low is not None
    assert found.estimate.low <= len(bad) / (2 * PROMPTS) <= (found.estimate.high or 0)
    assert {(t.prompt, t.repeat) for t in found.evidence} <= {(f"p{i}", 0) for i in bad}


def test_responses_that_end_too_soon_are_found() -> None:
    """An end that the reference would hardly have chosen is not a rounding error."""
    found = _judged(_responses("honest", cut=20)).reading.diagnoses
    assert [(d.cause, d.strength) for d in found] == [("faithful", "shown"), ("cut_short", "shown")]


def test_a_smaller_limit_than_asked_for_is_found() -> None:
    """Cut at 32 tokens where 64 were asked for."""
    run = _responses("honest")
    said = {s.trial: _answer(s, cut=True, completion_tokens=32, max_tokens=64) for s in run}
    assert "cut_short" in {d.cause for d in _judged(run, answers=said).reading.diagnoses}  # type: ignore[arg-type]
    whole = {s.trial: _answer(s, cut=True, completion_tokens=64, max_tokens=64) for s in run}
    assert "cut_short" not in {d.cause for d in _judged(run, answers=whole).reading.diagnoses}  # type: ignore[arg-type]


def test_without_honest_forms_nothing_coarser_is_shown() -> None:
    """A noise floor that was neither measured nor is shipped for the model decides nothing."""
    found = _judged(_responses("coarser"), forms=(), model="m").reading
    assert [f.basis for f in found.floors] == ["default"]
    assert all(d.strength == "undecided" for d in found.diagnoses)


def test_too_few_prompts_decide_nothing() -> None:
    """Four prompts accuse nobody, and say why."""
    run = [s for s in _responses("temperature 1.0", varies=True) if s.trial.prompt in ("p0", "p1", "p2", "p3")]
    found = _main(_judged(run))
    assert (found.cause, found.strength) == ("unknown", "undecided")
    assert "4 prompts" in found.message


def test_a_reader_of_the_most_likely_tokens_says_what_it_cannot() -> None:
    """Without sums over whole distributions there is a match rate, and no invented cause."""
    run = [replace(s, sums=None) for s in _responses("temperature 1.0", varies=True)]
    found = _judged(run)
    assert (_main(found).cause, _main(found).strength) == ("unknown", "undecided")
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


def test_the_simulated_penalty_is_on_the_grid() -> None:
    """The test above stands on a strength that the reader reads."""
    assert Penalty(kind="repetition", window="last_64", strength=1.15) in simulated.READER.penalties
