"""Making room: what proves something stays, and what is compressed is read as before."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from making import chain_file, make_attempt, make_config, make_manifest, make_suite, make_trial
from tempzero import records
from tempzero.errors import RunFolderError, UsageError
from tempzero.nightly import prune

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def make_run(results: Path, day: int, outcome: str = "pass", *, finished: bool = True) -> Path:
    settings, suite = make_config(["a"]), make_suite(2)
    manifest = replace(
        make_manifest(settings, suite, run_id=f"run-{day:02}"), created_at=f"2026-01-{day:02}T00:00:00+00:00"
    )
    path = records.create_run(results, manifest)
    with records.open_run_writer(path, now=manifest.created_at) as writer:
        writer.append_many(make_attempt(make_trial("a", f"p{i}")) for i in range(2))
        if finished:
            records.finish_session(path, writer, now=manifest.created_at)
    (path / "summary.json").write_text(json.dumps({"verdict": {"outcome": outcome}}))
    return path


def choose(results: Path, **limits: int | None) -> list[tuple[str, str]]:
    chosen: dict[str, Any] = {"older_than_days": None, "keep": None, **limits}
    found = prune.choose_runs(results, now=NOW, compress=False, **chosen)
    prune.prune_runs(results, found)
    return [(t.run, t.what) for t in found]


def test_findings_and_unfinished_runs_stay_and_the_rest_beyond_the_limit_goes(tmp_path: Path) -> None:
    """A finding whose evidence is gone is a rumour."""
    for day, outcome in enumerate(["pass", "finding", "pass", "pass"], start=1):
        make_run(tmp_path, day, outcome, finished=day != 3)
    assert choose(tmp_path, keep=1) == [("run-01", "removed"), ("run-02", "kept"), ("run-03", "kept")]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run-02", "run-03", "run-04"]
    assert choose(tmp_path, older_than_days=56) == [("run-02", "kept"), ("run-03", "kept")]
    with pytest.raises(UsageError, match="older-than-days"):
        choose(tmp_path)


def test_a_compressed_run_is_read_and_verified_as_before(tmp_path: Path) -> None:
    """Compressing saves room and changes nothing that is read."""
    path = make_run(tmp_path, 1)
    before, head = list(records.open_run(path).lines()), records.open_run(path).verify()
    found = prune.choose_runs(tmp_path, now=NOW, older_than_days=0, keep=None, compress=True)
    assert prune.prune_runs(tmp_path, found) > 0
    packed = chain_file(path)
    assert packed.name == "part-00001.jsonl.gz"
    assert not records.can_be_compressed(path)
    assert list(records.open_run(path).lines()) == before
    assert records.open_run(path).verify() == head
    packed.write_bytes(gzip.compress(b"".join(line + b"\n" for line in before[:1]), mtime=0))
    with pytest.raises(RunFolderError):
        records.open_run(path).verify()
    packed.write_bytes(packed.read_bytes()[:-12])
    with pytest.raises(RunFolderError, match="damaged"):
        records.open_run(path).verify()
