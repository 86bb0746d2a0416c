"""The model id asked for and the name that answered in, whether they stand for the same model out.

A router's suffix (`x:free`), folders (`org/x`), the case of letters and the choice among `.`, `_` and `-` are
spelling. The date of a snapshot (`x-2024-08-06`, `x-0613`, `x-2411`) makes another name of the same model where only
one side has it; two different dates are two models. Whatever else differs is another model, unless the
configuration accepts that name.
"""

from __future__ import annotations

import functools
import re

from tempzero.types.vocabulary import NameStanding

_DATE = re.compile(
    r"[-@](?:"
    r"20\d\d-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01]))?"  # 2024-08-06, 2024-08
    r"|20\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"  # 20240806
    r"|2[3-9](?:0[1-9]|1[0-2])"  # 2411: year and month
    r"|(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"  # 0613: month and day
    r"|00[1-9]"  # 002: a numbered revision
    r"|(?:0[1-9]|1[0-2])-20\d\d"  # 05-2025
    r")$"
)
_MOVING_END = re.compile(r"[-:]latest$")


@functools.lru_cache(maxsize=256)  # each answer of a run asks the same
def judge_served_name(served: str, *, asked: str, accepted: tuple[str, ...] = ()) -> NameStanding:
    """How the name in a response stands to the id asked for. In `accepted` names, `*` stands for any text."""
    if _fold(served) in _spellings(asked):
        return "same"
    if any(_matches(served, pattern) for pattern in accepted):
        return "alias"
    folders = {name.rpartition("/")[0] for name in (served.lower(), asked.lower())} - {""}
    return "alias" if len(folders) < 2 and _names_alike(_last_part(served), _last_part(asked)) else "other"


def _spellings(asked: str) -> set[str]:
    """What may be echoed for a model id: the id, without a router's suffix, without its folders."""
    bare = asked.partition(":")[0]
    return {_fold(name) for name in (asked, bare, asked.rpartition("/")[2], bare.rpartition("/")[2])}


def _fold(name: str) -> str:
    return re.sub("[._]", "-", name.lower())


def _last_part(name: str) -> str:
    return name.rpartition("/")[2].partition(":")[0].lower()


def _names_alike(served: str, asked: str) -> bool:
    """The same name, or the same but for a date that only one of them has; `-latest` asks for any date."""
    if _fold(served) == _fold(asked):
        return True
    dates = [_DATE.search(served), _DATE.search(asked)]
    if all(dates):
        return False
    stems = [_MOVING_END.sub("", _DATE.sub("", name)) for name in (served, asked)]
    return _fold(stems[0]) == _fold(stems[1])


def _matches(served: str, pattern: str) -> bool:
    wanted = ".*".join(re.escape(piece) for piece in pattern.lower().split("*"))
    return re.fullmatch(wanted, served.lower()) is not None
