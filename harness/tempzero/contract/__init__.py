"""Providers in, what each made of the promises of the Chat Completions API out: PASS, FAIL, INCONCLUSIVE or SKIP.

`check` asks whether a provider can be used as it is configured; this asks whether a client may rely on the API. A
promise is broken (FAIL) where it was taken and not kept, twice, in a way that neither the model's ability nor rounding
explains; what was refused is skipped.

contract_run     who is asked and how, the cases side by side, a broken promise asked all over again
case             what a case and its judgement are
asked_host       each request once, a few at a time, 200 at most
wire_answer      an exchange as it stood on the wire
promises         the cases, a file a family
contract_files   JSON, JUnit XML, Markdown and the exchanges
"""

from __future__ import annotations

from tempzero.contract.case import CaseJudgement, ContractCase, Family, State
from tempzero.contract.contract_files import STATES, to_contract_junit, to_contract_value, write_contract
from tempzero.contract.contract_run import (
    MOST_REQUESTS,
    CaseResult,
    ContractReport,
    ProviderContract,
    check_contract,
)
from tempzero.contract.promises import CASES, find_families

__all__ = [
    "CASES",
    "MOST_REQUESTS",
    "STATES",
    "CaseJudgement",
    "CaseResult",
    "ContractCase",
    "ContractReport",
    "Family",
    "ProviderContract",
    "State",
    "check_contract",
    "find_families",
    "to_contract_junit",
    "to_contract_value",
    "write_contract",
]
