"""What every extractor is: a name, a version, a reader, and its rules for arguments and equality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tempzero.extractors.answer_text import strip_thinking

Args = Mapping[str, str]


def is_same_text(left: str, right: str) -> bool:
    """Equal but for case and white space."""
    return " ".join(left.split()).casefold() == " ".join(right.split()).casefold()


def _accept_any_args(_args: Args) -> None:
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Extractor:
    """Reads an answer out of a response, or says None; it never guesses.

    `version` rises whenever any text could be read otherwise than before: it is part of the
    suite's digest. `reader` gets the text without its thinking. `can_state` says whether a
    response could ever yield this expected answer. `check` raises ValueError for arguments
    that cannot work. `parameters` are needed, `optional` ones are not; those named in `structured`
    are given as lists or mappings and kept as JSON texts.

    `judged` not empty: reading alone does not give the answer. What `reader` finds (a function, an expression)
    is then tried out once, and what it came to is kept in the run folder. The text says how to have that done.
    """

    name: str
    version: int
    reader: Callable[[str, Args], str | None]
    can_state: Callable[[str, Args], bool]
    parameters: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    structured: Mapping[str, type] | None = None
    check: Callable[[Args], None] = _accept_any_args
    same: Callable[[str, str], bool] = is_same_text
    judged: str = ""

    def read(self, text: str, args: Args) -> str | None:
        """The answer that `text` states, in canonical form, or None."""
        answer = strip_thinking(text)
        return None if answer is None else self.reader(answer, args)
