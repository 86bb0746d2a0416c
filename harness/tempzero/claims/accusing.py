"""The findings of an analysis in, what is to be claimed out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tempzero.claims.page_wording import CLAIMABLE_RULES
from tempzero.errors import UsageError
from tempzero.types.concluded import Finding


@dataclass(frozen=True, kw_only=True, slots=True)
class Accusation:
    """What is claimed. `others` are whom `subject` differs from; `condition` None means any that proves it.

    `p_value` is that of the run's report, corrected for the number of its tests.
    """

    rule: str
    subject: str
    others: tuple[str, ...] = ()
    condition: str | None = None
    p_value: float | None = None


def accuse_by_rule(rule: str, subject: str, others: Sequence[str] = ()) -> Accusation:
    """Claim what no finding of the report says; hyphens in the rule's name do too.

    Raises UsageError for a difference from one other: chosen among many pairs it needs the report's correction.
    """
    rule = rule.replace("-", "_")
    if rule in ("differs", "deviates_from_reference", "deviates_token_by_token"):
        raise UsageError(
            f"{rule}: claim it with --finding; the report's p-value is corrected for the number of pairs it tested"
        )
    return Accusation(rule=rule, subject=subject, others=tuple(others))


def accuse_by_finding(findings: Sequence[Finding], number: int | None = None) -> Accusation:
    """Claim finding `number`, counted from 1; without a number, the only one that can be claimed.

    Raises UsageError, with the findings there are, where that names none.
    """
    possible = [i for i, finding in enumerate(findings, start=1) if finding.rule in CLAIMABLE_RULES]
    if number is None and len(possible) == 1:
        number = possible[0]
    if number not in possible:
        what = "which finding? name it with --finding" if number is None else f"--finding {number} cannot be claimed"
        listed = "".join(f"\n  {i}: {findings[i - 1].message}" for i in possible)
        raise UsageError(f"{what}; a bundle can be made for: {listed or 'none: this run has no such finding'}")
    finding = findings[number - 1]
    conditions = {trial.condition for trial in finding.evidence}
    return Accusation(
        rule=finding.rule,
        subject=finding.subject,
        others=() if finding.other is None else (finding.other,),
        condition=conditions.pop() if len(conditions) == 1 else None,
        p_value=finding.p_value,
    )
