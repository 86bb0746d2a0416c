"""A seed in, candidate prompts out: the same ones for the same seed on every machine."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from tempzero.canonical_json import to_spaced_canonical_json
from tempzero.probe.answer_paths import PromptKind
from tempzero.types.asked import Message, Prompt

T = TypeVar("T")

# Read in blocks, each sorted so that neighbours share their beginnings, which are then computed once.
READING_BLOCK = 128

_THINGS = (
    "acorns anchors apples baskets bells blankets boots bottles brooms buttons cameras candles carrots chairs clocks "
    "coins combs compasses cups curtains doors drums engines fans feathers ferries flutes forks gates gloves hammers "
    "hats hinges jars kettles keys kites ladders lamps lanterns lemons letters locks maps marbles mirrors mugs nails "
    "needles nets oars onions ovens paddles pans pears pencils pianos pillows pipes plates pumps ribbons ropes "
    "saddles sails scarves shells shovels sledges soaps spoons stamps stoves tents tickets tiles towels trumpets "
    "umbrellas vases violins wagons wheels whistles windmills zips"
)
_ADJECTIVES = (
    "old new broken tiny huge painted silver wooden borrowed lost blue heavy cheap hidden noisy warm frozen empty "
    "crooked polished foreign spare curious dusty folded striped perfect useless secret gentle"
)
# What varies stands as far back as English lets it. Open questions, with many ways to begin an answer.
_OPEN_QUESTIONS = (
    "Answer with one word: which is better, {kind} {thing} or {other}?",
    "Ask me a question about {kind} {thing}.",
    "Complete the sentence: People who collect {kind} {thing}",
    "Describe in three words: {kind} {thing} and {other}.",
    "Give me some advice about {kind} {thing}.",
    "Invent a name for a shop that sells {kind} {thing} and {other}.",
    "Name one thing that nobody should do with {kind} {thing}.",
    "Say the first thing that comes to mind: {kind} {thing}.",
    "Start a poem about {kind} {thing} and {other}.",
    "What have these in common: {kind} {thing} and {other}?",
    "What would a child say about {kind} {thing}?",
    "Write a line of dialogue between somebody who sells {thing} and somebody who wants {kind} {other}.",
    "Write a title for a story about {kind} {thing}.",
    "Write the first sentence of a letter about {kind} {thing}.",
)

# Questions that a model has a way of its own to begin to answer, each another one.
_PLAIN_QUESTIONS = (
    "Convert {number} metres into feet.",
    "Explain to a child what {thing} are.",
    "Give a definition of {word}.",
    "Give me a recipe that needs {number} {thing}.",
    "How are {kind} {thing} made?",
    "How do I clean {kind} {thing}?",
    "How many letters has the word {word}?",
    "How much do {kind} {thing} weigh?",
    "Is it safe to wash {kind} {thing}?",
    "List five kinds of {thing}.",
    "Make a table of {number} {thing} and {other}.",
    "Put these in the order of the alphabet: {thing}, {other}, {word}.",
    "Put this into the past tense: The {word} sees the {thing}.",
    "Repeat after me: {kind} {thing} and {other}.",
    "Spell the word {word}.",
    "Tell me a joke about {kind} {thing}.",
    "Translate into French: {thing} and {other}.",
    "Translate into Spanish: the {kind} {word}.",
    "Use the word {word} in a sentence.",
    "What are {thing} used for?",
    "What colour are {kind} {thing}?",
    "What does the word {word} mean?",
    "What is the difference between {thing} and {other}?",
    "What is the history of {thing}?",
    "What is the opposite of {kind}?",
    "What is the plural of {word}?",
    "What is {number} plus {more}?",
    "What rhymes with {word}?",
    "Where can I buy {kind} {thing}?",
    "Who invented {thing}?",
    "Why are {kind} {thing} expensive?",
    "Write a Python function that counts {thing}.",
    "Write a haiku about {kind} {thing}.",
    "Write a short story about {kind} {thing} and {other}.",
    "Write an advertisement for {kind} {thing}.",
    "Write an email that asks for {number} {kind} {thing}.",
    "Write the name of the {word} as JSON, with its colour and its weight.",
)

_FORCED_WORDS = (
    "apple bread chair cloud dance earth field glass heart horse house juice light money month mouth music night "
    "ocean paper party peace phone plant queen radio river salt school ship snow sound space stone storm sugar "
    "summer table tiger tower train tree water wheel window winter world"
)


def generate_candidates(kind: PromptKind, *, number: int, seed: int) -> tuple[Prompt, ...]:
    """So many different candidates of the project's own making; there are about a million of each kind."""
    # random() is the one method whose sequence Python promises never to change.
    draw = random.Random(seed)
    make = _DRAWN[kind]
    found: dict[tuple[Message, ...], None] = {}
    while len(found) < number:
        found[make(draw)] = None
    return tuple(_build_candidate(kind, messages) for messages in found)


def order_for_reading(candidates: Sequence[Prompt]) -> list[Prompt]:
    """Block by block as given, so that a search cut short has seen a fair sample, and sorted within."""
    blocks = (candidates[at : at + READING_BLOCK] for at in range(0, len(candidates), READING_BLOCK))
    return [p for block in blocks for p in sorted(block, key=_message_texts)]


def _message_texts(prompt: Prompt) -> list[str]:
    return [message.content for message in prompt.messages]


def _build_candidate(kind: PromptKind, messages: tuple[Message, ...]) -> Prompt:
    """Named after what it says: the same text has the same name in every search."""
    said = to_spaced_canonical_json([[m.role, m.content] for m in messages])
    return Prompt(id=f"{kind}-{hashlib.sha256(said.encode()).hexdigest()[:10]}", messages=messages, family=kind)


def _draw_open_question(draw: random.Random) -> tuple[Message, ...]:
    thing, other = _pick_distinct(draw, _THINGS.split(), 2)
    text = _pick_one(draw, _OPEN_QUESTIONS).format(kind=_pick_one(draw, _ADJECTIVES.split()), thing=thing, other=other)
    return (Message(role="user", content=text),)


def _draw_plain_question(draw: random.Random) -> tuple[Message, ...]:
    thing, other = _pick_distinct(draw, _THINGS.split(), 2)
    text = _pick_one(draw, _PLAIN_QUESTIONS).format(
        kind=_pick_one(draw, _ADJECTIVES.split()),
        thing=thing,
        other=other,
        word=_pick_one(draw, _FORCED_WORDS.split()),
        number=2 + int(draw.random() * 90),
        more=2 + int(draw.random() * 90),
    )
    return (Message(role="user", content=text),)


def _draw_forced_task(draw: random.Random) -> tuple[Message, ...]:
    """An example and a second task of the same form: nearly every token of the answer stands in the prompt."""
    shown, asked = _pick_distinct(draw, _FORCED_WORDS.split(), 4), _pick_distinct(draw, _FORCED_WORDS.split(), 8)
    start, example = 2 + int(draw.random() * 90), 2 + int(draw.random() * 90)
    tasks = (
        ("Repeat these words: {}", [", ".join(shown), ", ".join(asked)], [", ".join(shown)]),
        ("Make a JSON list of: {}", [" ".join(shown), " ".join(asked)], [json.dumps(shown)]),
        ("Number these: {}", [" ".join(shown), " ".join(asked)], ["\n".join(_number_words(shown))]),
        ("Count from {}", [f"{example} to {example + 5}.", f"{start} to {start + 15}."], [_counting_text(example, 6)]),
        ("Write twelve times: {}", [shown[0], asked[0]], [" ".join(shown[:1] * 12)]),
        ("Put a plus between: {}", [" ".join(shown), " ".join(asked)], [" + ".join(shown)]),
    )
    task, (first, second), (answer,) = _pick_one(draw, tasks)
    return (
        Message(role="user", content=task.format(first)),
        Message(role="assistant", content=answer),
        Message(role="user", content=task.format(second)),
    )


def _number_words(words: Sequence[str]) -> list[str]:
    return [f"{number}. {word}" for number, word in enumerate(words, start=1)]


def _counting_text(start: int, number: int) -> str:
    return ", ".join(str(n) for n in range(start, start + number))


def _pick_one(draw: random.Random, among: Sequence[T]) -> T:
    return among[int(draw.random() * len(among))]


def _pick_distinct(draw: random.Random, among: Sequence[str], number: int) -> list[str]:
    """So many different ones."""
    left = list(among)
    return [left.pop(int(draw.random() * len(left))) for _ in range(number)]


_DRAWN: Mapping[PromptKind, Callable[[random.Random], tuple[Message, ...]]] = {
    "border": _draw_open_question,
    "robust": _draw_forced_task,
    "steady": _draw_plain_question,
}
