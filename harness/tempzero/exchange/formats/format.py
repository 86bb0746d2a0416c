"""What a built-in format is: how its files are known, how its rows come out, and what stands where in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tempzero.errors import ExchangeError
from tempzero.exchange import table_reading
from tempzero.exchange.recipe import Recipe, parse_fields
from tempzero.exchange.sources import RecordFile
from tempzero.exchange.table_reading import Row

RowReader = Callable[[RecordFile], Iterator[Row]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What a file shows before it is read: its name, its first bytes, and its first row where it has rows."""

    file: RecordFile
    head: bytes
    columns: frozenset[str]
    row: Mapping[str, object]


# Where `tempzero export` puts a trial's key, and what a format has no field for, in rows of other tools' formats.
OWN_COLUMN = "tempzero"
OWN_KEY: Mapping[str, str] = {
    "provider": f"{OWN_COLUMN}.provider",
    "claims": f"{OWN_COLUMN}.claims",
    "id": f"{OWN_COLUMN}.prompt",
    "condition": f"{OWN_COLUMN}.condition",
    "repeat": f"{OWN_COLUMN}.repeat",
    "family": f"{OWN_COLUMN}.family",
    "cached": f"{OWN_COLUMN}.cached",
    "finish_reason": f"{OWN_COLUMN}.finish_reason",
    "served_model": f"{OWN_COLUMN}.served_model",
    "backend": f"{OWN_COLUMN}.backend",
    "fingerprint": f"{OWN_COLUMN}.fingerprint",
    "prompt_tokens": f"{OWN_COLUMN}.prompt_tokens",
    "completion_tokens": f"{OWN_COLUMN}.completion_tokens",
    "reasoning_tokens": f"{OWN_COLUMN}.reasoning_tokens",
    "total_tokens": f"{OWN_COLUMN}.total_tokens",
}


def read_complete_rows(file: RecordFile, columns: frozenset[str]) -> Iterator[Row]:
    """The rows of a file whose format puts these columns into each. Raises ExchangeError for one without."""
    for row in table_reading.read_rows(file):
        if not row.cells.keys() >= columns:
            lacking = ", ".join(sorted(columns - row.cells.keys()))
            raise ExchangeError(f"{file.name}:{row.line}: has no {lacking}, which every row of this format has")
        yield row


def _plain_row_reader(_files: Sequence[RecordFile], _inputs: Path | None) -> RowReader:
    return table_reading.read_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """A built-in format. `fields` is its mapping in the words of `--map`.

    `recognises` tells its record files apart from every other; `rows` gets all of these files, and
    the file that was named beside them, and gives the reader of one. Cells whose name starts with
    "@" are worked out from a row and not kept with it. `as_is` formats tell errors from answers
    themselves.
    """

    name: str
    about: str
    fields: Mapping[str, str]
    recognises: Callable[[Sample], bool]
    beside: Callable[[Sample], bool] = field(default=lambda sample: False)
    rows: Callable[[Sequence[RecordFile], Path | None], RowReader] = _plain_row_reader
    own: Mapping[str, str] = field(default_factory=dict)
    exported_here: Callable[[Sample], bool] = field(default=lambda sample: OWN_COLUMN in sample.columns)
    as_is: bool = False

    def recipe(self, *, exported_here: bool) -> Recipe:
        """Its mapping as a Recipe; `own` goes before `fields` in rows that `tempzero export` wrote."""
        fields = {**self.fields, **(self.own if exported_here else {})}
        return Recipe(fields=parse_fields(fields), format=self.name, as_is=self.as_is or exported_here)
