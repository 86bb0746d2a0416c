"""Tokens that may not be chosen: one that is banned, those that would repeat a sequence, an end that comes too soon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from tempzero.reading.suspects.suspect import ChosenTokens, Logits, SamplerSuspect

_TRIED = 3
_NEVER = np.float32(-1e9)


def suggest_bans(chosen: Sequence[ChosenTokens]) -> Sequence[SamplerSuspect]:
    """The tokens that would be best most often and are written nowhere."""
    written = {token for one in chosen for token in one.tokens}
    ends = {token for one in chosen for token in one.end_ids}
    wanted: Counter[int] = Counter()
    for one in chosen:
        best = one.ids[: len(one.tokens), 0].tolist()
        wanted.update(b for b, t in zip(best, one.tokens, strict=True) if b != t and b not in written | ends)
    banned = sorted(wanted, key=lambda token: (-wanted[token], token))[:_TRIED]
    found = [
        SamplerSuspect(
            name=f"ban-{token}",
            family=f"ban of token {token}",
            words=f"the token {chosen[0].piece(token).decode('utf-8', 'replace')!r} ({token}) may not be chosen",
            change=_ban_token(token),
        )
        for token in banned
    ]
    lengths = [len(one.tokens) for one in chosen if one.ended]
    if lengths and min(lengths) > 1:
        found.append(
            SamplerSuspect(
                name="no-early-end",
                family="no early end",
                words=f"the answer may not end within its first {min(lengths)} tokens",
                change=_ban_early_end(min(lengths)),
            )
        )
    return found


def suggest_repeat_bans(chosen: Sequence[ChosenTokens]) -> Sequence[SamplerSuspect]:
    return [
        SamplerSuspect(
            name=f"no-repeat-{length}-{'all' if whole else 'answer'}",
            family=f"no repeated sequence of {length}",
            words=f"no sequence of {length} tokens may come twice"
            + (" (the prompt counts)" if whole else " in the answer"),
            change=_ban_repeats(length, whole),
        )
        for length in (2, 3, 4, 5)
        for whole in (True, False)
    ]


def _ban_token(token: int) -> Callable[[ChosenTokens], Logits]:
    return lambda one: np.where(one.ids == token, _NEVER, one.logits)


def _ban_early_end(length: int) -> Callable[[ChosenTokens], Logits]:
    def change(one: ChosenTokens) -> Logits:
        early = np.arange(len(one.ids))[:, None] < length
        return np.where(early & np.isin(one.ids, one.end_ids), _NEVER, one.logits)

    return change


def _ban_repeats(length: int, whole: bool) -> Callable[[ChosenTokens], Logits]:
    def change(one: ChosenTokens) -> Logits:
        changed = one.logits.copy()
        before = list(one.prompt) if whole else []
        context = [*before, *one.tokens]
        following: dict[tuple[int, ...], set[int]] = {}
        for end in range(length - 1, len(before)):
            following.setdefault(tuple(context[end - length + 1 : end]), set()).add(context[end])
        for at, ids in enumerate(one.ids):
            here = len(before) + at
            banned = following.get(tuple(context[max(0, here - length + 1) : here]), set())
            if banned and here >= length - 1:
                changed[at] = np.where(np.isin(ids, list(banned)), _NEVER, changed[at])
            if here < len(context) and here >= length - 1:
                following.setdefault(tuple(context[here - length + 1 : here]), set()).add(context[here])
        return changed

    return change
