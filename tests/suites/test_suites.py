"""Prompt files in, a Suite or one clear line for each thing that is wrong out."""

from __future__ import annotations

import dataclasses
import json
import re
from functools import cache
from pathlib import Path
from typing import cast

import pytest
from tempzero import suites
from tempzero.errors import SuiteError
from tempzero.extractors import EXTRACTORS, Extractor
from tempzero.types.asked import ExtractorSpec, Message, Prompt, Suite, SuiteName

SHIPPED = Path(__file__).parents[2] / "prompts"

PLAIN = """
- id: capital
  family: trivia
  system: You are brief.
  prompt: What is the capital of France?
  extractor: answer_line
  expected: Paris
  max_tokens: 16
  tags: [easy, smoke]
  suite: quick
"""


@cache
def shipped(name: SuiteName) -> Suite:
    """A shipped suite, loaded once."""
    return suites.load_suite(SHIPPED, name)


def written(folder: Path, text: str, name: str = "a.yaml") -> Path:
    """A prompt file with this text."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def complaint(path: Path) -> str:
    """What loading this path says is wrong, with the folder's name taken out."""
    with pytest.raises(SuiteError) as caught:
        suites.load_suite(path)
    folder = path if path.is_dir() else path.parent
    return str(caught.value).replace(f"{folder}/", "")


def test_every_key_of_a_prompt_arrives(tmp_path: Path) -> None:
    """What the author wrote is what is asked, to the letter."""
    (prompt,) = suites.load_suite(written(tmp_path, PLAIN)).prompts
    assert prompt == Prompt(
        id="capital",
        messages=(
            Message(role="system", content="You are brief."),
            Message(role="user", content="What is the capital of France?"),
        ),
        family="trivia",
        extractor=ExtractorSpec(name="answer_line"),
        expected="Paris",
        max_tokens=16,
        tags=("easy", "smoke"),
        suite="quick",
    )


def test_a_margin_arrives_and_changes_nothing_that_is_asked(tmp_path: Path) -> None:
    """It tells what a search measured; the question is the same without it, and so is its digest."""
    plain = suites.load_suite(written(tmp_path, "- {id: a, family: f, prompt: x}"))
    told = suites.load_suite(written(tmp_path, "- {id: a, family: f, prompt: x, margin: 0.25}"))
    lines = suites.load_suite(written(tmp_path, '{"id": "a", "family": "f", "prompt": "x", "margin": 0.25}', "a.jsonl"))
    cells = suites.load_suite(written(tmp_path, "id,family,prompt,margin\na,f,x,0.25\n", "a.csv"))
    assert (plain.prompts[0].margin, told.prompts[0].margin) == (None, 0.25)
    assert told == lines == cells
    assert told.digest == plain.digest


def test_one_prompt_in_three_formats_is_one_prompt(tmp_path: Path) -> None:
    """YAML, JSONL and CSV differ in spelling only, and so their digests are equal."""
    fields = {
        "id": "capital",
        "prompt": "What is the capital of France?",
        "system": "You are brief.",
        "family": "trivia",
        "extractor": "answer_line",
        "expected": "Paris",
        "max_tokens": 16,
    }
    tags = ["easy", "smoke"]
    row = ",".join(str(value) for value in fields.values())
    files = [
        written(tmp_path, PLAIN),
        written(tmp_path, json.dumps({**fields, "tags": tags, "suite": "quick"}) + "\n", "a.jsonl"),
        written(tmp_path, f"{','.join(fields)},tags,suite\n{row},easy; smoke,quick\n", "a.csv"),
    ]
    loaded = [suites.load_suite(file) for file in files]
    assert loaded[0] == loaded[1] == loaded[2]


def test_a_head_speaks_for_the_whole_file_and_a_prompt_for_itself(tmp_path: Path) -> None:
    """A file says once what all its prompts share; a prompt may say otherwise, even 'no extractor'."""
    text = """
family: sums
extractor: number
max_tokens: 8
tags: [shared]
prompts:
  - {id: one, prompt: 1 + 1, expected: 2}
  - {id: two, prompt: Count., extractor: null, max_tokens: 99, family: loops, tags: []}
"""
    one, two = suites.load_suite(written(tmp_path, text)).prompts
    assert (one.family, one.extractor, one.max_tokens, one.tags) == (
        "sums",
        ExtractorSpec(name="number"),
        8,
        ("shared",),
    )
    assert (two.family, two.extractor, two.max_tokens, two.tags) == ("loops", None, 99, ())


def test_several_turns_and_an_empty_system_message_are_kept(tmp_path: Path) -> None:
    """An empty system message is another prompt than none: some templates fill in their own."""
    text = """
- id: turns
  family: chat
  messages: [{role: user, content: Hi}, {role: assistant, content: Hello}, {role: user, content: Bye}]
- {id: empty, family: chat, system: "", prompt: Hi}
- {id: none, family: chat, prompt: Hi}
"""
    turns, empty, none = suites.load_suite(written(tmp_path, text)).prompts
    assert [m.role for m in turns.messages] == ["user", "assistant", "user"]
    assert empty.messages[0] == Message(role="system", content="")
    assert len(none.messages) == 1


def test_files_come_by_name_and_prompts_by_place(tmp_path: Path) -> None:
    """The same folder gives the same order on every machine."""
    written(tmp_path, "- {id: c, family: f, prompt: x}\n- {id: a, family: f, prompt: y}", "b.yaml")
    written(tmp_path, '{"id": "z", "family": "f", "prompt": "z"}\n\n', "a.jsonl")
    written(tmp_path, "id,family,prompt\nm,f,w\n", "sub/c.csv")
    written(tmp_path, "# how to write prompts", "README.md")
    written(tmp_path, "rubbish", ".hidden.swp")
    assert [prompt.id for prompt in suites.load_suite(tmp_path).prompts] == ["z", "c", "a", "m"]


@pytest.mark.parametrize(
    ("expected", "kept"),
    [("18", "18"), ('"18"', "18"), ("3.50", "3.50"), ("-4", "-4"), ('"1,234"', "1,234"), ("+7", "+7")],
)
def test_a_number_is_kept_as_it_is_written(tmp_path: Path, expected: str, kept: str) -> None:
    """YAML would make 3.5 of 3.50; the author's text is what counts."""
    text = f"- {{id: n, family: f, prompt: x, extractor: number, expected: {expected}}}"
    assert suites.load_suite(written(tmp_path, text)).prompts[0].expected == kept


def test_json_numbers_are_kept_as_they_are_written(tmp_path: Path) -> None:
    """The same for JSONL."""
    line = '{"id": "n", "family": "f", "prompt": "x", "extractor": "number", "expected": 3.50}'
    assert suites.load_suite(written(tmp_path, line, "a.jsonl")).prompts[0].expected == "3.50"


@pytest.mark.parametrize("expected", ["12:30", "010", "1_000", "0x10", "1.0e+3", ".5"])
def test_a_number_that_yaml_would_change_is_refused(tmp_path: Path, expected: str) -> None:
    """12:30 is 750 to YAML: nobody means that."""
    text = f"- id: n\n  family: f\n  prompt: x\n  extractor: number\n  expected: {expected}\n"
    assert "a.yaml:5: [0].expected: YAML reads this as the number" in complaint(written(tmp_path, text))


def test_a_bare_yes_is_refused_with_its_remedy(tmp_path: Path) -> None:
    """YAML reads yes as true; the author is told to quote it."""
    text = "- {id: n, family: f, prompt: x, extractor: yes_no, expected: yes}"
    assert 'put it in quotes, e.g. "yes"' in complaint(written(tmp_path, text))


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """A file is put right in one go: one line for each problem, in all files."""
    written(
        tmp_path,
        """
family: f
prompts:
  - {id: a, promt: x}
  - {id: b b, prompt: "", max_tokens: 0, tags: easy}
  - {id: c, prompt: x, extractor: numbr}
  - {id: c2, prompt: x, expected: 3}
  - {id: d, prompt: x, extractor: number, expected: many}
  - {prompt: x}
  - {id: e, prompt: x}
  - just text
""",
    )
    written(tmp_path, "- {id: e, family: f, prompt: y}", "b.yaml")
    assert complaint(tmp_path).splitlines() == [
        'a.yaml:4: prompts[0].promt: unknown key; did you mean "prompt"?',
        'a.yaml:5: prompts[1].id: "b b" is no name; use letters, digits and . _ @ : + -, at most 100, e.g. sum-apples',
        "a.yaml:5: prompts[1].prompt: is empty; write what is asked",
        "a.yaml:5: prompts[1].max_tokens: expected a whole number from 1 on; found a number: 0",
        "a.yaml:5: prompts[1].tags: expected a list such as [smoke, long]; found text",
        'a.yaml:6: prompts[2].extractor: unknown extractor "numbr"; did you mean "number"?',
        "a.yaml:7: prompts[3].expected: needs an extractor that reads the answer; known: " + ", ".join(EXTRACTORS),
        'a.yaml:8: prompts[4].expected: extractor number could never read "many" from a response; '
        "write it as it is read, e.g. Paris, 42, B or yes",
        "a.yaml:9: prompts[5].id: this key is needed",
        "a.yaml:11: prompts[7]: expected a mapping; found text",
        'b.yaml:1: [0].id: "e" is taken by a.yaml:10; ids must differ over all files',
    ]


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("{id: a, family: f, prompt: x, margin: -1}", "margin: expected a number of logits from 0 on; found a number"),
        ("{id: a, family: f, prompt: x, margin: .inf}", "margin: expected a number of logits from 0 on"),
        ("{id: a, family: f, prompt: x, margin: wide}", "margin: expected a number of logits from 0 on; found text"),
        ("{id: a, family: f}", "prompt: this key is needed (or messages:"),
        ("{id: a, prompt: x}", "family: this key is needed, here or once in the file's head"),
        ("{id: a, family: f, prompt: 5}", "prompt: expected text; found a number (put it in quotes)"),
        ("{id: a, family: f, prompt: x, system: }", 'system: found nothing; write "" for an empty system message'),
        ("{id: a, family: f, messages: []}", "messages: expected a list of messages; found an empty list"),
        ("{id: a, family: f, messages: [{role: user}]}", "messages[0].content: this key is needed"),
        (
            "{id: a, family: f, messages: [{role: human, content: x}]}",
            "messages[0].role: expected one of system, developer",
        ),
        ("{id: a, family: f, messages: [{role: user, content: ' '}]}", "messages[0].content: is empty"),
        (
            "{id: a, family: f, messages: [{role: assistant, content: x}]}",
            "messages: the last message must be the user's",
        ),
        ("{id: a, family: f, prompt: x, messages: [{role: user, content: x}]}", "prompt: cannot stand beside messages"),
        (
            "{id: a, family: f, prompt: x, extractor: {name: regex}}",
            "extractor: regex needs pattern; write {name: regex",
        ),
        ("{id: a, family: f, prompt: x, extractor: {field: b}}", "extractor: expected a name, or a mapping such as"),
        (
            "{id: a, family: f, prompt: x, extractor: {name: json_field, feld: b}}",
            'feld: unknown key; did you mean "field"?',
        ),
        ("{id: a, family: f, prompt: x, extractor: {name: json_field, field: 3}}", "extractor.field: expected text"),
        (
            "{id: a, family: f, prompt: x, extractor: {name: json_field, field: a..b}}",
            "field must be a key or a dotted",
        ),
        (
            "{id: a, family: f, prompt: x, extractor: {name: regex, pattern: '(a'}}",
            "pattern is not a regular expression",
        ),
        ("{id: a, family: f, prompt: x, max_tokens: true}", "max_tokens: expected a whole number from 1 on"),
        ("{id: a, family: f, prompt: x, max_tokens: 1.5}", "max_tokens: expected a whole number from 1 on"),
        (
            "{id: a, family: f, prompt: x, suite: fast}",
            "suite: expected one of quick, standard, deep, hosted-quick, hosted, marathon, conversations; found 'fast'",
        ),
        ('{id: a, family: f, prompt: "\\ud800"}', "prompt: holds half of a surrogate pair"),
    ],
)
def test_a_bad_prompt_is_refused_in_words(tmp_path: Path, entry: str, says: str) -> None:
    """Where, what, and what would be right: before anything is spent."""
    message = complaint(written(tmp_path, f"- {entry}"))
    assert says in message
    assert message.startswith("a.yaml")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.yaml", "", "a.yaml: expected a mapping with prompts: or a list of prompts; found nothing"),
        ("a.yaml", "prompts: 3", "a.yaml:1: prompts: expected a list of prompts; found a number"),
        ("a.yaml", "promts: []", 'a.yaml:1: promts: unknown key; did you mean "prompts"?'),
        ("a.yaml", "prompts: []", "holds no prompt"),
        ("a.yaml", "- {id: a", "a.yaml: not YAML: line 1:"),
        ("a.yaml", "- {id: a, id: b}", 'a.yaml:1: [0].id: key "id" is given twice'),
        ("a.jsonl", '{"id": "a",}', "a.jsonl:1: not JSON:"),
        ("a.jsonl", '\n["id"]', "a.jsonl:2: expected a mapping; found a list"),
        ("a.jsonl", '{"id": "a", "id": "b"}', 'a.jsonl:1: not JSON: key "id" is given twice'),
        (
            "a.jsonl",
            '{"id": "a", "family": "f", "prompt": "\\ud800"}',
            "a.jsonl:1: prompt: holds half of a surrogate pair",
        ),
        ("a.csv", "id,promt\n", 'a.csv:1: promt: unknown key; did you mean "prompt"?'),
        ("a.csv", "id,id\n", "a.csv:1: a column is given twice"),
        ("a.csv", "id,family,prompt\na,f,x,y\n", "a.csv:2: expected 3 cells, as in the first line; found 4"),
        ("a.csv", 'id,family,prompt\na,f,"x\ny",z\n', "a.csv:2: expected 3 cells, as in the first line; found 4"),
        ("a.csv", 'id,family,prompt\na,f,"x\ny"\nb,f,\n', "a.csv:4: prompt: this key is needed"),
        ("a.csv", "id,family,prompt,max_tokens\na,f,x,many\n", "a.csv:2: max_tokens: expected a whole number"),
        ("a.csv", 'id,family,prompt\na,f,"x\n', "a.csv:2: not CSV: unexpected end of data"),
    ],
)
def test_a_bad_file_is_refused_in_words(tmp_path: Path, name: str, text: str, says: str) -> None:
    """The same for the shape of a whole file, in every format."""
    assert says in complaint(written(tmp_path, text, name))


def test_a_csv_cell_may_hold_lines_commas_and_an_extractor_with_arguments(tmp_path: Path) -> None:
    """A spreadsheet can carry all that a prompt needs."""
    text = (
        'id,prompt,family,extractor,expected,tags\na,"one,\ntwo",f,"{""name"": ""json_field"", ""field"": ""b""}",x,\n'
    )
    (prompt,) = suites.load_suite(written(tmp_path, "\ufeff" + text, "a.csv")).prompts
    assert prompt.messages[0].content == "one,\ntwo"
    assert prompt.extractor == ExtractorSpec(name="json_field", args={"field": "b"})
    assert prompt.tags == ()


def test_other_files_are_not_passed_over_in_silence(tmp_path: Path) -> None:
    """prompts.json would otherwise be left out of every run, and nobody would notice."""
    written(tmp_path, PLAIN)
    written(tmp_path, "[]", "b.json")
    assert complaint(tmp_path).startswith("b.json: not a prompt file; prompt files end in .yaml, .yml, .jsonl, .csv")
    assert "no such file or folder" in complaint(tmp_path / "absent")


def test_an_empty_folder_is_no_suite(tmp_path: Path) -> None:
    """A run without prompts would pass every gate."""
    with pytest.raises(SuiteError, match="holds no prompt file"):
        suites.load_suite(tmp_path)


def test_the_digest_covers_what_is_asked_and_how_it_is_read(tmp_path: Path) -> None:
    """Two suites have one digest exactly if the same prompts would be asked and read alike."""
    first = suites.load_suite(written(tmp_path, PLAIN)).digest
    changes = [
        ("What is", "What's"),
        ("You are brief.", "You are very brief."),
        ("id: capital", "id: capitals"),
        ("family: trivia", "family: facts"),
        ("extractor: answer_line", "extractor: {name: regex, pattern: (Paris)}"),
        ("expected: Paris", "expected: paris"),
        ("max_tokens: 16", "max_tokens: 17"),
    ]
    digests = [suites.load_suite(written(tmp_path, PLAIN.replace(*change), "b.yaml")).digest for change in changes]
    assert len({first, *digests}) == 1 + len(changes)
    assert suites.load_suite(written(tmp_path, PLAIN.replace("smoke", "other"), "b.yaml")).digest == first


def test_the_digest_covers_the_version_of_the_extractor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same text read by other rules is another measurement."""
    path = written(tmp_path, PLAIN)
    before = suites.load_suite(path).digest
    newer = dataclasses.replace(EXTRACTORS["answer_line"], version=EXTRACTORS["answer_line"].version + 1)
    monkeypatch.setitem(cast(dict[str, Extractor], EXTRACTORS), "answer_line", newer)
    assert suites.load_suite(path).digest != before


def test_the_digest_does_not_depend_on_the_order_of_prompts(tmp_path: Path) -> None:
    """Renaming a file moves prompts, but asks nothing else."""
    forward = suites.load_suite(written(tmp_path, "- {id: a, family: f, prompt: x}\n- {id: b, family: f, prompt: y}"))
    backward = suites.load_suite(written(tmp_path, "- {id: b, family: f, prompt: y}\n- {id: a, family: f, prompt: x}"))
    assert forward.digest == backward.digest
    assert forward.digest == suites.digest_prompts(backward.prompts)


def test_a_larger_suite_asks_what_a_smaller_one_does(tmp_path: Path) -> None:
    """A prompt names the smallest suite that asks it, once; one that names none is asked by deep only."""
    text = """
family: f
suite: standard
prompts: [{id: a, prompt: x}, {id: b, prompt: y, suite: quick}]
"""
    written(tmp_path, text)
    written(tmp_path, "- {id: c, family: f, prompt: z}", "b.yaml")
    names: tuple[SuiteName, ...] = ("quick", "standard", "deep")
    loaded = {name: suites.load_suite(tmp_path, name) for name in names}
    asked = {name: [prompt.id for prompt in suite.prompts] for name, suite in loaded.items()}
    assert asked == {"quick": ["b"], "standard": ["a", "b"], "deep": ["a", "b", "c"]}
    assert loaded["quick"].digest == suites.digest_prompts(loaded["deep"].prompts[1:2])
    with pytest.raises(SuiteError, match="no prompt belongs to the suite quick; say `suite: quick`"):
        suites.load_suite(tmp_path / "b.yaml", "quick")


def test_the_shipped_quick_suite_fits_its_budget() -> None:
    """The first run ends within minutes on two cores, and asks what an endpoint with parallel slots is caught on."""
    prompts = shipped("quick").prompts
    characters = sum(len(message.content) for prompt in prompts for message in prompt.messages)
    assert 14 <= len(prompts) <= 25
    assert None not in [prompt.max_tokens for prompt in prompts]
    # English has more than four characters a token, so this is an upper bound.
    assert characters / 4 + sum(prompt.max_tokens or 0 for prompt in prompts) <= 4_000
    assert "title-lighthouse" in {prompt.id for prompt in prompts}


def test_every_shipped_family_has_its_row_in_the_table() -> None:
    """Whoever reads what a family is sensitive to reads about a file that exists, with the figures it has today."""
    table = (SHIPPED / "README.md").read_text()
    rows = {m[0]: m[1:] for m in re.findall(r"^\| `([\w.]+)` \| ([\d,]+) \| ([\d,]+) \|", table, re.MULTILINE)}
    assert set(rows) == {
        path.name for path in SHIPPED.iterdir() if path.is_file() and path.suffix not in (".md", ".lock")
    }
    families = {name: suites.load_suite(SHIPPED / name).prompts for name in rows}
    for name, own in families.items():
        assert rows[name] == (f"{len(own):,}", f"{sum(p.max_tokens or 0 for p in own):,}"), name
    prompts = [prompt for own in families.values() for prompt in own]
    (total,) = re.findall(r"^\| \*\*together\*\* \| \*\*([\d,]+)\*\* \| \*\*([\d,]+)\*\* \|", table, re.MULTILINE)
    assert total == (f"{len(prompts):,}", f"{sum(p.max_tokens or 0 for p in prompts):,}")


def test_the_suites_have_as_many_prompts_as_the_table_says() -> None:
    """What a run of a suite asks is known before it is paid for."""
    table = (SHIPPED / "README.md").read_text()
    counts = dict(re.findall(r"^\| `(quick|standard|deep)` \|.*\| ([\d,]+) \|$", table, re.MULTILINE))
    names: tuple[SuiteName, ...] = ("quick", "standard", "deep")
    assert counts == {name: f"{len(shipped(name).prompts):,}" for name in names}
    answers = dict(re.findall(r"^\| `(quick|standard|deep)` \|.*\| ([\d,]+) \| [\d,]+ \|$", table, re.MULTILINE))
    assert answers == {n: f"{sum(p.max_tokens or 0 for p in shipped(n).prompts):,}" for n in names}


def test_the_standard_suite_has_long_prompts_for_load_and_answers_to_check() -> None:
    """Batching shows on prompts of about 450 tokens and more, so at least six are that long."""
    prompts = shipped("standard").prompts
    assert sum(len(prompt.messages[-1].content) >= 1_400 for prompt in prompts) >= 6
    assert sum(prompt.expected is not None for prompt in prompts) >= 30
