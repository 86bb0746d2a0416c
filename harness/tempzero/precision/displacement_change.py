"""A host's displacement tonight and on frozen nights before in, what speaks for a change of its weights out.

Under no change, and under a change of nothing but rounding, what moved since is as likely to point one way along a form
as the other, prompt by prompt. The evidence is an e-value of that: exact for any sizes, averaged over forms, ways,
stakes and windows of nights, never multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tempzero.precision.displacement import Matrix, centre_rows
from tempzero.precision.naming import LEAST_PROMPTS, LEAST_STRENGTH
from tempzero.precision.packs import DirectionPack

NIGHT_WINDOWS = (1, 3, 7)
"""Of so many last nights the mean is held against the frozen ones."""
_STAKES = (2.0, 4.0, 8.0, 16.0)
_NEGLIGIBLE = 1e-3  # rms, nats: such a form is the reference itself


@dataclass(frozen=True, kw_only=True, slots=True)
class DisplacementChange:
    """What speaks for a change, and the form that explains most of it; `strength` 1: the form has come whole.

    `evidence` is an e-value. `strengths` are the changes along every form, of the last night alone.
    """

    evidence: float
    form: str | None
    strength: float
    strengths: Mapping[str, float]


NO_CHANGE = DisplacementChange(evidence=1.0, form=None, strength=0.0, strengths={})


def weigh_displacement_change(
    pack: DirectionPack, nights: Sequence[Matrix], frozen: Sequence[Matrix]
) -> DisplacementChange:
    """Hold the last of `nights` (tonight is their end) against the frozen ones; displacements are rows of the pack.

    16-bit weights are no form here: that a host rounds its weights to 16 bits otherwise than before is no news. Of what
    has come or gone by less than half nothing counts, however surely: rounding otherwise may do that, too.
    """
    if not nights or not frozen:
        return NO_CHANGE
    before, bets = _mean_displacement(frozen), dict[str, list[float]]()
    strengths, explained = dict[str, float](), dict[str, float]()
    for window in NIGHT_WINDOWS:
        for name, (products, energy) in _project_on_forms(pack, _mean_displacement(nights[-window:]) - before).items():
            strength = float(products.sum()) / energy
            strengths.setdefault(name, strength)
            explained.setdefault(name, strength**2 * energy)
            counts = abs(strength) >= LEAST_STRENGTH
            bets.setdefault(name, []).append(weigh_signs(products) if counts else -math.inf)
    every = np.array([one for found in bets.values() for one in found])
    if not np.isfinite(every).any():
        return DisplacementChange(evidence=0.0, form=None, strength=0.0, strengths=strengths) if bets else NO_CHANGE
    # Evidence by signs is as large for a form that is like the one that came: how much of the change it is tells.
    best = max((name for name, told in bets.items() if max(told) > 0), key=lambda name: explained[name], default=None)
    if best is None:
        best = max(bets, key=lambda name: max(bets[name]))
    evidence = math.exp(min(700.0, float(np.logaddexp.reduce(every)) - math.log(len(every))))
    return DisplacementChange(evidence=evidence, form=best, strength=strengths[best], strengths=strengths)


def measure_strengths(pack: DirectionPack, moved: Matrix) -> dict[str, float]:
    """How much of each form, taken alone, stands in a displacement. 1: as the pack's copy."""
    found = _project_on_forms(pack, moved)
    return {name: float(products.sum()) / energy for name, (products, energy) in found.items()}


StoredPlaces = tuple[tuple[float | None, ...], ...]


def store_displacement(pack: DirectionPack, moved: Matrix) -> dict[str, StoredPlaces]:
    """By prompt and place, up to the last token that the host gave, to a thousandth; prompts with none are left out."""
    found: dict[str, list[tuple[float | None, ...]]] = {}
    known = pack.rows
    for owner, place, row in zip(known.prompts, known.places, moved.tolist(), strict=True):
        there = [at for at, value in enumerate(row) if not math.isnan(value)]
        if there:
            places = found.setdefault(pack.prompts[owner].id, [])
            places += [()] * (place - len(places))
            places.append(tuple(None if math.isnan(v) else round(v, 3) for v in row[: there[-1] + 1]))
    return {prompt: tuple(places) for prompt, places in found.items()}


def restore_displacement(pack: DirectionPack, stored: Mapping[str, StoredPlaces]) -> Matrix:
    """The same as a matrix again."""
    rows = np.full(pack.logprobs.shape, np.nan)
    known = pack.rows
    for row, owner, place in zip(rows, known.prompts, known.places, strict=True):
        places = stored.get(pack.prompts[owner].id, ())
        given = places[place][: len(row)] if place < len(places) else ()
        row[: len(given)] = [np.nan if value is None else value for value in given]
    return rows


def _project_on_forms(pack: DirectionPack, moved: Matrix) -> dict[str, tuple[NDArray[np.float64], float]]:
    """By form: the product of both in each prompt, and the form's own square over all; nothing of too few prompts."""
    there, found = ~np.isnan(moved), {}
    told = np.flatnonzero(there.sum(axis=1) > 1)
    rows = pack.rows.pick(told)
    if rows.count() < LEAST_PROMPTS:
        return {}
    centred = np.nan_to_num(centre_rows(moved))
    for direction in pack.directions:
        along = np.nan_to_num(centre_rows(np.where(there, direction.by, np.nan)))
        energy = float((along**2).sum())
        if direction.kind != "16-bit" and energy > _NEGLIGIBLE**2 * there.sum():
            found[direction.name] = (rows.sum_by_prompt((centred * along).sum(axis=1)[told]), energy)
    return found


def weigh_signs(products: NDArray[np.float64]) -> float:
    """Logarithm of an e-value against "each is as likely to be positive as negative", sizes as they are."""
    size = float(np.sqrt((products**2).sum()))
    if not size:
        return 0.0
    stakes = np.array([sign * stake for stake in _STAKES for sign in (1.0, -1.0)])
    bets = stakes[:, None] * products[None, :] / size
    logs = (bets - np.logaddexp(bets, -bets) + math.log(2)).sum(axis=1)
    return float(np.logaddexp.reduce(logs) - math.log(len(stakes)))


def _mean_displacement(nights: Sequence[Matrix]) -> Matrix:
    """Of what any of them gave; NaN where none did."""
    stacked = np.array(nights)
    counts = (~np.isnan(stacked)).sum(axis=0)
    mean: Matrix = np.where(counts > 0, np.nansum(stacked, axis=0) / np.maximum(counts, 1), np.nan)
    return mean
