"""A response in, the text of its last line "Answer: ..." out."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tempzero.extractors.answer_claims import MAX_PHRASE_CHARS
from tempzero.extractors.answer_text import last_line
from tempzero.extractors.extractor import Extractor, is_same_text

# "Answer" in the languages that suites are written in, each as models head their last line with it.
ANSWER_WORDS = "|".join(
    (
        r"(?:(?:the|my)[ \t]+)?(?:final[ \t]+)?answer",
        r"(?:(?:die|meine)[ \t]+)?(?:endgültige[ \t]+)?antwort|(?:die[ \t]+)?lösung",
        r"(?:la[ \t]+)?(?:réponse|reponse)(?:[ \t]+finale)?|(?:la[ \t]+)?respuesta(?:[ \t]+final)?",
        r"(?:a[ \t]+)?resposta(?:[ \t]+final)?|(?:la[ \t]+)?risposta(?:[ \t]+finale)?",
        r"(?:het[ \t]+)?(?:eind)?antwoord|svare?t?|vastaus|odpowiedź|odpověď|odpoveď|válasz|răspuns(?:ul)?",
        r"(?:nihai[ \t]+)?(?:cevap|yanıt)|jawaban(?:nya)?|jibu|đáp án|trả lời|câu trả lời",
        r"(?:окончательный[ \t]+)?ответ|(?:остаточна[ \t]+)?відповідь|отговор|одговор|απάντηση",
        r"(?:ال)?(?:جواب|إجابة|اجابة)(?:[ \t]+النهائية)?|پاسخ|(?:ה)?תשובה(?:[ \t]+הסופית)?",
        r"(?:अंतिम[ \t]+)?उत्तर|जवाब|উত্তর|பதில்|คำตอบ",
        r"(?:最終的?な?)?答え|(?:最终|最終)?答案|回答|答|(?:최종[ \t]+)?(?:답변|정답|답)",
    )
)
_LABEL = re.compile(
    rf"^[ \t>#*_\-•【\[]*(?:{ANSWER_WORDS})(?:[ \t]+(?:lautet|ist|est|es|é|è|is|är|er|adalah|là))?[】\]]?[*_]{{0,3}}"
    r"[ \t\u00a0\u202f]*[:：﹕][*_]{0,3}(?P<rest>[^\n]*)$",
    re.IGNORECASE | re.MULTILINE,
)
_BOX = re.compile(r"\$*\\boxed\{([^{}]*)\}\$*")
_TEXT = re.compile(r"\\text\{([^{}]*)\}")
# What a model repeats of the instruction: "Answer: <number>", "Answer: [your answer]", "Answer: ...".
_PLACEHOLDER = re.compile(r"<[^<>]*>|\[[^\[\]]*\]|\{[^{}]*\}|[.…_\s]*")
_QUOTES = (
    ('"', '"'),
    ("'", "'"),
    ("“", "”"),
    ("`", "`"),
    ("**", "**"),
    ("*", "*"),
    ("__", "__"),
    ("_", "_"),
    ("$", "$"),
)


def find_answer_line(text: str) -> str | None:
    """What the last line "Answer: ..." says, bare; None where there is none, or it says nothing."""
    labels = list(_LABEL.finditer(text))
    if not labels:
        return None
    rest = labels[-1]["rest"]
    if len(rest) <= MAX_PHRASE_CHARS and not _strip_answer_marks(rest):
        below = text[labels[-1].end() :].strip()
        # Below its label only a last line of its own is the answer; anything longer is reasoning.
        rest = below if below and below == last_line(below) else ""
    answer = _strip_answer_marks(rest) if len(rest) <= MAX_PHRASE_CHARS else ""
    return None if _PLACEHOLDER.fullmatch(answer) else answer


def _strip_answer_marks(answer: str) -> str:
    """The answer without bold, quotes, a box, or the full stop that ends its sentence."""
    answer = " ".join(_TEXT.sub(r"\1", _BOX.sub(r"\1", answer)).split())
    previous = None
    while answer != previous:
        previous = answer
        answer = answer.strip().removesuffix("**").strip() if answer.count("**") % 2 else answer.strip()
        for opening, closing in _QUOTES:
            inner = answer[len(opening) : len(answer) - len(closing)]
            if (
                len(answer) > len(opening) + len(closing)
                and answer == opening + inner + closing
                and closing not in inner
            ):
                answer = inner
        if answer.endswith(".") and answer.count(".") == 1:
            answer = answer[:-1]
    return answer


def _read_answer_line(text: str, _args: Mapping[str, str]) -> str | None:
    return find_answer_line(text)


def _can_state_answer_line(expected: str, args: Mapping[str, str]) -> bool:
    answer = _read_answer_line(f"Answer: {expected}", args)
    return answer is not None and is_same_text(answer, expected)


ANSWER_LINE = Extractor(name="answer_line", version=2, reader=_read_answer_line, can_state=_can_state_answer_line)
