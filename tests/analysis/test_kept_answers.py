"""Every distinct answer with who gave it how often, as many prompts as a report has room for, most divergent first."""

from __future__ import annotations

from pathlib import Path

import making
from tempzero import analysis, records
from tempzero.analysis import kept_answers
from tempzero.types.concluded import Analysis, AnswerCount


def _analysed(folder: Path, texts: dict[tuple[str, str], list[str]], prompts: int = 3) -> Analysis:
    names = sorted({provider for provider, _ in texts})
    repeats = max(map(len, texts.values()))
    attempts = [
        making.make_attempt(making.make_trial(provider, prompt, repeat), text)
        for (provider, prompt), said in texts.items()
        for repeat, text in enumerate(said)
    ]
    suite = making.make_suite(prompts)
    return analysis.analyse(
        records.open_run(making.make_run(folder, making.make_config(names, repeats), suite, attempts))
    )


def test_each_answer_is_there_once_with_everyone_who_gave_it(tmp_path: Path) -> None:
    """The commonest first, whoever gave it: with ten providers a reader sees ten times less."""
    found = _analysed(
        tmp_path,
        {
            ("a", "p0"): ["yes", "yes"],
            ("b", "p0"): ["no", "yes"],
            ("a", "p1"): ["one", "one"],
            ("b", "p1"): ["one", "one"],
            ("a", "p2"): ["x", "x"],
            ("b", "p2"): ["y", "y"],
        },
    )
    assert [asked.prompt for asked in found.asked] == ["p0", "p2", "p1"]
    of_first = [a for a in found.answers if a.prompt == "p0"]
    assert [(a.text, a.count) for a in of_first] == [("yes", 3), ("no", 1)]
    assert of_first[0].given == (
        AnswerCount(provider="a", condition="default", count=2),
        AnswerCount(provider="b", condition="default", count=1),
    )
    assert of_first[1].trial == making.make_trial("b", "p0", 0)
    assert found.asked[0].parts[0].text == "question 0"
    assert found.asked[0].parts[0].role == "user"
    assert sum(a.count for a in found.answers) == 12


def test_as_many_prompts_as_a_page_has_room_for(tmp_path: Path) -> None:
    """A run may hold any number of texts; those of the prompts that differ most are kept, whole prompts only."""
    size = kept_answers.MOST_BYTES // 3
    texts = {(who, f"p{i}"): [f"{i} " + "word " * (size // 5)] * 2 for i in range(4) for who in ("a", "b")}
    texts["b", "p3"] = ["another"] * 2  # the one prompt on which they differ
    found = _analysed(tmp_path, texts, prompts=4)
    kept = [asked.prompt for asked in found.asked]
    assert kept == ["p3", "p0"]
    assert {answer.prompt for answer in found.answers} == set(kept)
    assert len(found.prompt_rows) == 8


def test_of_very_many_answers_the_commonest_are_kept(tmp_path: Path) -> None:
    """Their number is told all the same."""
    said = ["same"] + [f"answer {i}" for i in range(kept_answers.MOST_ANSWERS + 5)] + ["same"]
    found = _analysed(tmp_path, {("a", "p0"): said}, prompts=1)
    assert len(found.answers) == kept_answers.MOST_ANSWERS
    assert (found.answers[0].text, found.answers[0].count) == ("same", 2)
    assert found.asked[0].answers == kept_answers.MOST_ANSWERS + 6
