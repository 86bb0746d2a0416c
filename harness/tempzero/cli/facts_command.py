"""facts: run folders in, Parquet files beside their records out; and the answer to one query over all of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tempzero.errors import RunFolderError, UsageError


def facts(
    folder: Annotated[
        str, typer.Argument(help="A run folder, or a folder that holds run folders; or its URL.")
    ] = "results",
    sql: Annotated[str, typer.Option(help="A query over the tables facts, texts and runs; prints CSV.")] = "",
) -> int:
    """Write what is counted of each response as Parquet (extra `scale`), and ask it in SQL, over all nights at once."""
    import csv

    from tempzero.analysis.run_facts import query_facts
    from tempzero.config.store_address import find_place
    from tempzero.records.store import fetch_facts

    place = find_place(folder)
    fetch_facts(place)
    runs = _find_run_folders(place)
    asked = [run for run in runs if _bring_facts(run, alone=len(runs) == 1)]
    if sql:
        names, rows = query_facts(asked, sql)
        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow(map(_guard_cell, names))
        table.writerows(map(_guard_cell, row) for row in rows)
    return 0


def _bring_facts(run: Path, *, alone: bool) -> bool:
    """Make a run's facts where they are missing; give whether it has some now. Raises what is wrong if it is alone."""
    from tempzero import records
    from tempzero.analysis.run_facts import has_facts, make_facts
    from tempzero.cli.progress import progress_bar
    from tempzero.config.store_address import describe_place, name_stored_places
    from tempzero.records.store import fetch_run, put_folder

    try:
        opened = records.open_run(run)
        if has_facts(opened):
            return True
        fetch_run(run)
        with progress_bar() as tell:
            make_facts(records.open_run(run), tell)
    except (UsageError, RunFolderError) as problem:
        if alone:
            raise
        print(f"skipped: {name_stored_places(str(problem))}", file=sys.stderr)
        return False
    put_folder(run)
    print(f"written: {describe_place(run)}/facts, {describe_place(run)}/texts", file=sys.stderr)
    return True


def _guard_cell(value: object) -> object:
    """What a model wrote must not act in a spreadsheet."""
    from tempzero.exchange.formats.tidy import guard_formula

    return guard_formula(value) if isinstance(value, str) else value


def _find_run_folders(folder: Path) -> list[Path]:
    """The folder itself, or all run folders in it, by name. Raises UsageError where there is none."""
    from tempzero.records import MANIFEST

    if (folder / MANIFEST).is_file():
        return [folder]
    found = sorted(file.parent for file in folder.glob(f"*/{MANIFEST}"))
    if not found:
        raise UsageError(f"{folder}: no run folder, and none in it")
    return found
