"""How an answer's counts stand to the limit asked for, and its model's name to the id asked for."""

from __future__ import annotations

import pytest
from loopback import completion_value
from replies import counted, read_whole
from tempzero.answers.served_names import judge_served_name
from tempzero.types.vocabulary import NameStanding

CUT = ("censored", "length")
WHOLE = ("valid", "complete")


@pytest.mark.parametrize(
    ("usage", "finish", "ended", "flags"),
    [
        (counted(5, 9, 14), "stop", WHOLE, ()),
        (counted(5, 10, 15), "length", CUT, ()),
        (counted(5, 10, 15), "stop", CUT, ("limit_unsaid",)),
        (counted(5, 10, 15), "", CUT, ("limit_unsaid", "finish_reason_missing")),
        (counted(5, 10, 15), None, CUT, ("limit_unsaid", "finish_reason_missing")),
        (counted(5, 9, 14), None, WHOLE, ("finish_reason_missing",)),
        (counted(5, 3, 8), "length", CUT, ()),
        (counted(5, 12, 17), "stop", WHOLE, ("limit_counted_otherwise",)),
        (counted(5, 12, 17), "length", CUT, ("limit_counted_otherwise",)),
        (counted(5, 13, 18), "stop", WHOLE, ("max_tokens_not_held",)),
        (counted(5, 30, 35), "stop", WHOLE, ("max_tokens_not_held",)),
        (counted(5, 30, 35), "length", CUT, ("max_tokens_not_held",)),
        (counted(5, 30, 35), None, CUT, ("limit_unsaid", "max_tokens_not_held", "finish_reason_missing")),
        # Reasoning within completion_tokens: the limit is that of all, or of the text alone.
        (counted(5, 10, 15, 8), "length", CUT, ()),
        (counted(5, 30, 35, 25), "stop", WHOLE, ("limit_without_reasoning",)),
        (counted(5, 35, 40, 25), "stop", CUT, ("limit_unsaid", "limit_without_reasoning")),
        # And outside: total_tokens says it.
        (counted(5, 4, 59, 50), "stop", WHOLE, ("reasoning_billed_apart", "limit_without_reasoning")),
        (counted(5, 4, 15, 6), "stop", CUT, ("reasoning_billed_apart", "limit_unsaid")),
        (
            counted(5, 4, 59, 50),
            None,
            CUT,
            ("reasoning_billed_apart", "limit_unsaid", "limit_without_reasoning", "finish_reason_missing"),
        ),
    ],
)
def test_an_answer_at_its_limit_is_cut_whatever_is_said_of_it(
    usage: dict[str, int], finish: str | None, ended: tuple[str, str], flags: tuple[str, ...]
) -> None:
    """A text cut in silence would be compared as a whole one; a limit that does not hold costs money."""
    outcome = read_whole(completion_value(usage=usage, finish_reason=finish), asked_max_tokens=10)
    assert (outcome.status, outcome.kind) == ended
    assert set(outcome.flags) == set(flags)


def test_a_text_of_far_more_words_than_tokens_allowed_shows_the_limit_broken_where_nobody_counted() -> None:
    """A host without usage is read by its text; one that counts is believed, for its tokens may hold several words."""
    for usage, words, flagged in ((None, 20, False), (None, 21, True), (counted(5, 9, 14), 21, False)):
        outcome = read_whole(completion_value("word " * words, usage=usage), asked_max_tokens=10)
        assert ("max_tokens_not_held" in outcome.flags) is flagged


def test_a_reasoning_that_is_shown_and_not_counted_apart_breaks_no_limit() -> None:
    """Of 40 tokens nobody knows which are the text's; where they are counted, they are known."""
    for usage, flag in (
        (counted(5, 40, 45), "limit_without_reasoning"),
        (counted(5, 40, 45, 3), "max_tokens_not_held"),
    ):
        answer = completion_value(usage=usage, message={"reasoning": "hm"})
        assert read_whole(answer, asked_max_tokens=10).flags == (flag,)


def test_without_a_known_limit_the_finish_reason_alone_counts() -> None:
    """Of a request without max_tokens nothing can be said of its limit."""
    outcome = read_whole(completion_value(usage=counted(5, 10, 15)))
    assert (outcome.kind, outcome.flags) == ("complete", ())


@pytest.mark.parametrize("fields", [{"message": {"reasoning": "hm"}}, {"usage": counted(5, 10, 15, 10)}])
def test_a_limit_spent_on_reasoning_says_what_to_do(fields: dict[str, object]) -> None:
    """Whoever sees no text must learn that the limit was too low, not that the model is silent."""
    outcome = read_whole(completion_value(None, finish_reason="length", **fields), asked_max_tokens=10)  # type: ignore[arg-type]
    assert (outcome.status, outcome.kind) == CUT
    assert outcome.detail == "the limit was spent on reasoning: raise max_tokens"
    assert "limit_spent_on_reasoning" in outcome.flags


def test_tokens_billed_apart_are_output() -> None:
    """What is paid for is counted, wherever a host writes it."""
    outputs = []
    for usage in (counted(5, 4, 59, 50), counted(5, 54, 59, 50), {"prompt_tokens": 5, "completion_tokens": 54}):
        completion = read_whole(completion_value(usage=usage)).completion
        assert completion is not None
        outputs.append(completion.output_tokens)
    assert outputs == [54, 54, 54]


@pytest.mark.parametrize(
    ("asked", "served", "standing"),
    [
        ("gpt-4o", "gpt-4o", "same"),
        ("org/Llama-3.1-8B", "llama-3.1-8b", "same"),
        ("x:free", "x", "same"),
        ("claude-3.5-sonnet", "claude-3-5-sonnet", "same"),
        ("gpt-4o", "gpt-4o-2024-08-06", "alias"),
        ("gpt-4", "gpt-4-0613", "alias"),
        ("mistral-large-latest", "mistral-large-2411", "alias"),
        ("claude-3-5-sonnet", "claude-3-5-sonnet@20240620", "alias"),
        ("gemini-1.5-flash", "gemini-1.5-flash-002", "alias"),
        ("gpt-4o-2024-08-06", "gpt-4o", "alias"),
        ("llama-3.1-8b", "meta-llama/Llama-3.1-8B", "alias"),
        ("deepseek-chat", "deepseek-v4-flash", "other"),
        ("llama-3.1-70b", "llama-3.1-8b", "other"),
        ("llama-3.1-70b-instruct", "llama-3.1-70b-instruct-fp8", "other"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-08-06", "other"),
        ("gpt-4", "gpt-4-turbo", "other"),
        ("phi-3", "phi-3-9999", "other"),
        ("org/x", "elsewhere/x", "other"),
    ],
)
def test_a_name_stands_for_the_model_asked_for_or_does_not(asked: str, served: str, standing: NameStanding) -> None:
    """A dated snapshot is normal service, 8b for 70b is not; both are told."""
    assert judge_served_name(served, asked=asked) == standing


@pytest.mark.parametrize(
    ("accepted", "standing"), [("deepseek-v4-flash", "alias"), ("DeepSeek-v4-*", "alias"), ("deepseek-v4", "other")]
)
def test_a_name_that_is_accepted_stands_for_the_model(accepted: str, standing: NameStanding) -> None:
    """Who knows that an alias is routed says so once; a star stands for any text, and nothing else does."""
    assert judge_served_name("deepseek-v4-flash", asked="deepseek-chat", accepted=(accepted,)) == standing
