"""Texts that one edit makes the reference's own are edited texts; a text that the edit would change contradicts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from tempzero.attribute.reader_tables import ReportedAnswer, build_tables
from tempzero.attribute.text_edits import TextEdit, find_swapped_answers, find_text_edit
from tempzero.types.asked import Trial
from tempzero.types.scored import Reader, Reading, ScoredResponse, TokenScores

REFERENCE_TEXTS = {
    "p0": 'She said "no",  then left.\n\nThe end',
    "p1": "**One**\nTwo \n\nThree",
    "p2": "Nothing to edit here at all",
    "p3": "It's `code`  here\n\nand more",
}


def scored(provider: str, prompt: str, ended: bool) -> ScoredResponse:
    return ScoredResponse(
        trial=Trial(provider=provider, prompt=prompt, condition="default", repeat=0),
        number=1,
        record_sha256="0" * 64,
        reference="ref",
        prompt_tokens=9,
        tokens_from="text",
        round_trip=True,
        settled=0,
        ended=ended,
        same_as=None,
        scores=TokenScores(
            token_ids=(1,),
            ends=(1,),
            argmax=(1,),
            margin=(0.0,),
            logprob=(0.0,),
            rank=(1,),
            gap=(1.0,),
            seen=(0,),
            instead=(),
        ),
        sums=None,
    )


def found(texts: Mapping[str, str], ended: bool = False) -> tuple[TextEdit | None, tuple[Trial, ...]]:
    reader = Reader(
        reference="ref",
        claimed_model="m",
        engine={},
        vocabulary=9,
        exact=False,
        temperatures=(),
        noises=(),
    )
    responses = [scored("ref", p, True) for p in REFERENCE_TEXTS] + [scored("b", p, ended) for p in texts]
    answers = {}
    for one in responses:
        text = (REFERENCE_TEXTS if one.trial.provider == "ref" else texts)[one.trial.prompt]
        answers[one.trial] = ReportedAnswer(
            trial=one.trial, text=text, cut=False, prompt_tokens=None, completion_tokens=None, max_tokens=None
        )
    (table,) = build_tables(Reading(readers=(reader,), scored=tuple(responses)), answers, list(REFERENCE_TEXTS))
    lane = next(x for x in table.lanes if x.provider == "b")
    return find_text_edit(table, lane), find_swapped_answers(table, lane)


def _curl(text: str) -> str:
    return text.replace(' "', " \u201c").replace('"', "\u201d").replace("'", "\u2019")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (_curl, "curly"),
        (lambda t: " ".join(t.split()), "one blank"),
        (lambda t: t.replace("**", "").replace("`", ""), "taken out"),
        (str.lower, "lower case"),
    ],
    ids=["curly", "blanks", "marks", "lower"],
)
def test_an_edit_is_named_where_all_texts_that_differ_become_equal(edit: Callable[[str], str], words: str) -> None:
    """Exact: both sides edited alike are the same, and the edit finds nothing to do in what the provider gave."""
    one, _ = found({p: edit(t) for p, t in REFERENCE_TEXTS.items()})
    assert one is not None
    assert words in one.words
    assert one.whole
    assert one.prompts >= 2


def test_a_stop_string_is_named_where_all_texts_end_before_it() -> None:
    """They end by themselves at a beginning of the reference's, and hold the string nowhere."""
    one, _ = found({p: t.split("\n\n")[0] for p, t in REFERENCE_TEXTS.items()}, ended=True)
    assert one is not None
    assert "stops before '\\n\\n" in one.words


def test_a_text_that_rounding_parted_leaves_the_stop_string_as_it_is() -> None:
    """An honest host's texts part too: one that went another way holds the string nowhere, and contradicts nothing.

    One that ends elsewhere in the reference's own text does.
    """
    stopped = {p: t.split("\n\n")[0] for p, t in REFERENCE_TEXTS.items()}
    first = next(p for p, t in REFERENCE_TEXTS.items() if "\n\n" in t)
    one, _ = found({**stopped, first: "Another way of saying it"}, ended=True)
    assert one is not None
    assert "stops before '\\n\\n" in one.words
    one, _ = found({**stopped, first: stopped[first][:-3]}, ended=True)
    assert one is None or "stops before" not in one.words


def test_a_text_that_the_edit_would_change_contradicts_it() -> None:
    """One curly answer beside straight ones is no rule of the host's."""
    texts = {**REFERENCE_TEXTS, "p0": _curl(REFERENCE_TEXTS["p0"])}
    one, _ = found(texts)
    assert one is None


def test_another_text_is_no_edit() -> None:
    """A different answer stays different under every edit."""
    one, _ = found(dict.fromkeys(REFERENCE_TEXTS, "Something else altogether"))
    assert one is None


def test_answers_to_other_prompts_are_known_by_their_texts() -> None:
    """Word for word what the reference says to another question: mixed up, whatever the tokens say."""
    texts = dict(zip(REFERENCE_TEXTS, [*list(REFERENCE_TEXTS.values())[1:], REFERENCE_TEXTS["p0"]], strict=True))
    _, swapped = found(texts)
    assert len(swapped) >= 3
    assert not found(REFERENCE_TEXTS)[1]
