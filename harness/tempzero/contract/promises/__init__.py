"""Every promise that an endpoint is held to: a file a family, a line a case.

A case asks for little, shares what others asked, and says FAIL only of what no model and no rounding can be blamed for.
"""

from __future__ import annotations

from collections.abc import Sequence

from tempzero.contract.case import ContractCase, Family
from tempzero.contract.promises.choice_promises import CHOICE_CASES
from tempzero.contract.promises.error_promises import ERROR_CASES
from tempzero.contract.promises.format_promises import FORMAT_CASES
from tempzero.contract.promises.history_promises import HISTORY_CASES
from tempzero.contract.promises.identity_promises import IDENTITY_CASES
from tempzero.contract.promises.limit_promises import LIMIT_CASES
from tempzero.contract.promises.logprob_promises import LOGPROB_CASES
from tempzero.contract.promises.sampling_promises import SAMPLING_CASES
from tempzero.contract.promises.shape_promises import SHAPE_CASES
from tempzero.contract.promises.stop_promises import STOP_CASES
from tempzero.contract.promises.stream_promises import STREAM_CASES
from tempzero.contract.promises.thinking_promises import THINKING_CASES
from tempzero.contract.promises.tool_promises import TOOL_CASES
from tempzero.contract.promises.usage_promises import USAGE_CASES
from tempzero.errors import UsageError

CASES: tuple[ContractCase, ...] = (
    *SHAPE_CASES,
    *LIMIT_CASES,
    *STOP_CASES,
    *CHOICE_CASES,
    *SAMPLING_CASES,
    *STREAM_CASES,
    *USAGE_CASES,
    *HISTORY_CASES,
    *TOOL_CASES,
    *FORMAT_CASES,
    *LOGPROB_CASES,
    *THINKING_CASES,
    *ERROR_CASES,
    *IDENTITY_CASES,
)


def find_families(names: Sequence[str]) -> tuple[Family, ...]:
    """The families of these names. Raises UsageError for a name that none has."""
    known = {case.family: None for case in CASES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"--families: {unknown[0]} is no family of cases; there are {', '.join(known)}")
    return tuple(family for family in known if family in names)
