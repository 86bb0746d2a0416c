"""The built-in formats, and which of them a source is in.

To add one: a file here with a `Format`, its line below, its example under tests/exchange/formats/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tempzero.errors import ExchangeError
from tempzero.exchange import table_reading
from tempzero.exchange.expressions import suggest_name
from tempzero.exchange.formats.format import Format, Sample
from tempzero.exchange.formats.inspect_log import INSPECT
from tempzero.exchange.formats.llm_stability import LLM_STABILITY
from tempzero.exchange.formats.lm_eval import LM_EVAL
from tempzero.exchange.formats.openai_batch import OPENAI_BATCH
from tempzero.exchange.formats.promptfoo import PROMPTFOO
from tempzero.exchange.formats.tidy import TIDY
from tempzero.exchange.formats.vendor_verifier import VENDOR_VERIFIER
from tempzero.exchange.recipe import Recipe
from tempzero.exchange.sources import TABLES, RecordFile

FORMATS: Mapping[str, Format] = {
    found.name: found
    for found in (
        TIDY,  # what `tempzero export` writes
        LM_EVAL,  # lm-evaluation-harness --log_samples
        INSPECT,  # Inspect logs, .json and .eval
        PROMPTFOO,  # promptfoo eval --output results.json
        VENDOR_VERIFIER,  # K2-Vendor-Verifier, MiniMax-Provider-Verifier
        OPENAI_BATCH,  # output of OpenAI's Batch API
        LLM_STABILITY,  # llm-stability run files
    )
}

_HEAD_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenFormat:
    """The format, its mapping, the files that hold its records, those beside them, and all others."""

    format: Format
    recipe: Recipe
    records: tuple[RecordFile, ...]
    beside: tuple[RecordFile, ...]
    others: tuple[RecordFile, ...]


def choose_format(files: Sequence[RecordFile], name: str | None) -> ChosenFormat | None:
    """The format called `name`, or the one that is unmistakable; None when there is none such.

    Raises ExchangeError for an unknown name, two formats at once, or no file of the named one.
    """
    if name is not None and name not in FORMATS:
        raise ExchangeError(f'--format: there is none called "{name}"{suggest_name(name, FORMATS)}')
    samples = [take_sample(file) for file in files]
    wanted = [FORMATS[name]] if name else list(FORMATS.values())
    fitting = [f for f in wanted if any(f.recognises(s) for s in samples)]
    if not fitting:
        if name is None:
            return None
        raise ExchangeError(f"{files[0].name}: holds no records of --format {name} ({FORMATS[name].about})")
    if len(fitting) > 1:
        found = " and ".join(f.name for f in fitting)
        raise ExchangeError(f"{files[0].name}: holds {found}; choose one with --format, its files with --only")
    return _sort_files(fitting[0], samples)


def take_sample(file: RecordFile) -> Sample:
    """A look at a file, cheap even where it is large."""
    with file.path.open("rb") as raw:
        head = raw.read(_HEAD_BYTES)
    row = table_reading.read_first_row(file) if file.kind in TABLES else None
    cells = {} if row is None else dict(row.cells)
    return Sample(file=file, head=head, columns=frozenset(table_reading.read_column_names(file) or cells), row=cells)


def _sort_files(chosen: Format, samples: Sequence[Sample]) -> ChosenFormat:
    records = tuple(s.file for s in samples if chosen.recognises(s))
    beside = tuple(s.file for s in samples if s.file not in records and chosen.beside(s))
    others = tuple(s.file for s in samples if s.file not in records and s.file not in beside)
    exported_here = any(chosen.exported_here(s) for s in samples if s.file in records)
    recipe = chosen.recipe(exported_here=exported_here)
    return ChosenFormat(format=chosen, recipe=recipe, records=records, beside=beside, others=others)
