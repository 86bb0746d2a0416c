"""facts: run folders in, Parquet files beside their records out; and the answer to one query over all of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tempzero.errors import UsageError


def facts(
    folder: Annotated[Path, typer.Argument(help="A run folder, or a folder that holds run folders.")] = Path("results"),
    sql: Annotated[str, typer.Option(help="A query over the tables facts, texts and runs; prints CSV.")] = "",
) -> int:
    """Write what is counted of each response as Parquet (extra `scale`), and ask it in SQL, over all nights at once."""
    import csv

    import tempzero
    from tempzero.analysis.run_facts import make_facts, query_facts
    from tempzero.cli.progress import progress_bar

    runs = _find_run_folders(folder)
    for run in runs:
        try:
            with progress_bar() as tell:
                made = make_facts(tempzero.open_run(run), tell)
            if made:
                print(f"written: {run / 'facts'}, {run / 'texts'}", file=sys.stderr)
        except UsageError as problem:
            if len(runs) == 1:
                raise
            print(f"skipped: {problem}", file=sys.stderr)
    if sql:
        names, rows = query_facts(runs, sql)
        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow(names)
        table.writerows(rows)
    return 0


def _find_run_folders(folder: Path) -> list[Path]:
    """The folder itself, or all run folders in it, by name. Raises UsageError where there is none."""
    from tempzero.records import MANIFEST

    if (folder / MANIFEST).is_file():
        return [folder]
    found = sorted(file.parent for file in folder.glob(f"*/{MANIFEST}"))
    if not found:
        raise UsageError(f"{folder}: no run folder, and none in it")
    return found
