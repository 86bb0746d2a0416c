"""index: a folder of run folders in, a page that lists them out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def index(
    folder: Annotated[Path, typer.Argument(help="A folder that holds run folders.")] = Path("results"),
) -> int:
    """Write index.html into a folder of runs: run, date, prompts, verdicts, and links to the reports."""
    from tempzero.reports.run_index import write_run_index

    print(write_run_index(folder))
    return 0
