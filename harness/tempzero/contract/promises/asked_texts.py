"""What cases ask, and the looks at texts that several of them take."""

from __future__ import annotations

import re
from collections import Counter

COUNT_PROMPT = "Count from 1 to 30, separated by single spaces. Write nothing else."
COUNT_FAR_PROMPT = "Count from 1 to 300, separated by single spaces. Write nothing else."
ALPHABET_PROMPT = "Write the English alphabet in capital letters, separated by single spaces. Write nothing else."
WEEKDAYS_PROMPT = "Name the seven days of the week in order, separated by commas. Write nothing else."
YES_PROMPT = "Reply with the single word yes."
REPEAT_PROMPT = "Write the word apple two hundred times, separated by single spaces. Write nothing else."
ECHO_TEXT = "Zürich, Kraków, 東京, naïve café, a < b && c > d"
ECHO_PROMPT = f"Repeat this line exactly, and write nothing else: {ECHO_TEXT}"
# Whoever samples gives another beginning here almost surely; whoever takes the likeliest token does not. The answer
# begins at once: words that introduce it are always the same.
OPEN_PROMPTS = (
    "Write twelve random English words, separated by spaces. Begin with the first word and write nothing else.",
    "Invent a harbour town: write its name and one sentence on it. Begin with the name and write nothing else.",
    "Invent the hero of a novel: first name, surname, age, job, home town. Begin with the name and write nothing else.",
    "Name ten odd things that might lie in an attic. Begin with the first thing and write nothing else.",
    "Write one surprising sentence about an animal of your choice. Begin with the sentence and write nothing else.",
)
OPEN_TOKENS = 32
# Rounding moves two answers apart somewhere; sampling does so at once.
_EARLY_WORDS = 6


def find_numbers(text: str) -> list[int]:
    """The whole numbers that a text names, in its order."""
    return [int(number) for number in re.findall(r"\d{1,9}", text)]


def starts_otherwise(one: str, other: str) -> bool:
    """Whether two texts part within their first words."""
    return one.split()[:_EARLY_WORDS] != other.split()[:_EARLY_WORDS]


def count_commonest_word(text: str) -> int:
    """How often the commonest word of a text stands in it."""
    return max(Counter(text.split()).values(), default=0)


def quote_text(text: str, most: int = 60) -> str:
    """A text as one quoted line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return f'"{line}"' if len(line) <= most else f'"{line[:most]}…"'
