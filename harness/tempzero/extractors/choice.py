"""A response in, the option letter (A to E) it picks out."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tempzero.extractors.answer_claims import (
    MAX_PHRASE_CHARS,
    SENTENCE,
    Claim,
    Statement,
    find_claims,
    is_taken_back,
    settle_answer,
)
from tempzero.extractors.answer_text import last_line, to_plain_text
from tempzero.extractors.extractor import Extractor, is_same_text

_NOUNS = r"answer|(?:correct|right|best|my)\s+(?:option|choice|letter)|(?:final\s+)?(?:choice|selection)"

_LEAD = re.compile(r"[\s\"'“”:]*(?:(?:the\s+)?(?:option|choice|letter|answer)\s+)?[\"'“]?", re.IGNORECASE)
_BRACKETED = re.compile(r"[(\[{]\s*([A-Ea-e])\s*[)\]}]")
# "E. coli" is no option E.
_SPECIES = r"(?:coli|elegans|difficile|subtilis|anthracis|cereus|botulinum|albicans|melanogaster|thaliana)\b"
_ABBREVIATES = re.compile(rf"\s*(?:{_SPECIES}|[A-Z]\.)")
_DELIMITED = re.compile(
    rf"([A-Ea-e])[\"'”]?\s*(?:\)|\.(?=\s|$)(?!\s*[A-Za-z]\.)(?!\s+{_SPECIES})|$)|([A-E])[\"'”]?\s*(?::(?!\w)|[,;!—]|[–-]\s)"
)
_BARE = re.compile(r"([A-E])[\"'”]?\s+(?:because|since|as (?:it|the)|is (?:the )?(?:correct|right|best)|\()")
_ANOTHER = re.compile(
    r"[\"'”)\]}.:]*\s*\(\s*[A-E]\s*\)|"
    r"[\"'”)\]}.:]*\s*(?:,|/|&|\bor\b|\band\b|\bnor\b)\s*(?:(?:or|and|possibly|perhaps|maybe|even|the|option|choice)\s+)*"
    r"\(?(?:[B-E]|A(?!\s+[a-z]))(?![\w'])"
    r"|.*\b(?:or|and|nor)\s+(?:(?:possibly|perhaps|maybe|even|option|choice)\s+)*"
    r"(?:\([A-E]\)|[A-E]\)|[B-E](?=\s*(?:$|[.,;)])))"
)

_IS_CORRECT = re.compile(
    r"(?:\b(?:option|choice|answer)\s+|\()?(?<![\w'.])([A-E])\)?\s+is\s+(?:the\s+|therefore\s+|clearly\s+)?"
    r"(?:correct|right|best)(?:\s+(?:answer|option|choice|one)\b|\s*[.!,;)]|\s*$)",
    re.MULTILINE,
)
_I_CHOOSE = re.compile(
    r"\bI(?:'d| would|'ll| will)?\s+(?:choose|pick|select|go (?:with|for))\s+(?:(?:option|choice|answer|letter)\s+)?"
    r"\(?([A-E])(?=\)|\s*[.,;!]|\s*$)",
    re.MULTILINE,
)
_DOUBTED = re.compile(r"(?:\b(?:if|not|whether|unless|think|might|may|nor)\b|n't\b)[^.!\n]*$", re.IGNORECASE)

_WHOLE = re.compile(r"\W*(?:(?:option|choice)\s+)?\(?([A-Ea-e])\)?\W*", re.IGNORECASE)
_LAST = re.compile(r"\W*([A-E])\W*")
_OPTION_LINE = re.compile(r"^\W{0,3}\(?([A-Ea-e])[).](?=\s)", re.MULTILINE)
_OPTION_START = re.compile(r"\s*(?:option\s+)?(?:\(([A-E])\)|([A-E])\))", re.IGNORECASE)
_MENTION = re.compile(r"\(([A-E])\)")
_REJECTED = re.compile(r"\b(?:wrong|incorrect|false|not)\b|n't\b", re.IGNORECASE)
_OPTION_DOT = re.compile(rf"\s*([A-E])(?:\.|\s[—–-])\s+(?![A-Z]\.|{_SPECIES})(?:\S+(?:\s+|$)){{1,5}}$")


def _read_choice(text: str, _args: Mapping[str, str]) -> str | None:
    shown = to_plain_text(text)
    stated = [_read_letter_claim(claim) for claim in find_claims(text, _NOUNS) if claim.rest]
    stated += [
        _read_letter_sentence(shown, match) for match in (*_IS_CORRECT.finditer(shown), *_I_CHOOSE.finditer(shown))
    ]
    if stated:
        if is_taken_back(text, find_claims(text, _NOUNS)):
            return None
        return settle_answer(sorted(stated, key=lambda s: s.claim.at), is_same_text)
    return _read_unlabelled_letter(shown)


def _read_letter_claim(claim: Claim) -> Statement:
    # The full stop behind "E" may be an abbreviation's: "E. coli", "C. S. Lewis".
    abbreviated = claim.text[claim.end - 1 : claim.end] == "." and _ABBREVIATES.match(claim.text, claim.end)
    return Statement(claim=claim, value=None if abbreviated else _leading_letter(claim.rest))


def _read_letter_sentence(text: str, match: re.Match[str]) -> Statement:
    """ "B is the correct answer": without a label in front, the words before it decide whether it is meant."""
    doubted = bool(_DOUBTED.search(text[max(0, match.start() - 60) : match.start()]))
    claim = Claim(rank=SENTENCE, at=match.start(), rest=match.group(), text=text, end=match.end(), doubted=doubted)
    return Statement(claim=claim, value=match[1])


def _leading_letter(rest: str) -> str | None:
    """The one letter at the head of a statement, or None; "a dog" holds an article, not an option."""
    lead = _LEAD.match(rest)
    head = rest[lead.end() :] if lead else rest
    return _lone_letter(_BRACKETED.match(head) or _DELIMITED.match(head) or _BARE.match(head), head)


def _lone_letter(match: re.Match[str] | None, text: str) -> str | None:
    """The matched letter, unless another letter stands beside it ("A or B")."""
    if match is None:
        return None
    group = next(index for index, found in enumerate(match.groups(), start=1) if found)
    return None if _ANOTHER.match(text, match.end(group)) else match[group].upper()


def _read_unlabelled_letter(text: str) -> str | None:
    """The answer of a response that is an option and little else."""
    whole = _WHOLE.fullmatch(text)
    if whole:
        return whole[1].upper()
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or len(lines[0]) > MAX_PHRASE_CHARS or len(_OPTION_LINE.findall(text)) > 1:
        return None
    start = _OPTION_START.match(lines[0]) or (_OPTION_DOT.match(lines[0]) if len(lines) == 1 else None)
    last = _LAST.fullmatch(last_line(text))
    if start:
        others = {match[1] for match in _MENTION.finditer(text)} - {start[1] or start[2]}
        letter = None if others or _REJECTED.search(lines[0]) else _lone_letter(start, lines[0])
        return letter if last is None or last[1] == letter else None
    return last[1] if last else None


def _can_state_choice(expected: str, args: Mapping[str, str]) -> bool:
    return _read_choice(expected, args) is not None


CHOICE = Extractor(name="choice", version=2, reader=_read_choice, can_state=_can_state_choice)
