"""Two Runs in, a Comparison out: what changed between them, tested by prompt, and what cannot be compared, by name.

comparability   what must agree before two runs may be compared, and what is said where it does not
changes         the two runs' responses -> tests and exact signals for each provider that is in both
showing         a Comparison -> Markdown, JSON
"""

from __future__ import annotations

from tempzero.compare.changes import Change, Shift, Signal, compare_providers
from tempzero.compare.comparability import Mismatch, find_common_ground
from tempzero.compare.comparison_report import Comparison, comparison_to_json, comparison_to_markdown
from tempzero.errors import UsageError
from tempzero.records import Run

__all__ = [
    "Change",
    "Comparison",
    "Mismatch",
    "Shift",
    "Signal",
    "compare_runs",
    "comparison_to_json",
    "comparison_to_markdown",
]


def compare_runs(left: Run, right: Run) -> Comparison:
    """What changed from the left run to the right one, provider by provider, on the prompts that both asked.

    All tests share one error rate, the right run's `gates.alpha` (Holm). Raises UsageError where nothing can be
    compared, RunFolderError for damaged records.
    """
    meeting = find_common_ground(left, right)
    if not meeting.providers or not meeting.prompts:
        what = "provider" if not meeting.providers else "prompt"
        reasons = "".join(f"\n  {m.sentence()}" for m in meeting.mismatches)
        raise UsageError(f"{left.path} and {right.path} have no {what} in common that can be compared{reasons}")
    gates = right.config.gates
    return Comparison(
        left=left.manifest.run_id,
        right=right.manifest.run_id,
        prompts=len(meeting.prompts),
        alpha=gates.alpha,
        min_prompts=gates.min_prompts,
        mismatches=meeting.mismatches,
        changes=compare_providers(left, right, meeting, alpha=gates.alpha),
    )
