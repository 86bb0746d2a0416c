"""Answers by parts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tempzero.answer_parts import split_answer, to_spoken_text, to_whole_text
from tempzero.types.asked import ToolCall
from tempzero.types.recorded import Completion

TEXTS = st.text(alphabet="ab<>/\n", max_size=4)
CALL = st.builds(ToolCall, name=st.sampled_from("fg"), arguments=st.sampled_from(("{}", '{"a":1}')))
COMPLETIONS = st.builds(
    Completion,
    text=TEXTS,
    reasoning_text=st.none() | TEXTS,
    tool_calls=st.lists(CALL, max_size=2).map(tuple),
    refusal=st.none() | TEXTS,
)


@given(COMPLETIONS, COMPLETIONS)
def test_whole_texts_are_equal_exactly_where_all_parts_are(left: Completion, right: Completion) -> None:
    """Whatever is compared by one text must neither miss a difference in a part nor see one that is not there."""
    parts = [split_answer(c) for c in (left, right)]
    values = [(p.reasoning or "", p.text, p.calls, p.refusal or "") for p in parts]
    assert (to_whole_text(parts[0]) == to_whole_text(parts[1])) == (values[0] == values[1])
    assert (to_spoken_text(parts[0]) == to_spoken_text(parts[1])) == (values[0][1:] == values[1][1:])


def test_plain_text_stands_as_it_is() -> None:
    """What most answers are needs no marks: figures and pages show what was written."""
    assert to_whole_text(split_answer(Completion(text="Paris."))) == "Paris."
