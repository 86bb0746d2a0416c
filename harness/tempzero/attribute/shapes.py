"""Fits of one provider and of the reference's coarser forms in, whether sampling explains the misses better, out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tempzero.attribute.fits import Fits, uneven
from tempzero.attribute.noise import Form
from tempzero.attribute.readings import Floats, Lane, Table

_LEAST_MISSES = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """How much better sampling fits than rounding, in standard errors over prompts; above 0: sampling.

    Rounding of real models is spread unevenly over tokens, which looks like sampling. So it is held against the
    coarser form of the nearest scale, where one was read; `held` says so. Without one it means little.
    """

    t: float
    held: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ratio:
    """Nats for each miss by which sampling fits better, and their standard error clustered by prompt."""

    value: float
    error: float


def shape(table: Table, lane: Lane, fits: Fits, forms: Sequence[Form]) -> Shape:
    """Compare one provider's misses with both ways and with the coarser forms' misses."""
    difference = fits.sampled[:, fits.best_temperature] - uneven(fits.rounded, fits.best_scale)
    misses = table.tokens.summed(table.tokens.missed)[lane.sequence]
    own = _ratio(fits.by_prompt(difference), fits.by_prompt(misses))
    of_form = _nearest(forms, fits)
    if own is None:
        return Shape(t=0.0, held=False)
    if of_form is None:
        return Shape(t=own.value / own.error, held=False)
    return Shape(t=(own.value - of_form.value) / math.hypot(own.error, of_form.error), held=True)


def _nearest(forms: Sequence[Form], fits: Fits) -> _Ratio | None:
    """The coarser form whose scale of rounding is nearest to the provider's."""
    found = []
    for form in forms:
        same = form.rounded.shape == (*form.sampled.shape[:1], len(fits.noises))
        if form.honest or not same or form.sampled.shape[1] != len(fits.temperatures):
            continue
        scale = int(form.rounded.sum(axis=0).argmax())
        temperature = int(form.sampled.sum(axis=0).argmax())
        ratio = _ratio(form.sampled[:, temperature] - uneven(form.rounded, scale), form.misses)
        if ratio is not None and form.misses.sum() >= _LEAST_MISSES:
            found.append((abs(scale - fits.best_scale), form.name, ratio))
    return min(found, key=lambda one: one[:2])[2] if found else None


def _ratio(difference: Floats, misses: Floats) -> _Ratio | None:
    total, prompts = float(misses.sum()), misses.size
    if total <= 0 or prompts < 3:
        return None
    value = float(difference.sum()) / total
    rest = difference - value * misses
    error = math.sqrt(float(np.square(rest).sum()) * prompts / (prompts - 1)) / total
    return _Ratio(value=value, error=error) if error > 0 else None
