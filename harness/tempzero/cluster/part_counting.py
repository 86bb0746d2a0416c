"""A run's parts and a cluster in, the counts of each part out: those that are made here are made there."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from tempzero.analysis.part_counts import CountingSetting, PartCounts, count_part, count_views
from tempzero.errors import RunFolderError
from tempzero.records import Run

Item = TypeVar("Item")
Result = TypeVar("Result")


class TaskCluster(Protocol):
    """Machines that each do one thing after the other: see `cluster.ray_cluster.RayCluster`."""

    def map_tasks(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """What `map` gives, in its order."""


def count_on_cluster(cluster: TaskCluster, run: Run, setting: CountingSetting) -> Iterator[PartCounts]:
    """In the order of the parts; the run's folder must lie at the same path on every node. Raises RunFolderError."""
    parts = run.parts() if setting.by_part else ()
    if not parts:
        yield count_views(run.views(), setting)
    for found in cluster.map_tasks(functools.partial(_count_there, setting), parts):
        if isinstance(found, str):
            raise RunFolderError(found)
        yield found


def _count_there(setting: CountingSetting, part: Path) -> PartCounts | str:
    """The counts, or what is wrong with the part: an error itself would travel with a trace in its words."""
    try:
        return count_part(part, setting)
    except RunFolderError as problem:
        return str(problem)
    except OSError as problem:
        return f"{part}: cannot be read on a node of the cluster: {problem.strerror}; its folder must be shared"
