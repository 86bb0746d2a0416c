"""The findings of an analysis in, what is to be claimed out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from tempzero.errors import UsageError
from tempzero.types.concluded import Finding

# differs_from_all and changed are no findings of a run: who claims them names whom or when.
ClaimRule = Literal[
    "nondeterministic",
    "differs",
    "deviates_from_reference",
    "deviates_token_by_token",
    "differs_from_all",
    "changed",
]

# Found among many pairs: claimed only with the correction that the report made.
_FROM_ONE_OTHER: tuple[ClaimRule, ...] = ("differs", "deviates_from_reference", "deviates_token_by_token")

_CLAIMED_AS = {"odd_one": "differs"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Accusation:
    """What is claimed. `others` are whom `subject` differs from; `condition` None means any that proves it.

    `p_value` is that of the run's report, corrected for the number of its tests.
    """

    rule: ClaimRule
    subject: str
    others: tuple[str, ...] = ()
    condition: str | None = None
    p_value: float | None = None


def accuse_by_rule(rule: str, subject: str, others: Sequence[str] = ()) -> Accusation:
    """Claim what no finding of the report says; hyphens in the rule's name do too.

    Raises UsageError for a rule that no bundle is made for, and for a difference from one other: chosen among many
    pairs it needs the report's correction.
    """
    named = find_claimable_rule(rule.replace("-", "_"))
    if named is None:
        raise UsageError(f'no bundle is made for "{rule}"; for {", ".join(get_args(ClaimRule))} there is')
    if named in _FROM_ONE_OTHER:
        raise UsageError(
            f"{named}: claim it with --finding; the report's p-value is corrected for the number of pairs it tested"
        )
    return Accusation(rule=named, subject=subject, others=tuple(others))


def find_claimable_rule(rule: str) -> ClaimRule | None:
    """The rule that a bundle is made for where a finding has this one, if any.

    Who is the odd one differs from the member of the camp that the finding names, by the same corrected p-value.
    """
    return next((known for known in get_args(ClaimRule) if known == _CLAIMED_AS.get(rule, rule)), None)


def find_claimable_findings(findings: Sequence[Finding]) -> list[int]:
    """The numbers, counted from 1, of the findings that a bundle can be made for."""
    return [i for i, finding in enumerate(findings, start=1) if find_claimable_rule(finding.rule)]


def accuse_by_finding(findings: Sequence[Finding], number: int | None = None) -> Accusation:
    """Claim finding `number`, counted from 1; without a number, the only one that can be claimed.

    Raises UsageError, with the findings there are, where that names none.
    """
    rules = {i: rule for i in find_claimable_findings(findings) if (rule := find_claimable_rule(findings[i - 1].rule))}
    if number is None and len(rules) == 1:
        number = next(iter(rules))
    if number not in rules:
        what = "which finding? name it with --finding" if number is None else f"--finding {number} cannot be claimed"
        listed = "".join(f"\n  {i}: {findings[i - 1].message}" for i in rules)
        raise UsageError(f"{what}; a bundle can be made for: {listed or 'none: this run has no such finding'}")
    finding = findings[number - 1]
    conditions = {trial.condition for trial in finding.evidence}
    return Accusation(
        rule=rules[number],
        subject=finding.subject,
        others=() if finding.other is None else (finding.other,),
        condition=conditions.pop() if len(conditions) == 1 else None,
        p_value=finding.p_value,
    )
