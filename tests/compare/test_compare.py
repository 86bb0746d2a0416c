"""Two runs compared: what changed is found by prompt, what chance explains is not, what cannot be compared is named."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evidence import answers, attempt, run_of
from making import make_config, make_run, make_suite
from tempzero import cli
from tempzero.compare import Change, Comparison, Shift, compare_runs, comparison_to_json, comparison_to_markdown
from tempzero.errors import UsageError
from tempzero.records import Run, open_run
from tempzero.types.asked import ExtractorSpec, Message, Prompt, Suite
from tempzero.types.recorded import Attempt

PROMPTS = 10


def texts(suffix: str = "", *, repeats: int = 4) -> dict[str, list[str]]:
    return {f"p{i}": [f"text {i}{suffix}"] * repeats for i in range(PROMPTS)}


def a_run(folder: Path, attempts: Iterable[Attempt], suite: Suite | None = None, **provider: Any) -> Run:
    attempts = list(attempts)
    settings = make_config(sorted({a.trial.provider for a in attempts}) or ["a"], repeats=4, **provider)
    return open_run(make_run(folder, settings, suite or make_suite(PROMPTS), attempts))


def compared(tmp_path: Path, left: Iterable[Attempt], right: Iterable[Attempt], **both: Any) -> Comparison:
    return compare_runs(a_run(tmp_path / "left", left, **both), a_run(tmp_path / "right", right, **both))


def change_of(comparison: Comparison, provider: str = "a") -> Change:
    return next(c for c in comparison.changes if c.provider == provider)


def shift(comparison: Comparison, metric: str, provider: str = "a") -> Shift:
    return next(t for t in change_of(comparison, provider).shifts if t.metric == metric)


def dice(seed: int) -> dict[str, list[str]]:
    rng = random.Random(seed)
    return {f"p{i}": [rng.choice("xyz") for _ in range(4)] for i in range(PROMPTS)}


# --- what changed --------------------------------------------------------------------------------


def test_other_texts_are_found(tmp_path: Path) -> None:
    """A provider that says something else on every prompt has changed: D = 1, whatever Holm takes off."""
    found = compared(tmp_path, answers("a", texts()), answers("a", texts(" now")))
    test = shift(found, "texts")
    assert (test.estimate.value, test.estimate.n) == (1.0, PROMPTS)
    assert test.p_value < 0.01
    assert found.outcome == "finding"
    assert change_of(found).match.value == 0
    assert change_of(found).own_left.value == change_of(found).own_right.value == 1


def test_the_same_texts_are_no_change(tmp_path: Path) -> None:
    """No change found, with the smallest one that would have been; never the word unchanged."""
    found = compared(tmp_path, answers("a", texts()), answers("a", texts()))
    assert found.outcome == "pass"
    assert shift(found, "texts").p_value == 1
    assert shift(found, "texts").detectable is not None
    assert "no change found" in comparison_to_markdown(found)
    assert "unchanged" not in comparison_to_markdown(found)


def test_noise_is_no_change(tmp_path: Path) -> None:
    """A noisy provider disagrees with its own past all the time; that floor is not drift."""
    found = compared(tmp_path, answers("a", dice(1)), answers("a", dice(2)))
    match = change_of(found).match.value
    assert match is not None
    assert match < 0.6
    assert found.outcome == "pass"


def test_all_tests_share_one_error_rate(tmp_path: Path) -> None:
    """Comparing more providers must not find more by chance: Holm runs over all of them."""
    alone = compared(tmp_path / "1", answers("a", texts()), answers("a", texts(" now")))
    calm = answers("b", texts())
    both = compared(tmp_path / "2", [*answers("a", texts()), *calm], [*answers("a", texts(" now")), *calm])
    tests = sum(len(c.shifts) for c in both.changes)
    assert tests == 2 * len(change_of(alone).shifts)
    assert shift(both, "texts").p_value > shift(alone, "texts").p_value * 0.9
    assert [c.provider for c in both.changes if any(t.p_value <= both.alpha for t in c.shifts)] == ["a"]


def test_longer_answers_are_found(tmp_path: Path) -> None:
    """Verbosity is tested on its own: by how many characters, and whether chance explains it."""
    test = shift(compared(tmp_path, answers("a", texts()), answers("a", texts("!!"))), "length")
    assert (test.estimate.value, test.p_value < 0.05) == (2, True)


def asking(expected: str = "4", extractor: str = "answer_line") -> Suite:
    """The usual prompts with an expected answer to each."""
    spec = ExtractorSpec(name=extractor)
    prompts = [replace(p, extractor=spec, expected=expected) for p in make_suite(PROMPTS).prompts]
    return Suite(prompts=tuple(prompts), digest=f"asking {expected} {extractor}")


def stating(answer: str, padding: str = "") -> Mapping[str, list[str]]:
    return {f"p{i}": [f"{padding}Answer: {answer}"] * 4 for i in range(PROMPTS)}


def test_worse_answers_are_found(tmp_path: Path) -> None:
    """Accuracy from 1 to 0 on ten prompts: exact McNemar gives 2 / 2^10 before correction, three tests correct it."""
    found = compared(tmp_path, answers("a", stating("4")), answers("a", stating("5")), suite=asking())
    test = shift(found, "answers")
    assert test.estimate.value == -1
    assert test.p_value == pytest.approx(3 * 2 / 2**10, rel=0.51)
    assert "10 prompts right only on the left, 0 only on the right" in test.method


def test_without_expected_answers_none_are_tested(tmp_path: Path) -> None:
    """What was not measured is not a pass: it is not there."""
    found = compared(tmp_path, answers("a", texts()), answers("a", texts()))
    assert {t.metric for t in change_of(found).shifts} == {"texts", "length"}


@pytest.mark.parametrize(("label", "outcome"), [("model", "finding"), ("fingerprint", "pass"), ("backend", "pass")])
def test_changed_labels_are_exact_signals(label: str, outcome: str, tmp_path: Path) -> None:
    """What a response says of itself needs no test. Fingerprints change every night and alone are no finding."""
    found = compared(tmp_path, answers("a", texts(), **{label: "old"}), answers("a", texts(), **{label: "new"}))
    (signal,) = change_of(found).signals
    assert signal.what in (label, f"served_{label}")
    assert (signal.left, signal.right) == (f"'old' ({4 * PROMPTS})", f"'new' ({4 * PROMPTS})")
    assert found.outcome == outcome


def test_other_prompt_token_counts_are_an_exact_signal(tmp_path: Path) -> None:
    """The same messages counted differently mean another template or tokenizer, even where texts agree."""
    found = compared(tmp_path, answers("a", texts()), [_with_tokens(a, 99) for a in answers("a", texts())])
    (signal,) = change_of(found).signals
    assert (signal.what, signal.left.split()[0], signal.right.split()[0]) == ("prompt_tokens", "12", "99")
    assert found.outcome == "finding"


def _with_tokens(made: Attempt, number: int) -> Attempt:
    completion = made.exchange.outcome.completion
    assert completion is not None
    outcome = replace(made.exchange.outcome, completion=replace(completion, prompt_tokens=number))
    return replace(made, exchange=replace(made.exchange, outcome=outcome))


def test_a_text_cut_earlier_is_no_change(tmp_path: Path) -> None:
    """Where one run's text was cut, the other's is compared up to the cut."""
    cut = [attempt("a", f"p{i}", r, "text", kind="length", tokens=1) for i in range(PROMPTS) for r in range(4)]
    found = compared(tmp_path, answers("a", texts()), cut)
    assert shift(found, "texts").estimate.value == 0


# --- all parts of an answer ----------------------------------------------------------------------


def thinking(thought: str, text: str = "text") -> list[Attempt]:
    return [
        attempt("a", f"p{i}", r, f"{text} {i}", reasoning=f"{thought} {i}") for i in range(PROMPTS) for r in range(4)
    ]


def test_other_reasoning_behind_the_same_text_is_found(tmp_path: Path) -> None:
    """What a model thinks is output; the report says which part it was."""
    found = compared(tmp_path, thinking("let me see"), thinking("well now"))
    assert shift(found, "texts").estimate.value == 1.0
    assert found.outcome == "finding"
    assert {part: match.value for part, match in change_of(found).parts.items()} == {"reasoning": 0.0, "text": 1.0}
    assert "- a: reasoning 0 " in comparison_to_markdown(found)
    assert change_of(compared(tmp_path / "same", thinking("hm"), thinking("hm"))).match.value == 1.0


def test_reasoning_that_only_one_run_shows_is_a_signal_and_not_another_text(tmp_path: Path) -> None:
    """One that thinks and one that does not are told apart in plain words, and never said to agree in everything."""
    found = compared(tmp_path, thinking("let me see"), answers("a", texts()))
    change = change_of(found)
    assert (change.basis, change.match.value, shift(found, "texts").estimate.value) == ("spoken", 1.0, 0.0)
    (signal,) = change.signals
    assert (signal.what, signal.left, signal.right) == (
        "reasoning",
        f"shown in {4 * PROMPTS} of {4 * PROMPTS} answers",
        f"shown in 0 of {4 * PROMPTS} answers",
    )
    assert found.outcome == "finding"
    assert "only one of the runs shows reasoning; the rest of the answers is compared" in comparison_to_markdown(found)
    assert '"basis": "spoken"' in comparison_to_json(found)


def test_silence_and_refusals_are_answers_too(tmp_path: Path) -> None:
    """A run of empty answers, or of refusals in words, is another one than a run of texts."""
    cells = [(f"p{i}", r) for i in range(PROMPTS) for r in range(4)]
    silent = [attempt("a", p, r, "", kind="empty") for p, r in cells]
    assert compared(tmp_path / "silent", answers("a", texts()), silent).outcome == "finding"
    refusing = [attempt("a", p, r, "", refusal="I won't", kind="content_filter") for p, r in cells]
    found = compared(tmp_path / "refusing", answers("a", texts()), refusing)
    assert (found.outcome, change_of(found).match.value) == ("finding", 0.0)
    assert set(change_of(found).parts) == {"text", "refusal"}


def test_texts_cut_after_as_many_tokens_that_differ_have_changed(tmp_path: Path) -> None:
    """Runs of one token each: " I" begins " It", and is another token all the same."""
    one, other = (
        [attempt("a", f"p{i}", r, text, kind="length", tokens=1) for i in range(PROMPTS) for r in range(4)]
        for text in (" I", " It")
    )
    assert compared(tmp_path, one, other).outcome == "finding"


# --- what cannot be compared ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "left", "right"),
    [
        ("temperature", {"temperature": 0.0}, {"temperature": 0.7}),
        ("top_p", {"top_p": 1.0}, {"top_p": 0.9}),
        ("seed", {"seed": 7}, {"seed": 8}),
        ("max_tokens", {"max_tokens": 64}, {"max_tokens": 32}),
        ("request", {}, {"request": {"top_k": 1}}),
        ("claimed model", {"claims": {"model": "m"}}, {"claims": {"model": "n"}}),
    ],
)
def test_a_provider_asked_differently_is_refused_by_name(key: str, left: Any, right: Any, tmp_path: Path) -> None:
    """Different parameters make different texts; calling that drift would be a false alarm."""
    runs = [a_run(tmp_path / str(i), answers("a", texts()), **given) for i, given in enumerate((left, right))]
    with pytest.raises(UsageError, match=rf"a: {key} is .* not compared"):
        compare_runs(*runs)


def test_one_refused_provider_leaves_the_others_but_no_pass(tmp_path: Path) -> None:
    """What was not compared is named and keeps the whole from passing."""
    given = [*answers("a", texts()), *answers("b", texts())]
    left, right = a_run(tmp_path / "left", given), a_run(tmp_path / "right", given)
    changed = [p if p.name == "a" else p.model_copy(update={"seed": 99}) for p in right.config.providers]
    right.config = right.config.model_copy(update={"providers": tuple(changed)})
    found = compare_runs(left, right)
    assert [c.provider for c in found.changes] == ["a"]
    assert [(m.subject, m.key, m.consequence) for m in found.mismatches] == [("b", "seed", "refused")]
    assert found.outcome == "inconclusive"


def test_another_address_is_flagged(tmp_path: Path) -> None:
    """It may be the very cause of a change, so it stands beside it; the texts are compared all the same."""
    left = a_run(tmp_path / "left", answers("a", texts()), model="m", claims={"model": "weights"})
    right = a_run(tmp_path / "right", answers("a", texts()), model="m-turbo", claims={"model": "weights"})
    found = compare_runs(left, right)
    assert ("a", "model", "m", "m-turbo", "flagged") in [
        (m.subject, m.key, m.left, m.right, m.consequence) for m in found.mismatches
    ]
    assert found.outcome == "pass"
    assert "a: model is m on the left and m-turbo on the right" in comparison_to_markdown(found)


def test_only_prompts_in_the_same_words_are_compared(tmp_path: Path) -> None:
    """A prompt of one id but another text is another prompt; a new one has nothing to be compared with."""
    suite = make_suite(PROMPTS)
    edited = replace(suite.prompts[0], messages=(Message(role="user", content="something else"),))
    added = Prompt(id="new", family="test", messages=(Message(role="user", content="new"),))
    other = Suite(prompts=(edited, *suite.prompts[1:-1], added), digest="other")
    left = a_run(tmp_path / "left", answers("a", texts()))
    given = [a for a in answers("a", texts()) if a.trial.prompt != f"p{PROMPTS - 1}"]
    right = a_run(tmp_path / "right", [*given, attempt("a", "new", 0, "x")], suite=other)
    found = compare_runs(left, right)
    assert found.prompts == PROMPTS - 2
    named = {(m.subject, m.key) for m in found.mismatches}
    assert named >= {
        ("both runs", "suite digest"),
        ("prompt p0", "text or max_tokens"),
        (f"prompt p{PROMPTS - 1}", "part in the run"),
        ("prompt new", "part in the run"),
    }
    assert shift(found, "texts").estimate.n == PROMPTS - 2


def test_answers_read_differently_are_not_compared(tmp_path: Path) -> None:
    """The extractor is part of the measurement: with another one, texts can be compared and answers cannot."""
    left = a_run(tmp_path / "left", answers("a", stating("4")), suite=asking())
    right = a_run(tmp_path / "right", answers("a", stating("4")), suite=asking(extractor="number"))
    found = compare_runs(left, right)
    assert {t.metric for t in change_of(found).shifts} == {"texts", "length"}
    assert ("answers to prompt p0", "extractor or expected answer") in {(m.subject, m.key) for m in found.mismatches}


def test_runs_without_a_common_prompt_are_refused(tmp_path: Path) -> None:
    """Nothing to compare is said as such, with every reason."""
    other = [replace(p, id=f"other {p.id}") for p in make_suite(2).prompts]
    left = a_run(tmp_path / "left", answers("a", texts()))
    right = a_run(tmp_path / "right", [], suite=Suite(prompts=tuple(other), digest="other"))
    with pytest.raises(UsageError, match="no prompt in common"):
        compare_runs(left, right)


def test_too_few_prompts_are_inconclusive(tmp_path: Path) -> None:
    """Two prompts show nothing either way, and that is not a pass."""
    given = {name: value for name, value in texts().items() if name in ("p0", "p1")}
    found = compared(tmp_path, answers("a", given), answers("a", given))
    assert found.outcome == "inconclusive"
    assert "fewer than 5 prompts" in comparison_to_markdown(found)


def test_failures_are_no_change(tmp_path: Path) -> None:
    """An outage on the right lowers what can be compared; it is not another answer."""
    down = [
        replace(
            a,
            exchange=replace(
                a.exchange, outcome=replace(a.exchange.outcome, status="missing", kind="server", completion=None)
            ),
        )
        for a in answers("a", texts())
    ]
    found = compared(tmp_path, answers("a", texts()), down)
    assert found.outcome == "inconclusive"
    assert not change_of(found).shifts


# --- showing -------------------------------------------------------------------------------------


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    """A comparison is a pure function of two folders."""
    left, right = (a_run(tmp_path / str(i), answers("a", dice(i))) for i in (1, 2))
    assert comparison_to_json(compare_runs(left, right)) == comparison_to_json(compare_runs(left, right))
    assert comparison_to_markdown(compare_runs(left, right)) == comparison_to_markdown(compare_runs(left, right))
    value = json.loads(comparison_to_json(compare_runs(left, right)))
    assert value["outcome"] == "pass"
    assert value["changes"][0]["shifts"][0]["metric"] == "texts"


def test_hostile_labels_stay_on_their_line(tmp_path: Path) -> None:
    """A provider may name its model anything; the terminal and the table stay whole."""
    name = "\x1b[31m|\n# x `y` <b>\u202e"
    found = compared(tmp_path, answers("a", texts()), answers("a", texts(), model=name))
    shown = comparison_to_markdown(found)
    assert not any(c in shown for c in "\x1b\u202e")
    assert shown.count("\n") == comparison_to_markdown(
        compared(tmp_path / "2", answers("a", texts()), answers("a", texts(), model="n"))
    ).count("\n")


def test_conditions_are_compared_with_their_own(tmp_path: Path) -> None:
    """Serial answers are compared with serial ones, concurrent with concurrent ones."""

    def under(condition: str, suffix: str) -> list[Attempt]:
        return [replace(a, trial=replace(a.trial, condition=condition)) for a in answers("a", texts(suffix))]

    left = [*under("serial", ""), *under("burst", " b")]
    found = compare_runs(
        run_of(tmp_path / "left", left, prompts=PROMPTS), run_of(tmp_path / "right", left, prompts=PROMPTS)
    )
    assert [c.condition for c in found.changes if c.provider == "a"] == ["burst", "serial"]
    assert all(c.match.value == 1 for c in found.changes if c.provider == "a")


def test_compare_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is the outcome: 1 changed, 0 no change found, 2 cannot be compared."""
    left = str(a_run(tmp_path / "left", answers("a", texts())).path)
    right = str(a_run(tmp_path / "right", answers("a", texts(" now"))).path)
    other = str(a_run(tmp_path / "other", answers("a", texts()), seed=99).path)
    assert cli.main(["compare", left, right, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["prompts"] == PROMPTS
    assert cli.main(["compare", left, left]) == 0
    assert "Outcome: pass." in capsys.readouterr().out
    assert cli.main(["compare", left, other]) == 2
