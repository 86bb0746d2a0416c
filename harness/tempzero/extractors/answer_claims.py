"""A response in, its explicit statements of an answer out ("the answer is ...", boxed, "Answer:")."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from tempzero.extractors.answer_text import to_plain_text

FINAL, LINE, SENTENCE = 3, 2, 1
"""Ranks: boxed, `####` or "final answer" · a line "Answer: ..." · "the answer is ..." in a sentence."""

# A looping model states thousands of answers; the last ones decide, and the work stays bounded.
_MAX_CLAIMS = 64
MAX_PHRASE_CHARS = 1_000
"""A longer phrase is not searched for an answer: the patterns may take quadratic time."""
_MAX_LOOK_BACK_CHARS = 300

_VERB = (
    r"(?:is(?:n't| not)|was(?:n't| not)|can(?:not|'t) be|(?:might|may|could) be"
    r"|is|was|are|equals|(?:would|will|should|must) be|comes to|'s)\b"
    r"|=|:|-+>|→|⇒|—|[–-](?=\s)|\n"
)
_DENIED_VERB = re.compile(r"n't| not|cannot|can't")
_WEAK_VERB = re.compile(r"might|may|could")
_SENTENCE_END = re.compile(r"[.!?](?=[\s\"')\]]|$)|\n")
_DOUBTED_SENTENCE = re.compile(r"\b(?:if|unless|whether|suppos(?:e|ing)|assum\w+|maybe|perhaps)\b", re.IGNORECASE)
_DOUBTED_CLAUSE = re.compile(
    r"\b(?:not|cannot|never|wrong|incorrect|(?:might|may|could|would) (?:think|say|guess|expect|believe))\b"
    r"|\b(?:tempt\w*|doubt)\b|n't\b|\b(?:previous|initial|first|earlier|common|possible|other|your|student's|intermediate|partial|an|another|one)\s*$",
    re.IGNORECASE,
)
_REJECTED = re.compile(r"\b(?:wrong|incorrect|mistaken|false)\b", re.IGNORECASE)
_BECAUSE = re.compile(r"\b(?:because|since)\b", re.IGNORECASE)
_CONCLUDES = re.compile(
    r"\b(?:finally|so|therefore|thus|hence|actually|corrected|instead|in conclusion)\b", re.IGNORECASE
)
_CORRECTS = re.compile(r"\b(?:wait|mistake|correction|sorry|oops|actually|recalculat\w+|re-?check\w*)\b", re.IGNORECASE)
_TAKES_BACK = re.compile(
    r"\b(?:wait|hold on|hang on|scratch that|correction|oops|sorry|let me (?:re-?\w+|correct|fix)"
    r"|(?:I|i) (?:made|was|misread|miscounted|forgot)|on second thou?ghts?"
    r"|actually,? (?:it|it's|that|that's|the|no|not|[-\d(]))",
    re.IGNORECASE,
)
_DENIAL = re.compile(r"\s*(?:not|never)\b", re.IGNORECASE)
_DENIAL_IN_PART = re.compile(r"\s*(?:not\s+)?(?:only|just|merely)\b", re.IGNORECASE)
_TURN = re.compile(
    r"[,;:]?\s+(?:[—–-]\s+)?(?:but|rather|instead|it is|it's)\b(?:\s+(?:rather|it is|it's|is))?", re.IGNORECASE
)
_NEXT_TURN = re.compile(r"\s*(?:instead,? )?(?:it is|it's)\s+", re.IGNORECASE)
_NEW_QUESTION = re.compile(r"^\W{0,4}(?:Q|Question|Problem|Exercise|User|Human)\b[^:\n]{0,12}:", re.MULTILINE)
_HASHES = re.compile(
    r"^[ \t]*####[ \t]+(\(?(?:[A-E]|yes|no|[-−+$€£]{0,2}\d[\d.,]*%?)\)?)\.?[ \t]*$", re.MULTILINE | re.IGNORECASE
)
_BOX = re.compile(r"\\f?box(?:ed)?\s*\{")
_MAX_BOXES = 50
_MAX_BOX_CHARS = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """One statement of an answer: `rest` is what follows the label, up to the end of its sentence.

    `concludes`: it may replace an earlier statement ("wait, ...", "so ...", "final").
    `doubted`: the words around it take it back or leave it open. `denied`: it says what the
    answer is not. `turn` counts the new questions before it: a model that runs on asks itself
    the next one. `text` from `end` on is what follows its sentence.
    """

    rank: int
    at: int
    rest: str
    text: str
    end: int
    concludes: bool = False
    doubted: bool = False
    denied: bool = False
    turn: int = 0

    @property
    def after(self) -> str:
        """What the response says behind the sentence of this claim."""
        return self.text[self.end :]


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """A claim as an extractor read it. `value` None: it could not be read."""

    claim: Claim
    value: str | None


def find_claims(raw: str, nouns: str = "answer") -> list[Claim]:
    """The explicit statements in a response, in order. `nouns` is a pattern of what is being stated."""
    text, boxes = _open_boxes(raw)
    labels = [match for match in _label_pattern(nouns).finditer(text) if _is_label(text, match)]
    kept = labels[-_MAX_CLAIMS:]
    limits = [*(match.start() for match in kept[1:]), len(text)]
    found = boxes + [_parse_claim(text, match, limit) for match, limit in zip(kept, limits, strict=False)]
    turns = [match.start() for match in _NEW_QUESTION.finditer(text)]
    turned = [replace(claim, turn=bisect_left(turns, claim.at)) for claim in found]
    return sorted(turned, key=lambda claim: claim.at)


def settle_answer(statements: Sequence[Statement], same: Callable[[str, str], bool]) -> str | None:
    """The one answer the statements leave, or None where they contradict each other.

    The last one of the highest rank stands, unless a later one says otherwise; an earlier one
    of the same rank may differ only where the later one says that it replaces it.
    """
    read = [s for s in statements if s.value is not None and not s.claim.doubted and not s.claim.denied]
    if not read:
        return None
    top = max(s.claim.rank for s in read)
    equals = [s for s in read if s.claim.rank == top]
    chosen = equals[-1]
    value = chosen.value or ""
    others = [s.value or "" for s in equals if not same(s.value or "", value)]
    if any(s.claim.turn != chosen.claim.turn and not same(s.value or "", value) for s in read):
        return None
    # Two different earlier answers are a list or a loop, not a correction.
    if others and not (chosen.claim.concludes and all(same(other, others[0]) for other in others)):
        return None
    return None if any(_is_contradiction(s, chosen, same) for s in statements) else value


def is_taken_back(raw: str, stated: Sequence[Claim]) -> bool:
    """Whether what follows the last statement takes it back ("Wait, actually ...") without stating another."""
    after = stated[-1].after if stated else raw
    if stated and not stated[-1].text:
        after = to_plain_text(raw[max(raw.rfind("boxed{"), raw.rfind("fbox{"), raw.rfind("####")) :])
    return bool(_TAKES_BACK.search(after))


def read_boxes(raw: str) -> list[str]:
    """What the boxes of a response hold, as typeset, in order."""
    return [raw[start:end].strip() for _, start, end, _ in _find_box_spans(raw)]


def first_sentence(text: str, start: int = 0) -> tuple[str, str, int]:
    """The text from `start` to its first sentence end, that end's mark (empty at the text's end), where it ends."""
    match = _SENTENCE_END.search(text, start)
    if match is None:
        return text[start:], "", len(text)
    return text[start : match.start()], match.group(), match.end()


def _is_contradiction(later: Statement, chosen: Statement, same: Callable[[str, str], bool]) -> bool:
    if later.claim.at <= chosen.claim.at or later.claim.doubted:
        return False
    if later.value is None:
        return later.claim.rank >= LINE
    return same(later.value, chosen.value or "") == later.claim.denied


@lru_cache(maxsize=8)
def _label_pattern(nouns: str) -> re.Pattern[str]:
    return re.compile(
        rf"\b(?P<noun>(?:final\s+)?(?:{nouns}))\b"
        r"(?P<detail>\s*\([^()\n]{0,60}\)|\s+(?:to|for|of)\b[^.!?:=\n]{1,80}?)?"
        r"(?:\s*,\s*(?:then|therefore|so|thus|hence|of course)\s*,)?"
        rf"\s*?(?P<verb>{_VERB})(?P<colon>\s*:)?",
        re.IGNORECASE,
    )


def _is_label(text: str, match: re.Match[str]) -> bool:
    """A label without a verb must be a heading of its own: "Final answer", then a new line."""
    if match["verb"] != "\n":
        return True
    return match["noun"].lower().startswith("final") and not _line_before(text, match.start()).strip()


def _parse_claim(text: str, match: re.Match[str], limit: int) -> Claim:
    """The claim of one label. `limit` is where the next label starts, which may be in the same sentence."""
    rest, mark, end = first_sentence(text, match.end())
    if not rest.strip() and mark == "\n":
        below = end + len(text[end:]) - len(text[end:].lstrip())
        rest, mark, end = first_sentence(text, below)
    if end > limit:
        rest, end = rest[: max(0, len(rest) - (end - limit) + len(mark))], limit
    # Nobody states an answer at such length; kept unreadable, it can still contradict another claim.
    rest = rest if len(rest) <= MAX_PHRASE_CHARS else "…"
    before = _line_before(text, match.start())
    sentence = re.split(r"[.!?]\s", before)[-1]
    clause = re.split(r"[,;:—]", sentence)[-1]
    verb = match["verb"].lower()
    denied = bool(_DENIED_VERB.search(verb))
    if denied or _DENIAL.match(rest):
        rest, denied = _positive_part(rest, text, end)
    final = match["noun"].lower().startswith("final")
    labelled = not re.search(r"\w", before) and (":" in verb or match["colon"] is not None)
    recent = text[max(0, match.start() - 100) : match.start()]
    return Claim(
        rank=FINAL if final else LINE if labelled else SENTENCE,
        at=match.start(),
        rest=rest.strip(),
        text=text,
        end=end,
        concludes=final or bool(_CONCLUDES.search(sentence) or _CORRECTS.search(recent)),
        doubted=bool(_WEAK_VERB.match(verb)) or mark == "?" or _is_doubted(sentence, clause, rest),
        denied=denied,
    )


def _line_before(text: str, at: int) -> str:
    line_start = text.rfind("\n", 0, at) + 1
    return text[max(line_start, at - _MAX_LOOK_BACK_CHARS) : at]


def _is_doubted(sentence: str, clause: str, rest: str) -> bool:
    return bool(
        _DOUBTED_SENTENCE.search(sentence)
        or _DOUBTED_CLAUSE.search(clause)
        or _REJECTED.search(_BECAUSE.split(rest)[0])
    )


def _positive_part(rest: str, text: str, end: int) -> tuple[str, bool]:
    """What a denial puts in the place of the denied answer; and whether it is a mere denial."""
    turn = None if _DENIAL_IN_PART.match(rest) else _TURN.search(rest)
    if turn:
        return rest[turn.end() :], False
    following = _NEXT_TURN.match(text, end)
    if following:
        return first_sentence(text, following.end())[0], False
    return _DENIAL.sub("", rest, count=1), True


# --- boxes -----------------------------------------------------------------------------------


def _open_boxes(raw: str) -> tuple[str, list[Claim]]:
    """The plain text with each box replaced by its content, and the boxes (and `####` lines) as claims."""
    pieces: list[str] = []
    found: list[Claim] = []
    length = position = 0
    for start, inside_start, inside_end, resume in _find_marked_spans(raw):
        inside = to_plain_text(raw[inside_start:inside_end])
        pieces += [to_plain_text(raw[position:start]), " ", inside, " "]
        length += sum(len(piece) for piece in pieces[-4:])
        at = length - len(inside) - 1
        found.append(Claim(rank=FINAL, at=at, rest=inside.strip(), text="", end=0))
        position = resume
    pieces.append(to_plain_text(raw[position:]))
    return "".join(pieces), found


def _find_marked_spans(raw: str) -> list[tuple[int, int, int, int]]:
    """Boxes and `####` lines: where each starts, its content's start and end, and where the text goes on."""
    hashes = [(m.start(), m.start(1), m.end(1), m.end()) for m in _HASHES.finditer(raw)]
    found = sorted([*_find_box_spans(raw), *hashes[-_MAX_BOXES:]])
    return [span for index, span in enumerate(found) if index == 0 or span[0] >= found[index - 1][3]]


def _find_box_spans(raw: str) -> Iterator[tuple[int, int, int, int]]:
    matches = list(_BOX.finditer(raw))[-_MAX_BOXES:]
    for match in matches:
        end = _find_closing_brace(raw, match.end())
        if end is not None:
            yield match.start(), match.end(), end, end + 1


def _find_closing_brace(text: str, start: int) -> int | None:
    depth = 1
    for index in range(start, min(len(text), start + _MAX_BOX_CHARS)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return index
    return None
