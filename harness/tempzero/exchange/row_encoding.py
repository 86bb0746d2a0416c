"""Batches of Answers in, what of their attempts follows from each row alone out: as encoded JSON, many rows together.

Nothing here needs to know what else the source holds, so that another process can do it.
"""

from __future__ import annotations

from array import array
from binascii import hexlify
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Any

from tempzero.answers.chat_messages import CALL_MARK
from tempzero.answers.message_parts import holds_think_mark
from tempzero.errors import ExchangeError
from tempzero.exchange.answer_columns import AnswerBatch, ColumnFile
from tempzero.exchange.bulk_survey import measure_texts
from tempzero.exchange.column_reading import DoubtfulReadingError
from tempzero.exchange.foreign_answers import find_columns_of_request, is_kept_column
from tempzero.exchange.recipe import Recipe
from tempzero.exchange.run_writing import import_response
from tempzero.exchange.sources import RecordFile
from tempzero.records.encoded_parts import encode_lines, encode_part, make_row_encoder

# What a request is made of besides the question and its lane, and what an outcome is made of beside its text.
REQUEST_FIELDS = ("model", "temperature", "top_p", "seed", "max_tokens")
OUTCOME_FIELDS = (
    *("refusal", "reasoning", "finish_reason", "served_model", "backend", "fingerprint", "response_id"),
    *("prompt_tokens", "completion_tokens", "reasoning_tokens", "total_tokens", "date", "latency_s", "latency_ms"),
)
_MOST_REMEMBERED = 50_000
# Stands where a row goes, in a response that is encoded once.
_HERE = "\x1ahere\x1a"


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberedCells:
    """A number for each row: equal ones stand for equal cells. `new` are the cells of the numbers not met before.

    `afresh`: numbers start from 0 again, and those before are not used any more.
    """

    numbers: array[int]
    new: tuple[Any, ...]
    afresh: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedRows:
    """Rows of the file with that number: as the responses that they are kept as, and their texts, a line each.

    `settings` and `outcomes` are the cells that the fields of requests and of outcomes look at, `lengths` the
    characters of the texts (as 32-bit numbers), `apart` the places of those that hold more than a text.
    """

    file: int
    responses: bytes
    texts: bytes
    lengths: bytes
    settings: NumberedCells
    outcomes: NumberedCells
    apart: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.settings.numbers)


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodingJob:
    """Which files are encoded, and how they are read; it can be handed to another process."""

    recipe: Recipe
    files: tuple[RecordFile, ...]
    around: str
    batch_rows: int
    by_duckdb: bool

    def open_file(self, number: int) -> ColumnFile:
        """One of the files. Raises ExchangeError."""
        return ColumnFile(self.recipe, self.files[number], self.around, by_duckdb=self.by_duckdb)

    def require_alike(self) -> None:
        """Raises DoubtfulReadingError where one of them may be read otherwise than by the csv module, ExchangeError."""
        for number in range(len(self.files)):
            self.open_file(number).require_alike()


def encode_rows(job: EncodingJob) -> Iterator[EncodedRows]:
    """All rows of all files, in their order. Raises ExchangeError."""
    left_out = find_columns_of_request(job.recipe)
    for number in range(len(job.files)):
        settings, outcomes = _CellNumbers(), _CellNumbers()
        file = job.open_file(number)
        columns = tuple(sorted(name for name in file.header if is_kept_column(name, left_out)))
        encode = make_row_encoder(columns)
        try:
            for batch in file.read_batches(("text", *REQUEST_FIELDS, *OUTCOME_FIELDS), columns, job.batch_rows):
                yield _encode_batch(number, file, batch, encode, settings, outcomes)
        except DoubtfulReadingError:  # where another reading of it has gone well
            raise ExchangeError(f"{file.name}: was changed while it was imported; import it again") from None


class _CellNumbers(dict[Any, int]):
    """Numbers cells by first sight."""

    def __missing__(self, cells: Any) -> int:
        number = self[cells] = len(self)
        return number

    def number_all(self, values: Sequence[Any]) -> NumberedCells:
        """The numbers of some rows' cells."""
        afresh = not self or len(self) + len(values) > _MOST_REMEMBERED
        if afresh:
            self.clear()
        before = len(self)
        numbers = array("q", map(self.__getitem__, values))
        return NumberedCells(numbers=numbers, new=tuple(islice(self, before, None)), afresh=afresh)


def _encode_batch(
    number: int,
    file: ColumnFile,
    batch: AnswerBatch,
    encode: Callable[[Iterable[Sequence[str]]], bytes],
    settings: _CellNumbers,
    outcomes: _CellNumbers,
) -> EncodedRows:
    texts = batch.of("text")
    return EncodedRows(
        file=number,
        responses=_encode_responses(encode(batch.cells)),
        texts=encode_lines(texts),
        lengths=measure_texts(texts).tobytes(),
        settings=settings.number_all(batch.raw(file.heads_of(REQUEST_FIELDS))),
        outcomes=outcomes.number_all(batch.raw(file.heads_of(OUTCOME_FIELDS))),
        apart=_find_texts_apart(texts),
    )


def _encode_responses(rows: bytes) -> bytes:
    """Rows as they are kept, a line each, in the place of what a server sent."""
    # A row that is JSON needs no other escapes than these to stand in a JSON text.
    quoted = rows.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    bodies = rows.split(b"\n")[:-1]
    hashes = [hexlify(sha256(body).digest()) for body in bodies]
    parts = zip(quoted.split(b"\n"), hashes, map(len, bodies), strict=False)
    return b"".join(map(_RESPONSE.__mod__, parts))


def _make_response_line() -> bytes:
    """A response without its row: where that stands, its hash and its size."""
    whole = encode_part(import_response(_HERE)).replace(b"%", b"%%")
    for said, place in (
        (encode_part(_HERE), b'"%b"'),
        (sha256(_HERE.encode()).hexdigest().encode(), b"%b"),
        (b":%d," % len(_HERE), b":%d,"),
    ):
        whole = whole.replace(said, place)
    return whole + b"\n"


_RESPONSE = _make_response_line()


def _find_texts_apart(texts: Sequence[str | None]) -> tuple[int, ...]:
    """The places of texts that hold reasoning or calls, or look as if they did."""
    together = "\n".join(text or "" for text in texts) if None in texts else "\n".join(texts)  # type: ignore[arg-type]
    if CALL_MARK not in together and not holds_think_mark(together):
        return ()
    return tuple(at for at, text in enumerate(texts) if text and (CALL_MARK in text or holds_think_mark(text)))
