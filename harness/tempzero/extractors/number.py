"""A response in, the one number it gives as its answer out, in canonical form ("1,234.50" is 1234.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from tempzero.extractors.answer_claims import (
    MAX_PHRASE_CHARS,
    Claim,
    Statement,
    find_claims,
    is_taken_back,
    settle_answer,
)
from tempzero.extractors.answer_text import to_plain_text
from tempzero.extractors.extractor import Extractor, is_same_text
from tempzero.extractors.negation import NEGATIONS
from tempzero.extractors.numerals import (
    Numeral,
    canonical_spelling,
    find_numerals,
    join_digit_groups,
    parse_lone_number,
    to_latin_digits,
)

_NOUNS = r"answers?|final\s+(?:result|value|amount|total|number)|solutions?"
_MAX_UNIT_WORDS = 5

# "not 42", "rather than 42": a number that is ruled out, not given.
_RULED_OUT = re.compile(
    r"[,;(]?\s*\b(?:and )?(?:is not|isn't|are not|aren't|not|never|rather than|instead of)\s+"
    r"(?:exactly |really |just )?(?:the )?[-−+]?[€£¥₹]?\d+(?:[.,]\d+)*%?(?![\w/]|[.,-]\d)\)?,?(?:\s+but\b)?",
    re.IGNORECASE,
)
_ASIDE_IN_BRACKETS = re.compile(r"(?<=\s)[(\[](?!\s*(?:or|if|alternatively|unless)\b)[^()\[\]]*[)\]]")
# "seven (7)": said twice.
_SPELLED = re.compile(r"\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\s*(?=\(\s*\d)", re.IGNORECASE)
_REASON = re.compile(
    r"[,;]?\s*\b(?:because|since|as|given|which|due to|when|where|meaning|i\.?e|that is)\b|\s*[—;]", re.IGNORECASE
)
# Words that make of a number a bound, a part of a calculation, one of several, or a doubt.
_SPOILING_WORDS = re.compile(
    r"\b(?:at (?:least|most)|(?:more|less|fewer|greater|higher|lower|smaller|larger|bigger) than|over|under|above|below"
    r"|up to|between|almost|nearly|minimum|maximum|either|neither|nor|or|not|never|cannot|unless|if|might|may|could"
    r"|maybe|perhaps|unknown|unclear|undefined|depends?|impossible|unable|unsure|infinite|insufficient"
    r"|twice|double|triple|half|third|quarter|plus|minus|times|multipl\w+|divid\w+"
    r"|(?:sum|product|difference|remainder) of"
    r"|subtract\w*|add(?:ed|ing|s)?|squared?|cubed?|root|sqrt|log|ln|sin|cos|tan|pi|power|factorial|mod(?:ulo)?"
    r"|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozens?|hundred|thousand|couple|pair)\b|n't\b",
    re.IGNORECASE,
)
# Operators and variables beside a number; "§" stands where a number stood.
_SPOILING_SIGNS = re.compile(
    r"[+*×÷·^√±≠≤≥<>π\\|=]|\s[-−–/]\s|\)\s*/|/\s*\(|§\s*/\s*§|^\s*[-−–]\s|(?<!')\b[b-hj-z]\s?§|§\s?[xyzn](?![a-z])"
)
_LEAD = re.compile(
    r"[^\w€£¥₹.+−-]*(?:(?:approx\w*|about|around|roughly|exactly|just|simply|only|the number|equal to|[a-z]\s*=)\s*)*",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]+")
_EQUALS = re.compile(r"(?<![<>!≤≥=])(?:=|≈)(?!=)")
_SPOKEN_EQUALS = re.compile(
    r"^[^\n]*(?:\b(?:plus|minus|times|divided by|multiplied by|(?:sum|product|half|third|quarter|square) of"
    r"|difference between|twice|double)\b|\d\s?(?:%|percent) of\b)"
    r"[^\n]*\b(?:is|equals|makes|gives)\b",
    re.IGNORECASE,
)
# "..., which makes 3 + 2 = 5": a calculation with its result, whatever leads up to it.
_CALCULATION = re.compile(r"\d\s*(?:[+*×x÷/−–-]\s*[€£¥₹(]?\d[\d.,]*\)?\s*)+$")
_HYPOTHESIS = re.compile(r"\b(?:if|unless|not|never|suppose|would|or|because|since|given|due)\b|n't\b", re.IGNORECASE)
_SEVERAL = re.compile(r",(?!\d)|;|\b(?:and|or|if|unless|not|never)\b", re.IGNORECASE)
# "12 for x = 3": the equation says under what condition, not what.
_CONDITION = re.compile(r"\d.*\b(?:for|at|with|in|by|per|from|of)\b", re.IGNORECASE)

# "Die Antwort ist ...", "答えは...", "الجواب هو ...": the word, then a verb or a colon.
_STATED_ELSEWHERE = re.compile(
    r"(?:\b(?:antwort|lösung|ergebnis|réponse|résultat|respuesta|resultado|resposta|risposta|risultato|antwoord|svaret|svar"
    r"|vastaus|odpowiedź|odpověď|válasz|răspunsul|cevap|yanıt|jawaban(?:nya)?|jibu|đáp án|câu trả lời"
    r"|ответ|відповідь|отговор|απάντηση|(?:ال)?(?:جواب|إجابة|اجابة)|پاسخ|(?:ה)?תשובה|उत्तर|जवाब|উত্তর|பதில்|คำตอบ|답변|정답|답)"
    r"|答え|答案|回答|答)(?:[ \t]+(?:finale?|النهائية|endgültig))?[*_ \t\u00a0\u202f]*"
    r"(?:(?:lautet|ist|est|es|é|è|is|är|er|on|to|je|az|este|adalah|ni|là|هو|هي|είναι|равен|таков|은|는|が|は|是|为|為|คือ)"
    r"(?=[^a-zäöüß])[ \t]*)?(?P<colon>[:：﹕]|(?<=[ \t은는がは是为為คือ]))[*_ \t]*(?P<rest>[^\n]*)",
    re.IGNORECASE,
)
_SENTENCE_ELSEWHERE = re.compile(r"[.!?](?=\s|$)|[。！？।؟]")
_POINT_OR_THOUSAND = re.compile(r"(?<![\d.,])[1-9]\d{0,2}[.,]\d{3}(?![\d.,]\d|\d)")
_DECIMAL_COMMA = re.compile(r"(?<![\d.,])(\d{1,6}|\d{1,3}(?:[\u2009\u00a0\u202f]\d{3})+),(\d{1,2})(?![\d.,]*\d)")
_MAX_WORDS_BEFORE = 3
_ALTERNATIVE = re.compile(
    r"\b(?:oder|ou|o|of|eller|или|або|veya|atau|hoặc|أو|או|या|lub|nebo|vagy|sau)\b|または|还是|或|또는|หรือ"
)
_DENIED_ELSEWHERE = re.compile(
    r"\b(?:nicht|kein\w*|pas|não|niet|geen|inte|ikke|не|нет|değil|bukan|tidak|không|ليس|لا|לא|नहीं)\b|不|ではな|ない|아니"
)

_SENTENCES = re.compile(r"(?<=[.!?])\s+|\n+")
_BULLET = re.compile(r"^[ \t]*(?:[*•]|-(?=[ \t]+\S+[ \t]+[^\W\d]))[ \t]+", re.MULTILINE)
_CONCLUSION = re.compile(
    r"\W*(?:and\s+)?(?:so|therefore|thus|hence|in total|altogether|in conclusion|in all|as a result|consequently)\b"
    r"[,:]?\s*",
    re.IGNORECASE,
)
_SO = re.compile(r".*[,;]\s*(?:and\s+)?(?:so|therefore|thus|hence)\s+", re.IGNORECASE)
_COMPLETE = re.compile(r"[.!][\s)\]\"']*$")
_ASIDE = re.compile(r"\b(?:check\w*|verif\w+|proof|e\.?g|for example|formula)\b|\?", re.IGNORECASE)
_REFUSAL = re.compile(
    r"\b(?:can(?:not|'t)|unable|sorry|unknown|(?:do|does|did)(?:n't| not)|not enough|impossible|insufficient"
    r"|unclear)\b|\banswers?\s+[-–]\d",
    re.IGNORECASE,
)


def _read_number(text: str, _args: Mapping[str, str]) -> str | None:
    text = to_latin_digits(text)
    stated = find_claims(text, _NOUNS)
    if stated:
        if is_taken_back(text, stated):
            return None
        return settle_answer([_read_number_claim(claim) for claim in stated if claim.rest], _is_same_number)
    shown = to_plain_text(text)
    elsewhere = [_parse_foreign_phrase(match["rest"]) for match in _STATED_ELSEWHERE.finditer(shown)]
    if elsewhere:
        value = elsewhere[-1] if len(set(elsewhere)) == 1 else None
    else:
        value = None if is_taken_back(shown, ()) else _read_unlabelled_number(shown)
    return None if value is None else canonical_spelling(value)


def _parse_foreign_phrase(rest: str) -> Fraction | None:
    """The number at the head of a statement in a language that may write a comma for the point; None where unclear.

    "1.234" and "1,234" are one or a thousand there, so neither is read.
    """
    rest = _SENTENCE_ELSEWHERE.split(rest, maxsplit=1)[0]
    if len(rest) > MAX_PHRASE_CHARS or NEGATIONS.search(rest.casefold()) or _POINT_OR_THOUSAND.search(rest):
        return None
    rest = _DECIMAL_COMMA.sub(r"\1.\2", join_digit_groups(rest))
    found = find_numerals(rest)
    if not found or len(_WORD.findall(rest[: found[0].start])) > _MAX_WORDS_BEFORE:
        return None
    words = _mask_numbers(rest, found)
    if _SPOILING_SIGNS.search(words) or _ALTERNATIVE.search(words):
        return None
    return _only_value(found)


def _read_number_claim(claim: Claim) -> Statement:
    value = _parse_number_phrase(claim.rest)
    if value is not None and not _is_leading_number(claim.rest) and _has_other_numbers(claim):
        value = None
    return Statement(claim=claim, value=None if value is None else canonical_spelling(value))


def _is_leading_number(rest: str) -> bool:
    """The number comes first, with a few words behind it at most: "18 apples", "x = 18"."""
    lead = _LEAD.match(rest)
    found = find_numerals(rest)
    starts = bool(lead and found and found[0].start <= lead.end())
    return starts and len(_WORD.findall(rest)) <= _MAX_UNIT_WORDS


def _has_other_numbers(claim: Claim) -> bool:
    """A longer statement is believed only where no further number follows it: it may be a first step."""
    known = {numeral.value for numeral in find_numerals(claim.rest)}
    return any(numeral.kind != "label" and numeral.value not in known for numeral in find_numerals(claim.after))


def _parse_number_phrase(phrase: str) -> Fraction | None:
    """The single number that a phrase states, or None."""
    if len(phrase) > MAX_PHRASE_CHARS:
        return None
    phrase = join_digit_groups(phrase)
    phrase = _drop_reason(_RULED_OUT.sub(" ", _SPELLED.sub("", f" {phrase}")))
    outside = _ASIDE_IN_BRACKETS.sub(" ", phrase)
    result = _result_side(outside if find_numerals(outside) else phrase)
    if result is None:
        return None
    found = find_numerals(result)
    words = _mask_numbers(result, found)
    if _SPOILING_WORDS.search(words) or _SPOILING_SIGNS.search(words):
        return None
    return _only_value(found)


def _only_value(found: list[Numeral]) -> Fraction | None:
    """The one value among these numbers; None where there are two, or one that is no plain number."""
    if any(numeral.kind == "odd" for numeral in found):
        return None
    values = {numeral.value for numeral in found if numeral.value is not None}
    return values.pop() if len(values) == 1 else None


def _drop_reason(phrase: str) -> str:
    """The phrase up to "because ..." and the like, if one number stands before it."""
    for match in _REASON.finditer(phrase):
        listing = match.group().strip() in {";", "—"} and find_numerals(phrase[match.end() :])
        if not listing and _only_value(find_numerals(phrase[: match.start()])) is not None:
            return phrase[: match.start()]
    return phrase


def _result_side(phrase: str) -> str | None:
    """What stands behind the last equals sign; None where several equations stand side by side."""
    *left, result = _EQUALS.split(phrase)
    if not left:
        spoken = _SPOKEN_EQUALS.match(phrase)
        return phrase[spoken.end() :] if spoken else phrase
    if len(left) == 1 and _CALCULATION.search(left[0]) and not _HYPOTHESIS.search(left[0]):
        return result
    return None if any(_SEVERAL.search(part) or _CONDITION.search(part) for part in left) else result


def _mask_numbers(text: str, found: list[Numeral]) -> str:
    pieces, position = [], 0
    for numeral in found:
        pieces += [text[position : numeral.start], "§"]
        position = numeral.end
    return "".join([*pieces, text[position:]])


def _read_unlabelled_number(text: str) -> Fraction | None:
    """The answer of a response that never says "answer": its conclusion, or the only number in it."""
    text = _BULLET.sub("", text)
    sentences = [sentence for sentence in _SENTENCES.split(text) if sentence.strip()]
    if not sentences or _REFUSAL.search(text) or _DENIED_ELSEWHERE.search(text.casefold()):
        return None
    conclusion = _CONCLUSION.match(sentences[-1]) or _SO.match(sentences[-1])
    if conclusion:
        # Without its full stop it may have been cut in the middle of a number.
        complete = len(sentences) == 1 or _COMPLETE.search(sentences[-1])
        meant = complete and not _ASIDE.search(sentences[-1])
        return _parse_number_phrase(sentences[-1][conclusion.end() :]) if meant else None
    if len(sentences) > 1 and _only_value(find_numerals(text)) is None:
        return None
    telling = [s for s in sentences if any(n.kind == "value" for n in find_numerals(s))]
    values = {None if _ASIDE.search(s) else _parse_number_phrase(s) for s in telling}
    return values.pop() if len(values) == 1 else None


def _is_same_number(left: str, right: str) -> bool:
    if left == right:
        return True
    first, second = parse_lone_number(left), parse_lone_number(right)
    return is_same_text(left, right) if first is None or second is None else first == second


def _can_state_number(expected: str, _args: Mapping[str, str]) -> bool:
    return parse_lone_number(expected.strip()) is not None


NUMBER = Extractor(name="number", version=2, reader=_read_number, can_state=_can_state_number, same=_is_same_number)
