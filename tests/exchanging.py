"""Foreign files for tests of import and export, and runs made of them."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tempzero import exchange, records
from tempzero.analysis import analyse
from tempzero.answers.chat_messages import to_answer_text
from tempzero.errors import ExchangeError
from tempzero.records import Run
from tempzero.types.recorded import RecordView

MAP = "provider=model,prompt=question,text=answer"


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_jsonl(path: Path, rows: Iterable[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(model: str = "a", question: str = "q0", answer: Any = "yes", **more: Any) -> dict[str, Any]:
    return {"model": model, "question": question, "answer": answer, **more}


def take_in(
    source: Path, *maps: str, notes: list[str] | None = None, inputs: Path | None = None, **options: Any
) -> Run:
    """Import `source` into a run folder beside it, and open that."""
    recipe = exchange.recipe_from_options(maps=maps, **options)
    results = source.parent / "results"
    name = f"run{len(list(results.glob('*'))) if results.exists() else 0}"
    say = notes.append if notes is not None else lambda line: None
    path = exchange.import_records(source, results=results, recipe=recipe, inputs=inputs, name=name, say=say)
    return records.open_run(path)


def refused(source: Path, *maps: str, **options: Any) -> str:
    """The lines with which an import is refused; nothing may have been written."""
    before = list(source.parent.glob("results/*"))
    with pytest.raises(ExchangeError) as caught:
        take_in(source, *maps, **options)
    assert list(source.parent.glob("results/*")) == before
    return str(caught.value)


def views(run: Run) -> list[RecordView]:
    return list(run.views())


def keys_and_texts(run: Run) -> dict[tuple[str, str, str, int], str | None]:
    """What must survive any way out and back in."""
    found = {}
    for view in run.views():
        at = view.trial
        said = view.outcome.completion
        found[at.provider, at.prompt, at.condition, at.repeat] = to_answer_text(said) if said else None
    return found


def emr(run: Run, condition: str = "default") -> float | None:
    """How often two repeats of one provider are the same, under one condition."""
    found = [f for f in analyse(run).figures if (f.metric, f.condition, f.family) == ("emr", condition, None)]
    assert len(found) == 1
    return found[0].estimate.value


def ready(line: str, option: str) -> str:
    """The first ready line of that option in a refusal."""
    words = shlex.split(line.replace(", or", " , or").replace(", --", " , --"))
    return words[words.index(option) + 1].rstrip(",;")
