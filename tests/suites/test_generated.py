"""A seed in, the same prompts out everywhere; another seed, other prompts of the same kind with answers that hold."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from tempzero import suites
from tempzero.cli import main
from tempzero.errors import SuiteError
from tempzero.extractors import EXTRACTORS
from tempzero.suites.generated import GENERATORS, GeneratedPrompt, generate_prompts, words
from tempzero.suites.generated.long_context import estimate_tokens
from tempzero.suites.generated.seeded_draw import Draw

# SHA-256 over the JSONL of seed 1, ten prompts each. A change here means a change of every suite that was generated:
# raise the generator's version, and freeze anew.
BYTES = {
    "arithmetic": "b193e966f00950f560c6e71340960756487aa468a5ee5ecd4a78f630ff472c46",
    "logic": "208430085c5f800561536417ab68ea4fa09c5817606a997e0e36b4b56edddc9c",
    "chains": "b621378a34345822a2e60d70348bd5ee3e6f5e7426a1e5b7f84f8dfa2650612f",
    "needle": "be17146da9fb85a8e1445095bb31501f09508e844559d0de7c4a1c90ff700f5e",
    "needles": "7e96b44d25beea94e8a4836b71b1aece1aae7621a4657c847d2ac6a74c3bc5c3",
    "count": "d0caf6b59169ae892fadbfb346a060307fd51358e4155d9576e35b3d8c43bc2a",
    "total": "8ef6824ac2a6d92eecfc84aff29d14348a9ecab80acf60f3644310a85f739691",
    "repetition": "b49b0382b668f3710a0bb87e48ee053570dc3c8a25347047f378edde6edc12f2",
}


@pytest.mark.parametrize("name", GENERATORS)
def test_the_same_seed_gives_the_same_bytes_for_ever(name: str) -> None:
    """Two people who name the same seed have asked the same: on another machine, in another year."""
    text = suites.generate_jsonl(name, seed=1, count=10, settings=())
    assert hashlib.sha256(text.encode()).hexdigest() == BYTES[name]


def test_draws_are_fair_and_known() -> None:
    """The stream behind every prompt is SHA-256 in counter mode, cut without bias."""
    draw = Draw("a", 1)
    first = int.from_bytes(hashlib.sha256(b"a/1#1").digest()[-8:], "big")
    assert draw.below(2**63) == first % 2**63
    counts = [0] * 6
    for _ in range(6_000):
        counts[draw.below(6)] += 1
    assert max(abs(count - 1_000) for count in counts) < 120
    assert sorted(draw.shuffle(range(9))) == list(range(9))


@pytest.mark.parametrize("name", GENERATORS)
def test_another_seed_gives_other_prompts_of_the_same_kinds(name: str) -> None:
    """Fresh variants are as hard: the same kinds in the same places, with other names and numbers."""
    count = 20 if name in ("arithmetic", "logic", "repetition") else 5
    one, two = (dict(generate_prompts(GENERATORS[name], seed=seed, count=count, settings={})) for seed in (1, 2))
    both = {m.prompt for m in one.values()} & {m.prompt for m in two.values()}
    assert len(both) <= (4 if name == "repetition" else 0)  # there are not so many places to make lists of
    assert [_kind(m) for m in one.values()] == [_kind(m) for m in two.values()]
    assert len({_kind(m) for m in one.values()}) > (1 if count == 20 else 0)


def _kind(one: GeneratedPrompt) -> tuple[str, str]:
    """What a prompt is apart from names, things and numbers: what is asked in the end, and how it is read."""
    asked = " ".join(re.split(r"(?<=[.?\n]) ?", one.prompt)[-3:])
    asked = re.sub(rf"find in an? [a-z ]+|\d+|\b(?:{'|'.join(_WORDS)})s?\b", "_", asked)
    return asked, (one.extractor or {}).get("name", "")


_WORDS = [word for name, listed in vars(words).items() if name.isupper() for word in listed]


def test_a_prompt_does_not_depend_on_how_many_are_made() -> None:
    """A suite can grow without changing what it asks already."""
    few, many = (list(generate_prompts(GENERATORS["logic"], seed=3, count=n, settings={})) for n in (4, 9))
    assert many[:4] == few


def test_stories_and_sums_have_the_answer_that_is_expected_of_them() -> None:
    """The arithmetic is done once more, from the text alone."""
    for steps in range(1, 7):
        for name, one in generate_prompts(GENERATORS["arithmetic"], seed=5, count=24, settings={"steps": steps}):
            assert str(_reckoned(one.prompt)) == one.expected, name


def _reckoned(prompt: str) -> int:
    if found := re.match(r"What is ([\d ×+-]+)\?", prompt):
        return int(eval(found[1].replace("×", "*")))
    value = 0
    for sentence in re.split(r"(?<=\.) ", prompt.split(" How many")[0]):
        numbers = [int(n) for n in re.findall(r"\d+", sentence)]
        if " has " in sentence:
            value = numbers[0] * (numbers[1] if len(numbers) > 1 else 1)
        elif "brings" in sentence:
            value += numbers[0]
        elif "away" in sentence:
            value -= numbers[0]
        elif "doubles" in sentence:
            value *= 2
        else:
            assert "half" in sentence
            assert value % 2 == 0
            value //= 2
    return value


def test_puzzles_have_the_answer_that_is_expected_of_them() -> None:
    """Each kind of puzzle is solved once more, from the text alone; yes and no are asked for equally often."""
    answers = []
    for steps in (1, 2, 4):
        for index, (name, one) in enumerate(
            generate_prompts(GENERATORS["logic"], seed=4, count=40, settings={"steps": steps})
        ):
            solved = (_tallest, _box, _follows, _lamp, _place)[index % 5](one.prompt)
            assert solved == one.expected, name
            answers.append(one.expected)
    assert answers.count("yes") == answers.count("no") == 24


def _tallest(prompt: str) -> str:
    pairs = re.findall(r"(\w+) is taller than (\w+)\.", prompt)
    tall, small = {a for a, _ in pairs}, {b for _, b in pairs}
    (found,) = tall - small if "tallest" in prompt else small - tall
    return str(found)


def _box(prompt: str) -> str:
    (thing,) = re.findall(r"Which box is the (\w+) in", prompt)
    return str(re.findall(rf"puts the {thing} into the (\w+) box", prompt)[-1])


def _follows(prompt: str) -> str:
    name, goal = re.findall(r"Is (\w+) a (\w+)\?", prompt)[0]
    (kind,) = re.findall(rf"{name} is a (\w+)\.", prompt)
    every = dict(re.findall(r"Every (\w+) is a (\w+)\.", prompt))
    while kind in every:
        kind = every[kind]
    if kind == goal:
        return "yes"
    assert f"No {kind} is a {goal}." in prompt
    return "no"


def _lamp(prompt: str) -> str:
    on = "A lamp is on." in prompt
    return "yes" if on ^ (prompt.count(" presses the switch.") % 2 == 1) else "no"


def _place(prompt: str) -> str:
    row = re.findall(r"from left to right: ([^.]+)\.", prompt)[0].split(", ")
    for a, b in re.findall(r"(\w+) and (\w+) change places", prompt):
        i, j = row.index(a), row.index(b)
        row[i], row[j] = row[j], row[i]
    return str(row[("first", "second", "third", "fourth").index(re.findall(r"the (\w+) from the left", prompt)[0])])


@pytest.mark.parametrize("tokens", [2_048, 8_192, 32_768])
@pytest.mark.parametrize("name", ["needle", "needles", "count", "total"])
def test_a_long_text_fills_its_context_and_holds_its_answer(name: str, tokens: int) -> None:
    """A context of so many tokens is nearly full, with room for template and answer; the answer is in the text."""
    for prompt_id, one in generate_prompts(GENERATORS[name], seed=7, count=2, settings={"tokens": tokens}):
        assert 0.94 * tokens <= estimate_tokens(one.prompt) <= tokens - 90
        assert _found(name, one.prompt) == one.expected, prompt_id


def _found(name: str, prompt: str) -> str:
    text, question = prompt.rsplit("Question:", 1)
    lockers = dict(re.findall(r"The number of the locker at the (\w+) is (\d{4})\.", text))
    assert len(re.findall(r"\d{4}", text)) == len(lockers)
    if name in ("needle", "needles"):
        return ", ".join(lockers[place] for place in re.findall(r"the (\w+)(?=[,?]| and the)", question))
    (who,) = re.findall(r"did (\w+) ", question)
    if name == "count":
        return str(text.count(f"{who} rang the great bell."))
    return str(sum(map(int, re.findall(rf"{who} paid (\d+) coins", text))))


def test_a_needle_moves_through_one_text_and_asks_the_same_at_every_length() -> None:
    """What differs between depths is the depth alone, and between lengths the length."""
    short, long = (
        [one for _, one in generate_prompts(GENERATORS["needle"], seed=2, count=5, settings={"tokens": tokens})]
        for tokens in (1_024, 4_096)
    )
    fact = re.findall(r"The number of the locker at the \w+ is \d{4}\. ?", short[0].prompt)[0].strip()
    depths = [round(100 * one.prompt.index(fact) / len(one.prompt)) for one in long]
    assert all(abs(depth - wanted) <= 3 for depth, wanted in zip(depths, (50, 10, 90, 30, 70), strict=True))
    assert {one.expected for one in (*short, *long)} == {fact[-5:-1]}
    assert len({one.prompt.replace(fact, "").replace("\n\n", " ").replace("  ", " ") for one in long}) == 1


def test_every_expected_answer_can_be_read(tmp_path: Path) -> None:
    """A generated prompt is a prompt like any other: its file loads, and its extractor reads its own answer."""
    file = tmp_path / "a.jsonl"
    for name in GENERATORS:
        file.write_text(suites.generate_jsonl(name, seed=9, count=10, settings=[*_short(name), "max_tokens=32"]))
        for prompt in suites.load_suite(file).prompts:
            assert prompt.max_tokens == 32
            if prompt.expected is not None and prompt.extractor is not None:
                reader = EXTRACTORS[prompt.extractor.name]
                read = reader.read(prompt.expected.capitalize(), prompt.extractor.args)
                assert read is not None or reader.name == "answer_line"
                assert read is None or reader.same(read, prompt.expected)


def test_a_declaration_is_the_same_as_the_text_it_stands_for(tmp_path: Path) -> None:
    """`generate:` in a file and `tempzero suite generate` give one suite."""
    declared, spelled = tmp_path / "a.yaml", tmp_path / "b.jsonl"
    declared.write_text("family: logic\ngenerate: [{generator: logic, seed: 3, count: 6, steps: 3, max_tokens: 8}]\n")
    assert main(["suite", "generate", "logic", "--seed", "3", "--count", "6", "--set", "steps=3", "--set",
                 "max_tokens=8", "--out", str(spelled)]) == 0  # fmt: skip
    assert suites.load_suite(declared).digest == suites.load_suite(spelled).digest
    assert [json.loads(line)["family"] for line in spelled.read_text().splitlines()] == ["logic"] * 6


def _short(name: str) -> list[str]:
    return ["tokens=1024"] if "tokens" in GENERATORS[name].parameters else []


@pytest.mark.parametrize("name", GENERATORS)
def test_no_generator_asks_for_what_changes(tmp_path: Path, name: str) -> None:
    """The lint passes generated prompts over, so their vocabulary is looked at here."""
    file = tmp_path / "a.jsonl"
    file.write_text(suites.generate_jsonl(name, seed=6, count=20, settings=_short(name)))
    assert [line for line in suites.lint_prompts(file) if "nearly the same" not in line] == []


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ("{generator: arithmetc, seed: 1, count: 1}", 'generate[0].generator: expected a generator; did you mean "ari'),
        ("{generator: logic, count: 1}", "generate[0].seed: this key is needed, e.g. {generator: arithmetic, seed: 1"),
        ("{generator: logic, seed: 1, count: 0}", "generate[0].count: expected a whole number from 1 to 10000; found"),
        ("{generator: logic, seed: 1, count: 1, step: 2}", 'generate[0].step: unknown key; did you mean "steps"?'),
        ("{generator: logic, seed: 1, count: 1, form: long}", "generate[0].form: expected one of direct, worked; foun"),
        ("logic", "generate[0]: expected a mapping such as {generator: arithmetic, seed: 1, count: 20}; found text"),
    ],
)
def test_a_bad_declaration_is_refused_in_words(tmp_path: Path, item: str, says: str) -> None:
    """Where, what, and what would be right, as for any other prompt."""
    file = tmp_path / "a.yaml"
    file.write_text(f"family: f\ngenerate:\n  - {item}\n")
    with pytest.raises(SuiteError) as caught:
        suites.load_suite(file)
    assert f"a.yaml:3: {says}" in str(caught.value)
