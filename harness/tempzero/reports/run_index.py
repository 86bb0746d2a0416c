"""A folder of run folders in, one page that lists them out: run, date, prompts, verdicts, and links to the reports."""

from __future__ import annotations

from pathlib import Path

from tempzero.errors import UsageError
from tempzero.records.files import write_atomically
from tempzero.reports import html
from tempzero.reports.listed_runs import read_listed_run

MOST_RUNS = 5_000
_PAGE, _MANIFEST = "index.html", "manifest.json"


def write_run_index(folder: Path) -> Path:
    """Write `index.html` into a folder of runs, newest run first; give its path.

    Raises UsageError where the folder holds no run, or cannot be read or written.
    """
    try:
        found = sorted(one for one in folder.iterdir() if (one / _MANIFEST).is_file())[-MOST_RUNS:]
    except OSError as error:
        raise UsageError(f"{folder}: cannot be read: {error.strerror}; name a folder that holds run folders") from None
    if not found:
        raise UsageError(f"{folder}: no run folder in it; `tempzero run` writes one to results/")
    runs = sorted(map(read_listed_run, found), key=lambda run: (run.created_at, run.name), reverse=True)
    page = folder / _PAGE
    try:
        write_atomically(page, html.render_run_index(runs, title=folder.resolve().name).encode())
    except OSError as error:
        raise UsageError(f"{page}: cannot be written: {error.strerror}") from None
    return page
