"""badge.json: what a page shows of the latest run in one small picture."""

from __future__ import annotations

import json

import pytest
from tempzero.reports.badge import render_badge
from tempzero.types.concluded import ProviderVerdict, Verdict
from tempzero.types.vocabulary import VerdictOutcome


@pytest.mark.parametrize(
    ("outcomes", "worst", "message", "colour"),
    [
        (("pass", "pass"), "pass", "2 of 2 pass", "#19693c"),
        (("pass", "inconclusive"), "inconclusive", "inconclusive, 1 of 2 pass", "#8a5a00"),
        (("pass", "inconclusive", "finding"), "finding", "1 of 3 with findings", "#b3261e"),
        ((), "inconclusive", "inconclusive, 0 of 0 pass", "#8a5a00"),
        (("pass",), "finding", "finding, 1 of 1 pass", "#b3261e"),
    ],
)
def test_the_badge_says_the_verdict(
    outcomes: tuple[VerdictOutcome, ...], worst: VerdictOutcome, message: str, colour: str
) -> None:
    """Only a pass is green, and a finding is counted, whatever stands beside it."""
    providers = tuple(ProviderVerdict(provider=f"p{i}", outcome=o, reasons=()) for i, o in enumerate(outcomes))
    badge = json.loads(render_badge(Verdict(outcome=worst, providers=providers)))
    assert (badge["message"], badge["color"], badge["schemaVersion"]) == (message, colour, 1)
