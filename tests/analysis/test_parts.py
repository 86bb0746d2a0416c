"""Answers by parts through `analyse`: what is compared, which part a proof names, and who shows what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from analysis.test_analyse import (
    MANY,
    analysed,
    answers,
    cut,
    everywhere,
    findings,
    prompt,
    settings,
    suite,
    the,
    whole,
)
from tempzero.config import parse_config
from tempzero.types.asked import ToolCall, Trial
from tempzero.types.concluded import Analysis
from tempzero.types.recorded import Attempt, Outcome
from tempzero.verdict.gate import judge

ONE = suite(prompt("p00"))


def thinking(reasoning: str | None, text: str = "4", **said: Any) -> Outcome:
    return whole(text, reasoning_text=reasoning, **said)


def reasons(found: Analysis, provider: str) -> tuple[str, tuple[str, ...]]:
    """A provider's outcome and the words for it."""
    config = settings(*(p.name for p in found.providers))
    (verdict,) = [v for v in judge(found, config.gates).providers if v.provider == provider]
    return verdict.outcome, verdict.reasons


# --- every part is compared, and each has its figures ----------------------------------------------


def test_reasoning_that_differs_is_divergence_and_is_named(tmp_path: Path) -> None:
    """Equal texts behind different reasoning are different answers; figures by part say where they differ."""
    config = settings("a", repeats=4)
    given = everywhere("a", thinking("so"), thinking("so"), thinking("so"), thinking("thus"))
    found = analysed(tmp_path, config, MANY, given)
    (finding,) = findings(found, "nondeterministic")
    assert "different answers on 12 of 12 prompts" in finding.message
    assert "the reasoning on 12," in finding.message
    assert "the text" not in finding.message
    assert the(found, "emr", "a").value == pytest.approx(1 / 2)
    assert the(found, "emr", "a", part="reasoning").value == pytest.approx(1 / 2)
    assert the(found, "emr", "a", part="text").value == 1
    assert the(found, "tarr", "a", part="reasoning", k=4).value == 0
    assert the(found, "ned", "a", part="reasoning").value == pytest.approx(
        1 / 2
    )  # so, thus: 4 edits of 4, 3 of 6 pairs
    assert the(found, "verbosity_chars", "a").value == pytest.approx(2.5 + 1)
    assert the(found, "verbosity_chars", "a", part="reasoning").value == pytest.approx(2.5)
    assert the(found, "rep_128", "a", part="reasoning").value == 0
    assert the(found, "reasoning_share", "a").value == 1
    assert {d.part for d in found.divergences} == {"reasoning"}
    assert {(d.left_text, d.right_text, d.at_char) for d in found.divergences} == {("so", "thus", 0)}
    curves = {c.part: c.shares[-1] for c in found.curves}
    assert curves == {"whole": pytest.approx(1 / 2), "reasoning": pytest.approx(1 / 2), "text": 1}


def test_positions_are_counted_in_what_the_model_wrote(tmp_path: Path) -> None:
    """The marks between the parts of an answer are no characters of it."""
    found = analysed(tmp_path, settings("a", repeats=2), ONE, answers("a", "p00", thinking("abc"), thinking("abd")))
    (curve,) = [c for c in found.curves if c.part == "whole"]
    assert (curve.positions, curve.shares) == ((0, 3), (1, 0))
    (shown,) = found.divergences
    assert (shown.at_char, shown.left_text, shown.right_text) == (2, "abc", "abd")


def test_answers_of_nothing_but_text_have_no_figures_by_part(tmp_path: Path) -> None:
    """They would say the same twice."""
    found = analysed(tmp_path, settings("a"), MANY, everywhere("a", "x", "x", "y"))
    assert {f.part for f in found.figures} == {"whole"}
    assert {d.part for d in found.divergences} == {"text"}


CALL = ToolCall(name="f", arguments='{"a":1}')


@pytest.mark.parametrize(
    ("part", "one", "other"),
    [
        ("calls", whole("4", tool_calls=(CALL,)), whole("4", tool_calls=(ToolCall(name="f", arguments='{"a":2}'),))),
        ("calls", whole("4", tool_calls=(CALL,)), whole("4")),
        ("refusal", whole("4", refusal="no"), whole("4", refusal="never")),
        ("reasoning", thinking("so"), thinking(None)),
        ("text", thinking("so", "4"), thinking("so", "")),
    ],
    ids=["other call", "no call", "refusal", "no reasoning", "no text"],
)
def test_each_part_alone_proves_nondeterminism(tmp_path: Path, part: str, one: Outcome, other: Outcome) -> None:
    """Also where a repeat lacks it: empty is a value."""
    found = analysed(tmp_path, settings("a"), ONE, answers("a", "p00", one, one, other))
    (finding,) = findings(found, "nondeterministic")
    names = {"calls": "the tool calls", "refusal": "the refusal", "reasoning": "the reasoning", "text": "the text"}
    assert f"{names[part]} on 1," in finding.message
    assert [t.repeat for t in finding.evidence] == [0, 2]
    assert the(found, "emr", "a", part=part).value == pytest.approx(1 / 3)


def test_a_reasoning_that_was_cut_begins_what_it_might_have_become(tmp_path: Path) -> None:
    """An answer cut in its reasoning says nothing of the text, and shows no divergence up to its cut."""
    outcomes = [cut("", reasoning_text="let me", completion_tokens=3), thinking("let me see"), thinking("let me see")]
    found = analysed(tmp_path, settings("a"), ONE, answers("a", "p00", *outcomes))
    assert the(found, "emr", "a").value == 1
    assert the(found, "emr", "a", part="text").value == 1
    assert not found.findings
    other = [cut("", reasoning_text="let us", completion_tokens=3), thinking("let me see"), thinking("let me see")]
    told = analysed(tmp_path / "other", settings("a"), ONE, answers("a", "p00", *other))
    assert "the reasoning on 1," in findings(told, "nondeterministic")[0].message


def test_answers_are_never_read_from_the_reasoning(tmp_path: Path) -> None:
    """What a model considers is not what it answers."""
    given = everywhere("a", *[thinking("Answer: 4", "Answer: 5")] * 3)
    found = analysed(tmp_path, settings("a"), MANY, given)
    assert the(found, "accuracy", "a").value == 0
    assert found.prompt_rows[0].answers == (("5", 3),)


def test_a_limit_spent_on_reasoning_is_no_pass(tmp_path: Path) -> None:
    """Answers without a text agree well and say nothing; the remedy is named."""
    spent = cut("", reasoning_text="let me", completion_tokens=3)
    shown = analysed(tmp_path / "shown", settings("a"), MANY, everywhere("a", spent, spent, spent))
    hidden = cut("", completion_tokens=3, reasoning_tokens=3)
    unseen = analysed(tmp_path / "hidden", settings("a"), MANY, everywhere("a", hidden, hidden, hidden))
    for found in (shown, unseen):
        outcome, why = reasons(found, "a")
        assert outcome == "inconclusive"
        assert "the limit was spent on reasoning, before any text, in 36 of 36 answers: raise max_tokens" in why
    assert the(unseen, "emr", "a").n == 0


def test_nothing_but_empty_answers_is_no_pass(tmp_path: Path) -> None:
    """They are equal, and there is nothing in them to judge."""
    found = analysed(tmp_path, settings("a"), MANY, everywhere("a", "", "", ""))
    assert the(found, "emr", "a").value == 1
    assert reasons(found, "a") == ("inconclusive", ("all of its 36 answers were empty",))


# --- between providers ---------------------------------------------------------------------------


def test_a_provider_that_thinks_and_one_that_does_not_are_told_apart(tmp_path: Path) -> None:
    """Equal texts are no agreement of the whole: it is not measured, and words say who shows and counts what."""
    attempts = [
        *everywhere("ref", *[thinking("so", completion_tokens=90, reasoning_tokens=80)] * 3),
        *everywhere("a", *[whole("4", completion_tokens=2)] * 3),
    ]
    found = analysed(tmp_path, settings("ref", "a"), MANY, attempts)
    assert not [f for f in found.figures if f.metric == "cross_emr" and f.part == "whole"]
    assert the(found, "cross_emr", "a", "ref", part="spoken").value == 1
    assert the(found, "reasoning_shown_agreement", "a", "ref").value == 0
    assert the(found, "completion_tokens_difference", "a", "ref").value == -88
    (finding,) = found.findings
    assert (finding.rule, finding.subject, finding.other) == ("reasoning_shown", "a", "ref")
    for words in (
        "ref shows its reasoning on 12 prompts",
        "a shows none and counts no tokens of it",
        "(2 completion tokens an answer against 90 of ref)",
        "compared by what both show, without the reasoning",
    ):
        assert words in finding.message
    assert reasons(found, "a")[0] == "finding"


def test_an_empty_block_of_reasoning_shows_none(tmp_path: Path) -> None:
    """Templates leave one where reasoning was switched off; a host that strips it does the same."""
    config = settings("ref", "a", repeats=2)
    given = [*everywhere("ref", whole("4"), whole("4")), *everywhere("a", thinking("\n\n"), thinking("\n\n"))]
    found = analysed(tmp_path, config, MANY, given)
    assert found.findings == ()
    assert the(found, "cross_emr", "a", "ref").value == 1


@pytest.mark.parametrize("reference", [True, False])
def test_thinking_aloud_is_no_repetition(tmp_path: Path, reference: bool) -> None:
    """A reasoning goes over the same words again and again; beside a model that shows none the texts are compared."""
    text = "the sum of both numbers is four here"
    thought = thinking("well two and two make four so " * 20, text)
    given = [*everywhere("ref", whole(text), whole(text)), *everywhere("a", thought, thought)]
    config = settings("ref", "a", repeats=2)
    if not reference:
        config = config.model_copy(update={"run": config.run.model_copy(update={"reference": None})})
    found = analysed(tmp_path, config, MANY, given)
    assert {f.rule for f in found.findings} <= {"reasoning_shown"}
    excess = [f for f in found.figures if f.metric in ("seq_rep_4_excess", "loop_share_excess") and f.family is None]
    assert {(f.part, f.estimate.value) for f in excess if f.left == "a"} == {("spoken", 0.0)}


@pytest.mark.parametrize(
    "said",
    [{"completion_tokens": 88, "reasoning_tokens": 80}, {"completion_tokens": 88}],
    ids=["counts reasoning", "counts as many tokens"],
)
def test_reasoning_that_may_only_be_hidden_is_a_note(tmp_path: Path, said: dict[str, int]) -> None:
    """Many hosts keep it to themselves: that is a difference of what is shown, and accuses nobody."""
    attempts = [
        *everywhere("ref", *[thinking("so", completion_tokens=90, reasoning_tokens=80)] * 3),
        *everywhere("a", *[whole("4", **said)] * 3),
    ]
    found = analysed(tmp_path, settings("ref", "a"), MANY, attempts)
    assert not found.findings
    (note,) = [n for n in found.notes if "do not show the same" in n]
    assert "so that it may think without showing it" in note
    assert "without the reasoning, which only one of them shows" in " ".join(reasons(found, "a")[1])


def test_tokens_tell_who_thinks_where_nobody_shows_it(tmp_path: Path) -> None:
    """Two equal texts, eighty tokens of reasoning behind one of them and none behind the other."""
    attempts = [
        *everywhere("ref", *[whole("4", completion_tokens=82, reasoning_tokens=80)] * 3),
        *everywhere("a", *[whole("4", completion_tokens=2, reasoning_tokens=0)] * 3),
    ]
    found = analysed(tmp_path, settings("ref", "a"), MANY, attempts)
    (finding,) = findings(found, "reasoning_shown")
    assert "ref counts reasoning tokens on 12 prompts" in finding.message
    assert the(found, "reasoning_tokens_difference", "a", "ref").value == -80
    assert the(found, "cross_emr", "a", "ref").value == 1


def test_two_that_think_are_compared_by_their_reasoning_too(tmp_path: Path) -> None:
    """Equal texts behind other reasoning differ, and the finding names the part."""
    attempts = [
        *everywhere("ref", *[thinking("so")] * 3),
        *everywhere("a", *[thinking("thus")] * 3),
    ]
    found = analysed(tmp_path, settings("ref", "a"), MANY, attempts)
    assert the(found, "cross_emr", "a", "ref").value == 0
    assert the(found, "cross_emr", "a", "ref", part="reasoning").value == 0
    assert the(found, "cross_emr", "a", "ref", part="text").value == 1
    assert the(found, "cross_ned", "a", "ref", part="reasoning").value == 1
    assert the(found, "length_difference_chars", "a", "ref", part="reasoning").value == 2
    (finding,) = findings(found, "deviates_from_reference")
    assert "answers differ on 12 of 12 prompts (the reasoning on 12)" in finding.message


# --- conditions of one provider ------------------------------------------------------------------


def under(condition: str, attempts: Any) -> list[Attempt]:
    """The same attempts, asked under another condition."""
    return [
        replace(
            a, trial=Trial(provider=a.trial.provider, prompt=a.trial.prompt, condition=condition, repeat=a.trial.repeat)
        )
        for a in attempts
    ]


def two_conditions(folder: Path, whole_: tuple[Outcome | str, ...], streamed: tuple[Outcome | str, ...]) -> Analysis:
    """One provider, asked whole and as a stream."""
    entry = {"name": "a", "base_url": "http://127.0.0.1:9/v1", "model": "m", "repeats": 3}
    conditions = [{"name": "whole", "stream": False}, {"name": "streamed", "stream": True}]
    config = parse_config({"version": 1, "providers": [entry], "conditions": conditions}, source="test")
    attempts = [*under("whole", everywhere("a", *whole_)), *under("streamed", everywhere("a", *streamed))]
    return analysed(folder, config, MANY, attempts)


def test_a_stream_that_lacks_a_token_of_the_whole_answer_is_found(tmp_path: Path) -> None:
    """Each condition repeats itself perfectly: only a comparison text by text sees it."""
    found = two_conditions(tmp_path, ("It is 42.",) * 3, ("It is 2.",) * 3)
    assert the(found, "cross_emr", "a", "streamed", condition="whole").value == 0
    assert the(found, "noise_floor", "a", "streamed", condition="whole").value == 0
    (finding,) = found.findings
    assert (finding.rule, finding.subject, finding.other) == ("conditions_differ", "a", None)
    for words in (
        'answers otherwise under "whole" than under "streamed"',
        "texts differ on 12 of 12 prompts",
        "the noise of its own repeats lets expect 1.000",
        "the text, character 6: 'It is 42.' against 'It is 2.'",
    ):
        assert words in finding.message
    assert reasons(found, "a")[0] == "finding"


def test_conditions_that_differ_by_noise_only_are_told(tmp_path: Path) -> None:
    """Cross-EMR stands beside its floor, and no finding is made of the provider's own noise."""
    found = two_conditions(tmp_path, ("x", "y", "x"), ("y", "x", "x"))
    assert not findings(found, "conditions_differ")
    (note,) = [n for n in found.notes if "no difference beyond chance" in n and "cross-EMR" in n]
    assert 'under "whole" against "streamed"' in note


def test_first_answers_that_differ_from_later_ones_are_found(tmp_path: Path) -> None:
    """A cold cache: the first answer to each prompt is the odd one, whatever the prompt."""
    config = settings("a", "b", repeats=4, reference=None)
    attempts = [*everywhere("a", "cold", "warm", "warm", "warm"), *everywhere("b", "same", "same", "same", "same")]
    found = analysed(tmp_path, config, MANY, attempts)
    (finding,) = findings(found, "first_answers_differ")
    assert finding.subject == "a"
    assert "the odd one on 12 of 12 prompts" in finding.message
    assert [t.repeat for t in finding.evidence[:4]] == [0, 1, 0, 1]
    assert finding.p_value is not None
    assert finding.p_value <= 0.05


def test_an_odd_answer_at_any_other_place_is_no_cold_cache(tmp_path: Path) -> None:
    """Noise puts the odd one anywhere."""
    texts = [["x"] * 4 for _ in MANY.prompts]
    for number, own in enumerate(texts):
        own[number % 4] = "odd"
    given = [a for p, own in zip(MANY.prompts, texts, strict=True) for a in answers("a", p.id, *own)]
    found = analysed(tmp_path, settings("a", repeats=4), MANY, given)
    assert not findings(found, "first_answers_differ")


# --- flags and coverage --------------------------------------------------------------------------


def test_flags_are_counted_and_findings_among_them_found(tmp_path: Path) -> None:
    """One response is enough for a finding; what is normal service is counted and held against nobody."""
    odd = replace(whole("x", served_model="m"), flags=("no_done", "max_tokens_not_held"))
    plain = replace(whole("x", served_model="m"), flags=("no_done",))
    found = analysed(tmp_path, settings("a"), MANY, [*answers("a", "p00", plain, odd, plain)])
    assert [(f.flag, f.count, f.attempts) for f in found.flags] == [("no_done", 3, 3), ("max_tokens_not_held", 1, 3)]
    (finding,) = found.findings
    assert finding.rule == "max_tokens_not_held"
    assert finding.message == "a wrote more tokens than max_tokens allows in 1 of 3 responses"
    assert [t.repeat for t in finding.evidence] == [1]


@pytest.mark.parametrize(("served", "rules"), [("m-2024-08-06", []), ("llama-8b", ["model_mismatch"])])
def test_a_snapshot_that_older_records_call_another_model_is_none(
    tmp_path: Path, served: str, rules: list[str]
) -> None:
    """Records keep the flag that they were written with; what it accuses of is decided by today's rule."""
    flagged = replace(whole("x", served_model=served), flags=("model_mismatch",))
    found = analysed(tmp_path, settings("a"), MANY, everywhere("a", flagged, flagged, flagged))
    assert [f.rule for f in found.findings] == rules
    assert [s.standing for s in found.served] == ["other" if rules else "alias"]


def test_coverage_is_what_was_answered(tmp_path: Path) -> None:
    """One meaning everywhere: answers cut at the limit are answers, and said to be cut."""
    given = answers("a", "p00", cut("abc"), "abcd", Outcome(status="missing", kind="server"))
    found = analysed(tmp_path, settings("a"), ONE, given)
    (ended,) = found.outcomes
    assert (ended.planned, ended.answered, ended.cut_at_limit, ended.empty) == (3, 2, 1, 0)
    assert the(found, "coverage", "a").value == pytest.approx(2 / 3)
    assert the(found, "whole_share", "a").value == pytest.approx(1 / 3)


def test_a_change_of_condition_is_compared_with_all_parts(tmp_path: Path) -> None:
    """A provider that thinks only when it streams does not answer alike, though its texts do."""
    found = two_conditions(tmp_path, ("4",) * 3, (thinking("so"),) * 3)
    (finding,) = findings(found, "conditions_differ")
    assert "(the reasoning on 12)" in finding.message
