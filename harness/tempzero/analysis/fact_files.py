"""The counts of a part of the records in, Parquet files of them out, and back: for SQL, and for reports to start from.

A part has three files. `facts/part-00001.parquet`: a row for each record, who was asked what and how it ended by name,
the rest as numbers. `texts/part-00001.parquet`: its distinct answers, whole and by part. `facts/part-00001.json`: what
else those numbers stand for. They are read by DuckDB, of the extra `scale`. Nothing in them is run or unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from tempzero.analysis.part_counts import (
    INTEGER_COLUMNS,
    LARGEST_TOKENS,
    NOT_SAID,
    SECONDS_COLUMNS,
    STATUS_NAMES,
    Columns,
    CountedText,
    CountingSetting,
    FailedAttempts,
    Flagged,
    PartCounts,
    narrow_numbers,
)
from tempzero.answers.answer_parts import AnswerParts
from tempzero.errors import RunFolderError, UsageError
from tempzero.records.files import write_atomically
from tempzero.types.asked import Trial
from tempzero.types.concluded import FailureKind
from tempzero.types.recorded import Flag

FACTS, TEXTS = "facts", "texts"

# Kept by name beside the numbers, so that a query over many runs needs no other file.
_NAMED = {"provider": "providers", "condition": "conditions", "prompt": "prompts"}
_NUMBER = "_number"
# What every record has; of the other numbers -1 says that there is none.
_ALWAYS_SAID = frozenset({"provider", "condition", "prompt", "repeat", "number", "status", "request"})


class _FailedRow(msgspec.Struct, frozen=True, kw_only=True):
    provider: str
    kind: FailureKind
    count: int
    prompts: list[int]
    said: str


class _FlaggedRow(msgspec.Struct, frozen=True, kw_only=True):
    provider: str
    condition: str
    flag: Flag
    count: int
    answered: bool
    trials: list[Trial]


class _PartNames(msgspec.Struct, frozen=True, kw_only=True):
    """What the numbers of a part stand for, but for its texts."""

    records: int
    conditions: tuple[str, ...]
    spelled: tuple[tuple[int, str, bool], ...]
    finish_reasons: tuple[str, ...]
    identities: tuple[tuple[str | None, str | None, str | None], ...]
    requests: tuple[str, ...]
    bits: tuple[tuple[int, str, tuple[int, ...] | None], ...]
    limits: tuple[tuple[int, tuple[int, ...]], ...]
    failures: tuple[_FailedRow, ...]
    flagged: tuple[_FlaggedRow, ...]


def load_duckdb() -> Any:
    """The package. Raises UsageError where it is not installed."""
    try:
        import duckdb  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        raise UsageError("facts are written and read by DuckDB: pip install 'tempzero[scale]'") from None
    return duckdb


def connect_duckdb() -> Any:
    """A database in memory that keeps the order of rows."""
    connection = load_duckdb().connect()
    connection.execute("SET preserve_insertion_order=true; SET enable_progress_bar=false")
    return connection


def write_part_facts(folder: Path, name: str, counts: PartCounts, setting: CountingSetting) -> None:
    """Write the three files of one part (`name`: part-00001) below a run folder. Raises UsageError."""
    connection = connect_duckdb()
    _copy_out(connection, _facts_frame(counts, setting), folder / FACTS / f"{name}.parquet")
    _copy_out(connection, _texts_frame(counts, setting), folder / TEXTS / f"{name}.parquet")
    names = _PartNames(
        records=counts.records,
        conditions=counts.conditions,
        spelled=counts.spelled,
        finish_reasons=counts.finish_reasons,
        identities=counts.identities,
        requests=counts.requests,
        bits=counts.bits,
        limits=tuple((number, tuple(sorted(limits))) for number, limits in counts.limits.items()),
        failures=tuple(
            _FailedRow(provider=provider, kind=kind, count=f.count, prompts=sorted(f.prompts), said=f.said)
            for (provider, kind), f in counts.failures.items()
        ),
        flagged=tuple(
            _FlaggedRow(
                provider=provider,
                condition=condition,
                flag=flag,
                count=f.count,
                answered=f.answered,
                trials=f.trials,
            )
            for (provider, condition, flag), f in counts.flagged.items()
        ),
    )
    write_atomically(folder / FACTS / f"{name}.json", msgspec.json.encode(names) + b"\n", lasting=False)


def read_part_facts(folder: Path, name: str, setting: CountingSetting) -> PartCounts:
    """The counts that were written of one part. Raises RunFolderError where they are damaged, and UsageError."""
    file = folder / FACTS / f"{name}.json"
    duckdb = load_duckdb()
    try:
        names = msgspec.json.decode(file.read_bytes(), type=_PartNames)
        connection = connect_duckdb()
        columns = _read_columns(connection, folder / FACTS / f"{name}.parquet")
        texts, parts = _read_texts(connection, folder / TEXTS / f"{name}.parquet", setting)
        _require_numbers(columns, names, len(texts), setting)
    except (OSError, ValueError, msgspec.MsgspecError, duckdb.Error) as error:
        raise RunFolderError(
            f"{file.with_suffix('')}: damaged ({str(error).splitlines()[0]}); "
            f"remove {folder / FACTS} and make it anew with `tempzero facts {folder}`"
        ) from None
    failures, flagged = dict[tuple[str, FailureKind], FailedAttempts](), dict[tuple[str, str, Flag], Flagged]()
    for row in names.failures:
        failures[row.provider, row.kind] = FailedAttempts(row.count, set(row.prompts), row.said)
    for odd in names.flagged:
        flagged[odd.provider, odd.condition, odd.flag] = Flagged(odd.count, odd.trials, answered=odd.answered)
    return PartCounts(
        columns=columns,
        conditions=names.conditions,
        texts=texts,
        spelled=names.spelled,
        finish_reasons=names.finish_reasons,
        identities=names.identities,
        requests=names.requests,
        bits=names.bits,
        parts=parts,
        limits={number: frozenset(limits) for number, limits in names.limits},
        failures=failures,
        flagged=flagged,
        prompts=(),
    )


def _facts_frame(counts: PartCounts, setting: CountingSetting) -> pd.DataFrame:
    known: dict[str, list[str]] = {
        "provider": list(setting.providers),
        "condition": list(counts.conditions),
        "prompt": [prompt.id for prompt in setting.prompts],
        "status": list(STATUS_NAMES),
    }
    frame = pd.DataFrame(
        {name: pd.Categorical.from_codes(counts.columns[name], categories=pd.Index(known[name])) for name in known}
    )
    for name in (*INTEGER_COLUMNS, *SECONDS_COLUMNS):
        frame[f"{name}{_NUMBER}" if name in known else name] = counts.columns[name]
    for at, name in enumerate(("served_model", "backend", "fingerprint")):
        values = [identity[at] for identity in counts.identities]
        frame[name] = pd.Categorical(values)[counts.columns["identity"]] if any(values) else None
        frame.loc[counts.columns["identity"] == NOT_SAID, name] = None
    return frame


def _texts_frame(counts: PartCounts, setting: CountingSetting) -> pd.DataFrame:
    by = [one.cut_by for one in counts.texts]
    shown = [counts.parts.get(number) for number in range(len(counts.texts))]
    return pd.DataFrame(
        {
            "text": np.arange(len(counts.texts)),
            "prompt": pd.Series([setting.prompts[one.prompt].id for one in counts.texts], dtype=object),
            "prompt_number": np.array([one.prompt for one in counts.texts], dtype=np.int64),
            "answer": pd.Series([one.text for one in counts.texts], dtype=object),
            "whole": np.array([one.whole for one in counts.texts], dtype=bool),
            "cut_by_request": pd.Series([one if isinstance(one, str) else None for one in by], dtype=object),
            "cut_by_provider": np.array([one[0] if isinstance(one, tuple) else NOT_SAID for one in by], dtype=np.int64),
            "cut_by_condition": pd.Series([one[1] if isinstance(one, tuple) else None for one in by], dtype=object),
            "has_parts": np.array([one is not None for one in shown], dtype=bool),
            **{
                f"part_{name}": pd.Series([None if one is None else getattr(one, name) for one in shown], dtype=object)
                for name in ("reasoning", "text", "calls", "refusal")
            },
        }
    )


def _copy_out(connection: Any, frame: pd.DataFrame, file: Path) -> None:
    """Write a table as Parquet, whole or not at all."""
    file.parent.mkdir(exist_ok=True)
    beside = file.with_name(f".{file.name}.tmp")
    connection.register("frame", frame)
    try:
        for name in frame.columns[frame.isna().all()]:  # a column of nothing has no type of its own
            frame[name] = frame[name].astype("string")
        connection.execute(f"COPY frame TO {_quote_path(beside)} (FORMAT parquet, COMPRESSION zstd)")
        beside.replace(file)
    finally:
        connection.unregister("frame")
        beside.unlink(missing_ok=True)


def _quote_path(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _read_columns(connection: Any, file: Path) -> Columns:
    wanted = [
        *(f"COALESCE({n}{_NUMBER if n in (*_NAMED, 'status') else ''}::BIGINT, -2) AS {n}" for n in INTEGER_COLUMNS),
        *(f"COALESCE({name}::DOUBLE, 'nan'::DOUBLE) AS {name}" for name in SECONDS_COLUMNS),
    ]
    connection.execute(f"SELECT {', '.join(wanted)} FROM read_parquet(?)", [str(file)])
    found = connection.fetchnumpy()
    columns: Columns = {name: narrow_numbers(np.asarray(found.pop(name))) for name in INTEGER_COLUMNS}
    return columns | {name: np.asarray(found.pop(name), dtype=np.float64) for name in SECONDS_COLUMNS}


def _read_texts(
    connection: Any, file: Path, setting: CountingSetting
) -> tuple[tuple[CountedText, ...], dict[int, AnswerParts]]:
    rows = connection.execute(
        "SELECT prompt_number::BIGINT, answer::VARCHAR, whole::BOOLEAN, cut_by_request::VARCHAR, "
        "cut_by_provider::BIGINT, cut_by_condition::VARCHAR, has_parts::BOOLEAN, part_reasoning::VARCHAR, "
        "part_text::VARCHAR, part_calls::VARCHAR, part_refusal::VARCHAR FROM read_parquet(?) ORDER BY text",
        [str(file)],
    ).fetchall()
    texts, parts = list[CountedText](), dict[int, AnswerParts]()
    for prompt, answer, whole, request, provider, condition, has_parts, reasoning, text, calls, refusal in rows:
        if prompt is None or not 0 <= prompt < len(setting.prompts):
            raise ValueError(f"a text of prompt {prompt}, of {len(setting.prompts)}")
        if answer is None or whole is None:
            raise ValueError("a text without letters or end")
        by = (provider, condition) if condition is not None else request
        if has_parts:
            parts[len(texts)] = AnswerParts(reasoning=reasoning, text=text, calls=calls, refusal=refusal)
        texts.append(CountedText(prompt, answer, whole, by))
    return tuple(texts), parts


def _require_numbers(columns: Columns, names: _PartNames, texts: int, setting: CountingSetting) -> None:
    """Every number must stand for something. Raises ValueError."""
    limits = {
        "provider": len(setting.providers),
        "condition": len(names.conditions),
        "prompt": len(setting.prompts),
        "status": len(STATUS_NAMES),
        "text": texts,
        "spelled": len(names.spelled),
        "finish": len(names.finish_reasons),
        "identity": len(names.identities),
        "request": len(names.requests),
        "bits": len(names.bits),
    }
    for name in INTEGER_COLUMNS:
        least, limit, column = (
            0 if name in _ALWAYS_SAID else NOT_SAID,
            limits.get(name, LARGEST_TOKENS + 1),
            columns[name],
        )
        if column.size != names.records:
            raise ValueError(f"{column.size} rows, not {names.records}")
        if column.size and not (least <= column.min() and column.max() < limit):
            raise ValueError(f"{name}: numbers from {column.min()} to {column.max()}, of {limit}")
    if not all(0 <= number < texts for number, _ in names.limits):
        raise ValueError(f"limits of texts that are none, of {texts}")
    if not all(0 <= one[0] < len(setting.prompts) for one in (*names.spelled, *names.bits)):
        raise ValueError(f"answers to prompts that are none, of {len(setting.prompts)}")
