"""Findings in, each with its figure and the trials that prove it out."""

from __future__ import annotations

from tempzero.reports.document import ON_PAPER, FindingItem, FindingList, Paragraph, Section
from tempzero.reports.lookup import View
from tempzero.reports.numbers import estimate_text, p_value_text
from tempzero.types.concluded import Finding, FindingWeight

MAX_EVIDENCE = 12
WEIGHT_WORDS: dict[FindingWeight, str] = {
    "accuses": "",
    "about_set": " (about the set: it accuses nobody)",
    "note": " (a note: it accuses nobody)",
}


def build_findings_section(view: View) -> Section:
    """Every finding."""
    findings = view.analysis.findings
    block = (
        FindingList(items=tuple(_finding_item(view, f) for f in findings))
        if findings
        else Paragraph(text="Nothing was found.")
    )
    return Section(
        anchor="findings",
        title="Findings and their evidence",
        lead="Each statement the data support, with the trials that prove it. A trial is named by provider, prompt, "
        "condition and repeat; records/ holds its exact request and response.",
        blocks=(block,),
        media=ON_PAPER,
    )


def _finding_item(view: View, finding: Finding) -> FindingItem:
    left_out = len(finding.evidence) - MAX_EVIDENCE
    figure = "" if finding.estimate is None else estimate_text(finding.estimate, "share")
    if finding.p_value is not None:
        figure = "; ".join(
            filter(None, (figure, f"{p_value_text(finding.p_value)}, corrected for the number of tests"))
        )
    return FindingItem(
        title=view.rule_words(finding.rule) + WEIGHT_WORDS[finding.weight],
        rule=finding.rule,
        who=finding.subject if finding.other is None else f"{finding.subject} and {finding.other}",
        message=finding.message,
        figure=figure,
        evidence=finding.evidence[:MAX_EVIDENCE],
        anchors=tuple(view.prompt_anchors.get(t.prompt, "") for t in finding.evidence[:MAX_EVIDENCE]),
        more=f"{left_out} more trials are in summary.json." if left_out > 0 else "",
    )
