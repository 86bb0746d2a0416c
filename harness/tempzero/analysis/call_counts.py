"""A Case in, the counts that vendor verifiers print of a file of requests with tools out, for each provider.

K2-Vendor-Verifier and MiniMax-Provider-Verifier count responses by their finish reason, and of those that end in calls
of tools how many hold calls that fit the offered schemas, every one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from tempzero.analysis.call_figures import read_calls
from tempzero.analysis.evidence import Case
from tempzero.analysis.part_counts import CENSORED, NOT_SAID
from tempzero.analysis.provider_figures import count_planned_trials
from tempzero.analysis.tallies import Tally
from tempzero.types.concluded import CallCounts

_STOP, _CALLS = "stop", "tool_calls"


def count_calls(case: Case) -> tuple[CallCounts, ...]:
    """By provider and family, of families in which any prompt offers tools; imported records count like others."""
    families = sorted({prompt.family for prompt in case.prompts if prompt.tools})
    return tuple(_count_family(tally, family, case) for tally in case.tallies for family in families)


def _count_family(tally: Tally, family: str, case: Case) -> CallCounts:
    lane = tally.lane
    members = np.array([prompt.family == family for prompt in case.prompts], dtype=bool)
    rows = np.flatnonzero(members[lane.prompt] & (lane.status <= CENSORED))
    reasons = Counter(_list_reasons(tally, rows.tolist(), case))
    calling = [int(lane.text[row]) for row in rows.tolist() if _ends_in_calls(tally, row, case)]
    valid = sum(text != NOT_SAID and read_calls(case.texts, text, case.prompts).valid == 1 for text in calling)
    others = {reason: n for reason, n in sorted(reasons.items()) if reason not in (_STOP, _CALLS)}
    return CallCounts(
        provider=tally.name,
        condition=lane.condition,
        family=family,
        answered=rows.size,
        failed=int(count_planned_trials(lane, len(case.prompts))[members].sum()) - rows.size,
        finish_stop=reasons[_STOP],
        finish_tool_calls=reasons[_CALLS],
        finish_others=sum(others.values()),
        others=", ".join(f"{reason} {n}" for reason, n in others.items()),
        calls_valid=valid,
        calls_invalid=len(calling) - valid,
    )


def _list_reasons(tally: Tally, rows: list[int], case: Case) -> Iterator[str]:
    """As they were given; an answer without one is counted in none of the three, as the scripts do."""
    for row in rows:
        reason = int(tally.lane.finish[row])
        if reason != NOT_SAID:
            yield case.finish_reasons[reason]


def _ends_in_calls(tally: Tally, row: int, case: Case) -> bool:
    reason = int(tally.lane.finish[row])
    return reason != NOT_SAID and case.finish_reasons[reason] == _CALLS
