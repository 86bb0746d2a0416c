"""What is the same, new and gone between two texts: nothing lost, nothing made up, few words where few differ."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tempzero.reports.text_diff import MOST_EDITS, diff_words, split_words

_WORDS = st.lists(st.sampled_from(["a", "b", " ", "word", "."]), max_size=40)


@given(_WORDS, _WORDS)
def test_both_texts_can_be_read_from_the_pieces(base: list[str], words: list[str]) -> None:
    """Without what is gone it is the one text, without what is new the other: a reader sees what each said."""
    pieces = diff_words(base, words)
    assert "".join(p.text for p in pieces if p.kind != "gone") == "".join(words)
    left = "".join(p.text for p in pieces if p.kind != "new")
    assert left == "".join(base) or not any(p.kind == "gone" for p in pieces)


def test_one_other_word_is_one_other_word() -> None:
    """The words about it stay unmarked, so that the eye goes to the one that matters."""
    pieces = diff_words(split_words("The sum is 42 apples, Ada."), split_words("The sum is 43 apples, Ada."))
    assert [(p.kind, p.text) for p in pieces if p.kind != "same"] == [("gone", "42"), ("new", "43")]


def test_two_other_words_leave_what_stands_between() -> None:
    """From the first to the last difference most is the same, and is shown so."""
    pieces = diff_words(split_words("one two three four five six"), split_words("1 two three four five 6"))
    assert [p.text for p in pieces if p.kind == "new"] == ["1", "6"]


def test_texts_that_went_apart_are_marked_from_there_on() -> None:
    """No salad of chance matches: beyond so many edits the rest is new as a whole."""
    base = split_words("Same start. " + " ".join(f"left{i}" for i in range(MOST_EDITS)))
    words = split_words("Same start. " + " ".join(f"right{i}" for i in range(MOST_EDITS)))
    pieces = diff_words(base, words)
    assert [p.kind for p in pieces] == ["same", "new"]
    assert pieces[0].text == "Same start. "
