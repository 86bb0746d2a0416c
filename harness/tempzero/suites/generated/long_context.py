"""A seed, a place and a length in, a long text with a question out: one needle, several, a count, a sum."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from tempzero.suites.generated.generator import GeneratedPrompt, Generator, Settings, WholeNumber
from tempzero.suites.generated.seeded_draw import Draw
from tempzero.suites.generated.words import NAMES, NUMERALS, PLACES, QUALITIES, THINGS

# A context of so many tokens holds the prompt, a chat template with its default system message and a short answer.
_FILL, _SPARE = 0.975, 96
_PARAGRAPH = 6
_TOKENS_PER_1000_PIECES = 1021
_DEPTHS = (50, 10, 90, 30, 70)
_PIECE = re.compile(r"[a-z]+|[0-9]|[^\sa-z0-9]", re.IGNORECASE)


def estimate_tokens(text: str) -> int:
    """About how many tokens a text of this vocabulary has: one for each word, digit, mark and paragraph break.

    A few words take two: with the tokenizer of SmolLM2 the texts have 2.1 % more than the pieces counted here.
    """
    return (len(_PIECE.findall(text)) + text.count("\n\n")) * _TOKENS_PER_1000_PIECES // 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class _HiddenTask:
    """Sentences to be hidden in a text, each at its depth in percent, and what is asked about them."""

    sentences: tuple[tuple[int, str], ...]
    question: str
    answer: str
    pattern: str | None = None
    """How the answer looks, where it is no single number."""


def _make_needle(draw: Draw, index: int) -> _HiddenTask:
    """One number at one depth: 50, 10, 90, 30 or 70 % into the text."""
    place, code = draw.pick(PLACES), str(draw.between(1000, 9999))
    return _HiddenTask(
        sentences=((_DEPTHS[index % len(_DEPTHS)], f"The number of the locker at the {place} is {code}."),),
        question=f"What is the number of the locker at the {place}? Reply with the number only.",
        answer=code,
    )


def _make_several_needles(draw: Draw, _index: int) -> _HiddenTask:
    """Three numbers at three depths, asked for in another order than that of the text."""
    places = draw.sample(PLACES, 3)
    codes = {place: str(draw.between(1000, 9999)) for place in places}
    asked = [places[2], places[0], places[1]]
    return _HiddenTask(
        sentences=tuple(
            (depth, f"The number of the locker at the {place} is {codes[place]}.")
            for depth, place in zip((15, 50, 85), places, strict=True)
        ),
        question=f"What are the numbers of the lockers at the {asked[0]}, the {asked[1]} and the {asked[2]}? "
        "Reply with the three numbers in this order, separated by commas.",
        answer=", ".join(codes[place] for place in asked),
        pattern=r"(\d{4}, ?\d{4}, ?\d{4})",
    )


def _make_count(draw: Draw, index: int) -> _HiddenTask:
    """How often somebody rang the bell, while others rang it too."""
    name, *others = draw.sample(NAMES, 4)
    times = 3 + index % 4
    ringing = [name] * times + others
    return _HiddenTask(
        sentences=_spread_evenly(draw, [f"{who} rang the great bell." for who in draw.shuffle(ringing)]),
        question=f"How many times in the text did {name} ring the great bell? Reply with the number only.",
        answer=str(times),
    )


def _make_total(draw: Draw, index: int) -> _HiddenTask:
    """How much somebody paid in all, in several places, while others paid too."""
    name, other = draw.sample(NAMES, 2)
    paid = [draw.between(11, 39) for _ in range(3 + index % 2)]
    facts = [f"{name} paid {coins} coins to the ferryman." for coins in paid]
    facts += [f"{other} paid {draw.between(11, 39)} coins to the ferryman." for _ in range(2)]
    return _HiddenTask(
        sentences=_spread_evenly(draw, draw.shuffle(facts)),
        question=f"How many coins did {name} pay to the ferryman in total? Reply with the number only.",
        answer=str(sum(paid)),
    )


def _spread_evenly(draw: Draw, sentences: Sequence[str]) -> tuple[tuple[int, str], ...]:
    """Evenly over the text, each a little off its place."""
    step = 100 / (len(sentences) + 1)
    return tuple((int(step * (n + 1)) + draw.between(-2, 2), sentence) for n, sentence in enumerate(sentences))


_TASKS = {"needle": _make_needle, "needles": _make_several_needles, "count": _make_count, "total": _make_total}


def _make_long_context(task: str, seed: int, index: int, settings: Settings) -> GeneratedPrompt:
    tokens = int(settings["tokens"])
    # The needles of all depths are hidden in one text: only their depth differs.
    turn, text = (index // len(_DEPTHS), index // len(_DEPTHS)) if task == "needle" else (index, index)
    hidden = _TASKS[task](Draw(task, 1, seed, turn), index)
    ending = f"\n\nQuestion: {hidden.question}"
    opening = "Read the following text. At the end there is a question about it.\n\n"
    room = min(int(tokens * _FILL), tokens - _SPARE) - estimate_tokens(
        opening + ending + " ".join(s for _, s in hidden.sentences)
    )
    sentences = _make_filler(f"{task}/{tokens}/{seed}/{text}", room)
    body = _insert_sentences(sentences, hidden.sentences)
    return GeneratedPrompt(
        stem=f"{task}-{tokens}",
        prompt=opening + _join_paragraphs(body) + ending,
        extractor={"name": "regex", "pattern": hidden.pattern} if hidden.pattern else {"name": "number"},
        expected=hidden.answer,
        variants=f"{task}-{tokens}-s{seed}-{turn}" if task == "needle" else None,
    )


def _insert_sentences(sentences: Sequence[str], hidden: Sequence[tuple[int, str]]) -> list[str]:
    body = list(sentences)
    for depth, sentence in sorted(hidden, key=lambda pair: -pair[0]):
        body.insert(len(sentences) * depth // 100, sentence)
    return body


def _join_paragraphs(sentences: Sequence[str]) -> str:
    return "\n\n".join(" ".join(sentences[at : at + _PARAGRAPH]) for at in range(0, len(sentences), _PARAGRAPH))


@lru_cache(maxsize=64)  # all of a suite: a process that lasts reads it for every run
def _make_filler(name: str, room: int) -> tuple[str, ...]:
    """Sentences of a village's day that say nothing about lockers, bells or ferrymen, up to so many tokens."""
    draw, sentences = Draw("filler", 1, name), list[str]()
    used = 0
    while True:
        sentence = _make_filler_sentence(draw)
        used += len(_PIECE.findall(sentence)) + (len(sentences) % _PARAGRAPH == 0)
        if used * _TOKENS_PER_1000_PIECES // 1000 > room:
            return tuple(sentences)
        sentences.append(sentence)


def _make_filler_sentence(draw: Draw) -> str:
    form = draw.pick(_FORMS)
    name, other = draw.sample(NAMES, 2)
    place, elsewhere = draw.sample(PLACES, 2)
    thing, another = draw.sample(THINGS, 2)
    return form.format(
        name=name, other=other, place=place, elsewhere=elsewhere, thing=thing, another=another,
        quality=draw.pick(QUALITIES), few=NUMERALS[draw.between(2, 12)],
    )  # fmt: skip


_FORMS = (
    "{name} carried the {quality} {thing} from the {place} to the {elsewhere}.",
    "At the {place} {name} talked with {other} about the {quality} {thing}.",
    "The {thing} in the {place} had been {quality} for as long as {name} could remember.",
    "{name} waited near the {place} until {other} came back with the {thing}.",
    "There were {few} people at the {place}, and one of them wanted a {quality} {thing}.",
    "Behind the {place} stood a {quality} {thing}, which nobody had moved for {few} weeks.",
    "{other} asked {name} whether the {thing} belonged to the {place} or to the {elsewhere}.",
    "It took {few} hours to bring the {quality} {thing} up the hill to the {place}.",
    "{name} wrote a letter to {other}, but said nothing in it about the {thing}.",
    "In the {place} they found {few} letters under a {quality} {thing}.",
    "When it began to rain, {name} and {other} hid the {thing} in the {place}.",
    "Nobody at the {place} knew why {name} had painted the {thing} again.",
    "{name} traded the {quality} {thing} for a {another} and walked home past the {place}.",
    "The road from the {place} to the {elsewhere} was blocked by a {quality} {thing}.",
    "{other} laughed and said that the {thing} was older than the {place}.",
    "After supper {name} repaired the {thing} and lent it to the people of the {place}.",
    "The children of the {place} had hung a {quality} {thing} over the door.",
    "{name} had lost the {thing} between the {place} and the {elsewhere} and looked for it all morning.",
    "For {few} days there was no news from the {place}, and {name} grew tired of waiting.",
    "A {quality} {thing} leaned against the wall of the {place}, next to a {another}.",
)


def _build_generator(task: str) -> Generator:
    return Generator(
        name=task,
        version=1,
        make=lambda seed, index, settings: _make_long_context(task, seed, index, settings),
        parameters={"tokens": WholeNumber(low=512, high=131_072, default=2_048)},
    )


NEEDLE, NEEDLES, COUNT, TOTAL = (_build_generator(task) for task in _TASKS)
