"""Divergences in, pairs of texts side by side out: the shared start shortened, the first difference marked."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from tempzero.reports.document import ON_PAPER, Section, TextPair, TextPairs, TextSide
from tempzero.reports.figure_wording import PART_WORDS
from tempzero.reports.lookup import View
from tempzero.reports.visible import make_visible, shorten_text
from tempzero.types.asked import Trial
from tempzero.types.concluded import Divergence

MAX_PAIRS_EACH = 24
_CONTEXT, _DIFFERING, _TAIL = 160, 900, 80


def build_divergences_section(view: View) -> Section:
    """Divergent responses side by side."""
    sorts = (
        ("Its own repeats", [d for d in view.analysis.divergences if d.left.provider == d.right.provider]),
        ("Against the reference", [d for d in view.analysis.divergences if _is_with_reference(view, d)]),
        ("Between providers", [d for d in view.analysis.divergences if _is_between_providers(view, d)]),
    )
    return Section(
        anchor="divergences",
        title="Pairs of texts, side by side",
        lead="Two responses to the same prompt. Grey: still the same. Marked: from the first different character on. "
        "Characters that one cannot see are written as their code.",
        blocks=tuple(_make_text_pairs(caption, found) for caption, found in sorts if found),
        media=ON_PAPER,
    )


def _is_with_reference(view: View, divergence: Divergence) -> bool:
    left, right = divergence.left.provider, divergence.right.provider
    return left != right and (view.is_reference(left) or view.is_reference(right))


def _is_between_providers(view: View, divergence: Divergence) -> bool:
    return divergence.left.provider != divergence.right.provider and not _is_with_reference(view, divergence)


def _make_text_pairs(caption: str, found: Sequence[Divergence]) -> TextPairs:
    kept = found[:MAX_PAIRS_EACH]
    left_out = len(found) - len(kept)
    return TextPairs(
        caption=caption,
        pairs=tuple(_make_text_pair(d) for d in kept),
        more=f"{left_out:,} more are in tables/divergences.csv." if left_out else "",
    )


def _make_text_pair(divergence: Divergence) -> TextPair:
    left, right, at = divergence.left_text, divergence.right_text, divergence.at_char
    ending = _common_end_length(left, right, at)
    who = divergence.left.provider
    if divergence.right.provider != who:
        who = f"{who} and {divergence.right.provider}"
    return TextPair(
        divergence=divergence,
        title=f"{shorten_text(divergence.prompt, 100)}: {who}, {_part_words(divergence)}from character {at:,} on",
        left=_make_text_side(divergence.left, left, at, ending),
        right=_make_text_side(divergence.right, right, at, ending),
    )


def _part_words(divergence: Divergence) -> str:
    return "" if divergence.part == "text" else f"in the {PART_WORDS[divergence.part]} "


def _common_end_length(left: str, right: str, at: int) -> int:
    """How many characters both texts share at their ends, counted no further back than `at`."""
    most = min(len(left), len(right)) - at - 1  # the first different character itself is never shared
    count = 0
    while count < most and left[-1 - count] == right[-1 - count]:
        count += 1
    return count


def _make_text_side(trial: Trial, text: str, at: int, ending: int) -> TextSide:
    end = len(text) - ending
    start = max(0, at - _CONTEXT)
    differing = text[at:end]
    shown, cut = differing[:_DIFFERING], len(differing) > _DIFFERING
    after = "" if cut else text[end : end + _TAIL]
    return TextSide(
        who=f"{trial.provider}, repeat {trial.repeat}",
        before=text[start:at],
        first=shown[:1],
        rest=shown[1:],
        after=after,
        omitted_before=start,
        omitted_after=len(text) - at - len(shown) - len(after),
        char=_char_words(text, at),
    )


def _char_words(text: str, at: int) -> str:
    """The character at `at`, by sight and by code."""
    if at >= len(text):
        return "the text ends here"
    char = text[at]
    if char.isascii() and char.isprintable() and not char.isspace():
        return char
    name = {"\n": "line break", "\t": "tab"}.get(char) or unicodedata.name(char, "").lower()
    code = f"U+{ord(char):04X}"
    sight = "" if char.isspace() or not char.isprintable() else f"{make_visible(char)} "
    return f"{sight}{code} {name}".strip()
