"""A provider's texts and the reference's in, the one edit that makes them equal out: exact, no statistics."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from tempzero.attribute.reader_tables import ReaderTable, ResponseLane
from tempzero.types.asked import Trial

# On one prompt a coincidence is conceivable: an edit is shown on this many.
MIN_EDITED_PROMPTS = 2
_LONGEST_STOP = 12
# What many honest servers do: it is said and accuses nobody.
_TRIMMED = "blanks at both ends are cut off"


def _curl_quotes(text: str) -> str:
    opened = re.sub(r"(^|[\s(\[])\"", "\\1\u201c", text)
    opened = re.sub(r"(^|[\s(\[])'", "\\1\u2018", opened)
    return opened.replace('"', "\u201d").replace("'", "\u2019")


def _straighten_quotes(text: str) -> str:
    return text.translate(str.maketrans("\u2018\u2019\u201c\u201d", "''\"\""))


def _drop_markdown(text: str) -> str:
    plain = re.sub(r"^ {0,3}#{1,6} +", "", text, flags=re.MULTILINE)
    plain = re.sub(r"^```[^\n]*\n?", "", plain, flags=re.MULTILINE)
    return re.sub(r"\*\*|__|`", "", plain)


def _drop_emphasis(text: str) -> str:
    return re.sub(r"\*\*|__|\*|`", "", text)


def _trim_lines(text: str) -> str:
    return "\n".join(line.strip() for line in text.split("\n"))


def _keep_ascii(text: str) -> str:
    return text.encode("ascii", "ignore").decode()


EDITS: tuple[tuple[str, Callable[[str], str]], ...] = (
    (_TRIMMED, str.strip),
    ("each line is trimmed", _trim_lines),
    ("runs of blanks become one", lambda t: re.sub(r"[ \t]+", " ", t)),
    ("empty lines are left out", lambda t: re.sub(r"\n\s*\n+", "\n", t)),
    ("line breaks and runs of blanks become one blank", lambda t: " ".join(t.split())),
    ("quotes are made curly", _curl_quotes),
    ("quotes are made straight", _straighten_quotes),
    ("marks of Markdown are taken out", _drop_markdown),
    ("marks of emphasis are taken out", _drop_emphasis),
    ("it is put in Unicode form NFKC", lambda t: unicodedata.normalize("NFKC", t)),
    ("it is put in Unicode form NFC", lambda t: unicodedata.normalize("NFC", t)),
    ("it is put in lower case", str.lower),
    ("it is put in capitals", str.upper),
    ("what is not ASCII is taken out", _keep_ascii),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextEdit:
    """An edit under which every text that differs becomes the reference's own.

    `whole` is False where some still differ (rounding on top): then the rest is unexplained, but nothing contradicts.
    """

    words: str
    trials: tuple[Trial, ...]
    prompts: int
    differing: int
    whole: bool

    @property
    def harmless(self) -> bool:
        return self.words.endswith(_TRIMMED)


@dataclass(frozen=True, kw_only=True, slots=True)
class _ComparedText:
    trial: Trial
    text: str
    expected: str
    ended: bool


def find_text_edit(table: ReaderTable, lane: ResponseLane) -> TextEdit | None:
    """The edit that explains most; None where no text differs, or no edit makes any equal without contradiction."""
    compared = _pair_with_reference(table, lane)
    differing = [one for one in compared if one.text != one.expected]
    if not differing:
        return None
    found = [_try_edit(words, edit, compared, differing) for words, edit in EDITS]
    found.append(_try_stop(compared, differing))
    best = max((e for e in found if e is not None), key=lambda e: (e.whole, len(e.trials)), default=None)
    return best


def _pair_with_reference(table: ReaderTable, lane: ResponseLane) -> list[_ComparedText]:
    """Each distinct text of the provider beside what the reference says to the same prompt."""
    expected = _collect_reference_texts(table, lane.condition)
    found: dict[tuple[str, str], _ComparedText] = {}
    for trial, answer, scored in zip(lane.trials, lane.answers, lane.scored, strict=True):
        if answer is not None and trial.prompt in expected:
            found.setdefault(
                (trial.prompt, answer.text),
                _ComparedText(trial=trial, text=answer.text, expected=expected[trial.prompt], ended=scored.ended),
            )
    return list(found.values())


def _collect_reference_texts(table: ReaderTable, condition: str) -> Mapping[str, str]:
    own = [x for x in table.lanes if x.provider == table.reader.reference]
    own.sort(key=lambda x: x.condition != condition)
    found: dict[str, str] = {}
    for lane in own:
        for trial, answer in zip(lane.trials, lane.answers, strict=True):
            if answer is not None:
                found.setdefault(trial.prompt, answer.text)
    return found


def _try_edit(
    words: str, edit: Callable[[str], str], compared: Sequence[_ComparedText], differing: Sequence[_ComparedText]
) -> TextEdit | None:
    """Both sides edited alike; a text that the edit would still change contradicts it."""
    if any(edit(one.text) != one.text for one in compared):
        return None
    equal = [one for one in differing if edit(one.expected) == one.text or edit(one.expected).strip() == one.text]
    return _build_text_edit(f"its text is edited: {words}", equal, differing)


def _try_stop(compared: Sequence[_ComparedText], differing: Sequence[_ComparedText]) -> TextEdit | None:
    """Texts that end by themselves where the reference goes on, always before the same string, which no text holds.

    Texts that part from the reference's before it contradict nothing: an honest host's rounding parts some as well.
    """
    stopped = [one for one in differing if one.ended and one.expected.startswith(one.text)]
    rests = [one.expected[len(one.text) :] for one in stopped]
    if len(stopped) < MIN_EDITED_PROMPTS:
        return None
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*rests, strict=False))
    common = "".join(letters[0] for letters in same)[:_LONGEST_STOP]
    for length in range(len(common), 0, -1):
        stop = common[:length]
        if not any(stop in one.text for one in compared):
            ends = [one for one in compared if stop in one.expected]
            there = [one for one in ends if one.expected.startswith(one.text)]
            exact = all(one.text == one.expected[: one.expected.index(stop)] for one in there)
            if exact and 2 * len(there) > len(ends):
                return _build_text_edit(f"it stops before {stop!r}", stopped, differing)
    return None


def _build_text_edit(words: str, equal: Sequence[_ComparedText], differing: Sequence[_ComparedText]) -> TextEdit | None:
    if not equal:
        return None
    return TextEdit(
        words=words,
        trials=tuple(one.trial for one in equal),
        prompts=len({one.trial.prompt for one in equal}),
        differing=len(differing),
        whole=len(equal) == len(differing),
    )


def find_swapped_answers(table: ReaderTable, lane: ResponseLane) -> tuple[Trial, ...]:
    """Texts that are word for word the reference's answer to another prompt, and not to their own."""
    expected = _collect_reference_texts(table, lane.condition)
    owners: dict[str, set[str]] = {}
    for prompt, text in expected.items():
        owners.setdefault(text, set()).add(prompt)
    return tuple(
        trial
        for trial, answer in zip(lane.trials, lane.answers, strict=True)
        if answer is not None and len(answer.text) >= 20 and owners.get(answer.text, {trial.prompt}) - {trial.prompt}
        if trial.prompt not in owners.get(answer.text, set())
    )
