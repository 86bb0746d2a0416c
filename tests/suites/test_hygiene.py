"""Prompts in, what would spoil a comparison over months out: answers that change, questions asked twice, edits."""

from __future__ import annotations

from pathlib import Path

import pytest
from tempzero import suites
from tempzero.cli import main
from tempzero.errors import SuiteError

SHIPPED = Path(__file__).parents[2] / "prompts"
LONG = "The miller counted the sacks twice and wrote the number on the door before he went up the hill to the chapel."


def written(folder: Path, text: str, name: str = "a.yaml") -> Path:
    """A prompt file with this text."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("asks", "word", "because"),
    [
        ("What is new today?", "today", "changes with the day"),
        ("Who won the last election? It was two years ago.", "years ago", "changes with the day"),
        ("What is the latest version of Python?", "latest", "changes with the day"),
        ("Name a film of this year.", "this year", "changes with the day"),
        ("Welcher Tag ist heute?", "heute", "changes with the day"),
        ("今天是星期几？", "今天", "changes with the day"),
        ("Who is the president of France?", "who is the president of", "changes over the years"),
        (
            "Who is the oldest prime minister of Norway?",
            "who is the oldest prime minister of",
            "changes over the years",
        ),
        ("What is the population of Lima?", "population of", "changes over the years"),
        ("How much are ten dollars in euros?", "dollars in euros", "changes over the years"),
        ("Which weekday was 03/04/1990?", "03/04/1990", "another country"),
        ("Round 12.345 to a whole number.", "12.345", "another country"),
        ("How many litres are five gallons?", "gallons", "another country"),
        ("Is there a pharmacy near me?", "near me", "where the reader is"),
        ("What model are you?", "what model are you", "every model answers it otherwise"),
    ],
)
def test_what_makes_a_right_answer_change_is_named(tmp_path: Path, asks: str, word: str, because: str) -> None:
    """Such a prompt drifts by itself, and the provider would be blamed: the run says so, with the line."""
    file = written(tmp_path, f"- id: a\n  family: f\n  prompt: '{asks}'\n")
    (remark,) = suites.load_suite(file).remarks
    assert remark.startswith(f'{file}:3: [0].prompt: "{word}": ')
    assert because in remark
    assert suites.lint_prompts(file) == (remark,)


@pytest.mark.parametrize(
    "asks",
    [
        "What is the capital of France?",
        "The president of the club opened the meeting. Who opened it?",
        "Ten days later the river was lower. What was lower?",
        "What is 3.5 + 2.25?",
        "How many days are in a leap year?",
        "What did the king say to the miller?",
    ],
)
def test_what_stays_true_is_left_alone(tmp_path: Path, asks: str) -> None:
    """A lint that cries wolf is switched off."""
    assert suites.lint_prompts(written(tmp_path, f"- {{id: a, family: f, prompt: '{asks}'}}")) == ()


def test_a_word_whose_meaning_the_prompt_fixes_is_allowed_by_name(tmp_path: Path) -> None:
    """In a story "today" is the story's day; the author says so once, beside the prompt."""
    text = "- {id: a, family: f, prompt: 'Today is the fair, and the current is strong. When is it?', allow: [today]}"
    (remark,) = suites.lint_prompts(written(tmp_path, text))
    assert '"current"' in remark


def test_the_same_question_twice_is_refused(tmp_path: Path) -> None:
    """Two copies would count as two observations: intervals would be too narrow."""
    file = written(
        tmp_path, "- {id: a, family: f, prompt: Name a fruit.}\n- {id: b, family: f, prompt: name  a fruit.}"
    )
    with pytest.raises(SuiteError) as caught:
        suites.load_suite(file)
    assert str(caught.value).startswith(f"{file}:2: [1].prompt: asks the same as a ({file}:1); leave one out, or give")
    same = "- {id: a, family: f, prompt: Name a fruit., variants: v}\n"
    assert len(suites.load_suite(written(tmp_path, same + same.replace("id: a", "id: b"))).prompts) == 2


def test_nearly_the_same_question_is_named_and_variants_are_not(tmp_path: Path) -> None:
    """A word changed in a long text is the same observation once more, unless that is the point."""
    other = LONG.replace("twice", "again")
    pair = "- {{id: a, family: f, prompt: '{0}'{2}}}\n- {{id: b, family: f, prompt: '{1}'{2}}}"
    (line,) = suites.lint_prompts(written(tmp_path, pair.format(LONG, other, "")))
    assert "[1].prompt: is nearly the same as a" in line
    assert suites.lint_prompts(written(tmp_path, pair.format(LONG, other, ", variants: sacks"))) == ()
    assert suites.lint_prompts(written(tmp_path, pair.format(LONG, "Who counted the sacks?", ""))) == ()


def test_the_shipped_prompts_are_clean() -> None:
    """No shipped prompt has an answer that changes, and none is asked twice; generated ones are read too."""
    assert suites.lint_prompts(SHIPPED) == ()


def test_a_frozen_suite_is_never_changed_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under one name and version a suite is the same for ever: a change is named, and how to freeze it anew."""
    folder = tmp_path / "prompts"
    written(folder, "- {id: a, family: f, prompt: Name a fruit., suite: quick}\n- {id: b, family: f, prompt: Count.}")
    assert main(["suite", "freeze", str(folder)]) == 0
    assert "quick: version 1, 1 prompts, digest" in capsys.readouterr().out
    assert (suites.load_suite(folder, "quick").version, suites.load_suite(folder).version) == (1, 1)

    written(folder, "- {id: a, family: f, prompt: Name a fruit., suite: quick}\n- {id: b, family: f, prompt: Sing.}")
    with pytest.raises(SuiteError) as caught:
        suites.load_suite(folder)
    assert str(caught.value) == (
        f"{folder}/suites.lock: frozen, and no longer what was frozen: deep (version 1): changed b; "
        f"undo that, or run `tempzero suite freeze {folder}` to give it the next version"
    )
    assert suites.load_suite(folder, "quick").version == 1
    assert suites.load_suite(folder / "a.yaml").version is None

    assert main(["suite", "freeze", str(folder)]) == 0
    assert (suites.load_suite(folder, "quick").version, suites.load_suite(folder).version) == (1, 2)
    written(folder, "- {id: c, family: f, prompt: Sing a song.}", "c.yaml")
    with pytest.raises(SuiteError, match=r"deep \(version 2\): added c; undo that, keep your own in a file elsewhere"):
        suites.load_suite(folder)


def frozen(folder: Path) -> Path:
    """A frozen folder with one prompt in quick and one more in deep."""
    written(folder, "- {id: a, family: f, prompt: Name a fruit., suite: quick}\n- {id: b, family: f, prompt: Count.}")
    suites.freeze_suites(folder)
    return folder


def test_only_the_suite_that_is_asked_is_held_against_the_lock(tmp_path: Path) -> None:
    """Prompts added to deep keep nobody from asking quick; what is said names what is asked and nothing else."""
    folder = frozen(tmp_path / "prompts")
    before = suites.load_suite(folder, "quick")
    written(folder, "- {id: c, family: f, prompt: Sing a song.}", "c.yaml")
    assert suites.load_suite(folder, "quick") == before
    written(folder, "- {id: d, family: f, prompt: Name a tree., suite: quick}", "d.yaml")
    with pytest.raises(SuiteError, match=r"no longer what was frozen: quick \(version 1\): added d; undo"):
        suites.load_suite(folder, "quick")
    with pytest.raises(SuiteError, match=r"no longer what was frozen: standard \(version 1\): added d; undo"):
        suites.load_suite(folder, "standard")
    (folder / "d.yaml").unlink()
    written(folder, "- {id: b, family: f, prompt: Count., suite: quick}")
    with pytest.raises(SuiteError, match=r"quick \(version 1\): removed a; undo"):
        suites.load_suite(folder, "quick")
    written(folder, "- {id: a, family: f, prompt: Name a fruit.}\n- {id: b, family: f, prompt: Count., suite: quick}")
    with pytest.raises(SuiteError, match=r"quick \(version 1\): prompts moved from one suite to another; undo"):
        suites.load_suite(folder, "quick")


def test_own_prompts_beside_a_frozen_suite_take_its_name_and_never_trip_its_lock(tmp_path: Path) -> None:
    """A version is claimed where exactly the frozen prompts are asked; a digest stands for whatever is asked."""
    folder = frozen(tmp_path / "prompts")
    alone = suites.load_suite(folder, "quick")
    mine = written(tmp_path, "- {id: m, family: own, prompt: Name a bird., suite: quick}", "mine.yaml")
    for paths in ([folder, mine], [mine, folder]):
        both = suites.load_suite(paths, "quick")
        assert {p.id for p in both.prompts} == {"a", "m"}
        assert (both.name, both.version) == (None, None)
        assert both.digest == suites.digest_prompts(both.prompts) != alone.digest
    assert (suites.load_suite([folder, mine], "deep").version, suites.load_suite([folder], "quick").version) == (
        None,
        1,
    )


def test_prompts_of_ones_own_that_no_suite_asks_are_named(tmp_path: Path) -> None:
    """Whoever lists a file expects it to be asked: where `suite:` is missing from it, that is said."""
    folder = frozen(tmp_path / "prompts")
    mine = written(tmp_path, "- {id: m, family: own, prompt: Name a bird.}", "mine.yaml")
    suite = suites.load_suite([folder, mine], "quick")
    assert (suite.name, suite.version, [p.id for p in suite.prompts]) == ("quick", 1, ["a"])
    (remark,) = suite.remarks
    assert remark.startswith(f"{mine}: its prompt does not belong to the suite quick, so nothing of it is asked; say")
    assert suites.load_suite([folder, mine]).remarks == ()


def test_paths_that_are_asked_together_share_no_file_id_or_question(tmp_path: Path) -> None:
    """One observation is never counted as two because it was listed twice."""
    folder = frozen(tmp_path / "prompts")
    with pytest.raises(SuiteError, match=r"a\.yaml: is asked twice, through .*prompts and through .*; name one"):
        suites.load_suite([folder, folder / "a.yaml"])
    same_id = written(tmp_path, "- {id: a, family: own, prompt: Name a bird.}", "mine.yaml")
    with pytest.raises(SuiteError, match=r'mine\.yaml:1: \[0\]\.id: "a" is taken by .*a\.yaml:1'):
        suites.load_suite([folder, same_id])
    same_text = written(tmp_path, "- {id: m, family: own, prompt: Name a fruit.}", "mine.yaml")
    with pytest.raises(SuiteError, match=r"mine\.yaml:1: .*asks the same as a"):
        suites.load_suite([folder, same_text])


def test_a_generated_prompt_is_frozen_with_the_rest(tmp_path: Path) -> None:
    """The file holds a line; what is held fast is the text that it makes."""
    folder = tmp_path / "prompts"
    text = "family: f\nsuite: quick\ngenerate: [{generator: logic, seed: 1, count: 2}]\n"
    written(folder, text)
    suites.freeze_suites(folder)
    written(folder, text.replace("seed: 1", "seed: 2"))
    with pytest.raises(SuiteError, match=r"added logic-2-direct-s2-01, logic-2-direct-s2-02; removed logic"):
        suites.load_suite(folder)


def test_what_the_lint_names_is_not_frozen(tmp_path: Path) -> None:
    """A suite that drifts by itself is not made permanent."""
    folder = tmp_path / "prompts"
    written(folder, "- {id: a, family: f, prompt: 'What is new today?'}")
    with pytest.raises(SuiteError, match=r'"today": .*\n.*not frozen; put right what is said above'):
        suites.freeze_suites(folder)
    assert not (folder / "suites.lock").exists()


def test_a_broken_lock_is_no_licence(tmp_path: Path) -> None:
    """A lock that cannot be read holds nothing, so nothing is asked until somebody decides."""
    folder = tmp_path / "prompts"
    written(folder, "- {id: a, family: f, prompt: Name a fruit.}")
    written(folder, "{", "suites.lock")
    with pytest.raises(SuiteError, match=r"suites\.lock: cannot be read: .*delete it and run `tempzero suite freeze"):
        suites.load_suite(folder)


def test_the_lint_is_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 with something to say, 0 without: fit for a CI."""
    assert main(["suite", "lint", str(written(tmp_path, "- {id: a, family: f, prompt: 'What is new today?'}"))]) == 1
    assert '"today"' in capsys.readouterr().out
    assert main(["suite", "lint", str(written(tmp_path, "- {id: a, family: f, prompt: Name a fruit.}"))]) == 0
    assert capsys.readouterr().out == ""
