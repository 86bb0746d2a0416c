"""A response in, "yes" or "no" out; a response that says both says neither."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tempzero.extractors.answer_claims import (
    FINAL,
    MAX_PHRASE_CHARS,
    SENTENCE,
    Claim,
    Statement,
    find_claims,
    is_taken_back,
    settle_answer,
)
from tempzero.extractors.answer_text import to_plain_text
from tempzero.extractors.extractor import Extractor, is_same_text

_NOUNS = r"answer|conclusion|verdict"

_BOTH = re.compile(
    r"\byes\b\W{0,4}(?:/|\b(?:and|or|nor|versus|vs)\b)\W{0,4}no\b"
    r"|\bno\b\W{0,4}(?:/|\b(?:and|or|nor|versus|vs)\b)\W{0,4}yes\b",
    re.IGNORECASE,
)
_NUMBER_SIGN = re.compile(r"\bNo\.\s?(?=\d)", re.IGNORECASE)
_LEAD = re.compile(
    r"(?:\s*(?:a|response|reply|output|result)\s*:)?[\s\"'“(\[{:•*–-]*(?:(?:that|an?|definite(?:ly)?|clear(?:ly)?|simply|certainly|probably|resounding|firm|simple)\s+)*[\"'“(\[{]*",
    re.IGNORECASE,
)
# The word alone, closed by punctuation or the end; "no solution" and "no. 5" are no answers.
_WORD = re.compile(
    r"(yes|no)(?![\w/])(?:\s*[\"'”)\]}]+)?"
    r"(?=\s*$|\s*[,;:!—]|\s+[–-]\s|\s+\(|\.(?!\s?\d)|\s+(?:because|since|as|it|they|he|she|that|this|there|you|we|indeed)\b)",
    re.IGNORECASE,
)
_ALONE = re.compile(r"(?<![\w-])(yes|no)(?=\W*$|\s*[,;.!)\]])", re.IGNORECASE)
_BRACKETED = re.compile(r"(?<!not )(?<!not \")\[\s*(yes|no)\s*\]", re.IGNORECASE)
_CONDITION = re.compile(
    r"\b(?:if|unless|depends?|depending|sometimes|partially|partly|technically|however|except"
    r"|in some|usually|mostly)\b",
    re.IGNORECASE,
)
# "Yes, I can help with that", "No, I cannot": the model speaks of itself, not of the question.
_ABOUT_ITSELF = re.compile(r"\bI(?:'ll|'d|'m| can| could| will| would| am| do not| don't| cannot| can't| won't)\b")
_CONCLUSION = re.compile(
    r"\W*(?:(?:and|so|therefore|thus|hence|in conclusion|overall|in short|finally)\b[,:]?\s*)+", re.IGNORECASE
)
_SENTENCES = re.compile(r"(?<=[.!?])[\s\"'”)]+|\n+")


def _read_yes_no(text: str, _args: Mapping[str, str]) -> str | None:
    text = _NUMBER_SIGN.sub("number ", _BOTH.sub("both", text))
    if is_taken_back(text, find_claims(text, _NOUNS)):
        return None
    shown = to_plain_text(text)
    stated = [
        Statement(claim=claim, value=_leading_yes_no(claim.rest)) for claim in find_claims(text, _NOUNS) if claim.rest
    ]
    stated += [
        _make_statement(FINAL, m.start(), m[1].lower()) for m in _BRACKETED.finditer(shown)
    ] + _read_outer_sentences(shown)
    stated.sort(key=lambda s: s.claim.at)
    meant = [s for s in stated if s.value and not s.claim.doubted and not s.claim.denied]
    if not any(s.claim.rank == FINAL for s in meant) and len({s.value for s in meant}) > 1:
        return None
    return settle_answer(stated, is_same_text)


def _make_statement(rank: int, at: int, value: str) -> Statement:
    return Statement(claim=Claim(rank=rank, at=at, rest=value, text="", end=0), value=value)


def _leading_yes_no(phrase: str) -> str | None:
    """yes or no at the head of a phrase that does not take it back; None otherwise."""
    if len(phrase) > MAX_PHRASE_CHARS:
        return None
    lead = _LEAD.match(phrase)
    match = _WORD.match(phrase, lead.end() if lead else 0)
    if match is None or _CONDITION.search(phrase) or _ABOUT_ITSELF.search(phrase):
        return None
    value = match[1].lower()
    return value if all(word.lower() == value for word in _ALONE.findall(phrase)) else None


def _read_outer_sentences(text: str) -> list[Statement]:
    """What the first and the last sentence say, where they open with yes or no."""
    sentences = [sentence.strip() for sentence in _SENTENCES.split(text) if sentence.strip()]
    if not sentences:
        return []
    found = [(0, _leading_yes_no(sentences[0]) if not sentences[0].endswith("?") else None)]
    conclusion = _CONCLUSION.match(sentences[-1])
    # One of several questions answered on the way is not the answer.
    if conclusion or sum(sentence.endswith("?") for sentence in sentences) <= 1:
        last = sentences[-1][conclusion.end() :] if conclusion else sentences[-1]
        found.append((len(text), _leading_yes_no(last)))
    return [_make_statement(SENTENCE, at, value) for at, value in found if value]


def _can_state_yes_no(expected: str, _args: Mapping[str, str]) -> bool:
    return expected.strip().lower() in {"yes", "no"}


YES_NO = Extractor(name="yes_no", version=2, reader=_read_yes_no, can_state=_can_state_yes_no)
