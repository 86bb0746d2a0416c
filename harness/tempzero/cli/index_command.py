"""index: a folder of run folders in, a page that lists them out."""

from __future__ import annotations

from typing import Annotated

import typer


def index(
    folder: Annotated[str, typer.Argument(help="A folder that holds run folders, or its URL.")] = "results",
) -> int:
    """Write index.html into a folder of runs: run, date, prompts, verdicts, and links to the reports."""
    from tempzero.config.store_address import describe_place, find_place
    from tempzero.records.store import fetch_overview, put_page, put_runs
    from tempzero.reports.run_index import write_run_index

    place = find_place(folder)
    fetch_overview(place, reports=True)
    page = write_run_index(place)
    put_runs(place)
    put_page(page)
    print(f"{describe_place(place)}/{page.name}")
    return 0
