"""Why nobody answered in, a few lines that say it out, those first that share a reason."""

from __future__ import annotations

from collections.abc import Iterable

MOST_LINES = 4
_MOST_NAMES = 6


def describe_no_answers(reasons: Iterable[tuple[str, str]]) -> list[str]:
    """(provider, why) of all that were asked in, at most four lines out: one that says so, then each reason once."""
    by_reason: dict[str, list[str]] = {}
    for provider, why in reasons:
        by_reason.setdefault(why, []).append(provider)
    if not by_reason:
        return []
    asked = sum(len(names) for names in by_reason.values())
    lines = [f"nobody answered: {asked} of {asked} {'provider' if asked == 1 else 'providers'} gave no answer at all"]
    groups = sorted(by_reason.items(), key=lambda group: -len(group[1]))
    room = MOST_LINES - 1 if len(groups) < MOST_LINES else MOST_LINES - 2
    lines += [f"{_join_names(names)}: {why}" for why, names in groups[:room]]
    rest = sum(len(names) for _, names in groups[room:])
    if rest:
        lines.append(f"and {rest} more for other reasons: `tempzero check` says them all")
    return lines


def _join_names(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
