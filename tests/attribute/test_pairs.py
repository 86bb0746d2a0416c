"""Pairs that part: the first different token, what both were worth there, near-tie or not."""

from __future__ import annotations

import pytest
from tempzero.attribute import Attribution, ReportedAnswer, attribute_reading
from tempzero.metrics import decoding_ways
from tempzero.types.asked import Trial
from tempzero.types.concluded import Divergence, ReferenceReading
from tempzero.types.scored import FormReading, Reader, Reading, ScoredResponse, TokenScores

READER = Reader(
    reference="r",
    claimed_model="m",
    engine={},
    vocabulary=100,
    exact=False,
    temperatures=decoding_ways.TEMPERATURES,
    noises=decoding_ways.NOISES,
)


def _trial(provider: str, repeat: int = 0) -> Trial:
    return Trial(provider=provider, prompt="p", condition="default", repeat=repeat)


def _scored(trial: Trial, text: str, ranks: tuple[int, ...], gap: float, *, ended: bool = False) -> ScoredResponse:
    """One token a character; where the rank is not 1 the margin is the gap, and the reference would have said X."""
    ids = tuple(ord(c) for c in text) + ((0,) if ended else ())
    assert len(ids) == len(ranks)
    return ScoredResponse(
        trial=trial,
        number=1,
        record_sha256="0" * 64,
        reference="r",
        prompt_tokens=3,
        tokens_from="text",
        round_trip=True,
        settled=0,
        ended=ended,
        same_as=None,
        scores=TokenScores(
            token_ids=ids,
            ends=tuple(min(i + 1, len(text)) for i in range(len(ids))),
            argmax=ids,
            margin=tuple(gap if r > 1 else 0.0 for r in ranks),
            logprob=tuple(-0.1 - (gap if r > 1 else 0.0) for r in ranks),
            rank=ranks,
            gap=tuple(gap for _ in ranks),
            seen=tuple(0 for _ in ranks),
            instead=tuple("X" for r in ranks if r > 1),
        ),
        sums=None,
    )


def _form(change: float) -> FormReading:
    return FormReading(
        reference="r",
        form="f16",
        honest=True,
        trial=_trial("a"),
        gap_change=(change,),
        margin=(0.0,),
        rounded=(),
    )


def _attributed(
    one: ScoredResponse, other: ScoredResponse, texts: tuple[str, str], change: float = 0.02
) -> Attribution:
    shown = Divergence(
        prompt="p", left=one.trial, right=other.trial, left_text=texts[0], right_text=texts[1], at_char=0
    )
    answers = {
        s.trial: ReportedAnswer(
            trial=s.trial, text=text, cut=False, prompt_tokens=None, completion_tokens=None, max_tokens=None
        )
        for s, text in zip((one, other), texts, strict=True)
    }
    reading = Reading(readers=(READER,), scored=(one, other), forms=(_form(0.02),))
    return attribute_reading(reading, answers, ["p"], [shown], ())


def _read(*args: object, **kwargs: object) -> ReferenceReading:
    return _attributed(*args, **kwargs).reading  # type: ignore[arg-type]


def test_two_best_tokens_within_two_epsilon_are_a_near_tie() -> None:
    """Both are the top two and the gap is one that rounding may turn: a coin toss."""
    one = _scored(_trial("a"), "abc", (1, 1, 1), 0.015)
    other = _scored(_trial("a", 1), "abd", (1, 1, 2), 0.015)
    found = _read(one, other, ("abc", "abd"))
    (pair,) = found.pairs
    assert (pair.verdict, pair.at_token, pair.gap) == ("near-tie", 2, 0.015)
    assert pair.left_token is not None
    assert pair.right_token is not None
    assert (pair.left_token.text, pair.left_token.rank) == ("c", 1)
    assert (pair.right_token.text, pair.right_token.rank, pair.right_token.margin) == ("d", 2, 0.015)
    assert [(p.kind, p.near_tie, p.unexplained) for p in found.partings] == [("repeat", 1, 0)]


def test_a_wider_gap_or_a_lower_rank_is_unexplained() -> None:
    """A gap beyond twice epsilon is no coin toss, nor is the third best token at any gap."""
    for gap, rank in ((1.5, 2), (0.015, 3)):
        one = _scored(_trial("a"), "abc", (1, 1, 1), gap)
        other = _scored(_trial("b"), "abd", (1, 1, rank), gap)
        found = _read(one, other, ("abc", "abd"))
        assert found.pairs[0].verdict == "unexplained"
        assert [(p.kind, p.left, p.right, p.unexplained) for p in found.partings] == [("cross", "a", "b", 1)]


def test_an_end_of_turn_is_a_token_too() -> None:
    """Where one text stops and the other goes on, the token that ends the turn stands against the next one."""
    one = _scored(_trial("a"), "ab", (1, 1, 2), 0.01, ended=True)
    other = _scored(_trial("b"), "abc", (1, 1, 1), 0.01)
    (pair,) = _read(one, other, ("ab", "abc")).pairs
    assert pair.left_token is not None
    assert (pair.left_token.text, pair.at_token, pair.verdict) == ("⟨end⟩", 2, "near-tie")


def test_a_response_that_was_not_read_says_so() -> None:
    """Without scores on one side there is no verdict, and the reason names the side."""
    one = _scored(_trial("a"), "abc", (1, 1, 1), 0.01)
    missing = _scored(_trial("a", 1), "abd", (1, 1, 2), 0.01)
    reading = Reading(readers=(READER,), scored=(one,), forms=(_form(0.02),))
    shown = Divergence(prompt="p", left=one.trial, right=missing.trial, left_text="abc", right_text="abd", at_char=2)
    (pair,) = attribute_reading(reading, {}, ["p"], [shown], ()).reading.pairs
    assert (pair.verdict, pair.reason) == ("unread", "a, repeat 1 was not read")


def test_texts_are_given_token_by_token() -> None:
    """Each token's own characters, and what the reference would have said where it would have said something else."""
    one = _scored(_trial("a"), "abc", (1, 2, 1), 0.3)
    other = _scored(_trial("a", 1), "abd", (1, 2, 3), 0.3)
    first, second = _read(one, other, ("abc", "abd")).texts
    assert [(t.text, t.instead) for t in first.tokens] == [("a", None), ("b", "X"), ("c", None)]
    assert [(t.text, t.rank) for t in second.tokens] == [("a", 1), ("b", 2), ("d", 3)]


def test_measures_by_position_and_the_clip() -> None:
    """The match rate counts tokens; margins are cut off at the trusted run's percentile, and it is said whose it is."""
    one = _scored(_trial("a"), "abcdef", (1, 2, 1, 1, 1, 2), 0.3)
    other = _scored(_trial("b"), "abcdef", (1, 1, 1, 1, 1, 1), 0.3)
    found = {(m.provider, m.metric.name): m for m in _attributed(one, other, ("abcdef", "abcdef")).measures}
    assert found["a", "token_match_rate"].values[0] == 4 / 6
    assert found["a", "token_match_rate_tokens_1_4"].values[0] == 3 / 4
    assert found["a", "token_match_rate_tokens_5_16"].values[0] == 1 / 2
    assert found["a", "token_difr"].values[0] == pytest.approx(0.1)
    assert "99.9th percentile of all responses read" in found["a", "token_difr"].note
    assert found["b", "all_tokens_match"].values[0] == 1.0
