"""A changed provider's runs in, an evidence bundle out: tonight's records beside the baseline's."""

from __future__ import annotations

from pathlib import Path

from tempzero import claims, records
from tempzero.config import Setting
from tempzero.errors import RunFolderError, StoreError, UsageError
from tempzero.nightly.history import Baseline
from tempzero.records import Run
from tempzero.records.files import write_atomically
from tempzero.records.store import fetch_folder

EVIDENCE = "evidence"


def prove_change(setting: Setting, night: str, tonight: Run, baseline: Baseline) -> tuple[Path | None, str]:
    """The bundle's path, or None and why there is none. Written once; a night decided again finds it there."""
    path = setting.results / "history" / EVIDENCE / f"{night}-{baseline.provider}.zip"
    if path.is_file():
        return path, ""
    try:
        for side in baseline.sides:
            fetch_folder(setting.results / side.run)
        before = [records.open_run(setting.results / side.run) for side in baseline.sides]
        accusation = claims.accuse_by_rule("changed", baseline.provider)
        bundle = claims.make_bundle(tonight, accusation, environ=setting.environ, before=before)
    except (UsageError, RunFolderError, StoreError) as reason:
        return None, f"no evidence bundle: {reason}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, bundle.packed())
    return path, ""
