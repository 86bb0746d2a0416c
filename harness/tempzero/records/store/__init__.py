"""Run folders that belong to an object store in, the same in the store and back: written here first, put as they close.

bucket      one bucket: listing, getting, putting on a condition; its errors in one line that holds no key
known_files what the store is known to hold of a folder, on file beside it
lease       one machine at a time writes to a run
keeping     a folder and its place in the store, brought in step

Everything that tempzero reads or writes is a local folder; one under the spool stands for a place in a store (see
`config.store_address`). Whatever is not under the spool is left alone by every function here.
"""

from __future__ import annotations

from tempzero.records.store.keeping import (
    fetch_facts,
    fetch_folder,
    fetch_overview,
    fetch_run,
    fetch_runs,
    hold_writing,
    is_stored,
    put_folder,
    put_page,
    put_runs,
    remove_file,
    remove_folder,
    require_store,
)
from tempzero.records.store.lease import hold_lease

__all__ = [
    "fetch_facts",
    "fetch_folder",
    "fetch_overview",
    "fetch_run",
    "fetch_runs",
    "hold_lease",
    "hold_writing",
    "is_stored",
    "put_folder",
    "put_page",
    "put_runs",
    "remove_file",
    "remove_folder",
    "require_store",
]
