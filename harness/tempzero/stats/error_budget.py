"""How many tests of each kind a run makes in, the chance of a false finding that each kind may spend out.

All kinds of findings that rest on statistics share one chance to accuse an honest provider: `gates.alpha`. A kind that
makes no test in a run leaves its share to the others; whether it makes one follows from who is asked and what, never
from the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Family = Literal[
    "camps", "rounding", "causes", "precision", "conditions", "first_answers", "answers", "repetition", "loops"
]

SHARES: Mapping[Family, float] = {
    "camps": 0.3,
    "rounding": 0.2,
    "causes": 0.1,
    "precision": 0.1,
    "conditions": 0.1,
    "first_answers": 0.05,
    "answers": 0.05,
    "repetition": 0.05,
    "loops": 0.05,
}
"""Of the run's chance. Most goes where most pairs are tested."""


def divide_budget(alpha: float, tests: Mapping[Family, int]) -> dict[Family, float]:
    """The chance that each family of tests may spend; 0 for one without tests.

    >>> divide_budget(0.05, {"camps": 3, "loops": 0})["camps"]
    0.05
    """
    present = {family: share for family, share in SHARES.items() if tests.get(family)}
    whole = sum(present.values())
    return {family: alpha * present.get(family, 0.0) / whole if whole else 0.0 for family in SHARES}
