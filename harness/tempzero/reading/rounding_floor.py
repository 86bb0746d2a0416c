"""A claimed model and what was measured of its honest hosts in, how much an honest 16-bit host rounds out.

The floor of a verdict. It is that of engines that round ACTIVATIONS to 16 bits, as hosted ones do: float32 arithmetic
on 16-bit weights rounds several times less and would make findings of honest hosts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tempzero.types.concluded import FloorBasis

# How many times the root mean square a rounded gap hardly ever changes by: beyond it a margin is no rounding's.
_CLEAR_CHANGES = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundingFloor:
    """How much an honest 16-bit host's choices stray from float32, in logits, for one family of models.

    `rms` is the root mean square of the change of the gap between the two best tokens, `largest_margin` the largest
    margin of a token that an honest host chose, `missed_share` how many of its tokens are not the reference's choice;
    all of them as seen over `tokens` tokens of `source`.
    """

    model: str
    basis: FloorBasis
    rms: float
    largest_margin: float
    missed_share: float
    tokens: int
    source: str

    @property
    def clear_margin(self) -> float:
        """A margin that rounding of this size hardly ever explains: five times the root mean square, or what was seen.

        "Hardly ever" is a rate: of ten thousand honest tokens some pass it.
        """
        return max(_CLEAR_CHANGES * self.rms, self.largest_margin)


DEFAULT_FLOOR = RoundingFloor(
    model="any",
    basis="default",
    rms=0.25,
    largest_margin=1.25,
    missed_share=0.05,
    tokens=0,
    source="assumed: twice what 16-bit hosts of a small model show; name an honest host in score.forms to measure it",
)


@cache
def load_rounding_profiles() -> tuple[tuple[str, RoundingFloor], ...]:
    """The shipped profiles, each with the beginning of the names (letters and digits) of the models that it is for."""
    told: list[dict[str, Any]] = json.loads(Path(__file__).with_name("rounding_profiles.json").read_text())
    return tuple((one.pop("names_begin_with"), RoundingFloor(basis="profile", **one)) for one in map(dict, told))


def find_rounding_floor(claimed_model: str, measured: Sequence[RoundingFloor] = ()) -> RoundingFloor:
    """The floor of one claimed model: the largest that was measured, else the family's profile, else the default.

    >>> find_rounding_floor("HuggingFaceTB/SmolLM2-135M-Instruct").basis
    'profile'
    >>> find_rounding_floor("some-other-model").basis
    'default'
    """
    if measured:
        return max(measured, key=lambda floor: floor.rms)
    name = re.sub(r"[^a-z0-9]", "", claimed_model.rsplit("/", 1)[-1].lower())
    return next((floor for start, floor in load_rounding_profiles() if name.startswith(start)), DEFAULT_FLOOR)
