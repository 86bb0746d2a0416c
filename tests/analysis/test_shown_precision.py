"""A form that first tokens show goes before sizes, and whoever serves what it declares is not accused of that."""

from __future__ import annotations

from typing import Any

import pytest
from numeric_hosts import PACK, answer, serve
from tempzero.analysis.declared_forms import Declarations, judge_diagnosis
from tempzero.analysis.precision_reading import PrecisionEvidence
from tempzero.analysis.shown_precision import outrank_sizes
from tempzero.precision.hosts import FingerprintReport, conclude_host
from tempzero.types.concluded import Diagnosis, ReferenceReading
from tempzero.types.scored import SuspectReading
from tempzero.types.vocabulary import CauseName, ClaimState, Strength

ALPHA = 0.005


def fingerprint(*forms: str, declared: str | None) -> PrecisionEvidence:
    """One host, `p`, whose first tokens were had."""
    host = conclude_host(PACK, "p", declared, answer(serve(*forms)))
    return PrecisionEvidence(report=FingerprintReport(pack=PACK, hosts=(host,), pairs=()), beside=True)


def read_as(cause: CauseName, strength: Strength) -> ReferenceReading:
    found = Diagnosis(
        reference="r",
        provider="p",
        condition="default",
        cause=cause,
        strength=strength,
        message="what the texts say",
        estimate=None,
        evidence=(),
    )
    return ReferenceReading(floors=(), profiles=(), diagnoses=(found,), pairs=(), partings=(), texts=())


def suspect(name: str) -> SuspectReading:
    told: dict[str, Any] = {"family": name, "words": name, "touched": (), "answers": (), "refuted": True}
    return SuspectReading(
        reference="r", provider="p", condition="default", suspect=name, kind="weights", read_tokens=0, **told
    )


def causes(reading: ReferenceReading) -> list[tuple[CauseName, Strength]]:
    return [(d.cause, d.strength) for d in reading.diagnoses]


@pytest.mark.parametrize(
    ("cause", "strength"),
    [
        ("faithful", "likely"),
        ("faithful", "shown"),
        ("coarser", "likely"),
        ("unknown", "undecided"),
        ("sampled", "likely"),
    ],
)
def test_a_named_form_is_shown_whatever_the_size_of_rounding_says(cause: CauseName, strength: Strength) -> None:
    """Eight bits may round less than honest 16-bit hosts do: by size nobody can tell them."""
    after = outrank_sizes(read_as(cause, strength), (), fingerprint("q8_0", declared=None), ALPHA)
    assert causes(after) == [("coarser", "shown")]
    assert "serves q8_0" in after.diagnoses[0].message
    assert "what the texts say" in after.diagnoses[0].message


@pytest.mark.parametrize("cause", ["penalty", "other_prompt", "mixture", "post_processed"])
def test_what_texts_show_of_a_request_or_sampler_stays(cause: CauseName) -> None:
    """A host may both penalise and serve FP8; the weights are told beside it, and explain no penalty."""
    reading = read_as(cause, "shown")
    after = outrank_sizes(reading, (), fingerprint("fp8-channel", declared="fp8"), ALPHA)
    assert causes(after) == [(cause, "shown")]


def test_an_open_cause_stays_where_the_named_form_was_read_and_does_not_explain_it() -> None:
    """A wrong cause is the second worst fault: coarse weights do not say that nothing else is wrong."""
    evidence = fingerprint("q8_0", declared="q8_0")
    reading = read_as("not_faithful", "shown")
    after = outrank_sizes(reading, (suspect("q8_0"),), evidence, ALPHA)
    assert causes(after) == [("coarser", "shown"), ("not_faithful", "shown")]
    assert causes(outrank_sizes(reading, (suspect("q4_0"),), evidence, ALPHA)) == [("coarser", "shown")]


@pytest.mark.parametrize(
    ("form", "declared", "standing"),
    [("q8_0", "q8_0", "confirmed"), ("q8_0", "bf16", "contradicted"), ("fp8-channel", None, "untested")],
)
def test_what_is_declared_is_held_against_the_form_that_is_shown(
    form: str, declared: str | None, standing: ClaimState
) -> None:
    """A declared 8-bit host that serves 8 bits is no finding; the same without a word of it is one."""
    after = outrank_sizes(read_as("faithful", "likely"), (), fingerprint(form, declared=declared), ALPHA)
    (one,) = after.diagnoses
    assert one.forms == (form,)
    told = {one.provider: declared} if declared is not None else {}
    declarations = Declarations(by_provider=told, own_forms={}, confirmed={})
    assert judge_diagnosis(declarations, one).standing == standing


def test_a_name_beyond_the_runs_error_budget_shows_nothing() -> None:
    """Where many hosts share the budget, a chance of .0005 for one is not enough."""
    reading, evidence = read_as("faithful", "likely"), fingerprint("q8_0", declared=None)
    assert causes(outrank_sizes(reading, (), evidence, 1e-4)) == [("faithful", "likely")]


def test_an_honest_host_keeps_its_diagnosis_and_is_told_what_is_ruled_out() -> None:
    """By texts q8_0 may stay possible; its first tokens exclude it."""
    after = outrank_sizes(read_as("faithful", "likely"), (), fingerprint(declared="bf16"), ALPHA)
    assert causes(after) == [("faithful", "likely")]
    assert "ruled out by its first tokens" in after.diagnoses[0].message
