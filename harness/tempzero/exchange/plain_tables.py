"""CSV files with a mapping of plain columns in, their Survey and their encoded attempts out: in batches.

What is imported, and what is refused, is the same as row by row, several times as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from tempzero.exchange.answer_columns import ColumnFile, UnfitForBatchesError, are_plain_columns
from tempzero.exchange.bulk_survey import BulkSurveyor, Trace
from tempzero.exchange.bulk_writing import AttemptEncoder
from tempzero.exchange.column_reading import DoubtfulReadingError
from tempzero.exchange.encoding_process import encode_elsewhere, is_worth_a_process
from tempzero.exchange.foreign_answers import find_columns_of_request, is_kept_column
from tempzero.exchange.recipe import Recipe
from tempzero.exchange.sources import RecordFile
from tempzero.exchange.survey import Survey

# So many rows at a time stay in the processor's caches while they are put together.
_BATCH_ROWS = 1000
# What is in the survey's trace, and not read once more for writing.
_OF_KEYS_ONLY = frozenset({"id", "prompt", "repeat", "condition", "expected", "family", "claims", "error", "cached"})


class PlainTable:
    """Files that are read in batches."""

    def __init__(self, recipe: Recipe, files: Sequence[RecordFile], around: str, *, size: int) -> None:
        """`size`: rows of a batch at most. Raises UnfitForBatchesError for other files or mappings, ExchangeError."""
        if not are_plain_columns(recipe, files):
            raise UnfitForBatchesError
        self._recipe, self._files, self._around, self._size = recipe, files, around, min(size, _BATCH_ROWS)
        self._by_duckdb = True

    def survey(self, mapped: Collection[str], progress: Callable[[int], None]) -> SurveyedTable:
        """What the files hold. Raises UnfitForBatchesError where that must be said row by row, ExchangeError."""
        try:
            return self._survey(mapped, progress)
        except DoubtfulReadingError:
            self._by_duckdb = False
            return self._survey(mapped, progress)

    def _survey(self, mapped: Collection[str], progress: Callable[[int], None]) -> SurveyedTable:
        surveyor, number = BulkSurveyor(self._recipe, mapped=mapped, files=len(self._files)), 0
        files = [ColumnFile(self._recipe, f, self._around, by_duckdb=self._by_duckdb) for f in self._files]
        for file in files:
            columns = surveyor.watched_columns(file.header)
            for batch in file.read_batches(surveyor.needs_of(file), columns, self._size, counting=True):
                surveyor.see_batch(batch)
                number += batch.size
                progress(number)
        for file in files:
            file.require_alike()
        survey, trace = surveyor.finish_batches()
        by_duckdb = tuple(file.by_duckdb for file in files)
        return SurveyedTable(self._recipe, tuple(self._files), self._around, self._size, by_duckdb, survey, trace)


@dataclass(frozen=True, slots=True)
class SurveyedTable:
    """The same with what its survey found; it can be handed to another process."""

    recipe: Recipe
    files: tuple[RecordFile, ...]
    around: str
    size: int
    by_duckdb: tuple[bool, ...]
    survey: Survey
    trace: Trace

    def attempts(self) -> Iterator[bytes]:
        """Each row as an encoded attempt. Raises ExchangeError where a file has changed since the survey."""
        encoder, left_out = AttemptEncoder(self.survey, self.trace, self.recipe), find_columns_of_request(self.recipe)
        fields = [name for name in self.recipe.fields if name not in _OF_KEYS_ONLY]
        for record_file, by_duckdb in zip(self.files, self.by_duckdb, strict=True):
            file = ColumnFile(self.recipe, record_file, self.around, by_duckdb=by_duckdb)
            columns = sorted(name for name in file.header if is_kept_column(name, left_out))
            for batch in file.read_batches(fields, columns, self.size):
                yield from encoder.encode_batch(batch)

    def attempts_with_help(self, progress: Callable[[int], None]) -> Iterator[bytes]:
        """The same, from another process where that is sooner."""
        size = sum(file.path.stat().st_size for file in self.files)
        attempts = encode_elsewhere(self) if is_worth_a_process(size) else self.attempts()
        for number, attempt in enumerate(attempts, start=1):
            if number % self.size == 0:
                progress(number)
            yield attempt
