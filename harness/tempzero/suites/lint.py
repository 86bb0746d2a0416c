"""Prompts in, remarks out: what makes a right answer change with day, place or reader, and what is asked twice."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from tempzero.suites.prompt_files import Entry, Place
from tempzero.types.asked import Prompt

NEAR_SHARE = 0.7
"""Two prompts that share more than this of all their runs of `_RUN` characters ask the same thing."""

_SHINGLE_CHARS = 9
# In a long text runs of words say as much and are fewer.
_LONG_CHARS, _SHINGLE_WORDS = 5_000, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenPrompt:
    """A prompt and how it stands in its file."""

    prompt: Prompt
    entry: Entry

    @property
    def place(self) -> Place:
        """Where its text is written."""
        return self.entry.place.inside(next((key for key in ("prompt", "messages") if key in self.entry.own), "prompt"))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rule:
    words: re.Pattern[str]
    because: str


def _make_rule(because: str, *words: str) -> _Rule:
    return _Rule(words=re.compile("|".join(words), re.IGNORECASE), because=because)


_MONEY = "(?:dollars?|euros?|pounds|yen|francs?|rupees?)"
_OFFICE = "(?:president|prime minister|chancellor|king|queen|emperor|pope|ceo|mayor|governor|champion|leader|head)"

_RULES = (
    _make_rule(
        "the right answer changes with the day",
        r"\b(?:today|tonight|tomorrow|yesterday|nowadays|currently|current|recent(?:ly)?|latest|newest)\b",
        r"\b(?:right now|at (?:the moment|present)|as of (?:now|this writing)|so far this|these days|to date)\b",
        r"\b(?:this|last|next) (?:week|month|year|decade|century)\b",
        r"\b(?:years?|months?|weeks?|days?|decades?) ago\b",
        r"\bsince (?:1[89]|20)\d\d\b",
        r"\bhow long (?:ago|has|have)\b",
        r"\bwhat (?:time|day|date|month|year) is (?:it|this)\b",
        r"\b(?:heute|derzeit|momentan|aktuell\w*|aujourd['’]hui|actuellement|hoy|actualmente|oggi|attualmente|hoje)\b",
        r"\b(?:atualmente|bugün|şu anda|сегодня|сейчас|σήμερα|dzisiaj|obecnie|vandaag|leo hii)\b",
        "今天|现在|目前|今日|現在|오늘|현재|اليوم|حاليا|आज|वर्तमान|היום",
    ),
    _make_rule(
        "who or what that is changes over the years",
        rf"\bwho (?:is|are|leads|heads|runs|governs) (?:the |a )?(?:\w+ )?{_OFFICE} of\b",
        r"\b(?:population|gdp|inflation rate|unemployment rate|capitali[sz]ation) of\b",
        r"\b(?:world record|record holder|richest (?:man|woman|person)|tallest building|most populous|best-selling)\b",
        r"\b(?:(?:stock|share) price|exchange rate|market value|net worth|price of (?:gold|oil|bitcoin|gas))\b",
        rf"\b{_MONEY} (?:in|into|to) {_MONEY}\b",
    ),
    _make_rule(
        "it means another thing in another country",
        r"\b\d{1,2}([/.])\d{1,2}\1\d{2,4}\b",
        r"(?<![\d.,])\d{1,3}\.\d{3}(?![\d.])",
        r"\b(?:gallons?|pints?|fluid ounces?|billions?|trillions?|(?:ground|first) floor)\b",
        r"\b(?:first|last) day of the week\b",
    ),
    _make_rule(
        "the right answer depends on where the reader is",
        r"\b(?:near me|nearest to (?:me|us|you)|(?:my|your|our) (?:location|city|country|time ?zone)|local time)\b",
    ),
    _make_rule(
        "every model answers it otherwise",
        r"\byour (?:training|knowledge cut-?off|version|developers?|creators?)\b",
        r"\b(?:what|which) (?:ai |language )?model are you\b",
    ),
)


def find_changing_answers(written: Sequence[WrittenPrompt]) -> tuple[str, ...]:
    """One line for each expression that makes a right answer change, unless the prompt allows it (`allow: [word]`).

    Generated prompts are passed over: megabytes of a vocabulary that was looked over once. So are whole requests of
    others, which are to be asked as they are.
    """
    return tuple(line for one in _select_own_words(written) for line in _remark_on_wording(one))


def _select_own_words(written: Sequence[WrittenPrompt]) -> list[WrittenPrompt]:
    return [one for one in written if not one.entry.generated and not one.entry.whole_request]


def _remark_on_wording(one: WrittenPrompt) -> Iterator[str]:
    allowed = {str(word).casefold() for word in one.entry.get("allow") or ()}
    place = one.prompt.round
    # Of a conversation each turn is looked over once, in the round that says it first.
    new = one.prompt.messages if place is None or place.number == 1 else one.prompt.messages[-1:]
    text = "\n".join(message.content for message in new)
    for rule in _RULES:
        for found in dict.fromkeys(match.group().casefold() for match in rule.words.finditer(text)):
            if found not in allowed:
                yield one.place.remark(
                    f'"{found}": {rule.because}; put it otherwise, or write allow: ["{found}"] where the prompt itself '
                    "says what it means"
                )


def find_duplicates(written: Sequence[WrittenPrompt]) -> tuple[str, ...]:
    """One line for each prompt whose text is that of another one but for case and white space."""
    first: dict[str, list[WrittenPrompt]] = defaultdict(list)
    lines = []
    for one in (one for one in written if not one.entry.whole_request):
        text = _normalise_prompt(one.prompt)
        other = next((o for o in first[text] if not _is_declared_variant(o, one)), None)
        if other is not None:
            lines.append(one.place.remark(_duplicate_remark("asks the same as", other)))
        first[text].append(one)
    return tuple(lines)


def find_near_duplicates(written: Sequence[WrittenPrompt]) -> tuple[str, ...]:
    """One line for each pair of prompts that differ in little: answers to them are not two observations.

    Generated prompts share their forms on purpose and differ in all the rest; prompts with tools are held
    against each other by what is said, not by the tools that several of them offer.
    """
    written = _select_own_words(written)
    runs = [_text_shingles(_conversation_text(one.prompt)) for one in written]
    lines = []
    for a, b in combinations(range(len(written)), 2):
        small, large = sorted((len(runs[a]), len(runs[b])))
        if small <= NEAR_SHARE * large or _is_declared_variant(written[a], written[b]):
            continue
        common = len(runs[a] & runs[b])
        if common > NEAR_SHARE * (small + large - common):
            lines.append(written[b].place.remark(_duplicate_remark("is nearly the same as", written[a])))
    return tuple(lines)


def _duplicate_remark(what: str, other: WrittenPrompt) -> str:
    return (
        f"{what} {other.prompt.id} ({other.place.location()}); leave one out, or give both the same `variants:` "
        "where they differ on purpose"
    )


def _is_declared_variant(a: WrittenPrompt, b: WrittenPrompt) -> bool:
    variants = a.entry.get("variants")
    return a.entry is b.entry or (variants is not None and variants == b.entry.get("variants"))


def _normalise_prompt(prompt: Prompt) -> str:
    images = (str(part) for message in prompt.messages for part in message.parts if part.get("type") != "text")
    asked = [str(prompt.request)] if prompt.request else []
    return "\n".join((_conversation_text(prompt), *(str(tool) for tool in prompt.tools), *images, *asked))


def _conversation_text(prompt: Prompt) -> str:
    told = [f"{m.role}: {' '.join(m.content.split()).casefold()}" for m in prompt.messages]
    return "\n".join((*told, *(str(m.tool_calls) for m in prompt.messages if m.tool_calls)))


def _text_shingles(text: str) -> set[str]:
    if len(text) <= _LONG_CHARS:
        return {text[at : at + _SHINGLE_CHARS] for at in range(max(1, len(text) - _SHINGLE_CHARS + 1))}
    words = text.split()
    return {" ".join(words[at : at + _SHINGLE_WORDS]) for at in range(len(words))}
