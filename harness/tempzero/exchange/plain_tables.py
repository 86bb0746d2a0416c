"""CSV files with a mapping of plain columns in, their Survey and their encoded attempts out: in batches.

What is imported, and what is refused, is the same as row by row, several times as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tempzero.exchange.answer_columns import UnfitForBatchesError, are_plain_columns
from tempzero.exchange.bulk_survey import BulkSurveyor, Trace
from tempzero.exchange.bulk_writing import AttemptEncoder
from tempzero.exchange.column_reading import DoubtfulReadingError
from tempzero.exchange.encoding_process import EncodingProcess, is_worth_a_process
from tempzero.exchange.recipe import Recipe
from tempzero.exchange.row_encoding import EncodedRows, EncodingJob, encode_rows
from tempzero.exchange.sources import RecordFile
from tempzero.exchange.survey import Survey

# So many rows at a time stay in the processor's caches while they are put together.
_BATCH_ROWS = 500


class PlainTable:
    """Files that are read in batches; it must be closed."""

    def __init__(self, recipe: Recipe, files: Sequence[RecordFile], around: str, *, size: int) -> None:
        """`size`: rows of a batch at most. Raises UnfitForBatchesError for other files or mappings, ExchangeError."""
        if not are_plain_columns(recipe, files):
            raise UnfitForBatchesError
        self._recipe, self._files, self._around, self._size = recipe, tuple(files), around, min(size, _BATCH_ROWS)
        self._help: EncodingProcess | None = None

    def close(self) -> None:
        """End the process that encodes rows, where there is one."""
        if self._help is not None:
            self._help.close()
            self._help = None

    def survey(self, mapped: Collection[str], progress: Callable[[int], None]) -> SurveyedTable:
        """What the files hold. Raises UnfitForBatchesError where that must be said row by row, ExchangeError."""
        try:
            return self._survey(mapped, progress, by_duckdb=True)
        except DoubtfulReadingError:
            self.close()
            return self._survey(mapped, progress, by_duckdb=False)

    def _survey(self, mapped: Collection[str], progress: Callable[[int], None], *, by_duckdb: bool) -> SurveyedTable:
        job = EncodingJob(
            recipe=self._recipe, files=self._files, around=self._around, batch_rows=self._size, by_duckdb=by_duckdb
        )
        files = [job.open_file(number) for number in range(len(self._files))]
        if is_worth_a_process(sum(file.path.stat().st_size for file in self._files)):
            self._help = EncodingProcess(job)
        surveyor, number = BulkSurveyor(self._recipe, mapped=mapped, files=len(self._files)), 0
        for file in files:
            columns = surveyor.watched_columns(file.header)
            for batch in file.read_batches(surveyor.needs_of(file), columns, self._size):
                surveyor.see_batch(batch)
                number += batch.size
                progress(number)
        (job if self._help is None else self._help).require_alike()
        survey, trace = surveyor.finish_batches()
        return SurveyedTable(job=job, survey=survey, trace=trace, rows=self._encode_rows(job))

    def _encode_rows(self, job: EncodingJob) -> Iterator[EncodedRows]:
        return encode_rows(job) if self._help is None else self._help.encode_rows()


@dataclass(frozen=True, kw_only=True, slots=True)
class SurveyedTable:
    """The same with what its survey found; `rows` can be read once."""

    job: EncodingJob
    survey: Survey
    trace: Trace
    rows: Iterator[EncodedRows]

    def attempts(self, progress: Callable[[int], None]) -> Iterator[tuple[Any, ...]]:
        """The parts of each row's attempt, for ATTEMPT_FORM. Raises ExchangeError where a file has changed since."""
        encoder, number = AttemptEncoder(self.survey, self.trace, self.job), 0
        for encoded in self.rows:
            yield from encoder.encode_attempts(encoded)
            number += len(encoded)
            progress(number)
