"""A text in, the numbers written in it out: plain values, labels ("step 2"), and what is no plain number."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

_MAX_DIGITS = 40
_MAX_EXPONENT = 30

# One run of digits with whatever is glued to it; what the run means is decided afterwards.
_RUN = re.compile(
    r"(?P<sign>[-−+])?(?P<currency>[€£¥₹]\s?)?"
    r"(?P<body>\.?\d(?:[\d.,:/'_⁄–\u00a0\u2009\u202f-]*\d)?)"
    r"(?P<power>\s?[×xX*]\s?10\s?\^\s?\{?(?P<exponent>[-−+]?\d{1,3})\}?|[eE](?P<e>[-−+]?\d{1,3})(?!\w))?"
    r"(?P<tail>[^\W\d_]*)"
)
_WHOLE = re.compile(r"[0-9]+")
_DECIMAL = re.compile(r"[0-9]*\.[0-9]+")
# "1.000" is one or a thousand, by country.
_DECIMAL_OR_THOUSAND = re.compile(r"[1-9][0-9]{0,2}\.000")
_GROUPED = re.compile(
    r"[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]+)?|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}(?:\.[0-9]+)?"
    r"|[1-9][0-9]{0,2}(?P<mark>['_\u00a0\u2009\u202f])[0-9]{3}(?:(?P=mark)[0-9]{3})*(?:\.[0-9]+)?"
)
_CONTINENTAL = re.compile(
    r"[1-9][0-9]{0,2}(?:(?:\.[0-9]{3})+,[0-9]{1,2}|(?:\.[0-9]{3}){2,}|(?:[\u00a0\u2009\u202f][0-9]{3})+,[0-9]{1,2})"
)
_FRACTION = re.compile(r"([1-9][0-9]*)[/⁄]([1-9][0-9]*)")
_SPACED_GROUPS = re.compile(r"(?<![\w.,/:+*×÷=-])[-−]?[1-9][0-9]? [0-9]{3}(?: [0-9]{3})*(?![\d/:]|[.,]\d{3}| \d)")
_DIGITS = {code: str(unicodedata.decimal(chr(code))) for code in range(0x660, 0x1E950) if chr(code).isdecimal()} | {
    ord("－"): "-",
    ord("﹣"): "-",
    ord("％"): "%",
    ord("٪"): "%",
    ord("＝"): "=",
    ord("＋"): "+",
}
_SEPARATORS = re.compile(r"(?<=\d)[٫．٬，](?=\d)")
_GROUP_MARKS = re.compile(r"[,'_\u00a0\u2009\u202f]")

_UNITS = re.compile(
    r"[kmcµ]?[gmlL]|mi|ft|in|yd|lbs?|oz|t|h|hrs?|mins?|s|secs?|ms|[mk]ph|k?Wh?|[VANJCF]|k?J|k?Pa|k?cal|[kMG]?Hz"
    r"|EUR|USD|GBP|cents|ct|px|pt|[kKMGT]B"
)
# Scripts that put no space between a number and the words around it; and their words for powers of ten.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")
_POWERS = re.compile(r"[十百千万萬億亿兆割分십백천만억조]")
_ORDINALS = frozenset({"st", "nd", "rd", "th"})
_MULTIPLIERS = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_WORD_AFTER = re.compile(r"\s+([A-Za-z]+)")
_ODD_AFTER = re.compile(
    r"\s*[²³¹⁰-⁹½⅓⅔¼¾⅛^!‰_]|[-–−](?!\w)|\s*[([]\s*\d"
    r"|\s*(?:a\.?m\b|p\.?m\b|o'clock|dozens?\b|pairs?\b|couples?\b|score\b|hal(?:f|ves)\b|thirds?\b|quarters?\b|fourths?\b"
    r"|fifths?\b|tenths?\b|hundredths?\b|and (?:a|one) (?:half|third|quarter)\b|pi\b|π|√|sqrt)",
    re.IGNORECASE,
)
# "18!" ends a sentence; "18!/2" would not.
_EXCLAIMED = re.compile(r"!+(?=\s|$|[\"')\]])")
_GLUED_WORD = re.compile(r"-[A-Za-z]")
_LABEL_BEFORE = re.compile(
    r"(?:\b(?:steps?|questions?|problems?|pages?|chapters?|options?|choices?|figures?|tables?|lines?|parts?|cases?"
    r"|examples?|equations?|sections?|methods?|items?|exercises?|rooms?|routes?|flights?|gates?"
    r"|versions?|no\.|nos\.)|[#№])\s*\(?$",
    re.IGNORECASE,
)
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|June?|July?|Aug|Sept?|Oct|Nov|Dec)(?:uary|ruary|ch|il|ust|ember|tember|ober)?"
_MONTH_BEFORE = re.compile(rf"\b{_MONTH}\.?\s+$")
_MONTH_AFTER = re.compile(rf"\s+(?:of\s+)?{_MONTH}\b")
_MINUS_WORDS = r"minus|moins|menos|meno|минус|мінус|ناقص"
_NEGATIVE_BEFORE = re.compile(
    rf"(?:\b(?:negative|سالب|ऋण|{_MINUS_WORDS})\s+|(?:マイナス|负|負|마이너스)\s*)$", re.IGNORECASE
)
_MINUS_OF_TWO_BEFORE = re.compile(rf"\d\s*(?:{_MINUS_WORDS}|マイナス)\s*$", re.IGNORECASE)
_LIST_MARK = re.compile(r"^[ \t]*\(?(\d{1,2})[.)](?=[ \t]+\S)", re.MULTILINE)
_LOOK_BACK_CHARS = 24
_PHRASE_CHARS = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Numeral:
    """A number as written. `label`: it names something ("step 2"); `odd`: no plain number (a range, a date)."""

    start: int
    end: int
    kind: Literal["value", "label", "odd"]
    value: Fraction | None = None


def find_numerals(text: str) -> list[Numeral]:
    """Every number in the text, in order."""
    return list(_find_phrase_numerals(text)) if len(text) <= _PHRASE_CHARS else _scan_numerals(text)


@lru_cache(maxsize=4096)
def _find_phrase_numerals(text: str) -> tuple[Numeral, ...]:
    """One response's phrases are asked about again and again, and many responses state the same."""
    return tuple(_scan_numerals(text))


def _scan_numerals(text: str) -> list[Numeral]:
    marks = _find_list_marks(text)
    return _join_mixed_numbers([_parse_numeral(text, run, marks) for run in _RUN.finditer(text)], text)


def to_latin_digits(text: str) -> str:
    """The text with the digits, separators and minus signs of other scripts and widths in their plain forms."""
    return text if text.isascii() else _SEPARATORS.sub(_to_plain_separator, text.translate(_DIGITS))


def join_digit_groups(text: str) -> str:
    """The text with "1 234 567" as one number. Three digits in front of a space may be a list's, and stay apart."""
    return _SPACED_GROUPS.sub(lambda match: match.group().replace(" ", "\u2009"), text)


def _to_plain_separator(match: re.Match[str]) -> str:
    return {"٫": ".", "．": ".", "٬": ",", "，": ","}[match.group()]


def canonical_spelling(value: Fraction) -> str:
    """A number's one spelling: digits, a point only where needed; a fraction where no decimal is exact."""
    if value.denominator == 1:
        return str(value.numerator)
    places = _decimal_places(value.denominator)
    if places is None:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def parse_lone_number(text: str) -> Fraction | None:
    """The value of a text that is one number and nothing else, or None."""
    found = find_numerals(text)
    if len(found) != 1 or found[0].value is None:
        return None
    around = text[: found[0].start] + text[found[0].end :]
    return None if around.strip() else found[0].value


def _parse_numeral(text: str, run: re.Match[str], marks: frozenset[int]) -> Numeral:
    start, end = run.span()
    sign, start = _parse_sign(text, run)
    before = text[max(0, start - _LOOK_BACK_CHARS) : start]
    kind = _classify_numeral(text, run, start, before, marks)
    value = _parse_digits(run["body"]) if kind == "value" and abs(_parse_exponent(run)) <= _MAX_EXPONENT else None
    if value is None:
        return Numeral(start=start, end=end, kind="odd" if kind == "value" else kind)
    value *= Fraction(10) ** _parse_exponent(run)
    multiplier = _WORD_AFTER.match(text, end)
    if multiplier and multiplier[1].lower() in _MULTIPLIERS:
        value *= _MULTIPLIERS[multiplier[1].lower()]
        end = multiplier.end()
    return Numeral(start=start, end=end, kind="value", value=sign * value)


def _parse_sign(text: str, run: re.Match[str]) -> tuple[int, int]:
    """-1 or 1, and where the number starts with its sign."""
    if run["sign"]:
        return (1 if run["sign"] == "+" else -1), run.start()
    spoken = _NEGATIVE_BEFORE.search(text, max(0, run.start() - 12), run.start())
    if spoken and not _MINUS_OF_TWO_BEFORE.search(text, max(0, run.start() - 16), run.start()):
        return -1, spoken.start()
    return 1, run.start()


def _classify_numeral(
    text: str, run: re.Match[str], start: int, before: str, marks: frozenset[int]
) -> Literal["value", "label", "odd"]:
    last = before[-1:]
    tail = run["tail"]
    if run.start("body") in marks or tail.lower() in _ORDINALS or _LABEL_BEFORE.search(before):
        return "label"
    if (
        (last.isalpha() and not _UNSPACED.match(last))
        or last in ("_", "第")
        or (last == "-" and before[-2:-1].isalpha())
    ):
        return "label"
    if last and (last in "./^–−-±≠<>≤≥)]√²³" or last.isdigit()):
        return "odd"
    if tail and not _UNITS.fullmatch(tail) and (_POWERS.match(tail) or not _UNSPACED.match(tail)):
        return "odd"
    if _MONTH_BEFORE.search(before) or _MONTH_AFTER.match(text, run.end()):
        return "odd"
    if _GLUED_WORD.match(text, run.end()):
        return "label"
    if _ODD_AFTER.match(text, run.end()) and not _EXCLAIMED.match(text, run.end()):
        return "odd"
    return "value"


def _parse_exponent(run: re.Match[str]) -> int:
    return int((run["exponent"] or run["e"] or "0").replace("−", "-"))


def _parse_digits(body: str) -> Fraction | None:
    if len(body) > _MAX_DIGITS or _DECIMAL_OR_THOUSAND.fullmatch(body):
        return None
    if _WHOLE.fullmatch(body) or _DECIMAL.fullmatch(body):
        return Fraction(body if body[0] != "." else "0" + body)
    if _GROUPED.fullmatch(body):
        return Fraction(_GROUP_MARKS.sub("", body))
    if _CONTINENTAL.fullmatch(body):
        return Fraction(re.sub(r"[.\u00a0\u2009\u202f]", "", body).replace(",", "."))
    fraction = _FRACTION.fullmatch(body)
    if fraction and fraction[1] != fraction[2]:
        return Fraction(int(fraction[1]), int(fraction[2]))
    return None


def _join_mixed_numbers(found: list[Numeral], text: str) -> list[Numeral]:
    """Mixed numbers ("2 1/2") as one; a whole number with a stray fraction behind it is odd."""
    joined: list[Numeral] = []
    for numeral in found:
        previous = joined[-1] if joined else None
        if previous and _is_mixed_number(previous, numeral, text):
            whole, part = previous.value or Fraction(0), numeral.value or Fraction(0)
            value = whole - part if whole < 0 else whole + part
            joined[-1] = Numeral(start=previous.start, end=numeral.end, kind="value", value=value)
        else:
            joined.append(numeral)
    return joined


def _is_mixed_number(left: Numeral, right: Numeral, text: str) -> bool:
    if left.value is None or right.value is None or text[left.end : right.start] != " ":
        return False
    return left.value.denominator == 1 and "/" in text[right.start : right.end] and 0 < right.value < 1


def _find_list_marks(text: str) -> frozenset[int]:
    """Where the numbers stand that only count the items of a list: 1., 2., 3., ..."""
    counted: set[int] = set()
    places: set[int] = set()
    for match in _LIST_MARK.finditer(text):
        number = int(match[1])
        if number == 1 or number - 1 in counted:
            counted.add(number)
            places.add(match.start(1))
    return frozenset(places)


def _decimal_places(denominator: int) -> int | None:
    """Digits behind the point that write 1/denominator exactly, if any number does."""
    twos = fives = 0
    while denominator % 2 == 0:
        denominator //= 2
        twos += 1
    while denominator % 5 == 0:
        denominator //= 5
        fives += 1
    return max(twos, fives) if denominator == 1 else None
