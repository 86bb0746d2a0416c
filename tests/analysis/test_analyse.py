"""A scripted run folder through `analyse`: every figure against a calculation by hand, and every finding's proof."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from making import NOW, make_attempt, make_config, make_run, make_suite, make_trial, sha256
from tempzero.analysis import analyse
from tempzero.config import Config, parse_config
from tempzero.errors import RunFolderError
from tempzero.records import open_run
from tempzero.types.asked import ExtractorSpec, Message, Prompt, Suite, Trial
from tempzero.types.concluded import Analysis, Estimate, Figure, Finding
from tempzero.types.recorded import Attempt, Completion, FaultKind, Outcome, Times

ANSWER = ExtractorSpec(name="answer_line")


def prompt(name: str, family: str = "open", expected: str | None = None) -> Prompt:
    extractor = ANSWER if expected else None
    message = Message(role="user", content=name)
    return Prompt(id=name, messages=(message,), family=family, extractor=extractor, expected=expected)


def suite(*prompts: Prompt) -> Suite:
    return Suite(prompts=prompts, digest=sha256("suite"))


def settings(*names: str, reference: str | None = "ref", repeats: int = 3, **of: dict[str, Any]) -> Config:
    """Providers that claim one model; `of` holds more settings of one of them."""
    entry = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "repeats": repeats}
    entries = [{"name": n, **entry, **of.get(n, {})} for n in names]
    run = {"reference": reference} if reference in names else {}
    return parse_config({"version": 1, "providers": entries, "run": run}, source="test")


def whole(text: str, **said: Any) -> Outcome:
    said = {"finish_reason": "stop", **said}
    return Outcome(status="valid", kind="complete" if text else "empty", completion=Completion(text=text, **said))


def cut(text: str, **said: Any) -> Outcome:
    said = {"finish_reason": "length", **said}
    return Outcome(status="censored", kind="length", completion=Completion(text=text, **said))


def missing(kind: FaultKind) -> Outcome:
    return Outcome(status="missing", kind=kind)


def attempt(
    provider: str, of: str, repeat: int, outcome: Outcome, *, number: int = 1, seconds: float = 0.5, in_flight: int = 1
) -> Attempt:
    plain = make_attempt(make_trial(provider, of, repeat), number=number)
    times = Times(started_at=NOW, first_byte_s=seconds / 4, end_s=seconds, in_flight=in_flight)
    return replace(plain, exchange=replace(plain.exchange, outcome=outcome, times=times))


def answers(provider: str, of: str, *outcomes: Outcome | str) -> Iterator[Attempt]:
    """One attempt for each repeat; a plain string is a whole text."""
    for repeat, outcome in enumerate(outcomes):
        yield attempt(provider, of, repeat, whole(outcome) if isinstance(outcome, str) else outcome)


def analysed(folder: Path, config: Config, prompts: Suite, attempts: Iterable[Attempt]) -> Analysis:
    return analyse(open_run(make_run(folder, config, prompts, attempts)))


def the(analysis: Analysis, metric: str, left: str, right: str | None = None, **more: Any) -> Estimate:
    """The one figure of that name; without `family` that of all prompts."""
    wanted = {"metric": metric, "left": left, "right": right, "family": None, "part": "whole", **more}
    found: list[Figure] = [f for f in analysis.figures if all(getattr(f, k) == v for k, v in wanted.items())]
    assert len(found) == 1, f"{wanted}: {len(found)} figures"
    return found[0].estimate


def findings(analysis: Analysis, rule: str) -> list[Finding]:
    return [f for f in analysis.findings if f.rule == rule]


# --- every figure, by hand -------------------------------------------------------------------

SUMS = suite(prompt("q1", "sums", "4"), prompt("q2", "sums", "7"), prompt("o1"), prompt("o2"))
CAT, DOG = "the cat sat", "the dog ran"


def scripted() -> list[Attempt]:
    """ref, a, b on four prompts, three repeats: see the table of texts in each call."""
    used = {"ref": 10, "a": 10, "b": 12}
    texts = {
        ("ref", "q1"): [whole("Answer: 4")] * 3,
        ("ref", "q2"): [whole("Answer: 7")] * 3,
        ("ref", "o1"): [whole(CAT)] * 3,
        ("ref", "o2"): [cut("aaaa bbbb")] * 3,
        ("a", "q1"): [whole("Answer: 4"), whole("Answer: 5"), whole("Answer: 4")],
        ("a", "q2"): [whole("Answer: 8")] * 3,
        ("a", "o1"): [whole(CAT), whole(CAT), whole(DOG)],
        ("a", "o2"): [cut("aaaa bb")] * 3,
        ("b", "q1"): [whole("Answer: 4"), whole("no idea"), whole("no idea")],
        ("b", "q2"): [whole("Answer: 7")] * 3,
        ("b", "o1"): [whole(DOG), missing("server"), whole("")],
        ("b", "o2"): [cut("aaaa cc"), whole("aaaa"), cut("aaaa cc")],
    }
    attempts = []
    for (provider, of), outcomes in texts.items():
        for repeat, outcome in enumerate(outcomes):
            # The reference's cut text is longer than a's, which begins it, because it was cut later.
            given = 7 if (provider, of) == ("ref", "o2") else 5
            said = outcome.completion and replace(
                outcome.completion, prompt_tokens=used[provider], completion_tokens=given, served_model="m"
            )
            seconds = (1.0, 4.0, 2.0)[repeat]
            attempts.append(attempt(provider, of, repeat, replace(outcome, completion=said), seconds=seconds))
    # The trial that failed was asked twice.
    attempts.append(attempt("b", "o1", 1, missing("timeout"), number=2))
    return attempts


@pytest.fixture(scope="module")
def hand(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    config = settings("ref", "a", "b", a={"price": {"input_per_mtok": 1.0, "output_per_mtok": 2.0}})
    return analysed(tmp_path_factory.mktemp("hand"), config, SUMS, scripted())


A_REF, B_REF, A_B = ("a", "ref"), ("b", "ref"), ("a", "b")
BY_HAND: list[tuple[str, tuple[str, ...], dict[str, Any], float | None, int]] = [
    # metric, left and right, more, value, n
    ("coverage", ("a",), {}, 1, 4),
    ("whole_share", ("a",), {}, 3 / 4, 4),
    ("censored_share", ("a",), {}, 1 / 4, 4),
    ("missing_share", ("a",), {}, 0, 4),
    ("coverage", ("b",), {}, (1 + 1 + 2 / 3 + 1) / 4, 4),
    ("whole_share", ("b",), {}, (1 + 1 + 2 / 3 + 1 / 3) / 4, 4),
    ("censored_share", ("b",), {}, (2 / 3) / 4, 4),
    ("missing_share", ("b",), {}, (1 / 3) / 4, 4),
    ("empty_share", ("b",), {}, (1 / 3) / 4, 4),
    ("excluded_share", ("b",), {}, 0, 4),
    ("emr", ("ref",), {}, 1, 4),
    ("emr", ("a",), {}, (1 / 3 + 1 + 1 / 3 + 1) / 4, 4),
    ("emr", ("a",), {"family": "sums"}, (1 / 3 + 1) / 2, 2),
    ("emr", ("a",), {"family": "open"}, (1 / 3 + 1) / 2, 2),
    ("emr", ("b",), {}, (1 / 3 + 1 + 0 + 1 / 3) / 4, 4),
    ("emr_complete", ("a",), {}, (1 / 3 + 1 + 1 / 3) / 3, 3),
    ("tarr", ("a",), {"k": 2}, (1 / 3 + 1 + 1 / 3 + 1) / 4, 4),
    ("tarr", ("a",), {"k": 3}, (0 + 1 + 0 + 1) / 4, 4),
    ("tarr", ("b",), {"k": 3}, (0 + 1 + 0) / 3, 3),
    ("tara", ("a",), {"k": 2}, (1 / 3 + 1) / 2, 2),
    ("tara", ("a",), {"k": 3}, (0 + 1) / 2, 2),
    ("tara", ("b",), {"k": 2}, (0 + 1) / 2, 2),
    ("unique_outputs", ("a",), {"k": 3}, (2 + 1 + 2 + 1) / 4, 4),
    ("modal_share", ("a",), {"k": 3}, (2 / 3 + 1 + 2 / 3 + 1) / 4, 4),
    ("ned", ("a",), {}, (2 / 3 * 1 / 9 + 0 + 2 / 3 * 5 / 11 + 0) / 4, 4),
    ("best_accuracy", ("a",), {}, (1 + 0) / 2, 2),
    ("worst_accuracy", ("a",), {}, (0 + 0) / 2, 2),
    ("accuracy_spread", ("a",), {}, (1 + 0) / 2, 2),
    ("best_accuracy", ("b",), {}, (1 + 1) / 2, 2),
    ("worst_accuracy", ("b",), {}, (0 + 1) / 2, 2),
    ("accuracy_spread", ("b",), {}, (1 + 0) / 2, 2),
    ("cross_emr", A_REF, {}, (2 / 3 + 0 + 2 / 3 + 1) / 4, 4),
    ("cross_emr", B_REF, {}, (1 / 3 + 1 + 0 + 0) / 4, 4),
    ("cross_emr", A_B, {}, (2 / 9 + 0 + 1 / 6 + 0) / 4, 4),
    ("cross_emr_complete", A_REF, {}, (2 / 3 + 0 + 2 / 3) / 3, 3),
    ("excess_divergence", A_REF, {}, (0 + 1 + 0 + 0) / 4, 4),
    ("excess_divergence", B_REF, {}, (1 / 3 + 0 + 1 / 2 + 2 / 3) / 4, 4),
    ("noise_floor", A_REF, {}, (1 / 3 + 0 + 1 / 3 + 0) / 4, 4),
    ("cross_ned", A_REF, {}, (1 / 3 * 1 / 9 + 1 / 9 + 1 / 3 * 5 / 11 + 0) / 4, 4),
    ("answer_agreement", A_REF, {}, (2 / 3 + 0) / 2, 2),
    ("answer_agreement", B_REF, {}, (1 / 3 + 1) / 2, 2),
    ("flips", A_REF, {}, (0 + 1) / 2, 2),
    ("flips", B_REF, {}, (1 + 0) / 2, 2),
    ("mismatch_rate", A_REF, {}, (0 + 1) / 2, 2),
    ("mismatch_rate", B_REF, {}, ((0 + 1) / 2 - 1 / 3 + 0) / 2, 2),
    ("finish_reason_agreement", A_REF, {}, 1, 4),
    ("finish_reason_agreement", A_B, {}, (1 + 1 + 1 + 2 / 3) / 4, 4),
    ("length_difference_chars", A_REF, {}, (0 + 0 + 0 - 2) / 4, 4),
    ("prompt_tokens_agreement", A_REF, {}, 1, 4),
    ("prompt_tokens_agreement", B_REF, {}, 0, 4),
    ("accuracy", ("a",), {}, (2 / 3 + 0) / 2, 2),
    ("accuracy", ("b",), {}, (1 / 3 + 1) / 2, 2),
    ("unparsed_share", ("b",), {}, (2 / 3 + 0) / 2, 2),
    ("verbosity_chars", ("a",), {}, (9 + 9 + 11 + 7) / 4, 4),
    ("seq_rep_4", ("a",), {}, None, 0),
    ("rep_128", ("a",), {}, 0, 4),
    ("rep_128_excess", A_REF, {}, 0, 4),
    ("loop_share", ("a",), {}, 0, 4),
    ("served_models", ("a",), {}, 1, 4),
    ("fingerprints", ("a",), {}, 0, 4),
    ("backends", ("a",), {}, 0, 4),
    ("latency_s", ("a",), {}, 2, 4),
    ("first_byte_s", ("a",), {}, 0.5, 4),
    ("completion_tokens_per_s", ("a",), {}, 5 / 2, 4),
    ("calls", ("b",), {}, 12, 4),
    ("attempts", ("b",), {}, 13, 4),
    ("attempts", ("b",), {"family": "sums"}, 6, 2),
    ("prompt_tokens", ("b",), {"kind": "cost"}, 11 * 12, 4),
    ("completion_tokens", ("b",), {}, 11 * 5, 4),
    ("cost_usd", ("a",), {}, (120 * 1 + 60 * 2) / 1e6, 4),
]


@pytest.mark.parametrize(("metric", "who", "more", "value", "n"), BY_HAND)
def test_figures_equal_a_calculation_by_hand(
    hand: Analysis, metric: str, who: tuple[str, ...], more: dict[str, Any], value: float | None, n: int
) -> None:
    """Every figure of the report is what its definition says, to the last digit that floats have."""
    estimate = the(hand, metric, *who, **more)
    assert estimate.value == (None if value is None else pytest.approx(value))
    assert estimate.n == n


def test_every_share_has_an_interval_about_it(hand: Analysis) -> None:
    """No number without its n and interval; the interval holds the value and stays within what is possible."""
    for figure in hand.figures:
        e = figure.estimate
        if figure.unit == "share" and e.n >= 2 and figure.metric != "minimum_detectable_excess":
            assert e.low is not None, figure
            assert e.high is not None, figure
            assert e.value is not None, figure
            assert e.low <= e.value <= e.high, figure
        assert (e.value is None) == (e.n == 0) or figure.metric == "minimum_detectable_excess", figure


def test_a_figure_stands_there_once(hand: Analysis) -> None:
    """A reader who looks a figure up by its names must not find two."""
    names = [(f.kind, f.metric, f.left, f.right, f.condition, f.family, f.k, f.part) for f in hand.figures]
    assert len(names) == len(set(names))


def test_no_price_no_cost(hand: Analysis) -> None:
    """Money is shown where a price was given, and not as zero elsewhere."""
    assert [f.left for f in hand.figures if f.metric == "cost_usd" and f.family is None] == ["a"]


def test_pairs_put_the_reference_on_the_right(hand: Analysis) -> None:
    """A comparison with the reference is its own kind and is not repeated among the cross ones."""
    pairs = {(f.kind, f.left, f.right) for f in hand.figures if f.metric == "cross_emr"}
    assert pairs == {("reference", "a", "ref"), ("reference", "b", "ref"), ("cross", "a", "b")}


def test_curves_end_at_the_exact_match_rate(hand: Analysis) -> None:
    """Survival: both a's partings are at characters 4 and 8, and the identical pairs stay."""
    curve = next(c for c in hand.curves if c.kind == "repeat" and c.left == "a")
    assert curve.positions == (0, 5, 9)
    assert curve.shares == pytest.approx((1, 10 / 12, 8 / 12))
    assert curve.pairs == 12
    cross = next(c for c in hand.curves if (c.left, c.right) == ("a", "ref"))
    assert cross.shares[-1] == pytest.approx(7 / 12)
    assert cross.pairs == 4 * 9


def test_divergences_show_where_texts_part(hand: Analysis) -> None:
    """The earliest first; the trials named gave exactly the texts shown, which differ at that character."""
    own = [d for d in hand.divergences if d.left.provider == d.right.provider == "a"]
    assert [(d.prompt, d.at_char) for d in own] == [("o1", 4), ("q1", 8)]
    assert (own[0].left.repeat, own[0].right.repeat) == (0, 2)
    # On o2 both were cut: one text begins the other, so nothing shows there.
    against = [d for d in hand.divergences if (d.left.provider, d.right.provider) == ("a", "ref")]
    assert [(d.prompt, d.at_char) for d in against] == [("q2", 8)]
    peers = [d for d in hand.divergences if (d.left.provider, d.right.provider) == ("a", "b")]
    assert [(d.prompt, d.at_char) for d in peers] == [("q1", 0), ("o1", 0), ("o2", 5)]
    said = {(a.trial, a.exchange.outcome.completion.text) for a in scripted() if a.exchange.outcome.completion}
    for d in hand.divergences:
        assert (d.left, d.left_text) in said
        assert (d.right, d.right_text) in said
        assert d.left_text[: d.at_char] == d.right_text[: d.at_char]
        assert d.left_text[d.at_char :][:1] != d.right_text[d.at_char :][:1]


def test_prompt_rows_count_outcomes_and_answers(hand: Analysis) -> None:
    """One row for each prompt and provider, also where everything is missing."""
    rows = {(r.prompt, r.provider): r for r in hand.prompt_rows}
    assert len(rows) == len(hand.prompt_rows) == 12
    row = rows["q1", "b"]
    assert (row.planned, row.valid, row.censored, row.missing, row.distinct) == (3, 3, 0, 0, 2)
    assert row.answers == ((None, 2), ("4", 1))
    assert row.emr == pytest.approx(1 / 3)
    assert row.modal_share == pytest.approx(2 / 3)
    assert row.modal_text == "no idea"
    assert row.match_reference == pytest.approx(1 / 3)
    row = rows["o1", "b"]
    assert (row.valid, row.missing, row.distinct, row.emr, row.modal_text) == (2, 1, 2, 0, "")
    assert rows["o2", "a"].censored == 3
    assert rows["q1", "ref"].match_reference is None


def test_the_same_answer_is_never_rarer_than_the_same_text(tmp_path: Path) -> None:
    """Identical texts say the same, whether or not an extractor can read them; others that it cannot read do not."""
    prompts = suite(prompt("q1", "sums", "4"), prompt("q2", "sums", "7"))
    attempts = [
        one
        for provider, second in (("ref", "who knows"), ("a", "no clue"))
        for one in (
            *answers(provider, "q1", "no idea", "no idea", "no idea"),
            *answers(provider, "q2", second, second, second),
        )
    ]
    found = analysed(tmp_path, settings("ref", "a"), prompts, attempts)
    assert the(found, "cross_emr", "a", "ref").value == 0.5
    assert the(found, "answer_agreement", "a", "ref").value == 0.5


def test_failures_are_counted_by_attempt(hand: Analysis) -> None:
    """Both failed attempts of the one trial show, each under its own kind."""
    assert [(f.provider, f.kind, f.count, f.prompts) for f in hand.failures] == [
        ("b", "server", 1, 1),
        ("b", "timeout", 1, 1),
    ]


# --- what may not change a figure ------------------------------------------------------------


def test_order_of_records_does_not_matter(hand: Analysis, tmp_path: Path) -> None:
    """Lanes write as answers come in; the analysis is a function of what was answered."""
    attempts = scripted()
    random.Random(1).shuffle(attempts)
    config = settings("ref", "a", "b", a={"price": {"input_per_mtok": 1.0, "output_per_mtok": 2.0}})
    assert analysed(tmp_path, config, SUMS, attempts) == hand


def test_order_of_providers_does_not_matter(hand: Analysis, tmp_path: Path) -> None:
    """Moving a provider in providers.yaml moves its place in the list and nothing else."""
    config = settings("b", "ref", "a", a={"price": {"input_per_mtok": 1.0, "output_per_mtok": 2.0}})
    moved = analysed(tmp_path, config, SUMS, scripted())
    assert [p.name for p in moved.providers] == ["b", "ref", "a"]
    assert replace(moved, providers=(), plan_digest="") == replace(hand, providers=(), plan_digest="")


def test_analysis_is_pure(tmp_path: Path) -> None:
    """Same folder, same value."""
    run = open_run(make_run(tmp_path, settings("ref", "a", "b"), SUMS, scripted()))
    assert analyse(run) == analyse(run)


def test_a_provider_changes_nothing_for_another(hand: Analysis, tmp_path: Path) -> None:
    """A provider's own figures do not depend on who else took part."""
    attempts = [a for a in scripted() if a.trial.provider == "b"]
    alone = analysed(tmp_path, settings("b"), SUMS, attempts)
    own = [f for f in hand.figures if f.left == "b" and f.right is None]
    assert {f for f in alone.figures if f.right is None} == set(own)


# --- which attempt counts, and which responses ------------------------------------------------


def test_the_first_usable_attempt_counts_else_the_last(tmp_path: Path) -> None:
    """A retry fills the same trial and is never a new repeat; nor may a later answer replace an earlier one."""
    config, prompts = settings("a", repeats=2), suite(prompt("o1"), prompt("o2"))
    attempts = [
        attempt("a", "o1", 0, missing("server"), number=1),
        attempt("a", "o1", 0, whole("x"), number=2),
        attempt("a", "o1", 0, whole("y"), number=3),
        attempt("a", "o1", 1, whole("x"), number=1),
        attempt("a", "o2", 0, missing("server"), number=1),
        attempt("a", "o2", 0, Outcome(status="excluded", kind="cached"), number=2),
    ]
    found = analysed(tmp_path, config, prompts, attempts)
    assert the(found, "emr", "a").value == 1
    assert the(found, "emr", "a").n == 1
    assert the(found, "excluded_share", "a").value == pytest.approx((1 / 2) / 2)
    assert [(f.kind, f.count, f.prompts) for f in found.failures] == [("not_asked", 1, 1), ("server", 2, 2)]


def test_a_cached_answer_is_never_agreement(tmp_path: Path) -> None:
    """A replayed answer says nothing of the model, however often it is the same."""
    cached = Outcome(status="excluded", kind="cached", completion=Completion(text="x"))
    found = analysed(tmp_path, settings("a"), suite(prompt("o1")), answers("a", "o1", "x", cached, cached))
    assert the(found, "emr", "a").value is None
    assert "replayed by a response cache" in " ".join(found.notes)


def test_empty_answers_are_compared_and_withheld_ones_are_not(tmp_path: Path) -> None:
    """Nothing at all is an answer, and differs from a text; what a filter took away is nothing to compare."""
    filtered = Outcome(status="censored", kind="content_filter", completion=Completion(text=""))
    attempts = [
        *answers("a", "o1", "", ""),
        *answers("a", "o2", filtered, filtered),
        *answers("a", "o3", "", "Paris."),
    ]
    prompts = suite(prompt("o1"), prompt("o2"), prompt("o3"))
    found = analysed(tmp_path, settings("a", repeats=2), prompts, attempts)
    assert (the(found, "emr", "a").value, the(found, "emr", "a").n) == (1 / 2, 2)
    assert the(found, "empty_share", "a").value == pytest.approx(1 / 2)
    assert the(found, "censored_share", "a").value == pytest.approx(1 / 3)
    (finding,) = findings(found, "nondeterministic")
    assert {t.prompt for t in finding.evidence} == {"o3"}
    assert "a: 3 answers were empty; that is an answer, and differs from any text" in found.notes


def test_what_a_filter_cut_is_compared_up_to_the_cut(tmp_path: Path) -> None:
    """It is what the model wrote: where it begins another answer no divergence was seen, where it does not, it was."""

    def filtered(text: str) -> Outcome:
        return Outcome(status="censored", kind="content_filter", completion=Completion(text=text, completion_tokens=3))

    attempts = [*answers("a", "o1", filtered("I can"), "I cannot say."), *answers("a", "o2", filtered("I can"), "No.")]
    found = analysed(tmp_path, settings("a", repeats=2), suite(prompt("o1"), prompt("o2")), attempts)
    assert (the(found, "emr", "a").value, the(found, "emr", "a").n) == (1 / 2, 2)
    assert any("2 responses were cut by a filter; they are compared up to the cut" in note for note in found.notes)


def test_nothing_recorded_is_not_measured(tmp_path: Path) -> None:
    """A run without a record has no agreement and no finding, and says what was not asked."""
    found = analysed(tmp_path, settings("ref", "a"), SUMS, [])
    assert the(found, "emr", "a").value is None
    assert the(found, "coverage", "a").value == 0
    assert the(found, "cross_emr", "a", "ref").n == 0
    assert found.findings == ()
    assert [(f.provider, f.kind, f.count) for f in found.failures] == [("a", "not_asked", 12), ("ref", "not_asked", 12)]


def test_what_a_context_cannot_hold_is_no_gap(tmp_path: Path) -> None:
    """A prompt that was never to be asked does not count as missing; the report says how many there were."""
    long = replace(prompt("o2"), messages=(Message(role="user", content="word " * 2_000),))
    attempts = answers("a", "o1", "x", "x")
    found = analysed(tmp_path, settings("a", repeats=2, a={"context": 1_000}), suite(prompt("o1"), long), attempts)
    assert (the(found, "coverage", "a").value, the(found, "coverage", "a").n) == (1, 1)
    assert found.failures == ()
    assert "a: not asked, because longer than its context of 1000 tokens: 1 of 2 prompts" in found.notes


def test_a_foreign_record_is_refused(tmp_path: Path) -> None:
    """Records and manifest of two runs must not be mixed silently."""
    with pytest.raises(RunFolderError, match="elsewhere"):
        analysed(tmp_path, settings("a"), suite(prompt("o1")), answers("elsewhere", "o1", "x"))


def test_providers_of_different_models_are_not_compared(tmp_path: Path) -> None:
    """Only who claims the same weights can deviate from them."""
    config = settings("a", "b", b={"model": "other"})
    attempts = [*answers("a", "o1", "x", "x", "x"), *answers("b", "o1", "y", "y", "y")]
    found = analysed(tmp_path, config, suite(prompt("o1")), attempts)
    assert not [f for f in found.figures if f.right]


# --- findings --------------------------------------------------------------------------------

MANY = suite(*(prompt(f"p{j:02}", expected="4") for j in range(12)))


def everywhere(provider: str, *outcomes: Outcome | str, prompts: Suite = MANY) -> Iterator[Attempt]:
    for p in prompts.prompts:
        yield from answers(provider, p.id, *outcomes)


def test_nondeterminism_is_proved_by_two_repeats_of_one_request(tmp_path: Path) -> None:
    """The finding names two trials with the same request and identity whose texts differ, and the load."""
    attempts = [
        attempt("a", "p00", 0, whole("x"), in_flight=4),
        attempt("a", "p00", 1, whole("x")),
        attempt("a", "p00", 2, whole("y")),
        *answers("a", "p01", "z", "z", "z"),
    ]
    found = analysed(tmp_path, settings("a", a={"pinned": False}), MANY, attempts)
    (finding,) = findings(found, "nondeterministic")
    assert [t.repeat for t in finding.evidence] == [0, 2]
    assert {t.prompt for t in finding.evidence} == {"p00"}
    for words in ("1 of 2 prompts", '"p00"', "temperature 0", "up to 4 in flight", "0.667", "several upstreams"):
        assert words in finding.message
    assert finding.estimate is not None
    assert finding.estimate.n == 2


def test_evidence_is_capped_and_the_message_has_the_total(tmp_path: Path) -> None:
    """A finding stays readable however often it happened."""
    found = analysed(tmp_path, settings("a"), MANY, everywhere("a", "x", "y", "z"))
    (finding,) = findings(found, "nondeterministic")
    assert len(finding.evidence) == 20
    assert "12 of 12 prompts" in finding.message


def test_other_request_bytes_prove_nothing(tmp_path: Path) -> None:
    """Different texts for different requests are no nondeterminism."""
    first, second = answers("a", "p00", "x", "y")
    request = replace(second.exchange.request, body="{}", sha256=sha256("{}"))
    other = replace(second, exchange=replace(second.exchange, request=request))
    found = analysed(tmp_path, settings("a"), MANY, [first, other])
    assert not findings(found, "nondeterministic")
    assert the(found, "emr", "a").n == 0


def test_a_changed_identity_splits_the_statistics_and_is_found(tmp_path: Path) -> None:
    """Texts that differ across a changed served model are a change of the model, not its noise."""
    old, new = {"served_model": "m", "backend": "one"}, {"served_model": "n", "backend": "one"}
    attempts = everywhere("a", whole("x", **old), whole("x", **old), whole("y", **new))
    found = analysed(tmp_path, settings("a"), MANY, attempts)
    assert the(found, "emr", "a").value == 1
    assert not findings(found, "nondeterministic")
    (finding,) = findings(found, "identity_changed")
    assert "served_model m | n" in finding.message
    assert "backend one" not in finding.message
    assert [t.repeat for t in finding.evidence] == [0, 2]
    told = [(s.served_model, s.backend, s.answers) for s in found.served]
    assert told == [("m", "one", 24), ("n", "one", 12)]


def test_fingerprints_change_in_normal_service(tmp_path: Path) -> None:
    """They are counted and told; they are no finding, and answers are compared across them."""
    first, second = {"served_model": "m", "fingerprint": "fp_1"}, {"served_model": "m", "fingerprint": "fp_2"}
    found = analysed(
        tmp_path / "same", settings("a"), MANY, everywhere("a", *[whole("x", **first)] * 2, whole("x", **second))
    )
    assert not found.findings
    assert the(found, "fingerprints", "a").value == 2
    assert any("2 different system fingerprints in 36 answers" in note for note in found.notes)
    attempts = everywhere("a", *[whole("x", **first)] * 2, whole("y", **second))
    differ = analysed(tmp_path / "differ", settings("a"), MANY, attempts)
    assert [f.rule for f in differ.findings] == ["nondeterministic"]
    assert the(differ, "emr", "a").value == pytest.approx(1 / 3)


@pytest.mark.parametrize(("pinned", "found"), [(True, ["identity_changed"]), (False, [])])
def test_another_backend_is_a_finding_where_one_was_promised(tmp_path: Path, pinned: bool, found: list[str]) -> None:
    """A router may choose; a provider said to be one upstream may not. Repeats are compared within one backend."""
    served = [whole("x", backend="one"), whole("x", backend="one"), whole("y", backend="two")]
    told = analysed(tmp_path, settings("a", a={"pinned": pinned}), MANY, everywhere("a", *served))
    assert [f.rule for f in told.findings] == found
    assert the(told, "emr", "a").value == 1


def test_nothing_seen_is_a_bound_and_never_a_proof(tmp_path: Path) -> None:
    """Without divergence the note gives the largest rate left possible, and no figure calls anybody deterministic."""
    found = analysed(tmp_path, settings("a"), MANY, everywhere("a", "x", "x", "x"))
    (note,) = [n for n in found.notes if "no divergence" in n]
    assert "3 repeats of 12 prompts" in note
    assert "below 22.1%" in note  # 1 - .05 ** (1/12)
    assert "deterministic" not in note


def test_a_difference_needs_more_than_noise(tmp_path: Path) -> None:
    """Providers that always give another text than the reference deviate; ones that are only noisy do not."""
    attempts = [
        *everywhere("ref", "x", "y", "x"),
        *everywhere("alike", "y", "x", "x"),
        *everywhere("other", "z", "z", "z"),
    ]
    found = analysed(tmp_path, settings("ref", "alike", "other"), MANY, attempts)
    (deviates,) = findings(found, "deviates_from_reference")
    assert (deviates.subject, deviates.other) == ("other", "ref")
    assert deviates.p_value is not None
    assert deviates.p_value <= 0.05
    assert deviates.estimate is not None
    assert deviates.estimate.value == pytest.approx((1 / 3 + 1) / 2 - 0)
    assert {t.provider for t in deviates.evidence} == {"other", "ref"}
    assert deviates.weight == "note"
    assert not findings(found, "differs"), "a reference says who strays: peers are not held against each other"
    levels = {one.provider: one.name for one in found.levels}
    assert levels == {"alike": "unread", "other": "unread"}


def test_unequal_prompt_tokens_name_their_offset(tmp_path: Path) -> None:
    """A constant offset points at a template; where the reference tells its numbers, peers are not accused twice."""
    attempts = [
        *everywhere("ref", *[whole("x", prompt_tokens=10)] * 3),
        *everywhere("a", *[whole("x", prompt_tokens=10)] * 3),
        *everywhere("b", *[whole("x", prompt_tokens=31)] * 3),
        *everywhere("c", *[whole("x")] * 3),
    ]
    found = analysed(tmp_path, settings("ref", "a", "b", "c"), MANY, attempts)
    (finding,) = findings(found, "prompt_tokens_differ")
    assert (finding.subject, finding.other) == ("b", "ref")
    assert "12 of 12 prompts, always by +21" in finding.message


def test_peers_are_compared_where_the_reference_tells_no_prompt_tokens(tmp_path: Path) -> None:
    """Silence of the reference must not hide that two providers count differently."""
    attempts = [
        *everywhere("ref", *[whole("x")] * 3),
        *everywhere("a", *[whole("x", prompt_tokens=10)] * 3),
        *everywhere("b", *[whole("x", prompt_tokens=31)] * 3),
    ]
    found = analysed(tmp_path, settings("ref", "a", "b"), MANY, attempts)
    assert [(f.subject, f.other) for f in findings(found, "prompt_tokens_differ")] == [("a", "b")]


def test_flipped_answers_are_tested_by_prompt(tmp_path: Path) -> None:
    """Twelve prompts right on one side only are more than chance (McNemar p = 2/2^12); three of twelve are not."""
    few = [
        a
        for j, p in enumerate(MANY.prompts)
        for a in answers("few", p.id, *["Answer: 5" if j < 3 else "Answer: 4"] * 3)
    ]
    attempts = [*everywhere("ref", *["Answer: 4"] * 3), *everywhere("wrong", *["Answer: 5"] * 3), *few]
    found = analysed(tmp_path, settings("ref", "wrong", "few"), MANY, attempts)
    assert {(f.subject, f.other) for f in findings(found, "answers_differ")} == {("wrong", "ref")}
    (against,) = findings(found, "answers_differ")
    assert against.p_value == pytest.approx(2 * 2 / 2**12)
    assert "0 are right only with wrong and 12 only with ref" in against.message


VERSE = "one two three four five six seven eight nine ten "


def test_repeating_and_looping_more_than_the_reference(tmp_path: Path) -> None:
    """What counts is the excess on the same prompts: a reference that loops too leaves nothing to find."""
    attempts = [
        *everywhere("ref", *[VERSE] * 3),
        *everywhere("stuck", *[cut(VERSE * 6)] * 3),
        *everywhere("fine", *[VERSE + "eleven"] * 3),
    ]
    found = analysed(tmp_path, settings("ref", "stuck", "fine"), MANY, attempts)
    assert [(f.subject, f.other) for f in findings(found, "repeats_more")] == [("stuck", "ref")]
    assert [(f.subject, f.other) for f in findings(found, "loops_more")] == [("stuck", "ref")]
    assert the(found, "loop_share", "stuck").value == 1
    assert the(found, "loop_share_excess", "stuck", "ref").value == 1
    assert "36 of 36 responses end in a loop, 36 of them cut" in " ".join(found.notes)
    looping = [*everywhere("ref", *[VERSE * 6] * 3), *everywhere("stuck", *[cut(VERSE * 6)] * 3)]
    looping += everywhere("calm", *[VERSE] * 3)
    both = analysed(tmp_path / "both", settings("ref", "stuck", "calm"), MANY, looping)
    assert not findings(both, "repeats_more")
    assert not findings(both, "loops_more")


def test_without_a_reference_repetition_is_over_the_peers(tmp_path: Path) -> None:
    """Every provider is held against the mean of the others on the same prompt."""
    attempts = [*everywhere("a", *[VERSE * 6] * 3), *everywhere("b", *[VERSE] * 3), *everywhere("c", *[VERSE] * 3)]
    found = analysed(tmp_path, settings("a", "b", "c", reference=None), MANY, attempts)
    assert the(found, "loop_share_excess", "a").value == 1
    assert the(found, "loop_share_excess", "b").value == pytest.approx(-1 / 2)


def test_the_reference_proves_itself_bit_by_bit(tmp_path: Path) -> None:
    """Equal texts are not enough: the logits and token ids of each repeat must be those of the first."""
    same = whole("x", logits_sha256="ab", token_ids=(1, 2))
    found = analysed(tmp_path, settings("ref"), MANY, everywhere("ref", same, same, same))
    assert the(found, "bit_identical_share", "ref").value == 1
    assert not findings(found, "reference_not_reproducible")
    assert "24 of 24 repeats of 12 prompts have the same logits" in " ".join(found.notes)
    changed = whole("x", logits_sha256="cd", token_ids=(1, 2))
    found = analysed(tmp_path / "changed", settings("ref"), MANY, everywhere("ref", same, same, changed))
    assert the(found, "bit_identical_share", "ref").value == pytest.approx(1 / 2)
    (finding,) = findings(found, "reference_not_reproducible")
    assert [t.repeat for t in finding.evidence[:2]] == [0, 2]
    assert not findings(found, "nondeterministic")


def test_a_reference_without_logits_is_held_to_its_texts(tmp_path: Path) -> None:
    """A hosted reference that differs from itself is said to be no firm ground."""
    found = analysed(tmp_path, settings("ref"), MANY, everywhere("ref", "x", "x", "y"))
    assert len(findings(found, "reference_not_reproducible")) == 1
    assert not [f for f in found.figures if f.metric == "bit_identical_share"]


def cut_figures(tmp_path: Path, *limits: int | None, sent: Sequence[int] = ()) -> tuple[float | None, int]:
    """EMR of " I" and " It", both cut, and how many nondeterminism findings; `sent` are the limits in the requests."""
    texts = [cut(text, completion_tokens=limit) for text, limit in zip((" I", " It"), limits, strict=True)]
    attempts = []
    for number in range(12):
        for made in answers("a", f"p{number:02}", *texts):
            body = json.dumps({"max_tokens": sent[made.trial.repeat]}) if sent else "{}"
            request = replace(made.exchange.request, body=body, sha256=sha256(body))
            attempts.append(replace(made, exchange=replace(made.exchange, request=request)))
    prompts = suite(*(prompt(f"p{n:02}") for n in range(12)))
    found = analysed(tmp_path, settings("a", repeats=2), prompts, attempts)
    return the(found, "emr", "a").value, len(findings(found, "nondeterministic"))


def test_texts_cut_after_the_same_tokens_that_differ_diverged(tmp_path: Path) -> None:
    """One token each: the longer one is no continuation of the shorter one."""
    assert cut_figures(tmp_path, 1, 1) == (0.0, 1)


def test_a_cut_text_that_begins_another_agrees_where_limits_differ_or_are_unknown(tmp_path: Path) -> None:
    """Up to the shorter cut nothing was seen to differ."""
    assert cut_figures(tmp_path / "differ", 1, 2) == (1.0, 0)
    assert cut_figures(tmp_path / "unknown", None, None) == (1.0, 0)


def test_the_limit_that_was_sent_stands_in_where_tokens_were_not_counted(tmp_path: Path) -> None:
    """A response that reports no usage was still cut at the limit that its request sent."""
    assert cut_figures(tmp_path, None, None, sent=(1, 1)) == (0.0, 1)


def test_cut_texts_are_evidence_up_to_the_cut(tmp_path: Path) -> None:
    """Prompts that always hit the limit are compared; a note says how many, and valid-only figures stand beside."""
    attempts = [*answers("a", "p00", cut("abc"), cut("abc"), cut("abc")), *answers("a", "p01", cut("ab"), cut("ac"))]
    found = analysed(tmp_path, settings("a"), MANY, attempts)
    assert the(found, "emr", "a").value == pytest.approx(1 / 2)
    assert the(found, "emr", "a").n == 2
    assert the(found, "emr_complete", "a").n == 0
    assert "5 responses were cut at their token limit" in " ".join(found.notes)
    (finding,) = findings(found, "nondeterministic")
    assert {t.prompt for t in finding.evidence} == {"p01"}


def test_a_cut_text_has_no_answer_yet(tmp_path: Path) -> None:
    """An answer read from a text that was cut is a guess: it is neither right, nor wrong, nor unparsed."""
    outcomes = [whole("Answer: 5"), cut("Answer: 4"), cut("Let me think")]
    found = analysed(tmp_path, settings("a"), MANY, answers("a", "p00", *outcomes))
    assert the(found, "accuracy", "a").value == 0
    assert the(found, "unparsed_share", "a").value == 0
    assert found.prompt_rows[0].answers == (("5", 1),)


def test_a_cut_that_hides_nothing_is_no_evidence(tmp_path: Path) -> None:
    """The trials shown visibly differ, even where a short cut text fits both of two that do."""
    outcomes = [cut("a"), whole("ab"), whole("ac")]
    found = analysed(tmp_path, settings("a"), MANY, answers("a", "p00", *outcomes))
    (finding,) = findings(found, "nondeterministic")
    assert [t.repeat for t in finding.evidence] == [1, 2]
    (shown,) = found.divergences
    assert {shown.left_text, shown.right_text} == {"ab", "ac"}


def test_findings_come_in_a_fixed_order(hand: Analysis) -> None:
    """By rule, then by whom they accuse: two reports of one run read alike."""
    order = [(f.rule, f.subject, f.other) for f in hand.findings]
    assert order == [
        ("nondeterministic", "a", None),
        ("nondeterministic", "b", None),
        ("prompt_tokens_differ", "b", "ref"),
        ("deviates_from_reference", "b", "ref"),
    ]


def test_conditions_are_kept_apart(tmp_path: Path) -> None:
    """Another load is another experiment: nothing is pooled or compared across it."""
    busy = [
        replace(a, trial=Trial(provider="a", prompt=a.trial.prompt, condition="busy", repeat=a.trial.repeat))
        for a in everywhere("a", "x", "y", "z")
    ]
    found = analysed(tmp_path, settings("a"), MANY, [*everywhere("a", "x", "x", "x"), *busy])
    assert the(found, "emr", "a", condition="default").value == 1
    assert the(found, "emr", "a", condition="busy").value == 0
    (finding,) = findings(found, "nondeterministic")
    assert "(condition busy)" in finding.message


@pytest.mark.parametrize("text", ["\x00", "\u2028" * 50, "</script>", "é" * 3000, "🙂" * 300])
def test_any_text_is_analysed(tmp_path: Path, text: str) -> None:
    """Model output is hostile input: nothing in it may stop the analysis."""
    found = analysed(tmp_path, settings("a", "b"), MANY, [*everywhere("a", text, text + "x"), *everywhere("b", text)])
    assert len(findings(found, "nondeterministic")) == 1


# --- would the test accuse a provider of differing from itself? --------------------------------


def asked_on_and_on(folder: Path, texts: dict[str, list[str]], *, repeats: int = 8, prompts: int = 6) -> Analysis:
    """Providers that give these texts, in this order, on each prompt."""
    names = [f"p{i}" for i in range(prompts)]
    given = [a for who, all_ in texts.items() for name in names for a in answers(who, name, *all_)]
    config = settings(*texts, reference=None, repeats=repeats)
    return analysed(folder, config, suite(*map(prompt, names)), given)


def test_the_test_keeps_its_level_on_the_runs_own_repeats(tmp_path: Path) -> None:
    """Random halves of one provider's repeats are no two providers: the share of false alarms is measured and shown."""
    analysis = asked_on_and_on(tmp_path, {"mixed": [CAT, DOG] * 4, "sure": [CAT] * 8})
    found = the(analysis, "aa_false_alarms", "mixed")
    assert found.n == 200
    assert found.value is not None
    assert found.value <= 0.1
    sure = the(analysis, "aa_false_alarms", "sure")
    assert (sure.value, sure.method) == (None, "cannot tell: its repeats never differ"), (
        "0 by construction says nothing"
    )
    assert the(analysis, "halves_excess", "sure").value == 0
    mixed = the(analysis, "halves_excess", "mixed")
    assert mixed.value == pytest.approx(1 / 3 - 1 / 2), "each half has two of each: EMR 2/6, cross-EMR 1/2"
    assert "permutation p = " in mixed.method
    assert not [n for n in analysis.notes if "second half" in n]


def test_a_change_while_being_asked_is_told(tmp_path: Path) -> None:
    """A provider that answers otherwise from some moment on looks merely noisy unless its halves are compared."""
    analysis = asked_on_and_on(tmp_path, {"steady": [CAT, DOG] * 4, "swapped": [CAT] * 4 + [DOG] * 4})
    assert the(analysis, "halves_excess", "swapped").value == 1
    told = [n for n in analysis.notes if "the second half of its repeats differs from the first" in n]
    assert [n.split(":")[0] for n in told] == ["swapped"]
    assert "after Holm over 2 providers" in told[0]


def test_an_odd_repeat_belongs_to_neither_half(tmp_path: Path) -> None:
    """Five repeats give halves of two; the one in the middle counts for neither."""
    analysis = asked_on_and_on(tmp_path, {"a": [CAT, CAT, "neither", DOG, DOG]}, repeats=5)
    assert the(analysis, "halves_excess", "a").value == 1


def test_too_few_repeats_to_split_are_said_to_be_so(tmp_path: Path) -> None:
    """Three repeats make no two halves with a noise of their own: that is not measured, and no share of 0."""
    analysis = asked_on_and_on(tmp_path, {"a": [CAT, DOG, CAT]}, repeats=3)
    for metric in ("aa_false_alarms", "halves_excess"):
        found = the(analysis, metric, "a")
        assert (found.value, found.n) == (None, 0)


def test_who_waits_is_told_how_far_it_has_come(tmp_path: Path) -> None:
    """A large run takes minutes; each phase tells its share, never backwards, and the last one ends whole."""
    heard: list[tuple[str, float]] = []
    settings, suite = make_config(), make_suite()
    given = [make_attempt(make_trial(p, q)) for p in ("a", "b") for q in ("p0", "p1", "p2")]
    run = open_run(make_run(tmp_path, settings, suite, given))
    assert analyse(run, lambda phase, share: heard.append((phase, share))) == analyse(run)
    assert [phase for phase, _ in heard] == sorted((phase for phase, _ in heard), reverse=True)
    assert heard[-1] == ("comparing", 1.0)
    shares = [share for phase, share in heard if phase == "comparing"]
    assert shares == sorted(shares)
