"""A Verdict in, badge.json out: what shields.io draws of an endpoint (https://shields.io/badges/endpoint-badge)."""

from __future__ import annotations

import json

from tempzero.types.concluded import Verdict
from tempzero.types.vocabulary import VerdictOutcome

_COLOURS: dict[VerdictOutcome, str] = {"pass": "#19693c", "inconclusive": "#8a5a00", "finding": "#b3261e"}


def render_badge(verdict: Verdict) -> str:
    """`3 of 8 with findings`, or how many pass; inconclusive is never green."""
    total = len(verdict.providers)
    found, passed = (sum(p.outcome == o for p in verdict.providers) for o in ("finding", "pass"))
    if found:
        message = f"{found} of {total} with findings"
    elif verdict.outcome == "pass":
        message = f"{passed} of {total} pass"
    else:
        message = f"{verdict.outcome}, {passed} of {total} pass"
    badge = {
        "schemaVersion": 1,
        "label": "temperature zero",
        "message": message,
        "color": _COLOURS[verdict.outcome],
    }
    return json.dumps(badge, indent=2) + "\n"
