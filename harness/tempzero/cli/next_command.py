"""What a run came to in, the one command that is worth typing next out."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tempzero.types.concluded import Analysis, Finding, Verdict


def suggest_next_command(analysis: Analysis, verdict: Verdict, folder: Path) -> str:
    """Ask what is missing, let the reference read what differs, prove a finding, or keep the run as a baseline."""
    from tempzero.claims import find_claimable_findings
    from tempzero.config.store_address import describe_place

    run = shlex.quote(describe_place(folder))
    if analysis.endings:
        return f"tempzero run --resume {run}"
    if analysis.references and analysis.reading is None and _gave_other_texts(analysis):
        return f"tempzero score {run}"
    found = analysis.findings
    claimable = [
        number
        for number in find_claimable_findings(found)
        if found[number - 1].weight == "accuses" and _can_be_proven(found[number - 1], analysis)
    ]
    if claimable:
        return f"tempzero claim {run}" if len(claimable) == 1 else f"tempzero claim {run} --finding {claimable[0]}"
    if verdict.outcome == "pass":
        return f"tempzero baseline set {run}"
    return f"tempzero report {run} --full"


def _can_be_proven(finding: Finding, analysis: Analysis) -> bool:
    """A bundle about tokens holds what an honest form of the reference read; a pack has none."""
    if finding.rule != "deviates_token_by_token":
        return True
    floors = analysis.reading.floors if analysis.reading is not None else ()
    return any(form.honest for floor in floors if floor.reference == finding.other for form in floor.forms)


def _gave_other_texts(analysis: Analysis) -> bool:
    """Whether any answer differs from the reference's, which then can say what that comes to."""
    return any(
        f.kind == "reference" and f.metric == "cross_emr" and f.estimate.value is not None and f.estimate.value < 1
        for f in analysis.figures
    )
