"""CSV files and a Recipe of their columns in, batches of typed values out: a list a field instead of an object a row.

The values are those of the row-by-row reading: the same getters and parsers, called once for each distinct cell.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import compress
from operator import itemgetter
from typing import Any

from tempzero.exchange import table_reading
from tempzero.exchange.column_reading import Cells, ColumnReader
from tempzero.exchange.expressions import Expression, FilePlace, Getter, bind_expression
from tempzero.exchange.foreign_answers import FIELD_PARSERS, ForeignAnswer, cell_as_label
from tempzero.exchange.recipe import Recipe
from tempzero.exchange.sources import TEXT_TABLES, RecordFile

_MOST_REMEMBERED = 50_000


class UnfitForBatchesError(Exception):
    """Something that only the row-by-row reading can do, or say in words: then it does."""


class AnswerBatch:
    """Some rows of one file: typed values by field, and the cells of the columns `names` as they stand.

    `cells` may hold more behind those columns.
    """

    def __init__(
        self,
        file: str,
        fields: Mapping[str, _FieldValues],
        names: tuple[str, ...],
        read: tuple[str, ...],
        cells: Sequence[Cells],
    ) -> None:
        self.file, self.names, self.cells, self.size = file, names, cells, len(cells)
        self._fields, self._read = fields, read
        self._known: dict[str, Sequence[Any]] = {}

    def get(self, field: str) -> Sequence[Any] | None:
        """A field's values, one for each row; None where it is not mapped."""
        if field not in self._fields:
            return None
        if field not in self._known:
            self._known[field] = self._fields[field].of(self.cells, self._read)
        return self._known[field]

    def of(self, field: str) -> Sequence[Any]:
        """The same, None for each row of a field that is not mapped."""
        found = self.get(field)
        return [None] * self.size if found is None else found

    def answer(self, at: int, fields: Collection[str]) -> ForeignAnswer:
        """One row as an answer of its own, with these fields."""
        mapped = [name for name in fields if name in self._fields]
        values = {name: self._fields[name].of(self.cells[at : at + 1], self._read)[0] for name in mapped}
        return ForeignAnswer(file=self.file, line=0, cells={}, match=None, **values)

    def raw(self, columns: Sequence[str]) -> Sequence[tuple[str, ...]]:
        """For each row the cells of these columns, which its fields look at."""
        at = [self._read.index(name) for name in columns]
        if len(at) > 1:
            return list(map(itemgetter(*at), self.cells))
        return [(cells[at[0]],) for cells in self.cells] if at else [()] * self.size


def are_plain_columns(recipe: Recipe, files: Sequence[RecordFile]) -> bool:
    """Whether a mapping only names columns (or parts of file names) of CSV files: one answer a row."""
    expressions = [*recipe.fields.values(), *(w.expression for w in recipe.where)]
    rows = any(path in ("@line", "@key", "@list", "@match") for e in expressions for path in e.paths)
    starred = any(e.starred for e in expressions)
    tables = all(file.kind in TEXT_TABLES for file in files)
    simple = recipe.format is None and not recipe.rows_at and "request" not in recipe.fields
    return simple and tables and not rows and not starred


class ColumnFile:
    """One CSV file, as batches of answers. Raises ExchangeError where its header does not hold what is mapped."""

    def __init__(self, recipe: Recipe, file: RecordFile, around: str, *, by_duckdb: bool) -> None:
        self.name = file.name
        self.header = table_reading.read_column_names(file) or ()
        place = FilePlace(name=file.name, around=around, columns=self.header)
        self._fields = {name: _FieldValues(name, e, place) for name, e in recipe.fields.items()}
        self._where = [(_FieldValues("--where", w.expression, place), w.fits) for w in recipe.where]
        self._reader = ColumnReader(file, self.header, by_duckdb=by_duckdb)

    def heads_of(self, fields: Collection[str]) -> tuple[str, ...]:
        """The columns that these fields look at."""
        mapped = [self._fields[name] for name in fields if name in self._fields]
        return tuple(dict.fromkeys(head for values in mapped for head in values.heads))

    def read_answer(self, fields: Collection[str], cells: Cells) -> ForeignAnswer:
        """An answer with these fields and no others, of the cells that they look at."""
        values = {name: self._fields[name] for name in fields if name in self._fields}
        heads = self.heads_of(fields)
        found = {name: of.of([cells], heads)[0] for name, of in values.items()}
        return ForeignAnswer(file=self.name, line=0, cells={}, match=None, provider="", **found)

    def require_alike(self) -> None:
        """Raises DoubtfulReadingError where what is read may not be what the csv module reads."""
        self._reader.require_alike()

    def read_batches(self, fields: Collection[str], columns: Sequence[str], size: int) -> Iterator[AnswerBatch]:
        """All rows that `--where` keeps: the values of these fields, and the cells of these columns.

        `require_alike` tells whether they may be relied on.
        """
        wanted = [self._fields[name] for name in fields if name in self._fields]
        filters = [values for values, _ in self._where]
        heads = dict.fromkeys(head for values in (*wanted, *filters) for head in values.heads)
        names = tuple(dict.fromkeys((*columns, *heads)))
        for rows in self._reader.read_batches(names, size):
            kept = self._choose_rows(rows, names)
            if kept:
                yield AnswerBatch(self.name, {v.name: v for v in wanted}, tuple(columns), names, kept)

    def _choose_rows(self, rows: list[Cells], names: Sequence[str]) -> list[Cells]:
        for values, fits in self._where:
            rows = list(compress(rows, map(fits, values.of(rows, names)))) if rows else rows
        return rows


class _FieldValues:
    """The typed values of one field, from the columns that its expression looks at."""

    def __init__(self, name: str, expression: Expression, place: FilePlace) -> None:
        self.name = name
        get = bind_expression(expression, name, place)
        parse: Callable[[Any], Any] = FIELD_PARSERS.get(name, cell_as_label) if name != "--where" else (lambda v: v)
        columns = place.columns or ()
        whole = (expression.written,) if expression.written in columns and expression.constant is None else ()
        self.heads = whole or tuple(
            dict.fromkeys(head for path in expression.paths if (head := _column_of(path, columns)) is not None)
        )
        self._known = _Remembered(get, parse, self.heads)
        self._constant = parse(get({})) if not self.heads else None
        # A text is what its cell holds, however many there are: nothing to remember.
        self._as_it_stands = self.heads in ((expression.written,),) and name in ("text", "prompt")

    def of(self, rows: Sequence[Cells], names: Sequence[str]) -> Sequence[Any]:
        """One value for each row. Raises UnfitForBatchesError for a text that is an object or a list."""
        if not self.heads:
            return [self._constant] * len(rows)
        at = [names.index(head) for head in self.heads]
        cells = map(itemgetter(*at), rows)
        if self._as_it_stands:
            return list(cells)
        found = list(map(self._known.__getitem__, cells))
        if self.name == "text" and any(isinstance(value, dict | list) for value in found):
            raise UnfitForBatchesError
        return found


class _Remembered(dict[Any, Any]):
    """What a cell (or several) comes to, worked out once while it is remembered."""

    def __init__(self, get: Getter, parse: Callable[[Any], Any], heads: Sequence[str]) -> None:
        super().__init__()
        self._get, self._parse, self._heads = get, parse, heads

    def __missing__(self, cells: Any) -> Any:
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        row = zip(self._heads, cells if len(self._heads) > 1 else (cells,), strict=True)
        found = self[cells] = self._parse(self._get(dict(row)))
        return found


def _column_of(path: str, columns: Collection[str]) -> str | None:
    """The column that a path looks at; None of a part of the file's name."""
    plain = path.removesuffix("[]")
    if path in columns or plain in columns:
        return path if path in columns else plain
    top = plain.replace("[", ".").partition(".")[0]
    return top if top in columns else None
