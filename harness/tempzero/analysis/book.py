"""One value for each prompt in, Figures with intervals out, for all prompts and for each family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tempzero import stats
from tempzero.metrics.agreement import Floats
from tempzero.types.asked import Prompt
from tempzero.types.concluded import Estimate, Figure
from tempzero.types.vocabulary import PARTS, KindName, Metric, PartName

Estimator = Callable[[Floats], Estimate]


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What a figure speaks of: everything that names it but the metric and the family."""

    kind: KindName
    left: str
    condition: str
    right: str | None = None
    part: PartName = "whole"


def bounded_mean(low: float, high: float) -> Estimator:
    """Mean over prompts of a value that cannot leave [low, high]."""
    return lambda values: stats.mean_over_prompts(values, bounds=(low, high))


def share_of_prompts(values: Floats) -> Estimate:
    """Share of the prompts whose value is 1 rather than 0."""
    return stats.wilson_proportion(int(values.sum()), values.size)


def sum_over_prompts(values: Floats) -> Estimate:
    """Plain sum: counted, not estimated, so it has no interval."""
    return Estimate(
        value=float(values.sum()) if values.size else None, low=None, high=None, n=values.size, method="sum"
    )


class Book:
    """Collects the figures of an analysis."""

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        groups = {name: i for i, name in enumerate(dict.fromkeys(p.cluster or f"\0{p.id}" for p in prompts))}
        self._clusters = np.array([groups[p.cluster or f"\0{p.id}"] for p in prompts], dtype=np.int64)
        self._clustered = len(groups) < len(prompts)
        families = np.array([p.family for p in prompts], dtype=object)
        self._families: list[tuple[str | None, NDArray[np.bool_]]] = [(None, np.ones(len(prompts), dtype=bool))]
        self._families += [(name, np.asarray(families == name)) for name in sorted({p.family for p in prompts})]
        self._figures: list[Figure] = []

    def add(
        self,
        subject: Subject,
        metric: Metric,
        values: Floats,
        *,
        k: int | None = None,
        estimate: Estimator = stats.share_over_prompts,
        note: str = "",
    ) -> Estimate:
        """Enter a metric for all prompts and for every family that has a value; NaN is no value.

        `note` goes behind the method's name. Gives the estimate over all prompts.
        """
        defined = ~np.isnan(values)
        for family, members in self._families:
            chosen = members & defined
            if family is None or chosen.any():
                figure = self._estimate(values, chosen, estimate)
                self.put(subject, metric, _append_note(figure, note), k=k, family=family)
        return _append_note(self._estimate(values, defined, estimate), note)

    def _estimate(self, values: Floats, chosen: NDArray[np.bool_], estimate: Estimator) -> Estimate:
        """Prompts of one cluster count together."""
        if not self._clustered:
            return estimate(values[chosen])
        return stats.estimate_by_clusters(values[chosen], self._clusters[chosen], estimate)

    def put(
        self,
        subject: Subject,
        metric: Metric,
        estimate: Estimate,
        *,
        k: int | None = None,
        family: str | None = None,
    ) -> None:
        """Enter one figure as it is."""
        self._figures.append(
            Figure(
                kind=subject.kind,
                metric=metric.name,
                left=subject.left,
                right=subject.right,
                condition=subject.condition,
                family=family,
                k=k,
                estimate=estimate,
                unit=metric.unit,
                part=subject.part,
            )
        )

    def figures(self) -> tuple[Figure, ...]:
        """All of them: by kind in the order they were entered, then by whom they speak of."""
        kinds = list(dict.fromkeys(f.kind for f in self._figures))
        key: Callable[[Figure], tuple[object, ...]] = lambda f: (  # noqa: E731
            kinds.index(f.kind),
            f.condition,
            f.left,
            f.right or "",
            PARTS.index(f.part),
            f.family is not None,
            f.family or "",
        )
        return tuple(sorted(self._figures, key=key))


def _append_note(estimate: Estimate, note: str) -> Estimate:
    return replace(estimate, method=f"{estimate.method}; {note}") if note else estimate
