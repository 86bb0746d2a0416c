"""What one promise of the API is, and what an endpoint made of it: the values that cases, runner and reports share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from tempzero.contract.asked_host import AskedHost

State = Literal["PASS", "FAIL", "INCONCLUSIVE", "SKIP"]
Family = Literal[
    "shape",
    "limits",
    "stop",
    "n",
    "sampling",
    "stream",
    "usage",
    "history",
    "tools",
    "formats",
    "logprobs",
    "thinking",
    "errors",
    "identity",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseJudgement:
    """PASS: kept. FAIL: broken, whatever the model is able to do. INCONCLUSIVE: not seen, or the model may be why.
    SKIP: refused, or not to be asked here. `words` say what was seen, and why that is so."""

    state: State
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ContractCase:
    """One promise: `id` is FAMILY.WHAT, `judge` asks and looks. `reads_all`: it looks at all that the others asked."""

    id: str
    family: Family
    promise: str
    judge: Callable[[AskedHost], Awaitable[CaseJudgement]]
    reads_all: bool = False


def judge_pass(words: str) -> CaseJudgement:
    """It was kept."""
    return CaseJudgement(state="PASS", words=words)


def judge_fail(words: str) -> CaseJudgement:
    """It was broken; the runner asks all over again before it says so."""
    return CaseJudgement(state="FAIL", words=words)


def judge_open(words: str) -> CaseJudgement:
    """It cannot be told."""
    return CaseJudgement(state="INCONCLUSIVE", words=words)


def judge_skip(words: str) -> CaseJudgement:
    """It was refused, or is no promise of this endpoint."""
    return CaseJudgement(state="SKIP", words=words)
