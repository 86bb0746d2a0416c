"""Counts of parts that add up: however a run is divided, and whoever counts it, every figure is the same."""

from __future__ import annotations

import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from answer_mixtures import PROVIDERS, make_mixed_run
from tempzero import records
from tempzero.analysis import analyse, waiting_rows
from tempzero.analysis.counting_processes import count_parts
from tempzero.analysis.merged_counts import MergedCounts, merge_counts
from tempzero.analysis.observations import observe_run
from tempzero.analysis.part_counts import CountingSetting, make_counting_setting
from tempzero.errors import RunFolderError, UsageError
from tempzero.records import Run
from tempzero.types.recorded import Attempt


def setting_of(run: Run) -> CountingSetting:
    return make_counting_setting(run.path, run.config.providers, run.manifest.suite.prompts)


def describe_counts(merged: MergedCounts) -> tuple[object, ...]:
    """Everything that analysis takes from it, rows as lists."""
    lanes = [
        {name: column.tolist() for name, column in merged.take_lane(at, condition).items()}
        for at in range(len(PROVIDERS))
        for condition in merged.conditions
    ]
    return (
        lanes,
        list(merged.texts.items()),
        merged.parts,
        merged.identities,
        merged.finish_reasons,
        {who: (f.count, f.prompts, f.said) for who, f in merged.failures.items()},
        {what: (f.count, f.answered, f.trials) for what, f in merged.flagged.items()},
        merged.records,
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_run_in_many_parts_has_the_figures_of_one_in_one_part(tmp_path: Path, seed: int) -> None:
    """Where the writer closed a part is no property of a provider: not a digit depends on it."""
    whole = make_mixed_run(tmp_path / "whole", part_bytes=records.PART_BYTES, seed=seed)
    parted = make_mixed_run(tmp_path / "parted", part_bytes=3_000, seed=seed)
    assert len(whole.parts()) == 1
    assert len(parted.parts()) > 8
    assert repr(analyse(parted)) == repr(analyse(whole))


def test_processes_count_what_this_one_counts(tmp_path: Path) -> None:
    """Counts that were made elsewhere and sent are the same, in the same order."""
    run = make_mixed_run(tmp_path, part_bytes=8_000)
    setting = setting_of(run)
    found = [
        describe_counts(merge_counts(count_parts(run.parts(), setting, processes=processes), setting, run.token_limits))
        for processes in (1, 2)
    ]
    assert repr(found[0]) == repr(found[1])


def test_what_is_wrong_in_a_part_is_told_by_whoever_counts_it(tmp_path: Path) -> None:
    """A damaged line is named, also where another process meets it."""
    run = make_mixed_run(tmp_path, part_bytes=8_000)
    damaged = run.parts()[2]
    damaged.write_bytes(damaged.read_bytes().replace(b'{"seq":', b'{"seq":"', 1))
    with pytest.raises(RunFolderError, match=f"{damaged.name}:1: damaged line"):
        list(count_parts(run.parts(), setting_of(run), processes=2))


def test_rows_take_the_room_that_their_numbers_need(tmp_path: Path) -> None:
    """A run of 10^8 responses fits into memory because little stays of each, and of seconds nothing but medians."""
    run = make_mixed_run(tmp_path, part_bytes=records.PART_BYTES)
    lane = observe_run(run).lanes[0]
    columns = [getattr(lane, field.name) for field in fields(lane)]
    of_rows = [column for column in columns if isinstance(column, np.ndarray) and column.size == lane.prompt.size]
    assert lane.prompt.size > len(run.manifest.suite.prompts)
    assert sum(column.itemsize for column in of_rows if any(column.strides)) < 30


def test_rows_that_wait_on_the_disk_are_those_that_wait_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a large run only one lane is in memory at a time, and its figures must not show it."""
    run = make_mixed_run(tmp_path, part_bytes=8_000)
    setting = setting_of(run)
    found = []
    for most in (waiting_rows._MOST_BYTES, 1):
        monkeypatch.setattr(waiting_rows, "_MOST_BYTES", most)
        merged = merge_counts(count_parts(run.parts(), setting), setting, run.token_limits)
        found.append(repr(describe_counts(merged)))
    assert found[0] == found[1]


def test_a_disk_without_room_for_waiting_rows_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was paid for is not lost for want of a temporary file: the line says what to set."""
    run = make_mixed_run(tmp_path, part_bytes=8_000)
    monkeypatch.setattr(waiting_rows, "_MOST_BYTES", 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(UsageError, match=r"gone: No such file.*let TMPDIR name a folder with more room"):
        analyse(run)


def test_an_attempt_that_comes_in_a_later_part_counts_for_its_trial(tmp_path: Path) -> None:
    """A resumed run asks again what failed: that a part ended in between leaves nothing missing, or double."""
    run = make_mixed_run(tmp_path, part_bytes=3_000)
    attempts: list[Attempt] = [record.attempt for record in run.records()]
    usable = {a.trial for a in attempts if a.exchange.outcome.status in ("valid", "censored")}
    again = {a.trial for a in attempts if a.number == 2}
    assert len(again & usable) > 2, "some failed first"
    counted = {o.provider: o.answered for o in analyse(run).outcomes}
    assert counted == {name: sum(t.provider == name for t in usable) for name in PROVIDERS}


def test_adding_up_keeps_what_each_part_says(tmp_path: Path) -> None:
    """Failures and odd answers are counted with their prompts and first trials, over all parts in their order."""
    run = make_mixed_run(tmp_path, part_bytes=8_000)
    setting = setting_of(run)
    (alone,) = count_parts([make_mixed_run(tmp_path / "whole", part_bytes=records.PART_BYTES).parts()[0]], setting)
    merged = merge_counts(count_parts(run.parts(), setting), setting, run.token_limits)
    assert alone.flagged
    for what, flagged in alone.flagged.items():
        found = merged.flagged[what]
        assert (found.count, found.answered, found.trials) == (flagged.count, flagged.answered, flagged.trials)
    for who, failed in alone.failures.items():
        joined = merged.failures[who]
        assert (joined.count, joined.prompts, joined.said) == (failed.count, failed.prompts, failed.said)
