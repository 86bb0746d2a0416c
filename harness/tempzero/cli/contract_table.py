"""What endpoints made of the API's promises in, counts a line each and a sentence for what is broken or open, out."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tempzero.contract import ContractReport, ProviderContract

_NAME_WIDTH = 18


def print_contract(report: ContractReport) -> None:
    """For each endpoint how many promises were kept, then which were broken, could not be told, and were refused."""
    from rich.console import Console

    from tempzero.contract import STATES

    if not report.providers:
        print("no hosted provider to hold to the API's promises")
        return
    width = max(Console().width, 40)
    print(
        f"{'provider':<{_NAME_WIDTH}} {'result':<12} {'PASS':>4} {'FAIL':>4} {'INCONCLUSIVE':>12} {'SKIP':>4}  requests"
    )
    for one in report.providers:
        counts = one.count_states()
        name = one.provider if len(one.provider) <= _NAME_WIDTH else one.provider[: _NAME_WIDTH - 2] + ".."
        print(
            f"{name:<{_NAME_WIDTH}} {one.outcome:<12} {counts['PASS']:>4} {counts['FAIL']:>4} "
            f"{counts['INCONCLUSIVE']:>12} {counts['SKIP']:>4}  {one.requests}"
        )
    for one in report.providers:
        _print_provider(one, [state for state in STATES if state != "PASS"], width)


def _print_provider(one: ProviderContract, states: list[str], width: int) -> None:
    told = [
        f"{result.state} {result.id}: {result.words}" for s in states for result in one.results if result.state == s
    ]
    silence = [] if one.silence is None else [f"was not asked: {one.silence}"]
    lines = [*silence, *one.notes, *told]
    if lines:
        print()
        print(f"{one.provider}:")
    for line in lines:
        print(
            textwrap.fill(
                line,
                width=width,
                initial_indent="  ",
                subsequent_indent="    ",
                break_on_hyphens=False,
            )
        )
