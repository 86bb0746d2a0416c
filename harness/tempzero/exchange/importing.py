"""A source and a Recipe in, a run folder out: surveyed whole first, then written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tempzero.errors import ExchangeError
from tempzero.exchange import formats, run_writing, sources, table_reading
from tempzero.exchange.expressions import FilePlace
from tempzero.exchange.foreign_answers import AnswerReader, ForeignAnswer
from tempzero.exchange.formats.format import RowReader
from tempzero.exchange.recipe import Recipe, merge_recipes
from tempzero.exchange.sources import RecordFile, Source
from tempzero.exchange.survey import Survey, Surveyor

_PROGRESS_ROWS = 20_000

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


@dataclass(frozen=True, kw_only=True, slots=True)
class _ImportPlan:
    """What is read, and how."""

    source: Source
    recipe: Recipe
    rows: RowReader
    files: tuple[RecordFile, ...]

    def answers(
        self, progress: Callable[[int], None], needs: Callable[[], Collection[str]] | None = None
    ) -> Iterator[ForeignAnswer]:
        """Every answer, file by file; of fields that `needs` does not name (it may change) nothing is read.

        Raises ExchangeError at the first row that cannot be read.
        """
        number = 0
        for file in self.files:
            place = FilePlace(name=file.name, around=self.source.around, columns=self._columns(file))
            reader = AnswerReader(self.recipe, place)
            for row in self.rows(file):
                if needs is not None:
                    reader.narrow(needs())
                for answer in reader.answers(row):
                    number += 1
                    if number % _PROGRESS_ROWS == 0:
                        progress(number)
                    yield answer

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
    with sources.open_source(source, only=recipe.only) as found:
        plan, notes = _plan_import(found, recipe, inputs)
        survey = _survey_answers(plan, recipe, progress)
        survey = replace(survey, notes=(*notes, *survey.notes))
        path = run_writing.write_run(
            plan.answers(lambda rows: progress("writing", rows)),
            survey,
            plan.recipe,
            found,
            results=results,
            name=name,
        )
    for note in (_summarize_import(survey), *survey.notes):
        say(note)
    return path


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
        full, rows, files = recipe.checked(), partial(table_reading.read_rows, at=recipe.rows_at), source.files
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
        notes.append(f"left out: {len(empty)} empty files ({', '.join(f.name for f in empty[:3])})")
    return _ImportPlan(source=source, recipe=full, rows=rows, files=files), notes


def _refuse_copies(files: Sequence[RecordFile], recipe: Recipe) -> None:
    """The same file twice would count as repeats that agree perfectly, where rows are numbered in order."""
    if "repeat" in recipe.fields:
        return
    seen: dict[str, str] = {}
    for file in files:
        first = seen.setdefault(file.sha256, file.name)
        if first != file.name and table_reading.read_first_row(file) is not None:
            raise ExchangeError(
                f"{file.name}: is {first} byte for byte; a copy would count as a repeat that agrees perfectly. Leave "
                "one out with --only, or say that each file is a repeat: --map repeat=@path"
            )


def _survey_answers(plan: _ImportPlan, recipe: Recipe, progress: Callable[[str, int], None]) -> Survey:
    surveyor = Surveyor(plan.recipe, mapped=recipe.fields)
    for answer in plan.answers(lambda rows: progress("reading", rows), lambda: surveyor.needs):
        surveyor.see(answer)

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
    file = source.files[0]
    row = table_reading.read_first_row(file)
    columns = list(table_reading.read_column_names(file) or (row.cells if row else ()))
    guess = [f"{field}={name}" for field, names in _USUAL_COLUMNS.items() if (name := _guess_column(columns, names))]
    hint = f"; perhaps --map {','.join(guess)}" if guess else ""
    shown = ", ".join(columns[:30]) or "none"
    return f"{file.name}: in no known format, so say what its columns hold with --map. Columns: {shown}{hint}"


def _guess_column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    lower = {c.lower(): c for c in reversed(columns)}
    return next((lower[n] for n in names if n in lower), None)
