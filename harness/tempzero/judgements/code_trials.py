"""Python code, a function's name and cases in, how many of them come out right out; the code runs in the sandbox.

What the code prints, patches or claims has no say: it runs in a process that does not know the right results,
and what that process gives back is compared here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tempzero.extractors.code import Case
from tempzero.judgements.sandbox import run_in_sandbox

# A float that was added up in another order is the same result.
_TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeTrial:
    """How many cases came out right, and what went wrong first, in one line."""

    right: int
    cases: int
    detail: str

    @property
    def passes(self) -> bool:
        return self.right == self.cases


def try_code(code: str, function: str, cases: Sequence[Case], *, wall_s: float) -> CodeTrial:
    """Run the function on every case. Raises SandboxError where the sandbox cannot be had, then nothing was run."""
    ran = run_in_sandbox({"code": code, "function": function, "cases": [case.args for case in cases]}, wall_s=wall_s)
    return _compare_results([_parse_line(line) for line in ran.lines], cases, ran.ending)


def _parse_line(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _compare_results(answers: Sequence[dict[str, Any]], cases: Sequence[Case], ending: str) -> CodeTrial:
    """The first answer to each case counts."""
    given: dict[int, dict[str, Any]] = {}
    for answer in answers:
        if type(answer.get("case")) is int:
            given.setdefault(answer["case"], answer)
    wrong = [i for i, case in enumerate(cases) if not _is_right(given.get(i), case.out)]
    broken = next((a["broken"] for a in answers if isinstance(a.get("broken"), str)), None)
    detail = f"{len(cases) - len(wrong)} of {len(cases)} cases"
    if broken is not None:
        detail += f"; defining the function raised {_keep_name(broken)}"
    elif wrong:
        first = given.get(wrong[0])
        raised = first.get("raised") if first else None
        why = "gave no result" if first is None else f"raised {_keep_name(raised)}" if raised else "gave another result"
        detail += f"; case {wrong[0] + 1} {why}" + (f": {ending}" if first is None and ending else "")
    return CodeTrial(right=len(cases) - len(wrong), cases=len(cases), detail=detail)


def _is_right(answer: dict[str, Any] | None, out: Any) -> bool:
    if answer is None or not isinstance(answer.get("value"), str):
        return False
    try:
        return _are_equal(json.loads(answer["value"]), out)
    except (ValueError, RecursionError, OverflowError):
        return False


def _are_equal(one: Any, other: Any) -> bool:
    """Equal as JSON values; true is not 1, floats may differ by rounding."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other or (
            float in (type(one), type(other)) and math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_are_equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_are_equal(one[key], other[key]) for key in one)
    return type(one) is type(other) and bool(one == other)


def _keep_name(name: Any) -> str:
    """The name of an exception class: the stranger chose it."""
    return "".join(c for c in str(name) if c.isalnum() or c in "_.")[:60] or "an exception"
