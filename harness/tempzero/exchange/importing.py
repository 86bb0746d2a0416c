"""A source and a Recipe in, a run folder out: surveyed whole first, then written."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from itertools import chain, islice
from pathlib import Path

from tempzero.errors import ExchangeError
from tempzero.exchange import formats, run_writing, sources, table_reading
from tempzero.exchange.answer_columns import UnfitForBatchesError
from tempzero.exchange.bulk_writing import ATTEMPT_FORM
from tempzero.exchange.expressions import Cells, Expression, FilePlace, bind_expression, quote_for_shell
from tempzero.exchange.foreign_answers import AnswerReader, ForeignAnswer
from tempzero.exchange.formats.format import RowReader
from tempzero.exchange.formats.inspect_log import read_eval_rows
from tempzero.exchange.nested_cells import flatten_cells
from tempzero.exchange.path_parts import WORDS, find_path_parts
from tempzero.exchange.plain_tables import PlainTable
from tempzero.exchange.recipe import Recipe, merge_recipes
from tempzero.exchange.sources import RecordFile, Source
from tempzero.exchange.survey import Survey, Surveyor
from tempzero.exchange.table_reading import CONTENT_COLUMN, NoTableError, Row
from tempzero.records import RunWriter

_PROGRESS_ROWS = 20_000
# Rows of one file among several that are looked at before it is said to hold none of the mapped columns.
_ROWS_LOOKED_AT = 200
_FILES_LOOKED_AT = 50
# Files that are alike are no copies of one another where these tell them apart.
_KEY_FIELDS = frozenset({"provider", "id", "condition"})

# Names that columns often have, for a first guess at a mapping. Never applied unasked.
_USUAL_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "provider": ("provider", "vendor", "endpoint", "host", "model", "model_name", "model_id", "llm"),
    "prompt": ("prompt", "question", "query", "input", "instruction", "problem", "messages"),
    "text": (
        "response",
        "answer",
        "output",
        "completion",
        "text",
        "generation",
        "prediction",
        "content",
        "raw_response",
    ),
    "repeat": ("run", "repeat", "trial", "epoch", "repetition", "iteration", "sample", "run_id", "seed"),
    "expected": ("expected", "gt", "target", "ref_answer", "ground_truth", "reference", "label", "gold", "answer_key"),
}


# Columns that say how it was asked or how it ended, wherever they stand in a row.
_USUAL_SETTINGS: Sequence[tuple[str, tuple[str, ...]]] = (
    ("temperature", ("temperature", "temp")),
    ("top_p", ("top_p",)),
    ("max_tokens", ("max_tokens", "max_completion_tokens", "max_new_tokens", "max_output_tokens")),
    ("completion_tokens", ("completion_tokens", "output_tokens", "generated_tokens")),
    ("finish_reason", ("finish_reason", "stop_reason")),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _ImportPlan:
    """What is read, and how. `left_out` names files that turned out to be no table of these columns, and why."""

    source: Source
    recipe: Recipe
    rows: RowReader
    files: tuple[RecordFile, ...]
    left_out: dict[str, str] = field(default_factory=dict)

    def answers(
        self, progress: Callable[[int], None], needs: Callable[[], Collection[str]] | None = None
    ) -> Iterator[ForeignAnswer]:
        """Every answer, file by file; of fields that `needs` does not name (it may change) nothing is read.

        Raises ExchangeError at the first row that cannot be read.
        """
        number = 0
        for file in self.files:
            columns, rows = self._columns(file), self._rows_of_table(file)
            if rows is None:
                continue
            reader = AnswerReader(self.recipe, FilePlace(name=file.name, around=self.source.around, columns=columns))
            for row in rows:
                if needs is not None:
                    reader.narrow(needs())
                for answer in reader.answers(row):
                    number += 1
                    if number % _PROGRESS_ROWS == 0:
                        progress(number)
                    yield answer

    def _rows_of_table(self, file: RecordFile) -> Iterator[Row] | None:
        """A file's rows; None of a file among several that is no table, or has none of the mapped columns."""
        if len(self.files) == 1 or self.recipe.format:
            return self.rows(file)
        if file.name in self.left_out:
            return None
        rows = self.rows(file)
        try:
            columns = self._columns(file)
            head = [] if columns is not None else list(islice(rows, _ROWS_LOOKED_AT))
        except NoTableError as problem:
            self.left_out[file.name] = str(problem).removeprefix(f"{file.name}: ")
            return None
        known = [columns] if columns is not None else [tuple(row.cells) for row in head]
        if known and not any(self._has_mapped_column(names) for names in known):
            shown = ", ".join(known[0][:8]) or "none"
            self.left_out[file.name] = f"has none of the columns that the mapping names, but {shown}"
            return None
        return chain(head, rows)

    def _has_mapped_column(self, names: Collection[str]) -> bool:
        """Whether any field's column is there; a mapping that names none asks for none."""
        wanted = {c for e in self.recipe.fields.values() for c in e.columns if not c.startswith("@")}
        return not wanted or any(c in names or ("*" in c and any(fnmatchcase(n, c) for n in names)) for c in wanted)

    def _columns(self, file: RecordFile) -> tuple[str, ...] | None:
        """What a table's header promises; a format's reader adds columns of its own to it."""
        return None if self.recipe.format else table_reading.read_column_names(file)


def import_records(
    source: Path,
    *,
    results: Path,
    recipe: Recipe,
    inputs: Path | None = None,
    name: str | None = None,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, int], None] = lambda phase, rows: None,
) -> Path:
    """Import a file, folder or archive as a new run folder under `results`, and give its path.

    `recipe` is the user's mapping, which goes before a format's own; without a format the one that
    is unmistakable is taken. `inputs` is a file with the requests, where the format has one. `say`
    gets each note, `progress` the rows so far. Raises ExchangeError with one line for each reason
    why the import would yield a false figure, or cannot be done.
    """
    try:
        with _no_collection():
            survey, path = _import_source(source, results, recipe, inputs, name, progress)
    except ExchangeError as problem:
        raise ExchangeError(_make_printable(str(problem))) from None
    for note in (_summarize_import(survey), *survey.notes):
        say(note)
    return path


@contextmanager
def _no_collection() -> Iterator[None]:
    """Rows make no cycles: looking for them among millions of values costs time and finds none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _import_source(
    source: Path,
    results: Path,
    recipe: Recipe,
    inputs: Path | None,
    name: str | None,
    progress: Callable[[str, int], None],
) -> tuple[Survey, Path]:
    as_texts = CONTENT_COLUMN in recipe.fields["text"].paths if "text" in recipe.fields else False
    with (
        sources.open_source(source, only=recipe.only, as_texts=as_texts, tell=progress) as found,
        ExitStack() as opened,
    ):
        plan, notes = _plan_import(found, recipe, inputs)
        survey, append = _survey_plan(plan, recipe, progress, opened)
        told = (*notes, *_describe_left_out(plan), *survey.notes)
        survey = replace(survey, notes=tuple(map(_make_printable, told)))
        path = run_writing.write_run(
            append,
            survey,
            plan.recipe,
            found,
            results=results,
            name=name,
        )
    return survey, path


def _make_printable(text: str) -> str:
    """Names and values of foreign files stand in lines for a terminal: what would command it is shown as an escape."""
    return "".join(
        sign if sign == "\n" or sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def _summarize_import(survey: Survey) -> str:
    keys = survey.keys
    numbers = (len(keys.providers), len(keys.questions), len(keys.conditions))
    names = ("provider", "prompt", "condition")
    parts = [f"{n} {name}{'' if n == 1 else 's'}" for n, name in zip(numbers, names, strict=True)]
    return f"imported: {survey.answers} rows, {', '.join(parts)}"


def _plan_import(source: Source, recipe: Recipe, inputs: Path | None) -> tuple[_ImportPlan, list[str]]:
    notes = list(source.notices)
    by_hand = recipe.format is None and "text" in recipe.fields and "provider" in recipe.fields
    chosen = None if by_hand else formats.choose_format(source.files, recipe.format)
    rows: RowReader
    if chosen is None:
        if not recipe.fields:
            raise ExchangeError(_explain_no_mapping(source))
        full, rows, files = recipe.checked(), partial(_read_by_hand, at=recipe.rows_at), source.files
    else:
        full = merge_recipes(chosen.recipe, recipe).checked()
        rows, files = chosen.format.rows((*chosen.records, *chosen.beside), inputs), chosen.records
        notes.append(f"format: {chosen.format.name} ({chosen.format.about})")
        if chosen.others:
            names = ", ".join(f.name for f in chosen.others[:3])
            notes.append(f"left out: {len(chosen.others)} files that are not in that format ({names})")
    if full.where:
        notes.append(f"only rows with {' and '.join(w.written for w in full.where)}")
    _refuse_copies(files, full)
    empty = [f for f in files if f.path.stat().st_size == 0]
    if empty:
        files = tuple(f for f in files if f not in empty)
        if not files:
            raise ExchangeError(f"{sources.name_some([f.name for f in empty])}: nothing stands in there")
        notes.append(f"left out: {len(empty)} empty files ({', '.join(f.name for f in empty[:3])})")
    return _ImportPlan(source=source, recipe=full, rows=rows, files=files), notes


def _read_by_hand(file: RecordFile, at: str) -> Iterator[Row]:
    """The rows of a file as its user's mapping speaks of them."""
    return read_eval_rows(file) if file.kind == "eval" else table_reading.read_rows(file, at=at)


def _describe_left_out(plan: _ImportPlan) -> Iterator[str]:
    """Which files were no table, each reason once; what could be done about it only where that is all of them."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in plan.left_out.items():
        reason = reason if len(plan.left_out) == len(plan.files) else reason.partition("; ")[0]
        by_reason.setdefault(reason, []).append(name)
    return (f"left out: {sources.name_some(names)}: {reason}" for reason, names in by_reason.items())


def _speaks_of_files_only(expression: Expression) -> bool:
    return bool(expression.paths) and set(expression.paths) <= set(
        FilePlace(name="", around="", columns=None).constants()
    )


def _holds_rows(file: RecordFile) -> bool:
    try:
        return next(_read_by_hand(file, ""), None) is not None
    except NoTableError:
        return False


def _refuse_copies(files: Sequence[RecordFile], recipe: Recipe) -> None:
    """The same file twice would count as repeats that agree perfectly, where rows are numbered in order."""
    if "repeat" in recipe.fields:
        return
    seen: dict[tuple[object, ...], str] = {}
    by_name = [e for name, e in recipe.fields.items() if name in _KEY_FIELDS and _speaks_of_files_only(e)]
    for file in files:
        place = FilePlace(name=file.name, around="", columns=None)
        told_apart = tuple(bind_expression(e, "--map", place)({}) for e in by_name)
        first = seen.setdefault((file.sha256, *told_apart), file.name)
        if first != file.name and _holds_rows(file):
            raise ExchangeError(
                f"{file.name}: is {first} byte for byte; a copy would count as a repeat that agrees perfectly. Leave "
                "one out with --only, or say that each file is a repeat: --map repeat=@path"
            )


def _survey_plan(
    plan: _ImportPlan, recipe: Recipe, progress: Callable[[str, int], None], opened: ExitStack
) -> tuple[Survey, Callable[[RunWriter], object]]:
    """What the files hold, and what appends it to a run; `opened` is left behind when that has been done.

    In batches where that can be, else row by row: whatever is refused is refused there, in its words.
    """

    def tell(rows: int) -> None:
        progress("writing", rows)

    try:
        table = PlainTable(plan.recipe, plan.files, plan.source.around, size=_PROGRESS_ROWS)
        opened.callback(table.close)
        found = table.survey(recipe.fields, lambda rows: progress("reading", rows))
    except (UnfitForBatchesError, ExchangeError):
        opened.close()
        survey = _survey_answers(plan, recipe, progress)
        answers = plan.answers(tell)
        return survey, lambda writer: writer.append_many(run_writing.import_attempts(answers, survey, plan.recipe))
    return found.survey, lambda writer: writer.append_encoded(ATTEMPT_FORM, found.attempts(tell))


def _survey_answers(plan: _ImportPlan, recipe: Recipe, progress: Callable[[str, int], None]) -> Survey:
    surveyor = Surveyor(plan.recipe, mapped=recipe.fields)
    for answer in plan.answers(lambda rows: progress("reading", rows), lambda: surveyor.needs):
        surveyor.see(answer)
    if len(plan.left_out) == len(plan.files):
        raise ExchangeError("\n".join(_describe_left_out(plan)))

    def find(wanted: Collection[int]) -> Mapping[int, ForeignAnswer]:
        keys, first = surveyor.keys, {}
        keys.restart()
        for answer in plan.answers(lambda rows: None):
            packed = keys.of(answer).packed
            if packed in wanted and packed not in first:
                first[packed] = answer
        return first

    return surveyor.finish(find)


def _explain_no_mapping(source: Source) -> str:
    """What a first look at the files finds, as a mapping that can be used: of the file in which most is found."""
    file, columns, guess = max(_look_at_tables(source), key=lambda found: len(found[2]))
    guess += _guess_from_names(source, {g.partition("=")[0] for g in guess})
    hint = f"; perhaps --map {quote_for_shell(','.join(guess))}" if guess else ""
    shown = ", ".join(columns[:30]) or "none"
    return f"{file.name}: in no known format, so say what its columns hold with --map. Columns: {shown}{hint}"


def _look_at_tables(source: Source) -> list[tuple[RecordFile, list[str], list[str]]]:
    """Of the first files that hold rows: the file, its columns, and what is guessed of them. Raises ExchangeError."""
    problem: NoTableError | None = None
    found = []
    for file in source.files[:_FILES_LOOKED_AT]:
        try:
            row = next(_read_by_hand(file, ""), None)
        except NoTableError as none:
            problem = problem or none
            continue
        cells = {} if row is None else row.cells
        columns = list(table_reading.read_column_names(file) or cells)
        found.append((file, columns, _guess_mapping(columns, cells)))
    if problem is not None and not found:
        raise problem
    return found


def _guess_mapping(columns: Sequence[str], cells: Cells) -> list[str]:
    guess = [f"{field}={name}" for field, names in _USUAL_COLUMNS.items() if (name := _guess_column(columns, names))]
    inside = {path.rpartition(".")[2].lower(): path for path, _ in flatten_cells(cells, ())}
    inside |= {name.lower(): name for name in columns}
    settings = ((field, next((inside[n] for n in names if n in inside), None)) for field, names in _USUAL_SETTINGS)
    return guess + [f"{field}={path}" for field, path in settings if path is not None]


def _guess_from_names(source: Source, known: Collection[str]) -> list[str]:
    """What the names of the files tell apart: who answered, or how it was asked."""
    parts = [find_path_parts(file.name) for file in source.files]
    varying = {n: p for one in parts for n, p in one.items() if len({o[n].value for o in parts if n in o}) > 1}
    guess = []
    if "provider" not in known and WORDS in varying:
        folders = {file.name.rpartition("/")[0] for file in source.files}
        guess.append("provider=@folder" if len(folders) > 1 else "provider=@stem")
    settings = [part.found_by for part in varying.values() if part.setting]
    return guess + [f"condition={found_by}" for found_by in settings[:1]]


def _guess_column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    lower = {c.lower(): c for c in reversed(columns)}
    return next((lower[n] for n in names if n in lower), None)
