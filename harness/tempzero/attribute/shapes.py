"""Fits of one provider and of the reference's coarser forms in, whether sampling explains the misses better, out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tempzero.attribute.fits import Fits, uneven_log_likelihood
from tempzero.attribute.noise import JoinedForm
from tempzero.attribute.reader_tables import Floats, ReaderTable, ResponseLane

_LEAST_MISSES = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class MissShape:
    """How much better sampling fits than rounding, in standard errors over prompts; above 0: sampling.

    Rounding of real models is spread unevenly over tokens, which looks like sampling. So it is held against the
    coarser form of the nearest scale, where one was read; `held` says so. Without one it means little.
    """

    t: float
    held: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _MissRatio:
    """Nats for each miss by which sampling fits better, and their standard error clustered by prompt."""

    value: float
    error: float


def compare_miss_shape(table: ReaderTable, lane: ResponseLane, fits: Fits, forms: Sequence[JoinedForm]) -> MissShape:
    """Compare one provider's misses with both ways and with the coarser forms' misses."""
    difference = fits.sampled[:, fits.best_temperature] - uneven_log_likelihood(fits.rounded, fits.best_scale)
    misses = table.tokens.sum_by_sequence(table.tokens.missed)[lane.sequence]
    own = _ratio_by_miss(fits.sum_by_prompt(difference), fits.sum_by_prompt(misses))
    of_form = _nearest_form_ratio(forms, fits)
    if own is None:
        return MissShape(t=0.0, held=False)
    if of_form is None:
        return MissShape(t=own.value / own.error, held=False)
    return MissShape(t=(own.value - of_form.value) / math.hypot(own.error, of_form.error), held=True)


def _nearest_form_ratio(forms: Sequence[JoinedForm], fits: Fits) -> _MissRatio | None:
    """The coarser form whose scale of rounding is nearest to the provider's."""
    found = []
    for form in forms:
        same = form.rounded.shape == (*form.sampled.shape[:1], len(fits.noises))
        if form.honest or not same or form.sampled.shape[1] != len(fits.temperatures):
            continue
        scale = int(form.rounded.sum(axis=0).argmax())
        temperature = int(form.sampled.sum(axis=0).argmax())
        ratio = _ratio_by_miss(form.sampled[:, temperature] - uneven_log_likelihood(form.rounded, scale), form.misses)
        if ratio is not None and form.misses.sum() >= _LEAST_MISSES:
            found.append((abs(scale - fits.best_scale), form.name, ratio))
    return min(found, key=lambda one: one[:2])[2] if found else None


def _ratio_by_miss(difference: Floats, misses: Floats) -> _MissRatio | None:
    total, prompts = float(misses.sum()), misses.size
    if total <= 0 or prompts < 3:
        return None
    value = float(difference.sum()) / total
    rest = difference - value * misses
    error = math.sqrt(float(np.square(rest).sum()) * prompts / (prompts - 1)) / total
    return _MissRatio(value=value, error=error) if error > 0 else None
