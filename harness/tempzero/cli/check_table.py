"""What was found out about providers in, a line for each of them and remarks beneath, out."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tempzero.check import ProviderCheck

# Column of the check -> what stands over it: all of them and the provider's name within 80 characters.
_HEADINGS = {
    "temperature 0": "T=0",
    "seed": "seed",
    "max_tokens": "max",
    "stop": "stop",
    "stream": "strm",
    "reasoning": "rsn",
    "effort": "eff",
    "tools": "tool",
    "JSON mode": "json",
    "logprobs": "logp",
    "n": "n",
}
# Told in words beneath the table.
_FACTS = ("model", "top_logprobs", "prompt_tokens", "cache", "upstream", "served model", "fingerprint")
_SIGNS = {
    "+": ("honoured", "same twice", "as whole", "given", "shown", "off"),
    "!": ("ignored", "differs", "not switched off"),
    "-": ("refused",),
    ".": ("not sent", "none seen", "not asked"),
    "h": ("hidden",),
}
_LEGEND = "+ honoured  ! ignored  - refused  . not sent or none  h hidden  ? not known"
_NAME_WIDTH = 18
_STATE_WIDTH = 12
_MOST_NAMES = 4


def print_check_table(rows: Sequence[ProviderCheck]) -> None:
    """A line for each provider, what they are and say, and remarks."""
    from rich.console import Console

    if not rows:
        print("no hosted provider to check: `run` proves what it starts on this machine itself")
        return
    width = Console().width
    print(f"{'provider':<{_NAME_WIDTH}} {'result':<{_STATE_WIDTH}} {' '.join(_HEADINGS.values())}".rstrip())
    for row in rows:
        signs = " ".join(_sign(row.words.get(column)).center(len(heading)) for column, heading in _HEADINGS.items())
        print(f"{_shorten_name(row.provider):<{_NAME_WIDTH}} {row.state:<{_STATE_WIDTH}} {signs}".rstrip())
    _print_wrapped(width, _LEGEND)
    print()
    for fact in _FACTS:
        _print_groups(width, fact, [(row.provider, row.words[fact]) for row in rows if fact in row.words])
    _print_remarks(width, rows)


def _sign(word: str | None) -> str:
    if word is None:
        return ""
    return next((sign for sign, words in _SIGNS.items() if word in words), "?")


def _print_groups(width: int, fact: str, said: Sequence[tuple[str, str]]) -> None:
    """A fact, each value once with those who have it."""
    groups: dict[str, list[str]] = {}
    for provider, word in said:
        groups.setdefault(word, []).append(provider)
    if not groups:
        return
    # What is another one for each provider (labels, as a rule) needs no list of values.
    if len(groups) == 1:
        told = next(iter(groups)) + (" (all)" if len(said) > 1 else "")
    else:
        told = "; ".join(f"{word} ({_join_names(names)})" for word, names in groups.items())
    _print_wrapped(width, f"{fact}: {told}")


def _print_remarks(width: int, rows: Sequence[ProviderCheck]) -> None:
    shared: dict[str, list[str]] = {}
    for row in rows:
        for remark in row.remarks:
            shared.setdefault(remark, []).append(row.provider)
    for remark, names in shared.items():
        _print_wrapped(width, f"{', '.join(names)}: {remark}")


def _print_wrapped(width: int, line: str) -> None:
    print(textwrap.fill(line, width=max(width, 40), subsequent_indent="  ", break_on_hyphens=False))


def _join_names(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _shorten_name(name: str) -> str:
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 9]}..{name[-7:]}"
